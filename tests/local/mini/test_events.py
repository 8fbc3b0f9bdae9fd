import numpy as np
import pytest
from mini.events import EVENTS, make_event

from osum.data.corpora.label_maps import label_sets


def test_labels_are_those_of_the_task():
    assert set(EVENTS) == set(label_sets()["event"])


@pytest.mark.parametrize("label", EVENTS)
@pytest.mark.parametrize("pitch", [1.0, 2.4])
def test_events_are_short_varied_and_reproducible(label, pitch):
    instances = [make_event(label, pitch, np.random.default_rng(seed)) for seed in range(12)]
    for audio in instances:
        assert 0.2 < len(audio) / 16000 < 1.4
        assert np.abs(audio).max() == pytest.approx(1.0)
        assert np.isfinite(audio).all()
    assert len({audio.tobytes() for audio in instances}) == len(instances)
    assert (make_event(label, pitch, np.random.default_rng(0)) == instances[0]).all()

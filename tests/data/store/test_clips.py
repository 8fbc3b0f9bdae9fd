import pytest

from osum.data.store.clips import WHOLE, Clip


@pytest.mark.parametrize("clip", [WHOLE, Clip(0.5, 1.25, 1), Clip(3)])
def test_a_clip_survives_its_plain_form(clip):
    assert Clip.from_json(clip.to_json()) == clip


@pytest.mark.parametrize(
    "obj",
    [None, {}, {"start_s": 1.0}, {**WHOLE.to_json(), "more": 1}, {**WHOLE.to_json(), "start_s": -1.0},
     {**WHOLE.to_json(), "start_s": float("nan")}, {**WHOLE.to_json(), "channel": "left"},
     {**WHOLE.to_json(), "channel": 0.5}, {**WHOLE.to_json(), "start_s": None},
     {**WHOLE.to_json(), "duration_s": float("inf")}],
    ids=str,
)  # fmt: skip
def test_what_is_no_clip_is_refused(obj):
    with pytest.raises(ValueError, match="not a clip"):
        Clip.from_json(obj)

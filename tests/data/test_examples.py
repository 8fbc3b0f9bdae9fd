from dataclasses import replace

import numpy as np
import pytest

from osum import tasks
from osum.audio.io import to_float
from osum.data.examples import Dropped, Item, at_speed, make_example, prompts_for
from osum.data.store.index import Index
from tests.data.foreign import speech, write_list


def test_an_example_joins_audio_prompt_and_target(make_index, toy, task_objects, prompts):
    index = make_index([replace(toy(2)[1], text="你好")], num_shards=1)
    made = make_example(index, Item(0, "ser", 1), task_objects, prompts)
    assert (made.key, made.task, made.language) == ("corpus/u001", "ser", "zh")
    assert (made.prompt, made.target, made.transcript) == ("做ser", "你好<happy>", "你好")
    assert made.audio.dtype == np.int16
    np.testing.assert_array_equal(to_float(made.audio), index.audio(0))


def test_a_row_without_target_is_dropped_with_its_reason(make_index, toy, task_objects, prompts):
    index = make_index(toy(1), num_shards=1)
    assert make_example(index, Item(0, "ser", 0), task_objects, prompts) == Dropped(
        "corpus/u000", "ser", "no_target", "toy"
    )


def test_augmentation_changes_the_audio_alone(make_index, toy, task_objects, prompts):
    index = make_index(toy(1), num_shards=1)
    made = make_example(index, Item(0, "asr", 0), task_objects, prompts, augment=lambda audio: audio * 2)
    np.testing.assert_array_equal(made.audio, index.audio(0) * 2)


def test_word_times_follow_the_speed(make_index, toy):
    of = replace(
        toy(1)[0], num_samples=180_000, text="a b", words=(("a", 0.45, 0.9), ("b", 9.9, 10.2)), tasks=("srwt",)
    )
    assert at_speed(of, 0.9).num_samples == 200_000
    assert at_speed(of, 0.9).words == (("a", 0.5, 1.0), ("b", pytest.approx(11.0), pytest.approx(11.3333, abs=1e-4)))
    index, served, prompts = make_index([of], 1), {"srwt": tasks.get("srwt")}, {"srwt": {"en": ("go",)}}
    made = {s: make_example(index, Item(0, "srwt", 0, speed=s), served, prompts) for s in (0.9, 1.0, 1.1)}
    assert [made[s].target for s in (0.9, 1.0, 1.1)] == [
        "<0.5>a<1.0><11.0>b<11.3>",
        "<0.5>a<0.9><9.9>b<10.2>",
        "<0.4>a<0.8><9.0>b<9.3>",
    ]
    assert [len(made[s].audio) for s in (0.9, 1.0, 1.1)] == [200_000, 180_000, 163_637]


def test_prompts_fall_back_to_english_then_to_any():
    prompts = {"asr": {"en": ("go",), "zh": ("走",)}, "ser": {"zh": ("情",)}, "ved": {}}
    assert prompts_for(prompts, "asr", "zh") == ("走",)
    assert prompts_for(prompts, "asr", "und") == ("go",)
    assert prompts_for(prompts, "ser", "en") == ("情",)
    with pytest.raises(ValueError, match="'ved' has no prompts"):
        prompts_for(prompts, "ved", "en")


@pytest.mark.parametrize("part", [{}, {"start": 0.1, "end": 0.9}])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of libsndfile's callback
def test_a_file_of_an_utterance_that_is_gone_is_dropped(index_of, tmp_path, task_objects, prompts, part):
    for name in ("a", "b"):
        (tmp_path / f"{name}.wav").write_bytes(speech(16_000))
    lines = [{"key": n, "wav": str(tmp_path / f"{n}.wav"), "txt": "hello", **part} for n in ("a", "b")]
    index, _ = index_of("wenet_raw", write_list(tmp_path / "a.list", *lines), language="en")
    (tmp_path / "b.wav").unlink()
    kept, dropped = (make_example(index, Item(row, "asr", 0), task_objects, prompts) for row in (0, 1))
    assert kept.key == "a" and dropped.key == "b"
    assert dropped.reason.startswith("missing: ") and "b.wav: b: no longer there; put it back" in dropped.reason


def test_a_tar_that_is_gone_is_named_with_the_remedy(make_index, toy, index_of, tmp_path, task_objects, prompts):
    ours = make_index(toy(2), num_shards=1)
    tar = ours.folder / "shard_000000000.tar"
    theirs, _ = index_of("osum", write_list(tmp_path / "a.list", tar))
    tar.unlink()
    for index in (Index.open(ours.folder), Index.open(theirs.folder)):
        with pytest.raises(FileNotFoundError, match=rf"{tar}: not there, though the index in .* names it; put it back"):
            make_example(index, Item(0, "asr", 0), task_objects, prompts)

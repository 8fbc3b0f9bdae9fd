"""Manifests to cuts: what is used, what is dropped and why."""

from collections import Counter
from pathlib import Path

import pytest

from osum.data.corpora.annotation import Annotator
from osum.data.corpora.configs import FilterConfig
from osum.data.corpora.splits import SplitConfig


@pytest.fixture
def annotator(tmp_path: Path) -> Annotator:
    (tmp_path / "labels").mkdir()
    return Annotator(["asr", "sgc", "only:sgc"], FilterConfig(max_duration_s=1.5), SplitConfig(), tmp_path / "labels")


def test_every_utterance_is_used_or_listed(annotator: Annotator, tmp_path: Path, write_corpus) -> None:
    first = write_corpus(
        tmp_path / "a",
        {"id": "good", "text": "hi", "custom": {"split": "dev"}},
        {"id": "untranscribed", "gender": "male"},
        {"id": "nothing known"},
        {"id": "long", "text": "hi", "duration": 2.0},
        {"id": "short", "text": "hi", "duration": 0.05},
        {"id": "misplaced", "text": "hi", "custom": {"split": "eval"}},
        {"id": "odd", "text": "hi", "gender": "robot"},
        "not json",
    )
    second = write_corpus(tmp_path / "b", {"id": "good", "text": "hi"})
    placed = [(split, cut.id) for folder in (first, second) for split, cut in annotator.annotate_corpus(folder)]
    assert placed == [("dev", "good"), ("train", "untranscribed")]
    drops = annotator.drops
    assert (drops.read, drops.used, drops.num_dropped, drops.num_defects) == (9, 2, 7, 4)
    assert {reason.split(" (")[0]: r.ids for reason, r in drops.reasons.items() if "line" not in reason} == {
        "serves none of the tasks": ["nothing known"],
        "longer than 1.5 s": ["long"],
        "shorter than 0.1 s": ["short"],
        "unknown split 'eval'": ["misplaced"],
        "unknown gender label 'robot'": ["odd"],
        "not a JSON object": [f"{first}/supervisions.jsonl.gz:8"],
        "duplicate key": ["good"],
    }


def test_unknown_transcripts_serve_tag_only_tasks(annotator: Annotator, tmp_path: Path, write_corpus) -> None:
    folder = write_corpus(tmp_path / "a", {"id": "u", "gender": "male"}, {"id": "v", "gender": "male", "text": ""})
    served = {cut.id: cut.custom["tasks"] for _, cut in annotator.annotate_corpus(folder)}
    assert served == {"u": ["only:sgc"], "v": ["asr", "sgc", "only:sgc"]}


def test_a_speaker_in_two_splits_stops(annotator: Annotator, tmp_path: Path, write_corpus) -> None:
    rows = [{"id": s, "text": "hi", "speaker": "ann", "custom": {"split": s}} for s in ("train", "test")]
    with pytest.raises(ValueError, match="speaker 'ann' of corpus 'a' is in train and in test"):
        list(annotator.annotate_corpus(write_corpus(tmp_path / "a", *rows)))


def test_parts_of_one_recording_share_a_split_where_the_speaker_is_unknown(
    annotator: Annotator, tmp_path: Path, write_corpus
) -> None:
    annotator.split = SplitConfig(dev_fraction=0.2, test_fraction=0.3)
    rows = [{"id": f"r{n}{part}", "text": "hi", "recording_id": f"r{n}a"} for n in range(10) for part in "ab"]
    split_of = {cut.id: split for split, cut in annotator.annotate_corpus(write_corpus(tmp_path / "a", *rows))}
    assert Counter(split_of.values()) == {"train": 10, "dev": 4, "test": 6}
    assert all(split_of[f"r{n}a"] == split_of[f"r{n}b"] for n in range(10))


def test_max_cuts_counts_per_split(annotator: Annotator, tmp_path: Path, write_corpus) -> None:
    annotator.max_cuts = 1
    rows = [{"id": f"{s}{n}", "text": "hi", "custom": {"split": s}} for s in ("train", "dev") for n in range(2)]
    placed = [cut.id for _, cut in annotator.annotate_corpus(write_corpus(tmp_path / "a", *rows))]
    assert placed == ["train0", "dev0"]
    assert annotator.drops.reasons["beyond max_cuts"].ids == ["train1", "dev1"]


def test_word_times_that_are_not_used_are_counted(annotator: Annotator, tmp_path: Path, write_corpus) -> None:
    words = {"word": [["hey", 0.1, 0.2, None]]}
    rows = [{"id": "u", "text": "hi", "alignment": words}, {"id": "v", "text": "hey", "alignment": words}]
    assert len(list(annotator.annotate_corpus(write_corpus(tmp_path / "a", *rows)))) == 2
    assert annotator.ignored_words == {"a": 1}

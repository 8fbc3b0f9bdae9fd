"""Steps from supervision to cut to utterance."""

import pytest
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource
from lhotse.supervision import AlignmentItem

from osum.data.corpora import cuts
from osum.data.corpora.cuts import Unusable
from osum.data.corpora.label_maps import LabelMap, label_sets
from osum.types import Utterance


def supervision(**fields: object) -> SupervisionSegment:
    return SupervisionSegment(**{"id": "u", "recording_id": "u", "start": 0.0, "duration": 2.0, **fields})


def timed(*words: tuple[str, float, float]) -> dict[str, list[AlignmentItem]]:
    return {"word": [AlignmentItem(w, start, round(end - start, 4)) for w, start, end in words]}


def recording(sampling_rate: int = 16000) -> Recording:
    sources = [AudioSource("file", [0], "u.flac")]
    return Recording("u", sources, sampling_rate, num_samples=4 * sampling_rate, duration=4.0)


def test_labels_become_canonical() -> None:
    label_map = LabelMap("x.yaml", ({"gender": {"f": "female"}, "age": {"30": None}},), label_sets())
    raw = supervision(gender="f", custom={"age": 30, "emotion": "happy", "style": "", "room": "hall"})
    labelled = cuts.with_canonical_labels(raw, label_map)
    assert (labelled.gender, labelled.custom) == ("female", {"emotion": "happy", "room": "hall"})
    assert raw.gender == "f"
    with pytest.raises(Unusable, match="unknown gender label 'x'"):
        cuts.with_canonical_labels(supervision(gender="x"), label_map)


def test_empty_and_unknown_text_stay_what_they_are() -> None:
    assert cuts.with_clean_text(supervision(text=None)).text is None
    assert cuts.with_clean_text(supervision(text="")).text == ""
    assert cuts.with_clean_text(supervision(text="Hello, 你 好!"), strip_punctuation=True).text == "hello你好"
    assert cuts.with_clean_text(supervision(text="a", custom={"answer": "Yes, I AM"})).custom == {"answer": "yes, i am"}


@pytest.mark.parametrize(("text", "reason"), [("a <unk> b", "angle bracket"), ("...", "no letter")])
def test_unusable_text(text: str, reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        cuts.with_clean_text(supervision(text=text))


def test_words_are_normalised_and_ends_cut_back() -> None:
    raw = supervision(text="hello你", alignment=timed(("Hello,", 0.1, 0.5), ("。", 0.5, 0.5), ("你", 0.5, 2.05)))
    checked = cuts.with_checked_words(raw)
    assert [(w.symbol, w.start, w.end) for w in checked.alignment["word"]] == [("hello", 0.1, 0.5), ("你", 0.5, 2.0)]


def test_words_that_contradict_the_transcript_go() -> None:
    assert cuts.with_checked_words(supervision(text="hello", alignment=timed(("help", 0, 1)))).alignment is None
    assert cuts.with_checked_words(supervision(text=None, alignment=timed(("help", 0, 1)))).alignment is None


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([("a", 0.5, 0.9), ("b", 0.2, 0.3)], "not in order"),
        ([("a", 0.5, 0.4), ("b", 0.6, 0.7)], "not in order"),
        ([("a", 0.5, 0.6), ("b", 0.6, 2.2)], "outside the recording"),
        ([("a", -0.5, 0.6), ("b", 0.6, 1.2)], "outside the recording"),
    ],
)
def test_impossible_word_times(words: list[tuple[str, float, float]], reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        cuts.with_checked_words(supervision(text="a b", alignment=timed(*words)))


def test_a_part_of_a_recording_counts_time_from_its_start() -> None:
    part = supervision(start=1.0, channel=[0, 1], text="a", alignment=timed(("a", 1.5, 1.75)))
    cut = cuts.to_cut(recording(sampling_rate=8000), part, "toy")
    assert (cut.start, cut.duration, cut.sampling_rate, cut.num_samples, cut.channel) == (1.0, 2.0, 16000, 32000, 0)
    assert cuts.utterance(cut).words == (("a", 0.5, 0.75),)


def test_empty_parts_are_unusable() -> None:
    with pytest.raises(Unusable, match="zero-length"):
        cuts.to_cut(recording(), supervision(duration=0.0), "toy")


def test_utterance_survives_the_manifest() -> None:
    known = supervision(
        text="a b",
        speaker="s",
        gender="male",
        custom={"age": "old", "answer": "c", "question": "closed", "room": "hall"},
        alignment=timed(("a", 0.1, 0.5), ("b", 0.5, 0.8)),
    )
    cut = cuts.with_tasks(cuts.to_cut(recording(), known, "toy"), ["asr", "srwt", "ser", "sap+sgc", "sttc"])
    read = MonoCut.from_dict(cut.to_dict())
    assert cuts.utterance(read) == Utterance(
        key="u",
        corpus="toy",
        language="und",
        text="a b",
        num_samples=32000,
        speaker="s",
        words=(("a", 0.1, 0.5), ("b", 0.5, 0.8)),
        labels={"age": "old", "answer": "c", "question": "closed", "gender": "male"},
        tasks=("asr", "srwt", "sap+sgc", "sttc"),
    )

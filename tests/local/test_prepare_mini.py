import hashlib
import sys
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("espeakng_loader", reason="the embedded corpus needs espeakng_loader: pip install 'osum[mini]'")

import prepare_mini
from lhotse import RecordingSet, SupervisionSet
from mini.espeak import Espeak
from mini.plan import plan_utterance
from mini.prosody import EMOTIONS, STYLES
from mini.texts import load_grammar, unit_spans
from mini.voices import make_voices
from prepare_mini import MiniConfig

from osum.data.corpora.label_maps import label_sets
from osum.outputs import DONE_MARK


def make(folder, num_procs):
    folder.mkdir()
    cfg = MiniConfig(folder, hours=12 / 3600, num_dev=41, num_test=6, num_procs=num_procs)
    prepare_mini.write_corpus(cfg, folder)
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make(tmp_path_factory.mktemp("mini") / "one", num_procs=1)


def supervisions(corpus):
    return list(SupervisionSet.from_file(corpus / "supervisions.jsonl.gz"))


def test_bytes_do_not_depend_on_the_number_of_processes(corpus, tmp_path):
    def digests(folder):
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*.flac"))}

    again = make(tmp_path / "two", num_procs=2)
    assert len(digests(corpus)) > 50
    assert digests(corpus) == digests(again)
    assert supervisions(corpus) == supervisions(again)


def test_other_code_makes_the_corpus_again(tmp_path, monkeypatch):
    marks = []
    code = tmp_path / "voices.py"
    for text in ("rate = 1", "rate = 1", "rate = 2"):
        code.write_text(text)
        monkeypatch.setattr(prepare_mini, "_SOURCES", [*prepare_mini._SOURCES[:1], code])
        sizes = ["--hours", "0.001", "--num_dev", "1", "--num_test", "1", "--num_procs", "1"]
        monkeypatch.setattr(sys, "argv", ["prepare_mini.py", "--out_dir", str(tmp_path / "mini"), *sizes])
        prepare_mini.main()
        marks.append((tmp_path / "mini" / DONE_MARK).stat().st_ino)
    assert marks[0] == marks[1] != marks[2]


def test_every_module_of_the_corpus_is_a_source():
    names = {path.name for path in prepare_mini._SOURCES}
    assert {"grammar.yaml", "voices.py", "render.py", "plan.py"} <= names


def test_sizes_are_those_asked_for(corpus):
    counts, train_s = Counter(), 0.0
    for supervision in supervisions(corpus):
        counts[supervision.custom["split"]] += 1
        train_s += supervision.duration if supervision.custom["split"] == "train" else 0
    assert (counts["dev"], counts["test"]) == (41, 6)
    assert 12 <= train_s < 18


def test_audio_is_as_the_manifest_says_and_never_clips(corpus):
    for recording in RecordingSet.from_file(corpus / "recordings.jsonl.gz"):
        audio = recording.load_audio()
        assert audio.shape == (1, recording.num_samples)
        assert recording.sampling_rate == 16000
        assert 0.005 < np.abs(audio).max() <= 0.91
        assert recording.duration <= 6.0


def test_word_times_increase_inside_the_audio_and_spell_the_transcript(corpus):
    for supervision in supervisions(corpus):
        words = (supervision.alignment or {}).get("word", [])
        joined = (" " if supervision.language == "en" else "").join(w.symbol for w in words)
        assert joined == supervision.text
        ends = [0.0, *(w.end for w in words)]
        assert all(w.start >= end - 1e-6 and w.duration > 0 for w, end in zip(words, ends, strict=False))
        assert ends[-1] <= supervision.duration


def test_labels_are_canonical(corpus):
    legal = label_sets()
    assert set(EMOTIONS) == set(legal["emotion"])
    assert set(STYLES) == set(legal["style"])
    for supervision in supervisions(corpus):
        labels = {**supervision.custom, "gender": supervision.gender}
        for field, values in legal.items():
            assert labels.get(field) in (None, *values)
        assert (supervision.text == "") == (supervision.language == "und")


def test_speakers_of_the_splits_differ(corpus):
    by_split = {}
    for supervision in supervisions(corpus):
        by_split.setdefault(supervision.custom["split"], set()).add(supervision.speaker)
    assert not by_split["train"] & by_split["dev"]
    assert not by_split["train"] & by_split["test"]
    assert not by_split["dev"] & by_split["test"]


def test_plan_serves_every_task_in_the_default_test_set():
    grammar, voices = load_grammar(), make_voices("test", 0)
    specs = [plan_utterance(grammar, voices, "test", i, 0) for i in range(480)]
    assert sum(s.event is not None for s in specs) >= 60
    assert sum(s.emotion is not None for s in specs) >= 60
    assert sum(s.sentence is not None and s.sentence.style is not None for s in specs) >= 60
    assert sum(s.sentence is not None and s.sentence.answer is not None for s in specs) >= 60
    assert set(Counter(s.voice.name for s in specs).values()) == {40}


def test_synthesiser_reports_word_onsets_in_characters():
    speech = Espeak().speak("oh, my heart", "en-us+f2", rate_wpm=200, pitch=50, pitch_range=50, volume=50, word_gap=0)
    assert [first for first, _, _ in speech.words] == [a for a, _ in unit_spans("oh, my heart", "en")]
    onsets_s = [onset_s for _, _, onset_s in speech.words]
    assert onsets_s == sorted(onsets_s)
    assert onsets_s[-1] < speech.end_s <= len(speech.audio) / speech.sample_rate_hz + 0.01


def test_unknown_voice_is_named():
    with pytest.raises(ValueError, match="no voice 'xx'"):
        Espeak().speak("hello", "xx", rate_wpm=200, pitch=50, pitch_range=50, volume=50, word_gap=0)


def test_missing_synthesiser_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ValueError, match=r"GPL.*pip install 'osum\[mini\]'"):
        Espeak()


def test_sizes_are_checked(tmp_path):
    with pytest.raises(ValueError, match="hours must be > 0"):
        MiniConfig(tmp_path, hours=0)

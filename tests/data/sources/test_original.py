import json
import tarfile

import pytest

from tests.data.foreign import reasons, speech, write_list, write_tar

FIELDS = {
    "task": "<TRANSCRIBE>",
    "lang": "<CN>",
    "speaker": "s1",
    "emotion": "none",
    "gender": "none",
    "duration": "1.0",
}


def members(key, text, extra=None, **fields):
    """One utterance as the original's writer leaves it: sizes of fields are counted in characters."""
    made = [(f"{key}.txt", text), (f"{key}.wav", speech())]
    for name, value in {**FIELDS, **fields}.items():
        info = tarfile.TarInfo(f"{key}.{name}")
        info.size = len(value)
        made.append((info, value))
    return [*made, (f"{key}.extra", json.dumps(extra or {}, ensure_ascii=False))]


@pytest.fixture
def index_tar(index_of, tmp_path):
    """Index utterances as one tar without end blocks."""

    def index(*utterances):
        tar = write_tar(tmp_path / "a.tar", [m for utterance in utterances for m in utterance], end_blocks=False)
        return index_of("original", write_list(tmp_path / "a.list", tar))

    return index


TASKS = {
    "asr": ("<TRANSCRIBE>", "你好 World", "你好world", {}, ("asr",)),
    "ser": ("<TRANSCRIBE> <EMOTION>", "你好<HAPPY>", "你好", {"emotion": "happy"}, ("asr", "ser")),
    "ssr": ("<TRANSCRIBE> <STYLE>", "你好<科幻>", "你好", {"style": "有声书"}, ("asr", "ssr")),
    "ved": ("<TRANSCRIBE> <CAPTION>", "<LAUGH>", "", {"event": "laugh"}, ("asr", "ved")),
    "sttc": ("<TRANSCRIBE> <S2TCHAT>", "你好吗<开始回答>很好", "你好吗", {"answer": "很好"}, ("asr", "sttc")),
    "sap+sgc": (
        "<TRANSCRIBE> <AGE> <GENDER>", "你好<OLD><FEMALE>", "你好", {"age": "old", "gender": "female"},
        ("asr", "sgc", "sap", "only:sap+sgc"),
    ),
    "only:sap+sgc": ("<AGE> <GENDER>", "<OLD><FEMALE>", None, {"age": "old", "gender": "female"}, ("only:sap+sgc",)),
}  # fmt: skip


@pytest.mark.parametrize(("task", "text", "transcript", "labels", "served"), TASKS.values(), ids=TASKS)
def test_targets_are_taken_apart(index_tar, task, text, transcript, labels, served):
    index, _ = index_tar(members("u", text, task=task))
    utterance = index.utterance(0)
    assert (utterance.text, utterance.labels) == (transcript, labels)
    assert set(utterance.tasks) == set(served)
    assert (utterance.language, utterance.speaker, utterance.num_samples) == ("zh", "s1", 16_000)


def test_word_times_are_read(index_tar):
    text = "<0.1>你<0.3><0.3>好<0.5>"
    index, _ = index_tar(members("u", text, task="<TRANSCRIBE> <ALIGN>"))
    utterance = index.utterance(0)
    assert utterance.text == "你好" and utterance.words == (("你", 0.1, 0.3), ("好", 0.3, 0.5))
    assert utterance.tasks == ("asr", "srwt")


def test_labels_beside_the_text_are_taken_too(index_tar):
    index, _ = index_tar(members("u", "你好", emotion="SAD", extra={"age": "<ADULT>", "dataset": "x", "gender": "M"}))
    assert index.utterance(0).labels == {"emotion": "sad", "age": "adult", "gender": "male"}


def test_fields_that_the_writer_cut_are_unknown_and_noted(index_tar):
    index, drops = index_tar(members("u", "你好", speaker="张三", emotion="高兴"), members("v", "再见"))
    assert index.utterance(0).speaker is None and index.utterance(0).labels == {}
    assert index.utterance(1).speaker == "s1"
    cut = "field {} cut short by the original's writer, taken as unknown"
    assert {name: len(ids) for name, ids in drops.notes.items()} == {cut.format("speaker"): 1, cut.format("emotion"): 1}


LOSSES = {
    "unknown task": (members("u", "x", task="<S2TCHAT> <TEXT2TOKEN>"), "task <S2TCHAT> <TEXT2TOKEN> is none of ours"),
    "mark": (members("u", "<None>"), "its text is a mark for a missing text"),
    "no tag": (members("u", "你好", task="<TRANSCRIBE> <AGE>"), "text does not have one tag for each part of its task"),
    "no times": (members("u", "你好", task="<TRANSCRIBE> <ALIGN>"), "text is not made of timed units"),
    "no answer": (members("u", "你好", task="<TRANSCRIBE> <S2TCHAT>"), "text has no answer"),
    "words": (members("u", "你好<OLD>", task="<AGE>"), "text holds more than the tags of its task"),
    "cut task": (members("u", "你好", task="<转写>"), "no task"),
}


@pytest.mark.parametrize(("lost", "reason"), LOSSES.values(), ids=LOSSES)
def test_a_loss_has_a_name(index_tar, lost, reason):
    index, drops = index_tar(members("good", "你好"), lost)
    assert index.keys() == ["good"]
    assert reasons(drops) == {reason: 1}


def test_an_unknown_label_names_the_file_of_aliases(index_tar):
    _, drops = index_tar(members("good", "你好"), members("u", "你好<QUEASY>", task="<TRANSCRIBE> <EMOTION>"))
    (reason,) = drops.reasons
    assert reason.startswith("unknown emotion label 'queasy' (add an alias to ") and "toy.yaml" in reason


def test_raw_lists_of_the_original_have_tasks_too(index_of, tmp_path):
    (tmp_path / "a.wav").write_bytes(speech())
    row = {"key": "u", "wav": "a.wav", "txt": "你好<FEMALE>", **FIELDS, "task": "<TRANSCRIBE> <GENDER>", "extra": {}}
    index, _ = index_of("wenet_raw", write_list(tmp_path / "a.list", row), root=str(tmp_path))
    assert index.utterance(0).labels == {"gender": "female"} and index.utterance(0).text == "你好"

"""Finding tasks by name, and what holds for every task."""

from collections.abc import Callable
from pathlib import Path

import pytest

from osum import tasks
from osum.tasks.base import SCORES
from osum.types import Utterance

MakeUtterance = Callable[..., Utterance]
SOME = [*tasks.names(), "sap+sgc", "ssr+sap+sgc", "only:ved", "only:sap+sgc"]


def test_the_eight_tasks_in_the_order_of_tables() -> None:
    assert tasks.names() == ("asr", "srwt", "ved", "ser", "ssr", "sgc", "sap", "sttc")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("emotion", "unknown task 'emotion'.*asr, srwt, ved, ser, ssr, sgc, sap, sttc"),
        ("sap+", "unknown task ''"),
        ("asr+ser", "only different ones of ved, ser, ssr, sgc, sap"),
        ("only:sttc", "only different ones"),
        ("ser+ser", "only different ones"),
    ],
)
def test_unknown_tasks_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tasks.get(name)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("asr", "how are you"),
        ("srwt", "<0.1>how<0.3><0.3>are<0.5><0.5>you<0.9>"),
        ("ved", "how are you<throat clearing>"),
        ("ser", "how are you<happy>"),
        ("ssr", "how are you<日常口语>"),
        ("sgc", "how are you<female>"),
        ("sap", "how are you<old>"),
        ("sttc", "how are you<开始回答>very well"),
        ("sap+sgc", "how are you<old><female>"),
        ("ssr+sap+sgc", "how are you<日常口语><old><female>"),
        ("only:ved", "<throat clearing>"),
        ("only:sap+sgc", "<old><female>"),
    ],
)
def test_targets(name: str, target: str, utterance: MakeUtterance) -> None:
    assert tasks.get(name).target(utterance()) == target


@pytest.mark.parametrize("name", SOME)
def test_the_target_parses_and_scores_as_perfect(name: str, utterance: MakeUtterance) -> None:
    task, ref = tasks.get(name), utterance()
    target = task.target(ref)
    assert task.parse(target)["transcript"] == ("" if name.startswith("only:") else "how are you")
    scores = task.score([ref, ref], [target, target])
    assert set(SCORES) <= set(scores)
    assert scores["n"] == 2
    assert scores["wer"] in (0.0, None)
    assert scores["accuracy"] in (1.0, None)
    assert scores["exact"] in (1.0, None)
    assert scores["coverage"] in (1.0, None)


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize(
    "text", ["", "<", "<>", "<<0.1>", "how<0.1", "<0.5>how<0.1>", "<开始回答>", "\x00<9999.9>龘<0>"]
)
def test_no_output_breaks_a_parser(name: str, text: str, utterance: MakeUtterance) -> None:
    task = tasks.get(name)
    assert isinstance(task.parse(text)["transcript"], str)
    assert task.score([utterance()], [text])["n"] == 1


@pytest.mark.parametrize("name", SOME)
def test_no_utterance_scores_as_null(name: str) -> None:
    scores = tasks.get(name).score([], [])
    assert scores["n"] == 0
    assert {scores[key] for key in SCORES if key != "n"} == {None}


def test_tags_for_the_encoder_decoder() -> None:
    assert [tasks.get(name).tag for name in ("asr", "sap+sgc", "only:sap+sgc")] == [
        "<asr>",
        "<sap><sgc>",
        "<only><sap><sgc>",
    ]


NINTH = """
from osum.tasks.tag_task import Field, TagTask

TASK = TagTask("slu", [Field("intent", ("play", "stop"), {"zh": "意图", "en": "intent"})])
"""


def test_a_ninth_task_is_one_file_and_its_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slu.py").write_text(NINTH, encoding="utf-8")
    (tmp_path / "slu.yaml").write_text("zh: [意图]\nen: [intent]\n", encoding="utf-8")
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    tasks.discovered.cache_clear()
    try:
        assert tasks.names()[-1] == "slu"
        ref = Utterance("u", "toy", "en", "stop it", 16000, labels={"intent": "stop", "gender": "male"})
        assert tasks.get("slu+sgc").target(ref) == "stop it<stop><male>"
        assert tasks.load_prompts(tmp_path, ["slu"])["slu"]["en"] == ("intent",)
    finally:
        tasks.discovered.cache_clear()


def test_speed_is_for_tasks_whose_label_it_leaves() -> None:
    assert [name for name in SOME if tasks.get(name).any_speed] == ["asr", "srwt", "ved", "sttc", "only:ved"]
    assert not tasks.get("ved+ser").any_speed
    assert [name for name in SOME if tasks.get(name).timed] == ["srwt"]

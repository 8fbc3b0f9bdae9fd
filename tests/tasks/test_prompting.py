"""Prompts."""

from pathlib import Path

import pytest

from osum import tasks

MINI = Path("egs/osum/conf/mini/prompts")


@pytest.mark.parametrize("folder", [None, MINI])
def test_every_task_has_three_prompts_per_language_that_no_other_task_has(folder: Path | None, repo_root: Path) -> None:
    folder = folder and repo_root / folder
    prompts = tasks.load_prompts(folder, [*tasks.names(), "sap+sgc", "only:ved", "only:ser", "only:sap+sgc"])
    for language in ("zh", "en"):
        assert all(len(of_task[language]) >= 3 for of_task in prompts.values())
        sentences = [sentence for of_task in prompts.values() for sentence in of_task[language]]
        assert len(set(sentences)) == len(sentences)


def test_combined_tasks_are_composed_from_topics() -> None:
    assert (
        tasks.load_prompts(None, ["sap+sgc"])["sap+sgc"]["en"][0]
        == "Transcribe the speech and tell the age and gender."
    )
    assert (
        tasks.load_prompts(None, ["ssr+sap+sgc"])["ssr+sap+sgc"]["zh"][1] == "请写下说话内容，再说明风格、年龄和性别。"
    )
    assert tasks.load_prompts(None, ["only:ved"])["only:ved"]["en"][1] == "Name the vocal event and nothing else."


def test_a_file_of_its_own_comes_first(tmp_path: Path) -> None:
    (tmp_path / "sap+sgc.yaml").write_text("zh: [谁]\nen: [who]\n", encoding="utf-8")
    (tmp_path / "only.ved.yaml").write_text("zh: [何]\nen: [what]\n", encoding="utf-8")
    assert tasks.load_prompts(tmp_path, ["sap+sgc", "only:ved"]) == {
        "sap+sgc": {"zh": ("谁",), "en": ("who",)},
        "only:ved": {"zh": ("何",), "en": ("what",)},
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("en: [a]", "two keys zh and en"),
        ("zh: []\nen: [a]", "zh must be a list"),
        ("zh: [a, a]\nen: [a]", "same sentence twice"),
        ("zh: [a, ' ']\nen: [a]", "zh must be a list of sentences, none of them empty"),
    ],
)
def test_malformed_files_are_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "asr.yaml").write_text(content)
    with pytest.raises(ValueError, match=rf"asr.yaml: .*{message}"):
        tasks.load_prompts(tmp_path, ["asr"])
    with pytest.raises(ValueError, match=r"srwt.yaml: no prompts"):
        tasks.load_prompts(tmp_path, ["srwt"])

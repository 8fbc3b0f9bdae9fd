"""Tasks with tags."""

from collections.abc import Callable

import pytest

from osum import tasks
from osum.types import Utterance

MakeUtterance = Callable[..., Utterance]


def test_unknown_and_empty_transcripts_differ(utterance: MakeUtterance) -> None:
    assert tasks.get("ved").target(utterance(None)) is None
    assert tasks.get("only:ved").target(utterance(None)) == "<throat clearing>"
    assert tasks.get("ved").target(utterance("")) == "<throat clearing>"


def test_every_field_is_needed(utterance: MakeUtterance) -> None:
    assert tasks.get("sap+sgc").target(utterance(gender="male")) is None
    assert tasks.get("sgc").target(utterance(gender="male")) == "how are you<male>"


def test_tags_belong_to_the_first_field_in_which_they_are_legal() -> None:
    both = tasks.get("ser+ved")
    assert both.parse("a<other><other>") == {"transcript": "a", "emotion": "other", "event": "other"}
    assert both.parse("a<laugh>") == {"transcript": "a", "emotion": None, "event": "laugh"}
    assert both.parse("a<joy><sad>b<laugh>") == {"transcript": "a b", "emotion": "sad", "event": "laugh"}


def test_case_of_the_output_does_not_matter() -> None:
    assert tasks.get("ser").parse("Hello <HAPPY>") == {"transcript": "hello", "emotion": "happy"}


def test_joint_and_single_scores_of_a_combined_task() -> None:
    refs = [
        Utterance(k, "toy", "en", "a", 1, labels={"age": a, "gender": "male"})
        for k, a in (("x", "old"), ("y", "child"))
    ]
    scores = tasks.get("sap+sgc").score(refs, ["a<old><male>", "b<adult><male>"])
    assert (scores["accuracy"], scores["chance"], scores["majority"], scores["wer"]) == (0.5, 0.5, 0.5, 0.5)
    assert scores["fields"]["age"]["accuracy"] == 0.5
    assert scores["fields"]["gender"]["accuracy"] == 1.0


def test_a_missing_tag_lowers_accuracy(utterance: MakeUtterance) -> None:
    scores = tasks.get("sgc").score([utterance(), utterance()], ["how are you<female>", "how are you"])
    assert (scores["accuracy"], scores["unparsed"], scores["wer"]) == (0.5, 1, 0.0)


def test_references_without_label_are_named(utterance: MakeUtterance) -> None:
    with pytest.raises(ValueError, match="reference u: emotion None"):
        tasks.get("ser").score([utterance(gender="male")], ["a<sad>"])

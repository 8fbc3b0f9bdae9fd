"""Utterances travel through JSON unchanged."""

import json

import pytest

from osum.types import Utterance

UTTERANCE = Utterance(
    key="spk/001",
    corpus="mini",
    language="zh",
    text="你好",
    num_samples=16000,
    speaker="spk",
    words=(("你", 0.1, 0.3), ("好", 0.3, 0.5)),
    labels={"age": "old", "style": "日常口语"},
    tasks=("asr", "srwt"),
)


def test_an_utterance_survives_json():
    assert Utterance.from_json(json.loads(json.dumps(UTTERANCE.to_json()))) == UTTERANCE


def test_verified_silence_and_an_unknown_transcript_stay_apart():
    silent, unknown = ({**UTTERANCE.to_json(), "text": text} for text in ("", None))
    assert Utterance.from_json(silent).text == ""
    assert Utterance.from_json(unknown).text is None


def test_fields_of_others_are_ignored_and_missing_ones_named():
    assert Utterance.from_json({**UTTERANCE.to_json(), "snr_db": 20}) == UTTERANCE
    with pytest.raises(ValueError, match=r"utterance 'spk/001' lacks \['num_samples'\]"):
        Utterance.from_json({k: v for k, v in UTTERANCE.to_json().items() if k != "num_samples"})


WRONG = ({"text": 5}, {"labels": ["old"]}, {"labels": {"age": None}}, {"num_samples": 1.5}, {"tasks": [1]})


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_fields_of_a_wrong_type_are_refused(wrong):
    with pytest.raises(TypeError, match="utterance 'spk/001': "):
        Utterance.from_json({**UTTERANCE.to_json(), **wrong})

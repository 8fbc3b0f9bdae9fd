from dataclasses import replace

import numpy as np
import pytest

from osum.text.template import IGNORED, SulmTemplate, WhisperTemplate
from osum.types import Example


class CharTokenizer:
    eos_token_id = 0

    def encode(self, text, add_special_tokens=False):
        return [ord(c) for c in text]


# 5,000 samples: 31 mel frames, 16 encoder frames, 4 speech embeddings.
EXAMPLE = Example("k", "ser", "en", "PP", "ab", np.zeros(5_000, dtype=np.float32))
P, A, B = ord("P"), ord("a"), ord("b")


def test_sulm_predicts_target_and_end_after_the_speech():
    sequence = SulmTemplate(CharTokenizer()).encode(EXAMPLE)
    assert sequence.input_ids.tolist() == [P, P, 0, 0, 0, 0, 0, 0, A, B]
    assert sequence.labels.tolist() == [-100] * 7 + [A, B, 0]
    assert sequence.speech_mask.tolist() == [False] * 2 + [True] * 6 + [False] * 2


def test_whisper_predicts_target_and_end_after_its_tag():
    sequence = WhisperTemplate(CharTokenizer(), {"ser": "<e>"}, start_ids=[7, 8]).encode(EXAMPLE)
    tag = [ord(c) for c in "<e>"]
    assert sequence.input_ids.tolist() == [7, 8, *tag, A, B]
    assert sequence.labels.tolist() == [-100] * 4 + [A, B, 0]
    assert not sequence.speech_mask.any()


def test_whisper_starts_from_the_end_token_by_default():
    assert WhisperTemplate(CharTokenizer(), {"ser": ""}).prefix(EXAMPLE).input_ids.tolist() == [0]


@pytest.mark.parametrize("template", [SulmTemplate(CharTokenizer()), WhisperTemplate(CharTokenizer(), {"ser": "<e>"})])
@pytest.mark.parametrize("num_samples", [400, 1_601, 32_000, 47_999])
def test_lengths_are_those_of_the_sequence(template, num_samples):
    example = replace(EXAMPLE, audio=np.zeros(num_samples, dtype=np.float32))
    prefix, whole = template.prefix(example), template.encode(example)
    num_prefix = template.prefix_len("ser", "PP") + template.num_speech(num_samples)
    assert len(prefix.input_ids) == num_prefix
    assert len(whole.input_ids) == num_prefix + len(template.target_ids("ab"))
    np.testing.assert_array_equal(whole.input_ids[:num_prefix], prefix.input_ids)
    assert (prefix.labels == -100).all()


def test_an_empty_target_predicts_the_end_alone():
    sequence = SulmTemplate(CharTokenizer()).encode(replace(EXAMPLE, target=""))
    assert sequence.labels.tolist() == [-100] * 7 + [0]


def test_a_tokenizer_without_end_token_is_refused():
    tokenizer = CharTokenizer()
    tokenizer.eos_token_id = None
    with pytest.raises(ValueError, match="no end token"):
        SulmTemplate(tokenizer)


def test_what_follows_the_transcript_weighs_more():
    template = SulmTemplate(CharTokenizer(), tag_weight=5.0)

    def weights(target: str, transcript: str | None) -> list[float]:
        example = Example("k", "ser", "en", "p", target, np.zeros(1600, dtype=np.float32), transcript)
        sequence = template.encode(example)
        return sequence.weights[sequence.labels != IGNORED].tolist()

    assert weights("ab<x>", "ab") == [1.0, 1.0, 5.0, 5.0, 5.0, 1.0]
    assert weights("<x>", None) == [5.0, 5.0, 5.0, 1.0]
    assert set(weights("<0.1>ab<0.4>", "ab")) == {1.0}
    assert set(weights("ab", "ab")) == {1.0}

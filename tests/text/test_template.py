from dataclasses import replace

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from osum.text.configs import TemplateConfig
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


SPEECH_FIRST = TemplateConfig(speech_first=True)


def test_speech_can_come_before_the_prompt():
    sequence = SulmTemplate(CharTokenizer(), cfg=SPEECH_FIRST).encode(EXAMPLE)
    assert sequence.input_ids.tolist() == [0, 0, 0, 0, 0, 0, P, P, A, B]
    assert sequence.labels.tolist() == [-100] * 7 + [A, B, 0]
    assert sequence.speech_mask.tolist() == [True] * 6 + [False] * 4


def chat(bpe: PreTrainedTokenizerBase, content: str, system: str | None) -> list[int]:
    """A dialogue as Qwen2 writes it, up to the answer."""
    said = {"system": system, "user": content}
    turns = [f"<|im_start|>{who}\n{text}<|im_end|>\n" for who, text in said.items() if text is not None]
    return bpe.encode("".join(turns) + "<|im_start|>assistant\n")


@pytest.mark.parametrize("speech_first", [False, True])
@pytest.mark.parametrize("system", [None, "You are a helpful assistant."])
def test_chatml_is_a_dialogue_with_the_speech_in_it(bpe, speech_first, system):
    template = SulmTemplate(bpe, cfg=TemplateConfig("chatml", speech_first, system))
    sequence = template.encode(replace(EXAMPLE, prompt="do it", target="hello"))
    assert sequence.speech_mask.sum() == 6 and np.ptp(np.flatnonzero(sequence.speech_mask)) == 5
    text = sequence.input_ids[~sequence.speech_mask].tolist()
    assert text == chat(bpe, "do it", system) + bpe.encode("hello")
    assert sequence.labels[sequence.labels != IGNORED].tolist() == [*bpe.encode("hello"), template.eos_id]
    assert bpe.convert_ids_to_tokens(template.eos_id) == "<|im_end|>"
    follows = text[int(np.flatnonzero(sequence.speech_mask)[0]) :]
    assert bpe.decode(follows).startswith("do it<|im_end|>" if speech_first else "<|im_end|>\n")


def test_chatml_needs_its_tokens():
    with pytest.raises(ValueError, match=r"lacks <\|im_start\|> and <\|im_end\|>; use form plain"):
        SulmTemplate(CharTokenizer(), cfg=TemplateConfig("chatml"))


@pytest.mark.parametrize(
    "template",
    [
        SulmTemplate(CharTokenizer()),
        SulmTemplate(CharTokenizer(), cfg=SPEECH_FIRST),
        WhisperTemplate(CharTokenizer(), {"ser": "<e>"}),
    ],
)
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

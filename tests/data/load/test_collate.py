import numpy as np
import torch

from osum.data.load.collate import collate, collate_prefixes, placeholder
from osum.text.template import SulmTemplate
from osum.types import Example


def example(key, num_samples, target, transcript):
    return Example(key, "asr", "en", "p", target, np.full(num_samples, 0.1, dtype=np.float32), transcript)


EXAMPLES = [example("a", 5_000, "ab", "ab"), example("b", 1_600, "", None), example("c", 8_000, "c", "")]


def test_samples_stay_as_they_are_stored_if_all_are_alike(tokenizer):
    stored = [np.array([1, -2, 2**14] * 200, dtype=np.int16), np.full(500, -(2**15), dtype=np.int16)]
    floats = [np.full(450, 0.25, dtype=np.float32)]

    def packed(*audio):
        made = [Example(str(i), "asr", "en", "p", "a", samples) for i, samples in enumerate(audio)]
        return collate(made, SulmTemplate(tokenizer)).audio

    assert packed(*stored).dtype == torch.int16
    assert packed(*stored).tolist() == [1, -2, 2**14] * 200 + [-(2**15)] * 500
    assert packed(*stored, *floats).dtype == torch.float32
    assert packed(*stored, *floats).tolist() == [2**-15, -(2**-14), 0.5] * 200 + [-1.0] * 500 + [0.25] * 450


def test_everything_is_packed_with_lengths_beside(tokenizer, units):
    batch = collate(EXAMPLES, SulmTemplate(tokenizer), units)
    assert batch.keys == ["a", "b", "c"] and batch.tasks == ["asr"] * 3
    assert batch.audio_lens.tolist() == [5_000, 1_600, 8_000] and batch.audio.shape == (14_600,)
    # 1 prompt token, speech-begin and -end, 4 / 2 / 7 speech embeddings, the target.
    assert batch.segment_lens.tolist() == [9, 5, 11]
    assert batch.input_ids.shape == batch.labels.shape == batch.speech_mask.shape == (25,)
    assert batch.labels[batch.labels != -100].tolist() == [97, 98, 0, 0, 99, 0]
    assert batch.ctc_labels.tolist() == [1, 2] and batch.ctc_lens.tolist() == [2, 0, 0]


def test_a_batch_is_the_concatenation_of_its_utterances(tokenizer, units):
    template = SulmTemplate(tokenizer)
    whole = collate(EXAMPLES, template, units)
    alone = [collate([e], template, units) for e in EXAMPLES]
    for name in ("audio", "input_ids", "labels", "speech_mask", "segment_lens", "ctc_labels", "ctc_lens"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(b, name) for b in alone]))


def test_without_units_there_are_no_ctc_labels(tokenizer):
    assert collate(EXAMPLES, SulmTemplate(tokenizer)).ctc_labels is None


def test_prefixes_end_before_the_targets(tokenizer):
    batch = collate_prefixes(EXAMPLES, SulmTemplate(tokenizer))
    assert batch.segment_lens.tolist() == [7, 5, 10] and (batch.labels == -100).all()


def test_a_placeholder_predicts_nothing(tokenizer, units):
    batch = placeholder(SulmTemplate(tokenizer), "ser", units)
    assert batch.keys == [""] and batch.tasks == ["ser"] and (batch.labels == -100).all()
    assert batch.audio_lens.tolist() == [1_600] and batch.ctc_lens.tolist() == [0] and len(batch.ctc_labels) == 0

import torch

from osum.model.generate import generate, left_pad
from osum.model.packing import Packing

LIMIT = 8


def step_by_step(model, prefixes, eos_id):
    """Greedy continuation of one prefix without a cache: the whole sequence is read again for each token."""
    speech, packing = model.embed_speech(prefixes.audio, prefixes.audio_lens)
    sequence = model.splice(prefixes.input_ids, prefixes.speech_mask, speech, packing)
    ids = []
    while len(ids) < LIMIT:
        hidden = model.read(sequence, Packing(torch.tensor([len(sequence)])))
        ids.append(int(model.llm.lm_head(hidden[-1]).argmax()))
        if ids[-1] == eos_id:
            return ids[:-1], False
        sequence = torch.cat([sequence, model.llm.get_input_embeddings().weight[ids[-1:]]])
    return ids, True


@torch.inference_mode()
def test_greedy_is_the_argmax_of_the_training_pass(sulm, prefixes):
    # A token that the model does write serves as end token, so that some end and some are cut off.
    first = generate(sulm, prefixes([0]), eos_token_id=299, max_new_tokens=LIMIT)[0]
    for eos_id in (299, first.ids[3]):
        found = generate(sulm, prefixes([0, 1, 2, 3]), eos_id, LIMIT)
        assert [(g.ids, g.truncated) for g in found] == [step_by_step(sulm, prefixes([n]), eos_id) for n in range(4)]
    assert not found[0].truncated and len(found[0].ids) <= 3


def test_text_does_not_depend_on_the_batch(sulm, prefixes):
    together = generate(sulm, prefixes([3, 1, 0, 2]), 0, LIMIT)
    assert together == [generate(sulm, prefixes([n]), 0, LIMIT)[0] for n in (3, 1, 0, 2)]


def test_the_text_depends_on_the_audio(sulm, prefixes):
    with torch.no_grad():
        sulm.adaptor.proj.weight.mul_(4)  # random models listen little
    written = generate(sulm, prefixes([0, 1, 2, 3]), 0, LIMIT)
    assert len({tuple(g.ids) for g in written}) > 1


def log_prob(model, prefixes, ids):
    """Log-probability of a continuation of one prefix."""
    speech, packing = model.embed_speech(prefixes.audio, prefixes.audio_lens)
    sequence = model.splice(prefixes.input_ids, prefixes.speech_mask, speech, packing)
    sequence = torch.cat([sequence, model.llm.get_input_embeddings().weight[ids[:-1]]])
    hidden = model.read(sequence, Packing(torch.tensor([len(sequence)])))[-len(ids) :]
    return model.llm.lm_head(hidden).log_softmax(-1).gather(1, torch.tensor(ids)[:, None]).sum()


@torch.inference_mode()
def test_beams_find_what_is_more_likely(sulm, prefixes):
    greedy, beams = (generate(sulm, prefixes([0]), 0, 5, num_beams)[0].ids for num_beams in (1, 4))
    assert log_prob(sulm, prefixes([0]), beams) >= log_prob(sulm, prefixes([0]), greedy)


def test_left_pad_literal():
    padded, mask = left_pad(torch.arange(1.0, 5.0)[:, None], Packing(torch.tensor([1, 3])))
    assert padded.squeeze(2).tolist() == [[0, 0, 1], [2, 3, 4]]
    assert mask.tolist() == [[0, 0, 1], [1, 1, 1]]

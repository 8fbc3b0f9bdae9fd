import pytest
import torch
from transformers import GenerationConfig

from osum.model.continuation import Continuation
from osum.model.ending import StopRules
from osum.model.generate import embed_each, generate, generate_all, start
from osum.model.onednn import PLAIN, use_onednn
from osum.model.packing import Packing
from osum.model.precision import halve

LIMIT = 8
NEVER = StopRules(frozenset())


def sequence(model, prefixes):
    """Embeddings (L, H) of one prefix."""
    speech, packing = model.embed_speech(prefixes.audio, prefixes.audio_lens)
    return model.splice(prefixes.input_ids, prefixes.speech_mask, speech, packing)


def next_logits(model, embedded, ids):
    """Logits (len(ids) + 1, V) after one prefix and each of the tokens: the pass of training, without a cache."""
    embedded = torch.cat([embedded, model.llm.get_input_embeddings().weight[ids]])
    return model.llm.lm_head(model.read(embedded, Packing(torch.tensor([len(embedded)])))[-len(ids) - 1 :])


def step_by_step(model, prefixes, stop_ids, limit):
    """Greedy continuation of one prefix without a cache: the whole sequence is read again for each token."""
    embedded, ids = sequence(model, prefixes), []
    while len(ids) < limit:
        token_id = int(next_logits(model, embedded, ids)[-1].argmax())
        if token_id in stop_ids:
            return ids, False
        ids.append(token_id)
    return ids, True


def found(generated):
    return [(g.ids, g.truncated) for g in generated]


@torch.inference_mode()
def test_greedy_is_the_argmax_of_the_training_pass(sulm, prefixes):
    # Tokens that the model does write serve as stop tokens, so that some texts end and some are cut off.
    first, second = (generate(sulm, prefixes([n]), [LIMIT], NEVER)[0].ids for n in (0, 1))
    for stop_ids in ({299}, {first[3]}, {first[3], second[2]}):
        texts = found(generate(sulm, prefixes([0, 1, 2, 3]), [LIMIT] * 4, StopRules(frozenset(stop_ids))))
        assert texts == [step_by_step(sulm, prefixes([n]), stop_ids, LIMIT) for n in range(4)]
        assert not stop_ids & {token_id for ids, _ in texts for token_id in ids}
    assert not texts[0][1] and len(texts[0][0]) <= 3 and not texts[1][1] and len(texts[1][0]) <= 2


@torch.inference_mode()
def test_every_row_has_its_own_limit(sulm, prefixes):
    limits = [1, 70, 3, 8]  # beyond the columns that the cache starts with
    texts = found(generate(sulm, prefixes([0, 1, 2, 3]), limits, NEVER))
    assert texts == [step_by_step(sulm, prefixes([n]), (), limit) for n, limit in enumerate(limits)]


@pytest.mark.parametrize("num_rows", [1, 2, 3])
def test_those_that_wait_take_the_place_of_those_that_end(sulm, prefixes, num_rows):
    numbers, limits, begun = [3, 1, 0, 2, 1, 3], [2, 90, 7, 1, 12, 70], []

    def begin(places):
        begun.append(list(places))
        return start(sulm, prefixes([numbers[place] for place in places]))

    texts = dict(generate_all(begin, enumerate(limits), NEVER, num_rows, num_beams=1))
    alone = [generate(sulm, prefixes([n]), [limit], NEVER)[0] for n, limit in zip(numbers, limits, strict=True)]
    assert [texts[place] for place in range(6)] == alone
    assert (
        begun
        == {
            1: [[0], [1], [2], [3], [4], [5]],
            2: [[0, 1], [2], [3], [4], [5]],
            3: [[0, 1, 2], [3], [4], [5]],
        }[num_rows]
    )


def test_nothing_asked_nothing_written():
    for num_beams in (1, 2):
        assert not list(generate_all(lambda _: pytest.fail("nothing to read"), [], NEVER, 2, num_beams))


@pytest.mark.parametrize("num_beams", [1, 3])
def test_text_does_not_depend_on_the_batch(sulm, prefixes, num_beams):
    limits = {3: 2, 1: 12, 0: 7, 2: 12}
    together = generate(sulm, prefixes(limits), list(limits.values()), StopRules(frozenset({0})), num_beams)
    for n, text in zip(limits, together, strict=True):
        assert [text] == generate(sulm, prefixes([n]), [limits[n]], StopRules(frozenset({0})), num_beams)


def steps(model, prefixes, numbers, forced, keep=None):
    """Logits (steps, B, V) of a Continuation that is fed `forced` (steps, 4) tokens, rows leaving after 3 steps."""
    batch = prefixes(numbers)
    speech, packing = model.embed_speech(batch.audio, batch.audio_lens)
    embedded = model.splice(batch.input_ids, batch.speech_mask, speech, packing)
    state, rows = Continuation(model, embedded, Packing(batch.segment_lens)), list(range(len(numbers)))
    logits = [dict(zip(numbers, state.logits, strict=True))]
    for step, token_ids in enumerate(forced):
        leaving = None
        if step == 3 and keep is not None:
            rows, leaving = keep, torch.tensor(keep)
        state.feed(token_ids[[numbers[row] for row in rows]], leaving)
        logits.append({numbers[row]: value for row, value in zip(rows, state.logits, strict=True)})
    return logits


@torch.inference_mode()
@pytest.mark.parametrize("layer", PLAIN)
def test_logits_do_not_depend_on_companions_order_padding_or_rows_that_leave(sulm, prefixes, layer):
    use_onednn(sulm, layer)
    forced = torch.randint(0, 300, (6, 4), generator=torch.Generator().manual_seed(0))
    alone = {n: steps(sulm, prefixes, [n], forced) for n in range(4)}
    for numbers, keep in (([0, 1, 2, 3], None), ([3, 1, 0, 2], [2, 0]), ([2, 3], [1]), ([1, 0, 3], [1, 2])):
        for step, of_step in enumerate(steps(sulm, prefixes, numbers, forced, keep)):
            for n, logits in of_step.items():
                torch.testing.assert_close(logits, alone[n][step][n], rtol=0, atol=1e-5)
    for n in range(4):
        training = next_logits(sulm, sequence(sulm, prefixes([n])), forced[:, n])
        torch.testing.assert_close(torch.stack([s[n] for s in alone[n]]), training, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_logits_in_bfloat16_stay_near_each_other_and_near_float32(sulm, prefixes):
    forced = torch.randint(0, 300, (4, 4), generator=torch.Generator().manual_seed(0))
    exact = steps(sulm, prefixes, [0, 1, 2, 3], forced)
    halve(sulm.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        together = steps(sulm, prefixes, [0, 1, 2, 3], forced)
        alone = {n: steps(sulm, prefixes, [n], forced) for n in range(4)}
    for step in range(5):
        for n in range(4):
            bound = 0.05 * float(exact[step][n].abs().max())  # bfloat16 keeps 8 bits of each number
            for other in (alone[n][step][n], exact[step][n]):
                torch.testing.assert_close(together[step][n].float(), other.float(), rtol=0, atol=bound)


@torch.inference_mode()
def test_speech_that_was_encoded_once_serves_several_prefixes(sulm, prefixes):
    batch = prefixes([2, 0])
    speech = embed_each(sulm, batch.audio, batch.audio_lens)
    assert [s.shape for s in speech] == [(13, 24), (7, 24)]
    again = generate(sulm, prefixes([0, 2, 0]), [LIMIT] * 3, NEVER, speech=[speech[1], speech[0], speech[1]])
    fresh = {n: generate(sulm, prefixes([n]), [LIMIT], NEVER)[0] for n in (0, 2)}
    assert again == [fresh[0], fresh[2], fresh[0]]


def test_the_text_depends_on_the_audio(sulm, prefixes):
    with torch.no_grad():
        sulm.adaptor.proj.weight.mul_(4)  # random models listen little
    written = generate(sulm, prefixes([0, 1, 2, 3]), [LIMIT] * 4, NEVER)
    assert len({tuple(g.ids) for g in written}) > 1


@torch.inference_mode()
def test_a_loop_ends_its_own_row_only(sulm, prefixes):
    free = [g.ids for g in generate(sulm, prefixes([0, 1, 2, 3]), [60] * 4, NEVER)]
    guarded = generate(sulm, prefixes([0, 1, 2, 3]), [60] * 4, StopRules(frozenset(), max_repeats=3))
    assert any(g.repeated for g in guarded), "random models loop"
    for ids, g in zip(free, guarded, strict=True):
        assert g.ids == ids[: len(g.ids)]
        assert (g.repeated, g.truncated) == ((True, False) if len(g.ids) < 60 else (False, True))


@torch.inference_mode()
@pytest.mark.parametrize("stop", ["never", "sometimes"])
def test_beams_are_those_of_transformers(sulm, prefixes, stop):
    stop_ids = [299] if stop == "never" else [g.ids[2] for g in generate(sulm, prefixes([0, 1]), [3, 3], NEVER)]
    config = GenerationConfig(max_new_tokens=6, num_beams=3, do_sample=False, eos_token_id=stop_ids, pad_token_id=299)
    ours = generate(sulm, prefixes([0, 1, 2, 3]), [6] * 4, StopRules(frozenset(stop_ids)), num_beams=3)
    for n in range(4):
        embedded = sequence(sulm, prefixes([n]))[None]
        mask = torch.ones(embedded.shape[:2], dtype=torch.long)
        ids = sulm.llm.generate(inputs_embeds=embedded, attention_mask=mask, generation_config=config)[0].tolist()
        ends = [i for i, token_id in enumerate(ids) if token_id in stop_ids]
        assert (ours[n].ids, ours[n].truncated) == ((ids[: ends[0]], False) if ends else (ids, True))
    assert stop == "never" or not all(g.truncated for g in ours)

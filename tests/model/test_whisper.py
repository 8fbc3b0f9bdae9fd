import pytest
import torch
from transformers import WhisperModel

from osum.model.build import _whisper_config, build_whisper
from osum.model.configs import WhisperSizes
from osum.model.ending import StopRules
from osum.model.generate import generate
from osum.model.packing import Packing

SIZES = WhisperSizes(d_model=16, encoder_layers=2, decoder_layers=2, num_heads=2, ffn_dim=32, init_std=0.2)


@pytest.fixture
def whisper(bpe):
    torch.manual_seed(3)
    return build_whisper(SIZES, len(bpe), num_ctc_units=40).eval()


def test_a_full_window_is_whispers(whisper, bpe):
    theirs = WhisperModel(_whisper_config(SIZES, len(bpe))).eval()
    theirs.encoder.load_state_dict(whisper.encoder.whisper.state_dict())
    theirs.decoder.load_state_dict(whisper.decoder.state_dict())
    mel, ids = torch.randn(1, 80, 3000), torch.arange(3, 20)
    with torch.no_grad():
        frames, memory = whisper.encoder(mel, torch.tensor([3000]))
        ours = whisper.decode(ids, Packing(torch.tensor([17])), frames, memory)
        wanted = theirs(mel, decoder_input_ids=ids[None]).last_hidden_state[0]
    torch.testing.assert_close(ours, wanted, atol=1e-4, rtol=0)


def test_the_loss_of_a_batch_is_the_sum_of_its_utterances(whisper, collate, whisper_template):
    whole = whisper(collate([0, 1, 2, 3], whisper_template))
    parts = [whisper(collate([n], whisper_template)) for n in range(4)]
    torch.testing.assert_close(whole.nll, torch.cat([p.nll for p in parts]), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(whole.ctc, sum(p.ctc for p in parts), atol=1e-4, rtol=1e-5)


def test_cross_attention_reads_its_own_utterance_only(whisper, collate, whisper_template):
    batch = collate([0, 1, 2], whisper_template)
    before = whisper(batch).nll
    batch.audio[: int(batch.audio_lens[0])] *= -0.5
    after = whisper(batch).nll
    assert torch.equal(before[1:], after[1:]) and before[0] != after[0]


def test_embedding_and_output_are_one_matrix(whisper):
    names = [n for n, p in whisper.named_parameters() if p is whisper.head.weight]
    assert names == ["decoder.embed_tokens.weight"]


def test_a_longer_target_than_whispers_positions_is_refused(whisper):
    ids = torch.zeros(449, dtype=torch.int64)
    frames, memory = torch.zeros(2, 16), Packing(torch.tensor([2]))
    with pytest.raises(ValueError, match=r"449 tokens exceeds Whisper's 448; set plan.max_tokens"):
        whisper.decode(ids, Packing(torch.tensor([449])), frames, memory)


@torch.inference_mode()
def test_greedy_is_the_argmax_of_the_training_pass(whisper, whisper_template, prefixes):
    def step_by_step(number, stop_ids, limit):
        batch, ids = prefixes([number], whisper_template), []
        frames, memory = whisper.encoder(*whisper.log_mel(batch.audio, batch.audio_lens))
        while len(ids) < limit:
            fed = torch.cat([batch.input_ids, torch.tensor(ids, dtype=torch.int64)])
            hidden = whisper.decode(fed, Packing(torch.tensor([len(fed)])), frames, memory)
            ids.append(int(whisper.head(hidden[-1]).argmax()))
            if ids[-1] in stop_ids:
                return ids[:-1], False
        return ids, True

    limits = [8, 3, 12, 8]
    never = generate(whisper, prefixes([0, 1, 2, 3], whisper_template), limits, StopRules(frozenset()))
    for stop_ids in (set(), {never[0].ids[3], never[2].ids[5]}):
        found = generate(whisper, prefixes([0, 1, 2, 3], whisper_template), limits, StopRules(frozenset(stop_ids)))
        wanted = [step_by_step(n, stop_ids, limit) for n, limit in enumerate(limits)]
        assert [(g.ids, g.truncated) for g in found] == wanted
    assert not all(truncated for _, truncated in wanted)

"""The same mathematics on any number of processes, each with the whole model or a shard of it."""

import json
import re
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from osum.model.folder import load_sulm
from osum.text import added_tokens
from osum.text import tokenizer as tokenizers
from osum.text.units import CtcUnits
from osum.train import checkpoint
from osum.train.configs import ComputeConfig, OptimConfig, PhaseConfig, TrainConfig
from osum.train.parallel import check
from osum.train.watchdog import STALLED_EXIT_STATUS

sys.path.append(str(Path(__file__).parent.parent / "bench"))  # beside the benchmark that kills runs
from fail_points import before_a_checkpoint_gets_its_name, the_last_rank_stands_still
from runs import Run, finish

REL = 1e-4
"""Relative to the largest gradient of a parameter: sums of float32 in another order."""
TRAIN = {
    "max_steps": 3, "log_every": 1, "valid_every": 3, "save_every": 1, "keep_checkpoints": 9, "keep_best": {},
    "optim": {"lr": 1e-3, "warmup_steps": 2, "schedule": "cosine"},
}  # fmt: skip


@pytest.fixture(scope="module")
def start(tmp_path_factory, shards_dir, tokenizer_dir):
    """`start(2, "fsdp")` -> the folder of a run on so many ranks, run once."""
    done = {}

    def run(num_ranks: int, parallel: str = "ddp") -> Path:
        key = (num_ranks, parallel)
        if key not in done:
            made = made_run(num_ranks, parallel)
            assert finish(made.start()) == [0] * num_ranks, log_of(made)
            done[key] = made.out_dir
        return done[key]

    def made_run(num_ranks: int, parallel: str, **changes) -> Run:
        folder = tmp_path_factory.mktemp(f"{parallel}{num_ranks}")
        train = {**TRAIN, "compute": {"parallel": parallel}, **changes}
        return Run(folder, shards_dir, tokenizer_dir, num_ranks, train)

    run.make = made_run
    return run


def log_of(run):
    return "\n".join(p.read_text()[-2000:] for p in sorted(run.folder.glob("log.*")))


def metrics(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    names = ("step", "epoch", "tokens", "loss", "ctc", "grad_norm")
    return [(line["split"], {name: line[name] for name in names if name in line}) for line in lines]


def assert_equal_metrics(one, other):
    for (split, a), (other_split, b) in zip(metrics(one), metrics(other), strict=True):
        assert split == other_split and a == pytest.approx(b, rel=REL), (a, b)


def first_gradients(folder):
    """Adam's first moment after one step is a tenth of the gradient."""
    state = checkpoint.read_tensors(folder / "checkpoints/step-00000001", checkpoint.OPTIMIZER)
    return {name: value for name, value in state.items() if name.endswith("/exp_avg")}


@pytest.mark.parametrize(("num_ranks", "parallel"), [(2, "ddp"), (4, "ddp"), (2, "fsdp")])
def test_losses_and_gradients_do_not_depend_on_ranks_or_shards(start, num_ranks, parallel):
    alone, several = start(1), start(num_ranks, parallel)
    assert_equal_metrics(alone, several)
    wanted, found = first_gradients(alone), first_gradients(several)
    assert wanted.keys() == found.keys() and len(wanted) > 30
    for name, value in wanted.items():
        scale = max(float(value.abs().max()), 1e-6)
        torch.testing.assert_close(
            found[name], value, rtol=0, atol=REL * scale, msg=lambda m, name=name: f"{name}: {m}"
        )


def test_phases_are_the_same_on_two_ranks(start):
    phases = [{"train": ["^adaptor", "^boundaries"]}, {"start_step": 1, "train": [""]}]
    runs = [start.make(num_ranks, "ddp", phases=phases) for num_ranks in (1, 2)]
    for run in runs:
        assert finish(run.start()) == [0] * run.num_ranks, log_of(run)
    one, other = (run.out_dir for run in runs)
    assert_equal_metrics(one, other)
    assert first_gradients(one).keys() == first_gradients(other).keys() < first_gradients(start(1)).keys()
    assert metrics(one)[1][1]["grad_norm"] != pytest.approx(metrics(start(1))[1][1]["grad_norm"], rel=REL)


def test_muon_moves_all_ranks_alike(start):
    optim = {**TRAIN["optim"], "muon_lr": 1e-2}
    runs = [start.make(num_ranks, "ddp", optim=optim) for num_ranks in (1, 2)]
    for run in runs:
        assert finish(run.start()) == [0] * run.num_ranks, log_of(run)
    one, other = (run.out_dir for run in runs)
    assert_equal_metrics(one, other)
    assert metrics(one)[2][1]["loss"] != pytest.approx(metrics(start(1))[2][1]["loss"], rel=REL)
    weights = [dict(load_sulm(folder)[0].named_parameters()) for folder in (one, other)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=0, atol=1e-4, msg=lambda m, name=name: f"{name}: {m}")


@pytest.fixture(scope="module")
def chat_tokenizer_dir(tmp_path_factory):
    """A tokenizer of 270 tokens to which two were added."""
    folder, added, texts = tmp_path_factory.mktemp("chat"), ["<female>", "<male>"], ["hello there", "你好"]
    tokenizer = tokenizers.train(texts, 270)
    added_tokens.add(tokenizer, added)
    tokenizers.save(tokenizer, folder)
    added_tokens.save(added, folder)
    CtcUnits.build(["hello there, good morning, how are you", "你好早上"]).save(folder / "units.txt")
    return folder


@pytest.mark.parametrize(("tied", "num_rows"), [(True, 280), (False, 270)])
def test_a_frozen_llm_in_bfloat16_trains_alike_whole_or_in_shards(
    tmp_path, shards_dir, chat_tokenizer_dir, tied, num_rows
):
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Qwen2Config(
        vocab_size=num_rows, num_key_value_heads=1, tie_word_embeddings=tied, initializer_range=0.2, **sizes
    )
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).bfloat16().save_pretrained(tmp_path / "llm")
    model = {"llm": {"path": str(tmp_path / "llm")}, "lora": {"rank": 2}}
    found = []
    for num_ranks, parallel in ((1, "ddp"), (2, "ddp"), (2, "fsdp")):
        train = {**TRAIN, "max_steps": 1, "valid_every": 1, "precision": "bfloat16", "compute": {"parallel": parallel}}
        run = Run(tmp_path / f"{parallel}{num_ranks}", shards_dir, chat_tokenizer_dir, num_ranks, train, model)
        assert finish(run.start()) == [0] * num_ranks, log_of(run)
        found.append(run.out_dir)
    wanted = first_gradients(found[0])
    heads = {"llm.model.embed_tokens.rows/exp_avg"} | (set() if tied else {"llm.lm_head.rows/exp_avg"})
    assert {name for name in wanted if name.endswith(".rows/exp_avg")} == heads
    assert sum(".lora_A." in name for name in wanted) == 2 * 6
    for folder in found[1:]:
        assert metrics(folder)[0][1] == pytest.approx(metrics(found[0])[0][1], rel=REL)
        gradients = first_gradients(folder)
        assert gradients.keys() == wanted.keys()
        for name, value in wanted.items():
            atol = REL * max(float(value.abs().max()), 1e-6)
            torch.testing.assert_close(gradients[name], value, rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


def test_when_one_rank_stands_still_all_leave_their_stacks(tmp_path, shards_dir, tokenizer_dir):
    run = Run(tmp_path / "run", shards_dir, tokenizer_dir, 2, {**TRAIN, "stall_timeout_s": 10.0})
    ranks = run.start(die=the_last_rank_stands_still)
    for rank in ranks:
        rank.join(120)
    assert [rank.exitcode for rank in ranks] == [STALLED_EXIT_STATUS] * 2, log_of(run)
    waiting, still = ((run.out_dir / "stalls" / f"rank-0000{n}.txt").read_text() for n in (0, 1))
    assert re.match(r"rank 1 stood still for \d+ s after the checkpoint of step 1\n", still) and "in <lambda>" in still
    assert re.match(r"rank 0 stood still for \d+ s after the checkpoint of step 1\n", waiting)
    assert "in all_reduce_sum" in waiting and "in _global_counts" in waiting


def test_the_final_model_is_whole(start):
    one, other = (dict(load_sulm(start(*key))[0].named_parameters()) for key in ((1,), (2, "fsdp")))
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=1e-4, msg=lambda m, name=name: f"{name}: {m}")


def test_examples_are_written_by_one_of_several_ranks_and_not_by_shards(start):
    alone, several = ((start(n) / "examples.jsonl").read_text().split("\n")[:-1] for n in (1, 2))
    (first, *_), (other, *_) = (list(map(json.loads, lines)) for lines in (alone, several))
    assert len(alone) == len(several) == 2 and {**first, "hypothesis": ""} == {**other, "hypothesis": ""}
    assert not (start(2, "fsdp") / "examples.jsonl").exists()


@pytest.mark.parametrize(("ranks", "other_ranks"), [((2, "ddp"), 1), ((2, "fsdp"), 1), ((1, "fsdp"), 2)])
def test_a_run_goes_on_with_another_number_of_ranks(start, ranks, other_ranks):
    run = start.make(*ranks)
    killed = finish(run.start(die=partial(before_a_checkpoint_gets_its_name)))
    assert -signal.SIGKILL in killed, log_of(run)
    assert [p.name for p in checkpoint.existing(run.out_dir / "checkpoints")] == ["step-00000001"]
    run.num_ranks = other_ranks
    assert finish(run.start()) == [0] * other_ranks, log_of(run)
    assert_equal_metrics(start(1), run.out_dir)
    ledgers = [json.loads(p.read_text()) for p in sorted((run.out_dir / "epochs").iterdir())]
    assert ledgers and all((ledger["read"], ledger["used"]) == (24, 24) for ledger in ledgers)


@pytest.mark.parametrize("before", [(1, 2), (2, 1), (4, 3)])
def test_each_row_of_an_epoch_is_seen_once_whatever_the_ranks(make_corpus, tmp_path, before):
    from osum.dist import World

    corpus, seen = make_corpus(), []
    num_steps = corpus.loader(World(0, 1, 0), tmp_path).plan(0).num_steps
    assert num_steps > 2
    for size, steps in zip(before, (range(2), range(2, num_steps)), strict=True):
        for rank in range(size):
            stream = corpus.loader(World(rank, size, 0), tmp_path).steps(steps.start)
            for _, step in zip(steps, stream, strict=False):
                seen += [key for batch in step.batches for key in batch.keys]
    assert sorted(k for k in seen if k.startswith("train-")) == [f"train-{n:02d}" for n in range(24)]


def test_what_shards_do_not_go_with_is_refused():
    fsdp = ComputeConfig(parallel="fsdp")
    with pytest.raises(ValueError, match=r"train.optim.muon_lr: Muon needs whole matrices; leave it out, or say"):
        check(TrainConfig(compute=fsdp, optim=OptimConfig(muon_lr=1.0)))
    with pytest.raises(ValueError, match=r"train.phases: FSDP2 can't change what is trained"):
        check(TrainConfig(compute=fsdp, phases=[PhaseConfig()]))
    check(TrainConfig(phases=[PhaseConfig()]))

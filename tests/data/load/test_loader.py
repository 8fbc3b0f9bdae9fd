import itertools
import json
import multiprocessing
import os
import pickle
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from osum.data.examples import Item
from osum.data.load import workers
from osum.data.load.loader import FIRST_EPOCH, PackDataset, TrainLoader, eval_batches, virtual_ranks
from osum.data.load.pack import Pack
from osum.data.plan import lengths
from osum.data.plan import planner as plan
from osum.data.plan.config import PlanConfig
from osum.data.plan.layout import Shape
from osum.data.plan.planner import plan_eval
from osum.data.store.index import Index
from osum.data.store.storage import StalledError
from osum.text.template import SulmTemplate

CFG = PlanConfig(virtual_ranks=4, max_tokens=400, max_audio_s=12.0)


@pytest.fixture
def parts(make_index, toy, task_objects, prompts, tokenizer, units):
    index = make_index(toy(60), num_shards=3)
    template = SulmTemplate(tokenizer)
    dataset = PackDataset(index, task_objects, prompts, template, units)
    return dataset, lengths.build(index, task_objects, prompts, template)


def take(parts, count, start=0, known=FIRST_EPOCH, **options):
    loader = TrainLoader(*parts, CFG, seed=1, **options)
    return list(itertools.islice(loader.steps(start, known), count))


def tensors(batch):
    return [v for v in vars(batch).values() if isinstance(v, torch.Tensor)]


def equal(a, b):
    return a.keys == b.keys and all(torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))


def test_batches_are_packed_and_within_budget(parts):
    for step in take(parts, 3):
        assert len(step.batches) == 4 and step.dropped == []
        for b in step.batches:
            assert len(b.audio) == int(b.audio_lens.sum()) <= 12 * 16_000
            assert len(b.input_ids) == len(b.labels) == len(b.speech_mask) == int(b.segment_lens.sum()) <= 400
            assert len(b.ctc_labels) == int(b.ctc_lens.sum())
            assert b.audio.dtype == torch.int16 and b.input_ids.dtype == b.labels.dtype == torch.int64


def test_an_epoch_holds_every_utterance_once(parts):
    steps = TrainLoader(*parts, CFG, seed=1).steps()
    epoch = list(itertools.takewhile(lambda s: s.epoch == 0, steps))
    assert [s.step for s in epoch] == list(range(epoch[0].steps_in_epoch))
    assert sorted(k for s in epoch for b in s.batches for k in b.keys) == [f"corpus/u{i:03d}" for i in range(60)]


def test_workers_change_nothing(parts):
    runs = [take(parts, 12, num_workers=n) for n in (0, 1, 2)]
    assert runs[0][-1].epoch == 3
    for other in runs[1:]:
        assert all(
            equal(a, b) for x, y in zip(runs[0], other, strict=True) for a, b in zip(x.batches, y.batches, strict=True)
        )


def test_the_audio_is_all_for_which_a_process_connects_to_its_worker(parts):
    """The other tensors are small: they come through the queue, and are tensors that can be written to again."""
    dataset, _ = parts
    made = dataset[Pack(0, [Item(0, "asr", 0), Item(1, "asr", 0)])]
    sent = made.__getstate__()["batch"]
    assert [k for k, v in vars(sent).items() if isinstance(v, torch.Tensor)] == ["audio"]
    came = pickle.loads(pickle.dumps(made))
    assert equal(came.batch, made.batch) and len(tensors(came.batch)) == len(tensors(made.batch)) == 9
    came.batch.input_ids += 1


def test_ranks_share_out_the_same_global_batch(parts):
    whole = take(parts, 5)
    for size in (1, 2, 3, 4):
        ranks = [take(parts, 5, rank=r, world_size=size) for r in range(size)]
        for i, step in enumerate(whole):
            assert len({len(r[i].batches) for r in ranks}) == 1
            keys = [
                b.keys
                for micro in itertools.zip_longest(*(r[i].batches for r in ranks))
                for b in micro
                if b.keys != [""]
            ]
            assert keys == [b.keys for b in step.batches]


@pytest.mark.filterwarnings("ignore:This DataLoader")
@pytest.mark.parametrize("num_workers", [0, 1, 2, 4])
def test_resuming_is_a_step_number(parts, num_workers):
    whole = take(parts, 14)
    resumed = take(parts, 5, start=9, num_workers=num_workers)
    assert resumed[0].step == 9 and resumed[0].epoch == whole[9].epoch
    assert all(
        equal(a, b) for x, y in zip(whole[9:], resumed, strict=True) for a, b in zip(x.batches, y.batches, strict=True)
    )


def test_steps_with_extra_packs_have_as_many_on_every_rank(parts, monkeypatch):
    monkeypatch.setattr(plan, "shape", lambda survey, cfg: Shape(4, num_windows=2, num_lanes=1, num_steps=2))
    ranks = [
        list(itertools.takewhile(lambda s: s.epoch == 0, TrainLoader(*parts, CFG, 1, rank=r, world_size=3).steps()))
        for r in range(3)
    ]
    assert [len(step.batches) for step in ranks[0]] == [len(step.batches) for step in ranks[2]]
    assert len(ranks[0]) == 2 and min(len(step.batches) for step in ranks[0]) > 2
    keys = sorted(k for steps in ranks for s in steps for b in s.batches for k in b.keys if k)
    assert keys == [f"corpus/u{i:03d}" for i in range(60)]


def test_the_start_of_an_epoch_saves_counting_those_before(parts):
    whole = take(parts, 14)
    known = whole[10].epoch_start
    assert (whole[10].epoch, whole[10].step_in_epoch, known[:2]) == (3, 1, (3, 9))
    (resumed,) = take(parts, 1, start=10, known=known)
    assert all(equal(a, b) for a, b in zip(whole[10].batches, resumed.batches, strict=True))
    loader = TrainLoader(*parts, CFG, seed=1)
    assert loader.locate(10, known) == loader.locate(10) == (3, 1)
    at_an_end = [s for s in whole if s.step_in_epoch + 1 == s.steps_in_epoch]
    assert [s.epoch_start[:2] for s in at_an_end] == [(s.epoch + 1, s.step + 1) for s in at_an_end]


def test_the_start_of_an_epoch_of_another_plan_is_not_believed(parts, make_index, toy):
    dataset = parts[0]
    known = take(parts, 11)[-1].epoch_start
    other = PackDataset(
        make_index(toy(61), name="more"), dataset.tasks, dataset.prompts, dataset.template, dataset.units
    )
    more = lengths.build(other.index, dataset.tasks, dataset.prompts, dataset.template)
    for changed, cfg, seed in (
        ((other, more), CFG, 1),
        (parts, replace(CFG, max_tokens=CFG.max_tokens - 1), 1),
        (parts, CFG, 2),
    ):
        loaders = [TrainLoader(*changed, cfg, seed=seed) for _ in range(2)]
        trusting, counting = (
            next(loader.steps(10, at)) for loader, at in zip(loaders, (known, FIRST_EPOCH), strict=True)
        )
        assert trusting.plan != known.plan
        assert (trusting.epoch, trusting.step_in_epoch) == (counting.epoch, counting.step_in_epoch)
        assert all(equal(a, b) for a, b in zip(trusting.batches, counting.batches, strict=True))


def test_corrupt_audio_is_left_out_counted_and_listed(parts, tmp_path):
    dataset, table = parts
    index = dataset.index
    row = 7
    with open(index.folder / index.header.shards[int(index.rows[row]["shard"])], "r+b") as f:
        f.seek(int(index.rows[row]["audio_offset"]))
        f.write(b"\0" * 4000)
    loader = TrainLoader(dataset, table, CFG, seed=1, num_workers=2, ledger_dir=tmp_path)
    epoch = list(itertools.takewhile(lambda s: s.epoch == 0, loader.steps()))
    used = [k for s in epoch for b in s.batches for k in b.keys if k]
    assert len(used) == 59 and index.key(row) not in used
    (line,) = (tmp_path / "ledger.0.jsonl").read_text().splitlines()  # the step of epoch 1 is not yet written
    (drop,) = json.loads(line)["dropped"]
    assert drop["key"] == index.key(row) and "corrupt" in drop["reason"]
    ledger = loader.ledger(0)
    assert (ledger.read, ledger.num_used, list(ledger.dropped)) == (60, 59, ["corrupt"])


def test_both_copies_of_a_damaged_utterance_are_counted(parts, tmp_path):
    dataset, table = parts
    index = dataset.index
    with open(index.folder / index.header.shards[int(index.rows[7]["shard"])], "r+b") as f:
        f.seek(int(index.rows[7]["audio_offset"]))
        f.write(b"\0" * 4000)
    twice, found = replace(CFG, corpus_weights={"toy": 2.0}), []
    for size in (1, 3):
        (tmp_path / str(size)).mkdir()
        loaders = [TrainLoader(dataset, table, twice, 1, r, size, ledger_dir=tmp_path / str(size)) for r in range(size)]
        for loader in loaders:
            copies = [c for s in itertools.takewhile(lambda s: s.epoch == 0, loader.steps()) for b in s.batches
                      for c in b.copies]  # fmt: skip
            assert set(copies) == {0, 1}
            loader.write_ledger()
        found.append(loaders[0].ledger(0))
    assert (found[0].read, found[0].num_used, found[0].num_defects) == (120, 118, 2)
    assert found[0].to_json() == found[1].to_json()


def test_a_pack_without_utterances_becomes_silence(parts):
    loaded = parts[0][Pack(0, [])]
    assert loaded.batch.keys == [""] and loaded.batch.audio.abs().sum() == 0
    assert (loaded.batch.labels == -100).all() and loaded.batch.ctc_lens.tolist() == [0]


def test_augmentation_is_keyed_by_utterance_and_epoch(parts):
    dataset, table = parts
    noisy = PackDataset(
        dataset.index, dataset.tasks, dataset.prompts, dataset.template, None,
        augment=lambda audio, rng: audio + rng.normal(0, 0.01, len(audio)).astype(np.float32),
    )  # fmt: skip
    one, two = (list(itertools.islice(TrainLoader(noisy, table, CFG, 1, num_workers=n).steps(), 2)) for n in (0, 2))
    assert equal(one[1].batches[0], two[1].batches[0])
    assert not equal(one[0].batches[0], take(parts, 1)[0].batches[0])


class Deadly(PackDataset):
    """A dataset of which a worker dies, as of memory that is not there, whenever it reads one of some rows."""

    def __init__(self, other, rows):
        super().__init__(other.index, other.tasks, other.prompts, other.template, other.units)
        self.rows = rows

    def _example(self, item, epoch, noted):
        if item.row in self.rows:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._example(item, epoch, noted)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_that_die_are_replaced_and_the_utterance_is_dropped(parts, tmp_path, monkeypatch, num_workers):
    monkeypatch.setattr(workers, "POLL_S", 0.2)
    dataset, table = parts
    options = {"num_workers": num_workers, "ledger_dir": tmp_path}
    loaders = TrainLoader(*parts, CFG, 1), TrainLoader(Deadly(dataset, {7}), table, CFG, 1, **options)
    whole, found = (list(itertools.takewhile(lambda s: s.epoch == 0, loader.steps())) for loader in loaders)
    dropped = [d for s in found for d in s.dropped]
    assert [(d.key, d.reason) for d in dropped] == [(dataset.index.key(7), "worker_died")]
    for one, other in zip(whole, found, strict=True):
        for a, b in zip(one.batches, other.batches, strict=True):
            assert b.keys == [k for k in a.keys if k != dropped[0].key]
            assert len(a.keys) != len(b.keys) or equal(a, b)
    assert loaders[1].ledger(0).num_used == 59


@pytest.mark.filterwarnings("ignore")
def test_the_death_of_a_worker_interrupts_nobody(parts, monkeypatch):
    monkeypatch.setattr(workers, "POLL_S", 0.2)
    before = signal.getsignal(signal.SIGCHLD)
    steps = TrainLoader(*parts, CFG, 1, num_workers=1).steps()
    first, ours = next(steps), multiprocessing.active_children()
    assert signal.getsignal(signal.SIGCHLD) == before
    for worker in ours:
        worker.kill()
        worker.join()
    second = next(steps)
    assert equal(first.batches[0], take(parts, 1)[0].batches[0]) and second.dropped == []
    assert equal(second.batches[3], take(parts, 2)[1].batches[3])


@pytest.mark.filterwarnings("ignore")
def test_workers_that_die_of_everything_are_an_error_and_no_hang(parts, monkeypatch):
    monkeypatch.setattr(workers, "POLL_S", 0.2)
    dataset, table = parts
    with pytest.raises(OSError, match="Lower num_workers"):
        next(TrainLoader(Deadly(dataset, range(60)), table, CFG, 1, num_workers=1).steps())


def test_a_worker_that_gives_no_answer_is_an_error(parts, monkeypatch):
    monkeypatch.setattr(workers, "POLL_S", 0.1)
    monkeypatch.setattr(workers, "STALLED_S", 0.3)
    monkeypatch.setattr(PackDataset, "_example", lambda *_: time.sleep(60))
    with pytest.raises(OSError, match=r"no data for 0 s\. Is the disk slow"):
        next(TrainLoader(*parts, CFG, 1, num_workers=1).steps())


def test_a_stalled_read_is_skipped_and_counted(parts, monkeypatch, tmp_path):
    dataset, table = parts
    read, stalled = Index.samples, {dataset.index.key(3), dataset.index.key(8)}

    def samples(self, row):
        if self.key(row) in stalled:
            raise StalledError("http://store/a.tar: no answer in 4 attempts")
        return read(self, row)

    monkeypatch.setattr(Index, "samples", samples)
    loader = TrainLoader(dataset, table, CFG, seed=1, ledger_dir=tmp_path)
    epoch = list(itertools.takewhile(lambda s: s.epoch == 0, loader.steps()))
    used = [k for s in epoch for b in s.batches for k in b.keys if k]
    assert len(used) == 58 and not stalled & set(used)
    ledger = loader.ledger(0)
    assert (ledger.read, ledger.num_used, {d.key for d in ledger.dropped["stalled"]}) == (60, 58, stalled)


@pytest.mark.parametrize(
    ("allowed", "num_lost", "message"), [(0.01, 40, "up to step"), (0.01, 15, "epoch 0"), (1.0, 60, None)]
)
def test_a_damaged_corpus_is_not_trained_on(parts, monkeypatch, tmp_path, allowed, num_lost, message):
    dataset, table = parts
    read = Index.samples

    def samples(self, row):
        if row < num_lost:
            raise ValueError("a.tar: damaged")
        return read(self, row)

    monkeypatch.setattr(Index, "samples", samples)
    loader = TrainLoader(dataset, table, CFG, 1, ledger_dir=tmp_path, max_defect_rate=allowed)

    def epoch():
        for _ in itertools.takewhile(lambda s: s.epoch == 0, loader.steps()):
            pass
        return loader.ledger(0)

    if message is None:
        assert epoch().num_defects == 60
        return
    with pytest.raises(
        ValueError, match=rf"{message}.*: \d+ of \d+ utterances could not be used .*raise data.max_defect_rate"
    ):
        epoch()


def test_evaluation_visits_every_pair_once(parts):
    dataset, table = parts
    planned = plan_eval(dataset.index, table, CFG)
    pairs = [
        pair
        for rank in range(3)
        for loaded in eval_batches(dataset, planned, rank, 3)
        for pair in zip(loaded.batch.keys, loaded.batch.tasks, strict=True)
        if pair[0]
    ]
    assert len(pairs) == len(set(pairs)) == 60 * 2 + 30


def test_virtual_ranks_are_the_same_number_for_all():
    assert [virtual_ranks(4, r, 3) for r in range(3)] == [[0, 3], [1, None], [2, None]]
    assert virtual_ranks(4, 1, 2) == [1, 3]

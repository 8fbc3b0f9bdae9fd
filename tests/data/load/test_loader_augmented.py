"""The stream of training with speed, reverberation and noise: workers, ranks and restarts change no sample."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from osum import tasks
from osum.audio.speed import sped_length
from osum.data.load.augment_config import AugmentConfig, NoiseConfig, ReverbConfig, VolumeConfig
from osum.data.load.augmentation import build
from osum.data.load.loader import PackDataset, TrainLoader
from osum.data.plan import lengths
from osum.data.plan.config import PlanConfig
from osum.rng import rng_for
from osum.text.template import SulmTemplate

SPEEDS = [0.9, 1.0, 1.1]
CFG = PlanConfig(virtual_ranks=4, max_tokens=400, max_audio_s=12.0, speeds=SPEEDS, corpus_weights={"toy": 1.5})
NAMES = ("asr", "srwt", "ser")


@pytest.fixture
def noise(tmp_path):
    soundfile.write(tmp_path / "noise.wav", rng_for("noise").normal(0, 0.2, 9_000), 16_000)
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'noise.wav'}\n")
    return tmp_path / "noise.wav"


@pytest.fixture
def parts(make_index, toy, tokenizer, noise):
    """Dataset and lengths: 60 rows with word times of which every second one serves emotion."""
    served = [("asr", "srwt"), ("asr", "srwt", "ser")]
    of = [replace(u, words=(("a", 0.1, 0.9),), tasks=served[i % 2]) for i, u in enumerate(toy(60))]
    index, template = make_index(of, num_shards=3), SulmTemplate(tokenizer)
    known, prompts = {name: tasks.get(name) for name in NAMES}, {name: {"en": ("go", "do go")} for name in NAMES}
    path = noise.with_name("list.txt")
    augment = build(AugmentConfig(ReverbConfig(path, probability=0.3), [NoiseConfig(path)], VolumeConfig()))
    dataset = PackDataset(index, known, prompts, template, augment=augment, seed=1)
    return dataset, lengths.build(index, known, prompts, template, speeds=SPEEDS)


def take(parts, count, start=0, **options):
    return list(itertools.islice(TrainLoader(*parts, CFG, seed=1, **options).steps(start), count))


def samples(batch):
    """(key, task, bytes of audio and target) of each utterance of a batch; none of a placeholder."""
    audio = batch.audio.split(batch.audio_lens.tolist())
    labels = batch.labels.split(batch.segment_lens.tolist())
    found = zip(batch.keys, batch.tasks, audio, labels, strict=True)
    return [(key, task, a.numpy().tobytes(), target.numpy().tobytes()) for key, task, a, target in found if key]


def test_workers_ranks_and_restarts_change_nothing(parts):
    whole = take(parts, 8)
    expected = [[samples(b) for b in step.batches] for step in whole]
    for num_workers in (1, 2):
        found = [[samples(b) for b in step.batches] for step in take(parts, 8, num_workers=num_workers)]
        assert found == expected
    for size in (2, 3):
        ranks = [take(parts, 4, rank=r, world_size=size) for r in range(size)]
        for step in range(4):
            micro_steps = itertools.zip_longest(*(r[step].batches for r in ranks))
            assert [samples(b) for micro in micro_steps for b in micro if b.keys != [""]] == expected[step]
    assert [[samples(b) for b in step.batches] for step in take(parts, 3, start=5)] == expected[5:]


def test_batches_hold_what_the_plan_says(parts):
    dataset, table = parts
    loader = TrainLoader(dataset, table, CFG, seed=1)
    seen = set()
    for step in itertools.takewhile(lambda s: s.epoch < 2, loader.steps()):
        for v, batch in enumerate(step.batches):
            assert len(batch.audio) <= 12 * 16_000 and len(batch.input_ids) <= 400
            assert batch.audio.dtype == torch.float32 and batch.audio.abs().max() <= 1.0
            items = loader.plan(step.epoch).pack(step.step_in_epoch, v)
            recorded = [int(dataset.index.rows["num_samples"][i.row]) for i in items]
            assert batch.audio_lens.tolist() == [sped_length(n, i.speed) for n, i in zip(recorded, items, strict=True)]
            seen |= {(i.task, i.speed) for i in items}
    assert seen == {*itertools.product(("asr", "srwt"), SPEEDS), ("ser", 1.0)}


def test_copies_of_an_utterance_in_an_epoch_are_augmented_each_in_its_way(parts):
    dataset, table = parts
    cfg = replace(CFG, corpus_weights={"toy": 2.0}, task_weights={"srwt": 0.0, "ser": 0.0}, speeds=[])
    steps = itertools.takewhile(lambda s: s.epoch == 0, TrainLoader(dataset, table, cfg, seed=1).steps())
    found = [u for step in steps for b in step.batches for u in samples(b)]
    assert len(found) == 120 and len({key for key, *_ in found}) == 60
    assert len({(key, audio) for key, _, audio, _ in found}) == 120


def test_a_noise_that_breaks_in_training_is_counted_and_the_utterance_used(parts, noise, tmp_path):
    noise.write_bytes(b"broken")
    loader = TrainLoader(*parts, CFG, seed=1, num_workers=1, ledger_dir=tmp_path)
    steps = list(itertools.takewhile(lambda s: s.epoch == 0, loader.steps()))
    used = [key for step in steps for b in step.batches for key in b.keys if key]
    loader.write_ledger()
    noted = [n for line in (tmp_path / "ledger.0.jsonl").read_text().splitlines() for n in json.loads(line)["noted"]]
    ledger = loader.ledger(0)
    assert ledger.num_used == ledger.read == len(used) and not any(step.dropped for step in steps)
    assert 0.3 * len(used) < len(ledger.notes["not augmented"]) < len(used)
    assert set(ledger.notes["not augmented"]) <= {key for key, _ in noted}
    assert all(remark.startswith("not augmented: ") and "noise.wav" in remark for _, remark in noted)


def test_audio_is_augmented_and_evaluation_is_not(parts):
    dataset, table = parts
    plain = PackDataset(dataset.index, dataset.tasks, dataset.prompts, dataset.template)
    augmented, recorded = (take((of, table), 1)[0].batches for of in (dataset, plain))
    for a, b in zip(augmented, recorded, strict=True):
        assert a.keys == b.keys and not np.array_equal(a.audio, b.audio)
        assert torch.equal(a.input_ids, b.input_ids) and torch.equal(a.audio_lens, b.audio_lens)

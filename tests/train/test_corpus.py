from itertools import islice
from pathlib import Path

import pytest
import torch

from osum import config
from osum.audio.speed import sped_length
from osum.data.load.augment_config import AugmentConfig, NoiseConfig, ReverbConfig, VolumeConfig
from osum.data.plan.config import PlanConfig
from osum.dist import World
from osum.text.template import SulmTemplate
from osum.train.configs import CorpusConfig
from osum.train.corpus import Corpus


@pytest.fixture
def open_corpus(bpe, shards_dir, tmp_path):
    def open_with(speeds=(), **options):
        plan = PlanConfig(virtual_ranks=2, max_tokens=800, max_audio_s=5.0, speeds=list(speeds))
        cfg = CorpusConfig(["asr", "sgc"], plan=plan, **options)
        return Corpus(shards_dir, cfg, SulmTemplate(bpe), None, 1, tmp_path / "cache")

    return open_with


def test_training_is_augmented_and_validation_is_not(open_corpus, tmp_path):
    world = World(0, 1, 0)
    varied = open_corpus([0.9], augment=AugmentConfig(volume=VolumeConfig(gain_db=(-40.0, -40.0))))
    index, found = varied.train.index, set()
    for step in islice(varied.loader(world, tmp_path).steps(), 4):
        for batch in step.batches:
            assert 0 < batch.audio.abs().max() < 0.02
            for key, task, length in zip(batch.keys, batch.tasks, batch.audio_lens.tolist(), strict=True):
                recorded = int(index.rows["num_samples"][index.find(key)])
                assert length == sped_length(recorded, 0.9 if task == "asr" else 1.0)
                found.add(task)
    assert found == {"asr", "sgc"}
    packs, plain = (list(corpus.valid_packs(world)()) for corpus in (varied, open_corpus()))
    for a, b in zip(packs, plain, strict=True):
        assert a.batch.keys == b.batch.keys and torch.equal(a.batch.audio, b.batch.audio)


def test_options_of_augmentation_are_read_as_they_were_saved(tmp_path):
    (tmp_path / "data.yaml").write_text(
        "plan: {speeds: [0.9, 1, 1.1]}\n"
        "augment:\n"
        "  reverb: {path: rirs.jsonl.gz, probability: 0.3}\n"
        "  noises: [{path: noise.jsonl.gz, snr_db: [5, 20]}, {path: music.txt, root: musan}]\n"
        "  volume: {gain_db: [-18, 6]}\n"
    )
    cfg = config.load(CorpusConfig, ["--config", str(tmp_path / "data.yaml")])
    assert cfg.plan.speeds == [0.9, 1.0, 1.1]
    noises = [NoiseConfig(Path("noise.jsonl.gz"), snr_db=(5.0, 20.0)), NoiseConfig(Path("music.txt"), "musan")]
    assert cfg.augment == AugmentConfig(ReverbConfig(Path("rirs.jsonl.gz"), None, 0.3), noises, VolumeConfig())
    config.save(cfg, tmp_path / "saved.yaml")
    assert config.read(CorpusConfig, tmp_path / "saved.yaml") == cfg

"""The sides of the benchmark of loading: our loader, one that works as WeNet's and the original's, and WeNet's own.

Each gives an epoch of batches through one worker of torch's DataLoader. B utterances of a batch, T padded frames.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
import torch
from batching import MAX_FRAMES, MAX_TOKENS, SHUFFLE_BUFFER, SORT_BUFFER
from log_mel import log_mel
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, IterableDataset

from osum import tasks
from osum.audio.frames import HOP_SAMPLES, SAMPLE_RATE_HZ, WINDOW_SAMPLES
from osum.audio.io import to_float
from osum.data.load.loader import PackDataset, TrainLoader
from osum.data.plan import lengths
from osum.data.plan.config import PlanConfig
from osum.data.store.index import Index
from osum.data.store.shards import LIST_NAME
from osum.rng import rng_for
from osum.text import tokenizer as tokenizers
from osum.text.template import IGNORED, SulmTemplate

TASK, LANGUAGE, N_MELS = "asr", "en", 80
PLAN = PlanConfig(virtual_ranks=1)
MAX_DURATION_S = 29.0

Sample = dict[str, Any]


class Side(Protocol):
    """A loader."""

    def epoch(self, number: int, num_workers: int = 1) -> Iterator[Any]:
        """Yield the batches of an epoch."""

    def utterances(self, batch: Any) -> Iterator[tuple[str, np.ndarray]]:
        """Yield key and samples (num_samples,) of a batch."""


class Ours:
    """`TrainLoader` as in training: the plan in the main process, samples and tokens from the worker."""

    def __init__(self, folder: Path, audio_format: str) -> None:
        self._tasks = {TASK: tasks.get(TASK)}
        prompts = tasks.load_prompts(None, [TASK])
        template = SulmTemplate(tokenizers.load(folder / "tokenizer"))
        self._dataset = PackDataset(Index.open(folder / audio_format), self._tasks, prompts, template)
        self._lengths = lengths.build(self._dataset.index, self._tasks, prompts, template)

    def epoch(self, number: int, num_workers: int = 1) -> Iterator[Any]:
        """Yield the packs of an epoch."""
        for step in TrainLoader(self._dataset, self._lengths, PLAN, seed=number, num_workers=num_workers).steps():
            yield from step.batches
            if step.step_in_epoch + 1 == step.steps_in_epoch:
                return

    def utterances(self, batch: Any) -> Iterator[tuple[str, np.ndarray]]:
        """Yield key and samples."""
        samples = batch.audio.split(batch.audio_lens.tolist())
        return zip(batch.keys, (to_float(s.numpy()) for s in samples), strict=True)

    def targets(self, batch: Any) -> Iterator[list[int]]:
        """Yield the tokens to predict, with the end token."""
        return ([i for i in of.tolist() if i != IGNORED] for of in batch.labels.split(batch.segment_lens.tolist()))


class Baseline:
    """Written from what is known of WeNet and of the original, without their code."""

    def __init__(self, folder: Path, audio_format: str) -> None:
        self._tars = [Path(line) for line in (folder / audio_format / LIST_NAME).read_text().splitlines()]
        self._tokenizer = tokenizers.load(folder / "tokenizer")
        self._prompts = tasks.load_prompts(None, [TASK])[TASK][LANGUAGE]

    def epoch(self, number: int, num_workers: int = 1) -> Iterator[Any]:
        """Yield the padded batches of an epoch."""
        stream = _Stream(self._tars, self._tokenizer, self._prompts, number)
        return iter(DataLoader(stream, batch_size=None, num_workers=num_workers))

    def utterances(self, batch: Any) -> Iterator[tuple[str, np.ndarray]]:
        """Yield key and samples."""
        for key, samples, length in zip(batch["keys"], batch["pcm"], batch["pcm_length"].tolist(), strict=True):
            yield key, samples[:length].numpy()

    def targets(self, batch: Any) -> Iterator[list[int]]:
        """Yield the tokens to predict, with the end token."""
        return (of[:n].tolist() for of, n in zip(batch["target"], batch["target_lengths"].tolist(), strict=True))


class _Stream(IterableDataset):
    """Tars one after the other, each sample through all steps, then a shuffle buffer, a sort buffer and padding."""

    def __init__(self, tars: list[Path], tokenizer: Any, prompts: Any, epoch: int) -> None:
        self._tars, self._tokenizer, self._prompts, self._epoch = tars, tokenizer, prompts, epoch

    def __iter__(self) -> Iterator[Sample]:
        rng = rng_for("baseline", self._epoch)
        read = (sample for t in rng.permutation(len(self._tars)) for sample in _members(self._tars[t]))
        made = (self._tokenized(decoded, rng) for decoded in map(_decoded, read) if _is_wanted(decoded))
        shuffled = (
            group[i] for group in _grouped(map(_with_log_mel, made), SHUFFLE_BUFFER) for i in _order(group, rng)
        )
        in_order = (s for group in _grouped(shuffled, SORT_BUFFER) for s in sorted(group, key=lambda s: len(s["feat"])))
        return map(_padded, _dynamic(in_order))

    def _tokenized(self, sample: Sample, rng: np.random.Generator) -> Sample:
        encode = self._tokenizer.encode
        sample["label"] = [*encode(sample["txt"], add_special_tokens=False), self._tokenizer.eos_token_id]
        sample["prompt"] = encode(self._prompts[rng.integers(len(self._prompts))], add_special_tokens=False)
        return sample


def _members(path: Path) -> Iterator[Sample]:
    """Yield the samples of a tar: members up to where the name before its last dot changes."""
    with open(path, "rb") as stream, tarfile.open(fileobj=stream, mode="r|*") as tar:
        sample: Sample = {}
        for info in tar:
            key, _, suffix = info.name.rpartition(".")
            if sample and sample["key"] != key:
                yield sample
                sample = {}
            content = tar.extractfile(info).read()
            sample["key"] = key
            sample["wav" if suffix in ("wav", "flac") else suffix] = content.decode() if suffix == "txt" else content
        yield sample


def _decoded(sample: Sample) -> Sample:
    samples, rate_hz = soundfile.read(io.BytesIO(sample["wav"]), dtype="float32", always_2d=True)
    return {**sample, "wav": torch.from_numpy(samples.T), "sample_rate": rate_hz}


def _is_wanted(sample: Sample) -> bool:
    return sample["sample_rate"] == SAMPLE_RATE_HZ and sample["wav"].shape[1] <= MAX_DURATION_S * SAMPLE_RATE_HZ


def _with_log_mel(sample: Sample) -> Sample:
    return {**sample, "feat": log_mel(sample["wav"][0], N_MELS)}


def _grouped(samples: Iterator[Sample], size: int) -> Iterator[list[Sample]]:
    group: list[Sample] = []
    for sample in samples:
        group.append(sample)
        if len(group) == size:
            yield group
            group = []
    yield group


def _order(group: list[Sample], rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(len(group))


def _dynamic(samples: Iterator[Sample]) -> Iterator[list[Sample]]:
    batch: list[Sample] = []
    for sample in samples:
        longer = [*batch, sample]
        frames, tokens = (max(len(s[name]) for s in longer) * len(longer) for name in ("feat", "label"))
        if batch and (frames > MAX_FRAMES or tokens > MAX_TOKENS):
            yield batch
            longer = [sample]
        batch = longer
    yield batch


def _padded(batch: list[Sample]) -> Sample:
    """Features and samples, both padded, both shipped."""
    found: Sample = {"keys": [s["key"] for s in batch]}
    ints = {name: [torch.tensor(s[name]) for s in batch] for name in ("label", "prompt")}
    parts = {"feats": [s["feat"] for s in batch], "target": ints["label"], "prompt": ints["prompt"]}
    parts["pcm"] = [s["wav"][0] for s in batch]
    for name, of_name in parts.items():
        found[name] = pad_sequence(of_name, batch_first=True, padding_value=IGNORED if name == "target" else 0)
        lens = torch.tensor([len(part) for part in of_name], dtype=torch.int32)
        found["pcm_length" if name == "pcm" else f"{name}_lengths"] = lens
    return found


class Wenet:
    """WeNet's own dataset with the same buffers and frames; soundfile decodes. ImportError without WeNet."""

    def __init__(self, folder: Path, audio_format: str) -> None:
        from wenet.dataset import processor
        from wenet.dataset.dataset import Dataset
        from wenet.text.base_tokenizer import BaseTokenizer

        class _Tokenizer(BaseTokenizer):
            def __init__(self) -> None:
                self._tokenizer = tokenizers.load(folder / "tokenizer")

            def tokenize(self, line: str) -> tuple[list[str], list[int]]:
                return [], self._tokenizer.encode(line, add_special_tokens=False)

            def text2tokens(self, line: str) -> list[str]:
                return self._tokenizer.tokenize(line)

            def tokens2text(self, tokens: list[str]) -> str:
                return self._tokenizer.convert_tokens_to_string(tokens)

            def tokens2ids(self, tokens: list[str]) -> list[int]:
                return self._tokenizer.convert_tokens_to_ids(tokens)

            def ids2tokens(self, ids: list[int]) -> list[str]:
                return self._tokenizer.convert_ids_to_tokens(ids)

            def vocab_size(self) -> int:
                return len(self._tokenizer)

            @property
            def symbol_table(self) -> dict[str, int]:
                return self._tokenizer.get_vocab()

        def load(source: Any, frame_offset: int = 0, num_frames: int = -1) -> tuple[torch.Tensor, int]:
            samples, rate_hz = soundfile.read(source, num_frames, frame_offset, dtype="float32", always_2d=True)
            return torch.from_numpy(samples.T), rate_hz

        processor.torchaudio.load = load  # it alone no longer decodes
        conf = {
            "feats_type": "log_mel_spectrogram",
            "log_mel_spectrogram_conf": {"n_fft": WINDOW_SAMPLES, "hop_length": HOP_SAMPLES, "num_mel_bins": N_MELS},
            "filter_conf": {"max_length": 2900, "min_length": 0, "token_max_length": 200, "token_min_length": 1},
            "spec_aug": False,
            "language_conf": {"limited_langs": [LANGUAGE]},
            "shuffle_conf": {"shuffle_size": SHUFFLE_BUFFER},
            "sort_conf": {"sort_size": SORT_BUFFER},
            "batch_conf": {"batch_type": "dynamic", "max_frames_in_batch": MAX_FRAMES},
        }
        path = str(folder / audio_format / LIST_NAME)
        self._make = lambda: Dataset("shard", path, _Tokenizer(), conf, partition=False)

    def epoch(self, number: int, num_workers: int = 1) -> Iterator[Any]:
        """Yield the padded batches of an epoch."""
        torch.manual_seed(number)
        return iter(DataLoader(self._make(), batch_size=None, num_workers=num_workers))

    utterances = Baseline.utterances

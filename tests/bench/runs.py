"""Tiny runs of stage 4 that are killed and started again: processes, moments of death, and what must be equal after."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

from osum.train import checkpoint
from osum.train.meters import MEASURED

IMPORTED = [
    "osum.bin.train_sulm", "osum.train.trainer", "osum.model.folder", "osum.train.corpus", "peft",
    "torch._dynamo", "transformers.models.qwen2.modeling_qwen2", "transformers.models.auto.tokenization_auto",
]  # fmt: skip
"""By the process that runs are forked from, once: imports take longer than a tiny run. The last ones are those that
torch's optimizers and transformers only import when they are used."""
ENCODER = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "num_heads": 2, "ffn_dim": 32}
MODEL = {
    "adaptor": {"num_layers": 1, "num_heads": 2, "ffn_dim": 32},
    "llm": {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "ffn_dim": 32, "init_std": 0.2},
}
TRAIN = {
    "max_steps": 7, "log_every": 2, "valid_every": 3, "save_every": 2, "keep_checkpoints": 1, "keep_best": {"loss": 1},
    "ctc_weight": 0.3, "optim": {"lr": 1e-3, "muon_lr": 2e-3, "warmup_steps": 2, "schedule": "cosine"},
}  # fmt: skip
PLAN = {"virtual_ranks": 4, "max_tokens": 200, "max_audio_s": 2.0}


def context() -> multiprocessing.context.ForkServerContext:
    """Return the processes to start runs with: forked from one that has imported what they need."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(IMPORTED)
    return made


@dataclass
class Run:
    """An experiment folder with what it is made from."""

    folder: Path
    shards_dir: Path
    tokenizer_dir: Path
    num_ranks: int = 1
    train: Mapping[str, Any] = field(default_factory=dict)
    """Differences to `TRAIN`."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """Differences to `MODEL`."""

    @property
    def out_dir(self) -> Path:
        """The experiment folder itself."""
        return self.folder / "sulm"

    def start(self, die: Callable[[], None] | None = None) -> list[BaseProcess]:
        """Start, or start again. `die` is called in each process before the stage: it arranges for its end."""
        self.folder.mkdir(exist_ok=True, parents=True)
        config = self.folder / "train_sulm.yaml"
        fields = {"encoder": ENCODER, "model": {**MODEL, **self.model}, "train": {**TRAIN, **self.train}}
        fields["data"] = {"tasks": ["asr", "sgc"], "plan": PLAN}
        config.write_text(yaml.safe_dump(fields))
        options = {"--config": config, "--out_dir": self.out_dir}
        options |= {"--shards_dir": self.shards_dir, "--tokenizer_dir": self.tokenizer_dir}
        argv = [str(word) for pair in options.items() for word in pair]
        made, log = context(), self.folder / "log"
        ranks = [made.Process(target=_rank, args=(argv, place, log, die)) for place in places(self.num_ranks)]
        for rank in ranks:
            rank.start()
        return ranks

    def result(self) -> dict[str, Any]:
        """Return by name all that two runs of the same must have in common to the bit."""
        checkpoints = checkpoint.existing(self.out_dir / "checkpoints")
        files = {str(p.relative_to(self.out_dir)): p for p in sorted(self.out_dir.rglob("*")) if p.is_file()}
        files = {name: p for name, p in files.items() if p.parent not in checkpoints}
        read = {".safetensors": _tensors, ".jsonl": _lines, ".json": Path.read_bytes, ".yaml": Path.read_bytes}
        unlike = {"config.yaml", "versions.json"}  # they name the folder and the commit
        found = {name: name in unlike or read.get(p.suffix, Path.exists)(p) for name, p in files.items()}
        return found | {p.name: _checkpoint(p) for p in checkpoints}


def places(num_ranks: int) -> list[dict[str, str]]:
    """Return what the environment of each process of a job on this machine says, as torchrun would."""
    shared = {"WORLD_SIZE": str(num_ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    return [{"RANK": str(n), "LOCAL_RANK": str(n), **shared} for n in range(num_ranks)]


def _checkpoint(path: Path) -> dict[str, Any]:
    # Which process writes which tensor is up to torch, and may differ.
    kinds = (checkpoint.MODEL, checkpoint.OPTIMIZER)
    tensors = {k + n: v.tolist() for k in kinds for n, v in checkpoint.read_tensors(path, k).items()}
    return tensors | {"metrics": json.loads((path / checkpoint.STATE).read_text())["metrics"]}


def _tensors(path: Path) -> dict[str, list[float]]:
    return {name: value.tolist() for name, value in load_file(path).items()}


def _lines(path: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, path.read_text(encoding="utf-8").split("\n")[:-1])
    return [{k: v for k, v in line.items() if k not in MEASURED} for line in lines]


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names of what differs between two results."""
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


def _rank(argv: list[str], place: dict[str, str], log: Path, die: Callable[[], None] | None) -> None:
    from osum import log as osum_log
    from osum.bin import train_sulm

    os.environ |= {**place, "TQDM_DISABLE": "1"}
    torch.set_num_threads(1)
    with open(f"{log}.{place['RANK']}", "a") as f:
        os.dup2(f.fileno(), 1)
        os.dup2(f.fileno(), 2)
    if die is not None:
        die()
    osum_log.run_main(partial(train_sulm.main, argv))


def finish(ranks: list[BaseProcess], limit_s: float = 300) -> list[int]:
    """Wait until one has failed or all have ended, end the others as a launcher does; return the exit codes."""
    end_s = time.monotonic() + limit_s
    alive = list(ranks)
    while alive and all(not r.exitcode for r in ranks) and time.monotonic() < end_s:
        wait([r.sentinel for r in alive], timeout=1)
        alive = [r for r in ranks if r.exitcode is None]
    for rank in alive:
        rank.kill()
        rank.join()
    return [int(r.exitcode or 0) for r in ranks]


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def kill_self() -> None:
    """End this process as a power cut does."""
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)

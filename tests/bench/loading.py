"""What a pretrained LLM takes of each process that trains on it: time, memory of its own, and pages shared with others.

    python tests/bench/loading.py --gb 1 --ranks 2 --parallel ddp fsdp --precision bfloat16

A random Qwen2 in bfloat16 of about so many GB, frozen and with LoRA; the model of stage 4 around it is built and placed
as the trainer does it, and each parameter is read once. Memory is what was added to that before, as Linux counts it:
`own` can't be given back, `own_peak` is the most of it while loading, `files` are pages of the model's files in memory,
and `files_share` the part of them that falls to each process when all share them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench import report  # noqa: E402
from runs import context, finish, places  # noqa: E402

WIDTH, VOCAB_SIZE = 1024, 32_000
LAYER_GB = 2 * (WIDTH * (2 * WIDTH + 2 * WIDTH // 4 + 3 * 4 * WIDTH)) / 1e9
SAMPLE_S = 0.02


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=1.0, help="of the LLM")
    parser.add_argument("--ranks", type=int, default=2, help="processes")
    parser.add_argument("--parallel", nargs="+", default=["ddp", "fsdp"], help="of train.compute")
    parser.add_argument("--precision", default="bfloat16", help="of train")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {"file_gb": write_llm(folder / "llm", args.gb)}
        for parallel in args.parallel:
            options = (folder, parallel, args.precision)
            ranks = [context().Process(target=load, args=(place, *options)) for place in places(args.ranks)]
            for rank in ranks:
                rank.start()
            assert finish(ranks) == [0] * args.ranks
            found[parallel] = [json.loads(p.read_text()) for p in sorted(folder.glob(f"{parallel}-*.json"))]
    report(benchmark="loading", precision=args.precision, **found)


def write_llm(folder: Path, num_gb: float) -> float:
    """Write a Qwen2 in bfloat16 with an output layer of its own; return its size, GB."""
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, Qwen2Config

    config = Qwen2Config(
        vocab_size=VOCAB_SIZE,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=max(1, round((num_gb - 4 * WIDTH * VOCAB_SIZE / 1e9) / LAYER_GB)),
        num_attention_heads=16,
        num_key_value_heads=4,
        tie_word_embeddings=False,
        dtype="bfloat16",
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    noise = (0.02 * torch.randn(2**20)).bfloat16()  # repeated: drawing a billion numbers takes longer than loading them
    tensors = {n: noise.repeat(p.numel() // 2**20 + 1)[: p.numel()].view_as(p) for n, p in model.named_parameters()}
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)
    return round((folder / "model.safetensors").stat().st_size / 1e9, 3)


def load(place: dict[str, str], folder: Path, parallel: str, precision: str) -> None:
    """Build and place the model in this process; write what it took."""
    from torch.distributed.tensor import DTensor

    from osum import dist
    from osum.model.build import build_encoder, build_speech_llm
    from osum.model.configs import AdaptorConfig, LlmSizes, LoraConfig, SpeechLlmConfig, WhisperSizes
    from osum.train import compute
    from osum.train.configs import ComputeConfig
    from osum.train.parallel import Replica
    from osum.train.parallel import place as place_model

    os.environ |= place
    torch.set_num_threads(1)
    cfg = SpeechLlmConfig(AdaptorConfig(1, 4, 256), LlmSizes(path=str(folder / "llm")), LoraConfig())
    with dist.world() as world:
        torch.manual_seed(0)
        before, peak, started_s = memory_gb(), Peak(), time.monotonic()
        model = build_speech_llm(cfg, build_encoder(WhisperSizes()), VOCAB_SIZE, 0, 0, precision=precision)
        compute.prepare(model, precision, ComputeConfig(parallel=parallel), world.device)
        replica = Replica(place_model(model, world, parallel), world)
        took_s = time.monotonic() - started_s
        for parameter in replica.model.parameters():
            (parameter.to_local() if isinstance(parameter, DTensor) else parameter).detach().sum()
        world.barrier()
        after = {name: value - before[name] for name, value in memory_gb().items()}
        world.barrier()
    found = {"own": after["Anonymous"], "own_peak": peak.stop() - before["Anonymous"]}
    found |= {"files": after["Rss"] - after["Anonymous"], "files_share": after["Pss"] - after["Anonymous"]}
    values = {f"{name}_gb": round(value, 3) for name, value in found.items()} | {"load_s": round(took_s, 2)}
    (folder / f"{parallel}-{world.rank}.json").write_text(json.dumps(values))


class Peak:
    """The most memory of its own that this process has from now on."""

    def __init__(self) -> None:
        self._most_gb, self._ended = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            self._most_gb = max(self._most_gb, memory_gb()["Anonymous"])

    def stop(self) -> float:
        """Return it, GB."""
        self._ended.set()
        self._thread.join()
        return self._most_gb


def memory_gb() -> dict[str, float]:
    """Return resident memory of this process, GB: all, its share where others have the same pages, and its own."""
    lines = map(str.split, Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    sizes = {line[0].rstrip(":"): int(line[1]) * 1024 / 1e9 for line in lines}
    return {name: sizes[name] for name in ("Rss", "Pss", "Anonymous")}


if __name__ == "__main__":
    main()

"""Training: audio-seconds per second and peak memory of our step against one that works as the original's.

    python tests/bench/step.py [--quick] [--vocab 151936] [--split] [--profile] [--share_prompts]
    python tests/bench/step.py --device cuda --size 7b

Both sides train encoder, adaptor and LoRA on the same utterances, from the same weights, with the same optimizer; that
their losses agree is asserted before anything is timed. Both recompute the encoder's layers in the backward pass, as
the original does; `--recompute` without a name recomputes nothing on our side. Each side lives in a process of its own;
rounds alternate between them and ratios are medians over rounds. Peak memory is the largest resident size of the
process (on CUDA: the largest allocation). `--split` adds the sides between the two: the baseline with one more thing
switched each time; give it with `--recompute` alone, so that both ends of the chain agree. `--share_prompts` has ours
compute equal prompts of a pack once, beside a side `unshared` that does not.
The last line of the output is one JSON object.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from baseline import Ways, chain
from batching import dynamic_batches, fill, packs, padding_share
from bench import Worker, interleave, median_ratio, report
from corpus import Spec, draw_corpus
from sides import PRESETS, Cost, Side

from osum.rng import rng_for
from osum.train.configs import ComputeConfig

NUM_UTTERANCES = 6000
OURS = ("ours", "unshared")
"""Sides that train on packs."""
NUM_CHECKED = 3
"""Utterances whose loss is compared."""
TOLERANCE = {"cpu": 1e-4, "cuda": 2e-2}
"""Largest difference of the mean loss, nats a token; on CUDA the matrix products are bfloat16."""


@dataclass(frozen=True)
class Workload:
    """Batches of the baseline and packs of ours over the same utterances, one of each per round."""

    rounds: list[list[list[Spec]]]
    """Batches of the baseline in each round: one optimizer step."""
    largest: list[Spec]
    """The batch of the epoch with most padded work: it sets the peak memory."""
    largest_pack: list[Spec]
    max_positions: int
    fill: float
    """Share of our packs' budget that is used over the epoch."""

    def for_side(self, name: str, number: int) -> list[list[Spec]]:
        """What a side trains on in a round."""
        batches = self.rounds[number]
        return packs(_shuffled(batches), self.max_positions) if name in OURS else batches

    def warmup(self, name: str) -> list[list[Spec]]:
        """What a side needs most memory for."""
        return [self.largest_pack if name in OURS else self.largest]


def main() -> None:
    """Check, warm up, time, report."""
    args = _arguments()
    sizes = PRESETS[args.size](args.vocab)
    work = _workload(args)
    ways = {"baseline": Ways(), **(chain() if args.split else {}), "ours": None}
    if args.share_prompts:
        ways["unshared"] = None
    compute = ComputeConfig(recompute=args.recompute, share_prompts=args.share_prompts)
    plain = ComputeConfig(recompute=args.recompute)
    sides = {
        name: Worker(Side, sizes, way, compute if name == "ours" else plain, args.device, args.threads)
        for name, way in ways.items()
    }
    _assert_equal(sides, work, args.device)
    for name, side in sides.items():
        side.call("step", work.warmup(name))
    runs = {name: _runner(name, side, work) for name, side in sides.items()}
    costs = interleave(runs, args.rounds)
    if args.profile:
        print(sides["ours"].call("profile", work.for_side("ours", 0)))
    _report(args, work, sides, costs)
    for side in sides.values():
        side.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a look within a minute: small batches, two rounds")
    parser.add_argument("--vocab", type=int, help="vocabulary of the LLM; of Qwen2 if left out")
    parser.add_argument("--size", choices=PRESETS, default="small", help="sizes of the model")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of each side")
    parser.add_argument("--rounds", type=int, default=3, help="optimizer steps of each side")
    parser.add_argument("--batches", type=int, default=2, help="batches of the baseline per optimizer step")
    parser.add_argument("--max_positions", type=int, default=1024, help="decoder positions of our packs")
    parser.add_argument(
        "--recompute", nargs="*", default=["encoder"], help="parts of our model whose layers are recomputed"
    )
    parser.add_argument("--max_target_tokens", type=int, default=200, help="longer targets are redrawn")
    parser.add_argument("--share_prompts", action="store_true", help="equal prompts of a pack are computed once")
    parser.add_argument("--split", action="store_true", help="split the gain into its parts")
    parser.add_argument("--profile", action="store_true", help="print what our step spends its time on")
    parser.add_argument("--peak_tflops", type=float, help="of the GPU in bfloat16, for MFU; by its name if left out")
    args = parser.parse_args()
    if args.split and args.share_prompts:
        parser.error("--split and --share_prompts add sides of their own; give one of them")
    args.vocab = args.vocab or (152_064 if args.size == "7b" else 151_936)
    if args.quick:
        args.rounds, args.batches = 2, 1
    return args


def _workload(args: argparse.Namespace) -> Workload:
    specs = draw_corpus(NUM_UTTERANCES, args.vocab, args.max_target_tokens, seed=0)
    batches = dynamic_batches(specs, rng_for("bench", "shuffle"), share=0.4 if args.quick else 1.0)
    epoch = packs(_shuffled([specs]), args.max_positions)
    for name, length in (("audio", lambda s: s.num_samples), ("target", lambda s: len(s.target_ids) + 1)):
        print(f"baseline: {len(batches)} batches, {name} padding {padding_share(batches, length):.1%}")
    filled = fill(epoch, args.max_positions)
    print(f"ours: {len(epoch)} packs of {args.max_positions} positions, fill {filled:.2%}", flush=True)
    return Workload(
        rounds=_spread(batches, args.rounds, args.batches),
        largest=max(batches, key=lambda b: len(b) * max(s.num_positions for s in b)),
        largest_pack=max(epoch, key=lambda p: sum(s.num_samples for s in p)) if not args.quick else epoch[0][:4],
        max_positions=args.max_positions,
        fill=filled,
    )


def _spread(batches: list[list[Spec]], num_rounds: int, per_round: int) -> list[list[list[Spec]]]:
    """Draw batches evenly from the shortest to the longest, so that few stand for the epoch, and deal them out."""
    ordered = sorted(batches, key=lambda b: sum(s.duration_s for s in b) / len(b))
    count = num_rounds * per_round
    drawn = [ordered[int((i + 0.5) / count * len(ordered))] for i in range(count)]
    # To and fro over the rounds: each gets short and long ones.
    dealt = [drawn[i : i + num_rounds][:: 1 if i // num_rounds % 2 else -1] for i in range(0, count, num_rounds)]
    return [list(of_round) for of_round in zip(*dealt, strict=True)]


def _shuffled(batches: Sequence[Sequence[Spec]]) -> list[Spec]:
    specs = [s for batch in batches for s in batch]
    return [specs[i] for i in rng_for("bench", "plan").permutation(len(specs))]


def _assert_equal(sides: dict[str, Worker], work: Workload, device: str) -> None:
    utterances = work.largest[:: max(1, len(work.largest) // NUM_CHECKED)][:NUM_CHECKED]
    found = {name: side.call("check", [utterances]) for name, side in sides.items()}
    for name, (loss, norm) in found.items():
        print(f"{name}: loss {loss:.6f}, gradient norm {norm:.6f}", flush=True)
    expected = found["baseline"]
    for name, values in found.items():
        for ours, theirs in zip(values, expected, strict=True):
            assert math.isclose(ours, theirs, rel_tol=TOLERANCE[device], abs_tol=TOLERANCE[device]), (name, found)


def _runner(name: str, side: Worker, work: Workload) -> object:
    def run(number: int) -> Cost:
        cost = side.call("step", work.for_side(name, number))
        print(f"round {number} {name}: {cost.wall_s:.1f} s ({cost.cpu_s:.1f} s of processor time)", flush=True)
        return cost

    return run


def _report(args: argparse.Namespace, work: Workload, sides: dict[str, Worker], costs: dict[str, list[Cost]]) -> None:
    audio_s = [sum(s.duration_s for b in batches for s in b) for batches in work.rounds]
    walls = {name: [c.wall_s for c in of_side] for name, of_side in costs.items()}
    cpus = {name: [c.cpu_s for c in of_side] for name, of_side in costs.items()}
    peaks = {name: side.peak_memory_bytes() / 1e9 for name, side in sides.items()}
    figures = {
        name: {"audio_s_per_s": round(sum(audio_s) / sum(wall), 3), "peak_gb": round(peaks[name], 2)}
        for name, wall in walls.items()
    }
    values = {
        "benchmark": "step",
        "ratio": round(median_ratio(walls["baseline"], walls["ours"]), 3),
        "ratio_of_processor_time": round(median_ratio(cpus["baseline"], cpus["ours"]), 3),
        "memory_ratio": round(peaks["ours"] / peaks["baseline"], 3),
        "unit": "audio-seconds per second; peak memory in GB",
        **figures,
        "fill": round(work.fill, 4),
        "audio_s": round(sum(audio_s), 1),
        "vocab": args.vocab,
        "size": args.size,
        "max_positions": args.max_positions,
        "share_prompts": args.share_prompts,
        "recompute": args.recompute,
        "quick": args.quick,
        "rounds": args.rounds,
        "side_threads": args.threads,
    }
    if args.share_prompts:
        values["ratio_of_sharing"] = round(median_ratio(cpus["unshared"], cpus["ours"]), 3)
    if args.split:
        values["split"] = _split(cpus if args.device == "cpu" else walls)
    if args.device == "cuda":
        values |= _gpu_figures(args, work, sides["ours"], sum(walls["ours"]))
    report(**values)


def _split(costs: dict[str, list[float]]) -> dict[str, float]:
    """Factor that each thing gains over the one before it; their product is the whole gain (processor time on CPU)."""
    names = list(costs)
    labels = [*names[1:-1], "padding"]
    return {
        label: round(median_ratio(costs[before], costs[after]), 3)
        for label, before, after in zip(labels, names, names[1:], strict=False)
    }


def _gpu_figures(args: argparse.Namespace, work: Workload, ours: Worker, wall_s: float) -> dict[str, float | None]:
    specs = [s for batches in work.rounds for batch in batches for s in batch]
    tokens_per_s = sum(s.num_positions for s in specs) / wall_s
    peak = args.peak_tflops * 1e12 if args.peak_tflops else ours.call("peak_flop_per_s")
    mfu = ours.call("flop", specs) / wall_s / peak
    return {"tokens_per_s": round(tokens_per_s, 1), "mfu": None if math.isnan(mfu) else round(mfu, 4)}


if __name__ == "__main__":
    main()

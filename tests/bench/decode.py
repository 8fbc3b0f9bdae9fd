"""Decoding: utterances per second of our batches against each utterance alone, as the original generates.

    python tests/bench/decode.py [--quick] [--vocab 16000] [--precision bfloat16] [--speech_first] [--lora none]
    python tests/bench/decode.py --profile --workload mix

Both sides write the same greedy texts from the same random weights, encoder 6 x 512 and LLM 8 x 512. The baseline takes
one utterance after another through the same encoder and `generate` of transformers, with LoRA beside the weights as
the original has it; ours has merged it, as `osum.load` does. Random weights never stop, so the length of each text is
drawn as targets of its task have it. Two workloads: `all_tasks` asks each utterance for all eight tasks, as the decode
stage does, so that ours encodes it once; `mix` asks each for one task of the training mix. A task has one prompt.
The baseline writes a sample of the texts, spread over their lengths; both rates are per text. Audio is in memory on
both sides. Rounds alternate between the sides on new utterances; ratios are medians over rounds. On a machine that
others use, trust the ratio of processor time, with `--threads 1`. `--profile` adds what our side does in each part
(`parts.py`). The last line of the output is one JSON object.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from bench import interleave, median_ratio, report
from corpus import TASK_SHARES, IdTokenizer, Spec, draw_corpus, num_target_tokens
from parts import measured, table
from sides import PRESETS
from torch import nn
from transformers import GenerationConfig

from osum.audio.frames import SAMPLE_RATE_HZ
from osum.data.load.collate import collate_prefixes
from osum.eval.buckets import length_buckets
from osum.eval.configs import DecodingConfig
from osum.eval.speech_model import SpeechModel
from osum.model.build import build_encoder, build_speech_llm
from osum.model.configs import LoraConfig, SpeechLlmConfig
from osum.model.lora import take_lora_out
from osum.model.precision import halve
from osum.model.speech_llm import SpeechLLM
from osum.rng import rng_for
from osum.text.configs import TemplateConfig
from osum.text.template import SulmTemplate
from osum.types import Example

MAX_TOKENS = 200
"""Longest text; longer ones are redrawn in `mix` and cut in `all_tasks`."""


@dataclass(frozen=True)
class Asked:
    """One text that is to be written."""

    example: Example
    num_tokens: int


def main() -> None:
    """Build, warm up, time, report."""
    args = _arguments()
    torch.set_num_threads(args.threads)
    cfg = DecodingConfig(precision=args.precision, batch_size=args.batch_size)
    template = TemplateConfig(speech_first=args.speech_first)
    sides = {
        "baseline": _Baseline(_build(args), args, template),
        "ours": _Ours(_build(args), cfg, args.vocab, template),
    }
    if args.lora == "merged":
        take_lora_out(sides["ours"].model.llm, merge=True)
    draws = {name: {"mix": _mix, "all_tasks": _all_tasks}[name] for name in args.workload}
    counts = {"mix": args.utterances, "all_tasks": max(1, args.utterances // len(TASK_SHARES))}
    found = {}
    for name, draw in draws.items():
        rounds = [draw(counts[name], args.vocab, seed) for seed in range(args.rounds)]
        found[name] = _compare(name, sides, rounds, args.sample)
        if args.profile:
            found[name]["parts"] = _profile(sides["ours"], rounds[0])
    report(
        benchmark="decode",
        ratio=found[args.workload[0]]["ratio"],
        ratio_is_of=args.workload[0],
        unit="texts per second",
        **found,
        vocab=args.vocab,
        size=args.size,
        precision=args.precision,
        speech_first=args.speech_first,
        lora=args.lora,
        batch_size=args.batch_size,
        rounds=args.rounds,
        quick=args.quick,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a look within a minute: one round of few utterances")
    parser.add_argument("--vocab", type=int, default=151_936, help="vocabulary of the LLM; the default is of Qwen2")
    parser.add_argument("--size", choices=PRESETS, default="small", help="sizes of the model")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of both sides")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--utterances", type=int, default=512, help="texts of a round")
    parser.add_argument("--sample", type=int, default=16, help="the baseline writes every n-th text, by length")
    parser.add_argument("--workload", choices=("mix", "all_tasks"), nargs="+", default=["all_tasks", "mix"])
    parser.add_argument("--speech_first", action="store_true", help="speech before the prompt, on both sides")
    parser.add_argument(
        "--lora",
        choices=("merged", "kept", "none"),
        help="LoRA of ours: merged in float32 and kept in bfloat16, unless given; the baseline keeps its own, if any",
    )
    parser.add_argument("--profile", action="store_true", help="print what our side does in each part")
    parser.add_argument("--batch_size", type=int, default=64, help="texts that ours writes together")
    args = parser.parse_args()
    args.lora = args.lora or {"float32": "merged", "bfloat16": "kept"}[args.precision]
    if args.quick:
        args.rounds, args.utterances, args.sample = 1, 32, 8
    return args


def _build(args: argparse.Namespace) -> SpeechLLM:
    torch.manual_seed(0)
    sizes = PRESETS[args.size](args.vocab)
    model_cfg = SpeechLlmConfig(sizes.adaptor, sizes.llm, None if args.lora == "none" else LoraConfig())
    model = build_speech_llm(model_cfg, build_encoder(sizes.encoder), args.vocab, args.vocab - 1, 0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.02)
    return model


def _mix(count: int, vocab_size: int, seed: int) -> list[Asked]:
    """Every utterance in one task of the training mix."""
    drawn = draw_corpus(count, vocab_size, MAX_TOKENS, 100 + seed)
    return [Asked(_with_prompt(spec.example(), vocab_size), len(spec.target_ids)) for spec in drawn]


def _all_tasks(count: int, vocab_size: int, seed: int) -> list[Asked]:
    """Every utterance in all eight tasks."""
    drawn = draw_corpus(count, vocab_size, MAX_TOKENS, 200 + seed)
    return [asked for spec in drawn for asked in _in_all_tasks(spec, vocab_size)]


def _in_all_tasks(spec: Spec, vocab_size: int) -> list[Asked]:
    rng, example, found = rng_for("all tasks", spec.key), spec.example(), []
    for task in TASK_SHARES:
        num_tokens = min(MAX_TOKENS, num_target_tokens(rng, task, spec.duration_s))
        found.append(Asked(_with_prompt(replace(example, task=task), vocab_size), num_tokens))
    return found


def _with_prompt(example: Example, vocab_size: int) -> Example:
    """Return it with the prompt of its task: there is one for each, as in the decode stage."""
    prompt = rng_for("prompt", example.task).integers(0, vocab_size - 1, 12)
    return replace(example, prompt=" ".join(map(str, prompt)))


class _Ours:
    """Audio encoded once, texts in batches: what `osum.eval.decode` does with the utterances of shards."""

    def __init__(self, model: SpeechLLM, cfg: DecodingConfig, vocab_size: int, template: TemplateConfig) -> None:
        # With an end token beyond the vocabulary, which the model can't write: texts have the lengths that were drawn.
        tokenizer = IdTokenizer(vocab_size + 1)
        self.model = model
        self._speech_model = SpeechModel(model, tokenizer, {}, precision=cfg.precision, template=template)
        self._cfg = cfg

    def write(self, asked: Sequence[Asked]) -> list[list[int]]:
        about: dict[str, list[Asked]] = {}
        for a in asked:
            about.setdefault(a.example.key, []).append(a)
        by_audio = list(about.values())
        budget = self._cfg.max_batch_audio_s * SAMPLE_RATE_HZ
        buckets = length_buckets([len(of_one[0].example.audio) for of_one in by_audio], budget)
        groups = [[a for place in bucket for a in by_audio[place]] for bucket in buckets]
        order = [(a.example.key, a.example.task) for group in groups for a in group]
        lengths = {(a.example.key, a.example.task): a.num_tokens for a in asked}
        written = self._speech_model.write(
            ([a.example for a in group] for group in groups), self._cfg, lambda e: lengths[e.key, e.task]
        )
        texts = {order[place]: text.ids for place, text in written}
        return [texts[a.example.key, a.example.task] for a in asked]


class _Baseline:
    """One text after another: encoder, then `generate` of transformers."""

    def __init__(self, model: SpeechLLM, args: argparse.Namespace, template: TemplateConfig) -> None:
        self._model, self._template = model.eval(), SulmTemplate(IdTokenizer(args.vocab), cfg=template)
        self._model.llm.generation_config = GenerationConfig()  # no end token
        self._autocast = args.precision == "bfloat16"
        if self._autocast:
            halve(self._model.parameters())

    @torch.inference_mode()
    def write(self, asked: Sequence[Asked]) -> list[list[int]]:
        return [self._write(a) for a in asked]

    def _write(self, asked: Asked) -> list[int]:
        model, batch = self._model, collate_prefixes([asked.example], self._template)
        config = GenerationConfig(max_new_tokens=asked.num_tokens, do_sample=False)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._autocast):
            speech, packing = model.embed_speech(batch.audio, batch.audio_lens)
            embedded = model.splice(batch.input_ids, batch.speech_mask, speech, packing)[None]
            mask = torch.ones(embedded.shape[:2], dtype=torch.long)
            return model.llm.generate(inputs_embeds=embedded, attention_mask=mask, generation_config=config)[0].tolist()


def _compare(
    name: str, sides: dict[str, _Ours | _Baseline], rounds: Sequence[Sequence[Asked]], sample: int
) -> dict[str, object]:
    """Time both sides on the same texts, the baseline on every `sample`-th by length; count equal ones."""
    rounds = [sorted(asked, key=lambda a: a.num_tokens) for asked in rounds]
    chosen = {"baseline": slice(sample // 2, None, sample), "ours": slice(None)}
    texts: dict[str, list[list[list[int]]]] = {side: [] for side in sides}
    cpu: dict[str, list[float]] = {side: [] for side in sides}

    def timed(side: str) -> Callable[[int], float]:
        def run(number: int) -> float:
            asked = rounds[number][chosen[side]]
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            texts[side].append(sides[side].write(asked))
            wall_s, cpu_s = (time.perf_counter() - wall_s) / len(asked), (time.process_time() - cpu_s) / len(asked)
            cpu[side].append(cpu_s)
            print(f"{name} {number} {side}: {len(asked)} texts, {wall_s:.3f} s each, {cpu_s:.3f} s of CPU", flush=True)
            return wall_s

        return run

    for side in sides.values():
        side.write(rounds[0][:2])
    walls = interleave({side: timed(side) for side in sides}, len(rounds))
    pairs = [
        pair
        for baseline, ours in zip(texts["baseline"], texts["ours"], strict=True)
        for pair in zip(baseline, ours[chosen["baseline"]], strict=True)
    ]
    assert all(len(theirs) == len(ours) for theirs, ours in pairs)
    asked = [a for of_round in rounds for a in of_round]
    return {
        "ratio": round(median_ratio(walls["baseline"], walls["ours"]), 2),
        "ratio_of_processor_time": round(median_ratio(cpu["baseline"], cpu["ours"]), 2),
        **{f"{side}_per_s": round(len(rounds) / sum(wall), 3) for side, wall in walls.items()},
        **{f"{side}_per_cpu_s": round(len(rounds) / sum(spent), 3) for side, spent in cpu.items()},
        "equal_texts": round(float(np.mean([theirs == ours for theirs, ours in pairs])), 3),
        "mean_tokens": round(float(np.mean([a.num_tokens for a in asked])), 1),
        "mean_audio_s": round(float(np.mean([len(a.example.audio) for a in asked])) / SAMPLE_RATE_HZ, 2),
    }


def _profile(ours: _Ours, asked: Sequence[Asked]) -> dict[str, dict[str, float]]:
    """What our side does for each of these texts, by part."""
    with measured(ours.model) as parts:
        cpu_s = time.process_time()
        ours.write(asked)
        cpu_s = time.process_time() - cpu_s
    found = table(parts, cpu_s, len(asked))
    for name, part in found.items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in part.items()), flush=True)
    return found


if __name__ == "__main__":
    main()

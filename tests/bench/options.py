r"""What options that leave the paper do to learning: ChatML, and LoRA on `up_proj`, with a pretrained instruct model.

python tests/bench/options.py --llm INSTRUCT_FOLDER --shards_dir egs/osum/data/mini/shards/train [--quick true]

The language model is frozen but for LoRA and learns the targets of English utterances. Its own embeddings of the
transcript stand for the speech, as from an adaptor that has nothing left to learn: what differs is the language
model's part (that tags have nothing to go by is the same in all arms). Every arm has the same utterances in the same
order, for the same number of steps; losses are nats a target token on utterances that are not trained on, means over
seeds. The last line of the output is one JSON object.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence as ListOf
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from bench import report
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, PreTrainedModel

from osum import config, tasks
from osum.audio.frames import num_speech_embeddings
from osum.data.examples import compose
from osum.data.store.index import Index
from osum.model.configs import LoraConfig
from osum.model.lora import add_lora
from osum.rng import rng_for
from osum.text import tokenizer as tokenizers
from osum.text.configs import PAPER, TemplateConfig
from osum.text.template import IGNORED, Sequence, SulmTemplate, Tokenizer
from osum.types import Example

PAPER_LORA = LoraConfig(dropout=0.0)
WITH_UP = replace(PAPER_LORA, targets=[*PAPER_LORA.targets, "up_proj"])


@dataclass
class OptionsConfig:
    """Compare options of the language model's part."""

    llm: Path
    """Hugging Face folder of an instruct model in Qwen2 form with its tokenizer."""
    shards_dir: Path
    """Split of a shards folder."""
    tasks: list[str] = field(default_factory=lambda: ["asr", "ser", "sgc", "sap"])
    """Tasks to learn, in turn."""
    num_steps: int = 20
    """Optimizer steps."""
    batch_size: int = 8
    """Utterances of a step."""
    num_held_out: int = 48
    """Utterances that losses are of."""
    seeds: int = 2
    """Runs of each arm: seeds of LoRA's first values and of the order."""
    lr: float = 1e-3
    """Of AdamW; highest after a fifth of the steps, then constant."""
    quick: bool = False
    """A look: one seed of four steps."""


@dataclass(frozen=True)
class Arm:
    """One way to train."""

    lora: LoraConfig
    template: TemplateConfig = PAPER


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    trained: int
    """Parameters."""
    before: float
    """Loss in nats a target token."""
    after: float
    cpu_s: float
    """Processor time of a step, median."""


def examples(cfg: OptionsConfig, index: Index, tokenizer: Tokenizer) -> list[Example]:
    """English utterances in their tasks, in a fixed random order, as long as their transcripts have tokens."""
    prompts, chosen = tasks.load_prompts(None, cfg.tasks), {name: tasks.get(name) for name in cfg.tasks}
    found: list[Example] = []
    for row in rng_for("options").permutation(len(index)).tolist():
        utterance = index.utterance(row)
        if utterance.language != "en" or not utterance.text:
            continue
        num_tokens = len(tokenizer.encode(utterance.text, add_special_tokens=False))
        made = compose(
            utterance, np.zeros(_num_samples(num_tokens)), cfg.tasks[len(found) % len(cfg.tasks)], chosen, prompts
        )
        if isinstance(made, Example):
            found.append(made)
        if len(found) == cfg.num_held_out + cfg.num_steps * cfg.batch_size:
            break
    return found


def sequence(template: SulmTemplate, tokenizer: Tokenizer, example: Example) -> Sequence:
    """The positions of an utterance, the tokens of its transcript where speech would be."""
    made = template.encode(example)
    heard = tokenizer.encode(example.transcript or "", add_special_tokens=False)
    made.input_ids[np.flatnonzero(made.speech_mask)[1:-1]] = heard
    return made


def nll(llm: PreTrainedModel, batch: ListOf[Sequence]) -> tuple[Tensor, int]:
    """Sum over target tokens in nats, and their number."""
    # Padding lies behind what is real, where a causal model does not look.
    ids = pad_sequence([torch.from_numpy(s.input_ids) for s in batch], batch_first=True)
    labels = pad_sequence([torch.from_numpy(s.labels) for s in batch], batch_first=True, padding_value=IGNORED)
    is_target = labels != IGNORED
    hidden = llm.model(input_ids=ids, use_cache=False).last_hidden_state[is_target]
    return cross_entropy(llm.lm_head(hidden).float(), labels[is_target], reduction="sum"), int(is_target.sum())


@torch.no_grad()
def loss(llm: PreTrainedModel, held_out: ListOf[Sequence], batch_size: int) -> float:
    """Mean loss in nats a target token."""
    sums = [nll(llm, held_out[i : i + batch_size]) for i in range(0, len(held_out), batch_size)]
    return float(sum(total for total, _ in sums)) / sum(count for _, count in sums)


def run(cfg: OptionsConfig, arm: Arm, drawn: ListOf[Example], tokenizer: Tokenizer, seed: int) -> Outcome:
    """Train an arm on all but the first examples, and compare the loss on these."""
    torch.manual_seed(seed)
    llm = add_lora(AutoModelForCausalLM.from_pretrained(cfg.llm, dtype=torch.float32), arm.lora)
    template = SulmTemplate(tokenizer, cfg=arm.template)
    made = [sequence(template, tokenizer, example) for example in drawn]
    held_out, rest = made[: cfg.num_held_out], made[cfg.num_held_out :]
    rest = [rest[i] for i in rng_for("order", seed).permutation(len(rest)).tolist()]
    trained = [p for p in llm.parameters() if p.requires_grad]
    optimizer, spent = torch.optim.AdamW(trained, cfg.lr, weight_decay=0.0), []
    before = loss(llm, held_out, cfg.batch_size)
    for step in range(cfg.num_steps):
        started = time.process_time()
        optimizer.param_groups[0]["lr"] = cfg.lr * min(1.0, 5 * (step + 1) / cfg.num_steps)
        total, count = nll(llm, rest[step * cfg.batch_size : (step + 1) * cfg.batch_size])
        (total / count).backward()
        optimizer.step()
        optimizer.zero_grad()
        spent.append(time.process_time() - started)
    after = loss(llm, held_out, cfg.batch_size)
    return Outcome(sum(p.numel() for p in trained), before, after, statistics.median(spent))


def main() -> None:
    """Print one line for each arm and seed."""
    cfg = config.load(OptionsConfig)
    if cfg.quick:
        cfg = replace(cfg, seeds=1, num_steps=4, num_held_out=8)
    tokenizer = tokenizers.load(cfg.llm)
    drawn = examples(cfg, Index.open(cfg.shards_dir), tokenizer)
    arms = {
        "plain": Arm(PAPER_LORA),
        "up_proj": Arm(WITH_UP),
        "higher_rank": Arm(replace(PAPER_LORA, rank=10, alpha=40)),  # about as many parameters as with up_proj
        "chatml": Arm(PAPER_LORA, TemplateConfig(form="chatml")),
    }
    found: dict[str, list[Outcome]] = {name: [] for name in arms}
    for seed in range(cfg.seeds):
        for name, arm in arms.items():
            outcome = run(cfg, arm, drawn, tokenizer, seed)
            found[name].append(outcome)
            print(f"{name} {seed}: {outcome}", flush=True)
    means = {
        name: {key: round(statistics.mean(vars(o)[key] for o in of_arm), 4) for key in vars(of_arm[0])}
        for name, of_arm in found.items()
    }
    report(benchmark="options", unit="nats a target token", **means, steps=cfg.num_steps, seeds=cfg.seeds)


def _num_samples(num_speech: int) -> int:
    """Return a length at 16 kHz that has so many speech embeddings."""
    return next(n for n in range(400, 480_001, 80) if num_speech_embeddings(n) == num_speech)


if __name__ == "__main__":
    main()

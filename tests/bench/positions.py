r"""What the options of the token sequence save: LLM positions of a split, counted without a model.

python tests/bench/positions.py --tokenizer QWEN2_FOLDER --shards_dir egs/osum/data/mini/shards/train
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from osum import config, tasks
from osum.data.corpora.configs import TokenizerConfig
from osum.data.corpora.vocabulary import reserved
from osum.data.plan import lengths
from osum.data.plan.config import PlanConfig
from osum.data.plan.packs import Packs, joined
from osum.data.plan.planner import Planner
from osum.data.store.index import Index
from osum.text import added_tokens
from osum.text import tokenizer as tokenizers
from osum.text.template import SulmTemplate


@dataclass
class PositionsConfig:
    """Count the LLM positions of one epoch of a split."""

    shards_dir: Path
    """Split of a shards folder."""
    tokenizer: Path
    """Tokenizer folder of the language model."""
    tasks: list[str] = field(default_factory=lambda: list(tasks.names()))
    """Tasks to mix."""
    plan: PlanConfig = field(default_factory=lambda: PlanConfig(max_tokens=8192, max_audio_s=600.0))
    """Mixing and packing; the audio budget is wide by default, so that packs hold as many prompts as they can."""


def table(cfg: PositionsConfig, index: Index, added: bool) -> lengths.Lengths:
    """Return the lengths with the tokenizer as it is, or with single-token tags and time marks."""
    tokenizer = tokenizers.load(cfg.tokenizer)
    if added:
        added_tokens.add(tokenizer, reserved(TokenizerConfig()))
    chosen = {name: tasks.get(name) for name in cfg.tasks}
    return lengths.build(index, chosen, tasks.load_prompts(None, cfg.tasks), SulmTemplate(tokenizer))


def prompt_tokens(found: lengths.Lengths, epoch: Packs) -> np.ndarray:
    """(n,) tokens of the prompt of each item."""
    return found.prefix_lens[epoch.tasks, found.rows["language"][epoch.rows], epoch.prompts] - 2


def repeated_prompt_tokens(found: lengths.Lengths, epoch: Packs) -> int:
    """Prompt tokens that stand in their pack a second time."""
    num_tokens, start, repeated = prompt_tokens(found, epoch), 0, 0
    languages = found.rows["language"][epoch.rows]
    for end in epoch.ends.tolist():
        items = range(start, end)
        seen = Counter((epoch.tasks[i], languages[i], epoch.prompts[i], num_tokens[i]) for i in items)
        repeated += sum((count - 1) * int(key[3]) for key, count in seen.items())
        start = end
    return repeated


def main() -> None:
    """Print one line for each option."""
    cfg = config.load(PositionsConfig)
    index = Index.open(cfg.shards_dir)
    plain, added = (table(cfg, index, with_added) for with_added in (False, True))
    epoch = joined(list(Planner(index, plain, cfg.plan, seed=0).epoch(0).packs()))
    total = int(plain.positions(epoch.rows, epoch.tasks, epoch.prompts).sum())
    print(f"utterances={len(epoch.rows)} positions={total} per_pack={len(epoch.rows) / len(epoch.ends):.1f}")
    for number, name in enumerate(plain.tasks):
        serving = plain.target_lens[:, number] >= 0
        if serving.any():
            means = [float(found.target_lens[serving, number].mean()) for found in (plain, added)]
            print(f"task={name} target_tokens={means[0]:.1f} with_added_tokens={means[1]:.1f}")
    with_added = int(added.positions(epoch.rows, epoch.tasks, epoch.prompts).sum())
    print(f"added_tokens saves {1 - with_added / total:.1%} of positions")
    shared = repeated_prompt_tokens(plain, epoch)
    print(
        f"prompts are {int(prompt_tokens(plain, epoch).sum()) / total:.1%} of positions, {shared / total:.1%} repeated"
    )


if __name__ == "__main__":
    main()

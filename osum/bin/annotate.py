r"""Stage 1: manifests -> cuts with canonical labels, tasks and splits; tokenizer, CTC units, drops and a data card.

Alone and on a few utterances, in egs/osum:

    python -m osum.bin.annotate --config conf/mini/annotate.yaml --manifests_dir data/mini/manifests \
      --out_dir exp/debug/cuts --max_cuts 20
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from osum import config, log, outputs, tasks
from osum.data import licences
from osum.data.corpora.configs import FilterConfig, TokenizerConfig
from osum.data.corpora.data_card import DataCard
from osum.data.corpora.manifests import RECORDINGS, SUPERVISIONS, find_corpora
from osum.data.corpora.splits import SPLITS, SplitConfig
from osum.data.drops import Drops
from osum.types import Utterance

if TYPE_CHECKING:
    from osum.data.corpora.annotation import Annotator

logger = log.get(__name__)


@dataclass
class AnnotateConfig:
    """Stage 1: canonical labels, tasks, splits and vocabulary."""

    manifests_dir: Path
    """Folder of stage 0: one folder with manifests per corpus."""
    out_dir: Path
    """Folder for the cuts of each split, drops.json, data_card.md, licences.json and tokenizer/."""
    corpora: list[str] | None = None
    """Corpora to use; null: all in manifests_dir."""
    max_cuts: int | None = None
    """Keep only the first so many cuts of each split, for debugging; null: all."""
    labels_dir: Path = Path("local/labels")
    """Folder of the alias maps default.yaml and <corpus>.yaml."""
    tasks: list[str] = field(default_factory=lambda: list(tasks.names()))
    """Tasks that utterances may serve: single (ser), combined (sap+sgc), without transcript (only:ser)."""
    filters: FilterConfig = field(default_factory=FilterConfig)
    """Which utterances are wanted, and how their text is written."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """How corpora without their own splits are divided."""
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    """The text tokenizer to train or to take over."""
    max_defect_rate: float = 0.01
    """More than this share of defective utterances stops the stage, 0 to 1."""
    overwrite: bool = False
    """Replace cuts that were made with other settings."""

    def __post_init__(self) -> None:
        """ValueError for a task that does not exist or a number out of range."""
        for name in self.tasks:
            tasks.get(name)
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise ValueError("tasks must name at least one task, and each only once")
        if not 0 <= self.max_defect_rate <= 1:
            raise ValueError("max_defect_rate must lie between 0 and 1")
        if self.max_cuts is not None and self.max_cuts < 1:
            raise ValueError("max_cuts must be at least 1")


def annotate(cfg: AnnotateConfig, folders: list[Path], out_dir: Path) -> Drops:
    """Write all outputs of the stage to `out_dir` and return the ledger. ValueError if too much data is defective."""
    # Here and not above: a rerun that has nothing to do need not wait for Lhotse and transformers.
    from osum.data.corpora.annotation import Annotator
    from osum.data.corpora.vocabulary import write_vocabulary

    annotator = Annotator(cfg.tasks, cfg.filters, cfg.split, cfg.labels_dir, cfg.max_cuts, scratch_dir=out_dir)
    card = write_cuts(annotator, folders, out_dir)
    annotator.drops.settle(out_dir, cfg.out_dir, cfg.max_defect_rate)
    outputs.atomic_write(out_dir / "data_card.md", card.render(annotator.drops, annotator.ignored_words))
    licences.write(out_dir, card.licences)
    write_vocabulary(out_dir / "tokenizer", partial(read_cuts, out_dir / "train.jsonl.gz"), cfg.tasks, cfg.tokenizer)
    return annotator.drops


def write_cuts(annotator: Annotator, folders: list[Path], out_dir: Path) -> DataCard:
    """Write `<split>.jsonl.gz` for every split; return what the data card counts."""
    from lhotse import CutSet

    from osum.data.corpora.cuts import utterance

    card = DataCard()
    with ExitStack() as stack:
        writers = {s: stack.enter_context(CutSet.open_writer(out_dir / f"{s}.jsonl.gz")) for s in SPLITS}
        for folder in folders:
            for split, cut in annotator.annotate_corpus(folder):
                writers[split].write(cut)
                card.add(split, utterance(cut), (cut.supervisions[0].custom or {}).get("licence"))
    return card


def read_cuts(path: Path) -> Iterator[Utterance]:
    """Yield the utterances of a file of cuts, one at a time."""
    from lhotse import CutSet

    from osum.data.corpora.cuts import utterance

    return map(utterance, CutSet.from_jsonl_lazy(path))


def input_paths(cfg: AnnotateConfig, folders: list[Path]) -> list[Path]:
    """Return the files and stage folders that decide the output."""
    paths = []
    for folder in folders:
        done = (folder / outputs.DONE_MARK).is_file()
        paths += [folder] if done else [folder / RECORDINGS, folder / SUPERVISIONS]
    label_files = [cfg.labels_dir / f"{name}.yaml" for name in ("default", *(f.name for f in folders))]
    prompts = sorted(cfg.tokenizer.prompts_dir.glob("*.yaml")) if cfg.tokenizer.prompts_dir else []
    return paths + [path for path in label_files if path.is_file()] + prompts


def main() -> None:
    """Read the options and annotate, unless that is done."""
    cfg = config.load(AnnotateConfig)
    folders = find_corpora(cfg.manifests_dir, cfg.corpora)
    with outputs.output_dir(cfg.out_dir, cfg, input_paths(cfg, folders), cfg.overwrite) as out_dir:
        if out_dir is not None:
            drops = annotate(cfg, folders, out_dir)
            logger.info("annotate read=%d used=%d dropped=%d", drops.read, drops.used, drops.num_dropped)


if __name__ == "__main__":
    log.run_main(main)

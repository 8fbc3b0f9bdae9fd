r"""Foreign data to the index that training reads, in place: WeNet, the original OSUM, Lhotse, and our own shards.

The output is a folder such as the shard stage writes, without tars: give it to training as `shards_dir`. For example:

    python -m osum.bin.index --out_dir exp/foreign --labels_dir local/labels \
      --sources '[{corpus: aishell, format: wenet_shard, path: data/train/shards.list, language: zh}]'
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from osum import config, log, outputs, tasks
from osum.data import licences
from osum.data.corpora.configs import FilterConfig, TokenizerConfig
from osum.data.drops import Drops
from osum.data.sources.config import SourceConfig
from osum.data.store.index import Index

logger = log.get(__name__)


@dataclass
class IndexConfig:
    """Index data that was not made by the stages, without copying its audio."""

    sources: list[SourceConfig]
    """What to index; the sources of a split become one index."""
    out_dir: Path
    """Folder to write `<split>/index.*` and `<split>/utterances.jsonl` to."""
    labels_dir: Path = Path("local/labels")
    """Folder of the alias maps default.yaml and <corpus>.yaml."""
    tasks: list[str] = field(default_factory=lambda: list(tasks.names()))
    """Tasks that utterances may serve: single (ser), combined (sap+sgc), without transcript (only:ser)."""
    filters: FilterConfig = field(default_factory=FilterConfig)
    """Which utterances are wanted, and how their text is written."""
    tokenizer: TokenizerConfig | None = None
    """Text tokenizer and CTC units to write to `tokenizer/`, from the train split; null: none, for there is one."""
    decode: bool = False
    """Decode all audio, to find what is damaged now and not in training; else only headers are read."""
    max_defect_rate: float = 0.01
    """More than this share of defective utterances stops the command, 0 to 1."""
    num_procs: int = 1
    """Processes that read; the output does not depend on it."""
    overwrite: bool = False
    """Replace an index that was made with other settings."""

    def __post_init__(self) -> None:
        """ValueError for a task that does not exist, no sources, or a number out of range."""
        for name in self.tasks:
            tasks.get(name)
        if not self.sources or not self.tasks:
            raise ValueError("sources and tasks must name at least one each")
        for source in self.sources:
            unknown = sorted(set(source.tasks or ()) - set(self.tasks))
            if unknown:
                raise ValueError(f"the tasks of {source.path} name {unknown[0]!r}, which is none of {self.tasks}")
        if self.tokenizer is not None and all(source.split != "train" for source in self.sources):
            raise ValueError("a tokenizer is made from the train split, and no source has it; add one or leave it out")
        if not 0 <= self.max_defect_rate <= 1:
            raise ValueError(f"max_defect_rate is {self.max_defect_rate}; it must lie between 0 and 1")
        if self.num_procs < 1:
            raise ValueError(f"num_procs is {self.num_procs}; it must be at least 1")


def index(cfg: IndexConfig) -> None:
    """Write the index of every split, whole or not at all. ValueError for unreadable sources or too many defects."""
    with outputs.output_dir(cfg.out_dir, cfg, inputs=input_paths(cfg), overwrite=cfg.overwrite) as out:
        if out is not None:
            run(cfg, out)


def run(cfg: IndexConfig, out: Path) -> None:
    """Write all splits into `out`. ValueError as `index`."""
    # Here and not above: a rerun that has nothing to do need not wait for Lhotse.
    from osum.data.sources.indexing import index_split
    from osum.data.sources.judge import Wanted

    wanted, total = Wanted(cfg.tasks, cfg.filters, cfg.decode), Drops()
    for split in dict.fromkeys(source.split for source in cfg.sources):
        sources = [source for source in cfg.sources if source.split == split]
        drops = index_split(sources, out / split, cfg.labels_dir, wanted, cfg.num_procs)
        logger.info("index split=%s read=%d used=%d dropped=%d", split, drops.read, drops.used, drops.num_dropped)
        if not drops.used:
            raise ValueError(f"split {split}: {drops.none_used()}")
        total.merge(drops)
    total.settle(out, cfg.out_dir, cfg.max_defect_rate)
    named: dict[str, list[str]] = {}
    for corpus, licence in dict.fromkeys((source.corpus, source.licence) for source in cfg.sources):
        if licence:
            named.setdefault(corpus, []).append(licence)
    licences.write(out, named)
    if cfg.tokenizer is not None:
        from osum.data.corpora.vocabulary import write_vocabulary

        train = Index.open(out / "train")
        every = partial(map, train.utterance, range(len(train)))
        write_vocabulary(out / "tokenizer", every, cfg.tasks, cfg.tokenizer)


def input_paths(cfg: IndexConfig) -> list[Path]:
    """Return the files that decide the output. ValueError naming a source that is missing."""
    paths = []
    for source in cfg.sources:
        if source.format == "shar":
            paths += sorted(source.path.glob("cuts.*.jsonl*"))
        elif not source.path.is_file():
            raise ValueError(f"{source.path}: no such file; correct the path of the source")
        else:
            paths.append(source.path)
    labels = [cfg.labels_dir / f"{name}.yaml" for name in ("default", *(source.corpus for source in cfg.sources))]
    prompts_dir = cfg.tokenizer.prompts_dir if cfg.tokenizer else None
    prompts = sorted(prompts_dir.glob("*.yaml")) if prompts_dir else []
    return list(dict.fromkeys(paths + [path for path in labels if path.is_file()] + prompts))


def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    index(config.load(IndexConfig, argv))


if __name__ == "__main__":
    log.run_main(main)

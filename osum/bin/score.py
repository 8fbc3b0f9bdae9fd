"""Stage 6: hypotheses -> scores.json, report.md, report.html and a table on the terminal.

python -m osum.bin.score --exp_dir exp/mini
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from osum import config, log
from osum.eval import document, hypotheses, report, tables, training
from osum.eval.report import Sizes
from osum.eval.score import Scores, score_sets
from osum.outputs import DONE_MARK, atomic_write, output_dir
from osum.text.normalize import NORMALISER

SCORES, MARKDOWN, HTML = "scores.json", "report.md", "report.html"
PICTURE_DIR = "report"
TRAINING_STAGES = ("whisper", "sulm")

logger = log.get(__name__)


@dataclass(frozen=True)
class ScoreConfig:
    """Score the hypotheses of one experiment and report on them."""

    exp_dir: Path
    """Folder of the experiment: holds `decode`, and the training stages `whisper` and `sulm` if they were run."""
    decode_dir: Path | None = None
    """Folder of hypothesis files; `exp_dir`/decode when not given."""
    out_dir: Path | None = None
    """Where scores.json, report.md, report.html and the folder `report` go; `exp_dir` when not given."""
    num_examples: int = 5
    """Hypotheses shown per task; >= 0."""
    num_worst: int = 10
    """Worst transcripts shown; >= 0."""
    num_timelines: int = 4
    """Utterances in the picture of word times; >= 0."""
    overwrite: bool = False
    """Score again even if everything is up to date, or was made with other settings."""

    def __post_init__(self) -> None:
        """ValueError when a count is negative."""
        for name in ("num_examples", "num_worst", "num_timelines"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")


def main(argv: list[str] | None = None) -> None:
    """Score what was decoded, unless that is done, and print the table."""
    cfg = config.load(ScoreConfig, argv)
    decode_dir = cfg.decode_dir or cfg.exp_dir / "decode"
    out_dir = cfg.out_dir or cfg.exp_dir
    sizes = Sizes(cfg.num_examples, cfg.num_worst, cfg.num_timelines)
    inputs = [*decode_inputs(decode_dir), *(f for s in TRAINING_STAGES for f in training.files_of(cfg.exp_dir / s))]
    # The done-mark lies with the pictures; a file beside them that was removed has to come back all the same.
    incomplete = not all((out_dir / name).is_file() for name in (SCORES, MARKDOWN, HTML))
    with output_dir(out_dir / PICTURE_DIR, sizes, inputs, overwrite=cfg.overwrite or incomplete) as picture_dir:
        if picture_dir is not None:
            write_report(cfg.exp_dir, decode_dir, out_dir, picture_dir, sizes)
            logger.info("score wrote=%s,%s,%s out_dir=%s", SCORES, MARKDOWN, HTML, out_dir)
    show(json.loads((out_dir / SCORES).read_text(encoding="utf-8")))


def decode_inputs(decode_dir: Path) -> list[Path]:
    """Return what identifies the hypotheses: the folder that decode finished, or the files someone put together.

    FileNotFoundError when there are none, or decode has begun but not finished.
    """
    begun = any((decode_dir / name).is_file() for name in (DONE_MARK, ".started.json"))
    files = sorted(decode_dir.glob("*.jsonl"))
    return files if files and not begun else [decode_dir]


def write_report(exp_dir: Path, decode_dir: Path, out_dir: Path, picture_dir: Path, sizes: Sizes) -> None:
    """Score all hypotheses and write scores, pictures and both forms of the report."""
    sets = hypotheses.read_folder(decode_dir)
    scores = score_sets(sets)
    stages = [training.read_stage(exp_dir / name) for name in TRAINING_STAGES]
    title = f"Report on {exp_dir.resolve().name}"
    blocks = report.report(title, scores, sets, stages, sizes)
    for picture in document.pictures(blocks):
        (picture_dir / f"{picture.name}.png").write_bytes(picture.png)
    atomic_write(out_dir / SCORES, json.dumps(scores, ensure_ascii=False, indent=1, allow_nan=False) + "\n")
    atomic_write(out_dir / MARKDOWN, document.to_markdown(blocks, PICTURE_DIR))
    atomic_write(out_dir / HTML, document.to_html(blocks, title))


def show(scores: Scores) -> None:
    """Print the table of results of every test set."""
    for test_set, by_task in scores.items():
        print(f"\n{test_set}\n{tables.as_text(tables.results(by_task))}")
    print(f"\nWER: {NORMALISER}")


if __name__ == "__main__":
    log.run_main(main)

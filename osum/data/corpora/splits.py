"""Which split an utterance belongs to: the corpus's own, else drawn by speaker."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from osum.rng import rng_for

SPLITS = ("train", "dev", "test")


@dataclass
class SplitConfig:
    """How speakers of corpora without their own splits are divided."""

    dev_fraction: float = 0.05
    """Share of the speakers of a corpus in dev; at least one speaker if over 0."""
    test_fraction: float = 0.1
    """Share of the speakers of a corpus in test; at least one speaker if over 0."""
    min_speakers: int = 3
    """Corpora with fewer speakers go to train as a whole."""
    train_only: list[str] = field(default_factory=list)
    """Corpora that go to train as a whole."""
    seed: int = 0
    """Seed of the draw."""

    def __post_init__(self) -> None:
        """ValueError unless the fractions leave something to train on."""
        if min(self.dev_fraction, self.test_fraction) < 0 or self.dev_fraction + self.test_fraction >= 1:
            raise ValueError("split.dev_fraction and split.test_fraction must be >= 0 and sum to less than 1")


def draw(speakers: Collection[str], corpus: str, cfg: SplitConfig) -> dict[str, str]:
    """Return the split of each speaker of a corpus.

    Speakers are ordered by a hash of (seed, speaker); the first go to test, the next to dev. So the draw does not
    depend on the order of the data, and a corpus of ten speakers gets a test speaker for certain.
    """
    unique = sorted(set(speakers))
    if corpus in cfg.train_only or len(unique) < cfg.min_speakers:
        return dict.fromkeys(unique, "train")
    shuffled = sorted(unique, key=lambda speaker: (rng_for(cfg.seed, "split", speaker).random(), speaker))
    num_test, num_dev = (_share(len(unique), f) for f in (cfg.test_fraction, cfg.dev_fraction))
    names = ["test"] * num_test + ["dev"] * num_dev
    return dict(zip(shuffled, names + ["train"] * (len(unique) - len(names)), strict=True))


def check_speakers(where: Iterable[tuple[str, str, str]]) -> None:
    """Check (corpus, speaker, split) triples. ValueError naming a speaker of two splits."""
    seen: dict[tuple[str, str], str] = {}
    for corpus, speaker, split in where:
        first = seen.setdefault((corpus, speaker), split)
        if first != split:
            raise ValueError(
                f"speaker {speaker!r} of corpus {corpus!r} is in {first} and in {split}: the test would not be on "
                "unseen voices. Correct `split` in the manifests, or leave it out to have speakers divided here"
            )


def _share(num_speakers: int, fraction: float) -> int:
    return max(1, round(num_speakers * fraction)) if fraction > 0 else 0

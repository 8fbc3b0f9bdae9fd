"""Who speaks: synthetic voices balanced over gender and age, with other base variants in dev and test than in train."""

from dataclasses import dataclass

import numpy as np

from osum.rng import rng_for

VARIANTS = {
    ("train", "male"): ("m1", "m2", "m3", "m5", "m7", "Alex", "max", "travis", "Andy", "adam"),
    ("train", "female"): ("f1", "f2", "f3", "f5", "Annie", "linda", "steph", "aunty", "steph2", "grandma"),
    ("dev", "male"): ("m4", "edward"),
    ("dev", "female"): ("f4", "Alicia"),
    ("test", "male"): ("m6", "john"),
    ("test", "female"): ("belinda", "shelby"),
}
"""espeak-ng voice variants per (split, gender)."""

AGES = ("child", "adult", "old")
_VOICES_PER_VARIANT = {"train": 2, "dev": 1, "test": 1}
_TRACT = {("male", "child"): (1.36, 1.46), ("female", "child"): (1.27, 1.36)}
_F0_RATIO = {("male", "child"): (1.25, 1.45), ("female", "child"): (1.1, 1.25), ("male", "old"): (1.0, 1.15)}


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker."""

    name: str
    gender: str
    age: str
    variant: str
    """espeak-ng variant, as in `en-us+f2`."""
    f0_ratio: float
    """Pitch relative to the variant's own, before the vocal tract is scaled."""
    tract: float
    """Factor on every frequency (formants and pitch): above 1 is a shorter vocal tract."""
    rate: float
    """Factor on the speaking rate."""
    tilt_db: float
    """Gain at 4 kHz relative to that at 0 Hz, decibels."""
    tremor_hz: float
    tremor_depth: float
    """Relative pitch deviation of the tremor; the amplitude follows with four times as much."""
    breath: float
    """Level of breath noise relative to the speech."""


def make_voices(split: str, seed: int) -> list[Voice]:
    """Return the voices of a split (train 120, dev 12, test 12), balanced over gender and age."""
    voices = []
    for number in range(_VOICES_PER_VARIANT[split]):
        for gender in ("female", "male"):
            for variant in VARIANTS[split, gender]:
                for age in AGES:
                    name = f"mini-{split}-{variant.lower()}-{age}{number}"
                    voices.append(_make_voice(name, gender, age, variant, rng_for(seed, "voice", name)))
    return voices


def _make_voice(name: str, gender: str, age: str, variant: str, rng: np.random.Generator) -> Voice:
    old = age == "old"
    return Voice(
        name=name,
        gender=gender,
        age=age,
        variant=variant,
        f0_ratio=float(rng.uniform(*_F0_RATIO.get((gender, age), (0.92, 1.1)))),
        tract=float(rng.uniform(*_TRACT.get((gender, age), (0.95, 1.04)))),
        rate=float(rng.uniform(0.78, 0.88) if old else rng.uniform(0.95, 1.08)),
        tilt_db=float(rng.uniform(-4, 4)),
        tremor_hz=float(rng.uniform(4.5, 5.8) if old else 5.0),
        tremor_depth=float(rng.uniform(0.05, 0.07) if old else 0.0),
        breath=float(rng.uniform(0.05, 0.09) if old else 0.0),
    )

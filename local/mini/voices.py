"""Who speaks: synthetic voices balanced over gender and age, with other base variants in dev and test than in train."""

from dataclasses import dataclass

import numpy as np

from osum.rng import rng_for

VARIANTS = {
    ("train", "male"): {
        "m1": 98, "m2": 100, "m3": 104, "m5": 103, "m7": 108,
        "Alex": 104, "max": 107, "travis": 107, "Andy": 98, "adam": 100, "norbert": 102,
    },
    ("train", "female"): {
        "f1": 177, "f2": 192, "f3": 206, "f5": 202,
        "belinda": 227, "Alicia": 248, "steph": 182, "shelby": 175, "steph2": 182, "grandma": 199, "Andrea": 242,
    },
    ("dev", "male"): {"edward": 101, "john": 103},
    ("dev", "female"): {"linda": 226, "aunty": 174},
    ("test", "male"): {"m4": 98, "m6": 100},
    ("test", "female"): {"f4": 176, "Annie": 236},
}  # fmt: skip
"""espeak-ng voice variants per (split, gender), with the mean pitch in Hz that each has at the default settings."""

AGES = ("child", "adult", "old")
_VOICES_PER_GENDER_AND_AGE = {"train": 60, "dev": 2, "test": 2}
_TRACT = {
    ("male", "child"): (1.36, 1.44),
    ("male", "adult"): (0.92, 1.0),
    ("male", "old"): (0.92, 1.0),
    ("female", "child"): (1.4, 1.48),
    ("female", "adult"): (1.04, 1.12),
    ("female", "old"): (1.02, 1.1),
}
"""Range of the factor on all frequencies; the female variants have shorter vocal tracts to begin with."""
_F0_HZ = {
    ("male", "child"): (145, 165),
    ("male", "adult"): (90, 115),
    ("male", "old"): (100, 125),
    ("female", "child"): (280, 335),
    ("female", "adult"): (200, 235),
    ("female", "old"): (190, 225),
}
"""Mean pitch of the voice when it speaks neutrally."""


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker."""

    name: str
    gender: str
    age: str
    variant: str
    """espeak-ng variant, as in `en-us+f2`."""
    f0_ratio: float
    """Pitch asked of the variant, relative to its own, before the vocal tract is scaled."""
    tract: float
    """Factor on every frequency (formants and pitch): above 1 is a shorter vocal tract."""
    rate: float
    """Factor on the speaking rate."""
    tilt_db: float
    """Gain at 4 kHz relative to that at 0 Hz, decibels."""
    tremor_hz: float
    tremor_depth: float
    """Relative pitch deviation of the tremor; the amplitude dips by eight times as much."""
    breath: float
    """Level of breath noise relative to the speech."""


def make_voices(split: str, seed: int) -> list[Voice]:
    """Return the voices of a split (train 360, dev 12, test 12), balanced over gender and age."""
    voices = []
    for number in range(_VOICES_PER_GENDER_AND_AGE[split]):
        for gender in ("female", "male"):
            variants = list(VARIANTS[split, gender].items())
            variant, variant_f0_hz = variants[number % len(variants)]
            for age in AGES:
                name = f"mini-{split}-{variant.lower()}-{age}{number // len(variants)}"
                rng = rng_for(seed, "voice", name)
                voices.append(_make_voice(name, gender, age, variant, variant_f0_hz, rng))
    return voices


def _make_voice(
    name: str, gender: str, age: str, variant: str, variant_f0_hz: float, rng: np.random.Generator
) -> Voice:
    old = age == "old"
    tract = float(rng.uniform(*_TRACT[gender, age]))
    return Voice(
        name=name,
        gender=gender,
        age=age,
        variant=variant,
        f0_ratio=float(rng.uniform(*_F0_HZ[gender, age])) / tract / variant_f0_hz,
        tract=tract,
        rate=float(rng.uniform(0.76, 0.86) if old else rng.uniform(0.95, 1.08)),
        tilt_db=float(rng.uniform(-4, 4)),
        tremor_hz=float(rng.uniform(4.5, 5.8) if old else 0.0),
        tremor_depth=float(rng.uniform(0.06, 0.08) if old else 0.0),
        breath=float(rng.uniform(0.06, 0.1) if old else 0.0),
    )

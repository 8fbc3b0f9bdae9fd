"""Hypothesis files: what a model wrote for one task on one test set, with the references beside it.

`<set>.<task>.jsonl`, and `<set>.<task>.swapped.jsonl` for the same model hearing other utterances' audio. The first
line is the header, so that a file cut short cannot pass for a whole one; each further line is one hypothesis::

    {"osum_hypotheses": 1, "test_set": "test", "task": "ser", "swapped": false, "expected": 2}
    {"key": "a", "task": "ser", "prompt": "...", "hypothesis": "hello<happy>", "utterance": {...}, ...}
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osum.outputs import atomic_write
from osum.types import Utterance

FORMAT_VERSION = 1
REMEDY = "run the decode stage again"


@dataclass(frozen=True)
class Hypothesis:
    """What the model wrote for one utterance in one task."""

    key: str
    task: str
    prompt: str
    hypothesis: str
    """The text as generated, tags included, without the end token."""
    utterance: Utterance
    """The reference."""
    audio_key: str
    """Key of the utterance whose audio was heard: another one's when the audio is swapped."""
    num_tokens: int
    """Tokens generated, the end token not counted."""
    truncated: bool
    """True when the token limit, not the end token, stopped the generation."""
    repeated: bool = False
    """True when the guard against repetition stopped the generation."""

    def to_json(self) -> dict[str, Any]:
        """Return the plain form that `from_json` reads."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**plain, "utterance": self.utterance.to_json()}

    @classmethod
    def from_json(cls, obj: dict[str, Any]) -> Hypothesis:
        """Build from the plain form; fields that are not ours are ignored. ValueError names what is missing."""
        fields = dataclasses.fields(cls)
        missing = sorted(f.name for f in fields if f.name not in obj and f.default is dataclasses.MISSING)
        if missing:
            raise ValueError(f"hypothesis {obj.get('key', '?')!r} lacks {missing}")
        kept = {f.name: obj[f.name] for f in fields if f.name in obj}
        return cls(**{**kept, "utterance": Utterance.from_json(obj["utterance"])})


@dataclass(frozen=True)
class HypothesisSet:
    """All hypotheses of one task on one test set."""

    test_set: str
    task: str
    swapped: bool
    """True when the model heard the audio of other utterances."""
    hypotheses: tuple[Hypothesis, ...]

    @property
    def references(self) -> list[Utterance]:
        """Utterances in the order of the hypotheses."""
        return [h.utterance for h in self.hypotheses]

    @property
    def texts(self) -> list[str]:
        """Generated texts in the order of the hypotheses."""
        return [h.hypothesis for h in self.hypotheses]


def path_of(folder: Path, test_set: str, task: str, swapped: bool = False) -> Path:
    """Return where the hypotheses of a task on a test set lie."""
    return folder / f"{test_set}.{task}{'.swapped' if swapped else ''}.jsonl"


def write(folder: Path, hyps: HypothesisSet, expected: int) -> Path:
    """Write one hypothesis file as a whole or not at all, and return its path.

    `expected` is the number of utterances that had to be decoded: `read` refuses a file that holds another number.
    """
    header = {
        "osum_hypotheses": FORMAT_VERSION,
        "test_set": hyps.test_set,
        "task": hyps.task,
        "swapped": hyps.swapped,
        "expected": expected,
    }
    rows = [header, *(h.to_json() for h in hyps.hypotheses)]
    path = path_of(folder, hyps.test_set, hyps.task, hyps.swapped)
    atomic_write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def read(path: Path) -> HypothesisSet:
    """Read one hypothesis file.

    ValueError naming file and line for what is not a hypothesis, belongs to another task, comes twice or is missing.
    """
    # Bytes, so that a wrong one is found on its line; not splitlines(): JSON leaves U+2028 and its like as they are.
    lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    header = _header(path, lines[0])
    hyps = [_hypothesis(path, number, line, header) for number, line in enumerate(lines[1:], start=2)]
    _check_keys(path, hyps, header["expected"])
    return HypothesisSet(header["test_set"], header["task"], header["swapped"], tuple(hyps))


def read_folder(folder: Path) -> list[HypothesisSet]:
    """Read every hypothesis file of a folder, ordered by name. FileNotFoundError when there is none."""
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise FileNotFoundError(f"{folder}: no hypothesis files (<set>.<task>.jsonl); run the decode stage first")
    return [read(path) for path in paths]


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        obj = json.loads(line)
    except json.JSONDecodeError as err:
        raise ValueError(f"{path}:{number}: not JSON ({err.msg}); {REMEDY}") from err
    except UnicodeDecodeError as err:
        raise ValueError(f"{path}:{number}: not UTF-8 ({err.reason}); {REMEDY}") from err
    if not isinstance(obj, dict):
        raise ValueError(f"{path}:{number}: not a JSON object; {REMEDY}")
    return obj


def _header(path: Path, line: bytes) -> dict[str, Any]:
    header = _object(path, 1, line)
    if header.get("osum_hypotheses") != FORMAT_VERSION:
        raise ValueError(f'{path}:1: no header {{"osum_hypotheses": {FORMAT_VERSION}, ...}}; {REMEDY}')
    types: dict[str, type[Any]] = {"test_set": str, "task": str, "swapped": bool, "expected": int}
    wrong = [name for name, kind in types.items() if not isinstance(header.get(name), kind)]
    if wrong:
        raise ValueError(f"{path}:1: header fields {wrong} are missing or of the wrong type; {REMEDY}")
    return header


def _hypothesis(path: Path, number: int, line: bytes, header: dict[str, Any]) -> Hypothesis:
    try:
        hyp = Hypothesis.from_json(_object(path, number, line))
    except (TypeError, AttributeError, ValueError) as err:
        if str(err).startswith(str(path)):
            raise
        raise ValueError(f"{path}:{number}: {err}; {REMEDY}") from err
    if hyp.task != header["task"]:
        raise ValueError(f"{path}:{number}: {hyp.key!r} is of task {hyp.task!r}, not {header['task']!r}; {REMEDY}")
    if hyp.key != hyp.utterance.key:
        raise ValueError(f"{path}:{number}: {hyp.key!r} has the reference of {hyp.utterance.key!r}; {REMEDY}")
    if header["swapped"] != (hyp.audio_key != hyp.key):
        heard = "its own audio" if header["swapped"] else f"the audio of {hyp.audio_key!r}"
        raise ValueError(f"{path}:{number}: {hyp.key!r} heard {heard} in a file with swapped={header['swapped']}")
    return hyp


def _check_keys(path: Path, hyps: Iterable[Hypothesis], expected: int) -> None:
    line_of: dict[str, int] = {}
    for number, hyp in enumerate(hyps, start=2):
        if hyp.key in line_of:
            raise ValueError(f"{path}:{number}: key {hyp.key!r} is already on line {line_of[hyp.key]}; {REMEDY}")
        line_of[hyp.key] = number
    if len(line_of) != expected:
        raise ValueError(f"{path}: holds {len(line_of)} of {expected} expected hypotheses; {REMEDY}")

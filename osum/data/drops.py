"""The ledger of a stage: every utterance that was read is used or dropped for a counted, listed reason."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osum import log
from osum.outputs import atomic_write

logger = log.get(__name__)


@dataclass
class Reason:
    """The utterances dropped for one reason; a defect is bad data, anything else is a configured filter."""

    defect: bool
    ids: list[str] = field(default_factory=list)


@dataclass
class Drops:
    """Count what a stage reads, uses and drops."""

    read: int = 0
    """Utterances seen."""
    used: int = 0
    """Utterances that went on to the output."""
    reasons: dict[str, Reason] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    """Utterances that were used although something is remarkable about them, by what it is."""

    def add(self, reason: str, utterance_id: str, defect: bool = False) -> None:
        """Log and list one dropped utterance; a reason is a defect always or never."""
        entry = self.reasons.setdefault(reason, Reason(defect))
        assert entry.defect == defect, f"drop reason {reason!r} is used both as a defect and as a filter"
        entry.ids.append(utterance_id)
        log_drop = logger.warning if defect else logger.debug
        log_drop("data skip utterance=%s reason=%s", utterance_id, reason)

    def note(self, remark: str, utterance_id: str) -> None:
        """Log and list an utterance that is used although something is remarkable about it."""
        self.notes.setdefault(remark, []).append(utterance_id)
        logger.debug("data note utterance=%s remark=%s", utterance_id, remark)

    def merge(self, other: Drops) -> None:
        """Add the counts and lists of another ledger, for example that of a worker process."""
        self.read += other.read
        self.used += other.used
        for name, reason in other.reasons.items():
            entry = self.reasons.setdefault(name, Reason(reason.defect))
            assert entry.defect == reason.defect, name
            entry.ids.extend(reason.ids)
        for remark, ids in other.notes.items():
            self.notes.setdefault(remark, []).extend(ids)

    @property
    def num_dropped(self) -> int:
        """Dropped utterances, whatever the reason."""
        return sum(len(r.ids) for r in self.reasons.values())

    @property
    def num_defects(self) -> int:
        """Dropped utterances whose data is bad."""
        return sum(len(r.ids) for r in self.reasons.values() if r.defect)

    def check(self, max_defect_rate: float) -> None:
        """Stop a stage that reads too much bad data, or uses none. ValueError naming counts and the first utterances.

        `max_defect_rate` is the share of read utterances, from 0 to 1, that may be defective.
        """
        assert self.read == self.used + self.num_dropped, (self.read, self.used, self.num_dropped)
        if self.read == 0:
            raise ValueError("no utterance was read; check the input of this stage")
        rate = self.num_defects / self.read
        if rate > max_defect_rate:
            raise ValueError(
                f"{self.num_defects} of {self.read} utterances are defective ({rate:.1%} > {max_defect_rate:.1%}): "
                f"{self._describe(defects_only=True)}. Repair them or raise max_defect_rate"
            )
        if self.used == 0:
            raise ValueError(self.none_used())

    def none_used(self) -> str:
        """Return a sentence on why everything was dropped."""
        return f"none of {self.read} utterances can be used: {self._describe(defects_only=False)}"

    def _describe(self, defects_only: bool) -> str:
        reasons = [(name, r.ids) for name, r in sorted(self.reasons.items()) if r.defect or not defects_only]
        return "; ".join(_first_ids(name, ids) for name, ids in reasons)

    def settle(self, partial_dir: Path, out_dir: Path, max_defect_rate: float) -> None:
        """Save the ledger as `drops.json` in the folder that becomes `out_dir`, or stop as `check` does.

        Then the folder never comes to be, and the whole ledger stands beside it as `<out_dir>.drops.json`.
        """
        beside = out_dir.with_name(f"{out_dir.name}.drops.json")
        try:
            self.check(max_defect_rate)
        except ValueError as err:
            self.save(beside)
            raise ValueError(f"{err}; all are listed in {beside}") from err
        self.save(partial_dir / "drops.json")
        beside.unlink(missing_ok=True)

    def to_json(self) -> dict[str, Any]:
        """Return `{"read", "used", "dropped": {reason: {"count", "defect", "ids"}}}`, and `"notes"` if any."""
        dropped = {
            name: {"count": len(r.ids), "defect": r.defect, "ids": list(r.ids)}
            for name, r in sorted(self.reasons.items())
        }
        notes = {name: {"count": len(ids), "ids": list(ids)} for name, ids in sorted(self.notes.items())}
        return {"read": self.read, "used": self.used, "dropped": dropped} | ({"notes": notes} if notes else {})

    @classmethod
    def load(cls, path: Path) -> Drops:
        """Read what `save` wrote."""
        return cls.from_json(json.loads(path.read_text(encoding="utf-8")))

    @classmethod
    def from_json(cls, obj: dict[str, Any]) -> Drops:
        """Build from the plain form of `to_json`."""
        reasons = {name: Reason(entry["defect"], entry["ids"]) for name, entry in obj["dropped"].items()}
        notes = {remark: entry["ids"] for remark, entry in obj.get("notes", {}).items()}
        return cls(obj["read"], obj["used"], reasons, notes)

    def save(self, path: Path) -> None:
        """Write the ledger as JSON, whole or not at all."""
        assert self.read == self.used + self.num_dropped, (self.read, self.used, self.num_dropped)
        atomic_write(path, json.dumps(self.to_json(), ensure_ascii=False, indent=1) + "\n")


def _first_ids(name: str, ids: list[str], num_shown: int = 3) -> str:
    more = ", ..." if len(ids) > num_shown else ""
    return f"{name} ({len(ids)}: {', '.join(ids[:num_shown])}{more})"

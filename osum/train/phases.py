"""Staged unfreezing: which of the trained parameters move, from which step on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import nn

from osum import log
from osum.near import near_names
from osum.train.configs import PhaseConfig

logger = log.get(__name__)


class Phases:
    """The phases of a run over its trained parameters; a run without any has one, in which all move.

    Everything follows from the number of the step, so that a resumed run is in the phase that it was in.
    """

    def __init__(self, cfg: Sequence[PhaseConfig], trained: Mapping[str, nn.Parameter]) -> None:
        """ValueError naming a pattern that matches no parameter, or a parameter that no phase trains."""
        self._phases = list(cfg) or [PhaseConfig()]
        self._trained = dict(trained)
        self._names = [_matched(phase, self._trained) for phase in self._phases]
        never = sorted(self._trained.keys() - set().union(*self._names))
        if never:
            raise ValueError(
                f"train.phases: none of them trains {never[0]}" + (f" and {len(never) - 1} more" * (len(never) > 1))
                + "; freeze it with model.freeze, or let a phase train it"
            )  # fmt: skip
        self._entered: int | None = None

    def enter(self, step: int) -> bool:
        """Let the parameters of the phase of this step move, and no others; return whether a new phase began."""
        number = self._at(step)
        if number == self._entered:
            return False
        self._entered = number
        self._let_move(self._names[number])
        num_values = sum(self._trained[name].numel() for name in self._names[number])
        logger.info("phase=%d/%d step=%d trained_parameters=%d", number + 1, len(self._phases), step, num_values)
        return True

    def leave(self) -> None:
        """Mark all as trained again: what is saved at the end is what moved in any phase."""
        self._entered = None
        self._let_move(set(self._trained))

    def lr_share(self, step: int) -> float:
        """Return the factor on all learning rates at this step: less than 1 while a phase warms up."""
        phase = self._phases[self._at(step)]
        return min(1.0, (step - phase.start_step + 1) / max(phase.warmup_steps, 1))

    def _at(self, step: int) -> int:
        return max(n for n, phase in enumerate(self._phases) if phase.start_step <= step)

    def _let_move(self, names: set[str]) -> None:
        for name, parameter in self._trained.items():
            parameter.requires_grad_(name in names)


def _matched(phase: PhaseConfig, trained: Mapping[str, nn.Parameter]) -> set[str]:
    found: set[str] = set()
    for pattern in phase.train:
        matched = {name for name in trained if re.search(pattern, name)}
        if not matched:
            raise ValueError(
                f"train.phases: no trained parameter matches {pattern!r} of the phase from step {phase.start_step}; "
                f"{near_names(pattern, trained)}"
            )
        found |= matched
    return found

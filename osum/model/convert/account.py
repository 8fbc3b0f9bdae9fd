"""Accounts of tensors: what a model needs is found, of the right size, and what is left over is known to be unused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from osum import log
from osum.model.convert.checkpoint import State

MAX_LISTED = 20
"""Names in an error; the rest is counted."""

logger = log.get(__name__)


class Account:
    """The tensors of one checkpoint, each to be taken, found a copy of another, or declared unused, until none is left.

    Names are those of the checkpoint. Errors (ValueError) begin with its path.
    """

    def __init__(self, state: State, source: str) -> None:
        """`source` is how errors call the checkpoint."""
        self._state, self._source = dict(state), source
        self._open = set(state)

    def take(self, wanted: Mapping[str, Sequence[int]], theirs: Callable[[str], str]) -> State:
        """Return the tensors of our names (with the shapes they must have), renamed from `theirs(our name)`.

        Where one more leading dimension of 1 is stored (position tables), it is removed.
        """
        names = {ours: theirs(ours) for ours in wanted}
        self._refuse("missing; is it another model, or of another size?", set(names.values()) - set(self._state))
        found = {ours: self._squeezed(name, len(wanted[ours])) for ours, name in names.items()}
        wrong = {
            f"{names[n]} {tuple(found[n].shape)} instead of {tuple(wanted[n])}"
            for n in wanted
            if tuple(found[n].shape) != tuple(wanted[n])
        }
        self._refuse("of another size than the config says", wrong)
        self._open -= set(names.values())
        return found

    def copies(self, pairs: Mapping[str, str]) -> None:
        """Settle tensors that must be equal copies of others, where they are present: name of the copy -> original."""
        present = {copy: of for copy, of in pairs.items() if copy in self._open}
        unequal = {f"{copy} (of {of})" for copy, of in present.items() if not self._equal(copy, of)}
        self._refuse("not the equal copies that they should be", unequal)
        self._open -= present.keys()

    def zeros(self, names: Sequence[str], why: str) -> None:
        """Settle tensors that our model has no place for, which is right only where they are zero."""
        present = {name for name in names if name in self._open}
        self._refuse(f"not zero, but {why}", {name for name in present if bool(self._state[name].any())})
        self._open -= present

    def computed(self, name: str, ours: Tensor, atol: float = 1e-2) -> None:
        """Settle a table of positions (1, more rows, D) that our model computes (rows, D), which must be the same.

        The tolerance is for tables in half precision.
        """
        if name in self._open:
            theirs = self._state[name].float().flatten(0, -2)[: len(ours)]
            same = theirs.shape == ours.shape and torch.allclose(theirs, ours, atol=atol)
            self._refuse("not the table of positions that is computed here", set() if same else {name})
            self._open.discard(name)

    def unused(self, pattern: str, why: str) -> None:
        """Settle tensors that take no part in the model's output; they are logged and left out."""
        found = sorted(name for name in self._open if re.search(pattern, name))
        if found:
            logger.info("convert left_out=%s reason=%s", ",".join(found), why)
        self._open -= set(found)

    def close(self) -> None:
        """Check that every tensor is accounted for. ValueError lists the others."""
        self._refuse("unknown; --leave_out REGEX converts without them", self._open)

    def _squeezed(self, name: str, num_dims: int) -> Tensor:
        value = self._state[name]
        return value[0] if value.dim() == num_dims + 1 and value.shape[0] == 1 else value

    def _equal(self, copy: str, original: str) -> bool:
        return original in self._state and torch.equal(self._state[copy], self._state[original])

    def _refuse(self, what: str, names: set[str]) -> None:
        if names:
            listed = ", ".join(sorted(names)[:MAX_LISTED])
            more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
            raise ValueError(f"{self._source}: {len(names)} tensors are {what}: {listed}{more}")


def shapes_of(parameters: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """Return the shapes of tensors by name."""
    return {name: value.shape for name, value in parameters.items()}

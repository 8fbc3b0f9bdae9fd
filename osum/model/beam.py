"""Beam search over the rows of a Continuation: every prefix has its own search and leaves when it is over.

Scores are sums of log-probabilities, those of complete texts divided by their number of tokens, the end included. A
search is over when as many texts as it has beams are complete and the best open one scores below all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from osum.model.continuation import Continuation
from osum.model.ending import Generated, StopRules


class Open(NamedTuple):
    """A text that is not complete."""

    score: float
    """Sum of log-probabilities, nats."""
    parent: int
    """Beam of the step before that it goes on from."""
    ids: list[int]


def beam_search(state: Continuation, limits: Sequence[int], rules: StopRules, num_beams: int) -> list[Generated]:
    """Return the best text for each row of `state`."""
    searches = [_Search(limit, rules, num_beams) for limit in limits]
    running, width = searches, 1
    while True:
        candidates = _candidates(state, running, width, rules)
        opened = [search for search, found in zip(running, candidates, strict=True) if search.step(*found)]
        if not opened:
            return [search.best for search in searches]
        first_row = {id(search): i * width for i, search in enumerate(running)}
        rows = [first_row[id(search)] + beam.parent for search in opened for beam in search.beams]
        token_ids = [beam.ids[-1] for search in opened for beam in search.beams]
        running, width = opened, num_beams
        device = state.device
        state.feed(torch.tensor(token_ids, device=device), torch.tensor(rows, device=device))


def _candidates(state: Continuation, running: list[_Search], width: int, rules: StopRules) -> list[tuple]:
    """Return the best continuations of each search: lists of score, beam and token."""
    log_probs = state.logits.float().log_softmax(-1)
    vocab_size = log_probs.shape[-1]
    so_far = torch.tensor([[beam.score for beam in s.beams] for s in running], device=log_probs.device)
    totals = (log_probs.view(len(running), width, -1) + so_far[:, :, None]).flatten(1)
    # Enough that the beams can go on even if all others end.
    wanted = (1 + max(1, len(rules.stop_ids))) * running[0].num_beams
    scores, places = totals.topk(min(wanted, totals.shape[1]))
    parents, token_ids = places // vocab_size, places % vocab_size
    return list(zip(scores.tolist(), parents.tolist(), token_ids.tolist(), strict=True))


class _Search:
    """The open and complete texts of one prefix."""

    def __init__(self, limit: int, rules: StopRules, num_beams: int) -> None:
        self.num_beams, self._limit, self._rules = num_beams, limit, rules
        self.beams = [Open(0.0, 0, [])]
        self._complete: list[tuple[float, Generated]] = []

    @property
    def best(self) -> Generated:
        """The best complete text."""
        return self._complete[0][1]

    def step(self, scores: list[float], parents: list[int], token_ids: list[int]) -> bool:
        """Take the best continuations, in order; return False if the search is over."""
        opened: list[Open] = []
        for rank, (score, parent, token_id) in enumerate(zip(scores, parents, token_ids, strict=True)):
            ids = list(self.beams[parent].ids)
            complete = self._rules.append(ids, token_id, self._limit)
            if complete is None:
                opened.append(Open(score, parent, ids))
            elif rank < self.num_beams:
                self._complete.append((score / (len(self.beams[parent].ids) + 1), complete))
        self._complete = sorted(self._complete, key=lambda c: -c[0])[: self.num_beams]
        if not opened:
            return False
        # Every search has the same number of rows: a beam that lacks a continuation repeats another, out of reach.
        spare = opened[-1]._replace(score=-torch.inf)
        self.beams = (opened + [spare] * self.num_beams)[: self.num_beams]
        is_full = len(self._complete) == self.num_beams
        return not is_full or self.beams[0].score / len(self.beams[0].ids) > self._complete[-1][0]

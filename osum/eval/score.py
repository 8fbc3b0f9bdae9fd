"""Hypothesis sets to scores: every test set, every task, with its own and with swapped audio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from osum import log, tasks
from osum.eval.hypotheses import REMEDY, HypothesisSet
from osum.tasks.base import SCORES

logger = log.get(__name__)

Scores = dict[str, dict[str, dict[str, Any]]]
"""Test set -> task -> scores. The keys of `SCORES` are always there, None where a task has no such score."""


def score_sets(sets: Sequence[HypothesisSet]) -> Scores:
    """Score hypothesis sets. Every single task appears in every test set, one that was not decoded with n = 0.

    ValueError when a task is scored twice, or was decoded with swapped audio only.
    """
    found = {(s.test_set, s.task, s.swapped): s for s in sets}
    if len(found) < len(sets):
        raise ValueError(f"{len(sets) - len(found)} hypothesis sets are of a test set and task already read; {REMEDY}")
    for (test_set, task, swapped), hyps in found.items():
        if swapped:
            _check_same_utterances(found.get((test_set, task, False)), hyps)
    scores: Scores = {}
    for test_set in dict.fromkeys(s.test_set for s in sets):
        decoded = sorted({s.task for s in sets if s.test_set == test_set})
        # Single tasks come in the order of tables, combined and tag-only ones after them.
        names = dict.fromkeys([*tasks.names(), *decoded])
        scores[test_set] = {
            name: {
                **_score_or_nothing(found.get((test_set, name, False))),
                "swapped_audio": _score_or_nothing(found.get((test_set, name, True))),
            }
            for name in names
        }
    return scores


def score_set(hyps: HypothesisSet) -> dict[str, Any]:
    """Return the task's scores, `by_language` the scores of each language, and `truncated`: outputs cut by the limit.

    Every reference counts: one without output has to be there with an empty hypothesis, as decode writes it.
    """
    task = tasks.get(hyps.task)
    by_language: dict[str, dict[str, Any]] = {}
    for language in sorted({ref.language for ref in hyps.references}):
        part = [h for h in hyps.hypotheses if h.utterance.language == language]
        full = task.score([h.utterance for h in part], [h.hypothesis for h in part])
        by_language[language] = {name: full[name] for name in SCORES}
    return {
        **task.score(hyps.references, hyps.texts),
        "truncated": sum(h.truncated for h in hyps.hypotheses),
        "by_language": by_language,
    }


def _score_or_nothing(hyps: HypothesisSet | None) -> dict[str, Any]:
    return {**dict.fromkeys(SCORES), "n": 0} if hyps is None else score_set(hyps)


def _check_same_utterances(own: HypothesisSet | None, swapped: HypothesisSet) -> None:
    if own is None:
        where = f"test set {swapped.test_set!r}, task {swapped.task!r}"
        raise ValueError(f"{where}: decoded with swapped audio only; {REMEDY}")
    # Damaged audio, which decode leaves out and counts, is missed by one utterance here and by another one there.
    differing = {h.key for h in own.hypotheses} ^ {h.key for h in swapped.hypotheses}
    if differing:
        place = (swapped.test_set, swapped.task, len(differing), sorted(differing)[0])
        logger.warning("score test_set=%s task=%s decoded_only_once=%d first=%s", *place)

"""Scores of classification, where a missing or illegible answer is wrong and never left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

UNPARSED = "<unparsed>"


def label_scores(refs: Sequence[str], hyps: Sequence[str | None], labels: Sequence[str]) -> dict[str, Any]:
    """Score predicted labels; None is an answer without a legal label.

    Returns accuracy, macro F1 and unweighted average recall (both over the classes that occur in the
    references), `unparsed` (a count), the baselines of `baselines`, and `confusion`: {"labels", "matrix"
    with a row per reference class, "unparsed" per reference class}.
    """
    # Training imports the tasks, and with them this module, but never scores: spare it a second of start-up.
    from sklearn.metrics import confusion_matrix, f1_score, recall_score

    assert len(refs) == len(hyps), (len(refs), len(hyps))
    if not refs:
        raise ValueError("no reference to score")
    predicted = [UNPARSED if h is None else h for h in hyps]
    present = [label for label in labels if label in set(refs)]
    matrix = confusion_matrix(refs, predicted, labels=[*labels, UNPARSED])[: len(labels)]
    return {
        "accuracy": sum(r == h for r, h in zip(refs, predicted, strict=True)) / len(refs),
        "macro_f1": float(f1_score(refs, predicted, labels=present, average="macro", zero_division=0)),
        "uar": float(recall_score(refs, predicted, labels=present, average="macro", zero_division=0)),
        **baselines(refs),
        "unparsed": predicted.count(UNPARSED),
        "confusion": {
            "labels": list(labels),
            "matrix": matrix[:, :-1].tolist(),
            "unparsed": matrix[:, -1].tolist(),
        },
    }


def baselines(refs: Sequence[Hashable]) -> dict[str, float]:
    """Return what needs no listening: `majority`, the share of the largest class, and `chance`, the sum of p².

    The latter is the accuracy of answers drawn with the frequencies of the references, for example those of
    other utterances.
    """
    shares = [count / len(refs) for count in Counter(refs).values()]
    return {"majority": max(shares), "chance": sum(p * p for p in shares)}

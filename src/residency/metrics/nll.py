"""Negative log-likelihood of the right option, in nats: -log softmax(scores)[reference], the mean.

`scores` are summed log-likelihoods per option; the softmax over the options of the sample makes them
probabilities. A sample whose scores are not finite (a diverged model, counted as unparsed) gets the
uniform distribution: it knows nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from residency.errors import DataError, UsageError
from residency.metric import mean
from residency.text import normalise
from residency.types import Prediction

id = "nll"
higher_is_better = False
value = mean


class Belief(NamedTuple):
    """The probability of each option `[c]` (its logarithm too), and which one is right."""

    probability: np.ndarray
    log_probability: np.ndarray
    reference: int


def prepare(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """-log p(reference) per sample, `[n, 1]`."""
    losses = [-b.log_probability[b.reference] for b in beliefs(predictions, labels, id)]
    return np.array(losses, dtype=np.float64).reshape(-1, 1)


def beliefs(
    predictions: Sequence[Prediction], labels: Sequence[str], metric_id: str
) -> list[Belief]:
    """What the model believed of every sample.

    Raises:
        UsageError: predictions without scores, or sets of labels, which have no single distribution.
        DataError: a reference that is not among the options scored.
    """
    require_scores(predictions, metric_id)
    found = []
    for p in predictions:
        if not isinstance(p.reference, str):
            raise UsageError(
                f"{metric_id} needs one right option per sample; {p.sample!r} has a set of labels. "
                "Use auroc or auprc."
            )
        options = list(p.scores) or list(p.facts.get("options", labels))
        place = {normalise(option): i for i, option in enumerate(options)}
        if normalise(p.reference) not in place:
            raise DataError(
                f"Sample {p.sample!r} has reference {p.reference!r}, which is not among the "
                f"options scored: {', '.join(options) or 'none'}."
            )
        logits = np.array([p.scores.get(option, 0.0) for option in options])
        logs = logits - np.logaddexp.reduce(logits)
        found.append(Belief(np.exp(logs), logs, place[normalise(p.reference)]))
    return found


def require_scores(predictions: Sequence[Prediction], metric_id: str) -> None:
    """Refuse predictions that were generated, not scored.

    Raises:
        UsageError: no scores at all, or none where an answer was given; says how many.
    """
    bare = sum(not p.scores and p.answer is not None for p in predictions)
    if bare or not any(p.scores for p in predictions):
        missing = bare or len(predictions)
        raise UsageError(
            f"{metric_id} needs `scores`, and {missing} of {len(predictions)} predictions have "
            "none. Evaluate with mode=likelihood, or leave the metric out."
        )

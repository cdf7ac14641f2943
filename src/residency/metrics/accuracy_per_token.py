"""Accuracy by the mean log-likelihood per token: the share of samples whose right option has the highest.

`accuracy` takes the option with the highest sum, which favours short options; this one divides the sum by
the tokens of the option as a response, its end included (as `acc_norm` of the LM Evaluation Harness does by
characters). Beside each other they say whether length decides.
"""

from collections.abc import Sequence

import numpy as np

from residency.errors import UsageError
from residency.metric import mean
from residency.metrics.nll import require_scores
from residency.text import normalise
from residency.types import Prediction

id = "accuracy_per_token"
higher_is_better = True
value = mean


def prepare(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """1 where the right option comes first, `[n, 1]`; a sample whose scores were not finite is wrong.

    Raises:
        UsageError: predictions without scores or without `option_tokens`, or sets of labels.
    """
    require_scores(predictions, id)
    return np.array([_right(p) for p in predictions], dtype=np.float64).reshape(-1, 1)


def _right(prediction: Prediction) -> bool:
    if not isinstance(prediction.reference, str):
        raise UsageError(
            f"{id} needs one right option per sample; {prediction.sample!r} has a set of labels."
        )
    if not prediction.scores:
        return False
    tokens = prediction.facts.get("option_tokens", ())
    if len(tokens) != len(prediction.scores):
        raise UsageError(
            f"{id} needs the tokens of each scored option (`option_tokens`), and {prediction.sample!r} "
            "has none. Evaluate again with mode=likelihood, or leave the metric out."
        )
    means = {
        option: total / count
        for (option, total), count in zip(prediction.scores.items(), tokens, strict=True)
    }
    return normalise(max(means, key=means.__getitem__)) == normalise(prediction.reference)

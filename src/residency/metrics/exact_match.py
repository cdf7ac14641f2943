"""Exact match: the share of responses whose text is the reference answer, before any parsing.

Both are compared after `residency.text.normalise` (case, spaces, final punctuation); sets of labels
as their list. Stricter than accuracy, which scores what a task could read out of the response.
"""

from collections.abc import Sequence

import numpy as np

from residency.metric import mean
from residency.text import normalise
from residency.types import Answer, Prediction

id = "exact_match"
higher_is_better = True
value = mean


def prepare(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """1 for a verbatim response, `[n, 1]`; `labels` are not needed."""
    same = [normalise(p.text) == normalise(_text(p.reference)) for p in predictions]
    return np.array(same, dtype=np.float64).reshape(-1, 1)


def _text(reference: Answer) -> str:
    return reference if isinstance(reference, str) else ", ".join(map(str, reference))

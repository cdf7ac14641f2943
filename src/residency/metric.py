"""What a metric is: a named, exactly defined number computed from predictions."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from residency.types import Prediction


@runtime_checkable
class Metric(Protocol):
    """What every module in `residency.metrics` provides (module-level).

    A metric reduces *per-sample statistics* so that resampling never re-reads the predictions:
    `prepare` runs once, `value` runs for every bootstrap draw on counts of how often each
    prediction was drawn.
    """

    id: str
    higher_is_better: bool

    def prepare(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """Statistics per prediction, `[n, k]`."""
        ...

    def value(self, statistics: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The metric for each row of `weights` `[draws, n]` (multiplicities), as `[draws]`."""
        ...

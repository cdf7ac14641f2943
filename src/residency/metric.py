"""What a metric is: a named, exactly defined number computed from predictions.

A module of `residency.metrics` is a metric itself (module-level `id`, `higher_is_better`, `prepare`,
`value`), or lists several in `metrics`: a family such as `bleu1` to `bleu4`, or a correct default and
the variants of papers behind an `@`, as `rouge_l` and `rouge_l@coco`. `metric(id)` finds either.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, runtime_checkable

import numpy as np

from residency.catalog import find, names, suggest
from residency.errors import DataError, UsageError
from residency.types import Answer, Prediction, Sample

Parts = tuple[int | float, int | float]  # a prediction's share in a numerator and a denominator


@runtime_checkable
class Metric(Protocol):
    """What every entry of `residency.metrics` provides.

    A metric reduces *per-sample statistics* so that resampling never re-reads the predictions:
    `prepare` runs once, `value` runs for every bootstrap draw on counts of how often each
    prediction was drawn.
    """

    @property
    def id(self) -> str:
        """The name in results."""
        ...

    @property
    def higher_is_better(self) -> bool:
        """False for errors and losses."""
        ...

    def prepare(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """Statistics per prediction, `[n, k]`."""
        ...

    def value(self, statistics: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The metric for each row of `weights` `[draws, n]` (multiplicities), as `[draws]`."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """A metric that divides two sums over predictions: a mean, a share, a micro average.

    `parts` gives the numerator and the denominator of one prediction; (0, 0) leaves it out.
    """

    id: str
    parts: Callable[[Prediction], Parts]
    higher_is_better: bool = True

    def prepare(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """Numerator and denominator, `[n, 2]`; `labels` are not needed."""
        return np.array([self.parts(p) for p in predictions], dtype=np.float64).reshape(-1, 2)

    def value(self, statistics: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The ratio of the sums per row of `weights`; NaN where nothing counts."""
        return quotient(*(weights @ statistics).T)


def mean(statistics: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The `value` of a metric that averages one statistic `[n, 1]`: its mean per row of `weights`."""
    return (weights @ statistics)[:, 0] / weights.sum(1)


def quotient(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """`above / below`, NaN where `below` is not positive."""
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)


@cache
def metrics() -> dict[str, Metric]:
    """Every metric by its id."""
    modules = (find("metrics", name) for name in names("metrics"))
    listed = (getattr(module, "metrics", (module,)) for module in modules)
    return {one.id: one for several in listed for one in several}


def metric(id: str) -> Metric:
    """The metric of that id.

    Raises:
        UsageError: no such metric; the message names the closest one and all that exist.
    """
    known = metrics()
    if id not in known:
        available = sorted(known)
        raise UsageError(
            f"No metric {id!r}.{suggest(id, available)} Available: {', '.join(available)}."
        )
    return known[id]


def facts(sample: Sample) -> dict[str, Any]:
    """What a metric may need of a sample, as JSON values for `Prediction.facts`.

    The sample's attributes (`answer_type`, `spacing_mm`, ...), its `language`, its `options` in the
    order in which they were asked, and `size`, (width, height) of its first image in pixels.
    """
    known: dict[str, Any] = {**sample.attributes, "language": sample.language}
    if sample.options:
        known["options"] = list(sample.options)
    if sample.images and sample.images[0].size:
        known["size"] = list(sample.images[0].size)
    return known


def response(prediction: Prediction) -> str:
    """What the model said: its text, else the answer in words (methods that answer without words)."""
    return prediction.text or written(prediction.answer)


def written(answer: Answer | None) -> str:
    """An answer as text; several labels as their list, nothing as ''."""
    if answer is None or isinstance(answer, str):
        return answer or ""
    return ", ".join(str(part) if isinstance(part, str) else part.name for part in answer)


def labels_of(answer: Answer | None) -> tuple[str, ...]:
    """The labels that an answer states: one, several or none.

    Raises:
        DataError: boxes or points, which are not labels.
    """
    if answer is None or isinstance(answer, str):
        return () if answer is None else (answer,)
    stated = tuple(part for part in answer if isinstance(part, str))
    if len(stated) != len(answer):
        raise DataError("This metric scores labels, and the answers are boxes or points.")
    return stated


def numbers(prediction: Prediction, fact: str, *, metric_id: str) -> tuple[float, ...]:
    """A fact that consists of numbers: 0.1, [0.1, 0.1] or "0.1, 0.1".

    Raises:
        UsageError: the fact is absent.
        DataError: it is not made of finite numbers.
    """
    given = prediction.facts.get(fact)
    if given is None:
        raise UsageError(
            f"{metric_id} needs {fact!r}, which sample {prediction.sample!r} does not carry. "
            f"Declare {fact!r} among the sample's attributes (or as a column of the file)."
        )
    parts = given.replace(",", " ").split() if isinstance(given, str) else np.ravel(given).tolist()
    try:
        read = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        read = ()
    if not read or not np.isfinite(read).all():
        raise DataError(
            f"Sample {prediction.sample!r} has {fact}={given!r}; give finite numbers, "
            "such as 0.1 or 0.1, 0.1."
        )
    return read

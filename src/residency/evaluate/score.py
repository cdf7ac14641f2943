"""From predictions to a row of evidence: metrics with intervals, counts, and a table by class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from residency.dataset import Dataset
from residency.errors import UsageError
from residency.evaluate.results import (
    MEAN,
    ClassScore,
    Estimate,
    Row,
    is_fraction,
    mean_rows,
    read_results,
    table,
    write_summary,
)
from residency.evaluate.statistics import intervals, wilson
from residency.metric import Metric, Ratio, metric
from residency.types import Prediction

__all__ = [
    "MEAN",
    "ClassScore",
    "Estimate",
    "Row",
    "class_scores",
    "mean_rows",
    "read_results",
    "score",
    "separate",
    "table",
    "write_summary",
]


def score(
    predictions: Sequence[Prediction],
    dataset: Dataset,
    metric_ids: Sequence[str],
    *,
    method: str,
    variant: str = "",
    seed: int,
) -> Row:
    """Score predictions of one task under one view, resampling patients for the intervals.

    `seed` is the run's seed and seeds the bootstrap. An unparsed answer stays in every metric (it
    agrees with nothing) and is counted.

    Raises:
        UsageError: no predictions, a mixture of tasks or views, or an unknown metric.
    """
    chosen = {metric_id: metric(metric_id) for metric_id in metric_ids}
    prepared = {name: one.prepare(predictions, dataset.labels) for name, one in chosen.items()}
    return row_of(predictions, dataset, prepared, method=method, variant=variant, seed=seed)


def row_of(
    predictions: Sequence[Prediction],
    dataset: Dataset,
    prepared: Mapping[str, np.ndarray],
    *,
    method: str,
    variant: str = "",
    seed: int,
) -> Row:
    """`score` for statistics that are prepared already, by metric id."""
    kinds = sorted({(p.dataset, p.task, p.view) for p in predictions})
    if len(kinds) != 1:
        raise UsageError(
            f"A row scores one data set, task and view; got {kinds or 'no predictions'}. "
            "Score each apart (see `separate`)."
        )
    units = [p.unit for p in predictions]
    metrics = estimates(prepared, units, seed=seed)
    name, task, view = kinds[0]
    return Row(
        method=method,
        variant=variant,
        view=view if view not in ("", "null") else None,
        dataset=name,
        task=task,
        seed=seed,
        n=len(predictions),
        n_unparsed=sum(p.answer is None for p in predictions),
        n_length=sum(p.finish == "length" for p in predictions),
        n_error=sum(p.finish == "error" for p in predictions),
        metrics=metrics,
        classes=class_scores(predictions, dataset.labels),
    )


def estimates(
    prepared: Mapping[str, np.ndarray], units: Sequence[str], *, seed: int
) -> dict[str, Estimate]:
    """Every metric with its interval, from its statistics.

    Where all samples are right, or all wrong, no draw differs; the interval then is Wilson's over the
    units, so that a share of 0 or 1 does not look certain.
    """
    scored = {name: (metric(name).value, statistics) for name, statistics in prepared.items()}
    bounds = intervals(scored, units, seed=seed)
    for name, bound in bounds.items():
        right = verdicts(metric(name), prepared[name]) if is_fraction(name) else None
        if right is not None and bound.low == bound.high == bound.estimate in (0, 1):
            used = len({u for u, value in zip(units, right, strict=True) if not np.isnan(value)})
            bounds[name] = wilson(used if bound.estimate else 0, used)
    return {name: Estimate(**bound._asdict()) for name, bound in bounds.items()}


def verdicts(one: Metric, statistics: np.ndarray) -> np.ndarray | None:
    """1 right, 0 wrong, NaN left out, per sample; None for a metric that is not of that kind."""
    if isinstance(one, Ratio):
        above, below = statistics.T
        values = np.where(below > 0, above, np.nan)
        plain = np.isin(below, (0, 1)).all()
    else:
        values, plain = statistics[:, 0], statistics.shape[1] == 1
    return values if plain and np.isin(values[~np.isnan(values)], (0, 1)).all() else None


def separate(predictions: Sequence[Prediction]) -> list[list[Prediction]]:
    """The predictions by data set, task and view, in order of first appearance."""
    groups: dict[tuple[str, str, str], list[Prediction]] = {}
    for p in predictions:
        groups.setdefault((p.dataset, p.task, p.view), []).append(p)
    return list(groups.values())


def class_scores(
    predictions: Sequence[Prediction], labels: Sequence[str]
) -> tuple[ClassScore, ...]:
    """Support, recall, precision and F1 of every label; empty where answers are not labels.

    A multi-label answer counts for each label that it holds.
    """
    known = set(labels)
    references = [_labels(p.reference) for p in predictions]
    if not labels or not all(reference <= known for reference in references):
        return ()
    answers = [_labels(p.answer) for p in predictions]
    rows = []
    for label in labels:
        support = sum(label in r for r in references)
        said = sum(label in a for a in answers)
        hits = sum(label in r and label in a for r, a in zip(references, answers, strict=True))
        rows.append(
            ClassScore(
                label=label,
                support=support,
                recall=hits / support if support else None,
                precision=hits / said if said else None,
                f1=2 * hits / (support + said) if support + said else 0.0,  # as macro_f1 counts it
            )
        )
    return tuple(rows)


def _labels(answer: Any) -> set[Any]:
    return set(answer) if isinstance(answer, tuple) else {answer} - {None}

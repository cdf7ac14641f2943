"""The command `compare`: two models on the samples that both answered, and what could not be seen."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from residency.catalog import names
from residency.errors import UsageError
from residency.evaluate.details import computable
from residency.evaluate.pairing import Pair, pair, predictions_of, unpaired
from residency.evaluate.results import is_fraction
from residency.evaluate.score import verdicts
from residency.evaluate.statistics import (
    Interval,
    McNemar,
    detectable,
    holm,
    mcnemar,
    paired_interval,
)
from residency.evaluate.store import FORMAT, write_whole
from residency.metric import Metric, metric
from residency.task import task
from residency.types import Prediction

POWER = 0.8  # of the power line


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One metric of A and B on the same samples.

    `difference` is A - B with its paired cluster-bootstrap interval. `test` and `detectable` (the
    smallest difference that this many samples show with a power of 80 %) are None for metrics that are
    not right or wrong per sample, `detectable` also where the two never disagree. `p_holm` is p adjusted
    for the number of data sets, None for one.
    """

    dataset: str
    task: str
    step: str
    view: str
    metric: str
    n: int
    units: int
    first: float
    second: float
    difference: Interval
    test: McNemar | None
    detectable: float | None
    p_holm: float | None = None

    def as_json(self) -> dict[str, Any]:
        """All fields; NaN becomes null."""
        content: dict[str, Any] = asdict(self)
        content["difference"] = {k: _plain(v) for k, v in self.difference._asdict().items()}
        content["test"] = self.test._asdict() if self.test else None
        return {k: _plain(v) if isinstance(v, float) else v for k, v in content.items()}


def compare(
    first: str,
    second: str,
    *,
    metrics: tuple[str, ...] = (),
    out: str | None = None,
    seed: int = 0,
) -> list[Comparison]:
    """Compare runs A and B sample by sample; print the table, write it as JSON to the file `out`.

    A and B are run folders, a results file beside its predictions, or predictions files, ours or
    anyone's with `prediction`, `reference` and `id`. Predictions are paired by sample, data set, task
    and view, and by step where a run has several. Without `metrics` each is compared by the first of
    its task's, and by accuracy where the task is not known. For metrics that are right or wrong per sample:
    discordant counts, the exact McNemar p, Holm over data sets, and the difference that this many
    samples cannot show. Always the difference A - B with its paired cluster-bootstrap interval.

    Raises:
        UsageError: an unknown metric, one that the predictions do not allow, or nothing to pair.
    """
    chosen = [metric(name) for name in metrics]
    sides = {"A": predictions_of(Path(first)), "B": predictions_of(Path(second))}
    pairing = pair(*(predictions for predictions, _ in sides.values()))
    compared = [
        comparison_of(p, one, seed=seed) for p in pairing.pairs for one in chosen or [_first_of(p)]
    ]
    found = adjusted(compared)
    left = [f"{p.name[1]}: {reason}" for p in pairing.pairs for reason in unpaired(p)]
    wrong = [
        f"in {side}: {line.strip()}"
        for side, (_, findings) in sides.items()
        for line in str(findings).splitlines()
    ]
    notes = [*pairing.notes, *wrong, *left]
    print("\n".join([f"A: {first}", f"B: {second}", *notes, "", *map(shown, found)]))
    if out is not None:
        content = {"format": FORMAT, "first": first, "second": second, "seed": seed, "notes": notes}
        content |= {"comparisons": [one.as_json() for one in found]}
        write_whole(Path(out), json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return found


def comparison_of(pair: Pair, one: Metric, *, seed: int) -> Comparison:
    """Both sides of a pair under one metric.

    Raises:
        UsageError: the metric needs what these predictions lack.
    """
    labels = _labels([*pair.first, *pair.second])
    sides = [one.prepare(side, labels) for side in (pair.first, pair.second)]
    if sides[0].shape != sides[1].shape:
        raise UsageError(
            f"{one.id} counts A and B over different labels, so they cannot be paired."
        )
    units = [p.unit for p in pair.first]
    ones = np.ones((1, len(units)))
    values = [float(one.value(side, ones)[0]) for side in sides]
    test, used = None, np.ones(len(units), dtype=bool)
    right = [verdicts(one, side) for side in sides]
    if right[0] is not None and right[1] is not None:
        used = ~(np.isnan(right[0]) | np.isnan(right[1]))
        test = mcnemar(right[0][used] > 0, right[1][used] > 0)
    n = int(used.sum())
    apart = (test.only_first + test.only_second) / n if test and n else 0
    step, dataset, task, view = pair.name
    return Comparison(
        dataset=dataset,
        task=task,
        step=step,
        view=view,
        metric=one.id,
        n=n,
        units=len({unit for unit, kept in zip(units, used, strict=True) if kept}),
        first=values[0],
        second=values[1],
        difference=paired_interval(one.value, sides[0], sides[1], units, seed=seed),
        test=test,
        detectable=detectable(n, apart, power=POWER) if apart else None,
    )


def _labels(predictions: Sequence[Prediction]) -> tuple[str, ...]:
    """The options that all predictions share, else none."""
    every = {tuple(p.facts.get("options") or ()) for p in predictions}
    return every.pop() if len(every) == 1 else ()


def _first_of(pair: Pair) -> Metric:
    """The first metric of the task that both sides allow; accuracy where the task is nobody's."""
    every = [*pair.first, *pair.second]
    name = pair.name[2]
    wanted = task(name).metrics if name in names("tasks") else ()
    allowed = (one for one in wanted if computable(every, _labels(every), (one,))[0])
    return metric(next(allowed, "accuracy"))


def adjusted(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Comparisons with p adjusted over the data sets of each metric, step and view (Holm)."""
    families: dict[tuple[str, str, str], list[int]] = {}
    for place, one in enumerate(comparisons):
        if one.test:
            families.setdefault((one.metric, one.step, one.view), []).append(place)
    found = list(comparisons)
    for places in families.values():
        tests = [test.p for test in (comparisons[i].test for i in places) if test]
        for place, p in zip(places, holm(tests), strict=True):
            if len(places) > 1:
                found[place] = replace(comparisons[place], p_holm=p)
    return found


def shown(one: Comparison) -> str:
    """A comparison in a few lines."""
    scale, unit = (100, " points") if is_fraction(one.metric) else (1, "")
    d = one.difference
    bounds = f"[{scale * d.low:+.2f}, {scale * d.high:+.2f}] (95 %, paired cluster bootstrap)"
    if math.isnan(d.low):
        bounds = "(no interval from so few groups)"
    head = ", ".join(filter(None, (one.dataset, one.task, one.step, one.view)))
    lines = [
        f"{head}: {one.metric}, n={one.n}, {one.units} units resampled",
        f"  A {scale * one.first:.2f}, B {scale * one.second:.2f}, A - B {scale * d.estimate:+.2f}"
        f"{unit} {bounds}",
    ]
    if one.test is None:
        return "\n".join([*lines, "  not right or wrong per sample: no McNemar test"])
    b, c, p = one.test
    holm_p = "" if one.p_holm is None else f", Holm over data sets p={one.p_holm:.4g}"
    lines.append(f"  only A right {b}, only B right {c}: exact McNemar p={p:.4g}{holm_p}")
    if one.detectable is None:
        lines.append(f"  with n={one.n} the two never disagree: nothing to test")
    elif math.isnan(one.detectable):
        lines.append(f"  with n={one.n} and {b + c} disagreements no difference could be seen")
    else:
        lines.append(
            f"  with n={one.n} a difference below {100 * one.detectable:.1f} points cannot be seen "
            f"(power {POWER:.0%}, samples taken as independent)"
        )
    return "\n".join(lines)


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None

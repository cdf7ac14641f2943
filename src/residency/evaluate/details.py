"""What a row of results leaves unsaid: what was resampled, which rows each metric used, what was shown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from residency.errors import UsageError
from residency.evaluate.calibration import as_json, calibration
from residency.evaluate.controls import option_positions
from residency.evaluate.results import Row
from residency.evaluate.subgroups import by_facts
from residency.metric import Ratio, metric
from residency.types import Prediction

DRAWS, LEVEL = 1000, 0.95  # what `intervals` does by default
MANY = 20_000  # more predictions are divided into groups only where one asks
UNIT = "group (the patient) where the sample has one, else its image"
ABSENT = "absent"
RULE = (
    "without a known answer_type a row is closed where it has options or where its reference is "
    "yes or no, else open"
)
_BY_TYPE = ("closed_", "open_")  # metrics that use some values of `answer_type` only


def computable(
    group: Sequence[Prediction], labels: Sequence[str], metrics: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Statistics of the metrics that these predictions allow, and why not the others."""
    prepared, refused = {}, {}
    for name in metrics:
        try:
            prepared[name] = metric(name).prepare(group, labels)
        except UsageError as error:
            refused[name] = " ".join(str(error).split())
    return prepared, refused


def detail(
    row: Row,
    group: Sequence[Prediction],
    prepared: Mapping[str, np.ndarray],
    refused: Mapping[str, str],
    *,
    unit: str = UNIT,
) -> dict[str, Any]:
    """The entry of a row in the `details` of a summary, from the predictions that it scores.

    `prepared` and `refused` are what `computable` made of them.
    """
    found: dict[str, Any] = {
        "method": row.method,
        "variant": row.variant,
        "dataset": row.dataset,
        "task": row.task,
        "view": row.view,
        "resampling": {
            "unit": unit,
            "units": len({p.unit for p in group}),
            "draws": DRAWS,
            "level": LEVEL,
            "seed": row.seed,
        },
        "rows_used": {name: rows_used(name, group, made) for name, made in prepared.items()},
        "not_computed": dict(refused),
    }
    if any(p.images for p in group):
        found["images"] = {
            "read": sum(len(p.images) for p in group),
            "distinct": len({image for p in group for image in p.images}),
            "samples_without": sum(not p.images for p in group),
        }
    if any(p.scores and isinstance(p.reference, str) for p in group):
        found["calibration"] = as_json(calibration(group, seed=row.seed))
    if row.metrics and len(group) <= MANY:
        first = next(iter(row.metrics))
        found["subgroups"] = by_facts(group, [c.label for c in row.classes], first, seed=row.seed)
    if positions := option_positions(group):
        found["option_positions"] = positions
    return found


def rows_used(
    metric_id: str, predictions: Sequence[Prediction], statistics: np.ndarray
) -> dict[str, Any]:
    """How many rows a metric uses; for VQA metrics also of which `answer_type`, and the rule."""
    if not metric_id.startswith(_BY_TYPE) or not isinstance(metric(metric_id), Ratio):
        return {"n": len(predictions)}
    used = statistics[:, 1] > 0
    kinds = [str(p.facts.get("answer_type", ABSENT)) for p in predictions]
    every, taken = Counter(kinds), Counter(k for k, u in zip(kinds, used, strict=True) if u)
    return {
        "n": int(used.sum()),
        "by_answer_type": {kind: [taken[kind], count] for kind, count in every.items()},
        "rule": RULE,
    }


def told(details: Sequence[Mapping[str, Any]]) -> str:
    """The same for a reader at a terminal; a line per set, and one per metric that leaves rows out."""
    lines = []
    for one in details:
        unit = one["resampling"]
        name = " ".join(filter(None, (one["dataset"], one["view"])))
        lines.append(
            f"{name}: intervals resample {unit['units']} units ({unit['unit']}), {unit['draws']} draws"
        )
        for metric_id, used in one["rows_used"].items():
            if "rule" in used:
                kinds = [f"{kind} {n} of {m}" for kind, (n, m) in used["by_answer_type"].items()]
                lines.append(
                    f"  {metric_id}: {used['n']} rows (answer_type {', '.join(kinds)}; {RULE})"
                )
        lines += [f"  {name} not computed: {why}" for name, why in one["not_computed"].items()]
        if positions := one.get("option_positions"):
            shares = ", ".join(
                f"{letter} {said} said, {right} right"
                for letter, (said, right) in positions["letters"].items()
            )
            lines.append(f"  options: {shares}; {positions['unparsed']} unparsed")
    return "\n".join(lines)

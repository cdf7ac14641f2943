"""Metrics by subgroup (sex, site, modality ...), with intervals, counts and the largest gap."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from residency.errors import UsageError
from residency.evaluate.results import Estimate, with_interval
from residency.evaluate.score import estimates
from residency.metric import metric
from residency.types import Prediction

SMALL = 30  # a group with fewer predictions is marked: its estimate says little
MISSING = "(not given)"
MOST_GROUPS, MOST_FACTS, LONGEST = 16, 12, 40
# What describes the file or the question's form rather than the case.
_TECHNICAL = {
    "options", "size", "slices", "first_mm", "step_mm", "spacing_mm", "as_stored", "chance", "pool",
    "picture",
}  # fmt: skip
# Whoever wrote the table may have left a person in it; such columns are never shown.
_PERSONAL = re.compile(
    r"(^|[\W_])(ids?|uid|mrn|name|patient|subject|person|birth|dob|date|address|phone|doctor|"
    r"physician|study|series|accession|file|filename|path|image)([\W_]|$)", re.IGNORECASE
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Subgroup:
    """A metric in one group of a fact; `small` where there are under 30 predictions."""

    dataset: str
    task: str
    view: str
    fact: str
    group: str
    n: int
    small: bool
    metric: str
    value: Estimate

    def as_json(self) -> dict[str, Any]:
        """All fields; NaN becomes null."""
        ends = asdict(self.value)
        return asdict(self) | {
            "value": {k: v if math.isfinite(v) else None for k, v in ends.items()}
        }


def facts_shown(predictions: Sequence[Prediction]) -> list[str]:
    """The facts that divide these predictions into a few named groups, none of which is a person."""
    names = dict.fromkeys(name for p in predictions for name in p.facts)
    found = []
    for name in names:
        if name in _TECHNICAL or _PERSONAL.search(name):
            continue
        values = {group_of(p, name) for p in predictions}
        if 2 <= len(values) <= MOST_GROUPS and all(len(value) <= LONGEST for value in values):
            found.append(name)
    return found[:MOST_FACTS]


def group_of(prediction: Prediction, fact: str) -> str:
    """The value of the fact, as the name of a group."""
    value = prediction.facts.get(fact)
    return MISSING if value in (None, "") else str(value)


def by_facts(
    predictions: Sequence[Prediction], labels: Sequence[str], metric_id: str, *, seed: int
) -> list[dict[str, Any]]:
    """One metric in every group of every fact that is shown, as JSON; a metric that cannot be is absent."""
    found: list[Subgroup] = []
    for fact in facts_shown(predictions):
        try:
            found += subgroups(predictions, labels, [metric_id], fact, seed=seed)
        except UsageError:  # the metric needs what a group lacks, such as two classes
            continue
    names = ("fact", "group", "n", "small", "metric", "value")
    return [{name: one[name] for name in names} for one in (row.as_json() for row in found)]


def subgroups(
    predictions: Sequence[Prediction],
    labels: Sequence[str],
    metric_ids: Sequence[str],
    fact: str,
    *,
    seed: int,
) -> list[Subgroup]:
    """Every metric in every group of `fact`, largest group first, those without the fact as one.

    Whole-set quantities (the n-gram weights of CIDEr, the bins of ECE) are those of the group. One
    data set, task and view at a time.

    Raises:
        UsageError: no prediction carries the fact.
    """
    groups: dict[str, list[Prediction]] = {}
    for p in predictions:
        groups.setdefault(group_of(p, fact), []).append(p)
    if set(groups) <= {MISSING}:
        raise UsageError(f"No prediction carries {fact!r}, so there are no subgroups by it.")
    found = []
    for name, members in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        prepared = {one: metric(one).prepare(members, labels) for one in metric_ids}
        for one, value in estimates(prepared, [p.unit for p in members], seed=seed).items():
            found.append(
                Subgroup(
                    dataset=members[0].dataset,
                    task=members[0].task,
                    view=members[0].view,
                    fact=fact,
                    group=name,
                    n=len(members),
                    small=len(members) < SMALL,
                    metric=one,
                    value=value,
                )
            )
    return found


def largest_gap(rows: Sequence[Subgroup]) -> tuple[Subgroup, Subgroup] | None:
    """The lowest and the highest group of one metric, of those that are not small; None for under two."""
    sized = [r for r in rows if not r.small and math.isfinite(r.value.estimate)]
    if len(sized) < 2:
        return None
    ordered = sorted(sized, key=lambda r: r.value.estimate)
    return ordered[0], ordered[-1]


def subgroup_table(rows: Sequence[Subgroup]) -> str:
    """A line per group, small groups marked, and a line for the largest gap of each metric."""
    together: dict[tuple[str, ...], list[Subgroup]] = {}
    for row in rows:
        key = (row.dataset, row.task, row.view, row.fact, row.metric)
        together.setdefault(key, []).append(row)
    lines = []
    for (dataset, _, _, fact, name), members in together.items():
        lines.append(f"{name} by {fact} ({dataset})")
        for row in members:
            mark = f"  (fewer than {SMALL})" if row.small else ""
            lines.append(f"  {row.group}: {with_interval(name, row.value)}, n={row.n}{mark}")
        gap = largest_gap(members)
        if gap:
            apart = gap[1].value.estimate - gap[0].value.estimate
            lines.append(f"  largest gap: {gap[0].group} to {gap[1].group}, {apart:.3f}")
    return "\n".join(lines)

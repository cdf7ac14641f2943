"""Rows of `results.json` and `summary.json`: one schema for every recipe, and a table."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from residency.errors import DataError
from residency.evaluate.store import FORMAT, write_whole

FLIPS = "answer_flip_rate"  # what rows of another image have beside the metrics of their task
MEAN = "mean"  # the `dataset` of a row that averages over data sets


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A metric with its 95 % interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScore:
    """One class against all others.

    Recall and precision are None where their denominator is zero; F1 is then 0, as in `macro_f1`.
    """

    label: str
    support: int
    recall: float | None
    precision: float | None
    f1: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One method under one view on one data set and task; `classes` is the per-class table.

    `view` is None for what reads no view: the expert, the majority class, chance. Of the `n` answers
    `n_unparsed` could not be understood, `n_length` were cut off at the limit of tokens (understood or
    not), and `n_error` were refused by a server, which makes them unparsed as well.
    """

    method: str
    variant: str
    view: str | None
    dataset: str
    task: str
    seed: int
    n: int
    n_unparsed: int
    n_length: int = 0
    n_error: int = 0
    metrics: Mapping[str, Estimate]
    classes: tuple[ClassScore, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The design's schema: all fields but the per-class table; NaN becomes null."""
        plain = {name: getattr(self, name) for name in _COLUMNS}
        metrics = {name: asdict(value) for name, value in self.metrics.items()}
        return plain | {"metrics": {name: _finite(value) for name, value in metrics.items()}}


_COUNTS = ("n", "n_unparsed", "n_length", "n_error")
_COLUMNS = ("method", "variant", "view", "dataset", "task", "seed", *_COUNTS)


def mean_rows(rows: Sequence[Row]) -> list[Row]:
    """One row `dataset = mean` for every method, variant, view, task and seed on several data sets.

    The data sets weigh the same, as in VITask's Table 1. Their samples are independent, so the
    interval adds squared distances to the limits (method of variance estimates recovery, Zou &
    Donner 2008). A metric enters when every data set of the group has it. A method that lacks one of
    the data sets that others have for the task gets no mean: it would compare unlike averages.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    everything: dict[str, set[str]] = {}
    for row in rows:
        if row.dataset != MEAN:
            key = (row.method, row.variant, row.view, row.task, row.seed)
            groups.setdefault(key, []).append(row)
            everything.setdefault(row.task, set()).add(row.dataset)
    return [
        _mean(group)
        for group in groups.values()
        if len(group) > 1 and {row.dataset for row in group} == everything[group[0].task]
    ]


def _mean(rows: Sequence[Row]) -> Row:
    metrics = {}
    for name in rows[0].metrics:
        if all(name in row.metrics for row in rows):
            parts = [row.metrics[name] for row in rows]
            middle = sum(p.estimate for p in parts) / len(parts)
            below = math.hypot(*(p.estimate - p.low for p in parts)) / len(parts)
            above = math.hypot(*(p.high - p.estimate for p in parts)) / len(parts)
            metrics[name] = Estimate(estimate=middle, low=middle - below, high=middle + above)
    return replace(
        rows[0],
        dataset=MEAN,
        metrics=metrics,
        classes=(),
        **{name: sum(getattr(row, name) for row in rows) for name in _COUNTS},
    )


def write_summary(
    path: Path,
    rows: Sequence[Row],
    *,
    command: str,
    versions: Mapping[str, str],
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write `summary.json` or `results.json`, whole or not at all; `more` are further entries."""
    classes = [
        {name: getattr(row, name) for name in _COLUMNS[:6]} | asdict(line)
        for row in rows
        for line in row.classes
    ]
    content = {
        "format": FORMAT,
        "command": command,
        "versions": dict(versions),
        "rows": [row.as_json() for row in rows],
        "classes": classes,
        **more,
    }
    write_whole(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_results(path: Path) -> list[Row]:
    """The rows of a results file, with their per-class tables.

    Raises:
        DataError: the file is missing or is not in the design's schema.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        tables: dict[tuple[Any, ...], list[ClassScore]] = {}
        for line in content["classes"]:
            key = tuple(line.pop(name) for name in _COLUMNS[:6])
            tables.setdefault(key, []).append(ClassScore(**line))
        return [_row(line, tables) for line in content["rows"]]
    except FileNotFoundError as error:
        raise DataError(f"No results at {path}. A recipe writes them when it ends.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a results file ({error}). Run the recipe again.") from error


def read_details(path: Path) -> list[dict[str, Any]]:
    """The `details` of a results file that `read_results` accepts (`evaluate.details`); [] for none."""
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")).get("details", [])
    return found


def _row(line: dict[str, Any], tables: Mapping[tuple[Any, ...], list[ClassScore]]) -> Row:
    metrics = {
        name: Estimate(**{k: math.nan if v is None else v for k, v in value.items()})
        for name, value in line.pop("metrics").items()
    }
    key = tuple(line[name] for name in _COLUMNS[:6])
    return Row(**line, metrics=metrics, classes=tuple(tables.get(key, ())))


def _finite(value: Mapping[str, float]) -> dict[str, float | None]:
    return {name: number if math.isfinite(number) else None for name, number in value.items()}


_NATIVE = (
    "brier",
    "cider",
    "radial_error",
    "mre",
    "nll",
    "response_words",
)  # no fractions: own units


def is_fraction(metric: str) -> bool:
    """Whether a metric lies in [0, 1] and is shown in percent."""
    return not metric.startswith(_NATIVE)


def shown(metric: str, value: float) -> str:
    """A value as a reader sees it: percent, or its own unit; `–` where undefined."""
    if not math.isfinite(value):
        return "–"
    return f"{100 * value:.1f}" if is_fraction(metric) else f"{value:.2f}"


def with_interval(metric: str, value: Estimate) -> str:
    """`84.6 [82.1, 87.0]`, without the interval where there is none."""
    text = shown(metric, value.estimate)
    if value.low == value.high or not math.isfinite(value.low + value.high):
        return text
    return f"{text} [{shown(metric, value.low)}, {shown(metric, value.high)}]"


def metric_names(rows: Sequence[Row]) -> list[str]:
    """Every metric of the rows, in order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row.metrics))


def table(rows: Sequence[Row], *, most: int | None = 4) -> str:
    """The rows as aligned Markdown, which also reads well in a terminal: one table for each task.

    Tasks have metrics of their own, of which the first `most` are columns and the others are named below;
    the rate of changed answers is always one. Fractions are percent; a column that would say the same in
    every row of its table is left out, except the method and the counts.
    """
    tasks = dict.fromkeys(row.task for row in rows)
    if len(tasks) < 2:
        return _table(rows, most)
    apart = {task: [row for row in rows if row.task == task] for task in tasks}
    return "\n".join(f"{task}:\n\n{_table(own, most)}" for task, own in apart.items())


def _table(rows: Sequence[Row], most: int | None) -> str:
    """The rows of one task."""
    every = [name for name in metric_names(rows) if name != FLIPS]
    names = every[:most] + [FLIPS] * any(FLIPS in row.metrics for row in rows)
    left = [] if most is None else every[most:]
    further = f"\nAlso in the results file: {', '.join(left)}.\n" if left else ""
    columns = {
        "method": [f"{row.method} {row.variant}".strip() for row in rows],
        "view": [row.view or "–" for row in rows],
        "data set": [row.dataset for row in rows],
        "seed": [str(row.seed) for row in rows],
        "n": [str(row.n) for row in rows],
        "unparsed": [str(row.n_unparsed) for row in rows],
        "cut off": [str(row.n_length) for row in rows],
        "errors": [str(row.n_error) for row in rows],
    }
    for rare in ("cut off", "errors"):
        if set(columns[rare]) == {"0"}:
            del columns[rare]
    for optional in ("data set", "seed"):
        if len(set(columns[optional])) < 2:
            del columns[optional]
    for name in names:
        head = f"{name} %" if is_fraction(name) else name
        columns[head] = [
            with_interval(name, row.metrics[name]) if name in row.metrics else "–" for row in rows
        ]
    columns = {
        head: [" ".join(cell.replace("|", "\\|").split()) for cell in cells]
        for head, cells in columns.items()
    }
    numeric = set(columns) - {"method", "view", "data set"}
    widths = [max(3, len(head), *map(len, cells)) for head, cells in columns.items()]
    right = [head in numeric for head in columns]
    rule = [
        "-" * (width - 1) + (":" if at_right else "-")
        for width, at_right in zip(widths, right, strict=True)
    ]
    lines = [[*columns], rule, *map(list, zip(*columns.values(), strict=True))]
    return "".join(_line(cells, widths, right) for cells in lines) + further


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if at_right else cell.ljust(width)
        for cell, width, at_right in zip(cells, widths, right, strict=True)
    )
    return f"| {' | '.join(padded)} |\n"

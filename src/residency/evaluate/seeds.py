"""The command `seeds`: how much training varies, over runs that differ by seed.

This spread is no test-set interval: that one says how much another test set would change the number and stays
in each run's own table.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from residency.errors import UsageError
from residency.evaluate.results import Row, metric_names, read_results, shown
from residency.evaluate.statistics import Spread, over_seeds
from residency.evaluate.store import FORMAT, write_whole

RESULTS = "results.json"
Key = tuple[str, str, str, str, str]  # data set, method, variant, view, task


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One method under one view: every metric's values by run, with mean and standard deviation.

    `n` are the samples of each run, `n_unparsed` the answers that could not be understood, in all runs.
    """

    dataset: str
    method: str
    variant: str
    view: str
    task: str
    seeds: tuple[int, ...]
    n: tuple[int, ...]
    n_unparsed: int
    values: dict[str, tuple[float, ...]]
    spread: dict[str, Spread]

    def as_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self) | {"spread": {k: v._asdict() for k, v in self.spread.items()}}


def seeds(
    runs: Sequence[str], *, metrics: tuple[str, ...] = (), out: str | None = None
) -> list[Line]:
    """Mean and standard deviation over runs; print the table, write it as JSON to the file `out`.

    RUN is a run folder or a results file. Rows are put together by data set, method, variant, view and task;
    the deviation is that of a sample (n - 1) and is not given for a single run. `metrics` picks some.

    Raises:
        UsageError: no run, one named twice, or a metric that no row has.
    """
    paths = [Path(run) / RESULTS if Path(run).is_dir() else Path(run) for run in runs]
    if not paths or len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("Name runs of different seeds, each once: residency seeds RUN RUN RUN.")
    groups: dict[Key, list[Row]] = {}
    for path in paths:
        for row in read_results(path):
            key = (row.dataset, row.method, row.variant, row.view or "–", row.task)
            groups.setdefault(key, []).append(row)
    known = metric_names([row for rows in groups.values() for row in rows])
    for name in metrics:
        if name not in known:
            raise UsageError(f"No row has {name!r}. The runs have: {', '.join(known)}.")
    lines = [_line(key, rows, metrics or tuple(known)) for key, rows in groups.items()]
    print(_table(lines, metrics or tuple(known)))
    for line in lines:
        if len(set(line.seeds)) < len(line.seeds):
            print(
                f"note: {line.method} {line.view}: seeds {line.seeds} repeat, so the spread is too small"
            )
            break
    if out is not None:
        content = {"format": FORMAT, "runs": list(runs), "rows": [line.as_json() for line in lines]}
        write_whole(Path(out), json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return lines


def _line(key: Key, rows: Sequence[Row], metrics: Sequence[str]) -> Line:
    values = {
        name: tuple(row.metrics[name].estimate for row in rows if name in row.metrics)
        for name in metrics
    }
    names = dict(zip(("dataset", "method", "variant", "view", "task"), key, strict=True))
    return Line(
        **names,
        seeds=tuple(row.seed for row in rows),
        n=tuple(row.n for row in rows),
        n_unparsed=sum(row.n_unparsed for row in rows),
        values={name: some for name, some in values.items() if some},
        spread={name: over_seeds(some) for name, some in values.items() if some},
    )


def _table(lines: Sequence[Line], metrics: Sequence[str]) -> str:
    several = [len({getattr(line, name) for line in lines}) > 1 for name in ("dataset", "task")]
    head = ["data set"] * several[0] + ["task"] * several[1]
    head += ["method", "view", "n", "seeds", "unparsed", *metrics]
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for line in lines:
        cells = [line.dataset] * several[0] + [line.task] * several[1]
        cells += [f"{line.method} {line.variant}".strip(), line.view]
        cells += [", ".join(map(str, dict.fromkeys(line.n))), str(len(line.seeds))]
        cells += [str(line.n_unparsed), *(_cell(name, line) for name in metrics)]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _cell(metric: str, line: Line) -> str:
    """`mean ± sd (values)`."""
    if metric not in line.spread:
        return "–"
    spread, values = line.spread[metric], line.values[metric]
    if spread.n < 2:
        return shown(metric, spread.mean)
    each = ", ".join(shown(metric, value) for value in values)
    return f"{shown(metric, spread.mean)} ± {shown(metric, spread.deviation)} ({each})"

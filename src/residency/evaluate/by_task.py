"""A table for each task: methods and their controls down, data sets across, seeds in every cell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from residency.evaluate.results import MEAN, Row, read_results, shown
from residency.evaluate.statistics import over_seeds
from residency.evaluate.steps import SUMMARY
from residency.evaluate.store import write_whole
from residency.step import Workspace
from residency.task import task

METRICS = 2  # of each task, its first ones
Line = tuple[str, str, str, str | None]  # label, and method, variant and view of rows of results


@dataclass(frozen=True, kw_only=True)
class ByTask:
    """Print and write `tables.md` over the results of the steps `of`, one per seed."""

    name: str
    of: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def needs(self) -> tuple[str, ...]:
        """The runs."""
        return self.of

    def plan(self, workspace: Workspace) -> list[str]:
        """Which rows."""
        return [f"a table for each task, rows: {', '.join(label for label, *_ in self.lines)}"]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Gather the rows of all seeds and lay them out."""
        rows = [r for step in self.of for r in read_results(workspace.folder(step) / SUMMARY)]
        tables = [
            laid_out(name, metric, [row for row in rows if row.task == name], self.lines)
            for name in dict.fromkeys(row.task for row in rows)
            for metric in task(name).metrics[:METRICS]
        ]
        write_whole(workspace.folder(self.name) / "tables.md", "\n\n".join(tables) + "\n")
        print("\n\n".join(tables), flush=True)
        return {"tables": len(tables)}


def laid_out(name: str, metric: str, rows: Sequence[Row], lines: Sequence[Line]) -> str:
    """One table: the mean over seeds, their standard deviation, and the mean of their 95 % limits.

    A cell without results is a dash, a line without any is left out.
    """
    rows = [row for row in rows if row.dataset != MEAN and metric in row.metrics]
    columns = list(dict.fromkeys(row.dataset for row in rows))
    n = {row.dataset: row.n for row in rows}
    seeds = len({row.seed for row in rows})
    head = [f"{name}, {metric}, seeds: {seeds}", *(f"{c} (n {n[c]})" for c in columns)]
    table = [f"| {' | '.join(head)} |", f"|---|{'--:|' * len(columns)}"]
    for label, *key in lines:
        own = [row for row in rows if [row.method, row.variant, row.view] == key]
        if own:
            cells = [_cell(metric, [row for row in own if row.dataset == c]) for c in columns]
            table.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(table)


def _cell(metric: str, rows: Sequence[Row]) -> str:
    if not rows:
        return "–"
    found = [row.metrics[metric] for row in rows]
    values = [one.estimate for one in found]
    low, high = fmean(one.low for one in found), fmean(one.high for one in found)
    spread = f" ± {shown(metric, over_seeds(values).deviation)}" if len(values) > 1 else ""
    limits = f"[{shown(metric, low)}, {shown(metric, high)}]"
    return f"{shown(metric, fmean(values))}{spread} {limits}"

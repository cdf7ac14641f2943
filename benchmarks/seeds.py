"""Mean and standard deviation over runs that differ by seed: `python benchmarks/seeds.py RUN RUN ...`.

Reads each run's `results.json`. The spread over seeds is not a test-set interval: it says how much
training varies, the intervals in `results.json` say how much the test set does.
"""

import argparse
import statistics
from pathlib import Path

from residency.evaluate.results import Row, metric_names, read_results, shown


def collect(runs: list[Path]) -> dict[tuple[str, ...], list[Row]]:
    """Rows by what they measure, in order of first appearance."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for run in runs:
        path = run / "results.json" if run.is_dir() else run
        for row in read_results(path):
            key = (row.dataset, row.method, row.variant, row.view or "–", row.task)
            found.setdefault(key, []).append(row)
    return found


def cell(metric: str, rows: list[Row]) -> str:
    """`mean ± sd (values)`; the sd needs two runs."""
    values = [row.metrics[metric].estimate for row in rows if metric in row.metrics]
    if not values:
        return "–"
    text = shown(metric, statistics.fmean(values))
    if len(values) > 1:
        each = ", ".join(shown(metric, value) for value in values)
        text += f" ± {shown(metric, statistics.stdev(values))} ({each})"
    return text


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    groups = collect(parser.parse_args().runs)
    several = len({key[0] for key in groups}) > 1
    metrics = metric_names([row for rows in groups.values() for row in rows])
    head = [
        *(["data set"] if several else []),
        "method",
        "view",
        "n",
        "seeds",
        "unparsed",
        *metrics,
    ]
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for (dataset, method, variant, view, _), rows in groups.items():
        unparsed = (
            "+".join(str(row.n_unparsed) for row in rows)
            if any(r.n_unparsed for r in rows)
            else "0"
        )
        cells = [f"{method} {variant}".strip(), view, str(rows[0].n), str(len(rows)), unparsed]
        cells += [cell(metric, rows) for metric in metrics]
        print("| " + " | ".join([*([dataset] if several else []), *cells]) + " |")


if __name__ == "__main__":
    main()

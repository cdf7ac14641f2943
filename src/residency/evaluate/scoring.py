"""The command `score`: predictions that anyone made, with intervals, in the form of our own results."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from residency.dataset import Dataset
from residency.errors import UsageError
from residency.evaluate.details import computable, detail, told
from residency.evaluate.foreign import Foreign
from residency.evaluate.results import Row, table, write_summary
from residency.evaluate.score import row_of, separate
from residency.evaluate.sources import read_any
from residency.evaluate.store import FILE, FORMAT, encode, write_whole
from residency.evaluate.subgroups import Subgroup, subgroup_table, subgroups
from residency.metric import metric
from residency.provenance import versions
from residency.types import Prediction

SUMMARY = "summary.json"
COMMAND = "residency score"


def score(
    file: str,
    *,
    metrics: tuple[str, ...],
    out: str,
    map: tuple[str, ...] = (),
    by: tuple[str, ...] = (),
    labels: tuple[str, ...] = (),
    task: str = "vqa",
    method: str = "predictions",
    seed: int = 0,
) -> list[Row]:
    """Score predictions made by anyone; write `summary.json` and `predictions.jsonl` under `out`.

    `file` has one JSON object per line, or is a JSON array of them, with `prediction`, `reference` and
    optionally `id`, `task`, `dataset`, `view`, `answer_type`, `options`, `group` (the patient, which
    intervals resample whole), `language`, `scores`, `spacing_mm` and `size`; or it is a
    `predictions.jsonl` of ours. `map=prediction=answer_pred,id=none` says which column holds a field.
    `by` names columns of subgroups. `labels` is the closed set of answers of rows without options.
    `task` is that of rows that name none. What a file has wrong is counted and shown.

    Raises:
        UsageError: an unknown metric or field, a wrong column, or no metric that can be computed.
    """
    for one in metrics:
        metric(one)
    if not metrics:
        raise UsageError("Name at least one metric: metrics=accuracy,token_f1.")
    source, folder = Path(file), Path(out)
    _refuse_other(folder, source)
    given = _read(source, _renaming(map), by=by, labels=labels, task=task)
    rows: list[Row] = []
    details: list[dict[str, Any]] = []
    tables: list[Subgroup] = []
    for group in separate(given.predictions):
        known = labels or _common_options(group)
        prepared, refused = computable(group, known, metrics)
        row = row_of(group, _dataset(group, known, given), prepared, method=method, seed=seed)
        rows.append(row)
        unit = "group, else row" if given.grouped else "row (no groups given)"
        details.append(detail(row, group, prepared, refused, unit=unit))
        for name in by:
            if any(p.facts.get(name) not in (None, "") for p in group):
                tables += subgroups(group, known, list(prepared), name, seed=seed)
    words = [f"metrics={','.join(metrics)}", *([f"map={','.join(map)}"] if map else [])]
    _write(folder, rows, details, tables, given, command=f"{COMMAND} {source} {' '.join(words)}")
    print(_shown(source, rows, details, tables, given))
    if not any(row.metrics for row in rows):
        raise UsageError(
            f"None of {', '.join(metrics)} can be computed from {source}; see above for each."
        )
    return rows


def _renaming(pairs: Sequence[str]) -> dict[str, str]:
    renamed = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not equals or not name or not column:
            raise UsageError(f"map={pair}: write map=field=column, such as map=prediction=answer.")
        renamed[name] = column
    return renamed


def _refuse_other(folder: Path, source: Path) -> None:
    """Refuse a folder that holds anything but an earlier result of this command."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        earlier = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["command"]
    except (OSError, ValueError, KeyError, TypeError):
        earlier = ""
    ours = str(earlier).startswith(f"{COMMAND} ")
    if not ours or source.resolve() == (folder / FILE).resolve():
        raise UsageError(
            f"out={folder} holds other files, which would be mixed with results or overwritten. "
            "Choose a new folder."
        )


def _read(
    source: Path, renamed: Mapping[str, str], *, by: Sequence[str], labels: Sequence[str], task: str
) -> Foreign:
    if source.is_dir():
        raise UsageError(f"{source} is a folder. Name a file, such as {source / FILE}.")
    return read_any(source, renamed=renamed, keep=by, labels=labels, default_task=task)


def _common_options(predictions: Sequence[Prediction]) -> tuple[str, ...]:
    """The options that all predictions share, which then are the label set."""
    every = {tuple(p.facts.get("options") or ()) for p in predictions}
    return every.pop() if len(every) == 1 else ()


def _dataset(group: Sequence[Prediction], labels: Sequence[str], given: Foreign) -> Dataset:
    return Dataset(name=group[0].dataset, splits={}, labels=tuple(labels), digest=given.digest)


def _write(
    folder: Path,
    rows: Sequence[Row],
    details: Sequence[Mapping[str, Any]],
    tables: Sequence[Subgroup],
    given: Foreign,
    *,
    command: str,
) -> None:
    identity = {"identity": {"format": FORMAT, "command": command, "digest": given.digest}}
    end = {"end": {"n": len(given.predictions)}}
    lines = [identity, *map(encode, given.predictions), end]
    text = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
    write_whole(folder / FILE, text)
    more = {
        "source": {"rows": given.rows, "left_out": given.left_out, "digest": given.digest},
        "problems": given.findings.as_json(),
        "details": list(details),
        "subgroups": [one.as_json() for one in tables],
    }
    write_summary(folder / SUMMARY, rows, command=command, versions=versions(), more=more)


def _shown(
    source: Path,
    rows: Sequence[Row],
    details: Sequence[Mapping[str, Any]],
    tables: Sequence[Subgroup],
    given: Foreign,
) -> str:
    scored = len(given.predictions)
    lines = [f"{source}: {given.rows} rows, {scored} scored, {given.left_out} left out"]
    lines += [str(given.findings)] if given.findings.places else []
    lines += ["", table(rows, most=None), told(details)]
    if tables:
        lines += ["", subgroup_table(tables)]
    return "\n".join(lines)

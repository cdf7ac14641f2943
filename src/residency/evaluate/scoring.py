"""The command `score`: predictions that anyone made, with intervals, in the form of our own results."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from residency.dataset import Dataset
from residency.errors import UsageError
from residency.evaluate.foreign import Foreign
from residency.evaluate.results import Row, table, write_summary
from residency.evaluate.score import score as score_row
from residency.evaluate.score import separate
from residency.evaluate.sources import read_any
from residency.evaluate.store import FILE, FORMAT, encode, write_whole
from residency.evaluate.subgroups import Subgroup, subgroup_table, subgroups
from residency.metric import Ratio, metric
from residency.provenance import versions
from residency.types import Prediction

SUMMARY = "summary.json"
COMMAND = "residency score"
DRAWS, LEVEL = 1000, 0.95  # what `intervals` does by default
_BY_TYPE = ("closed_", "open_")  # metrics that use some values of `answer_type` only
ABSENT = "absent"
_RULE = (
    "without a known answer_type a row is closed where it has options or where its reference is "
    "yes or no, else open"
)


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
        usable, refused = _computable(group, known, metrics)
        row = score_row(group, _dataset(group, known, given), usable, method=method, seed=seed)
        rows.append(row)
        details.append(_detail(row, group, given, usable, refused))
        for name in by:
            if any(p.facts.get(name) not in (None, "") for p in group):
                tables += subgroups(group, known, usable, name, seed=seed)
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


def _computable(
    group: Sequence[Prediction], labels: Sequence[str], metrics: Sequence[str]
) -> tuple[list[str], dict[str, str]]:
    """The metrics that these predictions allow, and why not the others."""
    usable, refused = [], {}
    for name in metrics:
        try:
            metric(name).prepare(group, labels)
        except UsageError as error:
            refused[name] = " ".join(str(error).split())
        else:
            usable.append(name)
    return usable, refused


def _detail(
    row: Row,
    group: Sequence[Prediction],
    given: Foreign,
    usable: Sequence[str],
    refused: Mapping[str, str],
) -> dict[str, Any]:
    """What a row of results leaves unsaid: the unit of resampling, and the rows each metric uses."""
    return {
        "dataset": row.dataset,
        "task": row.task,
        "view": row.view,
        "resampling": {
            "unit": "group, else row" if given.grouped else "row (no groups given)",
            "units": len({p.unit for p in group}),
            "draws": DRAWS,
            "level": LEVEL,
            "seed": row.seed,
        },
        "rows_used": {name: rows_used(name, group) for name in usable},
        "not_computed": dict(refused),
    }


def rows_used(metric_id: str, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """How many rows a metric uses; for VQA metrics also of which `answer_type`, and the rule."""
    one = metric(metric_id)
    if not isinstance(one, Ratio) or not metric_id.startswith(_BY_TYPE):
        return {"n": len(predictions)}
    used = one.prepare(predictions, ())[:, 1] > 0
    kinds = [str(p.facts.get("answer_type", ABSENT)) for p in predictions]
    every, taken = Counter(kinds), Counter(k for k, u in zip(kinds, used, strict=True) if u)
    return {
        "n": int(used.sum()),
        "by_answer_type": {kind: [taken[kind], count] for kind, count in every.items()},
        "rule": _RULE,
    }


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
    path = folder / SUMMARY
    write_summary(path, rows, command=command, versions=versions())
    content = json.loads(path.read_text(encoding="utf-8")) | {
        "source": {"rows": given.rows, "left_out": given.left_out, "digest": given.digest},
        "problems": given.findings.as_json(),
        "details": list(details),
        "subgroups": [one.as_json() for one in tables],
    }
    write_whole(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


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
    lines += ["", table(rows)]
    for detail in details:
        unit = detail["resampling"]
        lines.append(
            f"{detail['dataset']}: intervals resample {unit['units']} units ({unit['unit']}), "
            f"{unit['draws']} draws"
        )
        for name, used in detail["rows_used"].items():
            if "rule" in used:
                kinds = [f"{kind} {n} of {m}" for kind, (n, m) in used["by_answer_type"].items()]
                lines.append(
                    f"  {name}: {used['n']} rows (answer_type {', '.join(kinds)}; {_RULE})"
                )
        lines += [f"  {name} not computed: {why}" for name, why in detail["not_computed"].items()]
    if tables:
        lines += ["", subgroup_table(tables)]
    return "\n".join(lines)

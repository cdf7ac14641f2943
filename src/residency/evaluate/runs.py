"""What runs left on disk, read back: rows, predictions with their methods, rankings, settings."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from residency.errors import DataError
from residency.evaluate.charts import is_control, titled
from residency.evaluate.pairing import ANSWERS
from residency.evaluate.ranking import Ranking, ranking
from residency.evaluate.results import Row, read_results
from residency.evaluate.retention import SUITE
from residency.evaluate.score import separate
from residency.evaluate.sources import is_ours
from residency.evaluate.steps import SECTION
from residency.evaluate.store import FILE, decode, read_predictions
from residency.provenance import file_hash
from residency.types import Prediction

SUMMARY = "summary.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What one method said under one view about one data set and task, and its row of results.

    `identity` is what the predictions file says of how they were made, empty where it says nothing.
    """

    step: str
    row: Row
    predictions: tuple[Prediction, ...]
    identity: Mapping[str, Any]
    file: str
    sha256: str

    @property
    def labels(self) -> tuple[str, ...]:
        """The closed set of answers, empty where there is none."""
        named = tuple(line.label for line in self.row.classes)
        return named or tuple(self.identity.get("labels", ()))

    @property
    def title(self) -> str:
        """Method and view."""
        return titled(self.row)

    @property
    def control(self) -> bool:
        """Whether it shows what scores without the image."""
        return is_control(self.row)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A finished run, evaluation or scoring. `name` is '' where it is the only one shown.

    `steps` maps each step to the facts of its `done.json`; `extra` is what was written
    beside the rows; `sections` are headings and HTML of its steps; `notes` says what could not be used.
    """

    name: str
    folder: Path
    rows: tuple[Row, ...]
    answered: tuple[Answered, ...]
    rankings: tuple[Ranking, ...]
    settings: Mapping[str, Any]
    command: str
    versions: Mapping[str, str]
    data: tuple[str, ...]
    model: Path | None
    steps: Mapping[str, Mapping[str, Any]]
    extra: Mapping[str, Any]
    sections: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def read_run(folder: Path, *, name: str = "") -> Run:
    """Read a recipe's run folder, an evaluation's, or that of `residency score`.

    Raises:
        DataError: the folder holds no results, or they are damaged.
    """
    named = folder.parent if folder.is_file() else folder
    results = next((named / n for n in ("results.json", SUMMARY) if (named / n).is_file()), None)
    if results is None:
        raise DataError(
            f"{folder} holds neither results.json nor {SUMMARY}. Name the folder of a finished run, "
            "of `residency evaluate` or of `residency score`."
        )
    rows, written = read_results(results), _json(results)
    about = _json(named / "run.json") if (named / "run.json").is_file() else {}
    answered, notes = _answered(named, rows)
    settings = about.get("settings", {})
    model = about.get("model")
    kept = ("source", "problems", "left_out", "subgroups")
    extra: dict[str, Any] = {key: written[key] for key in kept if key in written}
    summaries = map(_json, sorted(named.glob(f"*/{SUMMARY}")))
    extra["overlap"] = [one for said in summaries for one in said.get("overlap", ())]
    return Run(
        name=name,
        folder=named,
        rows=tuple(rows),
        answered=answered,
        rankings=tuple(_rankings(named)),
        settings=settings,
        command=about.get("command") or written.get("command", ""),
        versions=written.get("versions", {}),
        data=tuple(about.get("data") or _specs(settings)),
        model=named / model if model else None,
        steps={step: facts for step in about.get("steps", {}) if (facts := _facts(named / step))},
        extra=extra,
        sections=tuple(_sections(named)),
        notes=tuple(notes),
    )


def _sections(folder: Path) -> Iterator[tuple[str, str]]:
    """Headings and HTML that steps of ours left for the page, with the name of the step."""
    for path in sorted(folder.glob(f"*/{SECTION}")):
        heading, _, html = path.read_text(encoding="utf-8").partition("</h2>")
        yield f"{heading.removeprefix('<h2>')} ({path.parent.name})", html


def _specs(settings: Mapping[str, Any]) -> Iterator[str]:
    """The data sets that a run's settings name."""
    for key in ("data", "external"):
        given = settings.get(key, ())
        yield from [given] if isinstance(given, str) else given


def _facts(step: Path) -> dict[str, Any]:
    """What a step noted when it was done."""
    path = step / "done.json"
    return dict(_json(path).get("facts", {})) if path.is_file() else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return dict(content)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error}). Run or score again.") from error


def _answered(folder: Path, rows: Sequence[Row]) -> tuple[tuple[Answered, ...], list[str]]:
    """Every set of predictions that a row of results is about, in the order of the rows."""
    found: list[Answered] = []
    notes = []
    for path in [*sorted(folder.rglob(FILE)), *sorted(folder.rglob(ANSWERS))]:
        inside = [p for p in path.parents if p.is_relative_to(folder)]
        step = next((p for p in inside if (p / SUMMARY).is_file()), None)
        if step is None:
            notes.append(f"{path.relative_to(folder)} has no {SUMMARY} beside it and is not shown")
            continue
        predictions, identity = _said(path)
        own = read_results(step / SUMMARY)
        matched = _matched(own, predictions, path.parent.name)
        if predictions and not matched:
            notes.append(f"{path.relative_to(folder)} matches no row of results and is not shown")
        for row, said in matched:
            found.append(
                Answered(
                    step="" if step == folder else step.name,
                    row=row,
                    predictions=tuple(said),
                    identity=identity,
                    file=str(path.relative_to(folder)),
                    sha256=file_hash(path),
                )
            )
    order = {_key(row): place for place, row in reversed([*enumerate(rows)])}
    found.sort(key=lambda one: order.get(_key(one.row), len(order)))
    return tuple(found), notes


def _key(row: Row) -> tuple[object, ...]:
    return row.method, row.variant, row.view, row.dataset, row.task


def _said(path: Path) -> tuple[Sequence[Prediction], Mapping[str, Any]]:
    if path.name == FILE and is_ours(path):
        stored = read_predictions(path)
        return stored.predictions, stored.identity or {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [decode(json.loads(line)) for line in lines], {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}). Evaluate again.") from error


def _matched(
    rows: Sequence[Row], predictions: Sequence[Prediction], place: str
) -> list[tuple[Row, Sequence[Prediction]]]:
    """The predictions of one file with the rows that they made; `place` names its folder."""
    suite = [row for row in rows if row.task == SUITE and row.view == place]
    if suite:
        return [(suite[0], predictions)]
    found: list[tuple[Row, Sequence[Prediction]]] = []
    for group in separate(predictions):
        one = group[0]
        view = one.view if one.view not in ("", "null") else None
        same = (r for r in rows if (r.dataset, r.task, r.view) == (one.dataset, one.task, view))
        row = next(same, None)  # the first: controls without a view follow the method
        if row:
            found.append((row, group))
    return found


def _rankings(folder: Path) -> Iterator[Ranking]:
    for path in sorted(folder.glob("*/pairs.json")):
        for label, values in _json(path).get("values", {}).items():
            yield ranking(label, np.array(values["positive"]), np.array(values["negative"]))

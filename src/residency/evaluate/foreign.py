"""Predictions that anyone made, as ours: columns by name, answers read, every fault counted.

A row has `prediction` (what the model said: text; or labels, boxes, points) and `reference` (the same
kinds), and may have `id`, `task`, `dataset`, `view`, `answer_type`, `options`, `group`, `language`,
`scores` (log-likelihood per option), `spacing_mm` and `size`. Lists of texts are sets of labels; lists of
2, 4 or 6 numbers (or lists of such) are points, boxes and 3D boxes in pixels or voxels of the original.

How a text is read: where the row has options (else `labels`), as the one option that it states, by letter
too unless an option is itself a letter; where the reference is a set of labels, as such a set; else as it
stands. A reference that is the letter of an option is that option. Metrics that read the text themselves
(`closed_accuracy`, those behind an `@`) do so as they say.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from residency.errors import DataError
from residency.evaluate.cells import answer_of, option, options, read, words, written_text
from residency.evaluate.lines import FIELDS, Findings, columns_of, objects, require
from residency.evaluate.store import unit_hash
from residency.provenance import file_hash
from residency.types import Answer, Prediction, Sample

FACTS = ("answer_type", "spacing_mm", "size")  # what metrics read as the row has it
_LANGUAGES = {"english": "en", "eng": "en", "chinese": "zh", "中文": "zh", "英文": "en"}
_CHINESE = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Foreign:
    """The predictions of a file, how many rows it had, and what was wrong with them."""

    predictions: tuple[Prediction, ...]
    rows: int
    grouped: bool  # whether some row names a group
    digest: str
    findings: Findings = field(default_factory=Findings)

    @property
    def left_out(self) -> int:
        """Rows without a prediction here."""
        return self.rows - len(self.predictions)


def read_foreign(
    path: Path,
    *,
    dataset: str,
    default_task: str = "vqa",
    labels: Sequence[str] = (),
    renamed: Mapping[str, str] | None = None,
    keep: Sequence[str] = (),
) -> Foreign:
    """Read a file; `renamed` says which column of the file holds a field, "none" that no column does.

    `dataset` and `default_task` are those of rows that name none, `labels` the options of rows that
    have none, `keep` further columns to keep as facts (for subgroups).

    Raises:
        DataError: the file cannot be read, has no such column, or no row with a reference.
        UsageError: `renamed` names an unknown field.
    """
    column = columns_of(renamed or {})
    findings = Findings()
    rows = [
        (where, {name: row.get(column[name]) for name in FIELDS if column[name] in row}, row)
        for where, row in objects(path, findings)
    ]
    unusable = sum(map(len, findings.places.values()))
    unusable -= len(findings.places.get("not_a_number", ()))
    require(path, [row for _, _, row in rows], column, keep, findings)
    kept: list[Prediction] = []
    seen: dict[tuple[str, ...], Prediction] = {}
    vocabulary = tuple(labels) or _vocabulary([row for _, row, _ in rows])
    reader = _Reader(findings, dataset, default_task, tuple(labels), vocabulary)
    for where, row, whole in rows:
        found = reader.prediction(where, row)
        if found is None:
            continue
        found = replace(found, facts={**found.facts, **{k: whole[k] for k in keep if k in whole}})
        first = seen.setdefault((found.dataset, found.task, found.view, found.sample), found)
        if first is found:
            kept.append(found)
        else:
            findings.add("repeated_row" if first == found else "repeated_id", where)
    if not kept:
        raise DataError(f"{path} has no row that can be scored.\n{findings}")
    grouped = any(row.get("group") not in (None, "") for _, row, _ in rows)
    if not grouped:
        findings.places.pop("no_group", None)
    return Foreign(
        predictions=tuple(_apart(kept, findings)),
        rows=len(rows) + unusable,
        grouped=grouped,
        digest=file_hash(path)[:16],
        findings=findings,
    )


def _vocabulary(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Every label of references that are sets of labels."""
    sets = [row.get("reference") for row in rows if isinstance(row.get("reference"), list)]
    return tuple(sorted({one for several in sets for one in several or () if isinstance(one, str)}))


def _apart(predictions: Sequence[Prediction], findings: Findings) -> list[Prediction]:
    """Languages of a data set as data sets of their own: two test sets are not one."""
    spoken: dict[str, Counter[str]] = {}
    for p in predictions:
        language = str(p.facts.get("language", ""))
        spoken.setdefault(p.dataset, Counter())[language] += 1
    apart = []
    for p in predictions:
        counts, language = spoken[p.dataset], str(p.facts.get("language", ""))
        if len(counts) > 1:
            if language != counts.most_common(1)[0][0]:
                findings.add("mixed_languages", f"{p.sample} {language or 'none given'}")
            p = replace(p, dataset=f"{p.dataset} ({language or 'no language'})")
        apart.append(p)
    if not any(set(counts) - {""} for counts in spoken.values()):
        chinese = [p for p in predictions if _CHINESE.search(written_text(p.reference))]
        if len(chinese) < len(predictions):
            for p in chinese:
                findings.add("mixed_scripts", p.sample)
    return apart


@dataclass(frozen=True, slots=True)
class _Reader:
    findings: Findings
    dataset: str
    task: str
    labels: tuple[str, ...]
    vocabulary: tuple[str, ...]

    def prediction(self, where: str, row: Mapping[str, Any]) -> Prediction | None:
        """One row as a prediction; None where it cannot be scored."""
        try:
            reference = answer_of(row.get("reference"))
        except ValueError:
            self.findings.add("bad_reference", where)
            return None
        if reference is None or reference == "":
            self.findings.add("no_reference", where)
            return None
        given = self._options(where, row.get("options"))
        if given and isinstance(reference, str):
            reference = self._option(where, reference, given)
        sample = Sample(
            id=self._name(where, row.get("id")),
            dataset=words(row.get("dataset")) or self.dataset,
            task=words(row.get("task")) or self.task,
            answer=reference,
            options=given,
            group=self._group(where, row.get("group")),
        )
        facts = {name: row[name] for name in FACTS if row.get(name) is not None}
        if row.get("language") not in (None, ""):
            spoken = words(row["language"]).lower().replace("_", "-").split("-")[0]
            facts["language"] = _LANGUAGES.get(spoken, spoken)
        if given:
            facts["options"] = list(given)
        text, answer = self._said(where, row.get("prediction"), sample)
        return Prediction(
            sample=sample.id,
            dataset=sample.dataset,
            task=sample.task,
            view=words(row.get("view")),
            text=text,
            answer=answer,
            reference=reference,
            unit=unit_hash(sample),
            scores=self._scores(where, row.get("scores"), given),
            facts=facts,
        )

    def _said(self, where: str, value: Any, sample: Sample) -> tuple[str, Answer | None]:
        """The text of a prediction, and the answer read from it."""
        try:
            said = answer_of(value)
        except ValueError:
            self.findings.add("bad_prediction", where)
            return json.dumps(value, ensure_ascii=False), None
        if said is None:
            self.findings.add("no_prediction", where)
            return "", None
        if not isinstance(said, str):
            return written_text(said) or json.dumps(value, ensure_ascii=False), said
        if not said.strip():
            self.findings.add("empty_prediction", where)
            return said, None
        if isinstance(sample.answer, tuple) and not written_text(sample.answer) and sample.answer:
            self.findings.add("text_for_shapes", where)
            return said, None
        return said, read(said, sample, self.vocabulary)

    def _options(self, where: str, value: Any) -> tuple[str, ...]:
        if value is None or value in ("", [], {}):
            return self.labels
        try:
            return options(value)
        except (ValueError, RecursionError):
            self.findings.add("bad_options", where)
            return self.labels

    def _option(self, where: str, reference: str, given: Sequence[str]) -> str:
        found = option(reference, given)
        if found is None:
            self.findings.add("reference_outside", where)
        return reference if found is None else found

    def _name(self, where: str, value: Any) -> str:
        if not words(value):
            self.findings.add("no_id", where)
        return words(value) or where

    def _group(self, where: str, value: Any) -> str:
        if not words(value):
            self.findings.add("no_group", where)
        return words(value)

    def _scores(self, where: str, value: Any, given: Sequence[str]) -> dict[str, float]:
        """A number for every option, which may be named by its letter."""
        if value is None:
            return {}
        numbers = isinstance(value, dict) and all(
            isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one)
            for one in value.values()
        )
        found = (
            {option(name, given) or name: float(value[name]) for name in value} if numbers else {}
        )
        if not found or (given and found.keys() != set(given)):
            self.findings.add("bad_scores", where)
            return {}
        return found

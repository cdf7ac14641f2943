"""Benchmarks of instruction-free tuning: reports to learn, unseen multiple-choice questions to answer.

InstFree (Kang et al., sec. 4.2). A folder that `residency data benchmark` wrote, or `benchmark:SPEC`
for any data set with attributes, built as it is opened under the protocol `ours`. On disk:
`benchmark.json` and `{train,val,test}.jsonl`. The licence is that of the data set.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

from residency.data import benchmark_files
from residency.data.attribute_table import Columns, attribute_cases, is_table
from residency.data.benchmark import Case, Plan, Protocol, build
from residency.data.benchmark_forms import as_read_by_the_authors, cases_of, plan_of
from residency.data.benchmark_questions import choices as choices_of
from residency.data.published import Defects, digest, holds
from residency.data.splits import SPLITS
from residency.dataset import Dataset, find_reader, open_dataset
from residency.errors import UsageError
from residency.types import Language, Sample

VERSION = 2  # raise it with every change of what is asked or told


def recognises(path: Path) -> bool:
    """A folder with the card of a benchmark."""
    return holds(path, benchmark_files.CARD)


def load(where: str) -> Dataset:
    """Open a folder that was written, or build the benchmark of a data set.

    Raises:
        DataError: nothing there, or nothing to tell or to ask.
        UsageError: no data set named.
    """
    if not where:
        raise UsageError("Name a folder or a data set: benchmark:PATH or benchmark:phantoms:smear.")
    if recognises(Path(where)):
        return benchmark_files.read(Path(where))
    return made(where)[0]


def made(
    spec: str,
    *,
    protocol: Protocol = "ours",
    seed: int = 0,
    choices: int = 5,
    every: bool = False,
    bare: tuple[str, ...] = (),
    reports: str | None = None,
    columns: Columns | None = None,
    language: Language = "en",
) -> tuple[Dataset, Plan]:
    """The benchmark of a data set or a table, and the plan that it follows (`residency.data.benchmark`).

    `columns` and `language` are those of a table (`residency.data.attribute_table`).

    Raises:
        DataError: nothing to tell or to ask.
        UsageError: no published protocol for this set, or questions without `reports` to learn.
    """
    if is_table(spec) and find_reader_or_none(spec) in (None, "table"):
        source, cases = _table(Path(spec), columns or {}, language)
        reader = "table"
    else:
        source, reader = open_dataset(spec), find_reader(spec)[0]
        cases = {}
    name = f"benchmark:{source.name}"
    modality = source.modality.get("en", "")
    if reader == "medical_cxr_vqa":
        return _of_questions(name, source, reports, protocol, seed, choices)
    cases = cases or cases_of(source)
    if protocol == "published":
        cases = as_read_by_the_authors(reader, cases)
    plan, odd = plan_of(
        reader, cases, protocol=protocol, modality=modality, choices=choices, every=every,
        seed=seed, bare=bare,
    )  # fmt: skip
    splits, left = build(name, cases, plan)
    notes = [f"{protocol}: {len(plan.attributes)} attributes; built from {source.name}."]
    if odd:
        notes.append(
            f"No attributes (fewer than 2 or more than 20 values, or measures): {', '.join(odd)}."
        )
    return _dataset(name, source, splits, dict(left), notes, plan), plan


def find_reader_or_none(spec: str) -> str | None:
    """The reader of a specification, None where none recognises it."""
    try:
        return find_reader(spec)[0]
    except UsageError:
        return None


def _table(
    path: Path, columns: Columns, language: Language
) -> tuple[Dataset, dict[str, list[Case]]]:
    """What is known of a user's table, without samples, and its cases."""
    defects = Defects()
    cases = attribute_cases(path, columns, language, defects)
    source = Dataset(
        name=path.stem, splits={}, digest=digest([path]), notes=tuple(defects.notes),
        defects=dict(defects.counts),
    )  # fmt: skip
    return source, cases


def _of_questions(
    name: str, source: Dataset, reports: str | None, protocol: Protocol, seed: int, choices: int
) -> tuple[Dataset, Plan]:
    if reports is None:
        raise UsageError(
            f"{source.name} has questions alone. Name the reports to learn: reports=llava_rad:PATH."
        )
    plan = Plan(attributes=(), protocol=protocol, seed=seed, choices=choices)
    if protocol == "published":
        plan = replace(plan, task="choice")
    splits, left = choices_of(source, plan, name)
    told = open_dataset(reports)
    splits = {"train": list(told.split("train")), **splits}
    notes = [f"{protocol}: questions of {source.name}, reports of {told.name}."]
    return _dataset(name, source, splits, dict(left), notes, plan), plan


def _dataset(
    name: str,
    source: Dataset,
    splits: dict[str, list[Sample]],
    left: dict[str, int],
    notes: list[str],
    plan: Plan,
) -> Dataset:
    content = f"{VERSION} {source.digest} {plan!r}"
    return Dataset(
        name=name,
        splits={split: splits[split] for split in SPLITS if split in splits},
        modality=source.modality,
        digest=hashlib.sha256(content.encode()).hexdigest()[:16],
        source=source.source,
        licence=source.licence,
        notes=(*source.notes, *notes),
        defects={**source.defects, **left},
        synthetic=source.synthetic,
    )

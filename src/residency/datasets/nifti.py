"""NIfTI volumes with masks, labels or reports: 3D boxes are derived from the masks.

On disk: one volume; a folder of volumes, with folders of masks on the same voxels; a folder per case
with `segmentations/ORGAN.nii.gz` (TotalSegmentator); `imagesTr`, `labelsTr` and `dataset.json` with the
names of labels (nnU-Net); or a CSV beside the volumes with `image` and `label` or `report`, and
optional `split` and `patient`. A case becomes 32 frames beside its voxels, or as the options say:
`nifti:PATH:window=lung:frames=16`; boxes count voxels of the volume in RAS+ order, upper corner exclusive.
With `boxes=each` every structure is asked about by itself; of a single case its structures are then split.
Source and licence are the owner's.
"""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

from residency.data.card import Card, distinct_labels, read_card
from residency.data.cases import (
    Case,
    by_structure,
    find_cases,
    measured,
    read_names,
    sample_of,
)
from residency.data.columns import SUFFIXES as TABLES
from residency.data.columns import read_columns
from residency.data.documents import RowError, read_json
from residency.data.formats import Partial, gathered
from residency.data.identity import stand_in
from residency.data.images import ImageError, inside
from residency.data.nifti import is_nifti
from residency.data.splits import SPLITS, SYNONYMS, assign, unknown_split
from residency.data.volumes import Look
from residency.dataset import Dataset
from residency.errors import DataError, UsageError
from residency.provenance import file_hash
from residency.types import Sample

MARKS = ("imagesTr", "*.nii", "*.nii.gz", "*/*.nii", "*/*.nii.gz")


def recognises(path: Path) -> bool:
    """Whether it is a NIfTI file, or a folder that holds some; never raises."""
    try:
        if path.is_file():
            return is_nifti(path)
        return path.is_dir() and any(next(path.glob(mark), None) for mark in MARKS)
    except OSError:
        return False


def load(where: str, *, window: str = "", frames: str = "32", boxes: str = "all") -> Dataset:
    """Open a volume or a folder of volumes; a case that cannot be used is a bad row.

    `window` is a CT window by name, `rgb` (three as colours) or LEVEL/WIDTH; `frames` a number of
    slices, or `all`; `boxes` are `all` in one answer, or `each` in a sample of its own.

    Raises:
        DataError: no such path, no volume, or a table that names none.
        UsageError: an option that means nothing.
    """
    look = Look.of(window, frames)
    if boxes not in ("all", "each"):
        raise UsageError(
            f"boxes={boxes}: expected all (in one answer) or each (in its own sample)."
        )
    path = Path(where)
    if not where or not recognises(path):
        raise DataError(f"No NIfTI volume in {where!r}. Write nifti:PATH of a file or folder.")
    root = path if path.is_dir() else path.parent
    cases, notes = find_cases(root)
    if path.is_file():
        cases = [case for case in cases if case.volume == path] or [Case(volume=path)]
    names = _names(root)
    bad: list[RowError] = []
    tables = [file for file in sorted(root.iterdir()) if file.suffix in TABLES]
    if path.is_dir() and tables:
        cases = _told(root, tables[0], bad)
        notes.append(f"Cases are those of {tables[0].name}.")
    untold = [case for case in cases if not (case.facts or case.masks or case.labels)]
    if untold:
        notes.append(f"Volumes without masks, label or report (left out): {len(untold)}.")
        cases = [case for case in cases if case not in untold]
    if any(case.labels for case in cases) and not names:
        raise DataError(f"{root}: numbered labels need names in dataset.json, as `labels`.")
    if not cases and bad:
        raise DataError(f"{path}: no row can be used. {bad[0]}")
    if not cases:
        raise DataError(
            f"{path}: no volume has masks, a label or a report. Put masks on the same voxels into a "
            "folder `segmentations` beside it, or name it in a table with label or report."
        )
    notes.append("A volume of the head shows a face when it is rendered: remove it before sharing.")
    return _assembled(
        path.resolve().name, root, cases, names, notes, bad, look, each=boxes == "each"
    )


def _assembled(
    name: str,
    root: Path,
    cases: list[Case],
    names: dict[int, str],
    notes: list[str],
    bad: list[RowError],
    look: Look,
    each: bool,
) -> Dataset:
    card = _card(root)
    labels = card.labels or tuple(sorted({c.facts["label"] for c in cases if c.facts.get("label")}))
    sides = [case.split for case in cases]
    if not all(sides):
        groups = [case.facts.get("group") or case.key for case in cases]
        sides = [SPLITS[place] for place in assign(groups)]
        notes.append("No split stated: cases were split 70/10/20, seed 0.")
    splits: dict[str, list[Case]] = {split: [] for split in SPLITS}
    faults: dict[str, list[RowError]] = {split: [] for split in SPLITS} | {SPLITS[0]: bad}
    state, empty = hashlib.sha256(), 0
    for side, case in zip(sides, cases, strict=True):
        try:
            row = measured(case, names)
            splits[side].append(row)
            empty += len(row.masks) - len(row.boxes) if row.masks and not row.labels else 0
            contents = row.contents
        except RowError as error:
            faults[side].append(error)
            contents = tuple(file_hash(file) for file in case.files if file.is_file())
        state.update(b"".join(map(bytes.fromhex, contents)))
    if each:
        splits = _by_structure(splits, notes)
    splits = {split: rows for split, rows in splits.items() if rows}
    faults = gathered(faults, splits, root)
    return Dataset(
        name=name,
        splits={
            split: Partial(
                len(rows), functools.partial(_sample, name, card, labels, look, rows), faults[split]
            )
            for split, rows in splits.items()
        },
        labels=distinct_labels(labels, str(root)),
        modality=card.modality,
        digest=state.hexdigest() + look.mark + "each" * each,
        source=card.source,
        licence=card.licence,
        notes=(*card.notes, *notes),
        defects={"Masks without a single voxel (no box)": empty} if empty else {},
    )


def _by_structure(splits: Mapping[str, list[Case]], notes: list[str]) -> dict[str, list[Case]]:
    """A row for each structure; one case alone cannot be split, so its structures are."""
    if sum(map(len, splits.values())) > 1:
        return {
            split: [o for row in rows for o in by_structure(row)] for split, rows in splits.items()
        }
    every = [one for rows in splits.values() for row in rows for one in by_structure(row)]
    found: dict[str, list[Case]] = {split: [] for split in SPLITS}
    for one, place in zip(every, assign([one.structure for one in every]), strict=True):
        found[SPLITS[place]].append(one)
    notes.append(
        "One case: its structures were split 70/10/20, seed 0, so every split shows the same volume."
    )
    return found


def _sample(
    name: str, card: Card, labels: tuple[str, ...], look: Look, rows: list[Case], place: int
) -> Sample:
    return sample_of(rows[place], name, card.modality.get("en", ""), labels, look)


def _card(root: Path) -> Card:
    """The card, unless dataset.json is that of nnU-Net."""
    return Card() if _is_nnunet(root) else read_card(root)


def _is_nnunet(root: Path) -> bool:
    return (root / "imagesTr").is_dir() and (root / "dataset.json").is_file()


def _names(root: Path) -> dict[int, str]:
    if not _is_nnunet(root):
        return {}
    value = read_json(root / "dataset.json")
    return read_names(
        root / "dataset.json", value.get("labels") if isinstance(value, Mapping) else 0
    )


def _told(root: Path, table: Path, bad: list[RowError]) -> list[Case]:
    """The cases of a table: an image, and a label or report; rows that cannot be used are added to `bad`."""
    columns = {key.lower(): values.to_pylist() for key, values in read_columns(table).items()}
    what = next((key for key in ("label", "report") if key in columns), "")
    if "image" not in columns or not what:
        raise DataError(
            f"{table} needs the columns image and label or report; found: {', '.join(columns)}."
        )
    sided = any(columns.get("split", ()))
    cases = []
    for number, cells in enumerate(zip(*columns.values(), strict=True), start=1):
        try:
            row = dict(zip(columns, cells, strict=True))
            cases.append(_case(root, row, what, sided, f"{table} data row {number}"))
        except RowError as error:
            bad.append(error)
    return cases


def _case(root: Path, row: Mapping[str, str], what: str, sided: bool, where: str) -> Case:
    split = row.get("split", "").lower()
    if sided and (wrong := unknown_split(split)):
        raise RowError("split", where, wrong)
    text = " ".join(row[what].split()) if what == "label" else row[what]
    if not text:
        raise RowError("empty_answer", where, f"an empty {what}.")
    try:
        volume = inside(root, row["image"])
    except ImageError as error:
        raise RowError(f"image_{error.code}", where, str(error)) from None
    person = next((row[key] for key in ("patient", "group") if key in row), "")
    return Case(
        volume=volume, split=SYNONYMS.get(split, ""), facts={what: text, "group": stand_in(person)}
    )

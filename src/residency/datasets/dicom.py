"""A folder of DICOM files with a table of labels or reports.

On disk: DICOM files anywhere below the folder, and one CSV, TSV, JSON-lines or Parquet table in it with
`image` (a path), or `patient`, `study`, `series` or `instance` (the identifiers inside the files); `label`,
`report`, or `question` and `answer`; optional `split`. At least three slices of one series become a volume
of 32 frames; other files are the images of the sample, at most 32 frames of each; options change that:
`dicom:PATH:window=lung:frames=all`. Identifiers are
compared and kept as stand-ins (`residency.data.identity`): the group of a sample is its hashed patient.
Without a table every file or series is a sample without an answer: `data check` can read it, training
refuses it. Source and licence are the owner's.
"""

import functools
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL.Image import Image, merge

from residency.data.card import Card, distinct_labels, read_card
from residency.data.columns import SUFFIXES as TABLES
from residency.data.columns import Columns, read_columns
from residency.data.dicom import DicomError, Header, find_files, is_dicom, read_header
from residency.data.documents import RowError
from residency.data.formats import Partial
from residency.data.identity import stand_in
from residency.data.images import dicom_image, file_picture, inside
from residency.data.series import Slice, by_series, open_series, stackable
from residency.data.splits import SPLITS, SYNONYMS, assign, unknown_split
from residency.data.volumes import Look, VolumeError, choose
from residency.data.volumes import frames as slices_of
from residency.data.windows import Windows
from residency.dataset import Dataset
from residency.datasets import folder
from residency.errors import DataError
from residency.types import Picture, Sample

KEYS = {
    "image": "image", "file": "image", "path": "image",
    "patient": "patient", "patientid": "patient", "patient_id": "patient",
    "study": "study", "studyinstanceuid": "study", "study_id": "study",
    "series": "series", "seriesinstanceuid": "series", "series_id": "series",
    "instance": "instance", "sopinstanceuid": "instance", "image_id": "instance",
}  # fmt: skip
TASKS = {"label": "classification", "report": "report", "answer": "vqa"}
MAX_IMAGES = 8  # of one row that no volume can be made of


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table with the files that it means."""

    number: int
    answer: str
    question: str
    files: tuple[Slice, ...]

    @property
    def group(self) -> str:
        """The hashed patient."""
        return self.files[0][1].ids["patient"]


def recognises(path: Path) -> bool:
    """Whether it is a DICOM file, or a folder of them with one table or none; never raises.

    Class folders without a table are left to `folder`.
    """
    try:
        if path.is_file():
            return is_dicom(path)
        tables = len(_tables(path)) if path.is_dir() else 2
        if tables > 1 or (not tables and folder.recognises(path)):
            return False
        return any(True for _ in find_files(path))
    except OSError:
        return False


def load(where: str, *, window: str = "", frames: str = "32") -> Dataset:
    """Open a folder of DICOM files with its table, or look at files without one.

    `window` is how CT is shown: a window by name, `rgb` (three as colours) or LEVEL/WIDTH, else that
    of each file (abdomen for a volume); `frames` is a number of slices or frames, or `all`.

    Raises:
        DataError: no such path, several tables, columns missing, or no row with its files.
        UsageError: an option that means nothing.
    """
    look = Look.of(window, frames)
    path = Path(where)
    if not where or not path.exists():
        raise DataError(f"No such file or folder: {where!r}. Write dicom:FOLDER.")
    root = path if path.is_dir() else path.parent
    tables = _tables(root) if path.is_dir() else []
    if len(tables) > 1:
        raise DataError(
            f"{root} has {len(tables)} tables: {', '.join(table.name for table in tables)}. Keep "
            "the one that names the files."
        )
    card = read_card(root)
    files, unread = _headers([path] if path.is_file() else find_files(root))
    notes = [*card.notes, *_warnings(files)]
    state = hashlib.sha256()
    if tables:
        table = tables[0]
        state.update(table.read_bytes())
        columns = {name.lower(): values for name, values in read_columns(table).items()}
        key, what = _roles(table, columns)
        rows, faults = _rows(root, table, columns, key, what, files)
        task, faults = TASKS[what], [*unread, *faults]
    else:
        columns, what, task, faults = {}, "", "report", unread
        rows = [Row(n, "", "", tuple(some)) for n, some in enumerate(_looked_at(files))]
        notes.append("No table beside the files: nothing to learn, and no answers to compare with.")
    if not rows:
        raise DataError(f"{root}: no row can be used. {next(iter(faults), 'There are none.')}")
    splits = _splits(columns, rows, notes)
    labels = card.labels
    if what == "label":
        labels = labels or tuple(sorted({row.answer for row in rows}))
    name, first = path.resolve().name, next(iter(splits))
    build = functools.partial(_sample, name, root, card, task, labels, look)
    for file, _ in files:
        state.update(f"{file.relative_to(root)}\0{file.stat().st_size}\n".encode())
    return Dataset(
        name=name,
        splits={
            split: Partial(
                len(some), functools.partial(build, some), faults if split == first else ()
            )
            for split, some in splits.items()
        },
        labels=distinct_labels(labels, str(root)) if what == "label" else (),
        modality=card.modality,
        digest=state.hexdigest() + look.mark,
        source=card.source,
        licence=card.licence,
        notes=tuple(notes),
    )


def _tables(root: Path) -> list[Path]:
    return [path for path in sorted(root.iterdir()) if path.suffix in TABLES and path.is_file()]


def _looked_at(files: Sequence[Slice]) -> list[Sequence[Slice]]:
    """Each series that is a volume, and every other file alone."""
    found: list[Sequence[Slice]] = []
    for slices in by_series(files):
        found += [slices] if _is_volume(slices) else [[one] for one in slices]
    return found


def _is_volume(slices: Sequence[Slice]) -> bool:
    try:
        return stackable(slices) and bool(open_series(slices))
    except VolumeError:
        return False


def _roles(table: Path, columns: Columns) -> tuple[str, str]:
    """Which column names the files, and which holds the answer."""
    key = next((name for name in columns if name in KEYS), "")
    what = next((name for name in TASKS if name in columns), "")
    if not key or not what or (what == "answer" and "question" not in columns):
        raise DataError(
            f"{table} has columns {', '.join(columns)}. It needs image, patient, study, series or "
            "instance, and label, report, or question and answer."
        )
    return key, what


def _headers(paths: Iterable[Path]) -> tuple[list[Slice], list[RowError]]:
    """Files with their headers, and why others cannot be read."""
    found: list[Slice] = []
    unread: list[RowError] = []
    for path in paths:
        try:
            found.append((path, read_header(path)))
        except DicomError as error:
            unread.append(RowError(error.code, path.name, str(error)))
    return found, unread


def _warnings(files: Sequence[Slice]) -> list[str]:
    """Why pixels may identify somebody, with the number of files."""
    counts = Counter(warning for _, header in files for warning in header.warnings)
    return [f"Look at the pixels: {count} files, each {what}." for what, count in counts.items()]


def _rows(
    root: Path, table: Path, columns: Columns, key: str, what: str, files: Sequence[Slice]
) -> tuple[list[Row], list[RowError]]:
    """Rows with their files, and those that cannot be used; identifiers appear in neither."""
    kind = KEYS[key]
    known: defaultdict[str, list[Slice]] = defaultdict(list)
    for path, header in files:
        name = str(path.relative_to(root)) if kind == "image" else header.ids[kind]
        known[name].append((path, header))
    rows, faults = [], []
    cells: Mapping[str, list[str]] = {name: columns[name].to_pylist() for name in columns}
    for place, value in enumerate(cells[key]):
        where = f"{table} data row {place + 1}"
        answer = " ".join(cells[what][place].split()) if what != "report" else cells[what][place]
        matches = known.get(value if kind == "image" else stand_in(value), [])
        try:
            if "split" in cells and (wrong := unknown_split(cells["split"][place])):
                raise RowError("split", where, wrong)
            rows.append(
                Row(
                    place,
                    _answered(answer, what, where),
                    cells["question"][place] if what == "answer" else "",
                    _usable(matches, kind, where),
                )
            )
        except RowError as error:
            faults.append(error)
    return rows, faults


def _answered(answer: str, what: str, where: str) -> str:
    if not answer:
        raise RowError("empty_answer", where, f"an empty {what}.")
    return answer


def _usable(matches: Sequence[Slice], kind: str, where: str) -> tuple[Slice, ...]:
    """The files of a row, once it is sure that they can be shown."""
    if not matches:
        raise RowError("missing", where, f"no DICOM file of this {kind} can be read.")
    if len({header.ids["patient"] for _, header in matches}) > 1:
        raise RowError("group", where, f"files of several patients for one {kind}.")
    several = [slices for slices in by_series(matches) if stackable(slices)]
    if several:
        if len(several) > 1:
            raise RowError("series", where, "several volumes; name the series in the table.")
        try:
            open_series(several[0])
        except VolumeError as error:
            raise RowError(error.code, where, str(error)) from None
        return tuple(several[0])
    if len(matches) > MAX_IMAGES:
        raise RowError("series", where, f"{len(matches)} images that are no volume.")
    return tuple(matches)


def _splits(columns: Columns, rows: Sequence[Row], notes: list[str]) -> dict[str, list[Row]]:
    """Rows by split, a patient on one side alone where the table states none."""
    if "split" in columns:
        words = [columns["split"][row.number].as_py() for row in rows]
        sides = [SYNONYMS[word.strip().lower()] for word in words]
    else:
        places = assign([row.group or str(row.files[0][0]) for row in rows])
        sides = [SPLITS[place] for place in places]
        notes.append("No column split: patients were split 70/10/20, seed 0.")
    found: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for side, row in zip(sides, rows, strict=True):
        found[side].append(row)
    return {split: some for split, some in found.items() if some}


def _sample(
    name: str,
    root: Path,
    card: Card,
    task: str,
    labels: tuple[str, ...],
    look: Look,
    rows: list[Row],
    place: int,
) -> Sample:
    row = rows[place]
    header: Header = row.files[0][1]
    pictures: tuple[Picture, ...]
    volume = None
    facts = {"modality": header.modality, "body_part": header.body_part, "view": header.view}
    if stackable(row.files):
        volume, grid = open_series(row.files)
        own = look if header.modality == "CT" else replace(look, window=None)
        pictures, slices = slices_of(volume, grid, own)
        facts |= slices.attributes
    else:
        pictures = tuple(
            picture for path, one in row.files for picture in _pictures(root, path, one, look)
        )
        if header.spacing_mm:
            facts["spacing_mm"] = " ".join(f"{side:g}" for side in header.spacing_mm)
    return Sample(
        id=f"{name}/{row.number + 1}",
        dataset=name,
        task=task,
        answer=row.answer,
        question=row.question,
        images=pictures,
        volume=volume,
        options=labels if task == "classification" else (),
        modality=card.modality.get("en", ""),
        group=row.group,
        attributes={key: value for key, value in facts.items() if value},
    )


def _pictures(root: Path, path: Path, header: Header, look: Look) -> tuple[Picture, ...]:
    """The picture of a file; of several frames, those that stand for them."""
    name = str(path.relative_to(root))
    window = look.window if header.modality == "CT" else None
    if header.frames == 1 and window is None:
        return (file_picture(root, name),)
    mark = f" {window}" if window else ""
    return tuple(
        Picture(
            key=f"{path}#frame={place}{mark}",
            load=functools.partial(_frame, root, name, place, window),
        )
        for place in choose(header.frames, how=look.how, count=look.count)
    )


def _frame(root: Path, name: str, place: int, window: Windows | None) -> Image:
    path = inside(root, name)
    if not isinstance(window, tuple):
        return dicom_image(path, frame=place, window=window)
    colours = (dicom_image(path, frame=place, window=one).getchannel(0) for one in window)
    return merge("RGB", tuple(colours))

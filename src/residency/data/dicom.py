"""Open DICOM files: only attributes on a list are parsed, and what identifies a person is hashed.

Names, dates, institutions and comments are never read, so they cannot reach a sample, a log, a
report or an error; pydicom's own warnings quote values and are silenced. Files without the
`DICM` marker, and anything that is cut off, are refused.
"""

import importlib
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from residency.data.identity import stand_in
from residency.errors import DataError, UsageError

SUFFIXES = frozenset((".dcm", ".dicom", ".dic", ".ima"))
# Attributes that decide how pixels are shown and where they lie.
PIXEL_TAGS = (
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames",
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "WindowCenter",
    "WindowWidth", "VOILUTFunction", "VOILUTSequence", "PresentationLUTShape",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData", "SegmentedBluePaletteColorLookupTableData",
)  # fmt: skip
# What a Sample may hold besides; the identifiers only as stand-ins.
FACT_TAGS = (
    "SOPClassUID", "Modality", "BodyPartExamined", "ViewPosition", "BurnedInAnnotation",
    "PixelSpacing", "ImagerPixelSpacing", "ImagePositionPatient", "ImageOrientationPatient",
    "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
)  # fmt: skip
DATA_TAGS = ("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths")
SILENT = logging.CRITICAL + 1
MEDICAL = "pip install 'residency[medical]'"
# Screens that were photographed, and ultrasound, often show a name inside the picture.
OFTEN_LABELLED = ("US", "SC", "OT")
HEADS = frozenset(("HEAD", "BRAIN", "SKULL", "FACE", "HEADNECK", "NECK", "SINUS", "ORBIT", "JAW"))


class DicomError(DataError):
    """A DICOM file that cannot be used; `code` says why in one word, for counting."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What may be known of a file. `patient`, `study`, `series` and `instance` are stand-ins.

    `size` is (width, height) in pixels; `spacing_mm` (between rows, between columns) is None where
    the file states none; `position` and `orientation` are those of the patient (LPS, mm), empty
    where the file has none. `burned_in` is YES, NO or "".
    """

    modality: str
    body_part: str
    view: str
    size: tuple[int, int]
    frames: int
    spacing_mm: tuple[float, float] | None
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    burned_in: str
    ids: dict[str, str]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why the pixels themselves may identify a person."""
        found = []
        if self.burned_in == "YES":
            found.append("declares burned-in annotation (BurnedInAnnotation = YES)")
        elif self.burned_in != "NO" and self.modality in OFTEN_LABELLED:
            found.append("may show burned-in text: ultrasound or a captured screen, undeclared")
        if self.modality in ("CT", "MR", "PT") and self.body_part in HEADS:
            found.append("shows a head, from whose volume a face can be rendered")
        return tuple(found)


def is_dicom(path: str | os.PathLike[str]) -> bool:
    """Whether a regular file has the DICM marker after its preamble; never raises."""
    try:
        with open(path, "rb") as stream:
            return marked(stream.read(132))
    except (OSError, ValueError):
        return False


def marked(head: bytes) -> bool:
    """Whether the first 132 bytes of a file are a preamble with the DICM marker."""
    return head[128:132] == b"DICM"


def read_header(path: str | os.PathLike[str]) -> Header:
    """The facts of one file, without its pixels.

    Raises:
        DicomError: not a DICOM file, damaged, or without an image.
        UsageError: pydicom is not installed.
    """
    with guarded(path):
        return _header(read_dataset(path, pixels=False), path)


def _header(dataset: Any, path: str | os.PathLike[str]) -> Header:
    rows, columns = (count(dataset, tag, path) for tag in ("Rows", "Columns"))
    if not rows or not columns:
        raise DicomError("dicom_pixels", f"{path} is a DICOM file without an image.")
    return Header(
        modality=_word(dataset, "Modality"),
        body_part=_word(dataset, "BodyPartExamined"),
        view=_word(dataset, "ViewPosition"),
        size=(columns, rows),
        frames=count(dataset, "NumberOfFrames", path) or 1,
        spacing_mm=_spacing(dataset),
        position=_vector(dataset, "ImagePositionPatient", 3),
        orientation=_vector(dataset, "ImageOrientationPatient", 6),
        burned_in=_word(dataset, "BurnedInAnnotation"),
        ids={
            kind: stand_in(str(dataset.get(tag) or ""))
            for kind, tag in (
                ("patient", "PatientID"),
                ("study", "StudyInstanceUID"),
                ("series", "SeriesInstanceUID"),
                ("instance", "SOPInstanceUID"),
            )
        },
    )


def read_dataset(path: str | os.PathLike[str], *, pixels: bool) -> Any:
    """The pydicom data set of a file, with the attributes on our lists alone.

    Raises:
        DicomError: not a DICOM file, or damaged.
        UsageError: pydicom is not installed.
    """
    pydicom = library()
    if not is_dicom(path):
        raise DicomError(
            "dicom", f"{path} has no DICM marker after 128 bytes, so it is no DICOM file."
        )
    tags = [*PIXEL_TAGS, *(DATA_TAGS if pixels else FACT_TAGS)]
    with guarded(path):
        return pydicom.dcmread(path, specific_tags=tags, stop_before_pixels=not pixels)


@contextmanager
def guarded(path: str | os.PathLike[str]) -> Iterator[None]:
    """Silence what pydicom finds wrong with a value, and turn its exceptions into ours.

    The texts of both may quote a value, so only the kind of an exception is told.

    Raises:
        DicomError: anything that is not an error of ours went wrong inside.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UsageError:
        raise
    except Exception as error:  # a damaged file makes the parser raise nearly anything
        raise DicomError(
            "dicom_corrupt",
            f"{path} is a damaged DICOM file ({type(error).__name__}). Export it again.",
        ) from None


def library() -> Any:
    """pydicom, silenced: what it would warn of quotes values.

    Raises:
        UsageError: it is not installed.
    """
    try:
        pydicom = importlib.import_module("pydicom")
    except ImportError:
        raise UsageError(f"Reading DICOM needs pydicom: {MEDICAL}.") from None
    log = logging.getLogger("pydicom")
    if log.level != SILENT:  # setting it forgets what every logger had worked out
        log.setLevel(SILENT)
    return pydicom


def count(dataset: Any, tag: str, path: str | os.PathLike[str]) -> int:
    """A whole number of the data set, 0 where the attribute is absent.

    Raises:
        DicomError: the value is no whole number, or negative.
    """
    try:
        value = int(dataset.get(tag) or 0)
        if value >= 0:
            return value
    except (TypeError, ValueError):
        pass
    raise DicomError("dicom_corrupt", f"{path}: {tag} is not a count. Export the file again.")


def find_files(root: Path) -> Iterator[Path]:
    """Every file below a folder that is DICOM by name or marker; hidden ones and links left out."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            named = path.suffix.lower() in SUFFIXES
            # Scanners export names without any suffix, or identifiers such as 1.2.840.1.
            bare = "." not in name or name.replace(".", "").isdigit()
            marked = named or (bare and name != "DICOMDIR" and is_dicom(path))
            if marked and name[0] != "." and not path.is_symlink() and path.is_file():
                yield path


def _word(dataset: Any, tag: str) -> str:
    """A code string; anything that is not one (a name in the wrong field) reads as ""."""
    value = str(dataset.get(tag) or "").strip().upper()
    return value if re.fullmatch(r"[A-Z0-9 _]{1,16}", value) else ""


def _vector(dataset: Any, tag: str, length: int) -> tuple[float, ...]:
    try:
        found = tuple(float(value) for value in dataset.get(tag) or ())
    except (TypeError, ValueError):
        return ()
    return found if len(found) == length else ()


def _spacing(dataset: Any) -> tuple[float, float] | None:
    """PixelSpacing at the patient, else ImagerPixelSpacing at the detector (radiographs)."""
    shared: Any = dataset.get("SharedFunctionalGroupsSequence") or ()
    measures = shared[0].get("PixelMeasuresSequence") if len(shared) else None
    for source, tag in (
        (dataset, "PixelSpacing"),
        (measures[0] if measures else {}, "PixelSpacing"),
        (dataset, "ImagerPixelSpacing"),
    ):
        found = _vector(source, tag, 2)
        if found and min(found) > 0:
            return found[0], found[1]
    return None

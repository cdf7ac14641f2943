"""Volumes of a folder as samples: which masks belong to which volume, and frames beside the voxels."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from residency.data.documents import RowError
from residency.data.extents import extents
from residency.data.nifti import is_nifti, open_volume, read_grid, stem
from residency.data.volumes import Look, VolumeError, frames
from residency.errors import DataError
from residency.types import Answer, Box3D, Sample

MASKS = ("segmentations", "masks", "labels", "seg")  # folders beside a volume
LABEL_WORDS = ("seg", "mask", "label", "labels", "segmentation")


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A volume and what belongs to it: a file per structure, or one file of numbered structures.

    `boxes` are the extents of the structures and `contents` hashes of all files, volume first, once
    `measured` has read them; with `structure` only that one is asked about.
    """

    volume: Path
    masks: tuple[Path, ...] = ()
    labels: Path | None = None
    split: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    boxes: tuple[Box3D, ...] = ()
    contents: tuple[str, ...] = ()
    structure: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        """The volume and its masks."""
        return (self.volume, *self.masks, *([self.labels] if self.labels else []))

    @property
    def key(self) -> str:
        """The name of the case: that of the file, or of its folder where all are named alike."""
        return self.volume.parent.name if self.masks and _plain(self.volume) else stem(self.volume)


def _plain(path: Path) -> bool:
    return stem(path).lower() in ("ct", "mr", "mri", "image", "volume")


def find_cases(root: Path) -> tuple[list[Case], list[str]]:
    """The cases of a folder, and what was left out, as sentences.

    Layouts: nnU-Net (`imagesTr`, `labelsTr`); a folder per case with one volume and its masks
    (TotalSegmentator); volumes side by side, with folders of masks that lie on their voxels.

    Raises:
        VolumeError: a file that is not a whole NIfTI volume.
    """
    if (root / "imagesTr").is_dir():
        return _nnunet(root), []
    volumes = _niftis(root)
    if volumes:
        return _beside(root, volumes)
    cases = []
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        inside = [path for path in _niftis(folder) if not _is_label(path)]
        for path in inside:
            masks = next((_niftis(folder / name) for name in MASKS if (folder / name).is_dir()), [])
            cases.append(Case(volume=path, masks=tuple(masks)))
    return cases, []


def _nnunet(root: Path) -> list[Case]:
    cases = []
    for folder, split in (("imagesTr", "train"), ("imagesTs", "test")):
        for path in _niftis(root / folder):
            name = stem(path).removesuffix("_0000")
            labels = root / folder.replace("images", "labels") / f"{name}.nii.gz"
            cases.append(
                Case(volume=path, labels=labels if labels.is_file() else None, split=split)
            )
    return cases


def _beside(root: Path, volumes: list[Path]) -> tuple[list[Case], list[str]]:
    """Volumes in one folder: masks belong to the volume whose voxels they lie on."""
    grids = {path: read_grid(path) for path in volumes}
    images = [path for path in volumes if not _is_label(path)]
    folders = [found for entry in sorted(root.iterdir()) if (found := _niftis(entry))]
    cases, notes = [], []
    for path in images:
        masks = [found for found in folders if read_grid(found[0]).same(grids[path])]
        labels = [other for other in volumes if _is_label(other) and grids[other].same(grids[path])]
        if len(masks) > 1:
            notes.append(f"{path.name} has masks in {len(masks)} folders; the first is read.")
        if masks and labels:
            notes.append(f"{labels[0].name} is not read beside the masks of {path.name}.")
        cases.append(
            Case(
                volume=path,
                masks=tuple(masks[0]) if masks else (),
                labels=labels[0] if labels and not masks else None,
            )
        )
    return cases, notes


def _niftis(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and is_nifti(path))


def _is_label(path: Path) -> bool:
    return any(word in LABEL_WORDS for word in stem(path).lower().replace("-", "_").split("_"))


def measured(case: Case, names: Mapping[int, str]) -> Case:
    """The case with the extents of its structures, in voxels of the RAS+ volume; reads its masks once.

    Raises:
        RowError: a header or mask that cannot be used, or a mask that does not lie on the volume.
    """
    try:
        found = extents(case.volume, case.masks, case.labels, names)
    except VolumeError as error:
        raise RowError(error.code, str(case.volume), str(error)) from None
    return replace(case, boxes=found.boxes, contents=found.contents)


def by_structure(case: Case) -> list[Case]:
    """The case once for each of its structures, in order of first appearance."""
    names = dict.fromkeys(box.name for box in case.boxes)
    return [
        replace(case, boxes=tuple(b for b in case.boxes if b.name == name), structure=name)
        for name in names
    ]


def sample_of(case: Case, name: str, modality: str, options: tuple[str, ...], look: Look) -> Sample:
    """The sample of a case: its frames as `look` says, its voxels, and boxes, a label or a report.

    `attributes` keep the map from frames to millimetres (`volumes.Slices.of`).

    Raises:
        VolumeError: a volume whose header cannot be used any more.
    """
    volume, grid = open_volume(case.volume)
    pictures, slices = frames(volume, grid, look)
    label, report = case.facts.get("label", ""), case.facts.get("report", "")
    answer: Answer = label or report or case.boxes
    return Sample(
        id=f"{name}/{case.key}" + (f"/{case.structure}" if case.structure else ""),
        dataset=name,
        task="classification" if label else "report" if report else "detection3d",
        answer=answer,
        images=pictures,
        volume=volume,
        question=case.structure,
        options=options if label else (),
        modality=modality,
        group=case.facts.get("group") or case.key,
        attributes=slices.attributes,
    )


def read_names(path: Path, declared: object) -> dict[int, str]:
    """Names of numbered structures, as nnU-Net states them: {name: number}, or {number: name}.

    Raises:
        DataError: neither of the two.
    """
    if not isinstance(declared, Mapping):
        raise DataError(f"{path} has no `labels` from names to numbers.")
    found: dict[int, str] = {}
    for key, value in declared.items():
        number, name = (value, key) if isinstance(value, int) else (key, value)
        if not str(number).isdecimal() or not isinstance(name, str):
            raise DataError(f"{path}: label {key!r} is {value!r}; expected a name and a number.")
        if int(number) > 0:  # 0 is the background
            found[int(number)] = name.replace("_", " ").strip()
    return found

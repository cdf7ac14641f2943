"""Every structure of a volume asked about by itself; those of a single case are split."""

from pathlib import Path

import numpy as np
import pytest

from residency.data.extents import extents
from residency.dataset import open_dataset
from residency.errors import UsageError

nibabel = pytest.importorskip("nibabel")


def case(folder: Path, structures: int) -> None:
    (folder / "segmentations").mkdir(parents=True)
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 8, 7), np.int16), affine), folder / "ct.nii.gz")
    for number in range(structures):
        mask = np.zeros((9, 8, 7), np.uint8)
        mask[1 : 3 + number % 5, 2:4, 1:6] = 1
        path = folder / "segmentations" / f"organ_{number}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(mask, affine), path)


def test_structures_of_one_case_are_split_and_asked_about_one_by_one(tmp_path: Path) -> None:
    case(tmp_path / "set" / "a", 20)
    dataset = open_dataset(f"nifti:{tmp_path / 'set'}:frames=3:boxes=each")
    sizes = {split: len(samples) for split, samples in dataset.splits.items()}
    assert sum(sizes.values()) == 20 and sizes["train"] > sizes["test"] > 0
    sample = dataset.splits["train"][0]
    (box,) = sample.answer
    assert sample.question == box.name and box.name.startswith("organ ")
    assert sample.id.endswith(f"/{box.name}") and len(sample.images) == 3
    assert any("every split shows the same volume" in note for note in dataset.notes)
    whole = open_dataset(f"nifti:{tmp_path / 'set'}:frames=3")
    assert [len(s) for s in whole.splits.values()] == [1] and whole.digest != dataset.digest
    with pytest.raises(UsageError, match="boxes=some"):
        open_dataset(f"nifti:{tmp_path / 'set'}:boxes=some")


def test_cases_keep_their_side_where_there_are_several(tmp_path: Path) -> None:
    for name in "abcdefgh":
        case(tmp_path / "set" / name, 2)
    dataset = open_dataset(f"nifti:{tmp_path / 'set'}:boxes=each")
    groups = [{s.group for s in samples} for samples in dataset.splits.values()]
    assert sum(len(samples) for samples in dataset.splits.values()) == 16
    assert len(groups) > 1 and not set.intersection(*groups)


def test_a_link_under_another_name_is_another_structure(tmp_path: Path) -> None:
    case(tmp_path, 1)
    mask = tmp_path / "segmentations" / "organ_0.nii.gz"
    names = []
    for name in ("liver", "spleen"):
        link = tmp_path / f"{name}.nii.gz"
        link.symlink_to(mask)
        names += [box.name for box in extents(tmp_path / "ct.nii.gz", [link], None, {}).boxes]
    assert names == ["liver", "spleen"]

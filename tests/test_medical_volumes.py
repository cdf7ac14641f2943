"""Volumes keep left and right, millimetres and the order of slices; what would stretch them is refused."""

import gzip
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from residency.data.dicom import Header, find_files, read_header
from residency.data.nifti import (
    mask_boxes,
    open_volume,
    read_grid,
    read_m3d,
    read_mask,
    read_volume,
)
from residency.data.series import by_series, open_series, stackable
from residency.data.volumes import (
    Look,
    Slices,
    VolumeError,
    choose,
    frames,
    natural_window,
    slice_pixels,
)
from residency.data.windows import PRESETS, RGB_WINDOWS, Window
from residency.dataset import open_dataset
from residency.errors import UsageError
from residency.types import Box3D, Volume

nib = pytest.importorskip("nibabel")
SHARED = Path(os.environ.get("RESIDENCY_SHARED_DATA", "../shared/data"))
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="RESIDENCY_SHARED_DATA is absent")
RNG = np.random.default_rng(0)
AFFINE = np.array([[2.0, 0, 0, -10], [0, 3, 0, 20], [0, 0, 5, 100], [0, 0, 0, 1]])
VOXELS = RNG.integers(-1000, 1000, (4, 5, 6)).astype(np.int16)  # x, y, z in RAS+


@pytest.fixture(autouse=True)
def salt(monkeypatch):
    monkeypatch.setenv("RESIDENCY_SALT", "a test")


def save(path: Path, voxels=VOXELS, affine=AFFINE) -> Path:
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def code_of(read, *arguments) -> str:
    with pytest.raises(VolumeError) as caught:
        read(*arguments)
    assert "\n" not in str(caught.value)
    return caught.value.code


def test_every_orientation_reads_as_the_same_patient(tmp_path):
    image = nib.Nifti1Image(VOXELS, AFFINE)
    for axes in ("RAS", "LPS", "PIR", "SAL"):
        turn = nib.orientations.ornt_transform(
            nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(axes)
        )
        nib.save(image.as_reoriented(turn), tmp_path / "a.nii.gz")
        assert nib.aff2axcodes(nib.load(tmp_path / "a.nii.gz").affine) == tuple(axes)
        volume = read_volume(tmp_path / "a.nii.gz")
        assert np.array_equal(volume, VOXELS.T), axes
        grid = read_grid(tmp_path / "a.nii.gz")
        assert (grid.shape, grid.spacing_mm) == ((6, 5, 4), (5.0, 3.0, 2.0))
        assert np.allclose(grid.affine, AFFINE), axes


def test_scaling_and_byte_order(tmp_path):
    path = save(tmp_path / "a.nii")
    image = nib.Nifti1Image(VOXELS, AFFINE)
    image.header.set_slope_inter(2, -5)
    nib.save(nib.Nifti1Image(VOXELS, AFFINE, image.header.as_byteswapped(">")), tmp_path / "b.nii")
    assert (tmp_path / "b.nii").read_bytes()[:4] == b"\0\0\1\x5c"
    assert np.array_equal(read_volume(tmp_path / "b.nii"), read_volume(path))
    data = bytearray(path.read_bytes())
    data[112:120] = np.array([2, -5], "<f4").tobytes()
    path.write_bytes(data)
    assert np.array_equal(read_volume(path), VOXELS.T * 2.0 - 5)


def test_boxes_are_the_extents_of_masks_in_voxels_and_millimetres(tmp_path):
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1:3, 2:5, 0:2] = 1
    labels[3, 0, 5] = 4
    grid = read_grid(save(tmp_path / "ct.nii"))
    mask = read_mask(save(tmp_path / "m.nii", labels), grid)
    liver, spot = mask_boxes(mask, {1: "liver", 2: "absent", 4: "spot"})
    assert liver == Box3D(name="liver", x1=1.0, y1=2.0, z1=0.0, x2=3.0, y2=5.0, z2=2.0)
    assert (spot.x1, spot.x2, spot.z2) == (3.0, 4.0, 6.0)
    corners = grid.box_mm(liver)
    assert corners == (
        -10 + 0.5 * 2,
        20 + 1.5 * 3,
        100 - 0.5 * 5,
        -10 + 2.5 * 2,
        20 + 4.5 * 3,
        107.5,
    )
    assert grid.box("liver", corners) == liver
    flipped = labels[::-1]
    other = AFFINE @ np.array([[-1, 0, 0, 3], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert np.array_equal(read_mask(save(tmp_path / "n.nii", flipped, other), grid), mask)


def test_masks_that_do_not_belong(tmp_path):
    grid = read_grid(save(tmp_path / "ct.nii"))
    small = np.zeros((4, 5, 5), np.uint8)
    assert code_of(read_mask, save(tmp_path / "a.nii", small), grid) == "mask_grid"
    moved = AFFINE + np.eye(4)[:, [3, 3, 3, 0]] * 0 + np.outer([1, 0, 0, 0], [0, 0, 0, 1])
    assert code_of(read_mask, save(tmp_path / "a.nii", affine=moved), grid) == "mask_grid"
    half = np.full((4, 5, 6), 0.5, np.float32)
    assert code_of(read_mask, save(tmp_path / "a.nii", half), grid) == "mask_values"


def test_nifti_faults(tmp_path):
    whole = save(tmp_path / "a.nii").read_bytes()
    path = tmp_path / "b.nii"
    path.write_bytes(whole[:-10])
    assert code_of(read_volume, path) == "size"
    big = save(tmp_path / "big.nii", RNG.integers(0, 99, (40, 50, 60)).astype(np.int16))
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(big.read_bytes())[:-40])
    assert code_of(read_volume, tmp_path / "b.nii.gz") == "truncated"
    path.write_bytes(b"<html>" * 100)
    assert code_of(read_grid, path) == "nifti"
    data = bytearray(whole[:400])
    data[42:48] = np.array([30000, 30000, 300], "<i2").tobytes()
    path.write_bytes(data)
    assert code_of(read_volume, path) == "size"
    (tmp_path / "c.nii.gz").write_bytes(gzip.compress(bytes(data)))
    assert code_of(read_volume, tmp_path / "c.nii.gz") == "size"
    odd = AFFINE.copy()
    odd[:, 1] = odd[:, 0]
    assert code_of(read_grid, save(path, affine=odd)) == "orientation"
    image = nib.Nifti1Image(VOXELS, None)
    nib.save(image, path)
    assert code_of(read_grid, path) == "orientation"
    hole = VOXELS.astype(np.float32)
    hole[0, 0, 0] = np.nan
    assert code_of(read_volume, save(path, hole)) == "nan"
    assert code_of(read_grid, save(path, np.zeros((2, 2, 2, 3), np.uint8))) == "frames"
    assert read_grid(save(path, VOXELS[..., None])).shape == (6, 5, 4)
    assert code_of(read_grid, tmp_path / "absent.nii") == "missing"


def test_slices_are_chosen_and_mapped_back():
    assert choose(5) == (0, 1, 2, 3, 4)
    assert choose(64) == tuple(range(1, 64, 2))
    assert len(set(choose(100))) == 32 and choose(100, how="all") == tuple(range(100))
    with pytest.raises(UsageError):
        choose(5, count=0)
    slices = Slices((1, 5, 9), 100.0, 2.5)
    assert (slices.voxel(1.0), slices.voxel(0.5), slices.frame(9.0)) == (5, 3, 2)
    assert slices.mm(2.0) == 100 + 9 * 2.5
    assert Slices.of(slices.attributes) == slices


def test_pictures_of_slices_are_turned_for_radiologists(tmp_path):
    volume, grid = open_volume(save(tmp_path / "a.nii"))
    pictures, slices = frames(volume, grid, Look(window=Window(0.0, 2000.0)))
    assert (len(pictures), pictures[0].size, slices.mm(5.0)) == (6, (4, 5), 125.0)
    image = np.asarray(pictures[2].load())
    right_front = VOXELS[3, 4, 2]  # the patient's right and front: upper left
    assert abs(int(image[0, 0, 0]) - (right_front + 1000) / 2000 * 255) <= 1
    assert volume.load() is volume.load()
    colours = slice_pixels(volume.load()[0], RGB_WINDOWS)
    assert colours.shape == (5, 4, 3)
    assert np.array_equal(colours[..., 2] > 0, volume.load()[0][::-1, ::-1] > 0.157)
    assert natural_window(volume.load()) == PRESETS["abdomen"]
    mr = np.linspace(0, 1000, 1001).reshape(7, 11, 13)
    found = natural_window(mr)
    assert (found.level - found.width / 2, found.level + found.width / 2) == (5, 995)


def test_m3d_arrays(tmp_path):
    path = tmp_path / "a.npy"
    values = RNG.random((1, 32, 256, 256), np.float32)
    np.save(path, values)
    assert np.array_equal(read_m3d(path), values[0])
    path.write_bytes(path.read_bytes()[:1000])
    assert code_of(read_m3d, path) == "npy"
    np.save(path, np.zeros((32, 256, 256), np.float32))
    assert code_of(read_m3d, path) == "npy"
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    assert code_of(read_m3d, path) == "npy"


def header(z: float, **changes) -> Header:
    plain = Header(
        modality="CT", body_part="", view="", size=(4, 5), frames=1, spacing_mm=(1.0, 2.0),
        position=(10.0, -20.0, z), orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), burned_in="",
        ids={"patient": "", "study": "", "series": "", "instance": ""},
    )  # fmt: skip
    return replace(plain, **changes)


def stack(*headers: Header):
    return [(Path(f"/data/{place}.dcm"), one) for place, one in enumerate(headers)]


def test_slices_are_ordered_by_position():
    volume, grid = open_series(stack(header(3.0), header(-1.0), header(1.0)))
    assert grid.shape == (3, 5, 4) and grid.spacing_mm == (2.0, 1.0, 2.0)
    # DICOM (LPS): x from 10 to the left, y from -20 to the back; the corner of RAS+ is the opposite.
    assert grid.mm(0.0, 0.0, 0.0) == (-10 - 3 * 2, 20 - 4 * 1, -1)
    assert [path.name for path in volume.load.args[0]] == ["1.dcm", "2.dcm", "0.dcm"]


def test_slices_that_are_no_volume():
    tilted = header(2.0, orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0))
    assert code_of(open_series, stack(header(0.0), header(1.0), tilted)) == "orientation"
    assert code_of(open_series, stack(*map(header, (0.0, 1.0, 2.0, 4.0)))) == "spacing"
    assert code_of(open_series, stack(*map(header, (0.0, 1.0, 1.0)))) == "spacing"
    wide = header(2.0, size=(5, 5))
    assert code_of(open_series, stack(header(0.0), header(1.0), wide)) == "spacing"
    bare = header(0.0, spacing_mm=None)
    assert code_of(open_series, stack(bare, bare, bare)) == "spacing"
    assert not stackable(stack(header(0.0), header(1.0)))
    assert not stackable(stack(*[header(0.0, position=())] * 3))


@shared
@pytest.mark.shared_data
def test_a_real_series_is_stacked_by_position():
    found = [(path, read_header(path)) for path in find_files(SHARED / "dicom" / "series")]
    (slices,) = by_series(found[::-1])
    volume, grid = open_series(slices)
    assert grid.shape == (17, 128, 88)
    assert np.allclose(grid.spacing_mm, 2)
    assert np.allclose(grid.mm(0.0, 0.0, 16.0)[2], 7.293)
    voxels = volume.load()
    assert voxels.shape == grid.shape and voxels.min() < voxels.max()


@shared
@pytest.mark.shared_data
def test_real_organ_masks_become_boxes_of_their_extent():
    folder = SHARED / "totalsegmentator"
    _, grid = open_volume(folder / "example_ct_sm.nii.gz")
    found = 0
    for path in sorted((folder / "example_seg_fast").iterdir()):
        raw = np.asanyarray(nib.load(path).dataobj)  # RAS+ on disk
        boxes = mask_boxes(read_mask(path, grid), {1: path.name.removesuffix(".nii.gz")})
        assert len(boxes) == bool(raw.any())
        for box in boxes:
            found += 1
            places = np.argwhere(raw)
            low, high = places.min(axis=0), places.max(axis=0) + 1
            assert (box.x1, box.y1, box.z1, box.x2, box.y2, box.z2) == (*low, *high)
            corners = nib.affines.apply_affine(nib.load(path).affine, [low - 0.5, high - 0.5])
            assert np.allclose(grid.box_mm(box), corners.ravel())
            back = grid.box(box.name, grid.box_mm(box))
            assert np.allclose((back.x1, back.z2), (box.x1, box.z2))
    assert found > 20
    assert isinstance(open_volume(folder / "example_ct.nii.gz")[0], Volume)


def test_masks_are_read_once_and_again_when_a_file_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from residency.data import extents

    read: list[str] = []
    whole = extents.read_mask
    monkeypatch.setattr(
        extents, "read_mask", lambda path, grid: read.append(path.name) or whole(path, grid)
    )
    monkeypatch.setenv("RESIDENCY_CACHE", str(tmp_path / "cache"))
    case = tmp_path / "set" / "case"
    (case / "segmentations").mkdir(parents=True)
    voxels = np.zeros((6, 5, 4), np.int16)
    save(case / "ct.nii", voxels)
    voxels[1:3, 2:4, 1:2] = 1
    for organ in ("liver", "spleen"):
        save(case / "segmentations" / f"{organ}.nii", voxels)
    first, second = (open_dataset(str(tmp_path / "set")) for _ in range(2))
    assert read == ["liver.nii", "spleen.nii"] and first.digest == second.digest
    boxes = [next(iter(one.splits.values()))[0].answer for one in (first, second)]
    assert boxes[0] == boxes[1] and len(boxes[0]) == 2
    voxels[5, 4, 3] = 1
    save(case / "segmentations" / "spleen.nii", voxels)
    os.utime(case / "segmentations" / "spleen.nii", ns=(1, 1))
    third = open_dataset(str(tmp_path / "set"))
    assert len(read) == 4 and third.digest != first.digest
    assert next(iter(third.splits.values()))[0].answer != boxes[0]
    for kept in (tmp_path / "cache" / "extents").iterdir():
        kept.write_text("{")  # damaged: measured again
    assert open_dataset(str(tmp_path / "set")).digest == third.digest and len(read) == 6

"""A DICOM folder with a table, and NIfTI with masks, are data sets without a line of code."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from residency.data.bad import LeftOut, Policy, sift
from residency.data.check import check
from residency.data.identity import stand_in
from residency.data.show import show
from residency.data.volumes import Slices
from residency.dataset import open_dataset
from residency.errors import DataError, UsageError
from residency.types import Box3D
from test_medical_dicom import write
from test_medical_volumes import AFFINE, save

pytest.importorskip("pydicom")
SHARED = Path(os.environ.get("RESIDENCY_SHARED_DATA", "../shared/data"))
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def salt(monkeypatch):
    monkeypatch.setenv("RESIDENCY_SALT", "a test")


def table(path: Path, *rows: dict[str, str]) -> None:
    with path.open("w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def radiograph(path: Path, patient: str, **attributes) -> Path:
    path.parent.mkdir(exist_ok=True)
    pixels = RNG.integers(0, 4096, (16, 12)).astype(np.uint16)
    attributes = {"Modality": "CR", **attributes}
    return write(path, pixels, PatientID=patient, PixelSpacing=[0.2, 0.1],
                 StudyInstanceUID=f"1.2.{patient}", **attributes)  # fmt: skip


def test_dicom_folder_with_labels_by_patient(tmp_path):
    radiograph(tmp_path / "a" / "1.dcm", "77")
    radiograph(tmp_path / "a" / "2.dcm", "77")
    radiograph(tmp_path / "a" / "3", "78", BurnedInAnnotation="YES")
    table(
        tmp_path / "labels.csv",
        {"PatientID": " 77", "label": "pneumonia", "split": "train"},
        {"PatientID": "78", "label": "normal", "split": "test"},
        {"PatientID": "99", "label": "normal", "split": "train"},
        {"PatientID": "78", "label": "", "split": "train"},
        {"PatientID": "78", "label": "normal", "split": "tset"},
        {"PatientID": "78", "label": "normal", "split": ""},
    )
    dataset = open_dataset(str(tmp_path))
    assert {name: len(rows) for name, rows in dataset.splits.items()} == {"train": 1, "test": 1}
    sample = dataset.splits["train"][0]
    assert (sample.answer, sample.options) == ("pneumonia", ("normal", "pneumonia"))
    assert len(sample.images) == 2 and sample.group == stand_in("77")
    assert sample.attributes == {"modality": "CR", "spacing_mm": "0.2 0.1"}
    assert sample.images[0].load().size == (12, 16)
    codes = [fault.code for fault in dataset.splits["train"].faults]
    assert sorted(codes) == ["empty_answer", "missing", "split", "split"]
    assert any("1 files, each declares burned-in" in note for note in dataset.notes)
    text = f"{show(dataset)}{check(dataset)}{sample}{dataset.card}"
    assert "Tester" not in text and "PatientID" not in text and "19010203" not in text


def test_dicom_folder_with_reports_by_path_and_a_series(tmp_path):
    for place, z in enumerate((4.0, 0.0, 2.0)):
        radiograph(
            tmp_path / "ct" / f"{place}.dcm", "5", SeriesInstanceUID="1.5",
            ImagePositionPatient=[0, 0, z], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        )  # fmt: skip
    table(tmp_path / "r.csv", {"series": "1.5", "report": "Clear.\nNo nodule."})
    dataset = open_dataset(str(tmp_path))
    (sample,) = [sample for rows in dataset.splits.values() for sample in rows]
    assert (sample.task, sample.answer) == ("report", "Clear.\nNo nodule.")
    assert sample.volume is not None and sample.volume.spacing_mm == (2.0, 0.2, 0.1)
    assert len(sample.images) == 3
    assert Slices.of(sample.attributes).mm(2.0) == 4.0
    assert check(dataset).ok
    radiograph(
        tmp_path / "ct" / "9.dcm", "5", SeriesInstanceUID="1.5",
        ImagePositionPatient=[0, 0, 9], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
    )  # fmt: skip
    with pytest.raises(DataError, match=r"no row can be used.*mm apart"):
        open_dataset(str(tmp_path))


def test_dicom_folders_that_lack_something(tmp_path):
    from residency.datasets import dicom

    radiograph(tmp_path / "a" / "1.dcm", "77")
    (sample,) = [one for rows in open_dataset(str(tmp_path)).splits.values() for one in rows]
    assert (sample.answer, sample.images[0].load().size) == ("", (12, 16))
    (tmp_path / "a" / "2.dcm").write_bytes(b"no image")
    found = check(open_dataset(str(tmp_path)))
    assert {problem.code for problem in found.problems} == {"dicom", "empty_answer"}
    with pytest.raises(DataError, match="bad rows"):
        opened = open_dataset(str(tmp_path))
        sift(opened, Policy(), left_out=LeftOut(tmp_path / "run")).split(next(iter(opened.splits)))
    table(tmp_path / "a.csv", {"who": "77", "label": "x"})
    table(tmp_path / "b.csv", {"who": "77", "label": "x"})
    assert not dicom.recognises(tmp_path)
    with pytest.raises(DataError, match=r"2 tables: a\.csv, b\.csv"):
        dicom.load(str(tmp_path))
    (tmp_path / "a.csv").unlink()
    (tmp_path / "b.csv").unlink()
    table(tmp_path / "labels.csv", {"who": "77", "label": "x"})
    with pytest.raises(DataError, match="It needs image, patient"):
        open_dataset(str(tmp_path))
    table(tmp_path / "labels.csv", {"image": "a/1.dcm", "question": "What?", "answer": "A chest."})
    (sample,) = [one for rows in open_dataset(str(tmp_path)).splits.values() for one in rows]
    assert (sample.task, sample.question, sample.answer) == ("vqa", "What?", "A chest.")


LABELS = np.zeros((4, 5, 6), np.uint8)
LABELS[1:3, 2:5, 0:2] = 1
BOX = Box3D(name="left lung", x1=1.0, y1=2.0, z1=0.0, x2=3.0, y2=5.0, z2=2.0)


def test_a_folder_per_case_with_a_mask_per_organ(tmp_path):
    for case in ("s1", "s2", "s3"):
        (tmp_path / case / "segmentations").mkdir(parents=True)
        save(tmp_path / case / "ct.nii.gz")
        save(tmp_path / case / "segmentations" / "left_lung.nii.gz", LABELS)
        save(tmp_path / case / "segmentations" / "brain.nii.gz", LABELS * 0)
    save(tmp_path / "s3" / "segmentations" / "brain.nii.gz", LABELS[:, :, :5])
    dataset = open_dataset(str(tmp_path))
    samples = {sample.id: sample for rows in dataset.splits.values() for sample in rows}
    assert sorted(samples) == [f"{tmp_path.name}/s1", f"{tmp_path.name}/s2"]
    sample = samples[f"{tmp_path.name}/s1"]
    assert (sample.task, sample.answer, sample.group) == ("detection3d", (BOX,), "s1")
    assert sample.volume is not None and sample.volume.spacing_mm == (5.0, 3.0, 2.0)
    assert len(sample.images) == 6 and sample.images[0].load().size == (4, 5)
    assert Slices.of(sample.attributes).mm(1.0) == 105.0
    (fault,) = [fault for rows in dataset.splits.values() for fault in rows.faults]
    assert fault.code == "mask_grid"
    assert any("face" in note for note in dataset.notes)


def test_nnunet_with_numbered_labels(tmp_path):
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (tmp_path / folder).mkdir()
    save(tmp_path / "imagesTr" / "case_0000.nii.gz")
    save(tmp_path / "labelsTr" / "case.nii.gz", LABELS)
    save(tmp_path / "imagesTs" / "other_0000.nii.gz")
    names = {"labels": {"background": 0, "left_lung": 1}}
    (tmp_path / "dataset.json").write_text(json.dumps(names))
    dataset = open_dataset(str(tmp_path))
    assert dataset.splits["train"][0].answer == (BOX,)
    assert any("left out): 1" in note for note in dataset.notes)
    (tmp_path / "dataset.json").write_text('{"labels": {"left_lung": "one"}}')
    with pytest.raises(DataError, match="a name and a number"):
        open_dataset(str(tmp_path))


def test_volumes_with_a_table(tmp_path):
    save(tmp_path / "a.nii.gz")
    save(tmp_path / "b.nii.gz", affine=AFFINE @ np.diag([-1, 1, 1, 1]))
    table(
        tmp_path / "labels.csv",
        {"image": "a.nii.gz", "label": "normal", "split": "train", "patient": "Somebody"},
        {"image": "b.nii.gz", "label": "nodule", "split": "test", "patient": "Other"},
    )
    dataset = open_dataset(str(tmp_path))
    sample = dataset.splits["train"][0]
    assert (sample.task, sample.answer, sample.options) == (
        "classification",
        "normal",
        ("nodule", "normal"),
    )
    assert sample.group == stand_in("Somebody")
    assert check(dataset).ok
    wrong = [("a", "x", "tset"), ("a", "x", ""), ("../a", "x", "test"), ("a", " ", "train")]
    rows = [{"image": f"{i}.nii.gz", "label": w, "split": s} for i, w, s in wrong]
    table(tmp_path / "labels.csv", {"image": "b.nii.gz", "label": "n", "split": "train"}, *rows)
    found = open_dataset(str(tmp_path)).splits["train"]
    assert [fault.code for fault in found.faults] == [
        "split", "split", "image_escape", "empty_answer",
    ]  # fmt: skip
    assert "Did you mean 'test'" in str(found.faults[0]) and len(found) == 1


def test_frames_of_a_file_are_images_and_a_volume_needs_answers(tmp_path):
    frames = np.stack([np.full((8, 8), 2 * k, np.uint8) for k in range(40)])
    write(tmp_path / "cine.dcm", frames, Modality="US")
    (sample,) = [
        s for rows in open_dataset(str(tmp_path / "cine.dcm")).splits.values() for s in rows
    ]
    assert len(sample.images) == 32
    assert np.asarray(sample.images[-1].load()).max() == 2 * 39
    with pytest.raises(DataError, match="no volume has masks"):
        open_dataset(str(save(tmp_path / "ct.nii.gz")))


def test_options_choose_window_and_slices(tmp_path):
    levels = np.zeros((4, 5, 6), np.float32)
    levels[:, :, 3:] = 40  # soft tissue above water
    (tmp_path / "a" / "segmentations").mkdir(parents=True)
    save(tmp_path / "a" / "ct.nii.gz", levels)
    save(tmp_path / "a" / "segmentations" / "left_lung.nii.gz", LABELS)

    def opened(options=""):
        dataset = open_dataset(f"{tmp_path}{options}")
        return dataset, next(rows[0] for rows in dataset.splits.values())

    plain, sample = opened()
    assert len(sample.images) == 6
    dataset, sample = opened(":window=brain:frames=2")
    assert dataset.digest != plain.digest
    assert Slices.of(sample.attributes).places == (1, 4)
    shown = [np.asarray(picture.load())[0, 0].tolist() for picture in sample.images]
    assert shown == [[0, 0, 0], [129, 129, 129]]  # 255 ((x - 39.5) / 79 + 0.5) of 0 and 40
    _, sample = opened(":window=rgb:frames=all")
    assert len({tuple(np.asarray(picture.load())[0, 0]) for picture in sample.images}) == 2
    red, green, blue = np.asarray(sample.images[5].load())[0, 0]
    assert (red, green, blue) == (132, 128, 128)  # 40 of -1024..1024, -135..215, 0..80
    _, sample = opened(":window=40/80:frames=all")
    assert np.asarray(sample.images[5].load())[0, 0].tolist() == [129, 129, 129]
    for options, says in (
        (":window=brian", "Did you mean 'brain'"),
        (":window=1/x", "LEVEL/WIDTH"),
        (":frames=0", "frames=0"),
        (":windw=bone", "Did you mean 'window'"),
        (":window=bone:window=lung", "'window' is given twice"),
    ):
        with pytest.raises(UsageError, match=says):
            opened(options)
    for label in "ab":
        (tmp_path / "cats" / label).mkdir(parents=True)
        (tmp_path / "cats" / label / "1.png").write_bytes(b"x")
    with pytest.raises(UsageError, match="takes no options"):
        open_dataset(f"folder:{tmp_path / 'cats'}:window=bone")


def test_a_window_is_for_ct_alone(tmp_path):
    radiograph(tmp_path / "a.dcm", "5", Modality="CT")
    radiograph(tmp_path / "b.dcm", "6", Modality="CR")
    dataset = open_dataset(f"dicom:{tmp_path}:window=rgb")
    samples = {s.attributes["modality"]: s for rows in dataset.splits.values() for s in rows}
    assert "#frame=0" in samples["CT"].images[0].key and "#" not in samples["CR"].images[0].key
    assert samples["CT"].images[0].load().size == samples["CR"].images[0].load().size == (12, 16)


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_dir(), reason="RESIDENCY_SHARED_DATA is absent")
def test_real_files_are_counted_by_what_is_wrong():
    found = {
        p.code: p.count for p in check(open_dataset(str(SHARED / "dicom" / "single"))).problems
    }
    assert found["dicom"] == 1 and found["dicom_pixels"] == 1 and found["dicom_corrupt"] == 1
    assert found["image_truncated"] == 1 and "image_frames" not in found
    (series,) = open_dataset(str(SHARED / "dicom" / "series")).splits.values()
    assert len(series) == 1 and len(series[0].images) == 17


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_dir(), reason="RESIDENCY_SHARED_DATA is absent")
def test_real_ct_with_organ_masks():
    dataset = open_dataset(str(SHARED / "totalsegmentator"))
    (sample,) = dataset.splits["train"]
    names = [box.name for box in sample.answer]
    assert len(names) > 20 and {"liver", "aorta", "kidney left"} <= set(names)
    assert len(sample.images) == 30

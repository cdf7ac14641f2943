"""Readers of image sets whose files cannot be had here, on fixtures in the exact published layout.

Every fixture is made up: names, grades, boxes and pixels come from a counter, never from the sets.
"""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from residency.data.check import check
from residency.dataset import Dataset, open_dataset
from residency.errors import DataError
from residency.types import Box, Point


def paint(path: Path, value: int = 0, size: tuple[int, int] = (16, 12)) -> None:
    """A grey image of its own brightness, so that no two are equal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("L", size, value % 256).save(path)


def write(path: Path, *lines: str, ending: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(ending.join((*lines, "")), encoding="utf-8")
    return path


def every(dataset: Dataset) -> list:
    return [sample for split in dataset.splits.values() for sample in split]


def note(dataset: Dataset, part: str) -> str:
    found = [line for line in dataset.notes if part in line]
    assert len(found) == 1, (part, dataset.notes)
    return found[0]


def aptos(root: Path, count: int = 20) -> Path:
    for place in range(count):
        paint(root / "train_images" / f"id{place:03}.png", place)
    rows = [f"id{place:03},{place % 5}" for place in range(count)]
    write(root / "train.csv", "id_code,diagnosis", *rows)
    (root / "test_images").mkdir()
    return root


def test_aptos_is_split_in_the_shares_of_retfound(tmp_path):
    dataset = open_dataset(f"aptos2019:{aptos(tmp_path / 'aptos')}")
    assert dataset.name == "aptos2019" and dataset.labels == ("0", "1", "2", "3", "4")
    assert [len(samples) for samples in dataset.splits.values()] == [11, 3, 6]
    assert sorted(int(s.id[-3:]) % 5 for s in every(dataset)) == sorted(
        int(s.answer) for s in every(dataset)
    )
    note(dataset, "split 56/14/30")
    note(dataset, "published: all 3,662")
    assert check(dataset).ok
    again = open_dataset(f"aptos2019:{tmp_path / 'aptos'}")
    assert [s.id for s in every(again)] == [s.id for s in every(dataset)]


def test_aptos_leaves_out_absent_images_and_unknown_grades_and_counts_them(tmp_path):
    root = aptos(tmp_path / "aptos")
    (root / "train_images" / "id004.png").unlink()
    table = (
        (root / "train.csv").read_text().replace("id001,1", "id001,7").replace("id002,2", "id002,")
    )
    (root / "train.csv").write_text(table)
    dataset = open_dataset(f"aptos2019:{root}")
    assert len(every(dataset)) == 17
    assert note(dataset, "without known label").endswith(": 1.")
    assert note(dataset, "Rows without label").endswith(": 1.")
    note(dataset, "Left out, because an image is absent")


def test_a_table_of_another_set_is_refused_by_name(tmp_path):
    root = aptos(tmp_path / "aptos")
    write(root / "train.csv", "id,grade", "id001,1")
    with pytest.raises(DataError, match="lacks the column id_code; found: id, grade"):
        open_dataset(f"aptos2019:{root}")
    with pytest.raises(DataError, match=r"No such file or folder: .*Kaggle account"):
        open_dataset(f"aptos2019:{tmp_path / 'absent'}")


def test_a_reader_looks_in_the_data_folder(tmp_path, monkeypatch):
    aptos(tmp_path / "aptos2019")
    monkeypatch.delenv("RESIDENCY_DATA", raising=False)
    with pytest.raises(DataError, match=r"aptos2019:PATH, or set \$RESIDENCY_DATA"):
        open_dataset("aptos2019")
    monkeypatch.setenv("RESIDENCY_DATA", str(tmp_path))
    assert open_dataset("aptos2019").name == "aptos2019"


def idrid(root: Path) -> Path:
    grading = root / "B. Disease Grading"
    for folder, table, count, empty in (
        ("a. Training Set", "a. IDRiD_Disease Grading_Training Labels.csv", 5, "," * 9),
        ("b. Testing Set", "b. IDRiD_Disease Grading_Testing Labels.csv", 3, ""),
    ):
        rows = []
        for number in range(1, count + 1):
            name = f"IDRiD_{number:03}"
            paint(grading / "1. Original Images" / folder / f"{name}.jpg", number * 9 + count)
            rows.append(f"{name},{number % 5},{number % 3}{empty}")
        header = f"Image name,Retinopathy grade,Risk of macular edema {empty}"
        write(grading / "2. Groundtruths" / table, header, *rows, ending="\r\n")
    return root


def test_idrid_numbers_start_again_in_the_test_folder(tmp_path):
    dataset = open_dataset(f"idrid:{idrid(tmp_path)}")
    assert {s: len(samples) for s, samples in dataset.splits.items()} == {"train": 5, "test": 3}
    first, other = dataset.split("train")[0], dataset.split("test")[0]
    assert (first.id, other.id) == ("idrid/train/IDRiD_001", "idrid/test/IDRiD_001")
    assert "a. Training Set" in first.images[0].key and "b. Testing Set" in other.images[0].key
    assert first.attributes == {"edema": "1"}
    assert check(dataset).ok
    inner = open_dataset(f"idrid:{tmp_path / 'B. Disease Grading'}")
    assert inner.digest == dataset.digest


@pytest.mark.parametrize("header", ["image_id,adjudicated_dr_grade", "id_code,diagnosis"])
def test_messidor2_reads_both_headers_and_leaves_out_what_is_not_gradable(tmp_path, header):
    rows = []
    for place in range(10):
        paint(
            tmp_path / "IMAGES" / (f"IM{place:06}.JPG" if place % 2 else f"2005_{place}.png"), place
        )
        name = f"IM{place:06}.jpg" if place % 2 else f"2005_{place}.png"
        rows.append(f"{name},{'' if place == 3 else place % 5},0,{0 if place == 3 else 1}")
    write(tmp_path / "messidor_data.csv", f"{header},adjudicated_dme,adjudicated_gradable", *rows)
    dataset = open_dataset(f"messidor2:{tmp_path}")
    assert dataset.name == "messidor2" and len(every(dataset)) == 9
    assert note(dataset, "not gradable").endswith(": 1.")
    assert check(dataset).ok


def test_ham10000_keeps_a_lesion_on_one_side(tmp_path):
    rows, codes = [], ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    for place in range(40):
        part = 1 + place % 2
        paint(tmp_path / f"HAM10000_images_part_{part}" / f"ISIC_{place:07}.jpg", place)
        lesion = f"HAM_{place // 3:07}"
        rows.append(f"{lesion},ISIC_{place:07},{codes[place // 3 % 7]},histo,50.0,male,back")
    header = "lesion_id,image_id,dx,dx_type,age,sex,localization"
    write(tmp_path / "HAM10000_metadata.csv", header, *rows)
    dataset = open_dataset(f"ham10000:{tmp_path}")
    sides = {}
    for split, samples in dataset.splits.items():
        for sample in samples:
            assert sides.setdefault(sample.group, split) == split
    assert len(every(dataset)) == 40 and len(sides) == 14
    assert every(dataset)[0].answer in dataset.labels
    assert {"sex", "age"}.isdisjoint(every(dataset)[0].attributes)
    assert check(dataset).ok


def foodseg(root: Path) -> Path:
    write(
        root / "category_id.txt",
        "0\tbackground",
        "1\tcandy",
        "2\tegg tart",
        "103\tother ingredients",
    )
    for place, split in enumerate(("train", "train", "test")):
        stem = f"{place:08}"
        paint(root / "Images" / "img_dir" / split / f"{stem}.jpg", 40 * place)
        mask = np.zeros((12, 16), np.uint8)
        mask[:4], mask[4:6] = place, 103
        path = root / "Images" / "ann_dir" / split / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(mask).save(path)
    write(root / "ImageSets" / "train.txt", "00000000", "00000001", "00000009")
    write(root / "ImageSets" / "test.txt", "00000002")
    return root


def test_foodseg103_answers_are_the_ids_of_the_mask(tmp_path):
    dataset = open_dataset(f"foodseg103:{foodseg(tmp_path)}")
    assert dataset.multi_label and dataset.labels == ("candy", "egg tart", "other ingredients")
    answers = {split: [s.answer for s in samples] for split, samples in dataset.splits.items()}
    assert answers == {
        "train": [("other ingredients",), ("candy", "other ingredients")],
        "test": [("egg tart", "other ingredients")],
    }
    assert note(dataset, "without a mask").endswith(": 1.")
    assert check(dataset).ok


def test_foodseg103_counts_masks_that_cannot_be_read(tmp_path):
    root = foodseg(tmp_path)
    masks = root / "Images" / "ann_dir"
    PIL.Image.new("RGB", (5, 4)).save(masks / "test" / "00000002.png")
    PIL.Image.new("L", (5, 4), 77).save(masks / "train" / "00000001.png")
    findings = check(open_dataset(f"foodseg103:{root}"))
    assert [(p.code, p.count) for p in findings.problems] == [("image_mask", 2)]
    assert "77 of no category" in findings.problems[0].what


def peir(root: Path) -> list[str]:
    lines = [f'{place:08}.jpg\tORGAN: finding "{place}" of the  organ' for place in range(20)]
    for place in range(20):
        paint(root / "peir_gross_images" / f"{place:08}.jpg", place)
    write(root / "peir_gross.tsv", *lines, lines[0])
    return lines


def test_peir_gross_repeats_the_split_of_its_crawler(tmp_path):
    lines = peir(tmp_path)
    whole = open_dataset(f"peir_gross:{tmp_path}")
    assert {s: len(samples) for s, samples in whole.splits.items()} == {"train": 18, "test": 2}
    assert note(whole, "lists again").endswith(": 1.")
    assert (
        every(whole)[0].answer.startswith('ORGAN: finding "') and "  " not in every(whole)[0].answer
    )
    test = [f"{Path(s.images[0].key).name}" for s in whole.split("test")]
    write(tmp_path / "test_images.tsv", *(one for one in lines if one.split("\t")[0] in test))
    write(tmp_path / "train_images.tsv", *(one for one in lines if one.split("\t")[0] not in test))
    given = open_dataset(f"peir_gross:{tmp_path}")
    assert {s.id for s in given.split("test")} == {s.id for s in whole.split("test")}
    assert check(given).ok


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_rsna_boxes_by_patient_with_hidden_identities(tmp_path, monkeypatch, delimiter):
    monkeypatch.setenv("RESIDENCY_SALT", "for this test")
    (tmp_path / "stage_2_train_images").mkdir()
    rows = []
    for place in range(10):
        (tmp_path / "stage_2_train_images" / f"patient-{place}.dcm").touch()
        if place % 2:
            rows += [f"patient-{place},10.5,20,30,40,1", f"patient-{place},500,600,70,80,1"]
        else:
            rows.append(f"patient-{place},,,,,0")
    rows.append("patient-9,1000,1000,70,80,1")
    lines = ["patientId,x,y,width,height,Target", *rows]
    write(tmp_path / "stage_2_train_labels.csv", *(one.replace(",", delimiter) for one in lines))
    dataset = open_dataset(f"rsna_pneumonia:{tmp_path}")
    samples = every(dataset)
    assert len(samples) == 10 and {len(s.answer) for s in samples} == {0, 2}
    found = next(s for s in samples if s.answer)
    assert found.answer[0] == Box(name="pneumonia", x1=10.5, y1=20.0, x2=40.5, y2=60.0)
    assert found.question == "pneumonia" and found.images[0].size == (1024, 1024)
    assert all("patient" not in s.id + s.group for s in samples)
    assert len({s.group for s in samples}) == 10
    assert note(dataset, "empty or leave the image").endswith(": 1.")
    note(dataset, "published: all 26,684")


def test_rsna_images_are_dicom(tmp_path, monkeypatch):
    pytest.importorskip("pydicom")
    monkeypatch.setenv("RESIDENCY_SALT", "for this test")
    write(tmp_path / "stage_2_train_labels.csv", "patientId,x,y,width,height,Target", "p,,,,,0")
    path = tmp_path / "stage_2_train_images" / "p.dcm"
    write(path, "no DICOM")
    with pytest.raises(DataError):
        every(open_dataset(f"rsna_pneumonia:{tmp_path}"))[0].images[0].load()


def test_cephalometric_challenge_folders_average_two_readers(tmp_path):
    for number, folder in ((1, "TrainingData"), (151, "Test1Data"), (301, "Test2Data")):
        paint(tmp_path / "RawImage" / folder / f"{number:03}.bmp", number % 200)
        for reader, shift in (("400_senior", 0), ("400_junior", 10)):
            points = [f"{100 + place + shift},{200 + place}" for place in range(19)]
            write(tmp_path / reader / f"{number:03}.txt", *points, "1", "2", "3")
    dataset = open_dataset(f"cephalometric:{tmp_path}")
    assert {s: len(samples) for s, samples in dataset.splits.items()} == {"train": 19, "test": 38}
    assert dataset.split("train")[1].answer == (Point(name="Nasion", x=106.0, y=201.0),)
    assert [s.attributes["part"] for s in dataset.split("test")[18:20]] == ["test1", "test2"]


def test_cephalometric_refuses_an_incomplete_image(tmp_path):
    (tmp_path / "images").mkdir()
    write(tmp_path / "points.csv", "document,points", "001.jpg,\"{0: {'x': 1.0, 'y': 2.0}}\"")
    with pytest.raises(DataError, match=r"001.jpg lacks landmark 1 \(Nasion\)"):
        open_dataset(f"cephalometric:{tmp_path}")

"""Readers of patients' images behind credentials or archives, on made-up fixtures in the published layout."""

import json
from pathlib import Path

import PIL.Image
import pytest

from residency.data.check import check
from residency.data.show import show
from residency.dataset import Dataset, open_dataset
from residency.errors import DataError


@pytest.fixture(autouse=True)
def _salt(monkeypatch):
    monkeypatch.setenv("RESIDENCY_SALT", "for these tests")


def paint(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("L", (16, 12), value % 256).save(path)


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join((*lines, "")), encoding="utf-8")


def every(dataset: Dataset) -> list:
    return [sample for split in dataset.splits.values() for sample in split]


def note(dataset: Dataset, part: str) -> str:
    found = [line for line in dataset.notes if part in line]
    assert len(found) == 1, (part, dataset.notes)
    return found[0]


def cbis(root: Path, count: int = 20) -> Path:
    info = ["file_path,image_path,PatientID,SeriesDescription,SeriesInstanceUID"]
    for kind, density, described in (
        ("mass", "breast_density", "mass shape,mass margins"),
        ("calc", "breast density", "calc type,calc distribution"),
    ):
        for part, name in (("train", "Training"), ("test", "Test")):
            rows = [
                f"patient_id,{density},left or right breast,image view,abnormality id,"
                f"abnormality type,{described},assessment,pathology,subtlety,image file path,"
                "cropped image file path,ROI mask file path"
            ]
            for place in range(count):
                uid = f"1.2.{kind == 'mass':d}.{part == 'train':d}.{place}"
                folder = f"{kind.title()}-{name}_P_{place // 2:05}_LEFT_CC_{1 + place % 2}"
                first = ("ROUND", "OVAL", "LOBULATED", "IRREGULAR", "ROUND-OVAL", "NODE")[place % 6]
                second = "N/A" if place == 3 else "ILL_DEFINED"
                pathology = "BENIGN_WITHOUT_CALLBACK" if place % 2 else "MALIGNANT"
                named = f"{uid}.9" if place == 6 else uid  # swapped with the mask, as some are
                crop = f'"{folder}/9.9.{place}/{named}/000000.dcm\n"'
                rows.append(
                    f"P_{place // 2:05},3,LEFT,CC,1,{kind},{first},{second},4,{pathology},4,"
                    f"{folder}/x/y/000000.dcm,{crop},{folder}/m/000001.dcm"
                )
                if place != 5:
                    info.append(
                        f"x,CBIS-DDSM/jpeg/{uid}/1-{place}.jpg,{folder},cropped images,{uid}"
                    )
                info.append(f"x,CBIS-DDSM/jpeg/{uid}/2-{place}.jpg,{folder},ROI mask images,{uid}")
                paint(root / "jpeg" / uid / f"1-{place}.jpg", place * 3 + 60 * (part == "test"))
            write(root / "csv" / f"{kind}_case_description_{part}_set.csv", *rows)
    write(root / "csv" / "dicom_info.csv", *info)
    return root


def test_cbis_ddsm_describes_crops_and_asks_about_them(tmp_path):
    dataset = open_dataset(f"cbis_ddsm:{cbis(tmp_path)}")
    sizes = {split: len(samples) for split, samples in dataset.splits.items()}
    assert sizes["test"] == 38 and sizes["train"] + sizes["val"] == 38
    assert note(dataset, "without a cropped JPEG").endswith(": 4.")
    sample = next(s for s in dataset.split("train") if "round mass shape" in s.answer)
    assert sample.task == "caption"
    assert sample.answer == "round mass shape, ill defined mass margins, mass, malignant"
    sides: dict[str, str] = {}
    for split in ("train", "val"):
        for one in dataset.split(split):
            assert sides.setdefault(one.group, split) == split and "P_0" not in one.group
    for one in dataset.split("test"):
        assert one.task == "mcq" and one.answer in one.options and len(one.options) <= 5
        assert "margins" not in one.question
    assert "image_missing" not in {p.code for p in check(dataset).problems}


def test_cbis_ddsm_without_jpegs_points_at_the_dicom_files(tmp_path):
    root = cbis(tmp_path)
    (root / "csv" / "dicom_info.csv").unlink()
    dataset = open_dataset(f"cbis_ddsm:{root}")
    note(dataset, "None of the images is on disk")
    assert every(dataset)[0].images[0].key.endswith("000000.dcm")


def llava_rad(root: Path) -> Path:
    for split in ("train", "dev", "test"):
        entries = []
        for place in range(4):
            image = f"p10/p1000000{place}/s5{place}/{split}-{place}.jpg"
            paint(root / "files" / image, place + 20 * len(split))
            findings = None if place == 1 else f"Lungs are clear {place}."
            entries.append(
                {
                    "id": f"s5{place}",
                    "image": image,
                    "view": "PA",
                    "reason": "Cough",
                    "generate_method": "rule-based",
                    "conversations": [
                        {"from": "human", "value": "<image>\nDescribe."},
                        {"from": "gpt", "value": findings},
                    ],
                    "impression": "" if place == 1 else "Normal.",
                }
            )
        path = root / f"chat_{split}_MIMIC_CXR_all_gpt4extract_rulebased_v1.json"
        path.write_text(json.dumps(entries))
    return root


def test_llava_rad_reports_and_the_filter_of_chexmask(tmp_path):
    root = llava_rad(tmp_path)
    dataset = open_dataset(f"llava_rad:{root}")
    assert {s: len(rows) for s, rows in dataset.splits.items()} == {"train": 3, "val": 3, "test": 3}
    assert note(dataset, "Rows without text").endswith(": 3.")
    note(dataset, "No table of CheXmask")
    first = dataset.split("train")[0]
    assert (first.task, first.answer) == ("report", "Lungs are clear 0.\nNormal.")
    assert len({s.group for s in every(dataset)}) == 3
    assert all("1000000" not in s.id + s.group for s in every(dataset))
    rows = [
        "dicom_id,Dice RCA (Mean),Dice RCA (Max),Landmarks",
        "train-0,0.65,0.9,",
        "train-2,0.70,0.9,",
    ]
    write(root / "MIMIC-CXR-JPG.csv", *rows)
    filtered = open_dataset(f"llava_rad:{root}")
    assert note(filtered, "quality is below 0.7").endswith(": 1.")
    assert len(filtered.split("train")) == 2
    assert {p.code for p in check(filtered).problems} == {"group_crosses"}


def medical_cxr_vqa(root: Path, given: bool = True) -> Path:
    rows = ["subject_id,study_id,question_type,question,answer" + ",split" * given]
    for place in range(10):
        kinds = {
            "presence": ("yes", "no")[place == 9],
            "location": ("left lung", "right lung", "left base")[place % 3],
            "view": "pa view",
            "abnormality": ("edema", '"edema,effusion"')[place == 8],
        }
        paint(root / "files" / "p10" / f"p1000{place}" / f"s7{place}" / "b.jpg", 9 * place)
        paint(root / "files" / "p10" / f"p1000{place}" / f"s7{place}" / "a.jpg", 9 * place + 1)
        for kind, answer in kinds.items():
            side = ("train", "val", "test")[place % 3]
            asks = "is there edema?" if kind == "presence" else f"what {kind}?"
            rows.append(f"1000{place},7{place},{kind},{asks},{answer}" + f",{side}" * given)
    write(root / "medical_cxr_vqa_questions.csv", *rows)
    return root


@pytest.mark.parametrize("given", [True, False])
def test_medical_cxr_vqa_leaves_out_views(tmp_path, given):
    medical_cxr_vqa(tmp_path, given)
    dataset = open_dataset(f"medical_cxr_vqa:{tmp_path}")
    assert note(dataset, "about the view").endswith(": 10.")
    assert {s: len(some) for s, some in dataset.splits.items()} == (
        {"train": 12, "val": 9, "test": 9} if given else {"train": 21, "val": 3, "test": 6}
    )
    presence, location, _ = dataset.split("train")[:3]
    assert (presence.options, presence.answer) == (("yes", "no"), "yes")
    assert (location.options, location.attributes["question_type"]) == ((), "location")
    assert presence.images[0].key.endswith("a.jpg")
    assert all("1000" not in s.id + s.group for s in every(dataset))
    assert check(dataset).ok and "is there edema?" in show(dataset)
    write(tmp_path / "chexmask.csv", "dicom_id,Dice RCA (Mean)", "a,0.69", "b,0.7")
    assert (
        open_dataset(f"medical_cxr_vqa:{tmp_path}")
        .split("train")[0]
        .images[0]
        .key.endswith("b.jpg")
    )


def test_a_missing_annotation_names_what_to_get(tmp_path):
    with pytest.raises(DataError, match="has none of chat_train_MIMIC_CXR"):
        open_dataset(f"llava_rad:{tmp_path}")
    with pytest.raises(DataError, match="no mass_case_description_train_set"):
        open_dataset(f"cbis_ddsm:{tmp_path}")

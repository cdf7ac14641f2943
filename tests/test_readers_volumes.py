"""Readers of recipes, of M3D's volumes and of SLAKE's boxes, on fixtures in the exact published layout."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from residency.codec import Qwen2VLCodec
from residency.data.check import check
from residency.data.records import BLOCK, stream_records
from residency.data.show import show
from residency.dataset import Dataset, open_dataset
from residency.errors import DataError
from residency.task import task, text_of
from residency.types import Box, Box3D, Sample


def paint(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("L", (40, 30), value % 256).save(path)


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def note(dataset: Dataset, part: str) -> str:
    found = [line for line in dataset.notes if part in line]
    assert len(found) == 1, (part, dataset.notes)
    return found[0]


def recipes(root: Path) -> Path:
    layer1, layer2 = [], []
    for place, split in enumerate(("train", "train", "val", "test", "test", "test")):
        layer1.append(
            {
                "id": f"{place:010x}",
                "title": f"Dish  {place}",
                "ingredients": [{"text": "1 cup water"}, {"text": "salt"}],
                "instructions": [{"text": "Boil."}, {"text": "Serve."}],
                "partition": split,
                "url": "",
            }
        )
        if place != 1:
            name = f"{place}bcd{place}.jpg"
            layer2.append({"id": f"{place:010x}", "images": [{"id": name, "url": ""}]})
            paint(root / "images" / split / f"{place}" / "b" / "c" / "d" / name, place)
    layer1[4]["instructions"] = []
    write_json(root / "layer1.json", layer1)
    write_json(root / "layer2.json", layer2)
    return root


def test_recipe1m_joins_its_layers(tmp_path):
    dataset = open_dataset(f"recipe1m:{recipes(tmp_path)}")
    assert {s: len(rows) for s, rows in dataset.splits.items()} == {"train": 1, "val": 1, "test": 2}
    assert note(dataset, "Recipes without an image").endswith(": 1.")
    assert note(dataset, "Rows without instructions").endswith(": 1.")
    assert dataset.split("train")[0].answer == (
        "title: Dish 0\ningredients: 1 cup water, salt\ninstructions: 1. Boil. 2. Serve."
    )
    assert check(dataset).ok and "Write the recipe" in show(dataset)
    (tmp_path / "test1k_keys.txt").write_text(f"{5:010x}\n")
    restricted = open_dataset(f"recipe1m:{tmp_path}")
    assert [s.id for s in restricted.split("test")] == [f"recipe1m/test/{5:010x}"]
    note(restricted, "restricted to the 1 ids")


def test_a_list_larger_than_a_block_is_read_object_by_object(tmp_path):
    entries = [{" id": place, "text": "é" * (place * 977 % 9000)} for place in range(600)]
    path = write_json(tmp_path / "large.json", entries)
    assert path.stat().st_size > 2 * BLOCK
    assert [record["id"] for record in stream_records(path)] == list(range(600))
    assert list(stream_records(write_json(tmp_path / "none.json", []))) == []
    text = path.read_text()
    for bad in (text[:-5], text.replace('{" id": 300', '[{" id": 300'), '{"a": 1}', ""):
        path.write_text(bad)
        with pytest.raises(DataError, match=r"is no (whole )?list of JSON objects"):
            list(stream_records(path))


def volume(path: Path, value: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.zeros((1, 32, 256, 256), np.float32)
    voxels[0] = (np.arange(32) / 31 * value)[:, None, None]
    np.save(path, voxels)


def m3d_cap(root: Path) -> Path:
    content: dict[str, list] = {}
    for place, split in enumerate(("train", "train", "validation", "test")):
        case = f"M3D_Cap_npy/ct_case/{place:06}"
        if place < 2:
            volume(root.parent / case / "Axial.npy", 1.0 - place / 2)
        text = root.parent / case / "text.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        if place != 1:
            text.write_text(f"title: x\nSTUDY_FINDINGS: \nNodule {place}.\nNo more. ")
        pair = {"image": f"{case}/Axial.npy", "text": f"{case}/text.txt"}
        content.setdefault(split, []).append(pair)
    write_json(root / "M3D_Cap.json", content)
    return root


def test_m3d_cap_reads_reports_and_slices_on_demand(tmp_path):
    dataset = open_dataset(f"m3d_cap:{m3d_cap(tmp_path / 'M3D_Cap')}")
    assert {s: len(rows) for s, rows in dataset.splits.items()} == {"train": 2}
    note(dataset, "train 0 of 2, val 1 of 1, test 1 of 1")
    first, second = dataset.split("train")
    assert (first.answer, second.answer) == ("Nodule 0.\nNo more.", "")
    assert first.volume is not None and first.volume.load().shape == (32, 256, 256)
    assert all(np.isnan(first.volume.spacing_mm))
    assert len(first.images) == 32 and first.images[0].size == (256, 256)
    assert first.images[31].load().getpixel((5, 5)) == (255, 255, 255)
    assert first.images[0].load().getpixel((5, 5)) == (0, 0, 0)
    found = {p.code: p.count for p in check(dataset).problems}
    assert found["empty_answer"] == 1 and set(found) <= {"empty_answer", "duplicate"}


def test_m3d_volumes_of_another_shape_are_counted(tmp_path):
    root = m3d_cap(tmp_path / "M3D_Cap")
    np.save(tmp_path / "M3D_Cap_npy/ct_case/000001/Axial.npy", np.zeros((4, 4), np.float32))
    found = {p.code: p.count for p in check(open_dataset(f"m3d_cap:{root}")).problems}
    assert found["image_volume"] == 32
    assert sum(count for code, count in found.items() if code.startswith("volume")) == 1


def test_m3d_vqa_is_multiple_choice_over_slices(tmp_path):
    header = "Image Path,Text,Question Type,Question,Choice A,Choice B,Choice C,Choice D,Answer,Answer Choice"
    for split in ("train", "val", "test"):
        (tmp_path / f"M3D_VQA_{split}.csv").write_text(
            f"{header}\nc/a.npy,,3,Which organ?,liver,C. difficile,lung,heart,lung,C\n"
        )
    volume(tmp_path / "c" / "a.npy", 1.0)
    dataset = open_dataset(f"m3d_vqa:{tmp_path}")
    sample = dataset.split("val")[0]
    assert (sample.task, sample.answer) == ("mcq", "lung")
    assert sample.options == ("liver", "C. difficile", "lung", "heart")
    assert sample.attributes == {"question_type": "organ"} and len(sample.images) == 32
    note(dataset, "published: train 479,664, val 14,068, test 13,791")
    assert "Which organ?" in show(dataset)


def test_slake_boxes_follow_the_english_split(tmp_path):
    for place in range(1, 5):
        paint(tmp_path / "imgs" / f"xmlab{place}" / "source.jpg", 9 * place)
        boxes = [{"Liver": [1, 2, 10, 5]}, {"Lung": [0, 0, place - 1, 3]}]
        write_json(tmp_path / "imgs" / f"xmlab{place}" / "detection.json", boxes)
    (tmp_path / "imgs" / "xmlab2" / "detection.json").write_text("")
    for split, place in (("train", 1), ("validate", 2), ("test", 3)):
        entries = [
            {"img_name": f"xmlab{place}/source.jpg", "q_lang": "en"},
            {"img_name": "xmlab4/source.jpg", "q_lang": "zh"},
        ]
        write_json(tmp_path / f"{split}.json", entries)
    dataset = open_dataset(f"slake_detection:{tmp_path}")
    answers = {split: rows[0].answer for split, rows in dataset.splits.items()}
    liver = Box(name="Liver", x1=1.0, y1=2.0, x2=11.0, y2=7.0)
    assert answers["train"] == (liver,) and answers["val"] == ()
    assert answers["test"] == (liver, Box(name="Lung", x1=0.0, y1=0.0, x2=2.0, y2=3.0))
    assert note(dataset, "no English question names").endswith(": 1.")
    assert note(dataset, "Boxes that are empty").endswith(": 1.")
    assert check(dataset).ok and dataset.labels == ("Liver", "Lung")


def m3d_seg(root: Path) -> Path:
    content: dict[str, list] = {"name": [], "train": [], "test": []}
    for place, split in enumerate(("train", "train", "test")):
        case = root / "0003" / f"case_{place}"
        volume(case / "image.npy", 1.0)
        (case / "masks").mkdir()
        mask = np.zeros((1, 32, 256, 256), bool)
        if place != 1:
            mask[0, 3:7, 20:40, 100:101] = True
        np.save(case / "masks" / "mask_2.npy", mask)
        pair = {"image": f"/made/elsewhere/0003/case_{place}/image.npy"}
        pair["label"] = f"/made/elsewhere/0003/case_{place}/masks/mask_2.npy"
        content[split].append(pair)
    content["train"].append(
        {"image": "0003/case_0/image.npy", "label": "0003/case_0/masks/mask_9.npy"}
    )
    write_json(root / "0003" / "0003.json", content)
    return root


def test_m3d_seg_boxes_are_the_extent_of_the_mask(tmp_path):
    dataset = open_dataset(f"m3d_seg:{m3d_seg(tmp_path)}")
    assert {s: len(rows) for s, rows in dataset.splits.items()} == {"train": 2, "test": 1}
    assert note(dataset, "image or class is unknown").endswith(": 1.")
    sample = dataset.split("test")[0]
    spleen = Box3D(name="spleen", x1=100.0, y1=20.0, z1=3.0, x2=101.0, y2=40.0, z2=7.0)
    assert sample.answer == (spleen,) and sample.question == "spleen"
    assert "[(100,20,3),(101,40,7)]" in show(dataset)
    found = {p.code: p.count for p in check(dataset).problems}
    assert found["image_mask"] == 32 and found["volume_mask"] == 1
    alone = open_dataset(f"m3d_seg:{tmp_path / '0003'}")
    assert [s.id for s in alone.split("test")] == [sample.id]


def test_cuboids_are_read_back():
    liver = Box3D(name="liver", x1=0.0, y1=1.0, z1=2.0, x2=30.0, y2=40.0, z2=5.0)
    spleen = Box3D(name="spleen", x1=3.0, y1=1.0, z1=2.0, x2=31.0, y2=40.0, z2=5.0)
    worded, codec = task("detection3d"), Qwen2VLCodec()
    for question, answer in (("liver", (liver,)), ("", (liver, spleen)), ("liver", ())):
        sample = Sample(id="1", dataset="d", task="detection3d", answer=answer, question=question)
        assert worded.read(text_of(worded.write(sample, codec)), sample, codec) == answer
    sample = Sample(id="1", dataset="d", task="detection3d", answer=(liver,), question="liver")
    said = "The liver is at (0, 1, 2), (30, 40, 5)."
    assert worded.read(said, sample, codec) == (liver,)
    for nonsense in ("", "somewhere", "[(5,5,5),(1,9,9)]", "(1,2),(3,4)"):
        assert worded.read(nonsense, sample, codec) is None
    with pytest.raises(DataError, match="not a tuple of 3D boxes"):
        worded.write(
            Sample(id="1", dataset="d", task="detection3d", answer="liver", question="liver"), codec
        )

"""Boxes of COCO, VOC and ms-swift become detection samples in pixels; bad ones are found."""

import json
import os
from pathlib import Path

import PIL.Image
import pytest

from residency.data.check import check
from residency.data.show import show
from residency.dataset import open_dataset
from residency.datasets import voc as voc_reader
from residency.errors import DataError
from residency.types import Box
from test_formats_boxes import thing, voc

SHARED = Path(os.environ.get("RESIDENCY_SHARED_DATA", "../shared/data"))


def image(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (64, 48), (shade, 0, 0)).save(path)


def coco(names, start=1):
    images = [
        {"id": start + k, "file_name": name, "width": 64, "height": 48}
        for k, name in enumerate(names)
    ]
    boxes = [
        {"id": k, "image_id": entry["id"], "category_id": 1, "bbox": [1, 2, 10, 20]}
        for k, entry in enumerate(images)
    ]
    return {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "polyp"}]}


@pytest.mark.parametrize("layout", ["official", "roboflow", "single"])
def test_coco_layouts(tmp_path, layout):
    for shade, name in enumerate(("a.png", "b.png", "c.png")):
        side = "train" if name < "c" else "val"
        places = {"official": f"images/{side}2017", "roboflow": side, "single": "images"}
        image(tmp_path / places[layout] / name, 50 * shade)
    written = {
        "official": {"annotations/instances_train2017.json": ["a.png", "b.png"],
                     "annotations/instances_val2017.json": ["c.png"],
                     "annotations/captions_val2017.json": ["c.png"]},
        "roboflow": {"train/_annotations.coco.json": ["a.png", "b.png"],
                     "valid/_annotations.coco.json": ["c.png"]},
        "single": {"all.json": ["a.png", "b.png", "c.png"]},
    }[layout]  # fmt: skip
    if layout == "roboflow":
        (tmp_path / "val").rename(tmp_path / "valid")
    for name, images in written.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(coco(images)))
    dataset = open_dataset(str(tmp_path / "all.json" if layout == "single" else tmp_path))
    if layout != "single":
        assert {name: len(rows) for name, rows in dataset.splits.items()} == {"train": 2, "val": 1}
    samples = [sample for rows in dataset.splits.values() for sample in rows]
    assert len(samples) == 3 and dataset.labels == ("polyp",)
    for sample in samples:
        assert sample.answer == (Box(name="polyp", x1=1.0, y1=2.0, x2=11.0, y2=22.0),)
        assert sample.images[0].load().size == sample.images[0].size == (64, 48)
    assert check(dataset).ok
    assert "polyp" in show(dataset)


def test_voc_with_lists_and_a_bad_row(tmp_path):
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for shade, stem in enumerate("abc"):
        image(tmp_path / "JPEGImages" / f"{stem}.png", 60 * shade)
        voc(tmp_path / "Annotations" / f"{stem}.xml", thing("cell", 1, 1, 64, 48), name=stem)
    voc(tmp_path / "Annotations" / "c.xml", thing("cell", 5, 5, 5, 5), name="c.png")
    (tmp_path / "Annotations" / "d.xml").write_text("<annotation>")
    lists = {"train": "a 1\nc -1\nd\n", "test": "b\n"}
    for split, text in lists.items():
        (tmp_path / "ImageSets" / "Main" / f"{split}.txt").write_text(text)
    dataset = open_dataset(str(tmp_path))
    first = dataset.splits["train"][0]
    assert first.images[0].load().size == (64, 48)
    assert first.answer == (Box(name="cell", x1=0.0, y1=0.0, x2=64.0, y2=48.0),)
    problems = {problem.code: problem.first for problem in check(dataset).problems}
    assert problems["box_outside"] == (f"{tmp_path.name}/train/c",)
    assert problems["xml"][0].endswith("d.xml")
    (tmp_path / "ImageSets" / "Main" / "test.txt").write_text("zz\n")
    with pytest.raises(DataError, match="lists 'zz'"):
        open_dataset(str(tmp_path))


def swift(**objects):
    return {
        "messages": [
            {"role": "user", "content": "<image>Find <ref-object>"},
            {"role": "assistant", "content": "<bbox>"},
        ],
        "images": ["a.png"],
        "objects": objects,
        "split": "train",
    }


def test_swift_objects(tmp_path):
    image(tmp_path / "images" / "a.png", 9)
    rows = [
        swift(ref=["dog"], bbox=[[1, 2, 30, 40], [5, 5, 9, 9]]),
        swift(ref=["dog", "cat"], bbox=[[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]], bbox_type="norm1")
        | {"split": "test"},
        {**swift(), "objects": json.dumps({"ref": [], "bbox": [[1, 1, 2, 2]]})},
        swift(ref=["a", "b"], bbox=[[1, 1, 2, 2]]),
        swift(ref=["a"], bbox=[[1, 1, 2]]),
        {**swift(ref=["a"], bbox=[[1, 1, 2, 2]]), "images": []},
        {**swift(ref=["a"], bbox=[[1, 1, 2, 2]]), "split": "tset"},
        {**swift(ref=["a"], bbox=[[1, 1, 2, 2]]), "split": ""},
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    dataset = open_dataset(str(tmp_path / "x.jsonl"))
    samples = {s.id.rpartition(" ")[2]: s for rows in dataset.splits.values() for s in rows}
    assert {name: len(rows) for name, rows in dataset.splits.items()} == {"train": 2, "test": 1}
    assert (samples["1"].question, len(samples["1"].answer)) == ("dog", 2)
    assert samples["2"].answer[1] == Box(name="cat", x1=32.0, y1=24.0, x2=64.0, y2=48.0)
    assert samples["3"].answer == (Box(name="", x1=1.0, y1=1.0, x2=2.0, y2=2.0),)
    faults = [fault for rows in dataset.splits.values() for fault in rows.faults]
    assert [fault.code for fault in faults] == [
        "box", "box", "placeholder", "split", "split",
    ]  # fmt: skip


@pytest.mark.shared_data
@pytest.mark.skipif(not (SHARED / "bccd").is_dir(), reason="RESIDENCY_SHARED_DATA has no bccd")
def test_the_two_bad_boxes_of_bccd_are_found():
    dataset = voc_reader.load(str(SHARED / "bccd"))
    bad = [
        sample.id
        for rows in dataset.splits.values()
        for sample in rows
        for box in sample.answer
        if not (0 <= box.x1 < box.x2 <= 640 and 0 <= box.y1 < box.y2 <= 480)
    ]
    assert sorted(name.rpartition("_")[2] for name in bad) == ["00338", "00343"]

"""VOC and COCO boxes are read in pixels, upper corner exclusive; what is wrong is named."""

import json

import pytest

from residency.data.annotations import Annotated, read_coco, read_voc
from residency.data.documents import json_lines, read_json
from residency.errors import DataError
from residency.types import Box


def voc(path, *objects: str, name="images\\cell.jpg", size="<width>64</width><height>48</height>"):
    body = f"<filename>{name}</filename><size>{size}</size>{''.join(objects)}"
    path.write_text(f"<annotation>{body}</annotation>")
    return path


def thing(name, xmin, ymin, xmax, ymax):
    corners = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>"


def test_voc_counts_from_one_and_includes_the_last_pixel(tmp_path):
    found = read_voc(voc(tmp_path / "a.xml", thing(" red  cell ", 1, 1, 64, 48)))
    assert (found.image, found.size) == ("cell.jpg", (64, 48))
    assert found.boxes == (Box(name="red cell", x1=0.0, y1=0.0, x2=64.0, y2=48.0),)


def test_a_voc_box_without_extent_keeps_none(tmp_path):
    box = read_voc(voc(tmp_path / "a.xml", thing("WBC", 181, 329, 181, 329))).boxes[0]
    assert (box.x2 - box.x1, box.y2 - box.y1) == (0, 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<annotation>", "not well-formed"),
        ("<annotation/>", "names no image"),
        ("", "is empty"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "entities"),
        (f"<a><filename>x.jpg</filename>{thing('', 1, 1, 2, 2)}</a>", "object 1: no name"),
        (f"<a><filename>x.jpg</filename>{thing('c', 'nan', 1, 2, 2)}</a>", "4 finite numbers"),
        (f"<a><filename>x.jpg</filename>{thing('c', '', 1, 2, 2)}</a>", "4 finite numbers"),
    ],
)
def test_voc_faults(tmp_path, text, says):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(DataError, match=says):
        read_voc(tmp_path / "a.xml")


COCO = {
    "images": [
        {"id": 7, "file_name": "a.jpg", "width": 10, "height": 8},
        {"id": 8, "file_name": "b.jpg"},
    ],
    "categories": [{"id": 1, "name": "polyp"}, {"id": 3, "name": "tool"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3.5, 4]},
        {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1},
    ],
}


def test_coco_boxes_become_corners(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps(COCO))
    found = read_coco(tmp_path / "c.json")
    first, second = found.images
    assert (first.image, first.size, first.id) == ("a.jpg", (10, 8), "7")
    assert first.boxes == (Box(name="tool", x1=1.0, y1=2.0, x2=4.5, y2=6.0),)
    assert (second.boxes, second.size) == ((), None)
    assert (found.names, found.crowds) == (("polyp", "tool"), 1)


@pytest.mark.parametrize(
    ("entry", "kept", "says"),
    [
        ({"image_id": 9, "category_id": 1, "bbox": [0, 0, 1, 1]}, "ab", "image_id"),
        ({"image_id": [7], "category_id": 1, "bbox": [0, 0, 1, 1]}, "ab", "image_id"),
        (5, "ab", "annotation 2: its image_id"),
        ({"image_id": 7, "category_id": 2, "bbox": [0, 0, 1, 1]}, "b", "category_id"),
        ({"image_id": 7, "category_id": 1, "bbox": [0, 0, 1]}, "b", "4 finite"),
        ({"image_id": 7, "category_id": 1, "bbox": {"x": 1}}, "b", "4 finite"),
    ],
)
def test_a_bad_annotation_of_coco_costs_its_image_alone(tmp_path, entry, kept, says):
    document = {**COCO, "annotations": [*COCO["annotations"], entry]}
    (tmp_path / "c.json").write_text(json.dumps(document))
    found = read_coco(tmp_path / "c.json").images
    assert [one.image[0] for one in found if isinstance(one, Annotated)] == [*kept]
    (error,) = [one for one in found if not isinstance(one, Annotated)]
    assert error.code == "box" and says in str(error)


def test_an_image_of_coco_needs_a_name(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({**COCO, "images": [{"id": 7}]}))
    assert read_coco(tmp_path / "c.json").images[0].code == "image"


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("images", [{"id": 7, "file_name": "a"}, {"id": 7, "file_name": "b"}], "twice"),
        ("categories", None, "not COCO"),
    ],
)
def test_coco_faults(tmp_path, key, value, says):
    (tmp_path / "c.json").write_text(json.dumps({**COCO, key: value}))
    with pytest.raises(DataError, match=says):
        read_coco(tmp_path / "c.json")


@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        (b'{"a": 1,}', "json", "column"),
        (b'{"a": 1} {"a": 2}', "json", "column 10"),
        (b'{"a": 1, "a ": 2}', "json_value", "'a' twice"),
        (b'{"a": NaN}', "json_value", "NaN"),
        (b'{"a": -Infinity}', "json_value", "Infinity"),
        (b'{"a": "\\ud800"}', "json_encoding", "half of a character"),
        (b"[" * 100_000, "json_depth", "nested too deeply"),
    ],
    ids=["comma", "two", "twice", "nan", "infinity", "surrogate", "depth"],
)
def test_a_bad_line_of_json_has_a_code_and_a_place(tmp_path, data, code, says):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"ok": 1}\r\n\r\n' + data + b"\r\n")
    (first, good), (line, error) = json_lines(path)
    assert (first, good) == (1, {"ok": 1})
    assert (line, error.code) == (3, code)
    assert says in str(error) and f"{path} line 3" in str(error)


def test_files_that_are_no_text(tmp_path):
    for data, says in ((b'{"a": "\xff"}', "line 1: byte 0xff"), (b" \n", "empty"), (b"\0", "NUL")):
        (tmp_path / "a.json").write_bytes(data)
        with pytest.raises(DataError, match=says):
            read_json(tmp_path / "a.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_json(tmp_path / "absent.json")

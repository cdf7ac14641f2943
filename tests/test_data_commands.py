"""The data commands: list, show with its reader and page, check of reported defects, convert and back."""

import io
import json
import os
import re
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from residency import cli
from residency.data import sinks
from residency.data.check import check
from residency.data.convert import convert, row_of
from residency.data.images import read_image
from residency.data.manifest import CONFORMS
from residency.dataset import Dataset, find_reader, open_dataset
from residency.errors import DataError, UsageError
from residency.evaluate.data_page import spread, write_data_page
from residency.evaluate.drawing import shapes
from residency.types import Box, Box3D, Picture, Point, Sample


def picture(number: int, size=(20, 10)) -> Picture:
    """An image of noise held in memory."""
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Picture(key=f"made/{number}", load=lambda: Image.fromarray(pixels), size=size)


def broken() -> Picture:
    return Picture(key="made/broken", load=lambda: read_image(b"no image", "made/broken"))


def sample(number: int, **facts) -> Sample:
    given = {
        "id": f"made/{number}",
        "dataset": "made",
        "task": "vqa",
        "question": "What is shown?",
        "answer": f"answer {number}",
        "images": (picture(number),),
    }
    return Sample(**(given | facts))


def dataset(**splits) -> Dataset:
    return Dataset(
        name="made",
        splits=splits,
        digest="d",
        licence="CC0 1.0",
        source="example.org",
        modality={"en": "X-ray", "zh": "X光"},
    )


MIXED = dataset(
    train=[
        sample(0, group="patient 7", also=(sample(9, question="Where?", answer="left"),)),
        sample(1, task="caption", question="", answer="Two lines.\nOf text."),
        sample(2, task="classification", question="", answer="b", options=("a", "b")),
    ],
    test=[sample(3, images=(picture(3), picture(4))), sample(5, language="zh", answer="左")],
)
BOXES = dataset(
    train=[
        sample(
            number,
            task="detection",
            question="",
            answer=(
                Box(name="cell", x1=1.5, y1=2.0, x2=9.0, y2=9.25),
                Box(name="dot", x1=0.0, y1=0.0, x2=20.0, y2=10.0),
            ),
        )
        for number in range(3)
    ]
)


def pixels(one: Picture) -> np.ndarray:
    return np.asarray(one.load())


@pytest.fixture(autouse=True)
def salt(monkeypatch):
    monkeypatch.setenv("RESIDENCY_SALT", "test")


@pytest.mark.parametrize("out", ["out", "out.parquet"])
def test_what_is_written_reads_back(tmp_path, out):
    written = convert(MIXED, tmp_path / out)
    assert written.rows == {"train": 3, "test": 2} and not written.left_out
    assert find_reader(str(tmp_path / out))[0] == ("messages" if out == "out" else "parquet")
    back = open_dataset(str(tmp_path / out))
    assert {name: len(rows) for name, rows in back.splits.items()} == {"train": 3, "test": 2}
    for name, samples in MIXED.splits.items():
        for first, second in zip(samples, back.splits[name], strict=True):
            assert second.id == f"out/{first.id.removeprefix('made/')}"
            said = f"{first.answer}." if first.task == "classification" else first.answer
            assert second.answer == said
            assert [one.answer for one in second.also] == [one.answer for one in first.also]
            assert [one.question for one in second.also] == [one.question for one in first.also]
            assert len(second.images) == len(first.images)
            for one, other in zip(first.images, second.images, strict=True):
                assert (pixels(one) == pixels(other)).all()
    question, caption, label = back.splits["train"]
    assert (question.task, question.question) == ("vqa", "What is shown?")
    assert question.group and question.group != "7" and "patient" not in question.group
    assert (caption.task, caption.question) == ("caption", "")
    assert "a" in label.question and label.question != ""
    assert check(back).ok


def test_the_folder_keeps_its_card_and_has_a_manifest(tmp_path):
    convert(MIXED, tmp_path / "out")
    back = open_dataset(str(tmp_path / "out"))
    assert (back.licence, back.source, back.modality) == ("CC0 1.0", "example.org", MIXED.modality)
    facts = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert facts["conformsTo"] == CONFORMS and facts["license"] == "CC0 1.0"
    assert facts["residency"]["rows"] == {"train": 3, "test": 2}
    assert facts["residency"]["images"] == 6
    described = {entry["@id"]: entry for entry in facts["distribution"]}
    for name in ("train.jsonl", "test.jsonl"):
        assert described[name]["sha256"] == digest(tmp_path / "out" / name)
    images = sorted((tmp_path / "out" / "images").rglob("*.png"))
    assert len(images) == 6
    assert all(path.stem == digest(path) for path in images)
    fields = {field["name"] for field in facts["recordSet"][0]["field"]}
    first = json.loads((tmp_path / "out" / "train.jsonl").read_text().splitlines()[0])
    assert fields == set(first)
    assert "patient 7" not in (tmp_path / "out" / "train.jsonl").read_text()


def digest(path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_boxes_are_exact_in_json_lines_and_text_in_parquet(tmp_path):
    convert(BOXES, tmp_path / "out")
    back = open_dataset(str(tmp_path / "out"))
    assert find_reader(str(tmp_path / "out"))[0] == "objects"
    assert [one.answer for one in back.splits["train"]] == [
        one.answer for one in BOXES.splits["train"]
    ]
    convert(BOXES, tmp_path / "out.parquet")
    text = open_dataset(str(tmp_path / "out.parquet")).splits["train"][0].answer
    assert "cell" in text and "(0,0),(1000,1000)" in text


def test_a_detection_set_with_other_tasks_is_written_as_text(tmp_path):
    mixed = dataset(train=[*BOXES.splits["train"], *MIXED.splits["train"]])
    convert(mixed, tmp_path / "out")
    assert find_reader(str(tmp_path / "out"))[0] == "messages"
    assert "box_start" in open_dataset(str(tmp_path / "out")).splits["train"][0].answer


def test_what_cannot_be_written_is_left_out_and_counted(tmp_path, capsys):
    rows = [
        sample(0),
        sample(1, images=(broken(),)),
        sample(2, answer=" "),
        sample(3, question="<image> again?"),
    ]
    written = convert(dataset(train=rows), tmp_path / "out")
    assert written.rows == {"train": 1}
    assert written.left_out == {"image_format": 1, "empty_answer": 1, "placeholder": 1}
    assert "left out: image_format 1" in str(written)
    facts = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert facts["residency"]["left_out"] == dict(written.left_out)
    with pytest.raises(DataError, match="no sample could be written"):
        convert(dataset(train=rows[1:]), tmp_path / "none")
    assert sorted(os.listdir(tmp_path)) == ["out"]  # no staging folder is left behind


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "p.manifest.json").write_text("{}")
    for name in ("out", "p.parquet"):
        with pytest.raises(UsageError, match="nothing is written over"):
            convert(MIXED, tmp_path / name)


def test_a_failure_on_the_way_leaves_nothing(tmp_path):
    def fails():
        raise OSError(28, "No space left on device")

    rows = [sample(0), sample(1, images=(Picture(key="x", load=fails),))]
    for name in ("out", "out.parquet"):
        with pytest.raises(OSError, match="No space"):
            convert(dataset(train=rows), tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_parquet_holds_bounded_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(sinks, "GROUP_BYTES", 1)
    convert(MIXED, tmp_path / "out.parquet")
    file = pyarrow.parquet.ParquetFile(tmp_path / "out.parquet")
    assert file.metadata.num_row_groups == 5
    row = file.read_row_group(0).to_pylist()[0]
    assert row["split"] == "train" and row["images"][0]["bytes"][:4] == b"\x89PNG"
    facts = json.loads((tmp_path / "out.manifest.json").read_text())
    assert facts["distribution"][0]["sha256"] == digest(tmp_path / "out.parquet")


def test_plain_files_are_copied_and_those_with_exif_are_not(tmp_path):
    image = picture(0, (16, 8)).load()
    image.save(tmp_path / "plain.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / "turned.jpg", exif=exif)
    from residency.data.images import file_picture

    data, suffix = sinks.encoded(file_picture(tmp_path, "plain.jpg"))
    assert (data, suffix) == ((tmp_path / "plain.jpg").read_bytes(), ".jpg")
    data, suffix = sinks.encoded(file_picture(tmp_path, "turned.jpg"))
    assert suffix == ".png"
    with Image.open(io.BytesIO(data)) as turned:
        assert turned.size == (8, 16) and not turned.getexif()


def test_a_volume_without_slices_is_not_written():
    from residency.types import Volume

    volume = Volume(key="v", load=lambda: np.zeros((2, 2, 2)), spacing_mm=(1.0, 1.0, 1.0))
    with pytest.raises(DataError, match="volume without pictures"):
        row_of(sample(0, images=(), volume=volume))


def test_check_counts_what_a_reader_left_out():
    found = check(replace(MIXED, defects={"Boxes without area (left out)": 2}, notes=("A note.",)))
    text = str(found)
    assert found.ok and found.defects and "No problems found" not in text
    assert re.search(r"in_files +2 +Boxes without area \(left out\)", text)
    assert "note: A note." in text
    with pytest.raises(DataError, match=r"in_files 2 \(Boxes without area"):
        check(replace(MIXED, defects={"Boxes without area (left out)": 2}), strict=True)
    assert "No problems found.\nnote: A note." in str(check(replace(MIXED, notes=("A note.",))))


def test_the_page_draws_what_is_located(tmp_path):
    points = sample(8, task="landmark", question="tip", answer=(Point(name="<tip>", x=4.0, y=5.0),))
    mixed = dataset(train=[*BOXES.splits["train"], points], test=[sample(1, images=(broken(),))])
    write_data_page(tmp_path / "page.html", mixed)
    page = (tmp_path / "page.html").read_text()
    assert page.count("<rect") == 6 and page.count("<circle") == 1
    assert '<rect x="1.5" y="2" width="7.5" height="7.25"' in page
    assert 'viewBox="0 0 20 10"' in page and "cell × 1, dot × 1" in page
    assert "&lt;tip&gt;" in page and "<tip>" not in page
    assert "made/broken is damaged" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert "patient 7" not in page


def test_cuboids_are_drawn_where_their_slices_are():
    cube = Box3D(name="liver", x1=2.0, y1=3.0, z1=4.0, x2=6.0, y2=8.0, z2=10.0)
    one = sample(
        0,
        task="detection3d",
        answer=(cube,),
        attributes={"slices": "0 5", "first_mm": "0", "step_mm": "1"},
    )
    assert list(shapes(one.answer, one.attributes, 0, (20, 10))) == []
    assert list(shapes(one.answer, one.attributes, 1, (20, 10))) == [
        Box(name="liver", x1=14.0, y1=2.0, x2=18.0, y2=7.0)
    ]
    assert spread(100, 3) == [0, 49, 99] and spread(2, 12) == [0, 1] and spread(0, 3) == []


def test_the_commands(tmp_path, capsys, monkeypatch):
    convert(MIXED, tmp_path / "set")
    monkeypatch.delenv("RESIDENCY_DATA", raising=False)
    assert cli.main(["data", "list"]) == 0
    assert "vqa_rad" in capsys.readouterr().out
    path, page = str(tmp_path / "set"), tmp_path / "page.html"
    assert cli.main(["data", "show", path, f"page={page}"]) == 0
    assert re.search(r"reader +messages", capsys.readouterr().out) and page.is_file()
    assert cli.main(["data", "convert", path, str(tmp_path / "again.parquet"), "limit=1"]) == 0
    assert "train 1, test 1 rows" in capsys.readouterr().out
    for words, said in [
        (["convert", path], "data convert NAME_OR_PATH OUT"),
        (["convert", path, str(tmp_path / "x"), "limit=0"], "limit=0"),
        (["convert", path, path], "nothing is written over"),
        (["list", "x=1"], "x"),
    ]:
        assert cli.main(["data", *words]) == 2
        assert said in capsys.readouterr().err

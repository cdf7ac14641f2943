"""Users' files are read unchanged: every shape, every way to give an image, and every fault by code."""

import base64
import io
import json

import numpy as np
import PIL.Image
import pytest

from residency.data.check import check
from residency.data.documents import RowError
from residency.data.said import read_row
from residency.dataset import open_dataset
from residency.errors import DataError, UsageError

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)


def png() -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(PIXELS).save(stream, "PNG")
    return stream.getvalue()


CODED = base64.b64encode(png()).decode()
LLAVA = {
    "id": "7",
    "image": "a.png",
    "conversations": [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "<image>\nWhat is shown?"},
        {"from": "gpt", "value": "A chest."},
        {"from": "human", "value": "Is it normal? "},
        {"from": "gpt", "value": "No.\nThere is fluid."},
    ],
}


def chat(content, answer="A chest.", **more):
    turns = [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **more}


def text(value):
    return {"type": "text", "text": value}


ROWS = {
    "conversations": LLAVA,
    "messages": chat("<image>What is shown?", images=["a.png"]),
    "messages openai": chat(
        [text("What is shown?"), {"type": "image_url", "image_url": {"url": "a.png"}}]
    ),
    "messages data": chat(
        [{"type": "image_url", "image_url": "data:image/png;base64," + CODED}, text("What is shown?")]
    ),
    "messages anthropic": chat(
        [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": CODED}},
            text("What is shown?"),
        ]
    ),
    "messages hf": chat([{"type": "image"}, text("What is shown?")], images=["a.png"]),
    "prompts": {"prompt": "What is shown?", "completion": " A chest. ", "image": "a.png"},
    "prompts trl": {
        "prompt": [{"role": "user", "content": "What is shown?"}],
        "completion": [{"role": "assistant", "content": "A chest."}],
        "images": ["a.png"],
    },
    "prompts swift": {"query": "<image>What is shown?", "response": "A chest.", "images": ["a.png"]},
    "prompts alpaca": {"instruction": "What is", "input": "shown?", "output": "A chest.", "image": "a.png"},
    "captions": {"image": "a.png", "caption": "A chest."},
}  # fmt: skip


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize("folder", ["", "images"])
def test_every_shape_is_inferred_and_read(tmp_path, kind, suffix, folder):
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "a.png").write_bytes(png())
    rows = [{**ROWS[kind], "split": "train"}, {**ROWS[kind], "split": "validation"}]
    lines = "\r\n".join(json.dumps(row) for row in rows)
    body = lines if suffix == ".jsonl" else f"\n [{','.join(lines.splitlines())}]"
    path = tmp_path / f"mine{suffix}"
    path.write_bytes(b"\xef\xbb\xbf" + body.encode())
    dataset = open_dataset(str(path))
    assert {name: len(rows) for name, rows in dataset.splits.items()} == {"train": 1, "val": 1}
    sample = dataset.splits["train"][0]
    assert np.array_equal(np.asarray(sample.images[0].load()), PIXELS)
    assert sample.answer == "A chest."
    expected = {"captions": "", "prompts alpaca": "What is\nshown?"}.get(kind, "What is shown?")
    assert sample.question == expected
    assert sample.task == ("vqa" if sample.question else "caption")


def test_later_turns_are_further_samples_of_the_same_image(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps([LLAVA, {**LLAVA, "id": "8"}]))
    (tmp_path / "test.json").write_text(json.dumps([LLAVA]))
    dataset = open_dataset(str(tmp_path))
    assert list(dataset.splits) == ["train", "test"]
    first = dataset.splits["train"][1]
    assert first.id == f"{tmp_path.name}/8"
    (second,) = first.also
    assert (second.question, second.answer) == ("Is it normal?", "No.\nThere is fluid.")
    assert (second.task, second.images) == ("caption", first.images)
    assert "System turns left out" in dataset.notes[-1] and "3" in dataset.notes[-1]


def row(**changes):
    return {**LLAVA, **changes}


def turn(role, value):
    return {"from": role, "value": value}


@pytest.mark.parametrize(
    ("value", "code", "says"),
    [
        ({"id": 1, "image": "a", "conversatons": []}, "shape", "Did you mean 'conversations'"),
        ([1], "shape", "expected an object"),
        (row(image="http://x.example/a.png"), "url", "nothing is fetched"),
        (row(image=["a", "b"]), "placeholder", "1 tags <image> for 2 images"),
        (row(image=None), "placeholder", "1 tags <image> for 0 images"),
        (row(image=5), "image", "given as int"),
        (row(image=""), "image", "expected a path"),
        (row(conversations=[]), "turns", "no list of turns"),
        (row(conversations=["hello"]), "turns", "a turn is str"),
        (row(conversations=[turn("gpt", "x")]), "turns", "turns of gpt"),
        (row(conversations=[turn("human", "x"), turn("human", "y")]), "turns", "human, human"),
        (row(conversations=[turn("human", "x"), turn("gpt", " ")]), "empty_answer", "answer 1"),
        (row(conversations=[turn("human", "x"), turn("gpt", "<image>")]), "placeholder", "inside"),
        (row(conversations=[turn("human", "x"), turn("gpt", None)]), "text", "NoneType"),
        (chat([{"type": "video", "video": "a.mp4"}]), "content", "'video'"),
        (chat("x", images=["data:image/png;base64,@@"]), "image", "base64"),
        ({"image": "a", "caption": ""}, "empty_answer", "empty"),
        ({"image": "a", "label": " "}, "empty_answer", "empty label"),
        ({"image": None, "label": "x"}, "image", "no image"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(value, code, says):
    with pytest.raises(RowError, match=says) as caught:
        read_row(value, "rows.json row 3")
    assert caught.value.code == code and "rows.json row 3" in str(caught.value)


def test_rows_may_lie_under_one_key(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    row = {"image": "a.png", "caption": "A chest."}
    (tmp_path / "x.json").write_text(json.dumps({"version": 1, "data": [row]}))
    assert open_dataset(str(tmp_path / "x.json")).splits["train"][0].answer == "A chest."


def test_captions_in_a_table(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    path = tmp_path / "x.csv"
    path.write_bytes(
        b'\xef\xbb\xbfimage , text,split\r\na.png,"A chest, ""clear""",train\r\na.png,,train\r\n'
    )
    dataset = open_dataset(str(path))
    (sample,) = dataset.splits["train"]
    assert (sample.task, sample.answer) == ("caption", 'A chest, "clear"')
    assert [fault.code for fault in dataset.splits["train"].faults] == ["empty_answer"]
    path.write_text("image,label\na.png,x\n")
    assert open_dataset(str(path)).splits["train"][0].task == "classification"  # read by `table`


def test_data_without_any_image_is_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(
        json.dumps([{**LLAVA, "image": None, "conversations": LLAVA["conversations"][3:]}])
    )
    with pytest.raises(DataError, match="no row names an image"):
        open_dataset(str(path))
    path.write_text(json.dumps([{"img_name": "a.png", "question": "What?", "answer": "A chest."}]))
    with pytest.raises(UsageError, match="no reader recognises"):
        open_dataset(str(path))


def test_integers_and_spaces_in_keys_are_forgiven():
    said = read_row({"image": "a", "question": " How many? ", "answer": 3, "id": 12}, "row")
    assert (said.turns, said.id) == ((("How many?", "3"),), "12")


def test_bad_rows_are_kept_beside_the_samples(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    good = json.dumps({**LLAVA, "split": "val"})
    path = tmp_path / "mine.jsonl"
    path.write_text(f'{good}\n{{"id": 1,}}\n{good.replace("A chest.", " ")}\n')
    dataset = open_dataset(str(path))
    rows = dataset.splits["val"]
    assert len(rows) == 1
    assert [(fault.code, fault.where) for fault in rows.faults] == [
        ("json", f"{path} line 2"),
        ("empty_answer", f"{path} line 3"),
    ]
    assert any("json 1, empty_answer 1" in note for note in dataset.notes)


def test_files_without_usable_rows(tmp_path):
    path = tmp_path / "a.json"
    for body, says in (
        ("[]", "no reader"),
        ('{"image": "a", "caption": ""}', "no row can be used"),
    ):
        path.write_text(body)
        with pytest.raises(DataError if "row" in says else Exception, match=says):
            open_dataset(str(path))
    from residency.datasets import captions

    path.write_text("5")
    with pytest.raises(DataError, match="no list of rows"):
        captions.load(str(path))
    with pytest.raises(DataError, match="No such file"):
        captions.load(str(tmp_path / "absent.json"))


def test_paths_that_leave_the_folder_are_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "in" / "x.json").write_text(
        json.dumps([{"image": name, "caption": "c"} for name in ("../a.png", "/a.png", "a\0b")])
    )
    dataset = open_dataset(str(tmp_path / "in" / "x.json"))
    pictures = [s.images[0] for rows in dataset.splits.values() for s in rows]
    for picture in pictures:
        with pytest.raises(DataError, match="leads out of"):
            picture.load()
    assert check(dataset).problems[0].code == "image_escape"

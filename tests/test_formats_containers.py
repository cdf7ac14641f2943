"""Images inside Parquet, Arrow and tar files are read in place, split by split; damage is named."""

import io
import json
import tarfile

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet
import pytest

from residency.data.check import check
from residency.dataset import open_dataset
from residency.errors import DataError

RNG = np.random.default_rng(0)
PIXELS = [RNG.integers(0, 256, (8, 12, 3), np.uint8) for _ in range(6)]


def png(place: int) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(PIXELS[place]).save(stream, "PNG")
    return stream.getvalue()


def shown(sample) -> np.ndarray:
    return np.asarray(sample.images[0].load())


def table(places, **columns) -> pa.Table:
    images = [{"bytes": png(place), "path": None} for place in places]
    return pa.table({"image": images, **columns})


def test_parquet_with_embedded_images_and_class_numbers(tmp_path):
    split = ["train", "train", "train", "test"]
    path = tmp_path / "x.parquet"
    pyarrow.parquet.write_table(table(range(4), label=["b", "a", "b", "a"], split=split), path)
    dataset = open_dataset(str(path))
    assert {name: len(rows) for name, rows in dataset.splits.items()} == {"train": 3, "test": 1}
    assert dataset.labels == ("a", "b")
    last = dataset.splits["test"][0]
    assert (last.task, last.answer, last.options) == ("classification", "a", ("a", "b"))
    assert np.array_equal(shown(last), PIXELS[3])
    assert check(dataset).ok


def test_a_folder_of_parquet_shards(tmp_path):
    (tmp_path / "data").mkdir()
    shards = {"train-00000-of-00002": (0, 1), "train-00001-of-00002": (2,)}
    for name, places in {**shards, "validation-00000-of-00001": (3,)}.items():
        rows = table(places, caption=[f"Picture {place}." for place in places])
        pyarrow.parquet.write_table(rows, tmp_path / "data" / f"{name}.parquet")
    dataset = open_dataset(str(tmp_path))
    assert {name: len(rows) for name, rows in dataset.splits.items()} == {"train": 3, "val": 1}
    assert dataset.splits["train"][2].answer == "Picture 2."
    assert np.array_equal(shown(dataset.splits["val"][0]), PIXELS[3])


def test_parquet_conversations_with_several_images_and_a_bad_row(tmp_path):
    turns = [
        {"role": "user", "content": "<image><image> Same?"},
        {"role": "assistant", "content": "No."},
    ]
    rows = pa.table(
        {
            "images": [[{"bytes": png(0)}, {"bytes": png(1)}], [{"bytes": png(2)}]],
            "messages": [turns, turns],
            "split": ["train", "train"],
        }
    )
    pyarrow.parquet.write_table(rows, tmp_path / "x.parquet")
    dataset = open_dataset(str(tmp_path / "x.parquet"))
    (sample,) = dataset.splits["train"]
    assert [np.array_equal(np.asarray(p.load()), PIXELS[k]) for k, p in enumerate(sample.images)]
    assert (sample.question, sample.answer) == ("Same?", "No.")
    (fault,) = dataset.splits["train"].faults
    assert (fault.code, fault.where) == ("placeholder", "x row 2")


def test_labels_of_a_kind_that_is_none_are_bad_rows(tmp_path):
    path = tmp_path / "x.parquet"
    for labels, good in (([1.5, float("nan")], 1), ([2, None], 1), ([["a"], ["b"]], 0)):
        pyarrow.parquet.write_table(table((0, 1), label=labels, split=["train"] * 2), path)
        if not good:
            with pytest.raises(DataError, match="label is list; expected text"):
                open_dataset(str(path))
            continue
        dataset = open_dataset(str(path))
        rows = dataset.splits["train"]
        assert (len(rows), len(rows.faults), len(dataset.labels)) == (1, 1, 1)


def save_to_disk(folder, rows: pa.Table, names) -> None:
    folder.mkdir(parents=True)
    path = str(folder / "data-00000-of-00001.arrow")
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": folder.name}
    (folder / "state.json").write_text(json.dumps(state))
    features = {"label": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    info = {"features": features, "license": "cc-by-4.0"}
    (folder / "dataset_info.json").write_text(json.dumps(info))


def test_hugging_face_on_disk_without_its_library(tmp_path):
    names = ["normal", "pneumonia"]
    save_to_disk(tmp_path / "train", table((0, 1), label=[1, 0]), names)
    save_to_disk(tmp_path / "test", table((2,), label=[1]), names)
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    dataset = open_dataset(str(tmp_path))
    assert (dataset.labels, dataset.licence) == (("normal", "pneumonia"), "cc-by-4.0")
    assert [sample.answer for sample in dataset.splits["train"]] == ["pneumonia", "normal"]
    assert np.array_equal(shown(dataset.splits["test"][0]), PIXELS[2])
    one = open_dataset(str(tmp_path / "train"))
    assert sum(map(len, one.splits.values())) == 2


def test_hugging_face_faults(tmp_path):
    folder = tmp_path / "set"
    save_to_disk(folder, table((0,), label=[0]), ["a", "b"])
    arrow = folder / "data-00000-of-00001.arrow"
    arrow.write_bytes(arrow.read_bytes()[:100])
    with pytest.raises(DataError, match="not a whole table"):
        open_dataset(str(folder))
    (folder / "state.json").write_text('{"_data_files": [{"filename": "../x.arrow"}]}')
    with pytest.raises(DataError, match="does not name the Arrow files"):
        open_dataset(str(folder))
    (folder / "dataset_dict.json").write_text('{"splits": ["other"]}')
    with pytest.raises(DataError, match="splits other; allowed, each once"):
        open_dataset(str(folder))


def shard(path, members: dict[str, bytes]):
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_webdataset_shards(tmp_path):
    shard(
        tmp_path / "train-000000.tar",
        {"a/1.png": png(0), "a/1.txt": b" First. ", "a/2.txt": b"Second.", "a/2.png": png(1)},
    )
    row = {"question": "What?", "answer": "A thing.", "image": "elsewhere.png"}
    shard(tmp_path / "val-000000.tar", {"3.png": png(2), "3.json": json.dumps(row).encode()})
    dataset = open_dataset(str(tmp_path))
    first, second = dataset.splits["train"]
    assert (first.answer, second.answer, first.id) == ("First.", "Second.", f"{tmp_path.name}/a/1")
    assert np.array_equal(shown(second), PIXELS[1])
    third = dataset.splits["val"][0]
    assert (third.task, third.answer) == ("vqa", "A thing.")
    assert np.array_equal(shown(third), PIXELS[2])


def test_webdataset_classes_and_faults(tmp_path):
    members = {f"{place}.png": png(place) for place in range(6)}
    members |= {f"{place}.cls": str(place % 2).encode() for place in range(5)}
    path = shard(tmp_path / "x.tar", members)
    dataset = open_dataset(str(path))
    assert dataset.labels == ("0", "1")
    (fault,) = [fault for rows in dataset.splits.values() for fault in rows.faults]
    assert fault.code == "shape" and fault.where.endswith("x.tar sample 5")
    with tarfile.open(tmp_path / "twice.tar", "w") as tar:
        for data in (png(0), png(1)):
            info = tarfile.TarInfo("1.png")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with pytest.raises(DataError, match=r"'\.png' twice"):
        open_dataset(str(tmp_path / "twice.tar"))
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match=r"x\.tar is (cut off|not a whole)"):
        open_dataset(str(path))
    path.write_bytes(b"\x1f\x8b" + bytes(600))
    with pytest.raises(DataError, match="uncompressed tar"):
        open_dataset(str(path))

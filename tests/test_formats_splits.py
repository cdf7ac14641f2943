"""A split that is misspelt or left blank never mixes training with test, and bad rows never vanish."""

import json

import pyarrow as pa
import pyarrow.parquet
import pytest

from residency.data.check import check
from residency.data.splits import unknown_split
from residency.dataset import Dataset, open_dataset
from residency.errors import DataError, UsageError
from test_formats import png
from test_formats_containers import save_to_disk, shard, table
from test_formats_detection import coco, image


def sizes(dataset: Dataset) -> dict[str, tuple[int, int]]:
    """Samples and bad rows by split."""
    return {name: (len(rows), len(rows.faults)) for name, rows in dataset.splits.items()}


def faults(dataset: Dataset) -> list[tuple[str, str]]:
    found = [fault for rows in dataset.splits.values() for fault in rows.faults]
    return [(fault.code, str(fault)) for fault in found]


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv", "parquet"])
def test_a_row_whose_split_is_not_known_is_bad(tmp_path, kind):
    (tmp_path / "a.png").write_bytes(png())
    sides = ["train", "Testing", "tset", " ", "validation"]
    rows = [{"image": "a.png", "caption": "A thing.", "split": side} for side in sides]
    path = tmp_path / f"x.{kind}"
    if kind == "parquet":
        images = table([0] * len(sides))["image"]
        columns = {"image": images, "caption": ["A thing."] * len(sides), "split": sides}
        pyarrow.parquet.write_table(pa.table(columns), path)
    elif kind == "csv":
        path.write_text("image,caption,split\n" + "".join(f"a.png,A thing.,{s}\n" for s in sides))
    else:
        path.write_text(json.dumps(rows) if kind == "json" else "\n".join(map(json.dumps, rows)))
    dataset = open_dataset(str(path))
    assert sizes(dataset) == {"train": (1, 2), "val": (1, 0), "test": (1, 0)}
    (code, misspelt), (again, blank) = faults(dataset)
    assert code == again == "split"
    assert "split 'tset'; expected train, val or test. Did you mean 'test'?" in misspelt
    assert "3: " in misspelt and "4: no split, where other rows state one" in blank
    assert {p.code: p.count for p in check(dataset).problems}["split"] == 2
    assert unknown_split(" Valid ") == ""


def test_a_split_of_bad_rows_alone_is_counted_with_the_first(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    good = {"image": "a.png", "caption": "A thing."}
    (tmp_path / "train.json").write_text(json.dumps([good]))
    (tmp_path / "test.json").write_text(json.dumps([{**good, "caption": ""}]))
    (tmp_path / "tset.json").write_text(json.dumps([good]))
    dataset = open_dataset(str(tmp_path))
    assert sizes(dataset) == {"train": (1, 1)}
    assert "Files beside the splits, which are not read: tset.json." in dataset.notes
    folder = tmp_path / "tables"
    folder.mkdir()
    pyarrow.parquet.write_table(table([0], caption=["A thing."]), folder / "train-0.parquet")
    pyarrow.parquet.write_table(table([0], caption=[""]), folder / "test-0.parquet")
    assert sizes(open_dataset(str(folder))) == {"train": (1, 1)}
    members = {"1.png": png(), "1.txt": b"A thing."}
    folder = tmp_path / "shards"
    folder.mkdir()
    shard(folder / "train-0.tar", members)
    shard(folder / "test-0.tar", {"2.png": png()})
    assert sizes(open_dataset(str(folder))) == {"train": (1, 1)}


def test_files_of_an_unknown_split_are_not_mixed_with_others(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "shards").mkdir()
    for name in ("train-0", "tset-0"):
        rows = table([0], caption=["A thing."])
        pyarrow.parquet.write_table(rows, tmp_path / "tables" / f"{name}.parquet")
        shard(tmp_path / "shards" / f"{name}.tar", {"1.png": png(), "1.txt": b"A thing."})
    for folder in ("tables", "shards"):
        with pytest.raises(DataError, match=r"state a split \(train\) and others none"):
            open_dataset(str(tmp_path / folder))
    for split in ("val", "validation"):
        save_to_disk(tmp_path / "saved" / split, table((0,), label=[0]), ["a", "b"])
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["val", "validation"]}')
    with pytest.raises(DataError, match="allowed, each once"):
        open_dataset(str(tmp_path / "saved"))


def test_coco_files_are_one_for_each_split(tmp_path):
    folder = tmp_path / "annotations"
    folder.mkdir()
    image(tmp_path / "images" / "a.png", 9)
    for name in ("instances_train2014", "instances_train2017"):
        (folder / f"{name}.json").write_text(json.dumps(coco(["a.png"])))
    with pytest.raises(DataError, match=r"2 files of train: .*train2014\.json, .*coco:FILE"):
        open_dataset(str(tmp_path))
    (folder / "instances_train2014.json").rename(folder / "instances_tset.json")
    with pytest.raises(DataError, match="others none that is known"):
        open_dataset(str(tmp_path))
    (folder / "instances_tset.json").unlink()
    assert sizes(open_dataset(str(tmp_path))) == {"train": (1, 0)}


def test_options_are_given_once(tmp_path):
    for spec in ("pills:seed=1:seed=2", "phantoms:smear:seed=1,seed=2"):
        with pytest.raises(UsageError, match="option 'seed' is given twice: '1' and '2'"):
            open_dataset(spec)

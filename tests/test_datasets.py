"""Data sets on disk become the samples that were written there."""

import csv
import json
import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet
import pytest

from residency.codec import Qwen2VLCodec
from residency.data import npz
from residency.data.check import check
from residency.data.npz import Archive
from residency.data.rows import Rows
from residency.data.show import show
from residency.data.splits import assign
from residency.dataset import Dataset, open_dataset
from residency.datasets import medmnist
from residency.errors import DataError
from residency.task import task, text_of
from residency.types import Box, Picture, Sample

SHARED = Path(
    os.environ.get("RESIDENCY_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")
)


def write_npz(path: Path, counts=(6, 2, 3), size=28, channels=1, classes=2, **replace) -> Path:
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in zip(medmnist.SPLITS, counts, strict=True):
        shape = (n, size, size) if channels == 1 else (n, size, size, channels)
        arrays[f"{split}_images"] = rng.integers(0, 256, shape, dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n) % classes).astype(np.uint8)[:, None]
    arrays |= replace
    np.savez_compressed(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


def test_medmnist_rows_become_samples(tmp_path):
    path = write_npz(tmp_path / "pneumoniamnist.npz")
    dataset = open_dataset(str(path))
    assert {name: len(split) for name, split in dataset.splits.items()} == {
        "train": 6,
        "val": 2,
        "test": 3,
    }
    assert dataset.labels == ("normal", "pneumonia")
    assert dataset.modality == {"en": "chest X-ray", "zh": "胸部X光"}
    sample = dataset.split("train")[1]
    assert sample.id == "pneumoniamnist/train/1"
    assert (sample.answer, sample.options) == ("pneumonia", ("normal", "pneumonia"))
    image = sample.images[0].load()
    with np.load(path) as archive:
        assert np.array_equal(np.asarray(image)[..., 0], archive["train_images"][1])
    assert (image.mode, image.size) == ("RGB", (28, 28))
    assert sample.images[0].key == f"medmnist/pneumoniamnist/28/{dataset.digest[:12]}/train/1"
    assert "Unofficial file" in dataset.notes[0]
    assert "6/2/3" in dataset.notes[1] and "4708/524/624" in dataset.notes[1]


def test_medmnist_sample_sent_to_another_process_carries_no_pixels(tmp_path):
    write_npz(tmp_path / "retinamnist.npz", counts=(400, 2, 3), channels=3, classes=5)
    sample = open_dataset(str(tmp_path / "retinamnist.npz")).split("train")[3]
    assert sample.answer == "3"
    first = sample.images[0].load()
    sent = pickle.dumps(sample.images[0].load)
    assert len(sent) < 2000
    assert pickle.loads(sent)().tobytes() == first.tobytes()


def test_medmnist_larger_sizes_and_the_data_folder(tmp_path, monkeypatch):
    write_npz(tmp_path / "bloodmnist_64.npz", size=64, channels=3, classes=8)
    monkeypatch.setenv("RESIDENCY_DATA", str(tmp_path))
    dataset = open_dataset("medmnist:bloodmnist_64")
    assert dataset.name == "bloodmnist_64"
    assert dataset.split("test")[-1].images[0].load().size == (64, 64)
    assert [s.id for s in dataset.split("test")[1:]] == [
        "bloodmnist_64/test/1",
        "bloodmnist_64/test/2",
    ]
    with pytest.raises(IndexError):
        dataset.split("test")[3]


def test_medmnist_chest_answers_are_sets_of_labels(tmp_path):
    labels = {
        f"{s}_labels": np.zeros((n, 14), np.uint8)
        for s, n in zip(medmnist.SPLITS, (6, 2, 3), strict=True)
    }
    labels["train_labels"][2, [1, 13]] = 1
    dataset = open_dataset(str(write_npz(tmp_path / "chestmnist.npz", **labels)))
    assert dataset.multi_label
    assert dataset.split("train")[2].answer == ("cardiomegaly", "hernia")
    assert dataset.split("train")[0].answer == ()


def test_medmnist_facts_are_complete():
    assert len(medmnist.FLAGS) == 12
    distinct = {flag.labels for flag in medmnist.FLAGS.values()}
    assert sum(map(len, distinct)) == 70  # VITask's joint expert: the organ sets share 11 outputs
    totals = np.sum([flag.counts for flag in medmnist.FLAGS.values()], axis=0)
    assert tuple(totals) == (518_175, 70_467, 119_320)  # VITask, appendix
    sums = [md5 for flag in medmnist.FLAGS.values() for md5 in flag.md5]
    assert len(set(sums)) == 48 and all(len(md5) == 32 for md5 in sums)


def test_medmnist_official_file_has_no_note(tmp_path, monkeypatch):
    path = write_npz(tmp_path / "octmnist.npz", classes=4)
    digest = open_dataset(str(path)).digest
    flag = medmnist.FLAGS["octmnist"]
    published = medmnist.Flag(flag.labels, flag.modality, (6, 2, 3), (digest, "", "", ""))
    monkeypatch.setitem(medmnist.FLAGS, "octmnist", published)
    assert open_dataset(str(path)).notes == ()


@pytest.mark.shared_data
def test_real_pneumoniamnist():
    path = SHARED / "medmnist" / "pneumoniamnist.npz"
    if not path.exists():
        pytest.skip(f"no shared data: {path.name} is absent")
    dataset = open_dataset(str(path))
    counts = {name: len(split) for name, split in dataset.splits.items()}
    assert counts == {"train": 2428, "val": 270, "test": 468}
    answers = [sample.answer for sample in dataset.split("test")]
    assert answers.count("normal") == answers.count("pneumonia") == 234
    assert "Unofficial file" in dataset.notes[0]
    assert dataset.split("test")[0].images[0].load().size == (28, 28)


@pytest.mark.shared_data
def test_real_lfs_pointer():
    path = SHARED / "medmnist" / "lfs_pointer_not_an_npz.npz"
    if not path.exists():
        pytest.skip(f"no shared data: {path.name} is absent")
    with pytest.raises(DataError, match=r"is a Git LFS pointer \(132 bytes\), not an npz"):
        open_dataset(str(path))


def write_image(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(path)
    return path


def write_rows(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return path


def reads_back(dataset: Dataset) -> bool:
    """Whether every answer survives being written and read by its task."""
    codec = Qwen2VLCodec()
    samples = [sample for split in dataset.splits.values() for sample in split]
    return all(
        task(s.task).read(text_of(task(s.task).write(s, codec)), s, codec) == s.answer
        for s in samples
    )


def class_folders(root: Path, splits: dict[str, int], classes=("blue_cell", "red")) -> Path:
    seed = 0
    for split, count in splits.items():
        for name in classes:
            for index in range(count):
                seed += 1
                write_image(root / split / name / f"{index}.png", seed)
    return root


def test_folder_with_splits(tmp_path):
    root = class_folders(tmp_path / "cells", {"train": 3, "valid": 1, "test": 2})
    (root / "train" / "red" / ".hidden.png").write_bytes(b"x")
    (root / "train" / "red" / "notes.txt").write_text("x")
    (root / "residency.yaml").write_text(
        "modality: {en: blood smear, zh: 血涂片}\nlicence: CC0\nsource: us\n"
        "labels: [red, blue cell]"
    )
    dataset = open_dataset(str(root))
    assert {k: len(v) for k, v in dataset.splits.items()} == {"train": 6, "val": 2, "test": 4}
    assert dataset.labels == ("red", "blue cell")  # the declared order
    assert (dataset.licence, dataset.source, dataset.name) == ("CC0", "us", "cells")
    first = dataset.split("train")[0]
    assert (first.answer, first.modality) == ("blue cell", "blood smear")
    assert first.id == "cells/train/blue_cell/0.png"
    expected = np.random.default_rng(1).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(first.images[0].load()), expected)
    assert "Ignored: 1 hidden files." in dataset.notes
    assert "Ignored: 1 files that are no images." in dataset.notes
    assert reads_back(dataset)


def test_folder_digest_follows_the_content(tmp_path):
    root = class_folders(tmp_path / "cells", {"train": 2, "val": 1, "test": 1})
    before = open_dataset(str(root)).digest
    assert open_dataset(str(root)).digest == before
    write_image(root / "train" / "red" / "0.png", 99)
    assert open_dataset(str(root)).digest != before


def test_folder_without_splits_is_split_the_same_way_every_time(tmp_path):
    root = class_folders(tmp_path, {"": 20})
    twin = (root / "red" / "3.png").read_bytes()
    for index in range(4, 9):
        (root / "red" / f"{index}.png").write_bytes(twin)
    dataset = open_dataset(str(root))
    sizes = {name: len(split) for name, split in dataset.splits.items()}
    assert sum(sizes.values()) == 40
    assert 24 <= sizes["train"] <= 32
    names = {k: [s.id for s in v] for k, v in dataset.splits.items()}
    again = open_dataset(f"folder:{root}")
    assert names == {k: [s.id for s in v] for k, v in again.splits.items()}
    assert any("split 70/10/20" in note for note in dataset.notes)
    sides = {
        k for k, ids in names.items() for n in range(3, 9) if any(f"red/{n}." in i for i in ids)
    }
    assert len(sides) == 1  # equal contents stay together
    assert not any("same content" in note for note in dataset.notes)


def test_folder_takes_missing_val_from_train_and_names_shared_contents(tmp_path):
    root = class_folders(tmp_path, {"train": 10, "test": 2})
    data = (root / "train" / "red" / "0.png").read_bytes()
    (root / "test" / "red" / "1.png").write_bytes(data)
    dataset = open_dataset(str(root))
    assert {k: len(v) for k, v in dataset.splits.items()} == {"train": 18, "val": 2, "test": 4}
    assert any("val is 10 % of train" in note for note in dataset.notes)
    assert sum("1 files of test have the same content" in note for note in dataset.notes) == 1


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_labelled_table_in_every_format(tmp_path, suffix):
    rows = [
        {"image": f"img/{n}.png", "label": ["cat, small", "狗"][n % 2], "id": f"n{n}", "split": s}
        for n, s in enumerate(["train"] * 4 + ["valid", "test", "test"])
    ]
    for n in range(7):
        write_image(tmp_path / "img" / f"{n}.png", n)
    path = tmp_path / f"pets{suffix}"
    if suffix == ".tsv":
        lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
        path.write_text("\r\n".join(lines), encoding="utf-8-sig")
    else:
        write_rows(path, rows)
    dataset = open_dataset(str(path))
    assert {k: len(v) for k, v in dataset.splits.items()} == {"train": 4, "val": 1, "test": 2}
    assert dataset.labels == ("cat, small", "狗")
    sample = dataset.split("test")[0]
    assert (sample.id, sample.answer) == ("pets/n5", "狗")
    expected = np.random.default_rng(5).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(sample.images[0].load()), expected)
    assert reads_back(dataset)


def test_question_table_keeps_language_options_and_patients(tmp_path):
    rows = [
        {"image": "a.png", "question": "Where?", "answer": "left\nlung", "patient": "p1"},
        {"image": "b.png", "question": "是否正常？", "answer": "否", "patient": "p2"},
    ]
    rows[1] |= {"language": "zh", "options": ["是", "否"], "modality": "CT"}
    dataset = open_dataset(str(write_rows(tmp_path / "qa.jsonl", rows)))
    samples = {s.id: s for split in dataset.splits.values() for s in split}
    first, second = samples["qa/0"], samples["qa/1"]
    assert (first.answer, first.options, first.language) == ("left lung", (), "en")
    assert (second.answer, second.options, second.language) == ("否", ("是", "否"), "zh")
    assert (second.modality, second.group, second.task) == ("CT", "p2", "vqa")
    assert dataset.labels == ()
    assert reads_back(dataset)


def test_multi_label_table(tmp_path):
    rows = [
        {"image": "a.png", "label": "mass|edema", "split": "train"},
        {"image": "b.png", "label": "", "split": "train"},
        {"image": "c.png", "label": '["mass"]', "split": "test"},
    ]
    dataset = open_dataset(str(write_rows(tmp_path / "many.csv", rows)))
    assert dataset.multi_label
    assert dataset.labels == ("edema", "mass")
    assert [s.answer for s in dataset.split("train")] == [("edema", "mass"), ()]
    assert dataset.split("test")[0].answer == ("mass",)
    assert reads_back(dataset)


def test_table_without_split_keeps_patients_and_images_together(tmp_path):
    rows = [
        {"image": f"{n}.png", "label": "ab"[n % 2], "group": f"p{n // 5}" if n < 100 else ""}
        for n in range(200)
    ]
    dataset = open_dataset(str(write_rows(tmp_path / "t.csv", rows)))
    sizes = {k: len(v) for k, v in dataset.splits.items()}
    assert sum(sizes.values()) == 200
    assert abs(sizes["train"] - 140) <= 5 and abs(sizes["test"] - 40) <= 5
    groups = [{s.group for s in split} - {""} for split in dataset.splits.values()]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    assert any("groups were split 70/10/20" in note for note in dataset.notes)


def test_large_table_opens_quickly_and_holds_columns_only(tmp_path):
    count = 50_000
    columns = {"image": [f"{n}.png" for n in range(count)], "label": ["x", "y"] * (count // 2)}
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    dataset = open_dataset(str(tmp_path / "t.parquet"))
    assert sum(map(len, dataset.splits.values())) == count
    train = dataset.split("train")
    assert isinstance(train, Rows)
    assert train[-1].id.startswith("t/")


def test_assignment_ignores_the_order_of_rows():
    units = [f"u{n % 37}" for n in range(500)]
    sides = dict(zip(units, assign(units).tolist(), strict=True))
    assert all(
        sides[u] == s for u, s in zip(units[::-1], assign(units[::-1]).tolist(), strict=True)
    )
    assert assign(units, seed=1).tolist() != assign(units).tolist()
    assert assign(["one"]).tolist() == [0]
    assert assign([]).tolist() == []


def test_show_says_what_is_there(tmp_path):
    root = class_folders(tmp_path / "cells", {"train": 3, "val": 1, "test": 2})
    text = show(open_dataset(str(root)))
    assert "samples    6      2    4" in text
    assert "blue cell  3      1    2" in text
    assert "images    train: 6x8; val: 6x8; test: 6x8" in text
    assert "possible diagnoses are: blue cell, red." in text
    assert "response:    blue cell." in text
    assert "note: No modality declared" in text


def faulty() -> Dataset:
    def picture(key: str, value: int) -> Picture:
        return Picture(key=key, load=lambda: PIL.Image.new("RGB", (4, 4), (value, 0, 0)))

    def sample(name: str, image: Picture, **facts) -> Sample:
        facts = {"task": "classification", "answer": "a", "options": ("a", "b")} | facts
        return Sample(id=name, dataset="d", images=(image,), **facts)

    def broken():
        raise DataError("no pixels")

    box = Box(name="x", x1=0.0, y1=0.0, x2=5.0, y2=2.0)
    share = Box(name="x", x1=0.25, y1=0.0, x2=1.0, y2=0.5)
    train = [
        sample("t0", picture("k0", 0), group="secret-name"),
        sample("t1", picture("k1", 1), answer="c"),
        sample("t2", picture("k2", 0)),
        sample("t2", picture("k3", 3), answer=" ", options=()),
        sample("t4", picture("k0", 0)),  # the same picture again: no duplicate, but said before
    ]
    test = [
        sample("s0", picture("k5", 1), group="secret-name"),
        sample("s1", Picture(key="k6", load=broken)),
        sample("s2", picture("k7", 7), task="detection", answer=(box,), options=()),
        sample("s3", picture("k8", 8), task="detection", answer=(share,), options=()),
        sample("s4", replace(picture("k9", 9), size=(8, 4))),
    ]
    return Dataset(name="d", splits={"train": train, "test": test}, digest="")


def test_check_finds_every_kind_of_problem():
    findings = check(faulty())
    assert {p.code: (p.count, p.first) for p in findings.problems} == {
        "duplicate": (1, ("t2",)),
        "duplicate_id": (1, ("t2",)),
        "repeated": (1, ("t4",)),
        "label_outside": (1, ("t1",)),
        "empty_answer": (1, ("t2",)),
        "leak": (1, ("s0",)),
        "group_crosses": (2, ("t0", "s0")),
        "image_unreadable": (1, ("s1",)),
        "box_outside": (1, ("s2",)),
        "fractions": (1, ("s3",)),
        "size_differs": (1, ("s4",)),
    }
    assert not findings.ok
    assert "secret-name" not in str(findings)
    assert "no pixels" in str(findings)
    with pytest.raises(DataError, match=r"leak 1 \(s0\)") as caught:
        check(faulty(), strict=True)
    assert "\n" not in str(caught.value)


def test_check_of_a_clean_set_and_its_limit(tmp_path):
    dataset = open_dataset(str(write_npz(tmp_path / "breastmnist.npz")))
    findings = check(dataset, strict=True)
    assert findings.ok
    assert "No problems found" in str(findings)
    assert check(dataset, limit=2).checked == {"train": 2, "val": 2, "test": 2}


def test_threads_that_want_one_array_inflate_it_once(tmp_path, monkeypatch):
    path = write_npz(tmp_path / "breastmnist.npz")
    opened, original, together = [], np.load, threading.Barrier(8)

    def slow(*given, **options):
        opened.append(given)
        time.sleep(0.05)  # long enough for the others to ask meanwhile
        return original(*given, **options)

    monkeypatch.setattr(np, "load", slow)
    archive = Archive(path)

    def ask(_):
        together.wait(timeout=10)
        return archive.array("train_images")

    with ThreadPoolExecutor(8) as pool:
        arrays = list(pool.map(ask, range(8)))
    assert len(opened) == 1
    assert all(array is arrays[0] for array in arrays)
    assert pickle.loads(pickle.dumps(archive)).array("train_images").shape == arrays[0].shape


def test_a_large_array_is_mapped_from_a_file_and_not_held(tmp_path, monkeypatch):
    path = write_npz(tmp_path / "breastmnist.npz")
    held = Archive(path).array("train_images")
    monkeypatch.setattr(npz, "HELD", 100)
    mapped = Archive(path).array("train_images")
    assert isinstance(mapped, np.memmap) and np.array_equal(mapped, held)
    assert isinstance(Archive(path).array("train_images"), np.memmap)
    dataset = open_dataset(str(path))
    assert np.array_equal(np.asarray(dataset.split("train")[0].images[0].load())[..., 0], held[0])


@pytest.mark.shared_data
def test_real_pneumoniamnist_has_leaks():
    path = SHARED / "medmnist" / "pneumoniamnist.npz"
    if not path.exists():
        pytest.skip(f"no shared data: {path.name} is absent")
    findings = check(open_dataset(str(path)))
    assert {p.code: p.count for p in findings.problems} == {"leak": 3, "duplicate": 5}

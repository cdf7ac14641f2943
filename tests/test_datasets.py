"""Data sets on disk become the samples that were written there."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from residency.dataset import open_dataset
from residency.datasets import medmnist
from residency.errors import DataError

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

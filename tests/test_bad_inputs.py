"""Every bad input gives one line that says what was given, what is allowed, what to do."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from residency.data.bad import LeftOut, Policy, sift
from residency.data.check import check
from residency.dataset import open_dataset
from residency.datasets import folder, medmnist, table
from residency.errors import DataError, UsageError
from test_datasets import class_folders, write_image, write_npz, write_rows


def refusal(spec: object) -> str:
    with pytest.raises(DataError) as caught:
        open_dataset(str(spec))
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.exit_code == 2
    return message


def test_missing_file_and_unknown_name():
    assert "No such file or folder: './none.npz'" in refusal("./none.npz")
    assert "Did you mean 'medmnist'" in refusal("medmnits")
    for spec in ("medmnist:./none.npz", "folder:./none", "table:./none.csv", "folder:", "table:"):
        assert "No such" in refusal(spec)


def test_unknown_layout_names_the_readers(tmp_path):
    (tmp_path / "x.dat").write_text("x")
    with pytest.raises(UsageError, match="no reader recognises its layout"):
        open_dataset(str(tmp_path / "x.dat"))


def test_lfs_pointer_named_npz(tmp_path):
    path = tmp_path / "pneumoniamnist.npz"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 4170669\n")
    message = refusal(path)
    assert "pneumoniamnist.npz is a Git LFS pointer (70 bytes), not an npz" in message
    assert "(4.2 MB, md5 28209eda62fecd6e6a2d98b1501bb15f)" in message


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.999])
def test_truncated_npz(tmp_path, keep):
    path = write_npz(tmp_path / "breastmnist.npz")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep in (0, 1, 100) else keep * len(data))])
    assert "not a whole npz file" in refusal(path)


def test_npz_with_damaged_bytes_inside(tmp_path):
    path = write_npz(tmp_path / "breastmnist.npz")
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("train_images.npy").header_offset
    data = bytearray(path.read_bytes())
    data[start + 1000 : start + 1010] = b"\xff" * 10
    path.write_bytes(bytes(data))
    findings = check(open_dataset(str(path)))
    assert [(p.code, p.count) for p in findings.problems] == [("image_unreadable", 6)]
    assert "'train_images' cannot be read" in findings.problems[0].what


def test_npz_that_would_run_code_is_refused(tmp_path):
    class Canary:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "canary"),)

    objects = np.array([[Canary()]] * 6, dtype=object)
    path = write_npz(tmp_path / "breastmnist.npz", train_labels=objects)
    assert "Python objects" in refusal(path)
    (tmp_path / "octmnist.npz").write_bytes(pickle.dumps(Canary()))
    assert "not a whole npz" in refusal(tmp_path / "octmnist.npz")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("replace", "says"),
    [
        ({"val_images": None}, "lacks the arrays val_images; it has test_images"),
        ({"train_labels": np.full((6, 1), 7)}, "train row 0 has label 7; allowed: 0 to 1 (6 such"),
        ({"test_labels": np.array([[0], [-1], [0]])}, "test row 1 has label -1"),
        ({"train_labels": np.zeros((5, 1), int)}, "train_labels is int64 [5, 1]"),
        ({"train_labels": np.zeros((6, 1))}, "train_labels is float64 [6, 1]"),
        ({"val_images": np.zeros((2, 64, 64), np.uint8)}, "val_images is uint8 [2, 64, 64]"),
        ({"val_images": np.zeros((2, 28, 28), np.float32)}, "val_images is float32"),
        ({"val_images": np.zeros((0, 28, 28), np.uint8)}, "val_images is uint8 [0, 28, 28]"),
    ],
)
def test_npz_with_wrong_arrays(tmp_path, replace, says):
    assert says in refusal(write_npz(tmp_path / "breastmnist.npz", **replace))


def test_npz_zip_bomb_is_refused_by_its_header(tmp_path):
    path = tmp_path / "breastmnist.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for split in medmnist.SPLITS:
            for kind, shape in (("images", (10**7, 28, 28)), ("labels", (10**7, 1))):
                header = io.BytesIO()
                facts = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(header, facts)
                archive.writestr(f"{split}_{kind}.npy", header.getvalue())
    assert "is shorter than its header says" in refusal(path)
    many = np.zeros((medmnist.MAX_ROWS + 1, 1, 1), np.uint8)
    assert "with n from 1 to 2000000" in refusal(write_npz(path, train_images=many))


def test_npz_named_after_no_set(tmp_path):
    message = refusal(write_npz(tmp_path / "pneumonia.npz"))
    assert "looks like MedMNIST" in message and "Did you mean 'pneumoniamnist'" in message
    assert "Rename it" in message
    np.savez(tmp_path / "weights.npz", w=np.zeros(3))
    assert "is not named after a MedMNIST set" in refusal(tmp_path / "weights.npz")


def test_flag_needs_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("RESIDENCY_DATA", raising=False)
    assert "$RESIDENCY_DATA, which is not set" in refusal("medmnist:octmnist")
    monkeypatch.setenv("RESIDENCY_DATA", str(tmp_path))
    assert "No octmnist_64.npz in $RESIDENCY_DATA" in refusal("medmnist:octmnist_64")
    assert "Did you mean 'octmnist'" in refusal("medmnist:octmnits")
    assert "medmnist:FLAG" in refusal("medmnist:")


def test_folder_faults(tmp_path):
    root = class_folders(tmp_path / "a", {"train": 2, "val": 1, "test": 1})
    (root / "train" / "empty").mkdir()
    assert "empty has no images" in refusal(root)
    (root / "train" / "empty").rmdir()
    write_image(root / "test" / "green" / "0.png", 1)
    assert "test has classes that train lacks: green" in refusal(root)
    write_image(root / "train" / "Green" / "0.png", 1)
    write_image(root / "train" / "green" / "0.png", 2)
    assert "differ only by case" in refusal(root)
    (root / "validation").mkdir()
    assert "two folders for the split val" in refusal(root)
    one = class_folders(tmp_path / "b", {"": 2}, classes=("only",))
    assert "1 class folders; at least two" in refusal(f"folder:{one}")


def test_links_out_of_the_folder(tmp_path):
    root = class_folders(tmp_path / "a", {"": 2})
    secret = write_image(tmp_path / "secret" / "s.png", 5)
    (root / "red" / "link.png").symlink_to(secret)
    assert "leads out of" in refusal(root)
    (root / "red" / "link.png").unlink()
    (root / "stolen").symlink_to(secret.parent)
    assert "leads out of" in refusal(root)
    (root / "stolen").unlink()
    (root / "red" / "inner.png").symlink_to(root / "red" / "0.png")
    assert sum(map(len, open_dataset(str(root)).splits.values())) == 5


def test_card_faults(tmp_path):
    root = class_folders(tmp_path / "a", {"": 2})
    card = root / "residency.yaml"
    for text, says in (
        ("modalty: x", "Did you mean 'modality'"),
        ("- a", "must hold keys and values"),
        ("a: [", "cannot be read"),
        ("licence: 3", "licence is 3; expected text"),
        ("modality: {de: x}", "expected a name, or names for `en` and `zh`"),
        ("labels: [a, b]", "declared labels (a, b) are not the class folders"),
        ("licence: !!python/object/apply:os.getcwd []", "cannot be read"),
    ):
        card.write_text(text)
        assert says in refusal(root)
    (root / "dataset.json").write_text("{}")
    assert "has both" in refusal(root)


GOOD = {"image": "a.png", "label": "x", "split": "train"}
TABLES = [
    ([{"picture": "a", "label": "x"}], "lacks the column image; found: picture, label"),
    ([{"image": "a", "lable": "x"}], "Did you mean 'lable'"),
    ([{"image": "a", "question": "q"}], "lacks the column answer"),
    ([GOOD | {"question": "q", "answer": "a"}], "has both 'label' and 'question'"),
    ([GOOD | {"id": "1"}, GOOD | {"id": "1"}], "data row 2: the id '1' of data row 1 again"),
    ([GOOD, GOOD | {"label": ""}], "data row 2: an empty label"),
    ([GOOD, GOOD | {"image": ""}], "data row 2: an empty image"),
    ([{"image": "a", "question": "q", "answer": " "}], "data row 1: an empty answer"),
    (
        [GOOD | {"split": "trian"}],
        "split 'trian'; expected train, val or test. Did you mean 'train'",
    ),
    (
        [GOOD, GOOD | {"label": "y", "split": "test"}],
        "data row 2: label 'y', which is not in train: x",
    ),
    ([GOOD, GOOD | {"label": "X"}], "'X' and 'x' differ only by case"),
    ([GOOD | {"image": "../b.png"}], "'../b.png', which leads out of the table's folder"),
    ([GOOD | {"image": "/etc/passwd"}], "leads out of"),
    ([GOOD | {"image": "c/../../b.png"}], "leads out of"),
    ([GOOD | {"language": "de"}], "language 'de'; allowed: en, zh"),
    ([GOOD | {"options": "y|z"}], "data row 1: answer 'x' outside its options y, z"),
    ([GOOD | {"options": "x|x"}], "a repeated entry in options x, x"),
]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(("rows", "says"), TABLES)
def test_table_faults(tmp_path, rows, says, suffix):
    """A bad row costs itself alone; where there is no other, or no row can be told, the table is refused."""
    path = str(write_rows(tmp_path / f"t{suffix}", rows))
    if len(rows) == 1 or "differ only" in says:
        assert says in refusal(path)
        return
    dataset = open_dataset(path)
    (found,) = dataset.splits.values()
    assert len(found) == 1 and found[0].answer == "x"
    (fault,) = found.faults
    assert says in str(fault) and fault.code in dataset.notes[-2]
    assert [(p.code, p.count) for p in check(dataset).problems if "image_" not in p.code] == [
        (fault.code, 1)
    ]


def test_rows_that_are_bad_are_left_out_of_a_table_where_that_is_asked_for(tmp_path):
    rows = [GOOD | {"image": f"{n}.png", "id": str(n)} for n in range(9)]
    rows += [GOOD | {"id": "8"}, GOOD | {"label": "", "split": "test", "id": "9"}]
    for n in range(9):
        write_image(tmp_path / f"{n}.png", n)
    dataset = open_dataset(str(write_rows(tmp_path / "t.csv", rows)))
    assert {name: len(some) for name, some in dataset.splits.items()} == {"train": 9}
    with pytest.raises(DataError, match=r"2 bad rows of 11; the first: .*data row 10: the id '8'"):
        sift(dataset, Policy(), left_out=LeftOut(tmp_path / "out")).split("train")
    some = Policy(on_bad="quarantine", max_bad=0.5)
    assert len(sift(dataset, some, left_out=LeftOut(tmp_path / "out")).split("train")) == 9
    assert "duplicate_id" in (tmp_path / "out" / "bad.jsonl").read_text()


def test_a_table_may_be_saved_with_semicolons(tmp_path):
    (tmp_path / "t.csv").write_text('image;label\na.png;"x;y"\nb.png;z, or not\n')
    dataset = open_dataset(str(tmp_path / "t.csv"))
    assert dataset.labels == ("x;y", "z, or not")
    (tmp_path / "t.csv").write_text("image;text\na.png;Fluid, much of it.\n")
    assert open_dataset(str(tmp_path / "t.csv")).splits["train"][0].answer == "Fluid, much of it."


@pytest.mark.parametrize("twin", ["do\u200bg", "\u202edog", "DOG", "ｄｏｇ", "dog."])
def test_labels_that_nobody_can_tell_apart_are_refused(tmp_path, twin):
    rows = [GOOD | {"label": "dog"}, GOOD | {"label": twin}]
    assert "differ only" in refusal(write_rows(tmp_path / "t.csv", rows))


TEXTS = [
    (".csv", b"", "has no rows"),
    (".csv", b"image,label\n", "has no rows"),
    (".csv", b"image,label\na.png,x\nb.png,caf\xe9\n", "line 3: byte 0xe9 is not UTF-8"),
    (".csv", b"image,label\na.png\n", "cannot be read as a table"),
    (".csv", b"image,label\na.png,x,y\n", "cannot be read as a table"),
    (".csv", b"image,label,label\na.png,x,y\n", "has 'label' twice"),
    (".csv", b"image,label\na\0.png,x\n", "line 2: a NUL character"),
    (".csv", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    (".jsonl", b"\n\n", "has no rows"),
    (".jsonl", b'{"image": "a"}\n{"image": }\n', "line 2 is not JSON"),
    (".jsonl", b'{"image": "a"} {"image": "b"}', "line 1 is not JSON: Extra data"),
    (".jsonl", b'{"image": "a",}', "line 1 is not JSON"),
    (".jsonl", b'{"image": "a", "image": "b"}', "line 1 has 'image' twice"),
    (".jsonl", b'{"image": NaN}', "line 1 is not JSON: NaN"),
    (".jsonl", b'["image"]', "line 1 is not an object"),
    (".jsonl", b'{"image": {"bytes": 1}}', "line 1: 'image' is dict"),
    (".jsonl", b"[" * 100_000, "line 1: nested too deeply"),
    (".jsonl", b'{"image": "\\ud800", "label": "x"}', "half of a character pair"),
    (".parquet", b"PAR1 but not", "not a whole Parquet file"),
]


@pytest.mark.parametrize(("suffix", "data", "says"), TEXTS)
def test_files_that_are_not_a_table(tmp_path, suffix, data, says):
    path = tmp_path / f"t{suffix}"
    path.write_bytes(data)
    assert says in refusal(path)


def test_parquet_with_images_inside(tmp_path):
    column = pa.array([{"bytes": b"x", "path": "a"}])
    pyarrow.parquet.write_table(pa.table({"image": column, "label": ["x"]}), tmp_path / "t.parquet")
    assert "'image' is dict; expected text" in refusal(f"table:{tmp_path / 't.parquet'}")
    pyarrow.parquet.write_table(
        pa.table({"image": [b"\xff"], "label": ["x"]}), tmp_path / "t.parquet"
    )
    assert "'image' is binary; expected text" in refusal(f"table:{tmp_path / 't.parquet'}")


def test_declared_labels_replace_those_of_train(tmp_path):
    rows = [GOOD, GOOD | {"label": "y", "split": "test"}]
    path = write_rows(tmp_path / "t.csv", rows)
    (tmp_path / "residency.yaml").write_text("labels: [y, x]")
    assert open_dataset(str(path)).labels == ("y", "x")
    (tmp_path / "residency.yaml").write_text("labels: [x, z]")
    (fault,) = open_dataset(str(path)).splits["train"].faults
    assert "'y', which is not declared: x, z" in str(fault)


def test_missing_images_are_counted_by_check_and_named_at_load(tmp_path):
    rows = [GOOD | {"image": f"{n}.png"} for n in range(9)]
    write_image(tmp_path / "8.png", 0)
    dataset = open_dataset(str(write_rows(tmp_path / "t.csv", rows)))
    with pytest.raises(DataError, match=r"No such image file: .*0\.png"):
        dataset.split("train")[0].images[0].load()
    (problem,) = check(dataset).problems
    assert (problem.code, problem.count, problem.first[0]) == ("image_missing", 8, "t/0")


def test_table_image_behind_a_link_out_of_the_folder(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.png").symlink_to(write_image(tmp_path / "secret.png", 1))
    dataset = open_dataset(str(write_rows(root / "t.csv", [GOOD])))
    (problem,) = check(dataset).problems
    assert problem.code == "image_escape"


def test_readers_recognise_without_raising(tmp_path):
    strange = [tmp_path / "none", tmp_path, Path("/dev/null")]
    for reader in (folder, medmnist, table):
        assert [reader.recognises(path) for path in strange] == [False, False, False]

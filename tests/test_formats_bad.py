"""Bad rows stop a run, or are left out under a ceiling and listed; they never pass unseen."""

import json

import numpy as np
import PIL.Image
import pytest

from residency.data.bad import sift
from residency.data.check import check, show
from residency.dataset import open_dataset
from residency.errors import DataError, UsageError


@pytest.fixture
def mixed(tmp_path):
    """Six good rows; one that is not JSON, one with an image cut off, one without its image."""
    rng = np.random.default_rng(0)
    rows = []
    for name in "abcdefg":
        PIL.Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(
            tmp_path / f"{name}.jpg"
        )
        rows.append({"image": f"{name}.jpg", "caption": "A thing.", "id": name, "split": "train"})
    whole = (tmp_path / "g.jpg").read_bytes()
    (tmp_path / "g.jpg").write_bytes(whole[: len(whole) // 2])
    rows.append({**rows[0], "image": "absent.jpg", "id": "h"})
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "x.jsonl").write_text("\n".join([*lines[:3], '{"image": ', *lines[3:]]))
    return open_dataset(str(tmp_path / "x.jsonl"))


def test_check_counts_bad_rows_with_their_place(mixed):
    found = {problem.code: problem for problem in check(mixed).problems}
    assert found.keys() == {"json", "image_truncated", "image_missing"}
    assert found["json"].first[0].endswith("x.jsonl line 4")
    assert found["image_missing"].first == ("x/h",)
    with pytest.raises(DataError, match="json 1"):
        check(mixed, strict=True)
    assert "Rows that cannot be used: json 1" in show(mixed)


def test_fail_is_the_default_and_names_the_first(mixed):
    with pytest.raises(DataError, match=r"3 bad rows of 9; the first: .*x.jsonl line 4: not JSON"):
        sift(mixed)


def test_skip_leaves_out_up_to_the_ceiling(mixed):
    with pytest.raises(DataError, match=r"33.33%, and at most 0.10%"):
        sift(mixed, on_bad="skip")
    kept = sift(mixed, on_bad="skip", ceiling=0.4)
    assert [sample.id for sample in kept.splits["train"]] == [f"x/{name}" for name in "abcdef"]
    assert "Left out as bad: 3 of 9 rows" in kept.notes[-1]
    assert kept.digest != mixed.digest
    assert sift(kept) is kept
    assert check(kept).ok


def test_quarantine_lists_every_bad_row(mixed, tmp_path):
    with pytest.raises(UsageError, match=r"bad\.jsonl"):
        sift(mixed, on_bad="quarantine")
    out = tmp_path / "out"
    with pytest.raises(DataError, match="ceiling"):
        sift(mixed, on_bad="quarantine", out=out)
    kept = sift(mixed, on_bad="quarantine", ceiling=0.5, out=out)
    assert len(kept.splits["train"]) == 6
    listed = [json.loads(line) for line in (out / "bad.jsonl").read_text().splitlines()]
    assert [row["code"] for row in listed] == ["json", "image_truncated", "image_missing"]
    assert [row["where"].rpartition("/")[2] for row in listed] == ["x.jsonl line 4", "g", "h"]
    assert all(row["split"] == "train" and row["reason"] for row in listed)


def test_wrong_settings_and_hopeless_data(mixed):
    with pytest.raises(UsageError, match="share"):
        sift(mixed, on_bad="skip", ceiling=3.0)
    for sample in mixed.splits["train"]:
        path = sample.images[0].key
        open(path, "w").close()
    with pytest.raises(DataError, match="every row of train is bad"):
        sift(mixed, on_bad="skip", ceiling=1.0)

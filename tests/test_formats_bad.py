"""Bad rows stop a run, or are left out under a ceiling and listed; they never pass unseen."""

import json

import numpy as np
import PIL.Image
import pytest

from residency.data import images, index
from residency.data.bad import LeftOut, Policy, sift
from residency.data.check import check
from residency.data.images import ImageError
from residency.data.index import Index
from residency.data.show import show
from residency.data.strata import stratified
from residency.dataset import Dataset, open_dataset
from residency.errors import DataError, UsageError
from residency.evaluate.steps import Controls
from residency.recipe import Recipe, execute
from residency.types import Picture, Sample


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


def sifted(dataset, out, **policy):
    left_out = LeftOut(out)
    kept = sift(dataset, Policy(**policy), left_out=left_out)
    return kept, left_out


def test_fail_is_the_default_and_names_the_first(mixed, tmp_path):
    kept, _ = sifted(mixed, tmp_path / "out")
    with pytest.raises(
        DataError, match=r"train has 3 bad rows of 9; the first: .*x.jsonl line 4: not JSON"
    ):
        kept.split("train")


def test_skip_leaves_out_up_to_the_ceiling_and_counts(mixed, tmp_path):
    kept, _ = sifted(mixed, tmp_path / "out", on_bad="skip")
    with pytest.raises(DataError, match=r"33.33%, and at most 0.10%"):
        kept.split("train")
    kept, left_out = sifted(mixed, tmp_path / "out", on_bad="skip", max_bad=0.4)
    assert [sample.id for sample in kept.split("train")] == [f"x/{name}" for name in "abcdef"]
    said = "Left out as bad: 3 of 9 rows of x/train (json 1, image_truncated 1, image_missing 1)."
    assert left_out.lines() == [said] == LeftOut(tmp_path / "out").lines()
    assert not (tmp_path / "out" / "bad.jsonl").exists()


def test_quarantine_lists_every_bad_row_also_above_the_ceiling(mixed, tmp_path):
    out = tmp_path / "out"
    kept, _ = sifted(mixed, out, on_bad="quarantine")
    with pytest.raises(DataError, match="max_bad"):
        kept.split("train")
    for _ in range(2):  # a second run lists nothing twice
        kept, _ = sifted(mixed, out, on_bad="quarantine", max_bad=0.5)
        assert len(kept.split("train")) == 6
        listed = [json.loads(line) for line in (out / "bad.jsonl").read_text().splitlines()]
        assert [row["code"] for row in listed] == ["json", "image_truncated", "image_missing"]
        assert [row["where"].rpartition("/")[2] for row in listed] == ["x.jsonl line 4", "g", "h"]
        assert all((row["dataset"], row["split"]) == ("x", "train") for row in listed)
        assert all(row["reason"] for row in listed)


def test_a_limit_reads_what_it_picks_and_picks_again_where_that_is_bad(tmp_path):
    read: list[int] = []

    def picture(number):
        def load():
            read.append(number)
            if number % 3 == 0:
                raise ImageError("truncated", f"{number} is cut off.")
            return PIL.Image.new("RGB", (4, 4))

        return Picture(key=str(number), load=load)

    samples = [
        Sample(id=str(n), dataset="d", task="caption", answer="A.", images=(picture(n),))
        for n in range(400)
    ]
    dataset = Dataset(name="d", splits={"train": samples}, digest="")
    left_out = LeftOut(tmp_path)
    policy = Policy(on_bad="skip", max_bad=1.0)
    kept = sift(dataset, policy, left_out=left_out, limit=10, seed=3).split("train")
    chosen = [kept[int(row)] for row in stratified(kept, 10, 3)]
    assert len(chosen) == 10
    assert all(int(sample.id) % 3 for sample in chosen)
    assert len(read) < 100, "most of the images are never opened"
    bad = left_out.counts["d/train"]["bad"]
    assert bad == sum(number % 3 == 0 for number in read) > 0


def test_wrong_settings_and_hopeless_data(mixed, tmp_path):
    with pytest.raises(UsageError, match="share"):
        Policy(on_bad="skip", max_bad=3.0)
    for sample in mixed.splits["train"]:
        path = sample.images[0].key
        open(path, "w").close()
    kept, _ = sifted(mixed, tmp_path / "out", on_bad="skip", max_bad=1.0)
    with pytest.raises(DataError, match="every row of train is bad"):
        kept.split("train")


def test_an_index_reads_a_row_once_until_its_file_changes(mixed, monkeypatch):
    opened: list[str] = []
    original = images.open_image

    def counting(path, **options):
        opened.append(path.name)
        return original(path, **options)

    monkeypatch.setattr(images, "open_image", counting)
    first = dict(Index.open(mixed, "train").entries())
    assert sorted(opened) == ["a.jpg", "absent.jpg", *(f"{name}.jpg" for name in "bcdefg")]
    opened.clear()
    again = dict(Index.open(mixed, "train").entries())
    assert again == first
    assert sorted(opened) == ["absent.jpg", "g.jpg"], "bad rows are looked at again, good ones not"
    good = mixed.splits["train"][0].images[0].key
    PIL.Image.new("RGB", (9, 7)).save(good)
    opened.clear()
    third = dict(Index.open(mixed, "train").entries([0, 1]))
    assert opened == ["a.jpg"]
    assert third[0].sizes == ((9, 7),) and third[1] == first[1]


def test_an_index_goes_on_where_it_was_stopped(mixed, monkeypatch):
    monkeypatch.setattr(index, "SHARD", 2)
    looked = []
    original = index._decoded
    monkeypatch.setattr(index, "_decoded", lambda p: looked.append(p.key) or original(p))
    entries = Index.open(mixed, "train").entries()
    next(entries)  # and killed
    entries.close()
    done = len(looked)
    assert done == 2
    assert len(dict(Index.open(mixed, "train").entries())) == 8
    assert len(looked) == 8
    shard = next(Index.open(mixed, "train").folder.iterdir())
    assert oct(shard.parent.stat().st_mode & 0o777) == "0o700"
    shard.write_text("{")  # damage is no error: it is read again
    assert len(dict(Index.open(mixed, "train").entries())) == 8


def test_a_run_goes_on_without_bad_rows_counts_them_and_lists_them(tmp_path, capsys):
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            folder = tmp_path / "pets" / split / label
            folder.mkdir(parents=True)
            for number in range(3):
                shade = 40 * number + 9 * len(label + split)
                PIL.Image.new("RGB", (8, 8), (shade, 0, 0)).save(folder / f"{number}.png")
    (tmp_path / "pets/test/dog/1.png").write_text("<html>404</html>")

    def run(out, **settings):
        data = (str(tmp_path / "pets"),)
        return execute(
            Recipe(
                name="vitask",
                base="nano",
                out=str(out),
                seed=0,
                settings=settings,
                steps=(Controls(name="controls", data=data),),
            )
        )

    with pytest.raises(DataError, match=r"test has 1 bad rows of 6; .*an HTML page.*image_format"):
        run(tmp_path / "fail")
    rows = run(tmp_path / "run", on_bad="quarantine", max_bad=0.2)
    assert {row.n for row in rows} == {5}
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["left_out"] == {
        "pets/test": {"looked_at": 6, "bad": 1, "codes": {"image_format": 1}}
    }
    assert "Left out as bad: 1 of 6 rows of pets/test (image_format 1)." in capsys.readouterr().out
    listed = json.loads((tmp_path / "run/bad.jsonl").read_text())
    assert listed["where"].endswith("dog/1.png") and "HTML" in listed["reason"]
    assert "already done" not in capsys.readouterr().out
    run(tmp_path / "run", on_bad="quarantine", max_bad=0.2)
    assert "Left out as bad: 1 of 6 rows" in capsys.readouterr().out, "said again by a repeated run"

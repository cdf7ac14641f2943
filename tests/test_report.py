import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from residency.dataset import Dataset
from residency.errors import UsageError
from residency.evaluate.charts import Card, Gallery, Reply, png
from residency.evaluate.controls import chance_row, fixed, majority
from residency.evaluate.ranking import ranking
from residency.evaluate.report import choose, write_page
from residency.evaluate.results import Row, mean_rows
from residency.evaluate.score import score
from residency.types import Picture, Point, Prediction, Sample

EVIL = "<script>alert(1)</script>"
LABELS = ("naevus", EVIL)
VOID = {"meta", "img", "br", "rect", "line", "polygon", "polyline"}


class Page(HTMLParser):
    """Reads a page strictly: every element closed in order; keeps tags, attributes and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += f" {data}"


def make_samples(n: int = 8, dataset: str = "skin") -> list[Sample]:
    return [
        Sample(
            id=f"s{i}",
            dataset=dataset,
            task="classification",
            answer=LABELS[i % 2],
            options=LABELS,
            group=f"secret name {i}",
            images=(Picture(key=str(i), load=lambda i=i: Image.new("RGB", (8, 8), (i, 0, 0))),),
        )
        for i in range(n)
    ]


def make_dataset(samples: list[Sample]) -> Dataset:
    name = samples[0].dataset
    return Dataset(name=name, splits={"test": samples}, labels=LABELS, digest="d")


def answered(samples: list[Sample], wrong: set[int], view: str = "plain") -> list[Prediction]:
    return [fixed(s, LABELS[(i + (i in wrong)) % 2], view=view) for i, s in enumerate(samples)]


def make_rows(samples: list[Sample], seed: int = 0) -> list[Row]:
    dataset = make_dataset(samples)
    metrics = ("accuracy", "macro_f1")
    rows = [
        score(answered(samples, {1, 2, 4}), dataset, metrics, method="vanilla", seed=seed),
        score(answered(samples, {1}), dataset, metrics, method="vitask", variant=EVIL, seed=seed),
        score(answered(samples, {1, 2, 3}, "blank"), dataset, metrics, method="vitask", seed=seed),
        score(majority(samples, samples), dataset, metrics, method="majority", seed=seed),
    ]
    chance = chance_row(samples, seed=seed)
    assert chance is not None
    return [*rows, chance]


def write(out: Path, **changes: Any) -> Page:
    samples = make_samples()
    shown = choose(
        "Held out",
        samples,
        {"vanilla": answered(samples, {1, 2, 4}), "vitask": answered(samples, {1})},
        make_dataset(samples),
        limit=6,
    )
    some = np.linspace(0.1, 0.9, 9)
    content: dict[str, Any] = {
        "title": f"Skin & {EVIL}",
        "rows": make_rows(samples),
        "galleries": [shown],
        "rankings": [ranking(name, some, some / 2) for name in ("generalist", EVIL, "crt")],
        "settings": {"command": "residency run vitask 'x<y'", "versions": {"torch": "2.15"}},
    }
    write_page(out, **{**content, **changes})
    return Page(out)


def test_page_needs_nothing_outside_and_runs_nothing(tmp_path: Path) -> None:
    out = tmp_path / "new" / "report.html"
    page = write(out)
    source = out.read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|url\(|@import", re.sub('base64,[^"]*', "", source))
    assert "script" not in page.tags and "link" not in page.tags
    addresses = [value for name, value in page.attributes if name in ("src", "href")]
    assert addresses and all(value.startswith("data:image/png;base64,") for value in addresses)
    assert any("default-src 'none'" in value for _, value in page.attributes)
    assert [p.name for p in out.parent.iterdir()] == ["report.html"]


def test_data_is_escaped_and_still_readable(tmp_path: Path) -> None:
    page = write(tmp_path / "r.html", rows=[*make_rows(make_samples(dataset=EVIL))])
    assert "<script" not in (tmp_path / "r.html").read_text()
    assert f"Skin & {EVIL}" in page.text and "run vitask 'x<y'" in page.text
    assert page.text.count(EVIL) > 8


def test_page_hides_patients(tmp_path: Path) -> None:
    write(tmp_path / "r.html")
    assert "secret" not in (tmp_path / "r.html").read_text()


def test_numbers_intervals_and_counts_are_shown(tmp_path: Path) -> None:
    samples = make_samples()
    unparsed = [fixed(s, None, view="plain") for s in samples]
    row = score(unparsed, make_dataset(samples), ("accuracy",), method="mute", seed=0)
    page = write(tmp_path / "r.html", rows=[*make_rows(samples), row])
    value = make_rows(samples)[0].metrics["accuracy"]
    assert f"{100 * value.low:.1f} – {100 * value.high:.1f}" in page.text
    assert " 62.5 " in page.text and " 50.0 " in page.text
    assert "8 answers could not be understood" in page.text
    assert "prefers-color-scheme" in (tmp_path / "r.html").read_text()


def test_controls_are_set_apart_and_the_chart_has_whiskers(tmp_path: Path) -> None:
    page = write(tmp_path / "r.html")
    assert sum(name == "class" and value == "quiet" for name, value in page.attributes) == 3
    bars = [v for n, v in page.attributes if n == "class" and v.startswith("bar")]
    assert bars.count("bar") == 4 and bars.count("bar quiet") == 5
    whiskers = [v for n, v in page.attributes if (n, v) == ("class", "whisker")]
    assert len(whiskers) == 8  # chance, without macro-F1, has no interval


def test_several_data_sets_start_with_their_mean(tmp_path: Path) -> None:
    rows = make_rows(make_samples(dataset="a")) + make_rows(make_samples(dataset="b"))
    page = write(tmp_path / "r.html", rows=[*rows, *mean_rows(rows)])
    places = [page.text.index(f" {name} ") for name in ("Mean over data sets", "a", "b")]
    assert places[0] < places[2] and page.text.count("interval as a line") == 2
    assert page.text.count("By class") == 1


def test_several_seeds_are_named(tmp_path: Path) -> None:
    rows = make_rows(make_samples()) + make_rows(make_samples(), seed=7)
    assert "seed 7" in write(tmp_path / "r.html", rows=rows).text


def test_empty_parts_are_left_out_and_no_rows_are_refused(tmp_path: Path) -> None:
    page = write(tmp_path / "r.html", galleries=[], rankings=[])
    assert "Samples" not in page.text and "Response ranking" not in page.text
    with pytest.raises(UsageError, match="at least one row"):
        write(tmp_path / "none.html", rows=[])
    assert not (tmp_path / "none.html").exists()


def test_gallery_has_wrong_ones_first_and_some_right_ones() -> None:
    samples = make_samples()
    said = {"a": answered(samples, {1, 2, 4, 5, 6}), "b": answered(samples, {4})}
    shown = choose("g", samples, said, make_dataset(samples), limit=6)
    assert [card.name for card in shown.cards] == ["s4", "s1", "s2", "s5", "s0", "s3"]
    assert [card.wrong for card in shown.cards] == [2, 1, 1, 1, 0, 0]
    assert "6 of 8 samples" in shown.note and "5 of 8 have" in shown.note
    every = choose("g", samples, {"a": answered(samples, set(range(8)))}, make_dataset(samples))
    assert len(every.cards) == 8


def test_gallery_marks_by_text_and_leaves_open_answers_unmarked(tmp_path: Path) -> None:
    image = Image.new("L", (4, 4))
    replies = (
        Reply(method="m1", text="one", right=True),
        Reply(method="m2", text="two", right=False),
        Reply(method="m3", text="three", right=None),
    )
    card = Card(name="s", image=image, question="What?", reference="one", replies=replies)
    page = write(tmp_path / "r.html", galleries=[Gallery(title="g", cards=(card,))])
    assert page.text.count("✓ right") == 1 and page.text.count("✗ wrong") == 1
    samples = make_samples(2)
    open_set = Dataset(name="skin", splits={"test": samples}, digest="d")
    asked = [
        Sample(id=s.id, dataset="skin", task="caption", answer="a spot", images=s.images)
        for s in samples
    ]
    said = [fixed(asked[0], "a dot"), fixed(asked[1], None)]
    found = choose("g", asked, {"m": said}, open_set)
    assert [card.replies[0].right for card in found.cards] == [None, None]
    assert "not understood" in found.cards[1].replies[0].text
    points = (Point(name="apex", x=1.0, y=2.0), Point(name="base", x=1.0, y=2.0))
    placed = choose("g", asked, {"m": [fixed(asked[0], points)]}, open_set)
    assert placed.cards[0].replies[0].text == "apex, base"


def test_images_are_embedded_as_they_are_and_large_ones_reduced() -> None:
    def decoded(image: Image.Image) -> Image.Image:
        return Image.open(io.BytesIO(base64.b64decode(png(image).split(",")[1])))

    small = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    assert np.array_equal(np.asarray(decoded(small)), np.asarray(small))
    assert decoded(Image.new("RGB", (1024, 512))).size == (256, 128)

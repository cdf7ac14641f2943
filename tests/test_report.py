"""The report: one file that needs nothing else, shows what the results say, and names nobody."""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from residency import cli
from residency.dataset import Dataset, open_dataset
from residency.errors import DataError, UsageError
from residency.evaluate import charts, gallery, groups, radar
from residency.evaluate.calibration import Bin
from residency.evaluate.checklists import CLAIM, TRIPOD_AI, filled
from residency.evaluate.chosen import Method
from residency.evaluate.controls import chance_row, fixed, majority
from residency.evaluate.drawing import picture, png
from residency.evaluate.model_card import BLANK
from residency.evaluate.report import report, write_card
from residency.evaluate.results import FLIPS, Estimate, Row, read_results, shown, write_summary
from residency.evaluate.runs import Answered, read_run
from residency.evaluate.score import score
from residency.evaluate.store import encode
from residency.evaluate.subgroups import by_facts, facts_shown
from residency.types import Box, Box3D, Picture, Point, Prediction, Sample

EVIL = "<script>alert(1)</script>"
SMEAR = "phantoms:smear:train=4:val=2:test=40"
BOXES = "phantoms:smear:train=4:val=2:test=6:task=detection"
VOID = {"meta", "img", "br"}  # the rest closes itself or is closed


class Page(HTMLParser):
    """Reads a page strictly: every element closed in order; keeps tags, attributes and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(self.source)
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
        if self.open[-1:] not in (["style"], ["script"]):
            self.text += f" {data}"

    def having(self, name: str, value: str) -> int:
        return self.attributes.count((name, value))


def scored(p: Prediction, confident: float) -> Prediction:
    """With log-likelihoods that make its answer so many nats likelier than the others."""
    assert isinstance(p.answer, str)
    scores = {one: -5.0 + confident * (one == p.answer) for one in p.facts["options"]}
    return replace(p, scores=scores, finish="scored", text=p.answer)


def answered(
    samples: Sequence[Sample], wrong: int, *, view: str = "plain", confident: float = 2.0
) -> list[Prediction]:
    """The first `wrong` samples answered with the class of another."""
    found = []
    for i, sample in enumerate(samples):
        options = sample.options
        answer = sample.answer
        if i < wrong:
            answer = next(one for one in options if one != sample.answer)
        found.append(scored(fixed(sample, answer, view=view), confident))
    return found


def write_step(
    run: Path, name: str, rows: Sequence[Row], said: Sequence[Prediction], dataset: Dataset
) -> None:
    """What `Evaluate` leaves."""
    folder = run / name / "data" / (said[0].view or "answers")
    folder.mkdir(parents=True, exist_ok=True)
    identity = {
        "dataset": dataset.name, "digest": dataset.digest, "labels": list(dataset.labels),
        "split": "test", "limit": None, "seed": 0, "view": said[0].view, "mode": "likelihood",
        "model": f"{name}:0123", "wording": {"template": "paper", "list_options": True},
    }  # fmt: skip
    lines = [{"identity": identity}, *map(encode, said), {"end": {"n": len(said)}}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "predictions.jsonl").write_text(text, encoding="utf-8")
    old = run / name / "summary.json"
    earlier = read_results(old) if old.exists() else []
    write_summary(old, [*earlier, *rows], command="c", versions={})
    facts = {"facts": {"seconds": 3.0, "n_length": 2 * (name == "vitask_test")}}
    (run / name / "done.json").write_text(json.dumps(facts))


def make_run(folder: Path, spec: str = SMEAR, seed: int = 0) -> Path:
    """A run of a baseline and of a method under three views, with ranking, retention and a model."""
    dataset = open_dataset(spec)
    samples = list(dataset.split("test"))
    metrics = ("accuracy", "macro_f1")
    rows: list[Row] = []
    steps = {
        "vanilla_test": [("vanilla", "", answered(samples, 30))],
        "vitask_test": [
            ("vitask", EVIL, answered(samples, 8)),
            ("vitask", EVIL, answered(samples, 6, view="exemplar", confident=4.0)),
            ("vitask", EVIL, answered(samples, 35, view="blank")),
        ],
    }
    for name, sets in steps.items():
        for method, variant, said in sets:
            row = score(said, dataset, metrics, method=method, variant=variant, seed=seed)
            write_step(folder, name, [row], said, dataset)
            rows.append(row)
    rows.append(score(majority(samples, samples), dataset, metrics, method="majority", seed=seed))
    chance = chance_row(samples, dataset.labels, seed=seed)
    assert chance is not None
    rows += [chance, *_retention(folder)]
    write_summary(
        folder / "results.json", rows, command="residency run vitask 'x<y'", versions={"torch": "2"}
    )
    (folder / "ranking").mkdir()
    values = {EVIL: {"positive": [0.1, 0.5, 0.9], "negative": [0.1, 0.2, 0.3]}}
    (folder / "ranking" / "pairs.json").write_text(json.dumps({"pairs": [], "values": values}))
    (folder / "contrast" / "model").mkdir(parents=True)
    about = {
        "settings": {"recipe": "vitask", "base": "org/base", "data": [spec], "seed": seed},
        "command": "residency run vitask 'x<y'",
        "data": [spec],
        "steps": {"vanilla_test": "1", "vitask_test": "2", "contrast": "3"},
        "model": "contrast/model",
        "versions": {"torch": "2"},
    }
    (folder / "run.json").write_text(json.dumps(about))
    parts = [{"part": "language_model", "how": "LoRA", "parameters": 9, "trainable": 3, "lr": 1.0}]
    facts = {"updates": 7, "samples": [{"used": 4}], "parts": parts, "seconds": 2.0}
    (folder / "contrast" / "done.json").write_text(json.dumps({"facts": facts}))
    return folder


def _retention(folder: Path) -> list[Row]:
    suite = open_dataset("retention")
    said = [replace(fixed(s, s.answer, view="plain"), text=str(s.id)) for s in suite.split("plain")]
    row = score(
        [replace(p, task="retention") for p in said],
        suite,
        ("skill_accuracy", "in_format", "ignores_question"),
        method="generalist",
        seed=0,
    )
    write_step(folder, "generalist_retention", [row], said, suite)
    source = folder / "generalist_retention" / "data" / "plain"
    source.rename(source.with_name("moved"))
    source.parent.rename(source.parent.with_name("retention"))
    (folder / "generalist_retention" / "retention" / "moved").rename(
        folder / "generalist_retention" / "retention" / "plain"
    )
    return [row]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("report") / "run")
    assert cli.main(["report", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def seen(made: Path) -> Page:
    return Page(made / "report.html")


def test_it_needs_nothing_outside_and_runs_its_own_script_alone(seen: Page) -> None:
    source = re.sub('base64,[^"]*', "", seen.source)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", source)
    assert seen.tags.count("script") == 1 and "link" not in seen.tags
    addresses = [value for name, value in seen.attributes if name in ("src", "href")]
    assert addresses and all(a.startswith(("data:image/", "#")) for a in addresses)
    script = seen.source.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(value for name, value in seen.attributes if "default-src 'none'" in value)
    assert f"script-src 'sha256-{digest}'" in policy and "unsafe-eval" not in policy
    assert len(seen.source) < 2_000_000


def test_every_section_is_there_and_linked(seen: Page) -> None:
    headings = (
        "Results", "Is the difference real?", "What tuning cost", "By class", "By attribute",
        "Calibration", "Response ranking", "Samples", "Left out", "Reporting checklists", "Run",
    )  # fmt: skip
    for heading in headings:
        assert seen.text.count(f" {heading}") >= 2  # in the contents and above its section
    links = {value[1:] for name, value in seen.attributes if name == "href" and value[0] == "#"}
    assert links == {value for name, value in seen.attributes if name == "id"}
    assert "vitask_test: 2 answers cut off" in seen.text


def test_the_tables_say_what_the_results_say(made: Path, seen: Page) -> None:
    results = seen.source.split('id="results"')[1].split("</section>")[0]
    for row in read_results(made / "results.json"):
        for name, value in row.metrics.items():
            where = results if row.task != "retention" else seen.source
            assert f"<b>{shown(name, value.estimate)}</b>" in where
            if value.low < value.high:
                assert f"{shown(name, value.low)} – {shown(name, value.high)}" in where
    assert results.count('<tr class="quiet">') == 3  # blank, majority, chance
    assert seen.text.count(" erythroblast ") > 5


def test_data_is_escaped_and_still_readable(seen: Page) -> None:
    assert EVIL not in seen.source and seen.text.count(f"vitask {EVIL}") > 5
    assert "run vitask 'x<y'" in seen.text


def test_differences_are_paired_and_say_what_cannot_be_seen(seen: Page) -> None:
    part = seen.source.split('id="is-the-difference-real"')[1].split("</section>")[0]
    assert "+60.0" in part and "&lt; 0.001" in part  # 6 wrong against 30
    assert "+5.0" in part and ">0<" in part and ">2<" in part  # 6 wrong against 8


def test_several_runs_stand_side_by_side(made: Path, tmp_path: Path) -> None:
    other = shutil.copytree(made, tmp_path / "second")
    with pytest.raises(UsageError, match="say where it goes"):
        report([str(made), str(other)])
    with pytest.raises(UsageError, match="at least one run"):
        report([])
    assert (
        cli.main(["report", str(made), str(other), f"out={tmp_path / 'both.html'}", "images=2"])
        == 0
    )
    page = Page(tmp_path / "both.html")
    assert "2 runs side by side" in page.text
    assert f" run: vitask {EVIL}" in page.text and f" second: vitask {EVIL}" in page.text
    assert "run: run" not in page.text and "run: " not in (made / "README.md").read_text()
    results = page.source.split('id="results"')[1].split("</section>")[0]
    assert results.count('<tr class="quiet">') == 6
    assert page.source.count("<article") == 2
    assert cli.main(["report", str(tmp_path / "absent")]) == 2


def test_a_card_lies_beside_the_run_and_its_model(made: Path) -> None:
    card = (made / "README.md").read_text()
    assert card == (made / "contrast" / "model" / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["base_model"] == "org/base" and front["pipeline_tag"] == "image-text-to-text"
    results = front["model-index"][0]["results"]
    rows = {row.view: row for row in read_results(made / "results.json") if row.method == "vitask"}
    assert [m["value"] for m in results[0]["metrics"]] == [
        round(value.estimate, 4) for value in rows["plain"].metrics.values()
    ]
    assert len(results) == 2  # plain and exemplar: the blank image is a control
    assert "What tuning cost" in card and card.count("*To be written") == 3
    assert "Not a medical device" in card and "LoRA (3 of 9 parameters)" in card


def test_a_card_that_a_person_filled_in_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = f"a {BLANK} b {BLANK}"
    write_card(tmp_path / "README.md", card)
    write_card(tmp_path / "README.md", card + " newer")
    assert (tmp_path / "README.md").read_text() == card + " newer"
    (tmp_path / "README.md").write_text("a by me b")
    write_card(tmp_path / "README.md", card)
    assert (tmp_path / "README.md").read_text() == "a by me b"
    assert "was edited and is kept" in capsys.readouterr().out


def test_checklists_keep_their_numbers_and_their_blanks(seen: Page) -> None:
    assert [number for number, _, _ in CLAIM] == [str(n) for n in range(1, 45)]
    assert {re.sub("[a-z]", "", number) for number, _, _ in TRIPOD_AI} == {
        str(n) for n in range(1, 28)
    }
    said = {number: text for number, _, text in filled(CLAIM, {"command": "x"})}
    assert said["42"] == "x" and said["44"] == ""
    assert seen.having("class", "blank") > 30 and "contrast: 7 updates" in seen.text
    assert "a difference below" in seen.text


def test_nobody_is_named(tmp_path: Path) -> None:
    rows = [
        {"id": f"Jane Roe {i}.png", "group": f"Jane Roe {i % 3}", "patient name": f"Roe {i % 3}",
         "sex": "fm"[i % 2], "prediction": "yes", "reference": "yes"}
        for i in range(8)
    ]  # fmt: skip
    source = tmp_path / "said.jsonl"
    source.write_text("\n".join(map(json.dumps, rows)))
    words = ("metrics=accuracy,parse_rate", "by=sex,patient name", f"out={tmp_path / 's'}")
    assert cli.main(["score", str(source), *words]) == 0
    page = Page(report([str(tmp_path / "s")]))
    assert "Roe" not in page.source
    assert "sex" in page.text and " 8 " in page.text and not (tmp_path / "s" / "README.md").exists()


def test_boxes_of_reference_and_prediction_are_drawn(tmp_path: Path) -> None:
    dataset = open_dataset(BOXES)
    samples = list(dataset.split("test"))
    moved = [
        tuple(replace(b, x1=b.x1 + 30, x2=b.x2 + 30) for b in s.answer if isinstance(b, Box))
        for s in samples
    ]
    said = [
        replace(fixed(s, a, view="plain"), text="box") for s, a in zip(samples, moved, strict=True)
    ]
    said[0] = replace(said[0], answer=None, text=f"no {EVIL}")
    said[1] = replace(said[1], answer=samples[1].answer)
    row = score(said, dataset, ("iou25",), method="model", seed=0)
    write_step(tmp_path, "test", [row], said, dataset)
    write_summary(tmp_path / "results.json", [row], command="c", versions={})
    about = {"settings": {"data": [BOXES]}, "steps": {"test": "1"}}
    (tmp_path / "run.json").write_text(json.dumps(about))
    page = Page(report([str(tmp_path)]))
    assert page.having("class", "rim") == page.having("class", "shape") >= 6
    assert page.having("class", "shape said") >= 5 and page.source.count("<article") == 6
    assert "✓ right" in page.text and "? not understood" in page.text and f"no {EVIL}" in page.text
    assert "Calibration" not in page.text  # nothing was scored
    changed = json.loads((tmp_path / "run.json").read_text()) | {
        "data": ["phantoms:smear:nothing=1"]
    }
    (tmp_path / "run.json").write_text(json.dumps(changed))
    page = Page(report([str(tmp_path)]))
    assert "cannot be opened here" in page.text and "data:image" not in page.source


def make_answered(predictions: Sequence[Prediction], metric: str = "accuracy") -> Answered:
    dataset = Dataset(name=predictions[0].dataset, splits={}, digest="d")
    row = score(predictions, dataset, (metric,), method="m", seed=0)
    return Answered(
        step="", row=row, predictions=tuple(predictions), identity={}, file="f", sha256="0"
    )


def test_a_volume_is_a_strip_of_slices_with_its_boxes() -> None:
    frames = tuple(
        Picture(key=str(z), load=lambda z=z: Image.new("L", (20, 10), z)) for z in range(12)
    )
    cube = Box3D(name="liver", x1=2.0, y1=3.0, z1=4.0, x2=6.0, y2=8.0, z2=7.0)
    facts = {"slices": " ".join(map(str, range(12))), "first_mm": "0", "step_mm": "1"}
    sample = Sample(
        id="v", dataset="d", task="detection3d", answer=(cube,), images=frames, attributes=facts
    )
    card = gallery.Card(
        place=0,
        reference=(cube,),
        sample=sample,
        replies=(gallery.Reply(method="m", prediction=fixed(sample, (cube,)), right=True),),
    )
    budget = gallery.Budget(1_000_000)
    html = gallery.gallery([card], 1, budget, title="")
    assert html.count("<figure>") == 9 and "slice 5" in html and 'tabindex="0"' in html
    assert html.count('class="shape"') == html.count('class="shape said"') == 3
    assert budget.left_out == 0 and budget.bytes_left < 1_000_000
    full = gallery.Budget(10)
    assert "the page is full" in gallery.gallery([card], 1, full, title="") and full.left_out == 9


def test_wrong_ones_come_first_and_graded_ones_by_their_score() -> None:
    def said(i: int, reference: Any, answer: Any, task: str = "vqa") -> Prediction:
        sample = Sample(id=f"s{i}", dataset="d", task=task, answer=reference)
        text = answer if isinstance(answer, str) else ""
        return replace(fixed(sample, answer, view="plain"), text=text)

    first = make_answered([said(i, "a", "b" if i in (2, 4) else "a") for i in range(6)])
    last = make_answered([said(i, "a", "b" if i == 4 else "a") for i in range(6)])
    found = gallery.cards([first, last], None, limit=3)
    assert [card.place for card in found] == [4, 2, 0]
    words = ["one two three four", "one", "five"]
    graded = make_answered([said(i, "one two", w) for i, w in enumerate(words)], "token_f1")
    scores = [(card.place, card.replies[0].score) for card in gallery.cards([graded], None)]
    assert scores == [(2, "0.0"), (0, "66.7"), (1, "66.7")]
    half = make_answered([said(0, "one two", "one")], "token_f1")  # neither right nor wrong
    none = make_answered([said(0, "one two", "five")], "token_f1")  # as if it were wrong
    (mixed,) = gallery.cards([half, none], None)
    assert [(reply.right, reply.score) for reply in mixed.replies] == [
        (None, "66.7"),
        (None, "0.0"),
    ]
    points = (Point(name="apex", x=1.0, y=2.0), Point(name="apex", x=3.0, y=2.0))
    placed = make_answered([said(0, points, points, "landmark")], "point_hit")
    assert "apex × 2" in gallery.gallery(
        gallery.cards([placed], None), 1, gallery.Budget(0), title=""
    )


def test_a_predicted_point_is_a_cross_tied_to_its_landmark_and_long_lists_are_cut() -> None:
    points = tuple(Point(name=f"p{i}", x=float(i), y=5.0) for i in range(12))
    picture = Picture(key="k", load=lambda: Image.new("L", (20, 10)))
    sample = Sample(id="v", dataset="d", task="landmark", answer=points, images=(picture,))
    moved = (replace(points[0], x=4.0), replace(points[1], name="other"))
    reply = gallery.Reply(method="m", prediction=fixed(sample, moved), right=None, score="0.0")
    card = gallery.Card(place=0, reference=points, sample=sample, replies=(reply,))
    html = gallery.gallery([card], 1, gallery.Budget(), title="")
    assert html.count("<circle") == 24 and html.count('class="shape"') == 14  # and rims
    assert html.count('class="tie"') == 1 and 'd="M4 5L0 5"' in html  # no landmark is named "other"
    assert "p7 and 4 more" in html and "p8" not in html.split("reference</dt>")[1]
    assert "those with the lowest score of m first" in html


def test_small_groups_are_marked_and_the_chart_shows_the_bars_numbers() -> None:
    def said(i: int) -> Prediction:
        sample = Sample(
            id=str(i), dataset="d", task="vqa", answer="yes", options=("yes", "no"),
            attributes={"site": "abc"[min(i // 40, 2)], "patient": str(i % 4), "slices": "1"},
        )  # fmt: skip
        return fixed(sample, "yes" if i % 4 else "no", view="plain")

    one = make_answered([said(i) for i in range(100)])
    assert facts_shown(one.predictions) == ["site"]
    (table,) = groups.by_fact([one], seed=0)
    assert [(g.name, g.n, g.small, g.chance) for g in table.groups] == [
        ("a", 40, False, 0.5), ("b", 40, False, 0.5), ("c", 20, True, 0.5),
    ]  # fmt: skip
    assert table.gap is not None and {g.name for g in table.gap} == {"a", "b"}
    html = groups.html(table)
    assert html.count('class="few"') == 1 and "Largest gap" in html and "75.0" in html
    assert radar.fits(table)
    chart = radar.chart(table)
    assert 'class="chance"' in chart and chart.count('class="value">75.0<') == 3
    height = re.findall(r'<circle class="mark" cx="[\d.]+" cy="([\d.]+)"', chart)[1]  # of the web
    assert float(height) == pytest.approx(180 - 118 * 0.75)


def test_a_row_of_results_keeps_its_groups() -> None:
    samples = [
        Sample(
            id=str(i), dataset="d", task="vqa", answer="yes", options=("yes", "no"),
            attributes={"site": "abc"[min(i // 40, 2)]},
        )
        for i in range(100)
    ]  # fmt: skip
    predictions = [fixed(s, "yes" if int(s.id) % 4 else "no", view="plain") for s in samples]
    ((row, details),) = Method(method="m", seed=0, metrics=("accuracy",)).rows(
        predictions, Dataset(name="d", splits={}, digest="0")
    )
    assert [(g["fact"], g["group"], g["n"], g["small"]) for g in details["subgroups"]] == [
        ("site", "a", 40, False), ("site", "b", 40, False), ("site", "c", 20, True),
    ]  # fmt: skip
    assert {g["metric"] for g in details["subgroups"]} == {"accuracy"}
    assert details["subgroups"][0]["value"]["estimate"] == row.metrics["accuracy"].estimate == 0.75
    assert by_facts(predictions, (), "auroc", seed=0) == []  # needs scores, which these have not


def test_the_headline_has_the_main_metrics_and_the_others_below() -> None:
    def row(*names: str) -> Row:
        value = Estimate(estimate=0.5, low=0.4, high=0.6)
        return Row(
            method="m", variant="", view="plain", dataset="d", task="vqa", seed=0, n=9,
            n_unparsed=0, metrics=dict.fromkeys(names, value),
        )  # fmt: skip

    whole = charts.headline([row("accuracy", "b", "c", "d", "e")])
    assert "<details>" not in whole and whole.count("<small>40.0") == 5
    parts = charts.headline([row("accuracy", "b", "c", "d", "e", "f", FLIPS)])
    first, _, below = parts.partition("<details><summary>2 further metrics</summary>")
    assert first.count("<small>40.0") == 5 and "Answer flip rate" in first
    assert below.count("<small>40.0") == 2 and "unparsed" in first and "unparsed" not in below


def test_points_outside_of_the_band_are_hollow() -> None:
    from residency.evaluate.reliability import svg

    def bin_at(right: float) -> Bin:
        return Bin(
            n=20, confidence=0.5, accuracy=right, low=0.0, high=1.0, band_low=0.3, band_high=0.7
        )

    assert svg([bin_at(0.5), bin_at(0.9)], "m").count('class="mark outside"') == 1


def test_many_classes_are_told_by_their_commonest_mistakes() -> None:
    from residency.evaluate.confusion import confusion, counted

    labels = tuple(f"kind {i:02d}" for i in range(30))
    samples = [
        Sample(id=str(i), dataset="d", task="classification", answer=labels[i % 30], options=labels)
        for i in range(60)
    ]
    said = [fixed(s, labels[0], view="plain") for s in samples]
    said[0] = replace(said[0], answer=None)
    dataset = Dataset(name="d", splits={}, labels=labels, digest="d")
    one = replace(make_answered(said), row=score(said, dataset, ("accuracy",), method="m", seed=0))
    assert sum(counted(one).values()) == 60 and counted(one)[labels[0], "not understood"] == 1
    html = confusion([one])
    assert "30 classes: the 20 commonest of 30 kinds" in html and html.count("<tr>") == 21


def test_what_matches_nothing_is_said(made: Path, tmp_path: Path) -> None:
    run = shutil.copytree(made, tmp_path / "run")
    (run / "stray").mkdir()
    shutil.copy(next(run.glob("vanilla_test/*/*/predictions.jsonl")), run / "stray")
    assert any("stray" in note for note in read_run(run).notes)
    (run / "results.json").unlink()
    with pytest.raises(DataError, match=r"neither results\.json nor summary\.json"):
        read_run(run)


def test_images_are_embedded_as_they_are_and_large_ones_reduced() -> None:
    def decoded(coded: str) -> Image.Image:
        return Image.open(io.BytesIO(base64.b64decode(coded.split(",")[1])))

    small = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    assert np.array_equal(np.asarray(decoded(png(small))), np.asarray(small))
    assert decoded(png(Image.new("RGB", (1024, 512)))).size == (256, 128)
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    assert picture(Image.fromarray(noise)).startswith("data:image/jpeg")
    assert picture(small).startswith("data:image/png")


CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [420, 1200])
def test_a_browser_opens_it_and_the_filters_work(made: Path, tmp_path: Path, width: int) -> None:
    page = tmp_path / "report.html"
    choose = (
        "const s=document.querySelector('[data-filter=outcome]');s.value='right';"
        "s.dispatchEvent(new Event('change',{bubbles:true}));"
        "document.title=document.documentElement.scrollWidth;"
    )
    text = (made / "report.html").read_text().replace("</script>", f"{choose}</script>")
    script = text.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page.write_text(re.sub(r"sha256-[^']+", f"sha256-{digest}", text, count=1))
    words = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900"]
    done = subprocess.run(
        [*words, f"--user-data-dir={tmp_path}", "--dump-dom", f"file://{page}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    cards = re.findall(r"<article[^>]*>", done.stdout)
    hidden = sum("hidden" in card for card in cards)
    assert 0 < hidden < len(cards) and f">{len(cards) - hidden} shown<" in done.stdout
    wide = re.search(r"<title>(\d+)</title>", done.stdout)
    assert wide and int(wide[1]) <= max(width, 500)  # headless windows are 500 wide at least

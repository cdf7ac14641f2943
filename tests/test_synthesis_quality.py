"""Judging synthetic tasks by a model and by people, and how far they agree."""

import csv
import io
import math
import re
from itertools import product

import pytest

import models
from residency.errors import DataError
from residency.synthesis.agreement import agreement, describe, main, read_sheet
from residency.synthesis.criteria import COUNTS, CRITERIA, DOMAINS, TYPES
from residency.synthesis.engine import Engine, Reply
from residency.synthesis.quality import judge, section, summary
from residency.synthesis.sheet import Judged, write_sheet, write_table

CHOSEN = [
    Judged(f"s{n}", (models.picture(n),), "=1+1", f'Q "{n}", <b>', "a\u2028b\nc\x0cd, e; f")
    for n in range(4)
]


def sheet(folder, marks, *, order=(0, 1, 2, 3), delimiter=",", end="\r\n", start="", rows=CHOSEN):
    """A sheet with one text of marks per column: type, knowledge, complexity, accuracy."""
    path = folder / "rated.csv"
    lines = io.StringIO()
    writer = csv.writer(lines, delimiter=delimiter, lineterminator=end)
    writer.writerow(("id", "caption", "instruction", "response", "type", *CRITERIA))
    for n in order:
        writer.writerow([*_texts(rows[n]), *(column[n] for column in marks)])
    path.write_bytes((start + lines.getvalue()).encode())
    return path


def _texts(one):
    return one.id, one.caption, one.instruction, one.response


def test_the_lists_are_those_of_the_paper():
    assert (len(TYPES), len(DOMAINS), dict(COUNTS)) == (20, 20, {"table8": 17, "appendix_d": 20})
    assert TYPES[17:] == ("visual grounding", "segmentation", "visual storytelling")
    assert len({*TYPES}) == len({*DOMAINS}) == 20


def test_quality_counts_types_and_means_of_what_could_be_read():
    judged = [
        {"type": "logo detection", "knowledge": "1", "complexity": "5", "accuracy": None},
        {"type": None, "knowledge": "3", "complexity": "5", "accuracy": None},
    ]
    made = summary(judged, 17, seed=0)
    assert made["diversity"].estimate == 1 / 17
    assert made["knowledge"].estimate == pytest.approx(0.4) and made["complexity"].estimate == 1
    assert "accuracy" not in made and summary([], 17, seed=0) == {}


def test_a_judge_sees_caption_task_and_images_and_is_asked_again_where_a_text_changed(tmp_path):
    asked = []

    def write(requests, how):
        asked.extend(requests)
        return [Reply("3" if "5" in how.options else how.options[2], "stop") for _ in requests]

    def judged(chosen, folder):
        engine = Engine(write=write, model="m", weights="w", batch=8, continues=False)
        how = {"types": TYPES[:17], "domains": DOMAINS, "model": "m", "seed": 0}
        return judge(engine, chosen, tmp_path / folder, **how)

    two = CHOSEN[0]._replace(pictures=(models.picture(0), models.picture(1)))
    rows = judged([two, CHOSEN[1]._replace(caption="")], "a")
    assert len(asked) == 10 and rows[0]["type"] == TYPES[2] and rows[0]["domain"] == DOMAINS[2]
    first = [one for one in asked if one.id.startswith("s0")]
    assert all(len(one.images) == 2 and len(one.turns[0].parts) == 3 for one in first)
    assert all("Caption of the image: =1+1\nTask: Q" in one.turns[0].parts[-1] for one in first)
    assert not any("Caption" in str(one.turns) for one in asked if one.id.startswith("s1"))
    with pytest.raises(Exception, match="another"):
        judged([two._replace(response="changed"), CHOSEN[1]], "a")


def test_the_kinds_of_tasks_stand_on_the_page():
    html = section({"type": {"a <b>": 3, "unreadable": 1}, "domain": {"food": 4}})
    assert html.startswith("<h2>Kinds of tasks</h2>") and "a &lt;b&gt;: 3 of 4" in html
    assert html.count("<figure") == 2 and 'width="33.33%"' in html


def test_a_sheet_is_written_and_read_back(tmp_path):
    write_sheet(tmp_path, CHOSEN, ("x", "y"))
    page = (tmp_path / "sheet.html").read_text()
    assert page.count("<section") == 4 and "&lt;b&gt;" in page and "https://" not in page
    assert page.count("class=caption") == 4 and not re.search(r"\{(cards|columns|identity)\}", page)
    assert read_sheet(tmp_path / "sheet.csv") == {f"s{n}": {} for n in range(4)}
    text = (tmp_path / "sheet.csv").read_text(encoding="utf-8-sig")
    assert next(csv.DictReader(io.StringIO(text)))["caption"] == "'=1+1", "no formula"
    marks = [{"type": TYPES[0], "knowledge": "4", "complexity": None, "accuracy": "1"}] + [{}] * 3
    write_table(tmp_path / "judged.csv", CHOSEN, marks)
    found = read_sheet(tmp_path / "judged.csv")
    assert found["s0"] == {"type": TYPES[0], "knowledge": "4", "accuracy": "1"}


TYPED = (TYPES[0], TYPES[1].upper(), f" {TYPES[2]} ", "")
FILLED = (TYPED, "1245", ("4.0", "", "3,0", "5"), ("", "", "2", ""))


@pytest.mark.parametrize(
    "saved",
    [
        {},
        {"delimiter": ";", "start": "\ufeff"},
        {"delimiter": "\t", "end": "\n"},
        {"order": (3, 1, 0, 2), "end": "\n"},
    ],
    ids=["crlf", "semicolons and bom", "tabs", "another order"],
)
def test_what_spreadsheets_save_is_read(tmp_path, saved):
    assert read_sheet(sheet(tmp_path, FILLED, **saved)) == {
        "s0": {"type": TYPES[0], "knowledge": "1", "complexity": "4"},
        "s1": {"type": TYPES[1], "knowledge": "2"},
        "s2": {"type": TYPES[2], "knowledge": "4", "complexity": "3", "accuracy": "2"},
        "s3": {"knowledge": "5", "complexity": "5"},
    }


def test_wrong_cells_are_all_named(tmp_path):
    wrong = (("pose", "", "", ""), ("6", "4.5", "0", "four"), "1111", ("", "-1", "1", "55"))
    with pytest.raises(DataError) as caught:
        read_sheet(sheet(tmp_path, wrong))
    said = str(caught.value)
    assert "row 2 (s0): type is 'pose'; row 2 (s0): knowledge is '6'" in said
    assert "and 2 more" in said and "1 to 5" in said
    twice = [CHOSEN[0], CHOSEN[0], CHOSEN[1]._replace(id=""), CHOSEN[3]]
    with pytest.raises(DataError, match=r"row 3: id 's0' twice; row 4: id '' is missing"):
        read_sheet(sheet(tmp_path, ("    ",) * 4, rows=twice))
    path = tmp_path / "other.csv"
    for text in ("name,type\na,b\n", "id,instruction\na,b\n"):
        path.write_text(text)
        with pytest.raises(DataError, match="expected id and one of type"):
            read_sheet(path)


def kappa(one, other):
    """Cohen's kappa of marks 1 to 5, disagreement weighted by its square (Cohen, 1968)."""
    n = len(one)
    seen = sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) / n
    chance = sum((a - b) ** 2 for a, b in product(one, other)) / n**2
    return 1 - seen / chance


def test_agreement_is_cohens_kappa_with_the_marks_as_numbers():
    one, other = [2, 2, 5, 5, 1, 5], [2, 5, 5, 2, 2, 5]  # 3 and 4 never occur
    rated = [{f"s{n}": {"accuracy": str(mark)} for n, mark in enumerate(r)} for r in (one, other)]
    found = agreement(*rated)["accuracy"]
    assert found.n == 6 and found.equal == 0.5
    assert found.kappa == pytest.approx(kappa(one, other))
    names = ["a", "a", "b", "b"], ["a", "b", "b", "b"]
    kinds = dict(zip("ab", TYPES, strict=False))
    typed = [{str(n): {"type": kinds[name]} for n, name in enumerate(r)} for r in names]
    assert agreement(*typed)["type"].kappa == pytest.approx((3 / 4 - 1 / 2) / (1 - 1 / 2))
    alike = agreement(rated[0], {"s2": {"accuracy": "5"}})["accuracy"]
    assert alike[:2] == (1, 1.0) and math.isnan(alike.kappa)
    assert agreement(rated[0], {"s9": {"accuracy": "5"}}) == {}


def test_raters_are_described_and_compared(tmp_path, capsys):
    first = sheet(tmp_path, ((TYPES[0], TYPES[18], TYPES[0], ""), "1245", "5555", "12 4"))
    first = first.rename(tmp_path / "one.csv")
    second = sheet(
        tmp_path, ((TYPES[0], TYPES[0], "", ""), "1255", "5555", "    "), order=(2, 1, 0)
    )
    assert main([str(first), str(second)]) == 0
    said = capsys.readouterr().out
    assert "2 of 4 samples judged, 2 in part; 2 types (diversity 5.9 of 17, 10.0 of 20)" in said
    assert "knowledge 60.0 (n 4)" in said and "accuracy 46.7 (n 3)" in said
    assert "type 50 % equal, kappa 0.00 (n 2)" in said
    assert "complexity 100 % equal, kappa undefined, all alike (n 3)" in said
    assert "1 samples stand on one of the two sheets alone" in said
    assert describe({"a": {}, "b": {"s": {}}}).count("samples judged") == 2
    assert main([]) == 2 and main([str(first), str(first)]) == 2
    assert main([str(tmp_path / "absent.csv")]) == 2

"""The readers together: the page of all sets is current, and every reader states its facts."""

import inspect
from pathlib import Path

import pytest

from residency import catalog
from residency.data.overview import abouts, listing, on_disk, page

REPOSITORY = Path(__file__).resolve().parent.parent
SETS = {name: about for name, about in abouts().items() if about is not None}


def test_the_page_is_current():
    written = (REPOSITORY / "docs" / "datasets.md").read_text(encoding="utf-8")
    assert written == page(), "run `python -m residency.data.overview > docs/datasets.md`"


def test_the_page_has_a_row_per_reader():
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == sorted(
        catalog.names("datasets"), key=lambda name: (name not in SETS, name)
    )


@pytest.mark.parametrize("name", SETS)
def test_a_reader_states_its_facts(name):
    about, text = SETS[name], inspect.getdoc(catalog.find("datasets", name)) or ""
    assert about.name == name
    for fact in (about.title, about.task, about.metric, about.source, about.licence, about.access):
        assert fact, name
    tasks = about.task.replace("classification, several labels", "classification")
    for task in tasks.replace("(train)", "").replace("(val, test)", "").split(","):
        assert task.strip() in catalog.names("tasks"), task
    if name != "medmnist":
        assert f"tested on: {about.tested_on}" in text
        assert "On disk" in " ".join(text.split()), name


def test_the_listing_says_what_is_found(tmp_path, monkeypatch):
    monkeypatch.delenv("RESIDENCY_DATA", raising=False)
    assert on_disk("vqa_rad") is None
    (tmp_path / "vqa_rad").mkdir()
    (tmp_path / "vqa_rad" / "VQA_RAD Dataset Public.json").write_text("[]")
    monkeypatch.setenv("RESIDENCY_DATA", str(tmp_path))
    lines = {line.split()[0]: line for line in listing().splitlines()}
    assert lines["vqa_rad"].endswith(str(tmp_path / "vqa_rad"))
    assert lines["slake"].endswith("no") and "open download" in lines["slake"]
    assert set(SETS) <= set(lines)

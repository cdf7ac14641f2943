"""What the README promises exists: commands, recipes, parameters, make targets, links."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from residency import catalog, cli
from residency.errors import UsageError
from residency.parameters import arguments

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(text: str) -> list[list[str]]:
    """Every `residency ...` command of a document: in code spans and at the start of code lines."""
    spans = re.findall(r"`(residency [^`]+)`", text)
    lines = re.findall(r"^\$? ?(residency .+)$", text, flags=re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in dict.fromkeys(spans + lines)]


def check(words: list[str]) -> None:
    """Raise UsageError where the command line would refuse these words."""
    command, *rest = words
    if command not in cli.SUMMARY:
        raise UsageError(f"no command {command}")
    rest = [word for word in rest if word not in ("--help", "--config")]
    rest = [
        word for word in rest if word not in ("key=value", "...") and not word.endswith(".yaml")
    ]
    if command in ("run", "plan") and rest and rest[0] != "RECIPE":
        function = catalog.find("recipes", rest[0]).recipe
        arguments(function, rest[1:], owner=rest[0])
    elif command == "demo":
        arguments(catalog.find("recipes", "demo").recipe, rest, owner="demo")
    elif command == "data" and rest and rest[0] not in (
        "list", "show", "check", "convert", "benchmark",
    ):  # fmt: skip
        raise UsageError(f"no action {rest[0]}")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_commands_parse(path):
    for words in commands(path.read_text(encoding="utf-8")):
        check(words)


def test_the_readme_shows_the_main_commands():
    assert {"run", "plan", "data", "doctor"} <= {words[0] for words in commands(README)}


def test_a_wrong_command_would_be_noticed():
    for text in (
        "`residency rnu vitask`",
        "`residency run vitask sed=1`",
        "`residency data shw x`",
    ):
        with pytest.raises(UsageError):
            check(commands(text)[0])


def test_make_targets_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for path in DOCUMENTS:
        for target in re.findall(r"`?\bmake ([a-z]+(?:-[a-z]+)?)`", path.read_text("utf-8")):
            assert target in targets, f"{path.name}: make {target}"
    assert {"demo", "test", "test-all", "setup", "check"} <= set(targets)


def test_relative_links_lead_somewhere():
    for path in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_symbols_and_tests_of_the_papers_page_exist():
    page = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/\w+\.py)::(\w+)`", page)
    assert named
    for file, test in named:
        assert f"def {test}" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"


def script():
    spec = importlib.util.spec_from_file_location(
        "readme_table", ROOT / "benchmarks" / "readme_table.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_results_block_is_filled_from_a_results_file(tmp_path):
    from residency.evaluate.results import Estimate, Row, table, write_summary

    row = Row(
        method="vitask", variant="", view="exemplar", dataset="phantoms", task="classification",
        seed=0, n=10, n_unparsed=1,
        metrics={"accuracy": Estimate(estimate=0.5, low=0.25, high=0.75)},
    )  # fmt: skip
    path = tmp_path / "results.json"
    write_summary(path, [row], command="residency demo", versions={})
    filled = script().fill(README, script().block(path))
    assert f"`residency demo`\n\n{table([row])}" in filled
    assert "50.0 [25.0, 75.0]" in filled
    # Filling again changes nothing, and the rest of the page stays.
    assert script().fill(filled, script().block(path)) == filled
    assert filled.startswith(README.split(script().BEGIN)[0])
    assert filled.endswith(README.split(script().END)[1])
    with pytest.raises(SystemExit, match="one block"):
        script().fill("no markers", "x")


def test_tests_that_documents_name_exist() -> None:
    told = {name for path in DOCUMENTS for name in re.findall(r"::(test_\w+)", path.read_text())}
    files = (ROOT / "tests").rglob("test_*.py")
    defined = {name for path in files for name in re.findall(r"def (test_\w+)", path.read_text())}
    lost = [name for name in told if not any(own.startswith(name) for own in defined)]
    assert told and not lost

"""The command line: light help, strict parameters, exit codes."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest

from residency import catalog, cli
from residency.errors import CheckpointError, DataError, UsageError
from residency.parameters import arguments, describe, parameters

HEAVY = ("torch", "transformers", "torchvision", "peft", "timm", "sklearn", "pyarrow", "accelerate")


def sample_recipe(
    *,
    data: str,
    seed: int = 0,
    alpha: float = 1.0,
    limit: int | None = None,
    baselines: bool = True,
    views: tuple[str, ...] = ("plain", "exemplar"),
    mode: Literal["generate", "likelihood"] = "likelihood",
    note: "str | None" = None,
) -> "Unresolvable":  # noqa: F821
    """Train something."""


def read(*words: str, config: Path | None = None) -> dict:
    return arguments(sample_recipe, words, config=config, owner="recipe 'sample'")


def test_words_take_the_type_of_the_signature():
    assert read(
        "data=a=b", "seed=3", "alpha=1e-4", "limit=none", "baselines=false", "views=x, y",
        "mode=generate", "note=hi",
    ) == {
        "data": "a=b", "seed": 3, "alpha": 1e-4, "limit": None, "baselines": False,
        "views": ("x", "y"), "mode": "generate", "note": "hi",
    }  # fmt: skip
    assert read("data=a", "limit=5")["limit"] == 5
    assert read("data=none")["data"] == "none"
    assert read("data=a", "views=")["views"] == ()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["data=a", "alhpa=1"],
            "Unknown parameter 'alhpa' of recipe 'sample'. Did you mean 'alpha'",
        ),
        (["data=a", "seed=1.5"], "seed=1.5: expected int. The default is 0."),
        (["data=a", "seed=none"], "expected int"),
        (["data=a", "alpha=much"], "alpha=much: expected float"),
        (["data=a", "alpha=nan"], "expected float"),
        (["data=a", "baselines=maybe"], "expected true or false"),
        (["data=a", "mode=generated"], "Did you mean 'generate'"),
        (["data=a", "views=a,,b"], "values separated by commas"),
        (["data=a", "seed=1", "seed=1"], "given twice"),
        (["data=a", "seed"], "Expected key=value"),
        (["data=a", "=1"], "Expected key=value"),
        ([], "Missing for recipe 'sample': data"),
    ],
)
def test_wrong_words_are_refused_with_what_to_do(words, message):
    with pytest.raises(UsageError) as raised:
        read(*words)
    assert message in str(raised.value)


def test_the_command_line_wins_over_the_file(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(
        "data: a\nseed: 7\nalpha: 1e-4\nviews: [plain]\nlimit: null\nmode: generate\n"
    )
    assert read("seed=8", config=config) == {
        "data": "a", "seed": 8, "alpha": 1e-4, "views": ("plain",), "limit": None,
        "mode": "generate",
    }  # fmt: skip
    config.write_text("")
    assert read("data=a", config=config) == {"data": "a"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {a: 1}", "nested"),
        ("data: a\nviews: [[a], b]", "nested"),
        ("data: a\ndata: b", "twice"),
        ("- data", "key: value"),
        ("data: [", "not YAML"),
        ("data: a\nsed: 1", "Did you mean 'seed'"),
        ("data: 12", "Quote it"),
        ("data: a\nseed: true", "seed=true: expected int"),
        ("data: a\nbaselines: 1", "expected true or false"),
        ("data: null", "expected str"),
        ("1: a", "is not text"),
        ("data: !!python/name:os.system x", "not YAML"),
    ],
)
def test_a_file_that_is_not_flat_and_right_is_refused(tmp_path, text, message):
    config = tmp_path / "run.yaml"
    config.write_text(text)
    with pytest.raises(UsageError) as raised:
        read(config=config)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"Cannot read .*nowhere\.yaml"):
        read(config=tmp_path / "nowhere.yaml")


def test_describe_lists_key_default_and_type():
    lines = describe(sample_recipe).splitlines()
    assert len(lines) == len(parameters(sample_recipe))
    assert lines[0].split() == ["data=...", "str"]
    assert "limit=none" in lines[3] and "int or none" in lines[3]
    assert "views=plain,exemplar" in lines[5]
    assert "one of generate, likelihood" in lines[6]


def test_an_error_is_one_line_and_its_exit_code(monkeypatch, capsys):
    for error, code in [(UsageError("a\nb"), 2), (DataError("x"), 2), (CheckpointError("x"), 3)]:
        monkeypatch.setattr(cli, "_command", raiser(error))
        assert cli.main(["run"]) == code
        assert capsys.readouterr().err == f"error: {' '.join(str(error).split())}\n"


def test_other_ends(monkeypatch, capsys):
    monkeypatch.setattr(cli, "_command", raiser(KeyboardInterrupt()))
    assert cli.main(["run"]) == 130
    monkeypatch.setattr(cli, "_command", raiser(ValueError("a defect")))
    assert cli.main(["run"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and "a defect" in err
    full = OSError(28, "No space left on device", "runs/x")
    monkeypatch.setattr(cli, "_command", raiser(full))
    assert cli.main(["run"]) == 1
    assert capsys.readouterr().err == "error: [Errno 28] No space left on device: 'runs/x'\n"
    monkeypatch.setenv("RESIDENCY_DEBUG", "1")
    assert cli.main(["run"]) == 1
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setattr(cli, "_command", raiser(UsageError("where")))
    assert cli.main(["run"]) == 2
    assert "Traceback" in capsys.readouterr().err


def raiser(error: BaseException):
    def command(words):
        raise error

    return command


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "usage: residency"),
        (["rnu"], "No command 'rnu'. Did you mean 'run'?"),
        (["run"], "Name a recipe"),
        (["run", "vitaks"], "Nothing named 'vitaks' in residency.recipes"),
        (["run", "vitask", "--seed", "1"], "Parameters are written key=value, without dashes"),
        (["run", "vitask", "--config"], "expected one argument"),
        (["plan", "vitask", "sed=1"], "Did you mean 'seed'"),
        (["evaluate"], "Name a model"),
        (["data"], "residency data show"),
        (["data", "chekc", "x"], "residency data show"),
        (["data", "check", "phantoms", "strikt=true"], "Did you mean 'strict'"),
        (["data", "show", "no/such/file.npz"], "No such file or folder: 'no/such/file.npz'"),
        (["doctor", "x=1"], "no parameters"),
    ],
)
def test_wrong_usage_is_exit_code_2(words, message, capsys):
    assert cli.main(words) == 2
    err = capsys.readouterr().err
    assert message in err
    if words:
        assert len(err.splitlines()) == 1


def images(folder: Path) -> Path:
    """An ImageFolder of two classes in two splits."""
    from PIL import Image

    for split in ("train", "test"):
        for number, name in enumerate(["benign", "malignant"]):
            path = folder / split / name / "one.png"
            path.parent.mkdir(parents=True)
            Image.new("RGB", (8, 8), (10 * len(split), 200 * number, 0)).save(path)
    return folder


def test_data_show_and_check(tmp_path, capsys):
    folder = images(tmp_path / "skin")
    assert cli.main(["data", "show", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "benign" in shown and "malignant" in shown
    assert cli.main(["data", "check", str(folder), "strict=true"]) == 0
    assert "No problems found." in capsys.readouterr().out
    broken = folder / "test" / "benign" / "one.png"
    broken.write_bytes(broken.read_bytes()[:40])
    assert cli.main(["data", "check", str(folder)]) == 0
    assert "test/benign/one.png is damaged" in capsys.readouterr().out
    assert cli.main(["data", "check", str(folder), "strict=true"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert cli.main(["data", "check", str(folder), "limit=0"]) == 2


def test_a_pointer_file_is_named_as_such(tmp_path, capsys):
    pointer = tmp_path / "pneumoniamnist.npz"
    pointer.write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 4170669\n"
    )
    for action in ("show", "check"):
        assert cli.main(["data", action, str(pointer)]) == 2
        err = capsys.readouterr().err
        assert "LFS pointer" in err and len(err.splitlines()) == 1


def test_words_may_stand_around_options(monkeypatch, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("alpha: 0.5\n")
    module = SimpleNamespace(recipe=lambda **given: given)
    module.recipe = keywords
    monkeypatch.setattr(cli.catalog, "find", lambda collection, name: module)
    seen = []
    monkeypatch.setitem(sys.modules, "residency.recipe", SimpleNamespace(execute=seen.append))
    assert cli.main(["run", "x", "seed=2", "--config", str(config), "data=b"]) == 0
    assert cli.main(["demo", "seed=3"]) == 0
    assert seen == [("b", 2, 0.5), ("a", 3, 1.0)]


def keywords(*, data: str = "a", seed: int = 0, alpha: float = 1.0) -> tuple:
    return data, seed, alpha


def run(*words: str, code: str | None = None) -> subprocess.CompletedProcess:
    root = Path(cli.__file__).parent.parent
    paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    program = ["-c", code] if code else ["-m", "residency"]
    return subprocess.run(
        [sys.executable, *program, *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": paths},
    )


def test_help_imports_nothing_heavy():
    helps = [["--help"], ["--version"], ["run", "--help"], ["plan", "--help"], ["data", "--help"]]
    helps += [["run", name, "--help"] for name in catalog.names("recipes")]
    code = f"""
import sys, time
start = time.perf_counter()
from residency import cli
for words in {helps!r}:
    try:
        code = cli.main(words)
    except SystemExit as end:
        code = end.code
    assert code in (0, None), (words, code)
    loaded = sorted(set({HEAVY!r}) & set(sys.modules))
    assert not loaded, (words, loaded)
assert time.perf_counter() - start < 5, time.perf_counter() - start
"""
    done = run(code=code)
    assert done.returncode == 0, done.stderr
    assert "commands:" in done.stdout and "seed=0" in done.stdout


def test_sigterm_is_143():
    code = """
import os, signal, sys
from residency import cli
def command(words):
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
cli._command = command
cli.entry()
"""
    done = run(code=code)
    assert (done.returncode, done.stderr) == (143, "terminated\n")


def test_doctor_reports_versions_and_the_embedded_model(capsys):
    from residency.doctor import report

    facts = dict(line.split("  ", 1) for line in report().splitlines())
    facts = {what.strip(): value.strip() for what, value in facts.items()}
    assert facts["python"] == sys.version.split()[0]
    assert "float32" in facts["cpu"]
    assert int(facts["cores"]) >= 1
    assert facts["nano"].startswith(("missing", *"0123456789"))
    assert cli.main(["doctor"]) == 0
    assert "free disk" in capsys.readouterr().out

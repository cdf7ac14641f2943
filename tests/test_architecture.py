"""Gates over the source: what must never appear in it."""

import ast
import re
from pathlib import Path

import pytest

import residency

PACKAGE = Path(residency.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
FORBIDDEN_CALLS = {
    "eval", "exec", "torch.load", "yaml.load", "yaml.load_all", "yaml.full_load",
    "yaml.unsafe_load", "os.system", "os.popen", "pd.read_pickle",
}  # fmt: skip
FORBIDDEN_KEYWORDS = {"trust_remote_code": True, "shell": True, "allow_pickle": True}
HEAVY = {"torch", "torchvision", "transformers", "peft", "accelerate", "timm", "sklearn", "pyarrow"}
# What the layers above may import without becoming slow to start.
LIGHT = ("cli.py", "__main__.py", "parameters.py", "doctor.py", "catalog.py", "errors.py")


def offences(tree: ast.AST) -> list[str]:
    """What is forbidden in a module, with its line."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                bad = {alias.name.split(".")[0] for alias in names} & FORBIDDEN_MODULES
            case ast.ImportFrom(module=str(module), names=names):
                bad = {module.split(".")[0]} & FORBIDDEN_MODULES
                bad |= {f"{module}.{alias.name}" for alias in names} & FORBIDDEN_CALLS
            case ast.Call(func=func, keywords=keywords):
                bad = {ast.unparse(func)} & FORBIDDEN_CALLS
                bad |= {
                    f"{key.arg}={ast.unparse(key.value)}"
                    for key in keywords
                    if key.arg in FORBIDDEN_KEYWORDS
                    and not (isinstance(key.value, ast.Constant) and key.value.value is False)
                }
            case ast.Assign(targets=targets, value=ast.Constant(value=True)):
                bad = {ast.unparse(t) for t in targets if "LOAD_TRUNCATED_IMAGES" in ast.unparse(t)}
            case _:
                continue
        found += [f"line {node.lineno}: {what}" for what in sorted(bad)]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_unsafe_in(path):
    assert offences(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from dill import loads",
        "torch.load('x')",
        "from torch import load",
        "np.load('x', allow_pickle=True)",
        "np.load('x', allow_pickle=flag)",
        "eval('1')",
        "exec('1')",
        "yaml.load(text)",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "subprocess.run('ls', shell=True)",
        "ImageFile.LOAD_TRUNCATED_IMAGES = True",
    ],
)
def test_the_gate_sees(line):
    assert len(offences(ast.parse(line))) == 1


def test_the_gate_lets_pass():
    safe = "model.eval()\nnp.load('x', allow_pickle=False)\nyaml.safe_load(t)\nre.compile('x')"
    assert offences(ast.parse(safe)) == []


def top_level_imports(path: Path) -> set[str]:
    """Packages that importing this one module imports, type-checking blocks aside."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_the_command_line_and_the_recipes_are_light():
    for path in [*(PACKAGE / name for name in LIGHT), *(PACKAGE / "recipes").glob("*.py")]:
        assert not top_level_imports(path) & HEAVY, path


def test_every_module_opens_with_what_it_is_for():
    for path in SOURCES:
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert docstring.split("\n")[0].strip(), f"{path} has no opening sentence"


def test_contracts_can_be_checked_at_run_time():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases):
                decorators = [ast.unparse(one) for one in node.decorator_list]
                assert "runtime_checkable" in decorators, f"{path}: {node.name}"


def test_no_machine_is_mentioned():
    pattern = re.compile(r"/(?:home|root|work|Users|mnt|opt)/|shared/(?:data|design|papers)")
    for path in SOURCES:
        assert not pattern.search(path.read_text(encoding="utf-8")), path

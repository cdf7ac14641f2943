"""One environment per peer with its exact requirements; torch is borrowed from the running interpreter.

The borrowed packages are links in a folder that a `.pth` file adds behind the environment's own, so all
tools run the same torch and six gigabytes are not installed five times.
"""

import importlib.metadata
import os
import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
BORROWED = ("torch", "torchvision", "triton")
DONE = "installed.txt"


class ToolError(Exception):
    """Why a tool cannot run here, in a line."""


def python(tool: str, envs: Path) -> Path:
    """The interpreter of a peer's environment, made if it is missing or its pins have changed.

    Raises:
        ToolError: pip could not install what is pinned, or what it installed does not import.
    """
    pins = REQUIREMENTS / f"{tool}.txt"
    home = envs / tool
    found = home / "bin" / "python"
    mark = home / DONE
    if mark.exists() and mark.read_text() == pins.read_text():
        return found
    venv.create(home, with_pip=True, clear=True)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(f"{borrowed(envs / 'torch')}\n")
    command = [found, "-m", "pip", "install", "--quiet", "--no-deps", "-r", pins]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        lines = [line for line in made.stderr.splitlines() if line.startswith("ERROR")]
        raise ToolError("pip: " + (lines or made.stderr.splitlines() or ["no output"])[-1])
    mark.write_text(pins.read_text())
    return found


def borrowed(folder: Path) -> Path:
    """A folder of links to torch and what it is made of, as installed for this interpreter."""
    folder.mkdir(parents=True, exist_ok=True)
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"].lower()
        if name not in BORROWED and not name.startswith(("nvidia-", "cuda-")):
            continue
        tops = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
        for top in sorted(tops):
            link = folder / top
            if not link.is_symlink():
                link.symlink_to(str(distribution.locate_file(top)))
    return folder


def variables(own: str = "") -> dict[str, str]:
    """The same environment for every tool: one thread, no network, freed memory kept (glibc).

    Without the last, page faults of freed and reallocated tensors take a third of the CPU time of
    all tools alike. `own` is added to the module path.
    """
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "TMPDIR", "LANG")}
    return kept | {
        "PYTHONPATH": own,
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        "MALLOC_MMAP_THRESHOLD_": "8589934592",
        "MALLOC_TRIM_THRESHOLD_": "8589934592",
        "MALLOC_TOP_PAD_": "268435456",
    }


def here() -> Path:
    """The interpreter that runs this, for our own tool."""
    return Path(sys.executable)

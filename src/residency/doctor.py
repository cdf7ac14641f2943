"""What this machine offers and what is missing, without touching the network."""

import hashlib
import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

PACKAGES = (
    "residency", "torch", "torchvision", "transformers", "peft", "accelerate", "timm",
    "safetensors", "tokenizers", "numpy", "pillow", "pyarrow", "scikit-learn",
)  # fmt: skip
GIB = 2**30


def report() -> str:
    """Lines `what  value`, one fact each."""
    rows = [*_software(), *_machine(), *_devices(), *_nano()]
    width = max(len(what) for what, _ in rows)
    return "\n".join(f"{what:<{width}}  {value}" for what, value in rows)


def _software() -> Iterator[tuple[str, str]]:
    yield "python", platform.python_version()
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, "not installed"


def _machine() -> Iterator[tuple[str, str]]:
    yield "system", f"{platform.system()} {platform.machine()}"
    yield "cores", str(_cores())
    memory = _memory()
    yield "memory", f"{memory / GIB:.1f} GiB" if memory else "unknown"
    yield "free disk", f"{shutil.disk_usage(Path.cwd()).free / GIB:.1f} GiB in the working folder"


def _cores() -> int:
    """The cores this process may use, not those the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _devices() -> Iterator[tuple[str, str]]:
    import torch

    yield "cpu", f"{torch.get_num_threads()} threads, computes in {_dtypes('cpu')}"
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        yield (
            f"cuda:{index}",
            f"{facts.name}, {facts.total_memory / GIB:.0f} GiB, "
            f"computes in {_dtypes(f'cuda:{index}')}",
        )
    if torch.backends.mps.is_available():
        yield "mps", f"computes in {_dtypes('mps')}"
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        yield "accelerator", "none found: everything runs on the processor"


def _dtypes(device: str) -> str:
    """The dtypes in which a small product really works there."""
    import torch

    working = []
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        try:
            square = torch.ones(8, 8, device=device, dtype=dtype)
            if float((square @ square)[0, 0]) == 8.0:
                working.append(str(dtype).removeprefix("torch."))
        except (RuntimeError, NotImplementedError, TypeError):
            continue
    return ", ".join(working) or "nothing"


def _nano() -> Iterator[tuple[str, str]]:
    weights = files("residency") / "nano" / "model.safetensors"
    if not weights.is_file():
        yield "nano", "missing: this installation lacks residency/nano/model.safetensors"
        return
    content = weights.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    yield "nano", f"{len(content) / 2**20:.1f} MiB, sha256 {digest[:16]}"

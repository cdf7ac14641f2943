"""Which versions made a result."""

import platform
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = (
    "residency",
    "torch",
    "torchvision",
    "transformers",
    "peft",
    "accelerate",
    "timm",
    "numpy",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide a result."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found

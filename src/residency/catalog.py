"""Find an entry of a collection by name. The file name is the registry."""

import importlib
import pkgutil
from difflib import get_close_matches
from types import ModuleType

from residency.errors import UsageError


def suggest(name: str, names: list[str]) -> str:
    """` Did you mean 'x'?`, or nothing where no name is close."""
    close = get_close_matches(name, names, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def names(collection: str) -> list[str]:
    """The entries of `residency.<collection>`, without importing them."""
    package = importlib.import_module(f"residency.{collection}")
    return sorted(entry.name for entry in pkgutil.iter_modules(package.__path__))


def find(collection: str, name: str) -> ModuleType:
    """Import `residency.<collection>.<name>`.

    Raises:
        UsageError: no such entry; the message names the closest one and all that exist.
    """
    available = names(collection)
    if name not in available:
        raise UsageError(
            f"Nothing named {name!r} in residency.{collection}.{suggest(name, available)} "
            f"Available: {', '.join(available)}."
        )
    return importlib.import_module(f"residency.{collection}.{name}")

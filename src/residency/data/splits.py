"""Put whole units (patients, images, contents) on one side of a train / val / test split."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from residency.catalog import suggest

SPLITS = ("train", "val", "test")
SHARES = (0.7, 0.1, 0.2)
SYNONYMS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
ALLOWED = "train, val or test"


def unknown_split(word: str) -> str:
    """What is wrong with the name of a split, "" where it is one; blank is none."""
    if word.strip().lower() in SYNONYMS:
        return ""
    stated = f"split {word.strip()!r}" if word.strip() else "no split, where other rows state one"
    return f"{stated}; expected {ALLOWED}.{suggest(word.strip().lower(), list(SYNONYMS))}"


def side_by_side(splits: Iterable[str]) -> str:
    """Why files cannot be splits together: some state one and others ("") none; "" where they can."""
    named = sorted(set(splits) - {""})
    if not named or "" not in set(splits):
        return ""
    return (
        f"some files state a split ({', '.join(named)}) and others none that is known. Name all of "
        f"them after {ALLOWED}, or none."
    )


def assign(
    units: Sequence[str], *, seed: int = 0, shares: tuple[float, ...] = SHARES
) -> np.ndarray:
    """The split of every row, as an index into `shares`, int8 `[n]`.

    Rows of equal unit stay together. Units are ordered by a hash of seed and unit, so the order of
    rows does not matter; a unit goes where the middle of its rows falls among the shares.
    """
    sizes = Counter(units)
    ordered = sorted(sizes, key=lambda unit: hashlib.sha256(f"{seed}\0{unit}".encode()).digest())
    counts = np.array([sizes[unit] for unit in ordered], dtype=np.float64)
    middle = (np.cumsum(counts) - counts / 2) / counts.sum() if len(counts) else counts
    places = np.searchsorted(np.cumsum(shares)[:-1], middle, side="right")
    side = dict(zip(ordered, places.tolist(), strict=True))
    return np.fromiter((side[unit] for unit in units), dtype=np.int8, count=len(units))

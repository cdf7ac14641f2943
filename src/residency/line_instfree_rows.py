"""Rows of InstFree's tables as values: what stands in the instruction's place, and what a draw changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from residency.catalog import suggest
from residency.errors import UsageError
from residency.evaluate.layout import Table
from residency.train.values import MomentumForm

LETTERS, OPTIONS = " (letters)", " (options)"  # variants whose answers are scored, not generated


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table; `variant` of a fine-tuned row says which parts it trains.

    `instruction` is what training asks: a fixed text, one of the pool, or the proxy. `momentum` is how
    the proxy trains: `fix` not at all after the warm-up, `update` by gradient, or slowly in one of the
    two readings. `shuffle` is whether responses are shuffled, `wrong` splits them at every space.
    """

    variant: str
    method: str = "instfree"
    instruction: Literal["fixed", "pool", "proxy"] = "proxy"
    momentum: Literal["fix", "update"] | MomentumForm = "printed"
    shuffle: Literal["no", "yes", "wrong"] = "no"
    rare: bool = False
    language_model: bool = False
    alpha: float | None = None  # None: that of the recipe
    vectors: int | None = None


ROWS: Mapping[str, Row] = {
    "ft": Row(method="ft", variant="vision", instruction="fixed"),
    "ft_rs": Row(method="ft", variant="vision w/ RS", instruction="fixed", shuffle="yes"),
    "ft_rand": Row(method="ft", variant="vision w/ Rand", instruction="pool"),
    "ft_lm": Row(method="ft", variant="language model", instruction="fixed", language_model=True),
    "fix": Row(variant="Fix", momentum="fix"),
    "update": Row(variant="Update", momentum="update"),
    "instfree": Row(variant=""),
    "instfree_rs": Row(variant="w/ RS", shuffle="yes"),
    "instfree_bal": Row(variant="w/ Bal", rare=True),
    "instfree_wrong": Row(variant='w/ RS (" ")', shuffle="wrong"),
    "moco": Row(variant="moco", momentum="moco"),
    "moco_rs": Row(variant="moco w/ RS", momentum="moco", shuffle="yes"),
}
TABLES: Mapping[str, tuple[str, ...]] = {
    "1": ("none", "ft", "instfree", "instfree_rs"),
    "2": ("fix", "update", "instfree", "moco"),
    "3": ("none", "instfree", "instfree_rs"),
    "4": ("instfree_bal", "instfree_wrong", "instfree_rs", "ft_rs", "ft_rand"),
}


def row(name: str) -> Row:
    """The row of a name; `alpha_0.9` and `n_16` are InstFree at another coefficient or size.

    Raises:
        UsageError: no such row.
    """
    if name in ROWS:
        return ROWS[name]
    kind, _, value = name.partition("_")
    try:
        if kind == "alpha":
            return Row(variant=f"alpha {float(value):g}", alpha=float(value))
        if kind == "n":
            return Row(variant=f"N {int(value)}", vectors=int(value))
    except ValueError:
        pass
    known = ["none", *ROWS, "alpha_0.9", "n_16"]
    raise UsageError(f"No row {name!r}.{suggest(name, known)} Rows: {', '.join(known)}.")


def untuned(models: tuple[str, ...]) -> dict[str, Row]:
    """The rows of models that stand beside the base, untuned, by hub id or folder; variants name them.

    Raises:
        UsageError: two have the same name.
    """
    found = {
        model: Row(method="none", variant=Path(model).name, instruction="fixed") for model in models
    }
    if len({one.variant for one in found.values()}) < len(models):
        raise UsageError(f"Two of others={','.join(models)} have the same name. Rename a folder.")
    return found


def label(name: str) -> str:
    """How the paper writes a row."""
    plain = {"none": "w/o FT", "ft": "FT", "ft_rs": "FT w/ RS", "ft_rand": "FT w/ Rand"}
    if name in plain:
        return plain[name]
    one = row(name)
    if one.method == "ft":
        return f"FT ({one.variant})"
    if name in ("fix", "update"):
        return one.variant
    return f"InstFree {one.variant}".strip()


def key(name: str) -> tuple[str, str]:
    """Method and variant of a row in results, without the kind of its scores."""
    return ("none", "") if name == "none" else (row(name).method, row(name).variant)


def layouts(
    tables: tuple[str, ...], momenta: tuple[float, ...], sizes: tuple[int, ...]
) -> dict[str, tuple[str, ...]]:
    """The rows of each table and figure by its title.

    Raises:
        UsageError: no such table.
    """
    unknown = sorted(set(tables) - TABLES.keys())
    if unknown:
        raise UsageError(f"No table {unknown[0]!r}. Tables with rows: {', '.join(TABLES)}.")
    found = {f"Table {number}": TABLES[number] for number in tables}
    if momenta:
        found["Figure 6 (momentum)"] = tuple(f"alpha_{value:g}" for value in momenta)
    if sizes:
        found["Figure 7 (vectors)"] = tuple(f"n_{value}" for value in sizes)
    return found


def laid(found: Mapping[str, tuple[str, ...]], others: tuple[str, ...] = ()) -> tuple[Table, ...]:
    """The tables to lay out: each with answers as generated, as letters and as options are scored.

    Tables with the untuned base have the untuned `others` above it.
    """
    made: list[Table] = []
    for title, names in found.items():
        rows = [(label(name), key(name)) for name in names]
        if "none" in names:
            models = [one.variant for one in untuned(others).values()]
            rows = [*((f"{name} (w/o FT)", ("none", name)) for name in models), *rows]
        for what, mark in (("generated", ""), ("letters", LETTERS), ("options", OPTIONS)):
            lines = [(said, (method, f"{v}{mark}".strip())) for said, (method, v) in rows]
            made.append((f"{title}, {what}", "accuracy", tuple(lines)))
        lines = [(label(name), key(name)) for name in names]
        for metric in ("image_dependence", "instruction_dependence"):
            made.append((title, metric, tuple(lines)))
    return tuple(made)

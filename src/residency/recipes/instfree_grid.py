"""InstFree's Tables 1 to 4 and Figures 6 and 7 over several seeds, in the paper's layout."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from residency.recipe import Recipe


def recipe(
    *,
    base: str = "nano",
    data: tuple[str, ...] = ("pills:train=320:val=2:test=60",),
    out: str = "runs/instfree_grid",
    seed: int = 0,
    seeds: int = 3,
    limit: int | None = None,
    on_bad: Literal["fail", "skip", "quarantine"] = "fail",
    max_bad: float = 0.001,
    baselines: bool = True,
    tables: tuple[str, ...] = ("1", "2", "4"),
    momenta: tuple[float, ...] = (),
    sizes: tuple[int, ...] = (),
    epochs: float = 5.0,
    warmup_epochs: float = 1.0,
    vectors: int = 8,
    momentum: float = 0.999,
    shuffle: Literal["separator", "sentences", "sections"] = "separator",
    separator: str | None = None,
    lr: float | None = None,
    proxy_lr: float | None = None,
    rank: int = 0,
    batch_size: int = 2,
    microbatch_size: int | None = None,
    others: tuple[str, ...] = (),
    max_tokens: int = 4096,
    too_long: Literal["fail", "drop", "shrink"] = "fail",
    retention: bool = False,
) -> "Recipe":
    """The recipe `instfree` once per seed (`seed`, `seed + 1`, ...), each row trained once, then the tables.

    `momenta` adds Figure 6 (paper: .9, .99, .999, .9999), `sizes` Figure 7 (paper: 1, 2, 4, 8, 16, 32).
    A grid that was stopped goes on where it was. Answers are generated, and scored by the likelihood of
    the letters and of the options; each kind has its own table. `others` are models whose untuned answers
    stand beside in Tables 1 and 3 (google/medgemma-4b-it, ...). `baselines=false` leaves Table 1 alone,
    without them.
    """
    settings = dict(locals())
    from residency import line_instfree_rows as line
    from residency.evaluate.layout import Layout
    from residency.recipe import Recipe
    from residency.repeat import Repeat

    beside = others if baselines else ()
    found = line.layouts(tables if baselines else ("1",), momenta, sizes)
    rows = tuple(dict.fromkeys(name for names in found.values() for name in names))
    outer = (
        "base",
        "data",
        "out",
        "seed",
        "seeds",
        "limit",
        "tables",
        "momenta",
        "sizes",
        "baselines",
    )
    inner = {key: value for key, value in settings.items() if key not in outer}
    inner |= {"rows": rows, "baselines": True, "probes": 0, "others": beside}
    runs = [
        Repeat(
            name=f"seed_{number}", recipe="instfree", settings=tuple(inner.items()), seed=number,
            data=data,
        )
        for number in range(seed, seed + seeds)
    ]  # fmt: skip
    tables_of = line.laid(found, beside)
    laid = Layout(name="tables", of=tuple(run.name for run in runs), tables=tables_of)
    return Recipe(
        name="instfree_grid", base=base, out=out, seed=seed, limit=limit, settings=settings,
        steps=(*runs, laid),
    )  # fmt: skip

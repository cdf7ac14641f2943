"""UMIT over several seeds: does one model for all tasks lose or gain against a model for each?"""

from typing import TYPE_CHECKING, Literal

from residency.recipes.umit import PAIRS, TASKS

if TYPE_CHECKING:
    from residency.recipe import Recipe


def recipe(
    *,
    base: str = "nano",
    data: tuple[str, ...] = TASKS,
    pairs: tuple[str, ...] | None = PAIRS,
    out: str = "runs/umit_grid",
    seed: int = 0,
    seeds: int = 3,
    limit: int | None = None,
    on_bad: Literal["fail", "skip", "quarantine"] = "fail",
    max_bad: float = 0.001,
    mix: str = "all",
    baselines: bool = True,
    compare: str | None = "auto",
    align_updates: int | None = 200,
    updates: int | None = 500,
    tune_updates: int | None = 100,
    batch_size: int = 16,
    microbatch_size: int = 16,
    max_tokens: int = 4096,
    too_long: Literal["fail", "drop", "shrink"] = "fail",
    lr: float | None = None,
    balance: float = 0.5,
    template: str = "umit*",
    points: Literal["family", "umit"] = "family",
    watch: int = 0,
    watch_samples: int = 16,
    best: str | None = None,
) -> "Recipe":
    """The recipe `umit` once per seed (`seed`, `seed + 1`, ...), then a table for each task.

    Rows are the untouched base, UMIT-B (all tasks together), UMIT (each task continued) and a model per
    task that was trained for as many updates as UMIT-B; then each of them with blank images, and the
    majority answer. Updates replace the paper's epochs (ours). A grid that was stopped goes on where it
    was.
    """
    settings = dict(locals())
    from residency import sharing
    from residency.evaluate.by_task import ByTask
    from residency.recipe import Recipe
    from residency.repeat import Repeat

    plan = sharing.Sharing.of(settings)  # says what is wrong before any seed starts
    outer = ("base", "out", "seed", "seeds", "limit")
    inner = {key: value for key, value in settings.items() if key not in outer}
    runs = [
        Repeat(
            name=f"seed_{number}", recipe="umit", settings=(*inner.items(), ("retention", False)),
            seed=number, data=plan.data,
        )
        for number in range(seed, seed + seeds)
    ]  # fmt: skip
    laid = ByTask(name="tables", of=tuple(run.name for run in runs), lines=sharing.LINES)
    return Recipe(
        name="umit_grid", base=base, out=out, seed=seed, limit=limit, settings=settings,
        steps=(*runs, laid),
    )  # fmt: skip

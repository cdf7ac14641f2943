"""The demonstration: VITask on phantoms in a few minutes, with a table and a page."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from residency.recipe import Recipe


def recipe(
    *,
    base: str = "nano",
    data: tuple[str, ...] = ("phantoms:smear:train=1200:val=200:test=300",),
    out: str = "runs/demo",
    seed: int = 0,
    limit: int | None = None,
    on_bad: Literal["fail", "skip", "quarantine"] = "fail",
    max_bad: float = 0.001,
    mix: str = "all",
    augment: tuple[str, ...] = (),
    baselines: bool = True,
    align: float = 1.0,
    contrast: float = 1.0,
    epochs: float = 1.0,
    batch_size: int = 16,
    microbatch_size: int | None = None,
    max_tokens: int = 4096,
    too_long: Literal["fail", "drop", "shrink"] = "fail",
    lr: float | None = None,
    connector_lr: float | None = None,
    rank: int = 16,
    expert: str = "small",
    expert_epochs: int = 12,
) -> "Recipe":
    """The recipe `vitask` at a size for two cores, with the ranking plot.

    Everything is as in `vitask`, but for the smaller data set and the shorter expert (ours).
    """
    settings = dict(locals())
    from residency import line
    from residency.evaluate.retention import retained
    from residency.recipe import Recipe

    tuning = line.Tuning.of(settings)
    models = (("generalist", "base"), ("vanilla", "vanilla")) if baselines else ()
    steps = (
        line.fit(data, expert, expert_epochs),
        *(line.baselines(tuning) if baselines else ()),
        *line.two_stages(tuning, align=align, contrast=contrast),
        line.test(tuning, "contrast", controls=True, name="vitask_test"),
        line.rank(tuning, (*models, ("VITask", "contrast"))),
    )
    return Recipe(
        name="demo",
        base=base,
        out=out,
        seed=seed,
        limit=limit,
        settings=settings,
        steps=retained(steps),
    )

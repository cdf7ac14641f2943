"""VITask's Figure 3: does the right image make the right response more likely than another image does?"""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from residency.recipe import Recipe


def recipe(
    *,
    base: str = "nano",
    data: tuple[str, ...] = ("phantoms",),
    out: str = "runs/vitask_ranking",
    seed: int = 0,
    limit: int | None = None,
    on_bad: Literal["fail", "skip", "quarantine"] = "fail",
    max_bad: float = 0.001,
    mix: str = "all",
    augment: tuple[str, ...] = (),
    baselines: bool = True,
    contrast: float = 1.0,
    epochs: float = 1.0,
    batch_size: int = 16,
    microbatch_size: int | None = None,
    max_tokens: int = 4096,
    too_long: Literal["fail", "drop", "shrink"] = "fail",
    lr: float | None = None,
    rank: int = 16,
) -> "Recipe":
    """Densities for the generalist, vanilla tuning and Van + beta CRT, on the same stored pairs.

    The third model is tuned without exemplar, for the same number of epochs, so that contrast is
    the only difference (the paper names it "tuned with our CRT strategy"). `baselines` adds accuracy
    of all three. Hyper-parameters as in the recipe `vitask`.
    """
    settings = dict(locals())
    from residency import line
    from residency.evaluate.retention import retained
    from residency.recipe import Recipe

    tuning = line.Tuning.of(settings)
    steps = line.densities(tuning, contrast=contrast, accuracy=baselines)
    return Recipe(
        name="vitask_ranking",
        base=base,
        out=out,
        seed=seed,
        limit=limit,
        settings=settings,
        steps=retained(steps),
    )

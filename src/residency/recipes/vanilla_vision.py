"""Vanilla tuning with a trainable vision encoder (VITask, Figure 2, VLM*)."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from residency.recipe import Recipe


def recipe(
    *,
    base: str = "nano",
    data: tuple[str, ...] = ("phantoms",),
    out: str = "runs/vanilla_vision",
    seed: int = 0,
    limit: int | None = None,
    on_bad: Literal["fail", "skip", "quarantine"] = "fail",
    max_bad: float = 0.001,
    mix: str = "all",
    augment: tuple[str, ...] = (),
    baselines: bool = True,
    epochs: float = 1.0,
    batch_size: int = 16,
    microbatch_size: int | None = None,
    microbatch_tokens: int | None = None,
    grouped: int = 1,
    max_tokens: int = 4096,
    too_long: Literal["fail", "drop", "shrink"] = "fail",
    lr: float | None = None,
    rank: int = 16,
) -> "Recipe":
    """Tune for `2 x epochs`, as long as both of VITask's stages together, and evaluate.

    Learning rate and rank as in the recipe `vitask`; the vision encoder learns at a
    tenth of the rate (ours).
    """
    settings = dict(locals())
    from residency import line
    from residency.evaluate.retention import retained
    from residency.recipe import Recipe

    tuning = line.Tuning.of(settings)
    steps = line.vanilla(tuning, "vanilla_vision", vision=True, generalist=baselines)
    return Recipe(
        name="vanilla_vision",
        base=base,
        out=out,
        seed=seed,
        limit=limit,
        settings=settings,
        steps=retained(steps),
    )

"""VITask's Table 3: a newly trained expert plugged into a VLM that is not tuned again (VITask_plug)."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from residency.recipe import Recipe


def recipe(
    *,
    base: str = "nano",
    data: tuple[str, ...] = ("phantoms",),
    external: tuple[str, ...] = ("phantoms:smear:shift=0.6:seed=7",),
    out: str = "runs/vitask_plug",
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
    expert_epochs: int = 30,
) -> "Recipe":
    """Train on `data`, test on every set of `external`, whose images tuning never saw.

    Rows on each external set: the expert, vanilla tuning and VITask of `data`, transferred as they
    are; then VITask with a new expert fitted on the external training split, fresh and started from
    the old one. The paper does not say which of the two it used; both are reported. Figure 5's
    content is not in the text: external sets of other tasks are our reading of it. There the old
    expert has no outputs for the labels, so its own row and the started expert are left out.
    """
    settings = dict(locals())
    from residency import line
    from residency.evaluate.retention import retained
    from residency.recipe import Recipe

    tuning = line.Tuning.of(settings)
    steps = (
        line.fit(data, expert, expert_epochs),
        *((tuning.vanilla(),) if baselines else ()),
        *line.two_stages(tuning, align=align, contrast=contrast),
        line.test(tuning, "contrast", name="source_test", variant="source"),
        *line.plugged(tuning, external, source=expert, epochs=expert_epochs, vanilla=baselines),
    )
    return Recipe(
        name="vitask_plug",
        base=base,
        out=out,
        seed=seed,
        limit=limit,
        settings=settings,
        steps=retained(steps),
    )

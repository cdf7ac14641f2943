"""VITask's Figure 4: both models retrained on instructions that do not name the possible labels."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from residency.recipe import Recipe


def recipe(
    *,
    base: str = "nano",
    data: tuple[str, ...] = ("phantoms",),
    out: str = "runs/vitask_incomplete",
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
    """Vanilla tuning and VITask, each with the label list and without it, tested without exemplar.

    Answers are generated and parsed: scoring every label would hand the list back. `baselines`
    adds the models with the list and the expert. Hyper-parameters as in the recipe `vitask`.
    """
    settings = dict(locals())
    from residency import line
    from residency.evaluate.retention import retained
    from residency.recipe import Recipe
    from residency.step import Step

    tuning = line.Tuning.of(settings)
    steps = line.incomplete(tuning, align=align, contrast=contrast, complete=baselines)
    first: tuple[Step, ...] = (line.fit(data, expert, expert_epochs),)
    if baselines:
        first += (line.expert_test(tuning),)
    return Recipe(
        name="vitask_incomplete",
        base=base,
        out=out,
        seed=seed,
        limit=limit,
        settings=settings,
        steps=retained((*first, *steps)),
    )

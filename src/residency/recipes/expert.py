"""The task-specific model (TSM) alone: VITask's first baseline and its teacher."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from residency.recipe import Recipe


def recipe(
    *,
    base: str = "nano",
    data: tuple[str, ...] = ("phantoms",),
    out: str = "runs/expert",
    seed: int = 0,
    limit: int | None = None,
    on_bad: Literal["fail", "skip", "quarantine"] = "fail",
    max_bad: float = 0.001,
    baselines: bool = True,
    expert: str = "small",
    expert_epochs: int = 30,
) -> "Recipe":
    """Fit one joint classifier over all data sets and score it; `baselines` adds majority and chance.

    `expert` is `small`, `timm:NAME`, a Hugging Face folder, or a Hugging Face id that was downloaded
    beforehand (`hf download ID`). 30 epochs as in the paper (A.2).
    """
    settings = dict(locals())
    from residency import line
    from residency.evaluate.steps import EvaluateExpert
    from residency.recipe import Recipe

    steps = (
        line.fit(data, expert, expert_epochs),
        EvaluateExpert(name="expert_test", of="expert", data=data, controls=baselines),
    )
    return Recipe(
        name="expert", base=base, out=out, seed=seed, limit=limit, settings=settings, steps=steps
    )

"""Nano, the embedded generalist: a Qwen2-VL of four million parameters, trained from nothing."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from residency.recipe import Recipe


def recipe(
    *,
    base: str = "scratch",
    data: str = "general::3",
    out: str = "runs/nano",
    seed: int = 0,
    limit: int | None = None,
    baselines: bool = True,
    sight: int = 1200,
    updates: int = 4500,
    batch_size: int = 16,
    microbatch_size: int = 8,
    lr: float = 1.5e-3,
    vision_lr: float = 1e-4,
    balance: float = 0.5,
) -> "Recipe":
    """Build tokenizer and weights, teach the eyes, train every part, write the model card.

    Trained in one go, the language model learns to answer without looking and never starts to (see
    docs/results.md). So `sight` updates teach vision encoder and connector dense labels first, as
    the towers of real generalists are trained first, and toward the words of the language model, so
    that looking is comparing like with like. `general::3` asks up to three questions about each
    picture. `balance` keeps the thirty tokens of a box from drowning the one of a yes. `baselines`
    adds the blank-image score to every skill of the card. Sizes, rates and lengths are ours.
    `<out>/card/nano` is what the package ships.
    """
    settings = dict(locals())
    from residency.evaluate.skills import Skills
    from residency.objectives.likelihood import Likelihood
    from residency.recipe import Recipe
    from residency.train.scratch import BuildNano
    from residency.train.sight import Sight
    from residency.train.stage import Stage
    from residency.train.values import Full, Schedule

    schedule = Schedule(
        updates=updates,
        batch_size=batch_size,
        microbatch_size=microbatch_size,
        warmup=0.03,
        weight_decay=0.05,
    )
    steps = (
        BuildNano(name="build"),
        Sight(name="see", after="build", data=("general",), updates=sight),
        Stage(
            name="learn",
            after="see",
            data=(data,),
            objective=Likelihood(balance=balance),
            train={
                "vision_encoder": Full(lr=vision_lr),
                "connector": Full(lr=vision_lr),
                "language_model": Full(lr=lr),
            },
            schedule=schedule,
        ),
        Skills(name="card", of="learn", data=("general",), blank=baselines),
    )
    return Recipe(
        name="nano", base=base, out=out, seed=seed, limit=limit, settings=settings, steps=steps
    )

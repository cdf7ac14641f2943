"""Nano, the embedded generalist: a Qwen2-VL of four million parameters, trained from nothing."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from residency.recipe import Recipe


def recipe(
    *,
    base: str = "scratch",
    data: str = "general::3",
    out: str = "runs/nano",
    seed: int = 0,
    limit: int | None = None,
    on_bad: Literal["fail", "skip", "quarantine"] = "fail",
    max_bad: float = 0.001,
    baselines: bool = True,
    sight: int = 1200,
    updates: int = 4500,
    batch_size: int = 16,
    microbatch_size: int = 8,
    lr: float = 1.5e-3,
    vision_lr: float = 1e-4,
    balance: float = 0.5,
    verdicts: str = "general:yes_no+mcq:6",
    think: int = 500,
    settle: int = 1100,
) -> "Recipe":
    """Build tokenizer and weights, teach the eyes, train every part, teach to compare, write the card.

    Trained in one go, the language model learns to answer without looking and never starts to (see
    docs/results.md). So `sight` updates teach vision encoder and connector dense labels first, as
    the towers of real generalists are trained first, and toward the words of the language model, so
    that looking is comparing like with like. `general::3` asks up to three questions about each
    picture. `balance` keeps the thirty tokens of a box from drowning the one of a yes.

    Claims and letters stay blind through all of that. `think` updates on `verdicts` alone, with the
    fact asked of the second block, open them; `settle` updates of every skill keep the rest. `base`
    other than `scratch` is a nano that went through the first three steps, and begins with `think`;
    the shipped one went through it twice, the second time with `verdicts=general:mcq:4`.

    `baselines` adds the blank-image score to every skill of the card. Sizes, rates and lengths are
    ours. `<out>/card/nano` is what the package ships.
    """
    settings = dict(locals())
    from residency.evaluate.skills import Skills
    from residency.objectives.likelihood import Likelihood
    from residency.recipe import Recipe
    from residency.step import BASE
    from residency.train.scratch import BuildNano
    from residency.train.sight import Sight
    from residency.train.stage import Stage
    from residency.train.thought import Thought
    from residency.train.values import Full, Schedule

    schedule = Schedule(
        updates=updates,
        batch_size=batch_size,
        microbatch_size=microbatch_size,
        warmup=0.03,
        weight_decay=0.05,
    )
    likelihood = Likelihood(balance=balance)
    begun = (
        BuildNano(name="build"),
        Sight(name="see", after="build", data=("general",), updates=sight),
        Stage(
            name="learn",
            after="see",
            data=(data,),
            objective=likelihood,
            train={
                "vision_encoder": Full(lr=vision_lr),
                "connector": Full(lr=vision_lr),
                "language_model": Full(lr=lr),
            },
            schedule=schedule,
        ),
    )
    opened = Thought(
        name="think",
        after="learn" if base == "scratch" else BASE,
        data=(verdicts,),
        objective=likelihood,
        schedule=Schedule(updates=think, batch_size=8, decay="constant", weight_decay=0.05),
    )
    settled = Thought(
        name="settle",
        after="think",
        data=("general::6",),
        objective=likelihood,
        schedule=Schedule(updates=settle, batch_size=8, weight_decay=0.05),
    )
    steps = (
        *(begun if base == "scratch" else ()),
        opened,
        settled,
        Skills(name="card", of="settle", data=("general",), blank=baselines),
    )
    return Recipe(
        name="nano", base=base, out=out, seed=seed, limit=limit, settings=settings, steps=steps
    )

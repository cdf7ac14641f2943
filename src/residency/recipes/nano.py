"""Nano, the embedded generalist: a Qwen2-VL of four million parameters trained from nothing on the general world."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from residency.recipe import Recipe


def recipe(
    *,
    base: str = "scratch",
    data: str = "general::6",
    out: str = "runs/nano",
    seed: int = 0,
    limit: int | None = None,
    baselines: bool = True,
    updates: int = 2000,
    batch_size: int = 16,
    lr: float = 1.2e-3,
) -> "Recipe":
    """Build tokenizer and weights, train every part on the general world, write the model card.

    `general::6` asks up to six questions about each picture, in one conversation. `baselines` adds the blank-image score to every skill of the card. Sizes, learning rate and
    length are ours. The folder `<out>/card/nano` is what the package ships as `residency/nano`.
    """
    settings = dict(locals())
    from residency.evaluate.skills import Skills
    from residency.objectives.likelihood import Likelihood
    from residency.recipe import Recipe
    from residency.train.scratch import BuildNano
    from residency.train.stage import Stage
    from residency.train.values import Full, Schedule

    everything = {part: Full(lr=lr) for part in ("vision_encoder", "connector", "language_model")}
    return Recipe(
        name="nano",
        base=base,
        out=out,
        seed=seed,
        limit=limit,
        settings=settings,
        steps=(
            BuildNano(name="build"),
            Stage(
                name="learn",
                after="build",
                data=(data,),
                objective=Likelihood(),
                train=everything,
                schedule=Schedule(
                    updates=updates,
                    batch_size=batch_size,
                    microbatch_size=batch_size,
                    warmup=0.02,
                    weight_decay=0.05,
                ),
            ),
            Skills(name="card", of="learn", data=(data,), blank=baselines),
        ),
    )

"""AdaMLLM's evaluation (Tables 2, 3, 12, 13): any model on the eleven columns, by its metrics and ours."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from residency.recipe import Recipe


def recipe(
    *,
    base: str = "nano",
    data: tuple[str, ...] = ("phantoms:smear:task=vqa",),
    out: str = "runs/adamllm_benchmark",
    seed: int = 0,
    limit: int | None = None,
    on_bad: Literal["fail", "skip", "quarantine"] = "fail",
    max_bad: float = 0.001,
    baselines: bool = True,
    batch_size: int = 32,
    max_tokens: int = 6144,
    too_long: Literal["fail", "shrink"] = "shrink",
) -> "Recipe":
    """Ask as Table 13 does: the question alone, or with its choices; greedy, 1,024 tokens, 256 for food.

    Qwen2-VL sees images of 224 x 224 to 1280 x 28 x 28 pixels, as in the paper's runs, unless a data set says
    `min_pixels` or `max_pixels`; SLAKE is read in English alone.
    `data` are slake, pathvqa, vqa_rad, pmc_vqa, recipe1m, nutrition5k, food_101, foodseg103 with their
    paths; each gets the paper's metric (`open_recall@llava-med` and so on) beside ours, and any other
    set its task's. VQA-RAD and Recipe1M are marked as partially seen: their training parts are among
    the paper's sources. `baselines` adds majority answer and chance.
    """
    settings = dict(locals())
    from residency import adaptation_presets
    from residency.evaluate.steps import Controls
    from residency.model.huggingface import Limits
    from residency.recipe import Recipe

    limits = Limits(max_tokens=max_tokens, too_long=too_long)
    steps = adaptation_presets.benchmark(data, base=base, batch_size=batch_size, limits=limits)
    asked = tuple(spec for step in steps for spec in step.data)
    controls = (Controls(name="controls", data=asked),) if baselines else ()
    return Recipe(
        name="adamllm_benchmark",
        base=base,
        out=out,
        seed=seed,
        limit=limit,
        settings=settings,
        steps=(*steps, *controls),
    )

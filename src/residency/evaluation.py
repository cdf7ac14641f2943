"""The command `evaluate`: any model on any data, with controls, in one folder."""

from typing import Literal

from residency.evaluate.results import Row


def evaluate(
    model: str,
    *,
    data: tuple[str, ...],
    out: str,
    split: str = "test",
    view: Literal["plain", "exemplar", "both"] = "plain",
    mode: Literal["auto", "generate", "likelihood"] = "auto",
    controls: bool = False,
    seed: int = 0,
    limit: int | None = None,
    batch_size: int = 32,
    list_options: bool = True,
    template: str = "paper",
    max_tokens: int = 4096,
    too_long: Literal["fail", "shrink"] = "fail",
) -> list[Row]:
    """Answer, score with intervals, write `predictions.jsonl` and `summary.json` under `out`.

    `model` is nano, a run folder, a checkpoint, a Hugging Face folder or id, or an adapter folder.
    `view=exemplar` needs a model that carries an expert. `controls` asks again about a blank image
    and about another sample's image, and adds the majority answer and chance. A run that was
    stopped goes on where it was; `mode=auto` scores every label of a closed set that the instruction
    lists, else generates. A prompt of more than `max_tokens` fails, or has its images shrunk.
    """
    settings = {key: value for key, value in locals().items() if key != "model"}
    from residency.evaluate.steps import Controls, Evaluate
    from residency.model.huggingface import Limits
    from residency.recipe import Recipe, execute
    from residency.task import Wording
    from residency.types import BLANK, EXEMPLAR, PLAIN, SHUFFLED

    shown = {"plain": (PLAIN,), "exemplar": (EXEMPLAR,), "both": (PLAIN, EXEMPLAR)}[view]
    asked = Evaluate(
        name="test",
        of="base",
        data=data,
        method="model",
        views=(*shown, BLANK, SHUFFLED) if controls else shown,
        mode=mode,
        split=split,
        wording=Wording(template=template, list_options=list_options),
        batch_size=batch_size,
        limits=Limits(max_tokens=max_tokens, too_long=too_long),
    )
    steps = (asked, Controls(name="controls", data=data, split=split)) if controls else (asked,)
    recipe = Recipe(
        name=f"evaluate {model}",
        base=model,
        out=out,
        seed=seed,
        limit=limit,
        settings=settings,
        steps=steps,
    )
    return execute(recipe)

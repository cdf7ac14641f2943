"""The command `evaluate`: any model on any data, with controls, in one folder."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from residency.catalog import find, suggest
from residency.errors import UsageError
from residency.evaluate.results import Row
from residency.metric import metric
from residency.types import BLANK, EXEMPLAR, PLAIN, PROXY, SHUFFLED, View

if TYPE_CHECKING:
    from residency.served import Served


def evaluate(
    model: str,
    *,
    data: tuple[str, ...],
    out: str,
    split: str = "test",
    task: tuple[str, ...] = (),
    view: tuple[str, ...] = ("plain",),
    mode: Literal["auto", "generate", "likelihood"] = "auto",
    controls: bool = False,
    metrics: tuple[str, ...] = (),
    shuffle_options: bool = False,
    seed: int = 0,
    limit: int | None = None,
    on_bad: Literal["fail", "skip", "quarantine"] = "fail",
    max_bad: float = 0.001,
    batch_size: int = 32,
    list_options: bool = True,
    template: str = "paper",
    max_tokens: int = 4096,
    too_long: Literal["fail", "shrink"] = "fail",
    reply_tokens: int = 64,
    family: str = "qwen2_vl",
) -> list[Row]:
    """Answer, score with intervals, write `predictions.jsonl` and `summary.json` under `out`.

    `model` is nano, a run folder, a checkpoint, a Hugging Face folder or id, an adapter folder, or the
    address of a server with OpenAI's chat completions (http://localhost:8000/v1, with ?model=NAME where it
    serves several; a key in $RESIDENCY_API_KEY is sent and never written down). A served model generates;
    `family` says how it writes boxes and points.
    `task` keeps the samples of these tasks. `view` is one or more of plain, exemplar (needs a model that
    carries an expert), proxy, blank, shuffled, and both for plain and exemplar. `controls` asks again
    about a blank image and about another sample's image, with the rate of changed answers, and adds the
    majority answer, chance, how often each option letter is said, and what the split shares with the
    training split. `metrics` replace those that the tasks declare. A run that was stopped goes on where it
    was; `mode=auto` scores every label of a closed set that the instruction lists, else generates.
    `shuffle_options` asks options in a stored order of each sample's own. Bad rows stop it before anything
    is asked (`on_bad=fail`), or are left out and counted (`skip`, and `quarantine`, which lists them in
    `bad.jsonl`) while they are at most the share `max_bad`. A prompt of more than
    `max_tokens` fails, or has its images shrunk. An answer ends after `reply_tokens`, more where it may
    name every label; how many were cut off is counted.

    Raises:
        UsageError: an unknown view, task, metric or parameter, no tokens to answer with, or a split
            without images.
    """
    settings = {key: value for key, value in locals().items() if key != "model"}
    from residency.evaluate.steps import Controls, Evaluate
    from residency.model.huggingface import Limits
    from residency.recipe import Recipe, execute
    from residency.task import Wording
    from residency.task import task as named_task

    for name in task:
        named_task(name)
    for name in metrics:
        metric(name)
    if reply_tokens < 1:
        raise UsageError(f"reply_tokens={reply_tokens}: an answer needs at least 1.")
    served = _served(model, family, mode)
    shown = _views(view)
    if controls:
        shown = tuple(dict.fromkeys((*shown, BLANK, SHUFFLED)))
    asked = Evaluate(
        name="test",
        of="base",
        data=data,
        method="model",
        views=shown,
        mode=mode if served is None else "generate",
        split=split,
        wording=Wording(template=template, list_options=list_options),
        batch_size=batch_size,
        limits=Limits(max_tokens=max_tokens, too_long=too_long),
        max_tokens=reply_tokens,
        tasks=task,
        metrics=metrics,
        shuffle_options=shuffle_options,
        served=served,
    )
    given_away = Controls(name="controls", data=data, split=split, tasks=task, metrics=metrics)
    steps = (asked, given_away) if controls else (asked,)
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


def _served(model: str, family: str, mode: str) -> "Served | None":
    """The server that a MODEL is the address of.

    Raises:
        UsageError: it is to score likelihoods, or no such family.
    """
    from residency.served import Served, is_address

    if not is_address(model):
        return None
    if mode == "likelihood":
        raise UsageError("A served model cannot score options. Use mode=generate.")
    find("backbones", family)
    return Served(model, family)


def _views(names: Sequence[str]) -> tuple[View, ...]:
    every = (PLAIN, EXEMPLAR, PROXY, BLANK, SHUFFLED)
    known: dict[str, tuple[View, ...]] = {view.name: (view,) for view in every}
    known["both"] = (PLAIN, EXEMPLAR)
    for name in names:
        if name not in known:
            raise UsageError(
                f"view={name}: no such view.{suggest(name, list(known))} Views: {', '.join(known)}."
            )
    return tuple(dict.fromkeys(view for name in names for view in known[name]))

"""The command `synthesize`: tasks about any image-caption pairs, from any engine, filtered if asked for."""

from typing import Literal

from residency.evaluate.results import Row


def synthesize(
    model: str,
    *,
    data: tuple[str, ...],
    out: str,
    split: str = "train",
    engine: str = "local",
    form: Literal["delimited", "header"] = "delimited",
    judge: str | None = None,
    judge_prompt: Literal["few_shot", "short"] = "few_shot",
    templates: Literal["paper", "upstream"] = "paper",
    temperature: float = 0.0,
    max_tokens: int = 512,
    seed: int = 0,
    limit: int | None = None,
    on_bad: Literal["fail", "skip", "quarantine"] = "fail",
    max_bad: float = 0.001,
    export: bool = False,
) -> list[Row]:
    """Write a task about every pair of a split, one row per pair under `out`; a killed run goes on.

    `model` is a tuned synthesizer; an endpoint serves its own, and MODEL only names the run's base.
    `engine` is local, local:BATCH, endpoint:URL, vllm, ray:WORKERS or ray:WORKERS:ENGINE. `judge` is the
    engine of the consistency filter (a model behind it answers; `local` asks MODEL; `text:MODEL` is a
    language model that sees no images); none leaves the filter out. A run may go on with its engine in
    another place: more workers, another address of a server whose model is named. `export` combines what
    is kept with the captions and writes the training files. Samples with facts say how true the answers
    are.
    """
    settings = {key: value for key, value in locals().items() if key != "model"}
    from residency.recipe import Recipe, execute
    from residency.step import BASE, Step
    from residency.synthesis.combining import Combine
    from residency.synthesis.engine import Sampling
    from residency.synthesis.export import Export
    from residency.synthesis.filtering import Filter
    from residency.synthesis.synthesizer import Synthesize

    source = Synthesize(
        name="synthesise",
        of=BASE,
        data=data,
        split=split,
        form=form,
        engine=engine,
        sampling=Sampling(temperature=temperature, max_tokens=max_tokens, seed=seed),
    )
    steps: list[Step] = [source]
    kept = None
    if judge is not None:
        kept = Filter(name="filter", triplets=source, engine=judge, prompt=judge_prompt)
        steps.append(kept)
    if export:
        tasks = Combine(name="tasks", triplets=source, kept=kept, pool=templates)
        steps += [tasks, Export(name="export", of=tasks)]
    recipe = Recipe(
        name=f"synthesize {model}",
        base=model,
        out=out,
        seed=seed,
        limit=limit,
        settings=settings,
        steps=tuple(steps),
    )
    return execute(recipe)

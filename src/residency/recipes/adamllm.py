"""AdaMLLM (Cheng et al., 2024): tasks written from a domain's captions, filtered, learned in one stage."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from residency.recipe import Recipe


def recipe(
    *,
    base: str = "nano",
    data: tuple[str, ...] = ("phantoms:smear:task=report:train=800:val=100:test=0",),
    test: tuple[str, ...] = ("phantoms:smear:task=vqa:train=800:val=100:test=300",),
    out: str = "runs/adamllm",
    seed: int = 0,
    limit: int | None = None,
    on_bad: Literal["fail", "skip", "quarantine"] = "fail",
    max_bad: float = 0.001,
    baselines: bool = True,
    seeds: tuple[str, ...] = ("seed_general:6000",),
    pipeline: tuple[str, ...] = ("single",),
    column: tuple[str, ...] = ("ours",),
    tasks: tuple[str, ...] = ("ours",),
    form: Literal["delimited", "header"] = "delimited",
    engine: str = "local",
    synthesizer: str | None = None,
    judge: str = "auto",
    judge_prompt: Literal["auto", "few_shot", "short"] = "auto",
    judge_engine: str = "local",
    templates: Literal["paper", "upstream"] = "paper",
    blank: float = 0.1,
    exclude: bool = True,
    copying: int | None = None,
    synthesizer_epochs: float = 2.0,
    judge_epochs: float = 1.0,
    epochs: float = 1.0,
    batch_size: int | None = None,
    microbatch_size: int | None = None,
    lr: float | None = None,
    vision_lr: float | None = None,
    max_tokens: int = 6144,
    too_long: Literal["fail", "drop", "shrink"] = "drop",
    reply_tokens: int = 512,
    export: bool = False,
    quality: int = 0,
    types: Literal["table8", "appendix_d"] = "table8",
    retention: bool = True,
) -> "Recipe":
    """Seed, synthesizer, synthesis over the captions of `data`, filter, combination, post-training, `test`.

    Table 10: one epoch, batch 128, full model; nano's rates are ours. `pipeline` (single, two_stage)
    and `column` (ours, no_blank, precise_only, informative_only, no_task, no_caption, general_task,
    general_task_caption) are Tables 4 and 5; `tasks` are ours, rules (recipes), or a data set of others'
    tasks. Each may be a list: what several models share is made once. `synthesizer` and `judge` may be
    models of an earlier run (RUN/synthesizer/model), as one synthesizer serves many domains. Else the
    synthesizer is tuned on the seed, and the judge is the base with a few-shot prompt or one tuned on
    the seed (`base`, `tuned`; `auto`: tuned for nano); both begin after `copying` updates that teach a base
    to copy (ours: 500 for nano, which cannot, none for others); with `engine=endpoint:URL` and
    `judge_engine=endpoint:URL` they are whatever is served there, with `judge_engine=text:MODEL` a language
    model without images judges, as in the paper. `templates=upstream` adds the inverted ones.
    With `exclude`, images of `test` leave the seed and the pairs. The paper's eight sets are asked and scored
    as in `adamllm_benchmark`, others as their task says. `export` writes all that is learned as files;
    `quality` samples are judged (17 or 20 `types`), and put on a sheet for people. Samples with facts say
    how true the synthetic answers are, before and after the filter. `retention=false` leaves out what
    tuning cost the generalist's own skills.
    """  # fmt: skip
    settings = dict(locals())
    from residency import adaptation_line
    from residency.evaluate.retention import retained
    from residency.recipe import Recipe

    steps = adaptation_line.post_training(settings)
    return Recipe(
        name="adamllm",
        base=base,
        out=out,
        seed=seed,
        limit=limit,
        settings=settings,
        steps=retained(steps) if retention else steps,
    )

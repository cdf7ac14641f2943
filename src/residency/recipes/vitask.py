"""VITask (Bai et al., 2024): a classifier teaches the VLM through its features, then may leave."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from residency.recipe import Recipe


def recipe(
    *,
    base: str = "nano",
    data: tuple[str, ...] = ("phantoms",),
    out: str = "runs/vitask",
    seed: int = 0,
    limit: int | None = None,
    on_bad: Literal["fail", "skip", "quarantine"] = "fail",
    max_bad: float = 0.001,
    mix: str = "all",
    augment: tuple[str, ...] = (),
    baselines: bool = True,
    align: float = 1.0,
    contrast: float = 1.0,
    exemplar: Literal["cls", "patches", "replace"] = "cls",
    template: Literal["paper", "section3", "category"] = "paper",
    epochs: float = 1.0,
    batch_size: int = 16,
    microbatch_size: int | None = None,
    microbatch_tokens: int | None = None,
    max_tokens: int = 4096,
    too_long: Literal["fail", "drop", "shrink"] = "fail",
    lr: float | None = None,
    connector_lr: float | None = None,
    rank: int = 16,
    expert: str = "small",
    expert_epochs: int = 30,
) -> "Recipe":
    """Expert, stage 1 (vanilla + exemplar + align), stage 2 (+ contrast, connector frozen), evaluation.

    `epochs` are those of each stage (paper: 1 + 1; baselines get the sum), `expert_epochs` those of
    the expert (paper: 30, A.2). The paper gives no learning rate, LoRA rank, alpha or beta: rank and
    4e-5 come from InternVL2's own LoRA script, the weights of 1 and nano's 4e-3 are ours.
    A sample of more than `max_tokens` fails, is dropped (in training, and counted) or has its images
    shrunk, as `too_long` says; `microbatch_size` (samples) and
    `microbatch_tokens` (padding included) bound memory; negatives come from the same
    microbatch where it has one.
    `align` is alpha (eq. 3), `contrast` beta (eq. 5), `template` the instruction's wording.
    """
    settings = dict(locals())
    from residency import line
    from residency.evaluate.retention import retained
    from residency.recipe import Recipe

    tuning = line.Tuning.of(settings)
    steps = (
        line.fit(data, expert, expert_epochs),
        *(line.baselines(tuning) if baselines else ()),
        *line.two_stages(tuning, align=align, contrast=contrast),
        line.test(tuning, "contrast", controls=True, name="vitask_test"),
    )
    return Recipe(
        name="vitask",
        base=base,
        out=out,
        seed=seed,
        limit=limit,
        settings=settings,
        steps=retained(steps),
    )

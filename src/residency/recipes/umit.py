"""UMIT (Yu et al., 2025): one model for many tasks, aligned first, then tuned, then tuned for each task."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from residency.recipe import Recipe

PAIRS = ("phantoms:smear:task=caption", "phantoms:chest:task=caption:language=zh")
TASKS = (
    "phantoms:smear",
    "phantoms:chest:task=vqa",
    "phantoms:lesion:task=vqa:language=zh",
    "phantoms:chest:task=report",
    "phantoms:smear:task=detection",
    "phantoms:fundus:task=landmark",
)


def recipe(
    *,
    base: str = "nano",
    data: tuple[str, ...] = TASKS,
    pairs: tuple[str, ...] | None = PAIRS,
    out: str = "runs/umit",
    seed: int = 0,
    limit: int | None = None,
    on_bad: Literal["fail", "skip", "quarantine"] = "fail",
    max_bad: float = 0.001,
    mix: str = "all",
    baselines: bool = True,
    align_epochs: float = 1.0,
    epochs: float = 4.0,
    tune_epochs: float = 1.0,
    updates: int | None = None,
    batch_size: int = 16,
    microbatch_size: int = 16,
    max_tokens: int = 4096,
    too_long: Literal["fail", "drop", "shrink"] = "fail",
    lr: float | None = None,
    balance: float = 0.5,
) -> "Recipe":
    """Feature alignment on `pairs`, instruction tuning on all of `data` (UMIT-B), each task again (UMIT).

    Stage 1 trains every part for one epoch over images with captions and pairs of images (sec. 3.2);
    `pairs=none` leaves it out. Stage 2 freezes the vision encoder and trains connector and language
    model on the mixture of all tasks for four epochs. Each task then continues from there by itself.
    `updates` replaces the epochs of stage 2, so that runs of several mixtures are equally long.
    `baselines` adds the untouched model, and for every task a model that was tuned on it alone from
    the aligned one, for as many updates as stage 2: what sharing gives and takes. Every model is also
    asked about blank images.

    The paper gives neither learning rate nor batch size: 1e-5 is AdaMLLM's for Qwen2-VL, nano's 5e-4
    is ours, as are `tune_epochs` (the paper: "the same number as BiomedGPT") and `balance`, which
    weighs a token by its response's length to the power of -balance so that long reports do not drown
    one word (0: the paper's average over tokens). `mix` says how often the tasks are drawn in stage 2
    (`residency.data.mix`), `on_bad` what a row that cannot be used does to the run.
    """
    settings = dict(locals())
    from residency import sharing
    from residency.evaluate.retention import retained
    from residency.recipe import Recipe

    plan = sharing.Sharing.of(settings)
    steps = (
        *(sharing.untouched(plan) if baselines else ()),
        *sharing.aligned(plan, pairs or (), align_epochs),
        *sharing.shared(plan, epochs, updates),
        *sharing.continued(plan, tune_epochs),
        *(sharing.alone(plan, epochs, updates) if baselines else ()),
    )
    return Recipe(
        name="umit",
        base=base,
        out=out,
        seed=seed,
        limit=limit,
        settings=settings,
        steps=retained(steps),
    )

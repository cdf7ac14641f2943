"""UMIT (Yu et al., 2025): one model for many tasks, aligned first, then tuned, then tuned for each task."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from residency.recipe import Recipe

# 1.6 : 0.3, as the paper's millions of captions; comparisons follow at 0.9 : 0.2.
PAIRS = ("phantoms:smear:task=caption", "phantoms:chest:task=caption:language=zh:train=300")
VOLUME = "phantoms:ct_volume:max_pixels=5184"  # 72 x 72 pixels a slice for nano
# The five tasks, in both languages and dimensions.
TASKS = (
    f"phantoms:chest:task=vqa+phantoms:lesion:task=vqa:language=zh+{VOLUME}:task=mcq",
    "phantoms:smear",
    f"phantoms:chest:task=report+{VOLUME}:task=report:language=zh",
    f"phantoms:smear:task=detection+{VOLUME}:task=detection3d",
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
    compare: str | None = "auto",
    align_epochs: float = 1.0,
    epochs: float = 4.0,
    tune_epochs: float = 1.0,
    align_updates: int | None = None,
    updates: int | None = None,
    tune_updates: int | None = None,
    batch_size: int = 16,
    microbatch_size: int = 16,
    max_tokens: int = 4096,
    too_long: Literal["fail", "drop", "shrink"] = "fail",
    lr: float | None = None,
    balance: float = 0.5,
    template: str = "umit*",
    points: Literal["family", "umit"] = "family",
    watch: int = 0,
    watch_samples: int = 16,
    best: str | None = None,
    retention: bool = True,
) -> "Recipe":
    """Feature alignment on `pairs`, instruction tuning on all of `data` (UMIT-B), each task again (UMIT).

    Data sets joined by + are one task. Stage 1 trains every part for one epoch over images with
    captions and pairs of images (sec. 3.2); `pairs=none` leaves it out. `compare` says who writes what
    two images share and do not, from their captions: an engine (local, endpoint:URL, ...), or `facts`
    where samples carry some, which `auto` prefers. Comparisons come at the paper's proportions; none
    leaves them out. Stage 2 freezes the vision encoder and trains connector and language model on the
    mixture of all tasks for four epochs. Each task then continues from there by itself.
    `align_updates`, `updates` and `tune_updates` replace the epochs of the three, so that runs of
    several mixtures are equally long; `tune_updates=0` stops at UMIT-B.

    Majority answer and chance are always there. `baselines` adds the untouched model, and for every
    task a model that was tuned on it alone from the aligned one, for as many updates as stage 2: what
    sharing gives and takes. Every model is also asked about blank images. `template` is a wording or a
    pool of them, from which training draws and whose first one the tests use. Every `watch` updates (0:
    never) a stage answers `watch_samples` of every validation split, and it leaves the model of its
    best look: by the metric `best`, or else by the first metric of every task. `points=umit` teaches a
    Qwen2-VL landmarks as the paper writes them, `[x,y]` in pixels of an image of 640 x 800.

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
    from residency.step import BASE

    plan = sharing.Sharing.of(settings)
    steps = (
        *sharing.controls(plan),
        *((plan.test(BASE, ""),) if baselines else ()),
        *sharing.aligned(plan, pairs or (), align_epochs, align_updates, compare),
        *sharing.shared(plan, epochs, updates),
        *sharing.continued(plan, tune_epochs, tune_updates),
        *(sharing.alone(plan, epochs, updates) if baselines else ()),
    )
    return Recipe(
        name="umit",
        base=base,
        out=out,
        seed=seed,
        limit=limit,
        settings=settings,
        steps=retained(steps) if retention else steps,
    )

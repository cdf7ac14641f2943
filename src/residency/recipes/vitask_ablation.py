"""VITask's Table 2 and Figure 2: which of exemplar, alignment and contrast does what."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from residency.recipe import Recipe


def recipe(
    *,
    base: str = "nano",
    data: tuple[str, ...] = ("phantoms",),
    out: str = "runs/vitask_ablation",
    seed: int = 0,
    limit: int | None = None,
    on_bad: Literal["fail", "skip", "quarantine"] = "fail",
    max_bad: float = 0.001,
    mix: str = "all",
    augment: tuple[str, ...] = (),
    baselines: bool = True,
    cells: tuple[str, ...] = ("van", "ep", "rda", "crt", "both"),
    align: float = 1.0,
    contrast: float = 1.0,
    direction: Literal["printed", "forward"] = "printed",
    temperature: float = 1.0,
    detach_negative: bool = False,
    contrast_view: Literal["plain", "exemplar"] = "plain",
    contrast_tokens: Literal["all", "diverging"] = "all",
    epochs: float = 1.0,
    batch_size: int = 16,
    microbatch_size: int | None = None,
    max_tokens: int = 4096,
    too_long: Literal["fail", "drop", "shrink"] = "fail",
    lr: float | None = None,
    connector_lr: float | None = None,
    rank: int = 16,
    expert: str = "small",
    expert_epochs: int = 30,
) -> "Recipe":
    """One cell per name, all of the same length, each tested without and with exemplar.

    Losses: `van` = Van (no exemplar exists); `ep` = Van + EP (Table 2's "vanilla" with exemplar);
    `rda` = Van + EP + alpha RDA; `crt` = Van + EP + beta CRT; `both` = all. Figure 2 adds `ep_all`
    (patch tokens), `ep_rep` (in place of the image), `rda_star` (teacher not detached) and `vision`
    (Van with a trainable vision encoder). Stage 1 has no contrast and stage 2 freezes the
    connector, in every cell. The other parameters settle what the paper leaves open, and are ours
    but for their defaults; hyper-parameters as in the recipe `vitask`.
    """
    settings = dict(locals())
    from residency import line
    from residency.evaluate.retention import retained
    from residency.recipe import Recipe
    from residency.step import Step

    tuning = line.Tuning.of(settings)
    options = {
        "direction": direction,
        "temperature": temperature,
        "detach_negative": detach_negative,
        "contrast_view": contrast_view,
        "contrast_tokens": contrast_tokens,
    }
    steps = line.cells(tuning, cells, align=align, contrast=contrast, options=options)
    first: tuple[Step, ...] = (line.fit(data, expert, expert_epochs),)
    if baselines:
        first += (line.expert_test(tuning), line.generalist_test(tuning))
    return Recipe(
        name="vitask_ablation",
        base=base,
        out=out,
        seed=seed,
        limit=limit,
        settings=settings,
        steps=retained((*first, *steps)),
    )

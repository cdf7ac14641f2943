"""InstFree (Kang et al.): a specialist from image-report pairs alone, with its baselines in one table."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from residency.recipe import Recipe


def recipe(
    *,
    base: str = "nano",
    data: tuple[str, ...] = ("pills:train=320:val=2:test=60",),
    out: str = "runs/instfree",
    seed: int = 0,
    limit: int | None = None,
    on_bad: Literal["fail", "skip", "quarantine"] = "fail",
    max_bad: float = 0.001,
    baselines: bool = True,
    rows: tuple[str, ...] = ("none", "ft", "fix", "update", "instfree", "instfree_rs", "moco"),
    epochs: float = 5.0,
    warmup_epochs: float = 1.0,
    vectors: int = 8,
    momentum: float = 0.999,
    shuffle: Literal["separator", "sentences", "sections"] = "separator",
    separator: str | None = None,
    lr: float | None = None,
    proxy_lr: float | None = None,
    rank: int = 0,
    batch_size: int = 2,
    microbatch_size: int | None = None,
    others: tuple[str, ...] = (),
    max_tokens: int = 4096,
    too_long: Literal["fail", "drop", "shrink"] = "fail",
    probes: int = 2,
    retention: bool = True,
) -> "Recipe":
    """Warm-up of the proxy instruction, main stage, and tests on questions that training never asked.

    `rows` are those of the paper's tables: none (no fine-tuning), ft, ft_rs, ft_rand, ft_lm, fix,
    update, instfree, instfree_rs, instfree_bal, instfree_wrong, moco, moco_rs, alpha_0.9 (another
    momentum) and n_16 (other vectors); `baselines=false` leaves instfree and instfree_rs. All train the
    vision encoder and the connector (Mllama: cross-attention as well) with the language model frozen,
    but ft_lm, which trains the language model; `rank` above 0 trains it by LoRA in every row (ours, for
    models too small to know the words of the reports). `shuffle` says where RS splits a report, `separator`
    at what (", "; in Chinese "，"). Paper: 8 vectors, momentum .999, 5 epochs after 1 of warm-up, batch 2,
    and 2e-5 from the authors' code; nano's rates (1e-4, proxy 1e-2) are ours. Phantoms and attribute
    sets become benchmarks; other data bring reports in train and questions in test. `others` are models
    whose untuned answers stand beside (Tables 1 and 3: google/medgemma-4b-it, ...). `retention` asks
    every model what the generalist could do before.
    """
    settings = dict(locals())
    from residency import line_instfree as line
    from residency.evaluate.retention import retained
    from residency.recipe import Recipe

    tuning = line.Tuning.of(settings)
    chosen = rows if baselines else ("instfree", "instfree_rs")
    steps = line.steps(tuning, chosen, probes=probes, others=others if baselines else ())
    if retention:
        steps = retained(steps)
    return Recipe(
        name="instfree", base=base, out=out, seed=seed, limit=limit, settings=settings, steps=steps
    )

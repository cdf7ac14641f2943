"""The eleven columns of AdaMLLM's Tables 2 and 3: how each set is asked and scored."""

from collections.abc import Mapping
from dataclasses import dataclass

from residency.dataset import open_dataset
from residency.evaluate.steps import Evaluate
from residency.model.huggingface import Limits
from residency.step import BASE
from residency.task import Wording


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """How the paper asks about a set (Tables 12 and 13) and what it reports; ours stands beside it.

    `seen` says that the set's training part is among the paper's sources.
    """

    metrics: tuple[str, ...]
    wording: Wording = Wording(list_options=False)  # noqa: RUF009 - frozen; the question alone
    max_tokens: int = 1024
    seen: bool = False


_VQA = ("open_recall@llava-med", "open_recall", "closed_accuracy@llava-med", "closed_accuracy")
PRESETS: Mapping[str, Preset] = {
    "slake": Preset(metrics=_VQA),
    "pathvqa": Preset(metrics=_VQA),
    "vqa_rad": Preset(metrics=_VQA, seen=True),
    "pmc_vqa": Preset(metrics=("choice_accuracy@mmmu", "choice_accuracy"), wording=Wording()),
    "recipe1m": Preset(metrics=("rouge_l@pypi-rouge", "rouge_l"), seen=True),
    "nutrition5k": Preset(
        metrics=("ingredient_recall@nutrition5k", "ingredient_recall"), max_tokens=256
    ),
    "food_101": Preset(
        metrics=("accuracy@food101",), wording=Wording(template="category"), max_tokens=256
    ),
    "foodseg103": Preset(
        metrics=("samples_f1@foodseg103", "samples_f1"),
        wording=Wording(template="category"),
        max_tokens=256,
    ),
}


def benchmark(data: tuple[str, ...], *, batch_size: int, limits: Limits) -> tuple[Evaluate, ...]:
    """One evaluation per data set, asked and scored by its preset; other sets as their task says."""
    steps = []
    for number, spec in enumerate(data, 1):
        name = open_dataset(spec).name
        preset = PRESETS.get(name, Preset(metrics=(), wording=Wording(), max_tokens=64))
        steps.append(
            Evaluate(
                name=f"column{number}",
                of=BASE,
                data=(spec,),
                method="model",
                variant="partially seen" if preset.seen else "",
                mode="generate",
                wording=preset.wording,
                batch_size=batch_size,
                max_tokens=preset.max_tokens,
                metrics=preset.metrics,
                limits=limits,
            )
        )
    return tuple(steps)

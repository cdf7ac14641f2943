"""The eleven columns of AdaMLLM's Tables 2 and 3: how each set is asked and scored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from residency import line
from residency.dataset import open_dataset
from residency.evaluate.steps import Evaluate
from residency.model import store
from residency.model.huggingface import Limits
from residency.step import BASE
from residency.task import Wording
from residency.types import Area


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """How the paper asks about a set (Tables 12 and 13) and what it reports; ours stands beside it.

    `seen` says that the set's training part is among the paper's sources, `option` what of it the paper
    reads.
    """

    metrics: tuple[str, ...]
    wording: Wording = Wording(list_options=False)  # noqa: RUF009 - frozen; the question alone
    max_tokens: int = 1024
    seen: bool = False
    option: str = ""


_VQA = ("open_recall@llava-med", "open_recall", "closed_accuracy@llava-med", "closed_accuracy")
PRESETS: Mapping[str, Preset] = {
    "slake": Preset(metrics=_VQA, option="language=en"),
    "pathvqa": Preset(metrics=_VQA),
    "vqa_rad": Preset(metrics=_VQA, seen=True),
    "pmc_vqa": Preset(
        metrics=("choice_accuracy@mmmu", "choice_accuracy"), wording=Wording(template="choices")
    ),
    "recipe1m": Preset(metrics=("rouge_l@pypi-rouge", "rouge_l"), seen=True),
    "nutrition5k": Preset(
        metrics=("ingredient_recall@nutrition5k", "ingredient_recall"), max_tokens=256
    ),
    "food_101": Preset(
        metrics=("accuracy@food101", "accuracy"), wording=Wording(template="choose"), max_tokens=256
    ),
    "foodseg103": Preset(
        metrics=("samples_f1@foodseg103", "samples_f1"),
        wording=Wording(template="choose"),
        max_tokens=256,
    ),
}


# Pixels of an image for Qwen2-VL in the paper's runs; nano was made for smaller ones.
QWEN_AREA = Area(least=224 * 224, most=1280 * 28 * 28)


def area_of(base: str) -> Area:
    """Between how many pixels the paper's runs show images to a model; what its processor says else."""
    if line.is_nano(base) or store.config_of(store.root(base)).model_type != "qwen2_vl":
        return Area()
    return QWEN_AREA


class Asked(NamedTuple):
    """A data set as the paper reads it, and its preset; None where the paper does not ask it."""

    spec: str
    preset: Preset | None


def asked(spec: str) -> Asked:
    """What a data set is asked; SLAKE, for one, in English unless a language is named."""
    preset = PRESETS.get(open_dataset(spec).name)
    if preset is None or not preset.option or f":{preset.option.partition('=')[0]}=" in spec:
        return Asked(spec, preset)
    return Asked(f"{spec}:{preset.option}", preset)


def benchmark(
    data: tuple[str, ...], *, base: str, batch_size: int, limits: Limits
) -> tuple[Evaluate, ...]:
    """One evaluation per data set, asked and scored by its preset; others as their task says."""
    steps = []
    area = area_of(base)
    for number, (spec, known) in enumerate(map(asked, data), 1):
        preset = known or Preset(metrics=(), wording=Wording(), max_tokens=64)
        steps.append(
            Evaluate(
                name=f"column{number}",
                of=BASE,
                data=(spec,),
                area=area,
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

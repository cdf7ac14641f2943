"""Whether trees change anything: gradients and scores beside those of separate rows.

python benchmarks/exactness.py --json exactness.json

A Qwen2-VL of nano's shape with random weights, in float64: the largest difference of any gradient,
relative to the largest entry of its tensor, over all trained tensors. Transformers computes its RMS
norms in float32 whatever the model's precision; `norms` says whether they were left so or computed
in float64 here. Label scores: float32, the largest difference of a log-probability.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import figures
import torch
from torch import Tensor
from vision_passes import LABELS, QUESTION, noise, readings, untrained

from residency.dataset import Dataset
from residency.model import store
from residency.model.expert import Expert
from residency.model.generation import score
from residency.model.huggingface import Backbone
from residency.objective import Objective
from residency.objectives.likelihood import Likelihood
from residency.objectives.vitask import VITask
from residency.train.trainable import apply
from residency.train.values import LoRA
from residency.types import PLAIN, Batch, ImagePart, Reading, Sample, Turn


@dataclass(frozen=True, slots=True)
class Row:
    """One case: tensors compared, their largest relative difference."""

    case: str
    norms: str
    tensors: int
    difference: float


def widened(batch: Batch) -> Batch:
    """The same batch with images in float64."""
    pixels = {k: v.double() if v.is_floating_point() else v for k, v in batch.pixels.items()}
    expert = None if batch.expert_pixels is None else batch.expert_pixels.double()
    return replace(batch, pixels=pixels, expert_pixels=expert)


def gradients(backbone: Backbone, objective: Objective, batch: Batch) -> dict[str, Tensor]:
    """Of every trained tensor."""
    backbone.zero_grad(set_to_none=True)
    terms = objective(backbone.read(batch), batch.targets)
    loss = torch.stack([term.sum() for term in terms.values()]).sum() / len(batch.targets.tokens)
    loss.backward()  # type: ignore[no-untyped-call]
    return {n: p.grad.clone() for n, p in backbone.named_parameters() if p.grad is not None}


def compared(
    backbone: Backbone, objective: Objective, some: Sequence[Reading]
) -> tuple[int, float]:
    """Tensors with a gradient, and the largest relative difference between rows and trees."""
    rows, trees = (
        gradients(backbone, objective, widened(backbone.collate(some, objective.views, form)))
        for form in ("rows", "trees")  # type: ignore[arg-type]
    )
    if rows.keys() != trees.keys():
        raise SystemExit("Rows and trees train different tensors.")
    apart = [
        float((rows[n] - trees[n]).abs().max() / rows[n].abs().max())
        for n in rows
        if float(rows[n].abs().max()) > 0
    ]
    return len(apart), max(apart)


def exact_norm(module: Any, hidden: Tensor) -> Tensor:
    """RMSNorm in the precision of its input."""
    scale = torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + module.variance_epsilon)
    normed: Tensor = module.weight * (hidden * scale)
    return normed


def questions(images: int, each: int) -> list[Reading]:
    """Several questions about each image, all different."""
    made = []
    for image in range(images):
        for number in range(each):
            answer = f"{LABELS[number % 4]}, finding {number}"
            sample = Sample(
                id=f"{image}/{number}",
                dataset="noise",
                task="vqa",
                answer=answer,
                images=(noise(image, 64),),
            )
            asked = Turn("user", (ImagePart(0), f"Question {number}: what is to be seen here?"))
            said = Turn("assistant", (answer,), learn=True)
            made.append(Reading(sample=sample, conversation=(asked, said)))
    return made


def measure() -> list[Row]:
    """Both stages of VITask, several questions with all parts trained, labels scored."""
    rows = []
    for norms in ("float32", "float64"):
        for name, objective, some, adapted in (
            ("VITask stage 1", VITask(align=1.0, contrast=0.0), readings(8, 64), True),
            ("VITask stage 2", VITask(align=1.0, contrast=1.0), readings(8, 64), True),
            ("8 questions an image, all trained", Likelihood(), questions(2, 8), False),
        ):
            backbone = fresh()
            if adapted:
                apply(backbone, {"language_model": LoRA(lr=1e-4)})
                for parameter in backbone.exemplar_connector.parameters():  # type: ignore[union-attr]
                    parameter.requires_grad_(True)
                for key, parameter in backbone.named_parameters():
                    if "lora_B" in key:  # zero at the start, and then lora_A has no gradient
                        torch.nn.init.normal_(parameter, std=0.05)
            else:
                for parameter in backbone.model.parameters():
                    parameter.requires_grad_(True)
            backbone.double().eval()
            if norms == "float64":
                for module in backbone.modules():
                    if type(module).__name__.endswith("RMSNorm"):
                        module.forward = partial(exact_norm, module)
            rows.append(Row(name, norms, *compared(backbone, objective, some)))
    return [*rows, scored()]


def scored() -> Row:
    """Label scores of one pass beside one conversation per label, float32."""
    backbone = fresh().eval()
    some = readings(4, 64)
    together = score(backbone, some, PLAIN, [(label,) for label in LABELS])
    worst = 0.0
    for n, reading in enumerate(some):
        for k, label in enumerate(LABELS):
            said = Turn("assistant", (label,), learn=True)
            alone = replace(reading, conversation=(*reading.conversation[:-1], said))
            batch = backbone.collate([alone], [PLAIN])
            with torch.no_grad():
                logits = backbone.read(batch)[PLAIN].double().log_softmax(-1)
            expected = float(logits.gather(1, batch.targets.tokens[:, None]).sum())
            worst = max(worst, abs(expected - float(together[n, k])))
    return Row("labels scored, log-probability", "float32", len(some) * len(LABELS), worst)


def fresh() -> Backbone:
    """Nano's shape with random weights and an expert."""
    with tempfile.TemporaryDirectory() as folder:
        backbone = store.load(untrained(Path(folder)), device=torch.device("cpu"))
    samples = [reading.sample for reading in readings(len(LABELS), 64)]
    data = Dataset(name="noise", splits={"train": samples}, labels=LABELS, digest="0")
    backbone.attach(Expert.create("small", [data], seed=0))
    return backbone.requires_grad_(False)


def main() -> None:
    """Compare, print, and write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure()
    print(f"Prompt of {len(QUESTION)} letters, {len(LABELS)} labels; rows beside trees.")
    print(f"{'case':<36}{'norms':>9}{'tensors':>9}{'difference':>12}")
    for row in rows:
        print(f"{row.case:<36}{row.norms:>9}{row.tensors:>9}{row.difference:>12.1e}")
    figures.write(rows, options.json)


if __name__ == "__main__":
    main()

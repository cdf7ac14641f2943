"""CPU time of shared beginnings beside the naive form: a small InternVL with real token counts.

python benchmarks/cpu_time.py --json cpu_time.json

The cases and forms of `flops.py`, run forward and backward on one thread in float32, the forms in
turn, medians of several repeats. Naive: one row per view, question or label, each with its own image
pass and the logits of all its tokens. Cold: the product's `read`, every image once. Warm: the same
with image features at hand.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import figures
import torch
from flops import TINY, internvl, labels, pairs, questions, with_expert
from torch import Tensor

from residency.model.huggingface import Backbone
from residency.objective import Logits, Objective
from residency.objectives.likelihood import Likelihood
from residency.objectives.vitask import VITask
from residency.types import Batch, Reading


@dataclass(frozen=True, slots=True)
class Row:
    """One case: CPU seconds of an update in each form."""

    case: str
    naive: float
    cold: float
    warm: float


def loss_of(objective: Objective, logits: Logits, batch: Batch) -> Tensor:
    """The mean over response tokens of all terms, as the trainer takes it."""
    terms = objective(logits, batch.targets)
    return torch.stack([term.sum() for term in terms.values()]).sum() / len(batch.targets.tokens)


def naively(backbone: Backbone, objective: Objective, batch: Batch) -> Tensor:
    """Every row with its own images and all logits."""
    logits, each = {}, backbone.family.each(batch.pixels)
    for view, prompt in batch.prompts.items():
        again = list(prompt.images)
        pixels = {name: torch.cat([each[n][name] for n in again]) for name in batch.pixels}
        features = backbone.family.features(backbone.model, pixels)
        alone = replace(prompt, images=tuple(range(len(again))))
        embeddings = backbone.embed(alone, features, backbone.exemplify(batch))
        given = backbone.family.inputs(backbone.model, prompt, features)
        hidden, _ = backbone.decode(embeddings, given, prompt.positions)
        logits[view] = backbone.head(hidden.flatten(0, 1))[prompt.predicts.flatten()]
    return loss_of(objective, logits, batch)


def case(
    name: str, backbone: Backbone, objective: Objective, some: Sequence[Reading], repeats: int
) -> Row:
    """Forms in turn; refuses where they disagree. Frozen models are only read, as in scoring."""
    rows = backbone.collate(some, objective.views)
    trees = backbone.collate(some, objective.views, "trees")
    see = backbone.see
    stored = [feature.detach() for feature in see(trees)]

    def warm() -> Tensor:
        backbone.see = lambda batch: stored  # type: ignore[method-assign]
        loss = loss_of(objective, backbone.read(trees), trees)
        backbone.see = see  # type: ignore[method-assign]
        return loss

    forms: dict[str, Callable[[], Tensor]] = {
        "naive": lambda: naively(backbone, objective, rows),
        "cold": lambda: loss_of(objective, backbone.read(trees), trees),
        "warm": warm,
    }
    losses = [float(update().detach()) for update in forms.values()]
    if max(losses) - min(losses) > 1e-4 * max(1.0, losses[0]):
        raise SystemExit(f"{name}: the forms disagree: {losses}.")
    seconds: dict[str, list[float]] = {form: [] for form in forms}
    for _ in range(repeats):
        for form, update in forms.items():
            began = time.process_time()
            loss = update()
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            seconds[form].append(time.process_time() - began)
            backbone.zero_grad()
    return Row(name, **{form: statistics.median(took) for form, took in seconds.items()})


def measure(batch: int, repeats: int) -> list[Row]:
    """VITask with adapters, labels scored, questions with all parts trained."""
    backbone = with_expert(internvl(TINY, "cpu"))
    backbone.attach(backbone.expert)  # type: ignore[arg-type]
    rows = [
        case(
            f"VITask stage {stage}", backbone, VITask(align=1.0, contrast=c), pairs(batch), repeats
        )
        for stage, c in ((1, 0.0), (2, 1.0))
    ]
    with torch.no_grad():
        rows.append(case("14 labels scored", backbone, Likelihood(), labels(), repeats))
    for parameter in backbone.model.parameters():
        parameter.requires_grad_(True)
    for count in (4, 8):
        name = f"{count} questions an image, all trained"
        rows.append(case(name, backbone, Likelihood(), questions(2, count), repeats))
    return rows


def main() -> None:
    """Time, print, and write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(options.batch, options.repeats)
    print(f"CPU seconds of an update, one thread, float32; median of {options.repeats}.")
    print(f"{'case':<36}{'naive':>8}{'cold':>8}{'warm':>8}{'naive/cold':>12}{'naive/warm':>12}")
    for row in rows:
        print(
            f"{row.case:<36}{row.naive:>8.2f}{row.cold:>8.2f}{row.warm:>8.2f}"
            f"{row.naive / row.cold:>12.2f}{row.naive / row.warm:>12.2f}"
        )
    figures.write(rows, options.json)


if __name__ == "__main__":
    main()

"""What an update of VITask's second stage costs beside the naive form and beside plain tuning.

python benchmarks/vision_passes.py --base nano --json vision_passes.json

Trees: what the views share passes the language model once, as the trainer does it. Rows: every view
by itself, images once, logits at responses only. Naive: every view by itself, with its own pass
through the vision encoder and the logits of every token. CPU seconds of forward and backward of the
language model's LoRA, one thread, forms in turn.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from residency.model import nano, store
from residency.model.expert import Expert
from residency.model.huggingface import Backbone
from residency.objective import Objective
from residency.objectives.likelihood import Likelihood
from residency.objectives.vitask import VITask
from residency.train.trainable import apply
from residency.train.values import LoRA
from residency.types import Batch, ImagePart, Picture, Reading, Sample, Turn

LABELS = ("normal", "pneumonia", "a left pleural effusion", "cardiomegaly")
QUESTION = (
    "Analyze the given chest radiograph. The possible diagnoses are: "
    + "; ".join(LABELS)
    + ". Which one fits best?"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One form of an update: images through the vision encoder, tokens, rows of logits, CPU seconds."""

    form: str
    images: int
    tokens: int
    logit_rows: int
    cpu_seconds: float


def noise(seed: int, side: int) -> Picture:
    """An image of its own key."""
    values = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Picture(key=str(seed), load=lambda: Image.fromarray(values), size=(side, side))


def readings(count: int, side: int) -> list[Reading]:
    """Classification samples; the negative of each is the next one, as in a shuffled batch."""
    samples = [
        Sample(
            id=str(k),
            dataset="noise",
            task="classification",
            answer=LABELS[k % len(LABELS)],
            images=(noise(k, side),),
        )
        for k in range(count)
    ]
    return [
        Reading(
            sample=sample,
            conversation=(
                Turn("user", (ImagePart(0), QUESTION)),
                Turn("assistant", (str(sample.answer),), learn=True),
            ),
            negative=samples[(k + 1) % count],
            negative_response=(str(samples[(k + 1) % count].answer),),
        )
        for k, sample in enumerate(samples)
    ]


def ours(backbone: Backbone, objective: Objective, batch: Batch) -> Tensor:
    """The loss of one update as the trainer computes it."""
    terms = objective(backbone.read(batch), batch.targets)
    return torch.stack([term.sum() for term in terms.values()]).sum() / len(batch.targets.tokens)


def naive(backbone: Backbone, objective: Objective, batch: Batch) -> Tensor:
    """The same loss from a full forward per view: every image again, every logit computed."""
    logits = {}
    for view, prompt in batch.prompts.items():
        features = backbone.see(batch)  # again in every view
        if len(prompt.images) > len(set(prompt.images)):
            raise SystemExit("The naive form expects distinct images within a view.")
        embeddings = backbone.embed(prompt, features, backbone.exemplify(batch))
        hidden, _ = backbone.decode(
            embeddings, {"attention_mask": prompt.attention}, prompt.positions
        )
        logits[view] = backbone.head(hidden.flatten(0, 1))[prompt.predicts.flatten()]
    terms = objective(logits, batch.targets)
    return torch.stack([term.sum() for term in terms.values()]).sum() / len(batch.targets.tokens)


def counted(backbone: Backbone, batch: Batch, update: Callable[[], Tensor]) -> tuple[int, int, int]:
    """Images into the vision encoder, tokens into the language model, rows out of its head."""
    per_image = len(next(iter(batch.pixels.values()))) / len(backbone.see(batch))
    seen = {"vision": 0, "tokens": 0, "head": 0}

    def note(name: str) -> Callable[[Any, Any, Any], None]:
        def hook(module: Any, args: Any, kwargs: Any) -> None:
            del module  # the signature is torch's
            given = args[0] if args else next(iter(kwargs.values()))
            seen[name] += given.shape[:2].numel() if name == "tokens" else len(given)

        return hook

    part = "visual" if hasattr(backbone.model.model, "visual") else "vision_tower"
    watched = {
        "vision": getattr(backbone.model.model, part),
        "tokens": backbone.family.language_model(backbone.model),
        "head": backbone.model.get_output_embeddings(),
    }
    hooks = [
        module.register_forward_pre_hook(note(name), with_kwargs=True)
        for name, module in watched.items()
    ]
    update()
    for hook in hooks:
        hook.remove()
    return round(seen["vision"] / per_image), seen["tokens"], seen["head"]


def measure(backbone: Backbone, batch_size: int, side: int, repeats: int) -> list[Row]:
    """Counts once, CPU seconds as the median of interleaved repeats."""
    vitask, plain = VITask(align=0.1, contrast=0.1), Likelihood()
    made = readings(batch_size, side)
    trees, full = (backbone.collate(made, vitask.views, form) for form in ("trees", "rows"))
    single = backbone.collate(made, plain.views, "trees")
    forms: dict[str, tuple[Batch, Callable[[], Tensor]]] = {
        "vitask, trees": (trees, lambda: ours(backbone, vitask, trees)),
        "vitask, rows": (full, lambda: ours(backbone, vitask, full)),
        "vitask, naive": (full, lambda: naive(backbone, vitask, full)),
        "plain tuning": (single, lambda: ours(backbone, plain, single)),
    }
    losses = {name: float(update().detach()) for name, (_, update) in forms.items()}
    same = [loss for name, loss in losses.items() if name.startswith("vitask")]
    if max(same) - min(same) > 1e-4 * max(1.0, same[0]):
        raise SystemExit(f"The forms disagree: {losses}.")
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(repeats + 1):
        for name, (_, update) in forms.items():
            began = time.process_time()
            update().backward()
            seconds[name].append(time.process_time() - began)
            backbone.zero_grad()
    return [
        Row(name, *counted(backbone, batch, update), statistics.median(seconds[name][1:]))
        for name, (batch, update) in forms.items()
    ]


def table(rows: list[Row]) -> str:
    """Counts with padding, seconds, and ratios to the first row."""
    lines = [f"{'form':<14}{'images':>8}{'tokens':>8}{'logit rows':>12}{'CPU s':>9}{'ratio':>8}"]
    lines += [
        f"{row.form:<14}{row.images:>8}{row.tokens:>8}{row.logit_rows:>12}{row.cpu_seconds:>9.3f}"
        f"{row.cpu_seconds / rows[0].cpu_seconds:>8.2f}"
        for row in rows
    ]
    return "\n".join(lines)


def untrained(folder: Path) -> str:
    """A nano of random weights, where none is installed."""
    torch.manual_seed(0)
    tokenizer = nano.train_tokenizer([QUESTION, *LABELS], vocab_size=512)
    nano.save(nano.build(tokenizer), nano.processor(tokenizer), folder)
    return str(folder)


def main() -> None:
    """Measure, print, and write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--base", help="a base model; default: nano's shape, random weights")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=224, help="pixels of the square images")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        backbone = store.load(options.base or untrained(Path(folder)), device=torch.device("cpu"))
    samples = [reading.sample for reading in readings(len(LABELS), options.side)]
    backbone.attach(_expert(samples))
    apply(backbone, {"language_model": LoRA(lr=1e-4)})
    rows = measure(backbone, options.batch, options.side, options.repeats)
    print(f"Batch of {options.batch}, one CPU thread, float32; median of {options.repeats}.")
    print(table(rows))
    figures.write(rows, options.json)


def _expert(samples: list[Sample]) -> Expert:
    from residency.dataset import Dataset

    data = Dataset(name="noise", splits={"train": samples}, labels=LABELS, digest="0")
    return Expert.create("small", [data], seed=0)


if __name__ == "__main__":
    main()

"""Throughput of the local engine against a plain loop of `generate`, per thousand pairs, greedy, same texts.

    python benchmarks/synthesis.py --pairs 64 --tokens 64 --json synthesis.json

The loop asks transformers' own `model.generate` about one pair after another, as a script would.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import figures
import torch

from residency.dataset import open_dataset
from residency.model import store
from residency.model.huggingface import Backbone
from residency.synthesis.engine import Engine, Sampling, open_engine
from residency.synthesis.forms import ask
from residency.synthesis.pairs import Pair, pairs
from residency.types import ImagePart

DATA = "phantoms:smear:task=report:train={pairs}:val=0:test=0"


def loop(backbone: Backbone, some: list[Pair], tokens: int) -> list[str]:
    """One pair at a time through the processor and `generate`."""
    processor, network = backbone.processor, backbone.model
    texts = []
    for pair in some:
        request = ask(pair, pair.key, "both")
        content = [
            {"type": "image"}
            if isinstance(part, ImagePart)
            else {"type": "text", "text": str(part)}
            for part in request.turns[0].parts
        ]
        prompt = processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        images = [picture.load() for picture in request.images]
        inputs = processor(text=[prompt], images=images, return_tensors="pt").to(backbone.device)
        with torch.no_grad():
            made = network.generate(**inputs, max_new_tokens=tokens, do_sample=False)
        new = made[0, inputs["input_ids"].shape[1] :]
        texts.append(processor.tokenizer.decode(new, skip_special_tokens=True).strip())
    return texts


def batched(engine: Engine, some: list[Pair], tokens: int) -> list[str]:
    """The same pairs through the engine, in groups that suit it."""
    requests = [ask(pair, pair.key, "both") for pair in some]
    how = Sampling(max_tokens=tokens)
    texts = []
    for start in range(0, len(requests), engine.batch):
        texts += [reply.text for reply in engine.write(requests[start : start + engine.batch], how)]
    return texts


def main() -> None:
    """Run both forms over the same pairs and print seconds per thousand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    dataset = open_dataset(DATA.format(pairs=options.pairs))
    some, _ = pairs([dataset], "train", limit=None, seed=0)
    with open_engine(f"local:{options.batch}", options.model) as engine:
        fast = measured("engine", lambda: batched(engine, some, options.tokens))
    backbone = store.load(options.model)
    slow = measured("loop", lambda: loop(backbone, some, options.tokens))
    rows = [one._replace(same=one.same_as(slow)) for one in (fast, slow)]
    for one in rows:
        per = 1000 / options.pairs
        print(f"{one.form}: {one.wall * per:.0f} s wall, {one.cpu * per:.0f} s CPU per 1,000 pairs")
    print(f"equal texts: {fast.same_as(slow)} of {options.pairs}")
    figures.write(
        [Figure(o.form, options.pairs, o.wall, o.cpu, o.same) for o in rows], options.json
    )


class Measured(NamedTuple):
    """One form's texts, and the seconds that they took."""

    form: str
    texts: list[str]
    wall: float
    cpu: float
    same: int = 0

    def same_as(self, other: "Measured") -> int:
        """How many texts are equal."""
        return sum(a == b for a, b in zip(self.texts, other.texts, strict=True))


@dataclass(frozen=True)
class Figure:
    """A row of the JSON file."""

    form: str
    pairs: int
    wall_seconds: float
    cpu_seconds: float
    same_as_loop: int


def measured(form: str, run: Callable[[], list[str]]) -> Measured:
    """Run once; models are loaded before."""
    wall, cpu = time.perf_counter(), time.process_time()
    texts = run()
    return Measured(form, texts, time.perf_counter() - wall, time.process_time() - cpu)


if __name__ == "__main__":
    main()

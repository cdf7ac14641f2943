"""FLOPs of shared beginnings beside the naive form, at the shape of InternVL2-2B, without weights.

python benchmarks/flops.py --json flops.json

The batches are collated by the product's own code from images of 448 x 448; vision encoder, decoder
and head then run on the meta device under torch's FLOP counter, forward and backward. About 40
tokens of system prompt, 256 of image, 70 of instruction, 20 of question, 5 of response. Naive: one
row per view, question or label, each with its own image pass and the logits of all its tokens. Cold:
every distinct image passes the vision encoder once. Warm: image features come from a cache. Pruned:
warm, and the last block runs where a response token is predicted. Cold and warm run it everywhere.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import figures
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    Qwen2Tokenizer,
)

from residency.backbone import family_of
from residency.dataset import Dataset
from residency.model import nano
from residency.model.expert import Expert
from residency.model.huggingface import Backbone, to_device
from residency.objectives.vitask import VITask
from residency.train.trainable import apply
from residency.train.values import LoRA
from residency.types import PLAIN, Batch, ImagePart, Picture, Reading, Sample, Turn, View

SIDE, TOKENS = 448, 256
SYSTEM = "You are a careful assistant for doctors. " * 4
LABELS = tuple(
    f"{a} {b}" for a in ("acute", "chronic") for b in (
        "pneumonia", "effusion", "edema", "fibrosis", "atelectasis", "nodule", "no finding",
    )
)  # fmt: skip
QUESTION = "Analyze the given chest X-ray image. The possible diagnoses are: " + ", ".join(LABELS)
ANSWER = "yes, mild"
TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}"
    "{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}{{ '<IMG_CONTEXT>\n' }}"
    "{% else %}{{ content['text'] }}{% endif %}{% endfor %}{{'<|im_end|>\n'}}{% endfor %}"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One case: tera-FLOPs of a sample in each form, and how much the naive form costs more."""

    case: str
    naive: float
    cold: float
    warm: float
    pruned: float

    @property
    def ratios(self) -> tuple[float, ...]:
        """Naive over cold, over warm, and over warm with the last block pruned."""
        return tuple(self.naive / form for form in (self.cold, self.warm, self.pruned))


def asked(number: int) -> str:
    """A question of about twenty tokens."""
    return f"Question {number}: is there any sign of {LABELS[number]} to be seen in this image?"


PUBLISHED = {
    "vision": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    | {"intermediate_size": 4096},
    "text": {"hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 16}
    | {"num_key_value_heads": 8, "intermediate_size": 8192, "vocab_size": 92_553},
}
TINY = {  # the same token counts in a model that a CPU can train
    "vision": {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 3}
    | {"intermediate_size": 768},
    "text": {"hidden_size": 256, "num_hidden_layers": 8, "num_attention_heads": 8}
    | {"num_key_value_heads": 4, "intermediate_size": 1024, "vocab_size": 4096},
}


def internvl(sizes: dict[str, dict[str, int]], device: str) -> Backbone:
    """An InternVL of those sizes with random weights and a small tokenizer."""
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    with tempfile.TemporaryDirectory() as folder:
        texts = [SYSTEM, QUESTION, *map(asked, range(8)), ANSWER]
        nano.train_tokenizer(texts, vocab_size=600).save_pretrained(folder)
        tokenizer = Qwen2Tokenizer.from_pretrained(folder, extra_special_tokens=named)
    tokenizer.add_tokens(["<quad>", "</quad>"], special_tokens=True)
    size = {"height": SIDE, "width": SIDE}
    processor = InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size=size),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(size=size),
        image_seq_length=TOKENS,
        chat_template=TEMPLATE,
    )
    config = InternVLConfig(
        vision_config={"image_size": (SIDE, SIDE), "patch_size": (14, 14), **sizes["vision"]},
        text_config={"model_type": "llama", **sizes["text"]},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=TOKENS,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = InternVLForConditionalGeneration(config)
    name, family = family_of("internvl")
    return Backbone(name, family, model, processor, "benchmark").train()


def picture(seed: int) -> Picture:
    """Noise of its own key."""
    values = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return Picture(key=str(seed), load=lambda: Image.fromarray(values), size=(SIDE, SIDE))


def reading(number: int, image: Picture, question: str, answer: str) -> Reading:
    """System turn, image with question, answer."""
    sample = Sample(id=f"{number}", dataset="noise", task="vqa", answer=answer, images=(image,))
    conversation = (
        Turn("system", (SYSTEM,)),
        Turn("user", (ImagePart(0), question)),
        Turn("assistant", (answer,), learn=True),
    )
    return Reading(sample=sample, conversation=conversation)


def embedded(backbone: Backbone, tokens: Tensor) -> Tensor:
    """Embeddings that need a gradient, as slots and adapters make them."""
    return torch.empty(
        *tokens.shape, backbone.width, device="meta", dtype=torch.bfloat16, requires_grad=True
    )


def see(backbone: Backbone, images: int) -> Tensor:
    """Vision encoder and connector over that many images."""
    pixels = torch.empty(images, 3, SIDE, SIDE, device="meta", dtype=torch.bfloat16)
    counts = torch.ones(images, dtype=torch.long)
    made = backbone.family.features(backbone.model, {"pixel_values": pixels, "tiles": counts})
    return torch.stack(list(made)).float().sum()


def as_trees(backbone: Backbone, batch: Batch, *, warm: bool, pruned: bool) -> Tensor:
    """Images once (or not at all), trees through the decoder, logits at responses."""
    tree = to_device(batch, torch.device("meta")).tree
    assert tree is not None
    tree = replace(tree, straight=False)  # whether a mask is needed at all would read its values
    known, backbone.whole = backbone.whole, "" if pruned else "asked for"
    given = backbone.family.inputs(backbone.model, tree, [])
    states = backbone.climb(tree, embedded(backbone, tree.tokens), given).flatten(0, 1)
    backbone.whole = known
    loss = torch.zeros((), device="meta")
    for at in tree.reads.values():
        loss = loss + backbone.head(states[at]).float().sum()
    return loss if warm else loss + see(backbone, len(batch.pixels["pixel_values"]))


def naively(backbone: Backbone, batch: Batch) -> Tensor:
    """Every row with its own images and all logits; a causal mask, as rows have no padding here."""
    loss = torch.zeros((), device="meta")
    for prompt in batch.prompts.values():
        width = prompt.tokens.shape[1]
        causal = torch.ones(width, width, dtype=torch.bool).tril()[None, None]
        mask = causal.expand(len(prompt.tokens), 1, -1, -1)
        states, _ = backbone.decode(
            embedded(backbone, prompt.tokens),
            {"attention_mask": mask.to("meta")},
            prompt.positions.to("meta"),
        )
        loss = loss + backbone.head(states).float().sum() + see(backbone, len(prompt.images))
    return loss


def flops(update: Callable[[], Tensor], backward: bool) -> float:
    """Of one update."""
    with FlopCounterMode(display=False) as counter:
        loss = update()
        if backward:
            loss.backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops())


def case(
    name: str,
    backbone: Backbone,
    readings: Sequence[Reading],
    views: Sequence[View] = (PLAIN,),
    *,
    per: int,
    backward: bool = True,
) -> Row:
    """The three forms of one batch, per image."""
    rows, trees = (backbone.collate(readings, views, form) for form in ("rows", "trees"))  # type: ignore[arg-type]
    naive, cold, warm, pruned = (
        flops(update, backward) / per / 1e12
        for update in (
            lambda: naively(backbone, rows),
            lambda: as_trees(backbone, trees, warm=False, pruned=False),
            lambda: as_trees(backbone, trees, warm=True, pruned=False),
            lambda: as_trees(backbone, trees, warm=True, pruned=True),
        )
    )
    return Row(name, naive, cold, warm, pruned)


def pairs(batch: int) -> list[Reading]:
    """Classification samples, the negative of each the next one."""
    samples = [reading(k, picture(k), QUESTION, LABELS[k]) for k in range(batch)]
    return [
        replace(one, negative=other.sample, negative_response=(str(other.sample.answer),))
        for one, other in zip(samples, [*samples[1:], samples[0]], strict=True)
    ]


def labels() -> list[Reading]:
    """One image with each label as its answer."""
    return [reading(k, picture(0), QUESTION, label) for k, label in enumerate(LABELS)]


def questions(images: int, each: int) -> list[Reading]:
    """Several questions about each image."""
    return [
        reading(q, picture(image), asked(q), ANSWER) for image in range(images) for q in range(each)
    ]


def with_expert(backbone: Backbone) -> Backbone:
    """The same model with an expert, adapters in its language model and nothing else trained."""
    train = [one.sample for one in pairs(2)]
    data = Dataset(name="noise", splits={"train": train}, labels=LABELS, digest="0")
    backbone.expert = Expert.create("small", [data], seed=0)
    apply(backbone, {"language_model": LoRA(lr=1e-4, rank=16)})
    return backbone


def measure(batch: int) -> list[Row]:
    """Both stages of VITask with adapters, questions with all parts trained, labels scored."""
    backbone = with_expert(internvl(PUBLISHED, "meta"))
    backbone.model.bfloat16()
    rows = []
    for stage, contrast in ((1, 0.0), (2, 1.0)):
        views = VITask(align=1.0, contrast=contrast).views
        rows.append(case(f"VITask stage {stage}", backbone, pairs(batch), views, per=batch))
    rows.append(case("14 labels scored", backbone, labels(), per=1, backward=False))
    for parameter in backbone.model.parameters():
        parameter.requires_grad_(True)
    for count in (1, 4, 8):
        name = f"{count} questions an image, all trained"
        rows.append(case(name, backbone, questions(2, count), per=2))
    return rows


def table(rows: list[Row]) -> str:
    """TFLOPs per image, and how much more the naive form takes than each of the others."""
    forms = ("cold", "warm", "pruned")
    lines = [
        f"{'case':<36}{'naive':>8}"
        + "".join(f"{form:>8}" for form in forms)
        + "".join(f"{'naive/' + form:>14}" for form in forms)
    ]
    lines += [
        f"{row.case:<36}{row.naive:>8.2f}{row.cold:>8.2f}{row.warm:>8.2f}{row.pruned:>8.2f}"
        + "".join(f"{ratio:>14.2f}" for ratio in row.ratios)
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Count, print, and write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = measure(options.batch)
    print("InternVL2-2B shape, images of 448 x 448 (256 tokens); TFLOPs per image.")
    print(table(rows))
    figures.write(rows, options.json)


if __name__ == "__main__":
    main()

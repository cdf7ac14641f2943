"""Tokens a second and MFU on a GPU, at the shapes of InternVL2-2B and Qwen2-VL-2B with random weights.

python benchmarks/gpu.py --json gpu.json        (exit code 2 on a machine without one)

Updates of LoRA in bfloat16: plain tuning and VITask's second stage, naively (a row per view, each with its
own image pass and all its logits), as trees, and as trees with image features at hand. Wall time with
the device drained, median of repeats. FLOPs are counted by torch in one update of each form, so MFU
says how busy the device was with that form, and samples a second which form is faster.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
import torch
from cpu_time import loss_of, naively
from flops import PUBLISHED, internvl, pairs, with_expert
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLImageProcessor

from residency.backbone import family_of
from residency.model import nano
from residency.model.huggingface import Backbone, to_device
from residency.objective import Objective
from residency.objectives.likelihood import Likelihood
from residency.objectives.vitask import VITask
from residency.types import Batch

# Dense bfloat16 FLOPs a second, from the vendor's data sheets (SXM forms).
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
QWEN2_VL: dict[str, Any] = {
    "text": {"hidden_size": 1536, "num_hidden_layers": 28, "num_attention_heads": 12}
    | {"num_key_value_heads": 2, "intermediate_size": 8960, "vocab_size": 151_936},
    "vision": {"depth": 32, "embed_dim": 1280, "hidden_size": 1536, "num_heads": 16},
    "sections": [16, 24, 24],
}


@dataclass(frozen=True, slots=True)
class Row:
    """One form of an update: its rate, and the share of the device's peak that it reached."""

    shape: str
    case: str
    form: str
    tokens: int
    tflops: float
    seconds: float
    samples_per_second: float
    tokens_per_second: float
    mfu: float | None


def qwen2_vl(sizes: dict[str, Any], device: str) -> Backbone:
    """A Qwen2-VL of those sizes with random weights, nano's tokenizer and 14-pixel patches."""
    tokenizer = internvl_tokenizer()
    ids = {n: tokenizer.convert_tokens_to_ids(f"<|{n}|>") for n in ("image_pad", "video_pad")}
    text = sizes["text"] | {
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": sizes["sections"],
        },
        "bos_token_id": None,
        "eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"),
    }
    config = Qwen2VLConfig(  # type: ignore[call-arg]
        text_config=text,
        vision_config=sizes["vision"] | {"mlp_ratio": 4, "patch_size": 14},
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = Qwen2VLForConditionalGeneration(config)
    processor = nano.processor(tokenizer)
    area = {"shortest_edge": 56 * 56, "longest_edge": 1024 * 1024}
    processor.image_processor = Qwen2VLImageProcessor(size=area, patch_size=14, merge_size=2)
    name, family = family_of("qwen2_vl")
    return Backbone(name, family, model, processor, "benchmark").train()


def internvl_tokenizer() -> Any:
    """A tokenizer trained on the texts of the benchmark."""
    from flops import ANSWER, QUESTION, SYSTEM, asked

    return nano.train_tokenizer([SYSTEM, QUESTION, *map(asked, range(8)), ANSWER], vocab_size=600)


def forms(
    backbone: Backbone, objective: Objective, batch: int, device: torch.device
) -> dict[str, tuple[int, Callable[[], Tensor]]]:
    """Tokens that the language model reads and the loss of an update, by form."""
    some = pairs(batch)
    rows, trees = (
        to_device(backbone.collate(some, objective.views, form), device)
        for form in ("rows", "trees")  # type: ignore[arg-type]
    )
    see = backbone.see
    with torch.no_grad():
        stored = see(trees)

    def warm() -> Tensor:
        backbone.see = lambda batch: stored  # type: ignore[method-assign]
        loss = loss_of(objective, backbone.read(trees), trees)
        backbone.see = see  # type: ignore[method-assign]
        return loss

    return {
        "naive": (read_by(rows), lambda: naively(backbone, objective, rows)),
        "cold": (read_by(trees), lambda: loss_of(objective, backbone.read(trees), trees)),
        "warm": (read_by(trees), warm),
    }


def read_by(batch: Batch) -> int:
    """Tokens of a batch, padding included."""
    if batch.tree is not None:
        return batch.tree.tokens.numel()
    return sum(prompt.tokens.numel() for prompt in batch.prompts.values())


def rows_of(
    shape: str,
    backbone: Backbone,
    *,
    batch: int,
    repeats: int,
    peak: float | None,
    device: torch.device,
) -> list[Row]:
    """Both cases in all forms, the forms in turn."""
    rows = []
    for case, objective in (
        ("plain", Likelihood()),
        ("VITask stage 2", VITask(align=1.0, contrast=1.0)),
    ):
        made = forms(backbone, objective, batch, device)
        count = {form: counted(update) for form, (_, update) in made.items()}
        taken: dict[str, list[float]] = {form: [] for form in made}
        for _ in range(repeats):
            for form, (_, update) in made.items():
                taken[form].append(timed(backbone, update, device))
        for form, (tokens, _) in made.items():
            seconds = statistics.median(taken[form])
            mfu = None if peak is None else count[form] / seconds / peak
            rates = batch / seconds, tokens / seconds
            rows.append(Row(shape, case, form, tokens, count[form] / 1e12, seconds, *rates, mfu))
    return rows


def counted(update: Callable[[], Tensor]) -> float:
    """FLOPs of forward and backward."""
    with FlopCounterMode(display=False) as counter:
        update().backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops())


def timed(backbone: Backbone, update: Callable[[], Tensor], device: torch.device) -> float:
    """Wall seconds of forward and backward, the device drained before and after."""

    def drained() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    backbone.zero_grad()
    began = drained()
    update().backward()  # type: ignore[no-untyped-call]
    return drained() - began


def table(rows: list[Row]) -> str:
    """A line for each form."""
    lines = [
        f"{'shape':<14}{'case':<16}{'form':<7}{'tokens':>8}{'TFLOPs':>9}{'s':>9}{'samples/s':>11}"
        f"{'tokens/s':>10}{'MFU':>7}"
    ]
    for row in rows:
        share = "-" if row.mfu is None else f"{row.mfu:.1%}"
        lines.append(
            f"{row.shape:<14}{row.case:<16}{row.form:<7}{row.tokens:>8}{row.tflops:>9.2f}"
            f"{row.seconds:>9.4f}{row.samples_per_second:>11.1f}{row.tokens_per_second:>10.0f}"
            f"{share:>7}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--peak", type=float, help="dense bfloat16 FLOPs/s of an unlisted device")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("No GPU here: nothing was measured. Run this on a machine with one.", file=sys.stderr)
        raise SystemExit(2)
    name = torch.cuda.get_device_name()
    peak = options.peak or next((PEAKS[known] for known in PEAKS if known in name), None)
    device, rows = torch.device("cuda"), []
    for shape, build, sizes in (
        ("InternVL2-2B", internvl, PUBLISHED),
        ("Qwen2-VL-2B", qwen2_vl, QWEN2_VL),
    ):
        backbone = build(sizes, "cuda")
        backbone.model.bfloat16()
        with_expert(backbone)
        backbone.attach(backbone.expert)  # type: ignore[arg-type]
        rows += rows_of(
            shape,
            backbone,
            batch=options.batch,
            repeats=options.repeats,
            peak=peak,
            device=device,
        )
        del backbone
        torch.cuda.empty_cache()
    print(f"{name}, batch of {options.batch}, bfloat16; median of {options.repeats}.")
    print(table(rows))
    figures.write(rows, options.json)


if __name__ == "__main__":
    main()

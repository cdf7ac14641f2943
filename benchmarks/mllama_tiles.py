"""What Llama 3.2 Vision saves when one real tile is read instead of four padded ones.

python benchmarks/mllama_tiles.py --json mllama_tiles.json

FLOPs are those that torch counts for the published sizes, on the meta device: the tower, and the keys and
values of eight cross-attention layers. CPU time is that of a narrower tower with the real token counts (1,601
states per tile, one thread, float32, the median of three). The difference is that of the states of the real
tile, of the narrower tower with random weights: real patches attend to padding, so it is not zero.
"""

import argparse
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import MllamaVisionConfig, MllamaVisionModel

from residency.backbones import mllama

SIDE, STATES, WIDTH = 560, 1601, 4096
KEYS = 8 * 2 * 1024  # columns of the key and value projections of all cross-attention layers
NARROW = {"hidden_size": 160, "intermediate_size": 640, "attention_heads": 2}
NARROW |= {"num_hidden_layers": 2, "num_global_layers": 1, "intermediate_layers_indices": [0]}


@dataclass(frozen=True, slots=True)
class Row:
    """Tiles read, tera-FLOPs of tower and of keys and values for one image, seconds of the narrow one."""

    tiles: int
    tower: float
    keys: float
    seconds: float
    difference: float


class Inner:
    """As much of a model as `mllama.encode` looks at."""

    def __init__(self, tower: Any) -> None:
        self.model = self
        self.vision_model = tower


def tower(device: str, **sizes: Any) -> Any:
    """A vision model with random weights and open gates."""
    config = MllamaVisionConfig(image_size=SIDE, vision_output_dim=0, **sizes)
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    with torch.device(device):
        made = MllamaVisionModel(config).eval()
    if device == "cpu":
        for name, parameter in made.named_parameters():
            if name.endswith("gate"):
                parameter.data.fill_(0.5)
    return made


def pixels(tiles: int, device: str) -> dict[str, torch.Tensor]:
    """One real tile of noise among `tiles`."""
    made = torch.zeros(tiles, 3, SIDE, SIDE)
    made[0] = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    facts = {"tiles": [tiles], "real": [1], "shape": [[1, 1]]}
    return {"pixel_values": made.to(device)} | {k: torch.tensor(v) for k, v in facts.items()}


def flops(whole: Any, tiles: int) -> float:
    """Tera-FLOPs of the tower; its facts stay on the CPU, its pixels have no values."""
    given = pixels(tiles, "meta")
    count = torch.tensor([[1]], device="meta")
    mask = torch.ones(1, 1, tiles, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as counter, mllama.tiles_of(whole, tiles):
        whole(given["pixel_values"][None, None], count, mask)
    return counter.get_total_flops() / 1e12


def seconds(narrow: Any, tiles: int) -> float:
    """The median CPU time of three passes."""
    given, taken = pixels(tiles, "cpu"), []
    for _ in range(3):
        began = time.process_time()
        mllama.encode(Inner(narrow), given)  # type: ignore[arg-type]
        taken.append(time.process_time() - began)
    return statistics.median(taken)


@torch.no_grad()
def main() -> None:
    """Print a line per number of tiles."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path)
    path = parser.parse_args().json
    torch.set_num_threads(1)
    whole, narrow = tower("meta"), tower("cpu", **NARROW)
    alone = mllama.encode(Inner(narrow), pixels(1, "cpu"))[0][:, :-1]  # type: ignore[arg-type]
    rows = []
    for tiles in (4, 2, 1):
        among = mllama.encode(Inner(narrow), pixels(tiles, "cpu"))[0][:STATES, :-1]  # type: ignore[arg-type]
        apart = float((among - alone).norm() / alone.norm())
        keys = 2 * tiles * STATES * WIDTH * KEYS / 1e12
        rows.append(Row(tiles, flops(whole, tiles), keys, seconds(narrow, tiles), apart))
        row = rows[-1]
        print(
            f"{row.tiles} tiles  tower {row.tower:6.2f} TFLOP  keys and values {row.keys:5.2f} TFLOP  "
            f"narrow tower {row.seconds:6.2f} s  states differ by {row.difference:.3f}"
        )
    figures.write(rows, path)


if __name__ == "__main__":
    main()

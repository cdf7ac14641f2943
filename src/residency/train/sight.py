"""The step that teaches a vision encoder to see before a language model reads it: dense labels per cell."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from residency.catalog import find
from residency.data.sampler import Sampler
from residency.data.stream import prefetch
from residency.dataset import Dataset
from residency.model import store
from residency.model.huggingface import Backbone
from residency.step import Workspace
from residency.types import Area

DIGITS = 0.2  # weight of the first digits beside the box
REACH = 0.3  # root mean square of an image embedding afterwards; the words of nano start at 0.06


class Heads(nn.Module):
    """What each image token is asked: which words hold in its cell, and where the thing it shows lies.

    Words are asked for by their own embeddings in the language model, so what a cell shows ends up
    where the language model finds its words: a look at the picture becomes a comparison of like with
    like. The place is asked for as numbers and as the first digit of each coordinate.
    """

    def __init__(self, width: int, words: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.bias = nn.Parameter(torch.full((words,), -3.0))
        self.box = nn.Linear(width, 4)
        self.digits = nn.Linear(width, 4 * 10)

    def forward(
        self, tokens: Float[Tensor, "n k d"], names: Float[Tensor, "w d"]
    ) -> tuple[Float[Tensor, "n k w"], Float[Tensor, "n k 4"], Float[Tensor, "n k 4 10"]]:
        """Logits of the words `names` embed, the box as shares of the side, logits of its digits."""
        seen = F.rms_norm(tokens, tokens.shape[-1:])
        words = self.scale * seen @ F.normalize(names, dim=-1).T + self.bias
        return words, self.box(seen), self.digits(seen).unflatten(-1, (4, 10))


@dataclass(frozen=True, kw_only=True)
class Sight:
    """Train vision encoder and connector on dense labels, then set the scale of their output.

    Real generalists start from a vision tower that can already see; nano's learns here. The module
    `residency.datasets.<world>` provides `WORDS` and `cells(sample, rows, columns)`. Loss: binary
    cross-entropy over words, plus L1 of the box and cross-entropy of its first digits where a cell
    shows something. The heads are thrown away. Everything here is ours.
    """

    name: str
    after: str
    data: tuple[str, ...]
    updates: int
    batch_size: int = 48
    lr: float = 1.5e-3
    world: str = "general"

    @property
    def needs(self) -> tuple[str, ...]:
        """The untrained model."""
        return (self.after,)

    def plan(self, workspace: Workspace) -> list[str]:
        """Updates and labels."""
        words = len(find("datasets", self.world).WORDS)
        return [f"{self.updates} updates of {self.batch_size} pictures, {words} words per cell"]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Train and write the Hugging Face folder of the whole model."""
        torch.manual_seed(workspace.seed)
        (dataset,) = workspace.datasets(self.data)
        backbone = store.load(workspace.model(self.after))
        ids, means = self._names(backbone)
        names = backbone.embedding_matrix.detach()[ids]
        heads = Heads(backbone.width, len(ids))
        parts = backbone.parts()
        seeing = [*parts["vision_encoder"].values(), *parts["connector"].values()]
        for parameter in seeing:
            parameter.requires_grad_(True)
        optimizer = torch.optim.AdamW([*seeing, *heads.parameters()], lr=self.lr, weight_decay=0.05)
        loss = 0.0
        rows: list[dict[str, float]] = []
        with prefetch(self._batches(backbone, dataset, workspace.seed)) as batches:
            for update, (pixels, said, boxes) in zip(range(self.updates), batches, strict=False):
                for group in optimizer.param_groups:
                    group["lr"] = self.lr * self._factor(update)
                tokens = torch.stack(backbone.family.features(backbone.model, pixels))
                words, box, digits = heads(tokens, names)
                right = F.binary_cross_entropy_with_logits(words, (said @ means).clamp(max=1))
                shown = ~boxes.isnan().any(-1)
                near = box.sum() * 0
                if bool(shown.any()):
                    firsts = (boxes[shown] * 10).long().clamp(0, 9)
                    near = F.l1_loss(box[shown], boxes[shown])
                    near = near + DIGITS * F.cross_entropy(
                        digits[shown].flatten(0, 1), firsts.flatten()
                    )
                optimizer.zero_grad(set_to_none=True)
                (10 * right + near).backward()
                nn.utils.clip_grad_norm_(seeing, 1.0)
                optimizer.step()
                loss = 0.95 * loss + 0.05 * float(right.detach()) if rows else float(right.detach())
                rows.append(
                    {
                        "update": update + 1,
                        "words": float(right.detach()),
                        "box": float(near.detach()),
                    }
                )
                if (update + 1) % max(1, self.updates // 20) == 0:
                    state = f"words {loss:.4f}, box {float(near.detach()):.3f}"
                    print(f"  {self.name} {update + 1}/{self.updates}: {state}", flush=True)
        self._scale(backbone, pixels)
        folder = workspace.folder(self.name) / "model"
        backbone.model.save_pretrained(folder)
        backbone.processor.save_pretrained(folder)
        return {"words_loss": loss, "box_loss": rows[-1]["box"]}

    def _names(self, backbone: Backbone) -> tuple[list[int], Float[Tensor, "w n"]]:
        """Tokens that begin a word, after a space or not, and which of `WORDS` each stands for."""
        words = find("datasets", self.world).WORDS
        spoken = [word.split()[-1] for word in words]
        begins = [{backbone.composer.text_ids(t)[0] for t in (w, f" {w}")} for w in spoken]
        every = [token for begin in begins for token in begin]
        ids = sorted(
            {token for token in every if every.count(token) <= 2}
        )  # a bare space is no word
        means = torch.tensor([[float(i in begin) for i in ids] for begin in begins])
        return ids, means

    def _factor(self, update: int) -> float:
        warm = min(1.0, (update + 1) / max(1, self.updates // 10))
        return warm * 0.5 * (1 + math.cos(math.pi * update / self.updates))

    def _batches(
        self, backbone: Backbone, dataset: Dataset, seed: int
    ) -> Iterator[tuple[dict[str, Tensor], Tensor, Tensor]]:
        samples, cells = dataset.split("train"), find("datasets", self.world).cells
        sampler = Sampler(len(samples), self.batch_size, seed)
        while True:
            for indices in sampler:
                some = [samples[i] for i in indices]
                images = [sample.images[0].load() for sample in some]
                pixels, layouts = backbone.family.pixels(backbone.processor, images, Area())
                made = [cells(s, *layout.grid) for s, layout in zip(some, layouts, strict=True)]
                said = torch.stack([torch.from_numpy(words) for words, _ in made])
                boxes = torch.stack([torch.from_numpy(box) for _, box in made])
                yield pixels, said, boxes

    @torch.no_grad()
    def _scale(self, backbone: Backbone, pixels: Mapping[str, Tensor]) -> None:
        """Bring image embeddings near the scale of word embeddings, so that neither drowns the other."""
        tokens = torch.cat(backbone.family.features(backbone.model, pixels))
        last = [p for name, p in backbone.parts()["connector"].items() if "mlp.2" in name]
        for parameter in last:
            parameter.mul_(REACH / tokens.pow(2).mean().sqrt())

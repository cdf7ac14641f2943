"""The step that builds an untrained generalist: tokenizer, processor and random weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from residency.catalog import find
from residency.model import nano
from residency.step import Workspace

TEXTS = 6000  # training samples whose texts the tokenizer learns from


@dataclass(frozen=True, kw_only=True)
class BuildNano:
    """Train the tokenizer on the texts of a data set and write the untrained model, in float32.

    `world` names a module of `residency.datasets` that provides `texts(count)`.
    """

    name: str
    world: str = "general"

    @property
    def needs(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def plan(self, workspace: Workspace) -> list[str]:
        """What will be built."""
        return [f"tokenizer from {TEXTS} texts of {self.world}, weights from seed {workspace.seed}"]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Build and save."""
        torch.manual_seed(workspace.seed)
        tokenizer = nano.train_tokenizer(find("datasets", self.world).texts(TEXTS))
        model = nano.build(tokenizer)
        folder = workspace.folder(self.name) / "model"
        model.save_pretrained(folder)
        nano.processor(tokenizer).save_pretrained(folder)
        return {"tokens": len(tokenizer), "parameters": sum(p.numel() for p in model.parameters())}

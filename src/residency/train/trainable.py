"""Which weights a stage may change: frozen, in full, or through LoRA; shown and audited."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from residency.backbone import PARTS
from residency.catalog import suggest
from residency.errors import ResidencyError, UsageError
from residency.model import sharding
from residency.model.huggingface import Backbone
from residency.train.values import Full, LoRA, Train

SEEING = {"vision_encoder", "connector", "cross_attention", "exemplar_connector"}
SLOT_PARTS = ("exemplar_connector", "proxy_instruction")  # made by a stage, absent from a base


@dataclass(frozen=True, slots=True)
class PartRow:
    """A line of the parts table: how a part trains, how many weights it has, how many move."""

    part: str
    how: str
    parameters: int
    trainable: int
    lr: float | None


def lines(rows: Sequence[PartRow]) -> list[str]:
    """The parts table, aligned, for people."""
    cells = [("part", "how", "parameters", "trainable", "lr")]
    for r in rows:
        rate = "-" if r.lr is None else f"{r.lr:g}"
        cells.append((r.part, r.how, f"{r.parameters:,}", f"{r.trainable:,}", rate))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(
                row, widths, (True, True, False, False, False), strict=True
            )
        )
        for row in cells
    ]


def apply(backbone: Backbone, train: Mapping[str, Train]) -> list[dict[str, Any]]:
    """Freeze everything, free what `train` names, and return optimizer groups (`name, params, lr`).

    Trained weights are held in float32 whatever the dtype of the frozen ones.

    Raises:
        UsageError: nothing to train, an unknown part, a part without weights, two LoRA shapes, a
            family that is for evaluation only.
    """
    check(backbone, train)
    lora = {part: how for part, how in train.items() if isinstance(how, LoRA)}
    if lora:
        _inject(backbone, lora)
    backbone.requires_grad_(False)
    groups = []
    for part, how in train.items():
        own = backbone.parts()[part]
        chosen = {name: p for name, p in own.items() if isinstance(how, Full) != _is_lora(name)}
        for parameter in chosen.values():
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
        groups.append({"name": part, "params": list(chosen.values()), "lr": how.lr})
    return groups


def check(backbone: Backbone, train: Mapping[str, Train]) -> None:
    """Refuse what cannot be trained; see `apply`."""
    if backbone.family.untrained:
        raise UsageError(f"{backbone.name} cannot be trained: {backbone.family.untrained}")
    _refuse_impossible(train)
    parts = {name: parameters for name, parameters in backbone.parts().items() if parameters}
    for part in train:
        if part not in parts or part == "expert":
            hint = suggest(part, sorted(parts))
            have = ", ".join(sorted(parts.keys() - {"expert"}))
            raise UsageError(f"Unknown part {part!r}.{hint} {backbone.name} has: {have}.")


def _refuse_impossible(train: Mapping[str, Train]) -> None:
    """What no model could do."""
    if not train:
        raise UsageError("The stage trains nothing: name at least one part in `train`.")
    for part, how in train.items():
        if isinstance(how, LoRA) and part not in PARTS:
            raise UsageError(
                f"LoRA cannot train {part!r}, which has no pretrained weights; use Full."
            )
    shapes = {(how.rank, how.alpha, how.dropout) for how in train.values() if isinstance(how, LoRA)}
    if len(shapes) > 1:
        raise UsageError(
            f"One adapter has one shape; given (rank, alpha, dropout): {sorted(shapes)}."
        )


def planned(backbone: Backbone, train: Mapping[str, Train]) -> list[PartRow]:
    """The parts table that `apply` would lead to, from names and shapes alone.

    Raises:
        UsageError: as `check`; a slot that the stage creates counts as known, its size as unknown.
    """
    _refuse_impossible(train)
    parts = backbone.parts()
    created = {p: how for p, how in train.items() if p in SLOT_PARTS and not parts.get(p)}
    if rest := {part: how for part, how in train.items() if part not in created}:
        check(backbone, rest)
    rows = []
    for part, parameters in parts.items():
        how, total = train.get(part), sum(p.numel() for p in parameters.values())
        moving = 0 if how is None else total
        if isinstance(how, LoRA):
            shapes = [
                backbone.get_parameter(f"model.{n}.weight").shape
                for n in linear_modules(backbone, part)
            ]
            if not shapes:
                raise UsageError(f"No linear layer to adapt in {part!r}; use Full.")
            moving = sum(how.rank * (shape[0] + shape[1]) for shape in shapes)
        if total:
            name = "frozen" if how is None else how.describe()
            rows.append(PartRow(part, name, total, moving, None if how is None else how.lr))
    rows += [PartRow(p, f"{how.describe()}, created", 0, 0, how.lr) for p, how in created.items()]
    return rows


def table(backbone: Backbone, train: Mapping[str, Train]) -> list[PartRow]:
    """What `apply` made of every part that has weights, frozen ones included."""
    rows = []
    for part, parameters in backbone.parts().items():
        if not parameters:
            continue
        moving = sum(p.numel() for p in parameters.values() if p.requires_grad)
        how = train.get(part)
        name = "frozen" if how is None else how.describe()
        total = sum(p.numel() for p in parameters.values())
        rows.append(PartRow(part, name, total, moving, None if how is None else how.lr))
    return rows


def linear_modules(backbone: Backbone, part: str) -> list[str]:
    """Names, inside the Hugging Face model, of the linear layers that LoRA adapts in a part.

    All of them except the output head, as InternVL's and Qwen's own LoRA recipes choose them.
    """
    inside = {name.rpartition(".")[0] for name in backbone.parts()[part]}
    linear = {name for name, module in backbone.named_modules() if isinstance(module, nn.Linear)}
    head = backbone.model.get_output_embeddings()
    return sorted(
        name.removeprefix("model.")
        for name in inside & linear
        if backbone.get_submodule(name) is not head
    )


def _is_lora(name: str) -> bool:
    return ".lora_" in name


def _inject(backbone: Backbone, lora: Mapping[str, LoRA]) -> None:
    """Give the parts low-rank adapters; adapters of an earlier stage with the same shape go on."""
    from peft import LoraConfig, get_peft_model

    from residency.model.adapters import streamline

    how = next(iter(lora.values()))
    if backbone.peft:
        config = backbone.peft[0].peft_config["default"]
        have = (config.r, config.lora_alpha, config.lora_dropout)
        wanted = (how.rank, how.alpha, how.dropout)
        adapted = {
            part for part, parameters in backbone.parts().items() if any(map(_is_lora, parameters))
        }
        if have != wanted or not adapted >= lora.keys():
            raise UsageError(
                f"The model already carries an adapter of (rank, alpha, dropout) {have} in "
                f"{sorted(adapted)}; the stage asks for {wanted} in {sorted(lora)}. Use the same, "
                "or merge the adapter first."
            )
        return
    targets = [name for part in lora for name in linear_modules(backbone, part)]
    if not targets:
        raise UsageError(f"No linear layer to adapt in {sorted(lora)}; use Full.")
    config = LoraConfig(
        r=how.rank, lora_alpha=how.alpha, lora_dropout=how.dropout, target_modules=targets
    )
    wrapped = get_peft_model(backbone.model, config)
    streamline(wrapped)
    backbone.peft.append(wrapped)


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """A hash of names and exact values, for the audit; of this process's pieces where they are sharded."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = sharding.local(tensors[name].detach())
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


class Audit:
    """Proof after the first update: frozen weights are unchanged, every group received gradient.

    `touched` are the parts that had a gradient other than zero. What trains on images has none
    before the first image.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._before = self._frozen()
        self.touched: set[str] = set()

    def _frozen(self) -> dict[str, str]:
        frozen = {
            part: {name: p for name, p in parameters.items() if not p.requires_grad}
            for part, parameters in self._backbone.parts().items()
        }
        return {part: fingerprint(held) for part, held in frozen.items() if held}

    def gradients(self) -> None:
        """Call after each backward until it reported: note which parts have a gradient."""
        for part, parameters in self._backbone.parts().items():
            grads = (p.grad for p in parameters.values() if p.grad is not None)
            if any(bool(sharding.whole(grad).any()) for grad in grads):
                self.touched.add(part)

    def report(
        self, train: Mapping[str, Train], *, blind: bool = False, seen: bool = True
    ) -> dict[str, list[str]] | None:
        """Call after the first update; `blind` where no gradient was to be seen (DeepSpeed).

        `seen` says whether an update showed an image: without one, parts that see images may wait
        for it, and None is returned.

        Raises:
            ResidencyError: a frozen weight moved, or a part to train got no gradient.
        """
        still = [] if blind else sorted(train.keys() - self.touched)
        if still and not seen and SEEING.issuperset(still):
            return None
        after = self._frozen()
        moved = sorted(part for part in after if after[part] != self._before.get(part))
        if moved or still:
            raise ResidencyError(
                f"Audit after the first update failed: frozen weights changed in {moved}; parts to "
                f"train without gradient: {still}."
            )
        return {"unchanged": sorted(after), "received_gradient": sorted(self.touched)}

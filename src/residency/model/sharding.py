"""Weights that lie in pieces over several processes (FSDP2): made whole to be saved, cut to be read back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


def is_sharded(module: nn.Module) -> bool:
    """Whether a module's weights lie in pieces."""
    return any(isinstance(parameter, DTensor) for parameter in module.parameters())


def whole(tensor: Tensor) -> Tensor:
    """The whole tensor; every process must ask for the same pieces in the same order."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """This process's piece."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole_tree(tree: Any, *, keep: bool) -> Any:
    """A tree of dicts, lists and values with its tensors whole, on the CPU; None for them without `keep`.

    Every process takes part; those that do not write drop each tensor as soon as it is made.
    """
    if isinstance(tree, Mapping):
        return {key: whole_tree(value, keep=keep) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(whole_tree(value, keep=keep) for value in tree)
    if isinstance(tree, Tensor):
        made = whole(tree.detach())
        return made.cpu() if keep else None
    return tree


def like(value: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor cut as the parameter is, where both have one shape; else on its device."""
    if isinstance(parameter, DTensor) and value.shape == parameter.shape:
        moved = value.to(parameter.device)
        return distribute_tensor(moved, parameter.device_mesh, parameter.placements)
    return value.to(parameter.device)


@torch.no_grad()
def assign(parameter: Tensor, value: Tensor) -> None:
    """Put a whole tensor into a parameter, which keeps its precision and its cut."""
    local(parameter).copy_(local(like(value.to(parameter.dtype), parameter)))

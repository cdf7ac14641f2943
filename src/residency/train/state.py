"""Optimizer, scheduler and random states as safetensors and JSON: exact, and without pickle."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from residency.errors import CheckpointError
from residency.model import sharding


def save_tree(tree: object, path: Path) -> None:
    """Write a tree as `path`.json and, for its tensors, `path`.safetensors.

    It may hold scalars, tensors, lists, tuples and dicts whose keys are strings or integers.
    Values come back bit for bit, on the CPU.

    Raises:
        TypeError: a value of another type; names its place in the tree.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_encode(tree, path.name, tensors), allow_nan=False)
    path.with_name(path.name + ".json").write_text(text, encoding="utf-8")
    save_file(tensors, path.with_name(path.name + ".safetensors"))


def load_tree(path: Path) -> Any:
    """Read what `save_tree` wrote.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    try:
        content = json.loads(path.with_name(path.name + ".json").read_text(encoding="utf-8"))
        return _decode(content, load_file(path.with_name(path.name + ".safetensors")))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Use an older checkpoint.") from None


def _encode(value: object, place: str, tensors: dict[str, Tensor]) -> object:
    """JSON in which whatever JSON lacks is an object with one key that names its type."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return {"float": value.hex()}  # exact, and it knows inf and nan
    if isinstance(value, Tensor):
        # A copy: two tensors that share memory are refused by safetensors.
        name = f"{len(tensors)}:{place}"  # places alone are ambiguous where keys contain dots
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, Mapping):
        if not all(type(key) in (str, int) for key in value):
            raise TypeError(f"Cannot save {place}: its keys are neither strings nor integers.")
        return {"dict": [[k, _encode(v, f"{place}.{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        encoded = [_encode(v, f"{place}.{i}", tensors) for i, v in enumerate(value)]
        return {"tuple": encoded} if isinstance(value, tuple) else encoded
    raise TypeError(f"Cannot save {place}: a {type(value).__name__}.")


def _decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(inner, tensors) for inner in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "float":
        return float.fromhex(content)
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _decode(inner, tensors) for key, inner in content}
    if kind == "tuple":
        return tuple(_decode(inner, tensors) for inner in content)
    raise ValueError(f"unknown kind {kind!r}")


def save_optimizer(optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Write the whole state of an optimizer: moments, step counters and every hyper-parameter."""
    save_tree(optimizer.state_dict(), path)


def load_optimizer(optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Restore what `save_optimizer` wrote, so that the next update is bit for bit the same.

    Raises:
        CheckpointError: unreadable, or of an optimizer over other parameters.
    """
    state = load_tree(path)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    given = [len(group["params"]) for group in optimizer.param_groups]
    saved = [len(group["params"]) for group in state["param_groups"]]
    if given != saved:
        raise CheckpointError(f"{path} is of an optimizer over {saved} parameters, not {given}.")
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    for number, parameter in zip(numbers, parameters, strict=True):
        for key, value in state["state"].get(number, {}).items():
            if isinstance(value, Tensor) and value.ndim and value.shape != parameter.shape:
                raise CheckpointError(
                    f"{path}: {key} of parameter {number} has shape {tuple(value.shape)}, "
                    f"the parameter {tuple(parameter.shape)}."
                )
    optimizer.load_state_dict(state)
    for number, parameter in zip(numbers, parameters, strict=True):
        for key, value in state["state"].get(number, {}).items():
            # torch rounds moments to the dtype of the parameter: bf16 ones would lose fp32 state.
            if isinstance(value, Tensor) and value.ndim:
                optimizer.state[parameter][key] = sharding.like(value, parameter)


def rng_state() -> dict[str, object]:
    """The global generators of Python, numpy, torch and, once it is in use, of the current GPU."""
    numpy: dict[str, Any] = dict(np.random.get_state(legacy=False))
    twister = {"key": numpy["state"]["key"].tolist(), "pos": int(numpy["state"]["pos"])}
    return {
        "python": random.getstate(),
        "numpy": {**numpy, "state": twister},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Restore what `rng_state` returned.

    Raises:
        CheckpointError: it was taken on a GPU and there is none here.
    """
    if state["cuda"] is not None and not torch.cuda.is_available():
        raise CheckpointError("The random state was saved on a GPU and there is none here.")
    random.setstate(state["python"])
    twister = state["numpy"]["state"]
    key = np.array(twister["key"], dtype=np.uint32)
    np.random.set_state({**state["numpy"], "state": {**twister, "key": key}})
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"])

"""A tree's mask as blocks for FlexAttention: where the device has it, it says the same and is faster.

A dense mask costs a number for each pair of tokens and, on CUDA, the fastest kernels. FlexAttention reads
the rule of the mask instead and skips blocks that hold nothing. Whether it pays is measured once, at the
first tree that needs a mask; everywhere else the mask stays dense.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from residency.types import Tree

CLOSE = 0.03  # share of the largest output by which the two may differ: rounding of bfloat16
BLOCKS, USUAL = "flex_attention", "sdpa"
Attention = Callable[..., tuple[Tensor, Any]]


def blocks(tree: Tree) -> BlockMask:
    """`Tree.mask` as a rule, and the blocks of it that hold anything."""
    enter, leave = tree.enter, tree.leave
    rows, width = tree.tokens.shape
    return create_block_mask(  # rules are lambdas: it counts their arguments
        lambda row, _, one, other: (
            (enter[row, other] <= enter[row, one]) & (enter[row, one] < leave[row, other])
        ),
        *(rows, None, width, width),
        device=enter.device,
    )


def narrowed(mask: BlockMask, at: Int[Tensor, "b q"]) -> BlockMask:
    """The same mask for the places `at` of each row alone."""
    rows, few = at.shape
    return create_block_mask(
        lambda row, head, one, other: mask.mask_mod(row, head, at[row, one], other),
        *(rows, None, few, mask.seq_lengths[1]),
        device=at.device,
    )


def attend(decoder: nn.Module, mask: object) -> None:
    """Let a decoder read the mask that it is about to be given; it stays so for the backward pass."""
    config: Any = decoder.config
    if isinstance(mask, BlockMask):
        config._attn_implementation = BLOCKS
    elif config._attn_implementation == BLOCKS:
        config._attn_implementation = USUAL


def obstacle(decoder: nn.Module, tree: Tree) -> str:
    """Why trees are read through a dense mask; empty where blocks were measured to be faster."""
    device = tree.tokens.device
    if device.type != "cuda":
        return "FlexAttention trains on CUDA alone"
    model: Any = decoder
    if model.config._attn_implementation != USUAL or not model._supports_flex_attn:
        return f"{type(decoder).__name__} cannot choose FlexAttention"
    try:
        return measured(decoder, tree)
    except (RuntimeError, ValueError, NotImplementedError) as error:  # what compilers raise
        return f"FlexAttention failed: {str(error).strip().splitlines()[0][:120]}"


def measured(decoder: nn.Module, tree: Tree) -> str:
    """Attention of one block both ways, forwards and backwards, on random states of the tree's shape."""
    dense, sparse = tree.mask, blocks(tree)
    usual, seconds = _timed(sdpa_attention_forward, decoder, dense)
    found, faster = _timed(flex_attention_forward, decoder, sparse)
    for one, two in zip(usual, found, strict=True):
        if float((one - two).abs().max()) > CLOSE * float(one.abs().max()):
            return "FlexAttention says something else here"
    if faster >= seconds:
        return (
            f"FlexAttention takes {1e3 * faster:.1f} ms a block, a dense mask {1e3 * seconds:.1f}"
        )
    return ""


def _timed(
    how: Attention, decoder: nn.Module, mask: Tensor | BlockMask
) -> tuple[list[Tensor], float]:
    """Output and gradients in float32, and the least seconds of a few calls after the first."""
    model: Any = decoder
    module, (rows, _, width, _) = model.layers[-1].self_attn, mask.shape
    few = module.config.num_key_value_heads
    device = next(decoder.parameters()).device
    dtype = torch.get_autocast_dtype(device.type)
    dtype = dtype if torch.is_autocast_enabled(device.type) else next(decoder.parameters()).dtype
    made = torch.Generator(device).manual_seed(0)
    states = [
        torch.randn(rows, heads, width, module.head_dim, device=device, dtype=dtype, generator=made)
        for heads in (few * module.num_key_value_groups, few, few)
    ]
    best = float("inf")
    with torch.enable_grad():
        for _ in range(4):
            given = [one.clone().requires_grad_(True) for one in states]
            began = time.perf_counter()
            output, _ = how(module, *given, mask, scaling=module.scaling)
            output.float().square().sum().backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - began)
    made_of = [output, *(one.grad for one in given if one.grad is not None)]
    return [one.detach().float() for one in made_of], best

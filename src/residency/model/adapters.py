"""LoRA layers in fewer passes over memory, with the weights, gradients and files of PEFT's.

PEFT's layer writes `B A x`, writes it again times its scale, and adds it to `W x` in a third pass over
all outputs; autograd repeats this backwards. One function of autograd does without: where there are
many tokens it runs `W + s B A` as one product, else it adds the small product to the large one in place.
"""

from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn


class LowRank(torch.autograd.Function):
    """`W x + b + s B (A x)`, for `x [n, i]`, `W [o, i]`, `A [r, i]`, `B [o, r]`; `W` and `b` are frozen."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scale: float,
    ) -> Tensor:
        """Keeps `x` and no outputs: what is merged is merged again backwards."""
        outputs, inputs = weight.shape
        # In half precision a small change would be lost in the sum.
        exact = weight.dtype in (torch.float32, torch.float64)
        ctx.merged = exact and len(x) * (inputs + outputs) > inputs * outputs
        ctx.scale = scale
        ctx.save_for_backward(x, weight, down, up)
        if ctx.merged:
            return F.linear(x, torch.addmm(weight, up, down, alpha=scale), bias)
        return F.linear(x, weight, bias).addmm_(x @ down.T, up.T, alpha=scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """With `G = dL/dy`: `dx = G (W + s B A)`, `dA = s (G B)' x`, `dB = s G' (A x)`."""
        x, weight, down, up = ctx.saved_tensors
        above = grad @ up
        onto_x = None
        if ctx.needs_input_grad[0] and ctx.merged:
            onto_x = grad @ torch.addmm(weight, up, down, alpha=ctx.scale)
        elif ctx.needs_input_grad[0]:
            onto_x = (grad @ weight).addmm_(above, down, alpha=ctx.scale)
        onto_down = (above.T @ x).mul_(ctx.scale) if ctx.needs_input_grad[3] else None
        onto_up = ((x @ down.T).T @ grad).mul_(ctx.scale).T if ctx.needs_input_grad[4] else None
        return onto_x, None, None, onto_down, onto_up, None


class LeanLinear(Linear):
    """PEFT's LoRA layer, whose forward pass is `LowRank` wherever that says the same."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """As PEFT's; what is not plain LoRA without dropout is left to it."""
        given = None if args or kwargs or self.disable_adapters or self.merged else self._given(x)
        if given is None:
            made: Tensor = super().forward(x, *args, **kwargs)
            return made
        rows, *others = given
        flat: Tensor = LowRank.apply(rows.reshape(-1, x.shape[-1]), *others)
        return flat.view(*x.shape[:-1], flat.shape[-1])  # there may be no rows

    def _given(self, x: Tensor) -> tuple[Any, ...] | None:
        """What `LowRank` takes, in one dtype; None where it does not say the same as PEFT."""
        layer: Any = self
        base = layer.base_layer
        (name, *others) = layer.active_adapters or [""]
        if (
            others
            or name not in layer.lora_A
            or name in layer.lora_variant
            or not isinstance(layer.lora_dropout[name], nn.Identity)
            or layer.lora_B[name].bias is not None
            or type(base) is not nn.Linear
            or any(p.requires_grad for p in base.parameters())
        ):
            return None
        tensors = [x, base.weight, base.bias, layer.lora_A[name].weight, layer.lora_B[name].weight]
        device = x.device.type
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            tensors = [tensor if tensor is None else tensor.to(dtype) for tensor in tensors]
        elif len({tensor.dtype for tensor in tensors if tensor is not None}) > 1:
            return None
        return *tensors, layer.scaling[name]


def streamline(model: nn.Module) -> None:
    """Let every LoRA layer of a model run as `LeanLinear`; weights, names and files stay as they are."""
    for module in model.modules():
        if type(module) is Linear:
            module.__class__ = LeanLinear

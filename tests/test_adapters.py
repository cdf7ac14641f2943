"""LoRA layers in fewer passes: the gradients of PEFT's own layer, and PEFT's own pass where it must be."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from residency.model.adapters import LeanLinear, LowRank, streamline


def adapted(lean: bool, *, bias: bool = True, dropout: float = 0.0, **given: Any) -> nn.Module:
    """Two linear layers with adapters that change something, in float64."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5, bias=bias), nn.Tanh(), nn.Linear(5, 4, bias=bias))
    config = LoraConfig(r=3, lora_alpha=5, lora_dropout=dropout, target_modules=["0", "2"], **given)
    wrapped = get_peft_model(model, config)
    if lean:
        streamline(wrapped)
    for name, parameter in wrapped.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(parameter)
    return wrapped.double()


def read(model: nn.Module, shape: tuple[int, ...] = (2, 7, 6)) -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(1)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    made = model(x)
    (made * torch.randn_like(made)).sum().backward()
    assert x.grad is not None
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return made.detach(), {**found, "input": x.grad}


@pytest.mark.parametrize("shape", [(2, 7, 6), (2, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_outputs_and_gradients_are_those_of_peft(
    bias: bool, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, before = read(adapted(False, bias=bias), shape)
    calls = []
    apply = LowRank.apply
    monkeypatch.setattr(LowRank, "apply", lambda *args: calls.append(1) or apply(*args))
    found, after = read(adapted(True, bias=bias), shape)
    assert len(calls) == 2
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-13)
    assert before.keys() == after.keys() and len(before) == 5
    for name, gradient in before.items():
        torch.testing.assert_close(after[name], gradient, rtol=1e-12, atol=1e-13, msg=name)


@pytest.mark.parametrize("tokens", [2, 3])
def test_finite_differences_agree(tokens: int) -> None:
    """With few tokens, which are added, and with more, which run the merged weight."""
    torch.manual_seed(0)
    x, weight, bias, down, up = (
        torch.randn(shape, dtype=torch.float64)
        for shape in ((tokens, 4), (5, 4), (5,), (2, 4), (5, 2))
    )
    for free in (x, down, up):
        free.requires_grad_(True)
    assert torch.autograd.gradcheck(LowRank.apply, (x, weight, bias, down, up, 1.5))


@pytest.mark.parametrize("given", [{"dropout": 0.5}, {"use_dora": True}, {"lora_bias": True}])
def test_what_is_not_plain_lora_is_left_to_peft(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LowRank, "apply", lambda *_: pytest.fail("not plain LoRA"))
    wanted, before = read(adapted(False, **given))
    found, after = read(adapted(True, **given))
    assert torch.equal(found, wanted) and before.keys() == after.keys()


def test_switched_off_or_merged_it_is_the_base_layer() -> None:
    lean: Any = adapted(True)
    x = torch.randn(3, 6, dtype=torch.float64)
    whole = lean(x)
    with lean.disable_adapter():
        bare = lean(x)
    assert not torch.allclose(bare, whole)
    lean.merge_adapter()
    torch.testing.assert_close(lean(x), whole, rtol=1e-12, atol=1e-12)
    lean.unmerge_adapter()
    torch.testing.assert_close(lean(x), whole, rtol=1e-12, atol=1e-12)


def test_a_base_in_half_precision_runs_as_autocast_says() -> None:
    lean: Any = adapted(True).to(torch.bfloat16)
    theirs: Any = adapted(False).to(torch.bfloat16)
    for model in (lean, theirs):
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.data = parameter.data.float()
    x = torch.randn(3, 6)
    with torch.autocast("cpu", torch.bfloat16):
        found, wanted = lean(x), theirs(x)
    assert found.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted, rtol=0.05, atol=0.05)
    found.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in lean.parameters() if p.requires_grad)
    # Without autocast PEFT mixes the precisions; so does it here.
    assert torch.equal(lean(x.bfloat16()), theirs(x.bfloat16()))


def test_a_layer_whose_base_trains_is_left_to_peft(monkeypatch: pytest.MonkeyPatch) -> None:
    lean: Any = adapted(True)
    lean.requires_grad_(True)
    monkeypatch.setattr(LowRank, "apply", lambda *_: pytest.fail("the base trains"))
    _, gradients = read(lean)
    assert any(name.endswith("base_layer.weight") for name in gradients)
    assert sum(type(module) is LeanLinear for module in lean.modules()) == 2


def test_shapes_alone_can_be_followed() -> None:
    """FLOPs are counted on the meta device."""
    lean = adapted(True).to("meta")
    assert lean(torch.empty(2, 7, 6, dtype=torch.float64, device="meta")).shape == (2, 7, 4)


@pytest.mark.parametrize("shape", [(0, 6), (2, 0, 6)])
def test_no_tokens_are_no_trouble(shape: tuple[int, ...]) -> None:
    made = adapted(True)(torch.zeros(shape, dtype=torch.float64))
    assert made.shape == (*shape[:-1], 4)

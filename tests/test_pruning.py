"""The last block at the places that are read: the same states and gradients, fewer tokens."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    LlamaConfig,
    LlamaModel,
    MistralConfig,
    MistralModel,
    Qwen2Config,
    Qwen2Model,
    Qwen2VLTextConfig,
    Qwen3Config,
    Qwen3Model,
)
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLTextModel

import models
from residency.model.pruning import KNOWN, obstacle, prepare, select
from residency.types import NEGATIVE, PLAIN

SIZES: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
MROPE = {"rope_type": "default", "mrope_section": [1, 1, 0], "rope_theta": 1e4}
DECODERS: dict[str, Any] = {
    "LlamaAttention": lambda: LlamaModel(LlamaConfig(**SIZES)),
    "MistralAttention": lambda: MistralModel(MistralConfig(**SIZES, sliding_window=None)),
    "Qwen2Attention": lambda: Qwen2Model(Qwen2Config(**SIZES)),
    "Qwen2VLAttention": lambda: Qwen2VLTextModel(Qwen2VLTextConfig(**SIZES, rope_parameters=MROPE)),
    "Qwen3Attention": lambda: Qwen3Model(Qwen3Config(**SIZES, head_dim=4)),
}


def read(decoder: nn.Module, at: Tensor, *, pruned: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """States at `at`, and the gradients of all weights and of the input."""
    torch.manual_seed(0)
    rows, length = len(at), 7
    embeddings = torch.randn(rows, length, 16, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(rows, 1, length, length).tril() > 0
    mask[1, 0, 4:, 2] = False  # somewhat of a tree
    decoder.zero_grad()
    few = {"few": at} if pruned else {}
    made: Any = decoder(
        inputs_embeds=embeddings,
        attention_mask=mask,
        position_ids=torch.arange(length).expand(rows, -1),
        use_cache=False,
        **few,
    )
    states = made.last_hidden_state
    states = states if pruned else select(states, at)
    (states * torch.randn_like(states)).sum().backward()
    assert embeddings.grad is not None
    gradients = {n: p.grad for n, p in decoder.named_parameters() if p.grad is not None}
    return states.detach(), {**gradients, "input": embeddings.grad}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", KNOWN)
def test_states_and_gradients_are_those_of_the_whole_block(name: str, checkpointing: bool) -> None:
    torch.manual_seed(1)
    decoder = DECODERS[name]().double().train()
    assert obstacle(decoder) == ""
    at = torch.tensor([[2, 5, 6], [3, 6, 0]])
    wanted, before = read(decoder, at, pruned=False)
    prepare(decoder)
    seen = []
    decoder.layers[-1].mlp.register_forward_pre_hook(lambda m, given: seen.append(given[0].shape))
    if checkpointing:
        decoder.activation_checkpointing_enable()
    found, after = read(decoder, at, pruned=True)
    assert set(seen) == {(2, 3, 16)} and len(seen) == 1 + checkpointing
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)
    assert before.keys() == after.keys() and len(before) > 20 - 2
    for key, gradient in before.items():
        torch.testing.assert_close(after[key], gradient, rtol=1e-5, atol=1e-6, msg=key)
    again, _ = read(decoder, at, pruned=False)  # prepared, and asked for all tokens
    torch.testing.assert_close(again, wanted, rtol=1e-6, atol=1e-7)


def test_an_attention_that_is_not_known_runs_whole() -> None:
    class Odd(nn.Module):
        pass

    decoder = DECODERS["LlamaAttention"]()
    decoder.layers[-1].self_attn = Odd()
    assert "Odd" in obstacle(decoder) and "not known" in obstacle(decoder)
    assert obstacle(nn.Linear(1, 1)) != ""


@pytest.mark.parametrize("family", models.FAMILIES)
def test_a_backbone_runs_its_last_block_where_responses_are_predicted(family: str) -> None:
    backbone = models.backbone(family)
    assert backbone.whole == ""
    other = models.sample("b", models.picture(1), answer="blue")
    readings = [
        models.reading("a", models.picture(0), negative=other),
        models.reading("b", models.picture(1), answer="blue", question="Which colour is it?"),
    ]
    batch = backbone.collate([readings[0]], [PLAIN, NEGATIVE], "trees")
    assert batch.tree is not None
    block: Any = backbone.family.language_model(backbone.model)
    widths: list[int] = []
    for layer in block.layers:
        layer.mlp.register_forward_hook(lambda m, given, made: widths.append(made.shape[1]))
    with torch.no_grad():
        pruned = backbone.read(batch)
        backbone.whole = "asked for by this test"
        whole = backbone.read(batch)
    tree = batch.tree
    assert widths == [tree.tokens.shape[1], tree.looks.shape[1]] + [tree.tokens.shape[1]] * 2
    assert 0 < tree.looks.shape[1] <= 2 * len(batch.targets.tokens) < tree.tokens.shape[1]
    for view, logits in whole.items():
        torch.testing.assert_close(pruned[view], logits, rtol=0, atol=1e-4)

"""Trees through FlexAttention: the rule of its blocks is the dense mask, and the logits are the same."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.attention.flex_attention import create_mask

import models
from residency.model import masks
from residency.model.huggingface import Backbone
from residency.types import NEGATIVE, PLAIN, Batch


@pytest.fixture(params=models.FAMILIES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return models.backbone(request.param).eval()


def branched(backbone: Backbone) -> Batch:
    """Two trees of several branches and of other sizes."""
    other = models.sample("n", models.picture(7), answer="no")
    readings = [
        models.reading(
            f"{name}{k}",
            models.picture(number),
            question=f"Question {k}?" * (1 + number),
            answer=f"answer {name} {k}",
            negative=other,
        )
        for number, name in enumerate("ab")
        for k in range(3)
    ]
    return backbone.collate(readings, [PLAIN, NEGATIVE], "trees")


def test_the_rule_of_the_blocks_is_the_dense_mask(backbone: Backbone) -> None:
    tree = branched(backbone).tree
    assert tree is not None and not tree.straight
    mask = masks.blocks(tree)
    rows, width = tree.tokens.shape
    assert mask.shape == (rows, 1, width, width)
    dense = create_mask(mask.mask_mod, rows, 1, width, width, device="cpu")
    assert torch.equal(dense, tree.mask)
    few = masks.narrowed(mask, tree.looks)
    count = tree.looks.shape[1]
    seen = create_mask(few.mask_mod, rows, 1, count, width, device="cpu")
    assert torch.equal(seen, tree.sight(tree.enter.gather(1, tree.looks)))


@pytest.mark.filterwarnings("ignore")  # uncompiled it warns, once
def test_logits_through_blocks_are_those_through_the_mask(backbone: Backbone) -> None:
    """Forward and uncompiled: all of FlexAttention that runs on a CPU. The last block is pruned."""
    batch = branched(backbone)
    decoder: Any = backbone.family.language_model(backbone.model)
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        wanted = backbone.read(batch)
        assert backbone.dense == "FlexAttention trains on CUDA alone"
        backbone.dense = ""
        found = backbone.read(batch)
        assert decoder.config._attn_implementation == masks.BLOCKS
        rows = backbone.read(backbone.collate([models.reading("a", models.picture(0))], [PLAIN]))
    assert decoder.config._attn_implementation == masks.USUAL and len(rows[PLAIN])
    for view, logits in wanted.items():
        torch.testing.assert_close(found[view], logits, rtol=1e-4, atol=1e-4)


def test_blocks_are_refused_where_they_say_something_else_or_are_slower(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measurement itself, with what stands for FlexAttention backwards on a CPU."""
    tree = branched(backbone).tree
    assert tree is not None
    decoder = backbone.family.language_model(backbone.model)
    usual = masks.sdpa_attention_forward

    def standing_in(module: Any, *given: Any, **named: Any) -> Any:
        *states, mask = given
        dense = create_mask(mask.mask_mod, *mask.shape, device="cpu")
        return usual(module, *states, dense if honest else torch.ones_like(dense), **named)

    monkeypatch.setattr(masks, "flex_attention_forward", standing_in)
    seconds = iter(
        [0.0, 2.0] * 4 + [0.0, 1.0] * 4 + [0.0, 1.0] * 4 + [0.0, 2.0] * 4 + [0.0, 1.0] * 8
    )
    monkeypatch.setattr(masks, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    honest = True
    assert masks.measured(decoder, tree) == ""
    assert "2000.0 ms a block, a dense mask 1000.0" in masks.measured(decoder, tree)
    honest = False
    assert "something else" in masks.measured(decoder, tree)

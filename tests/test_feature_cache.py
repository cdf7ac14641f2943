"""Features of a frozen vision encoder: split from the connector, and kept on disk."""

from typing import Any

import pytest
import torch
from torch import Tensor

import models
from residency.model.huggingface import Backbone
from residency.types import PLAIN, Batch

FAMILIES = {family: models.backbone(family) for family in models.FAMILIES}


@pytest.fixture(params=models.FAMILIES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    """A shared backbone without slots."""
    made = FAMILIES[request.param]
    made.zero_grad()
    return made


def album(backbone: Backbone, *numbers: int) -> Batch:
    """A batch of images of unlike shapes."""
    sizes = ((48, 48), (90, 40), (30, 60))
    pictures = [models.picture(n, sizes[n % 3]) for n in numbers]
    return backbone.collate([models.reading(str(k), p) for k, p in enumerate(pictures)], [PLAIN])


# --- the split ------------------------------------------------------------------------------------


def seen(backbone: Backbone, features: list[Tensor]) -> tuple[list[Tensor], dict[str, Any]]:
    """Features with the gradients of what made them."""
    backbone.zero_grad()
    torch.cat(features).square().sum().backward()
    named = backbone.named_parameters()
    grads = {name: p.grad.clone() for name, p in named if p.grad is not None}
    return [one.detach() for one in features], grads


def test_encoder_then_connector_is_the_models_own_pass_bit_for_bit(backbone: Backbone) -> None:
    """Values and the gradients of both parts; afterwards the model is as before."""
    family, model, pixels = backbone.family, backbone.model, album(backbone, 0, 1, 2).pixels
    whole, expected = seen(backbone, family.features(model, pixels))
    split, gradients = seen(backbone, family.connect(model, family.encode(model, pixels)))
    again, _ = seen(backbone, family.features(model, pixels))
    assert len({len(one) for one in whole}) > 1
    for one, two, three in zip(whole, split, again, strict=True):
        assert torch.equal(one, two) and torch.equal(one, three)
    assert gradients.keys() == expected.keys() and {
        part: any(name in gradients for name in names) for part, names in backbone.parts().items()
    } == {"vision_encoder": True, "connector": True, "language_model": False}
    assert all(torch.equal(gradients[name], expected[name]) for name in expected)


def test_the_encoder_alone_does_not_run_the_connector(backbone: Backbone) -> None:
    backbone.zero_grad()
    encoded = backbone.family.encode(backbone.model, album(backbone, 0, 1).pixels)
    torch.cat([one.flatten() for one in encoded]).square().sum().backward()
    parts = backbone.parts()
    assert all(p.grad is None for p in parts["connector"].values())
    assert any(p.grad is not None for p in parts["vision_encoder"].values())


def test_an_image_alone_has_the_pixels_it_has_in_company(backbone: Backbone) -> None:
    together = album(backbone, 0, 1, 2).pixels
    alone = [album(backbone, n).pixels for n in range(3)]
    for own, one in zip(backbone.family.each(together), alone, strict=True):
        assert own.keys() == one.keys() and all(torch.equal(own[k], one[k]) for k in one)

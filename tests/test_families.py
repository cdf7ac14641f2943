"""The further families, held to what `make test-all` holds every family to, in the least time."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import models
import test_backbones
import test_feature_cache
import test_generation
import test_rows
import test_store
import test_trees
from residency.model.huggingface import Backbone
from residency.model.slots import ProxyInstruction
from residency.objective import nll
from residency.objectives.vitask import VITask
from residency.train.trainable import Audit, apply, fingerprint
from residency.train.values import Full, LoRA, Train
from residency.types import PLAIN

CONNECT: dict[str, Train] = {"connector": Full(lr=3e-3), "language_model": LoRA(lr=1e-2, rank=4)}
TRAINED: dict[str, dict[str, Train]] = {
    # InstFree trains all but the language model.
    "mllama": {part: Full(lr=3e-3) for part in ("vision_encoder", "connector", "cross_attention")},
}
TREES = [family for family in models.MORE if family != "mllama"]


@pytest.fixture(params=models.MORE)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def backbone(family: str) -> Backbone:
    """A shared one, without slots."""
    made = models.shared(family)
    made.zero_grad()
    return made


@pytest.fixture
def fitted(family: str) -> Backbone:
    """A fresh one with an expert and a proxy instruction."""
    made = models.backbone(family)
    made.attach(models.expert())
    torch.manual_seed(3)
    made.proxy_instruction = ProxyInstruction(3, made.width, std=1.0)
    return made


def test_parts_slots_and_company(backbone: Backbone, fitted: Backbone) -> None:
    test_backbones.test_parts_are_disjoint_and_complete(backbone, fitted)
    test_backbones.test_slot_ids_are_no_words(backbone)
    test_backbones.test_padding_and_company_change_nothing(fitted)


def gradients(backbone: Backbone, logits: Tensor, tokens: Tensor) -> dict[str, Tensor]:
    backbone.zero_grad()
    nll(logits, tokens).mean().backward()
    grads = {n: p.grad.clone() for n, p in backbone.named_parameters() if p.grad is not None}
    return {name: grad for name, grad in grads.items() if grad.any()}


@pytest.mark.parametrize("number", [0, 1], ids=["one image", "two images"])
def test_tokens_logits_and_gradients_are_those_of_transformers(
    backbone: Backbone, number: int
) -> None:
    """By the processor's own batch and the model's own forward; every weight that gets a gradient."""
    reading = test_backbones.mixed()[number]
    batch = backbone.collate([reading], [PLAIN])
    prompt, tokens = batch.prompts[PLAIN], batch.targets.tokens
    given = test_backbones.inputs(backbone, [reading])
    assert torch.equal(given["input_ids"], prompt.tokens)
    own, theirs = backbone.read(batch)[PLAIN], backbone.model(**given).logits[prompt.predicts]
    torch.testing.assert_close(own, theirs, rtol=0, atol=1e-5)
    found, wanted = (gradients(backbone, logits, tokens) for logits in (own, theirs))
    assert found.keys() == wanted.keys() and own.std() > 0.1
    for part in backbone.parts().values():
        assert not part or found.keys() & part.keys()
    for name, gradient in wanted.items():
        scale = gradient.abs().max().clamp_min(1e-6)
        assert float((gradient - found[name]).abs().max() / scale) < 1e-3, name


@pytest.mark.parametrize("family", TREES)
def test_trees_are_exact(family: str) -> None:
    """Every view's logits, and gradients of VITask's second stage, in float64."""
    made = test_trees.exact(family)
    assert made.form == "trees"
    test_trees.test_logits_equal_those_of_separate_rows_under_every_view(made)
    test_trees.test_gradients_equal_those_of_separate_rows(made, VITask(align=1.0, contrast=1.0))


def test_answers_are_those_of_transformers(backbone: Backbone) -> None:
    test_generation.test_greedy_equals_transformers_for_unequal_prompts(backbone)
    reading = test_generation.mixed()[1]
    option = test_generation.OPTIONS[2]
    scored = test_generation.score(backbone, [reading], PLAIN, [("red",), option])
    expected = test_generation.separately(backbone, reading, option[0])
    assert abs(float(scored[0, 1]) - expected) < 1e-4


def test_only_the_named_parts_learn(family: str) -> None:
    made = models.backbone(family)
    how = TRAINED.get(family, CONNECT)
    optimizer = torch.optim.AdamW(apply(made, how), weight_decay=0.0)
    audit = Audit(made.train())
    before = {part: fingerprint(of) for part, of in made.parts().items() if of}
    readings = [r for r in test_backbones.mixed() if r.sample.id != "c"]
    batch, losses = made.collate(readings, [PLAIN], made.form), []
    for update in range(5):
        loss = nll(made.read(batch)[PLAIN], batch.targets.tokens).mean()
        loss.backward()
        if not update:
            audit.gradients()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss))
    audit.report(how)
    assert losses[-1] < losses[0] - 0.1, losses
    after = {part: fingerprint(of) for part, of in made.parts().items() if of}
    assert {part for part in before if before[part] != after[part]} == how.keys()


@pytest.mark.parametrize("place", ["instruction", "answer"])
def test_control_text_stays_text(backbone: Backbone, place: str) -> None:
    test_rows.test_control_text_in_data_stays_text(backbone, place)


def test_checkpoints_come_back(family: str, tmp_path: Path) -> None:
    """Exemplar connector and proxy instruction; an adapter beside a part trained in full."""
    test_store.test_exemplar_and_proxy_come_back(family, "patches", tmp_path / "slots")
    test_store.test_lora_beside_full_parts_of_the_same_model(family, tmp_path / "parts")


def test_features_can_be_kept(backbone: Backbone) -> None:
    test_feature_cache.test_encoder_then_connector_is_the_models_own_pass_bit_for_bit(backbone)
    test_feature_cache.test_the_encoder_alone_does_not_run_the_connector(backbone)
    test_feature_cache.test_an_image_alone_has_the_pixels_it_has_in_company(backbone)

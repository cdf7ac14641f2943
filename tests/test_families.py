"""The further families, held to what `make test-all` holds every family to, in the least time."""

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import models
import ranks
import real_sizes
import residency.step
import test_backbones
import test_feature_cache
import test_generation
import test_rows
import test_stage
import test_store
import test_trees
from residency.errors import UsageError
from residency.model import store
from residency.model.collate import Collator
from residency.model.huggingface import Backbone
from residency.model.rows import Composer, Slots
from residency.model.slots import ProxyInstruction
from residency.objective import nll
from residency.objectives.vitask import VITask
from residency.recipe import plan
from residency.train.trainable import Audit, apply, fingerprint
from residency.train.values import Full, LoRA, Train
from residency.types import PLAIN, Area

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
    """Gradients of VITask's second stage, in float64; `make test-all` compares every view's logits."""
    made = test_trees.exact(family)
    assert made.form == "trees"
    test_trees.test_gradients_equal_those_of_separate_rows(made, VITask(align=1.0, contrast=1.0))


def test_answers_are_those_of_transformers(backbone: Backbone) -> None:
    test_generation.test_greedy_equals_transformers_for_unequal_prompts(backbone)
    reading = test_generation.mixed()[1]
    option = test_generation.OPTIONS[2]
    scored = test_generation.score(backbone, [reading], PLAIN, [("red",), option])
    expected, _ = test_generation.separately(backbone, reading, option[0])
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
    """An adapter beside parts trained in full; `make test-all` adds slots and experts."""
    test_store.test_lora_beside_full_parts_of_the_same_model(family, tmp_path / "parts")


def test_features_can_be_kept(backbone: Backbone) -> None:
    test_feature_cache.test_encoder_then_connector_is_the_models_own_pass_bit_for_bit(backbone)
    test_feature_cache.test_the_encoder_alone_does_not_run_the_connector(backbone)
    test_feature_cache.test_an_image_alone_has_the_pixels_it_has_in_company(backbone)


# --- what is a family's own ----------------------------------------------------------------------


def shown(backbone: Backbone, size: tuple[int, int], most: int | None) -> tuple[int, int, Tensor]:
    """Pixels, tokens and logits of one image whose area is capped."""
    limited = dict(vars(backbone.family), pixels=partial(_capped, backbone.family.pixels, most))
    composer = Composer(
        SimpleNamespace(**limited),  # type: ignore[arg-type]
        backbone.processor,
        (backbone.composer.exemplar_id, backbone.composer.proxy_id),
    )
    collator = Collator(composer, None, backbone.limits)
    batch = collator([models.reading("a", models.picture(1, size))], {PLAIN: Slots()}, "rows")
    tokens = int((batch.prompts[PLAIN].tokens == composer.image_id).sum())
    with torch.no_grad():
        return batch.pixels["pixel_values"].numel(), tokens, backbone.read(batch)[PLAIN]


def _capped(pixels: Any, most: int | None, processor: Any, images: Any, budget: Any) -> Any:
    del budget
    return pixels(processor, images, Area(most=most))


def test_llava_reads_fewer_tiles_where_area_is_capped() -> None:
    backbone = models.shared("llava_next")
    tile = 3 * 28 * 28
    taken = [shown(backbone, (60, 60), most) for most in (None, 5 * 28 * 28, 4 * 28 * 28, 28 * 28)]
    assert [pixels // tile for pixels, _, _ in taken] == [5, 5, 3, 3]
    assert [tokens for _, tokens, _ in taken] == [
        88,
        88,
        36,
        36,
    ]  # 16 + 8 rows of 8 + 1, or 4 of 4 + 1
    assert torch.equal(taken[0][2], taken[1][2]) and torch.equal(taken[2][2], taken[3][2])
    assert (taken[0][2] - taken[2][2]).abs().max() > 1e-3


def one_tile_tower(model: Any) -> Any:
    """The same vision model of transformers for one tile: the first slice of each tile embedding."""
    whole = model.model.vision_model
    values = whole.config.to_dict() | {"max_num_tiles": 1, "supported_aspect_ratios": [[1, 1]]}
    small = type(whole)(type(whole.config)(**values)).eval()
    state = dict(whole.state_dict())
    for name, own in small.state_dict().items():
        state[name] = (
            state[name][: len(own), : own.shape[1]] if "embedding.weight" in name else state[name]
        )
    small.load_state_dict(state)
    return small


def test_one_real_tile_of_llama_is_read_as_a_vision_model_for_one_tile_reads_it() -> None:
    """What padding to four tiles adds is not nothing: real patches attend to the padding."""
    backbone = models.shared("mllama")
    family, model = backbone.family, backbone.model
    image = models.image(3, (28, 28))
    padded, one = (
        family.pixels(backbone.processor, [image], Area(most=most))[0] for most in (None, 28 * 28)
    )
    assert padded["real"].tolist() == one["real"].tolist() == [1]
    assert len(padded["pixel_values"]) == 4 and len(one["pixel_values"]) == 1
    configured = copy.deepcopy(backbone.processor)
    configured.image_processor.max_image_tiles = 1
    again = family.pixels(configured, [image], Area())[0]
    assert all(torch.equal(again[name], one[name]) for name in one)
    assert torch.equal(padded["pixel_values"][:1], one["pixel_values"])
    with torch.no_grad():
        (states,) = family.encode(model, one)
        (among,) = family.encode(model, padded)
        expected = one_tile_tower(model)(
            pixel_values=one["pixel_values"][None, None],
            aspect_ratio_ids=torch.ones(1, 1, dtype=torch.long),
            aspect_ratio_mask=torch.ones(1, 1, 1, dtype=torch.long),
        ).last_hidden_state[0, 0, 0]
    torch.testing.assert_close(states[:, :-1], expected, rtol=0, atol=1e-5)
    assert states[:, -1].eq(1).all() and among[:, -1].sum() == len(states)
    apart = (among[: len(states), :-1] - states[:, :-1]).norm() / states[:, :-1].norm()
    assert 1e-3 < float(apart) < 1.5


def test_shapes_keep_their_numbers_under_a_cap() -> None:
    """The model numbers shapes of up to four tiles, whatever fewer the processor was allowed."""
    backbone = models.shared("mllama")
    wide, tall = models.image(0, (56, 28)), models.image(0, (28, 56))
    for most, tiles in ((None, 4), (2 * 28 * 28, 2), (3 * 28 * 28, 3)):
        pixels, layouts = backbone.family.pixels(backbone.processor, [wide, tall], Area(most=most))
        assert pixels["tiles"].tolist() == [tiles] * 2 and pixels["real"].tolist() == [2, 2]
        assert pixels["shape"].tolist() == [[1, 2], [2, 1]]
        assert [layout.tokens for layout in layouts] == [1, 1]
    with torch.no_grad():
        mixed = [
            backbone.family.pixels(backbone.processor, [image], Area(most=most))[0]
            for image, most in ((wide, None), (tall, 28 * 28), (tall, 2 * 28 * 28), (wide, 28 * 28))
        ]
        together = {name: torch.cat([one[name] for one in mixed]) for name in mixed[0]}
        made = backbone.family.encode(backbone.model, together)
        for own, alone in zip(made, mixed, strict=True):
            torch.testing.assert_close(own, backbone.family.encode(backbone.model, alone)[0])


def test_llama_says_that_rows_are_read_apart() -> None:
    backbone = models.shared("mllama")
    assert backbone.form == "rows" and "images of their row" in backbone.separate


def test_gemma_refuses_pan_and_scan() -> None:
    made = models.backbone("gemma3")
    made.processor.image_processor.do_pan_and_scan = True
    for name, value in (("min_crop_size", 8), ("max_num_crops", 4), ("min_ratio_to_activate", 1.2)):
        setattr(made.processor.image_processor, f"pan_and_scan_{name}", value)
    with pytest.raises(UsageError, match="do_pan_and_scan to false"):
        made.collate([models.reading("a", models.picture(1, (90, 40)))], [PLAIN])


def test_a_template_that_refuses_turns_says_so() -> None:
    backbone = models.shared("gemma3")
    turns = models.conversation("What?", "red")
    reading = replace(models.reading("a", models.picture(0)), conversation=(*turns, turns[-1]))
    with pytest.raises(UsageError, match="refuses turns of system, user, assistant, assistant"):
        backbone.collate([reading], [PLAIN])


def test_blip2_answers_and_is_not_trained() -> None:
    backbone = models.backbone("blip2")
    readings = [
        models.reading("a", models.picture(1, (90, 40))),
        models.reading("b", question="Why?"),
    ]
    batch = backbone.collate(readings, [PLAIN])
    prompt = batch.prompts[PLAIN]
    text = backbone.composer.tokenizer.decode(prompt.tokens[0])
    assert text.startswith("<image>" * 5 + "</s>") and text.endswith("Answer: red circle</s>")
    with torch.no_grad():
        theirs = backbone.model(
            input_ids=prompt.tokens[:1],
            attention_mask=prompt.attention[:1].long(),
            pixel_values=batch.pixels["pixel_values"],
        ).logits[prompt.predicts[:1]]
        own = backbone.read(batch)[PLAIN][batch.targets.sample == 0]
    torch.testing.assert_close(own, theirs, rtol=0, atol=1e-5)
    asked = backbone.collate(readings[:1], [PLAIN], "prompts")
    made = backbone.model.generate(
        input_ids=asked.prompts[PLAIN].tokens,
        attention_mask=asked.prompts[PLAIN].attention.long(),
        pixel_values=asked.pixels["pixel_values"],
        max_new_tokens=5,
        do_sample=False,
    )[0][asked.prompts[PLAIN].tokens.shape[1] :]
    ((said, _), _) = test_generation.generate(backbone, readings, PLAIN, max_tokens=5)
    assert said == backbone.composer.tokenizer.decode(made).strip()
    test_feature_cache.test_encoder_then_connector_is_the_models_own_pass_bit_for_bit(backbone)
    with pytest.raises(UsageError, match="takes no expert: BLIP-2 is served for evaluation only"):
        backbone.attach(models.expert())
    with pytest.raises(UsageError, match="cannot be trained: BLIP-2"):
        apply(backbone, {"connector": Full(lr=1e-3)})
    backbone.model.config.use_decoder_only_language_model = False
    with pytest.raises(UsageError, match=r"encoder-decoder.*blip2-opt"):
        backbone.family.slots(backbone.model.config, backbone.processor.tokenizer)


@pytest.mark.slow
@pytest.mark.parametrize("family", real_sizes.PUBLISHED)
def test_published_sizes_can_be_planned_without_weights(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From `config.json` alone: parts, how views are read, time and memory."""
    monkeypatch.setattr(residency.step, "open_dataset", lambda name: ranks.dataset(6))
    base = real_sizes.folder(family, tmp_path / "base")
    shape = store.empty(str(base))
    millions = sum(p.numel() for part in shape.parts().values() for p in part.values()) / 1e6
    assert abs(millions / real_sizes.PUBLISHED[family] - 1) < 0.01
    stage = test_stage.stage(train=TRAINED.get(family, CONNECT))
    recipe = replace(test_stage.recipe(tmp_path / "run", stage), base=str(base))
    if shape.family.untrained:
        with pytest.raises(UsageError, match="cannot be trained"):
            plan(recipe)
        return
    said = plan(recipe)
    print(said)
    for part, of in shape.parts().items():
        assert f"{part} " in said and f"{sum(p.numel() for p in of.values()):,}" in said
    assert ("rows of their own" if family == "mllama" else "as trees") in said
    assert "GiB on this device" in said

"""The contract of a backbone, for every family: parts, positions, logits, slots, passes."""

from typing import Any

import pytest
import torch
from torch import Tensor

import models
from residency.errors import DataError, ResidencyError, UsageError
from residency.model.huggingface import Backbone
from residency.model.slots import ProxyInstruction
from residency.types import (
    BLANK,
    EXEMPLAR,
    NEGATIVE,
    NEGATIVE_EXEMPLAR,
    PLAIN,
    PROXY,
    Batch,
    Reading,
    View,
)

CLOSE = {"rtol": 0.0, "atol": 1e-5}


@pytest.fixture(params=models.ALL)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    """A shared backbone without slots."""
    return models.shared(request.param)


@pytest.fixture(params=models.ALL)
def fitted(request: pytest.FixtureRequest) -> Backbone:
    """A fresh backbone with an expert and a proxy instruction."""
    made = models.backbone(request.param)
    made.attach(models.expert())
    torch.manual_seed(3)
    made.proxy_instruction = ProxyInstruction(3, made.width, std=1.0)
    return made


A, B, C = models.picture(0), models.picture(1, (90, 40)), models.picture(2, (30, 60))


def mixed() -> list[Reading]:
    """Rows of unlike length with one, two and no images; the first's image comes again."""
    return [
        models.reading("a", A, negative=models.sample("n", B, answer="red square")),
        models.reading(
            "b",
            B,
            C,
            question="Which of these two is the longer one? Choose from: normal, pneumonia.",
            answer="pneumonia, on the left",
            negative=models.sample("n", A, C, answer="normal"),
        ),
        models.reading("c", A, answer="blue", negative=models.sample("n", B, answer="red")),
    ]


def test_parts_are_disjoint_and_complete(backbone: Backbone, fitted: Backbone) -> None:
    for found in (backbone, fitted):
        parts = found.parts()
        names = [name for part in parts.values() for name in part]
        assert sorted(names) == sorted(name for name, _ in found.named_parameters())
        assert len(names) == len(set(names)) and all(parts[p] for p in list(parts)[:3])
        ids = [id(p) for part in parts.values() for p in part.values()]
        assert len(ids) == len(set(ids))
    assert set(fitted.parts()) >= {"exemplar_connector", "proxy_instruction", "expert"}
    assert not any("merger" in name for name in fitted.parts()["vision_encoder"])


def inputs(backbone: Backbone, readings: list[Reading]) -> dict[str, Tensor]:
    """What the processor itself makes of the conversations, padded."""
    chats = []
    for r in readings:
        images = iter(p.load() for p in r.sample.images)
        chats.append(
            [
                {
                    "role": turn.role,
                    "content": [
                        {"type": "text", "text": part}
                        if isinstance(part, str)
                        else {"type": "image", "image": next(images)}
                        for part in turn.parts
                    ],
                }
                for turn in r.conversation
            ]
        )
    made = backbone.processor.apply_chat_template(
        chats, tokenize=True, return_dict=True, return_tensors="pt", padding=True
    )
    return dict(made)


def test_logits_equal_the_full_forward(backbone: Backbone) -> None:
    """Transformers reads the processor's own batch: ids, padding, positions, all logits.

    Of Llama 3.2 Vision row by row: beside a row of two images its row of one is padded with an image that
    the tokens before the first image attend to, and its logits are other ones. Ours know no company.
    """
    readings = mixed()
    batch = backbone.collate(readings, [PLAIN])
    apart = backbone.name == "mllama"
    with torch.no_grad():
        own = backbone.read(batch)[PLAIN]
        expected = [
            row
            for some in ([[one] for one in readings] if apart else [readings])
            for row in transformers_logits(backbone, some)
        ]
        if apart:
            together = transformers_logits(backbone, readings)
            moved = [float((a - b).abs().max()) for a, b in zip(together, expected, strict=True)]
            assert moved[1] < 1e-5 < 1e-2 < min(moved[0], moved[2])
    torch.testing.assert_close(own, torch.cat(expected), **CLOSE)
    assert own.std() > 0.1  # logits that differ


def transformers_logits(backbone: Backbone, readings: list[Reading]) -> list[Tensor]:
    """The logits that predict each row's response, by the family's own forward pass."""
    given = inputs(backbone, readings)
    full = backbone.model(**given).logits
    prompt = backbone.collate(readings, [PLAIN]).prompts[PLAIN]
    found = []
    for n in range(len(readings)):
        kept = given["attention_mask"][n].bool()
        assert torch.equal(given["input_ids"][n][kept], prompt.tokens[n][prompt.attention[n]])
        found.append(full[n][kept][prompt.predicts[n][prompt.attention[n]]])
    return found


def test_positions_equal_the_models_own() -> None:
    backbone = models.shared("qwen2_vl")
    readings = [*mixed(), models.reading("text")]
    prompt = backbone.collate(readings, [PLAIN]).prompts[PLAIN]
    given = inputs(backbone, readings)
    right = backbone.processor.tokenizer.padding_side == "right"
    assert right or (given["attention_mask"] == 1).any()
    theirs, _ = backbone.model.model.get_rope_index(
        given["input_ids"],
        mm_token_type_ids=given["mm_token_type_ids"],
        image_grid_thw=given["image_grid_thw"],
        attention_mask=given["attention_mask"],
    )
    for n in range(len(readings)):
        kept = given["attention_mask"][n].bool()
        assert torch.equal(prompt.positions[:, n, prompt.attention[n]], theirs[:, n, kept])


def test_padding_and_company_change_nothing(fitted: Backbone) -> None:
    readings, views = mixed(), [PLAIN, EXEMPLAR, NEGATIVE, PROXY, BLANK]
    batch = fitted.collate(readings, views)
    with torch.no_grad():
        together = fitted.read(batch)
        for n, reading in enumerate(readings):
            alone = fitted.read(fitted.collate([reading], views))
            for view in views:
                rows = together[view][batch.targets.sample == n]
                torch.testing.assert_close(rows, alone[view], **CLOSE)


def counted(backbone: Backbone, batch: Batch) -> dict[str, list[int]]:
    """Rows through vision encoder, connector and head during one read."""
    seen: dict[str, list[int]] = {"vision": [], "head": [], "expert": []}

    def note(name: str) -> Any:
        def hook(module: Any, args: Any, kwargs: Any) -> None:
            first = args[0] if args else next(iter(kwargs.values()))
            seen[name].append(len(first))

        return hook

    inner = backbone.model.model
    vision = next(
        getattr(inner, name)
        for name in ("visual", "vision_tower", "vision_model")
        if hasattr(inner, name)
    )
    watched = {"vision": vision, "head": backbone.model.get_output_embeddings()}
    if backbone.expert is not None:
        watched["expert"] = backbone.expert.trunk
    hooks = [
        module.register_forward_pre_hook(note(name), with_kwargs=True)
        for name, module in watched.items()
    ]
    with torch.no_grad():
        backbone.read(batch)
    for hook in hooks:
        hook.remove()
    return seen


def test_each_distinct_image_is_encoded_once_and_only_responses_get_logits(
    fitted: Backbone,
) -> None:
    """Plain, exemplar and negative; the negatives are other samples of the batch."""
    pictures = [models.picture(k) for k in range(4)]
    readings = [
        models.reading(str(k), p, negative=models.sample("n", pictures[k - 1], answer="x"))
        for k, p in enumerate(pictures)
    ]
    views = [PLAIN, EXEMPLAR, NEGATIVE, NEGATIVE_EXEMPLAR]
    batch = fitted.collate(readings, views)
    seen = counted(fitted, batch)
    one = fitted.collate(readings[:1], [PLAIN])
    per_image = 1 if fitted.name == "mllama" else len(one.pixels["pixel_values"])
    assert seen["vision"] == [4 * per_image]
    assert seen["expert"] == [4]
    assert seen["head"] == [len(batch.targets.tokens)] * len(views)


def test_no_image_means_no_vision_pass(fitted: Backbone) -> None:
    batch = fitted.collate([models.reading("a"), models.reading("b", question="Why?")], [PLAIN])
    assert not batch.pixels and counted(fitted, batch)["vision"] == []
    with pytest.raises(DataError, match=r"Sample 'a'.*shows no image"):
        fitted.collate([models.reading("a")], [EXEMPLAR])


def test_negative_view_is_the_plain_view_of_the_other_image(backbone: Backbone) -> None:
    own = models.reading("a", A, negative=models.sample("n", B))
    swapped = models.reading("a", B)
    with torch.no_grad():
        logits = backbone.read(backbone.collate([own], [PLAIN, NEGATIVE]))
        other = backbone.read(backbone.collate([swapped], [PLAIN]))[PLAIN]
    torch.testing.assert_close(logits[NEGATIVE], other, **CLOSE)
    assert (logits[NEGATIVE] - logits[PLAIN]).abs().max() > 1e-3


def test_blank_view_has_the_size_of_the_image_and_nothing_else_of_it(backbone: Backbone) -> None:
    first, second = models.picture(5, (90, 40)), models.picture(6, (90, 40))
    batches = [
        backbone.collate([models.reading("a", picture)], [PLAIN, BLANK])
        for picture in (first, second)
    ]
    with torch.no_grad():
        one, two = (backbone.read(batch) for batch in batches)
    assert torch.equal(one[BLANK], two[BLANK]) and not torch.equal(one[PLAIN], two[PLAIN])
    for batch in batches:
        shapes = [batch.prompts[view].tokens.tolist() for view in (PLAIN, BLANK)]
        assert shapes[0] == shapes[1]


# --- slots ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cls", "patches", "replace"])
def test_exemplar_slot_has_its_width_and_place(fitted: Backbone, kind: Any) -> None:
    expert = models.expert()
    fitted.attach(expert, exemplar=kind)
    assert (fitted.expert is expert) and fitted.exemplar == kind
    batch = fitted.collate(mixed(), [PLAIN, EXEMPLAR])
    plain, with_slot = batch.prompts[PLAIN], batch.prompts[EXEMPLAR]
    slot, image = fitted.composer.exemplar_id, fitted.composer.image_id
    width = 1 if kind == "cls" else expert.patches
    assert width == 1 or width > 1
    assert (with_slot.tokens == slot).sum(1).tolist() == [width, 2 * width, width]
    assert not (plain.tokens == slot).any()
    assert with_slot.exemplars == (0, 1, 2, 0)  # distinct images, in reading order
    for before, after, keep, kept in zip(
        plain.tokens, with_slot.tokens, plain.attention, with_slot.attention, strict=True
    ):
        gone = {slot, image} if kind == "replace" else {slot}
        rest = [t for t in after[kept].tolist() if t not in gone]
        assert rest == [t for t in before[keep].tolist() if t not in gone - {slot}]
        row = after[kept].tolist()
        first = row.index(slot)
        if kind != "replace":
            assert row[first - 1] == image  # right after its image, inside the span
    if kind == "replace":
        assert with_slot.images == () and not (with_slot.tokens == image).any()
    logits = fitted.read(batch)
    assert logits[EXEMPLAR].shape == logits[PLAIN].shape
    assert (logits[EXEMPLAR] - logits[PLAIN]).abs().max() > 1e-3


def test_exemplar_reads_the_experts_feature_of_its_own_image(fitted: Backbone) -> None:
    """And the gradient ends at the connector."""
    batch = fitted.collate(mixed(), [EXEMPLAR])
    features = fitted.exemplify(batch)
    assert features is not None and fitted.expert is not None and fitted.exemplar_connector
    pixels = fitted.expert.pixels([p.load() for p in (A, B, C)])
    expected = fitted.exemplar_connector(fitted.expert.features(pixels, "cls"))
    torch.testing.assert_close(features, expected, **CLOSE)
    fitted.train()
    assert not fitted.expert.training and fitted.exemplar_connector.training
    fitted.read(batch)[EXEMPLAR].square().mean().backward()
    assert all(p.grad is None for p in fitted.expert.parameters())
    assert all(p.grad is not None and p.grad.any() for p in fitted.exemplar_connector.parameters())


def test_proxy_replaces_the_instruction_and_keeps_the_image(fitted: Backbone) -> None:
    readings = [
        models.reading("a", A, question="What?"),
        models.reading("a", A, question="Why so?"),
    ]
    batch = fitted.collate(readings, [PLAIN, PROXY])
    prompt = batch.prompts[PROXY]
    assert torch.equal(prompt.tokens[0], prompt.tokens[1])
    assert (prompt.tokens == fitted.composer.proxy_id).sum(1).tolist() == [3, 3]
    text = fitted.composer.tokenizer.decode(prompt.tokens[0])
    assert "What" not in text and "red circle" in text
    logits = fitted.read(batch)[PROXY]
    logits.square().mean().backward()
    assert fitted.proxy_instruction is not None
    gradient = fitted.proxy_instruction.vectors.grad
    assert gradient is not None and bool((gradient.abs().sum(1) > 0).all())
    with pytest.raises(ResidencyError, match=r"no user turn has a text|must alternate"):
        fitted.collate(
            [
                Reading(
                    sample=models.sample("a", A),
                    conversation=models.conversation("x", "red")[:1]
                    + models.conversation("x", "red")[2:],
                )
            ],
            [PROXY],
        )


def test_slot_ids_are_no_words(backbone: Backbone) -> None:
    ids = (backbone.composer.exemplar_id, backbone.composer.proxy_id)
    rows = backbone.model.get_input_embeddings().weight.shape[0]
    assert len(set(ids)) == 2 and max(ids) < rows and backbone.composer.image_id not in ids
    words = set(backbone.composer.tokenizer.get_vocab().values())
    special = set(backbone.composer.tokenizer.get_added_vocab().values())
    assert all(i not in words or i in special for i in ids)


@pytest.mark.parametrize("view", [EXEMPLAR, PROXY, View(exemplar=True, instruction="proxy")])
def test_views_without_their_slot_are_refused(backbone: Backbone, view: View) -> None:
    with pytest.raises(UsageError, match="this model has none"):
        backbone.collate(mixed(), [PLAIN, view])


def test_an_expert_that_does_not_fit_is_refused(fitted: Backbone) -> None:
    from residency.model.expert import Expert

    other = Expert.create("timm:resnet10t", [models.noise_dataset()], image_size=32, seed=0)
    assert fitted.expert is not None and other.width != fitted.expert.width
    before = fitted.exemplar_connector
    with pytest.raises(UsageError, match="Plug an expert of the same architecture"):
        fitted.attach(other)
    fitted.attach(models.expert(), seed=9)
    assert fitted.exemplar_connector is before


def test_replacing_the_image_is_refused_where_a_family_cannot() -> None:
    made = models.backbone("qwen2_vl")

    class Without:
        replaces_image = False

        def __getattr__(self, name: str) -> Any:
            return getattr(models.shared("qwen2_vl").family, name)

    made.family = Without()  # type: ignore[assignment]
    with pytest.raises(UsageError, match="use exemplar=cls"):
        made.attach(models.expert(), exemplar="replace")


def test_annotations_are_checked(backbone: Backbone) -> None:
    with pytest.raises(Exception, match=r"Type-check|violates|type hint"):
        backbone.head(torch.zeros(2, 3, 4, dtype=torch.long))


def test_only_frozen_facts_stay_out_of_the_graph(fitted: Backbone) -> None:
    """A frozen vision encoder builds no graph; a trainable one gets gradient from every view."""
    readings = mixed()
    fitted.requires_grad_(False)
    batch = fitted.collate(readings, [PLAIN, NEGATIVE])
    assert not any(f.requires_grad for f in fitted.see(batch))
    for parameter in fitted.parts()["vision_encoder"].values():
        parameter.requires_grad_(True)
    for view in (PLAIN, NEGATIVE):
        fitted.zero_grad()
        fitted.read(batch)[view].square().mean().backward()
        grads = [p.grad for p in fitted.parts()["vision_encoder"].values()]
        assert any(g is not None and bool(g.any()) for g in grads)

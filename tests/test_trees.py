"""Trees: what rows share is read once, and logits and gradients stay those of separate rows."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

import models
from residency.model.huggingface import Backbone
from residency.model.slots import ProxyInstruction
from residency.objective import Objective
from residency.objectives.likelihood import Likelihood
from residency.objectives.vitask import VITask
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

A, B, C = models.picture(0), models.picture(1, (90, 40)), models.picture(2, (30, 60))
ALL = (PLAIN, EXEMPLAR, NEGATIVE, NEGATIVE_EXEMPLAR, PROXY, BLANK)


@pytest.fixture(params=[one for one in models.ALL if "mllama" not in str(one)])
def fitted(request: pytest.FixtureRequest) -> Backbone:
    """A fresh backbone in float64 with an expert and a proxy instruction, every tensor trained."""
    return exact(request.param)


def exact(family: str) -> Backbone:
    """See `fitted`."""
    made = models.backbone(family)
    made.attach(models.expert())
    torch.manual_seed(3)
    made.proxy_instruction = ProxyInstruction(3, made.width, std=1.0)
    made.double().eval()
    for module in made.modules():
        if type(module).__name__.endswith("RMSNorm"):  # transformers computes it in float32
            module.forward = partial(exact_norm, module)
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(not name.startswith("expert."))
    return made


def exact_norm(module: torch.nn.Module, hidden: Tensor) -> Tensor:
    """RMSNorm in the precision of its input; Gemma's weights count from one."""
    gemma = type(module).__name__.startswith("Gemma")
    scale = torch.rsqrt(
        hidden.pow(2).mean(-1, keepdim=True) + (module.eps if gemma else module.variance_epsilon)
    )
    return (module.weight + gemma) * (hidden * scale)


def company() -> list[Reading]:
    """Negatives inside the batch and outside, two images, several questions, the same row twice."""
    said = {"a": A, "b": B, "c": C}
    plain = [
        models.reading("a", A, answer="red circle", negative=models.sample("b", B, answer="blue")),
        models.reading("b", B, answer="blue", negative=models.sample("a", A, answer="red circle")),
        models.reading("c", C, answer="blue one", negative=models.sample("x", A, answer="red")),
    ]
    asked = [
        models.reading(
            f"{name}{k}",
            said[name],
            question=f"Question number {k}?",
            answer=f"answer {name} {k}",
            negative=models.sample("n", models.picture(7), answer="no"),
        )
        for name in ("a", "b")
        for k in range(3)
    ]
    both = models.reading(
        "both", A, B, question="Which?", answer="red", negative=models.sample("n", B, A, answer="x")
    )
    return [*plain, *asked, both, replace(plain[0])]


def in_float64(batch: Batch) -> Batch:
    pixels = {k: v.double() if v.is_floating_point() else v for k, v in batch.pixels.items()}
    expert = None if batch.expert_pixels is None else batch.expert_pixels.double()
    return replace(batch, pixels=pixels, expert_pixels=expert)


def gradients(backbone: Backbone, batch: Batch, objective: Objective) -> dict[str, Tensor]:
    backbone.zero_grad(set_to_none=True)
    terms = objective(backbone.read(batch), batch.targets)
    torch.stack([term.double().mean() for term in terms.values()]).sum().backward()
    return {n: p.grad.clone() for n, p in backbone.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "objective",
    [
        pytest.param(Likelihood(), id="plain", marks=pytest.mark.slow),
        pytest.param(VITask(align=1.0, contrast=0.0), id="stage 1", marks=pytest.mark.slow),
        pytest.param(VITask(align=1.0, contrast=1.0), id="stage 2"),
        pytest.param(
            VITask(align=1.0, contrast=0.0, detach_teacher=False), id="RDA*", marks=pytest.mark.slow
        ),
    ],
)
def test_gradients_equal_those_of_separate_rows(fitted: Backbone, objective: Objective) -> None:
    """Every trained tensor, the vision encoder included."""
    readings = company()
    rows = in_float64(fitted.collate(readings, objective.views))
    trees = in_float64(fitted.collate(readings, objective.views, "trees"))
    wanted, found = (gradients(fitted, batch, objective) for batch in (rows, trees))
    assert wanted.keys() == found.keys() and len(wanted) > 20
    for name, gradient in wanted.items():
        scale = gradient.abs().max().clamp_min(1e-6)
        assert float((gradient - found[name]).abs().max() / scale) < 1e-9, name


def test_logits_equal_those_of_separate_rows_under_every_view(fitted: Backbone) -> None:
    readings = company()
    rows, trees = (in_float64(fitted.collate(readings, ALL, form)) for form in ("rows", "trees"))
    with torch.no_grad():
        wanted, found = fitted.read(rows), fitted.read(trees)
    assert list(found) == list(ALL)
    for view in ALL:
        torch.testing.assert_close(found[view], wanted[view], rtol=0, atol=1e-9)
    for field in ("tokens", "sample", "diverges"):
        assert torch.equal(getattr(rows.targets, field), getattr(trees.targets, field))


def read_tokens(backbone: Backbone, readings: list[Reading], views: tuple[View, ...]) -> int:
    """Tokens that pass the language model, padding left out."""
    tree = backbone.collate(readings, views, "trees").tree
    assert tree is not None
    return int((tree.mask.sum(-1) > 1).sum()) + int((tree.mask.sum(-1) == 1)[..., 0].sum())


def test_a_negative_inside_the_batch_costs_its_response_only(fitted: Backbone) -> None:
    one = [models.reading("a", A, answer="red circle"), models.reading("b", B, answer="blue")]
    crossed = [
        replace(reading, negative=other.sample, negative_response=("other",))
        for reading, other in zip(one, reversed(one), strict=True)
    ]
    plain = read_tokens(fitted, one, (PLAIN,))
    both = read_tokens(fitted, crossed, (PLAIN, NEGATIVE))
    learned = len(fitted.collate(one, [PLAIN]).targets.tokens)
    assert both - plain == learned - len(one)  # the last token of a response predicts nothing


def test_questions_about_one_image_do_not_see_each_other(fitted: Backbone) -> None:
    """Another question's text changes nothing, and the image is written once."""
    first = models.reading("a", A, question="What is it?", answer="red circle")
    others = [
        models.reading("b", A, question=q, answer=q[::-1]) for q in ("Why so?", "How many boxes?")
    ]
    batches = [in_float64(fitted.collate([first, other], [PLAIN], "trees")) for other in others]
    with torch.no_grad():
        said = [fitted.read(batch)[PLAIN][batch.targets.sample == 0] for batch in batches]
    torch.testing.assert_close(said[0], said[1], rtol=0, atol=1e-9)
    tree = batches[0].tree
    assert tree is not None and tree.images == (0,) and len(tree.tokens) == 1
    assert int((tree.tokens == fitted.composer.image_id).sum()) == len(fitted.see(batches[0])[0])


def test_labels_that_begin_alike_share_what_they_begin_with(fitted: Backbone) -> None:
    """K labels cost one prompt and the tokens of their trie."""
    options = ("red circle", "red square", "red", "blue")
    said = [models.reading(f"{k}", A, answer=option) for k, option in enumerate(options)]
    ids = [fitted.composer.response_ids((option,)) for option in options]
    trie = {tuple(row[:end]) for row in ids for end in range(1, len(row) + 1)}
    assert len(trie) < sum(map(len, ids))
    prompt = read_tokens(fitted, said[:1], (PLAIN,)) - len(ids[0])
    assert read_tokens(fitted, said, (PLAIN,)) == prompt + len(trie)


def test_short_trees_share_a_row_and_do_not_see_each_other(fitted: Backbone) -> None:
    """A long conversation beside three short ones: two rows instead of four, the same logits."""
    long = models.reading("long", A, question="What is it, " * 40)
    short = [models.reading(f"{k}", models.picture(k + 3), answer="red") for k in range(3)]
    readings = [short[0], long, *short[1:]]
    rows, trees = (
        in_float64(fitted.collate(readings, [PLAIN], form)) for form in ("rows", "trees")
    )
    alone = fitted.collate([long], [PLAIN], "trees").tree
    tree = trees.tree
    assert tree is not None and alone is not None
    assert len(tree.tokens) == 2 and tree.tokens.shape[1] == alone.tokens.shape[1]
    assert tree.images == (1, 0, 2, 3) and not tree.straight  # left to right, row by row
    with torch.no_grad():
        wanted, found = fitted.read(rows)[PLAIN], fitted.read(trees)[PLAIN]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)


def test_rows_without_branches_need_no_mask(fitted: Backbone) -> None:
    """Plain causal attention says the same, and packing stays where it saves enough rows."""
    lengths = (40, 39, 38, 1)
    readings = [
        models.reading(f"{k}", models.picture(k), question="What is it, " * n, answer="red")
        for k, n in enumerate(lengths)
    ]
    batch = in_float64(fitted.collate(readings, [PLAIN], "trees"))
    tree = batch.tree
    assert tree is not None and tree.straight and tree.images == (0, 1, 2, 3)
    masked = replace(batch, tree=replace(tree, straight=False))
    found, wanted = (gradients(fitted, one, Likelihood()) for one in (batch, masked))
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        scale = gradient.abs().max().clamp_min(1e-6)
        assert float((gradient - found[name]).abs().max() / scale) < 1e-9, name
    if fitted.name != "gemma3":  # its images see both ways: it always has a mask
        given = fitted.family.inputs(fitted.model, tree, fitted.see(batch))["attention_mask"]
        assert given.shape == tree.tokens.shape and given.all()
    again = models.reading("again", models.picture(0), question="Which?", answer="blue")
    branched = fitted.collate([*readings, again], [PLAIN], "trees").tree
    assert branched is not None and not branched.straight


def test_what_a_token_may_look_at_is_its_path(fitted: Backbone) -> None:
    """Against paths written out token by token, for branches that grow from branches."""
    said = ["red circle", "red square", "red", "blue", "red circle or square"]
    company = [models.reading(f"{k}", A, answer=answer) for k, answer in enumerate(said)]
    batch = fitted.collate(company, [PLAIN], "trees")
    rows = fitted.collate(company, [PLAIN]).prompts[PLAIN]
    tree = batch.tree
    assert tree is not None and len(tree.tokens) == 1
    places = tree.places(PLAIN).split(rows.predicts.sum(1).tolist())
    for row, (at, mine) in enumerate(zip(places, rows.predicts, strict=True)):
        last = int(mine.nonzero()[-1])
        seen = tree.mask[0, 0, at[-1]].nonzero()[:, 0]
        order = tree.enter[0, seen].argsort()
        assert torch.equal(tree.tokens[0, seen[order]], rows.tokens[row, : last + 1])
        assert torch.equal(seen[order][mine[: last + 1].nonzero()[:, 0]], at)


def test_an_empty_batch_of_trees_reads_nothing(fitted: Backbone) -> None:
    fitted.limits = replace(fitted.limits, max_tokens=3, too_long="drop")
    batch = fitted.collate(company(), [PLAIN, NEGATIVE], "trees")
    assert len(batch.targets.tokens) == 0 and len(batch.dropped) == 11
    assert batch.tree is not None and batch.tree.tokens.numel() == 0


def test_layers_that_do_not_look_everywhere_are_read_as_rows(fitted: Backbone) -> None:
    assert fitted.separate == ""
    kinds = ["full_attention", "sliding_attention"]
    fitted.model.config.get_text_config().layer_types = kinds
    own = fitted.name == "gemma3"  # its mask knows windows
    assert ("sliding_attention" in fitted.separate) != own

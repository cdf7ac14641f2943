"""A language model is taught to copy: two blocks are shown where to look."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import models
from residency import adaptation
from residency.catalog import find
from residency.errors import UsageError
from residency.model import store
from residency.model.copying_heads import ECHO, Gaze, echo, ordinary, spread
from residency.recipe import Recipe, execute, plan
from residency.train.copying import Copying, Rows, repeated, terms_of


def taught(base: str, out: Path, **settings: Any) -> Recipe:
    step = Copying(
        name="copying", before=1, behind=(2,), **{"tokens": 128, "longest": 8, **settings}
    )
    return Recipe(name="t", base=base, out=str(out), seed=0, limit=None, settings={}, steps=(step,))


def rows(backbone: Any, count: int = 4, length: int = 6) -> Rows:
    return repeated(ordinary(backbone), count, length, torch.Generator().manual_seed(0))


def test_a_gaze_is_what_the_block_looks_with() -> None:
    backbone = models.backbone("qwen2_vl").eval()
    language_model: Any = backbone.family.language_model(backbone.model)
    language_model.config._attn_implementation = "eager"
    weights = []
    attention = language_model.layers[1].self_attn
    attention.register_forward_hook(lambda module, given, made: weights.append(made[1]))
    gaze = Gaze(backbone, 2)
    with torch.no_grad():
        terms_of(backbone, rows(backbone))
        seen = gaze.log_weights().exp()
    groups = attention.num_key_value_groups
    torch.testing.assert_close(seen, weights[0][:, ::groups])


def test_a_span_stands_twice_at_places_that_differ() -> None:
    made = rows(models.backbone("qwen2_vl"), count=40, length=5)
    for tokens, first, second in zip(made.tokens, made.first, made.second, strict=True):
        assert first + 5 <= second <= len(tokens) - 5
        assert torch.equal(tokens[first : first + 5], tokens[second : second + 5])
    assert len(set((made.second - made.first).tolist())) > 2


def test_embeddings_that_drifted_lose_what_they_share_and_others_stay() -> None:
    backbone = models.backbone("qwen2_vl")
    words, every = backbone.embedding_matrix, ordinary(backbone)
    with torch.no_grad():
        words[every[20:]] += 5.0
    kept = words[every[:20]].clone()
    assert spread(backbone, every) == len(every) - 20
    torch.testing.assert_close(words[every[:20]], kept)
    near = F.normalize(words[every[20:60]], dim=1)
    assert (near @ near.T - torch.eye(40)).abs().mean() < 0.4


def test_a_recall_looks_at_the_token_before_whatever_it_is() -> None:
    backbone = models.backbone("qwen2_vl").eval()
    gaze = Gaze(backbone, 1)
    gaze.recall()
    with torch.no_grad():
        terms_of(backbone, rows(backbone, length=12))
        seen = gaze.log_weights().exp()
    assert seen.diagonal(-1, -2, -1).min() > 0.9


def test_an_echo_is_the_token_that_is_looked_at() -> None:
    backbone = models.backbone("qwen2_vl")
    gaze = Gaze(backbone, 2)
    width = backbone.width
    echo([gaze], width, torch.Generator().manual_seed(0))
    block: Any = backbone.family.language_model(backbone.model).layers[1]
    attention = block.self_attn
    seen = torch.randn(3, width)
    values = attention.v_proj(seen * block.input_layernorm.weight).unflatten(
        1, (-1, attention.head_dim)
    )
    heads = torch.zeros(3, attention.num_heads, attention.head_dim)
    heads[:, :: attention.num_key_value_groups] = values
    said = attention.o_proj(heads.flatten(1))
    torch.testing.assert_close(  # a projection: what it keeps, it keeps as it is
        (said * seen).sum(1), said.square().sum(1) / ECHO, rtol=1e-4, atol=1e-4
    )
    with pytest.raises(UsageError, match="name fewer blocks"):
        echo([gaze] * (width // gaze.read + 1), width, torch.Generator())


class Drawn(Gaze):
    """Equal weights that remember their gradient."""

    def __init__(self, tokens: int) -> None:
        self.weights = torch.zeros(1, 1, tokens, tokens, requires_grad=True)

    def log_weights(self) -> torch.Tensor:
        return self.weights

    def asked(self) -> set[tuple[int, ...]]:
        grad = self.weights.grad
        return set() if grad is None else {tuple(place) for place in grad[0, 0].nonzero().tolist()}


def test_where_to_look_is_the_token_before_and_the_one_that_is_said_next() -> None:
    backbone = models.backbone("qwen2_vl").eval()
    made = rows(backbone, count=1, length=4)
    total, first, second = made.tokens.shape[1], int(made.first), int(made.second)
    before, behind = Drawn(total), Drawn(total)
    terms = terms_of(backbone, made, (before, behind))
    (terms["before"] + terms["next"]).backward()
    assert before.asked() == {(place, place - 1) for place in range(1, total)}
    assert behind.asked() == {(second + n, first + n + 1) for n in range(3)}


def test_only_text_tokens_are_drawn() -> None:
    backbone = models.backbone("qwen2_vl")
    tokenizer: Any = backbone.processor.tokenizer  # type: ignore[attr-defined]
    drawn = ordinary(backbone)
    assert len(drawn) > 100
    assert not set(drawn.tolist()) & set(tokenizer.all_special_ids)


def test_the_step_trains_the_language_model_alone_and_where_it_looks(tmp_path: Path) -> None:
    base = str(models.folder("qwen2_vl"))
    execute(taught(base, tmp_path, updates=30, lr=1e-2))
    before, after = models.backbone("qwen2_vl"), store.load(str(tmp_path / "copying" / "model"))
    for part, weights in after.parts().items():
        same = [torch.equal(w, before.parts()[part][name]) for name, w in weights.items()]
        assert all(same) if part != "language_model" else not all(same), part
    looked = []
    for backbone in (before, after):
        with torch.no_grad():
            terms = terms_of(backbone, rows(after), (Gaze(backbone, 1), Gaze(backbone, 2)))
        looked.append(float(terms["before"]))
    assert looked[1] < looked[0] - 0.3


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"before": 2, "behind": (2,)}, "lower block"), ({"before": 1, "behind": (9,)}, "1 to 2")],
)
def test_blocks_that_do_not_exist_or_follow_are_refused(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    step = Copying(name="copying", updates=1, **settings)
    base = str(models.folder("qwen2_vl"))
    with pytest.raises(UsageError, match=said):
        plan(replace(taught(base, tmp_path, updates=1), steps=(step,)))


def test_other_language_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="copying=0"):
        plan(taught(str(models.folder("gemma3")), tmp_path, updates=1))


def test_nano_is_taught_and_others_are_not(tmp_path: Path) -> None:
    assert adaptation.Plan(base="nano").writer == "copying"
    assert adaptation.Plan(base="nano", copying=0).copier() == ()
    assert adaptation.Plan(base=str(models.folder("qwen2_vl"))).writer == "base"
    for name in ("adamllm", "synthesizer"):
        made = find("recipes", name).recipe(base="nano", out=str(tmp_path))
        steps = {step.name: step for step in made.steps}
        assert list(steps).index("copying") < min(
            list(steps).index(name) for name in steps if name.startswith("synthesizer")
        )
        learners = {"synthesizer", "synthesizer_both_blank", "judge"} & set(steps)
        assert {steps[name].after for name in learners} == {"copying"}
        assert steps.get("ours") is None or steps["ours"].after == "base"

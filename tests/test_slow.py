"""Slow weights and proxy instructions: InstFree's equations 2 and 3 and Algorithm 1."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ranks
from residency.errors import UsageError
from residency.model import store
from residency.objectives.likelihood import Likelihood
from residency.train import checkpoint
from residency.train.slow import SlowWeights
from residency.train.stage import Stage
from residency.train.trainer import Run
from residency.train.values import Full, Train
from residency.types import PLAIN, PROXY

ALPHA, ETA, STEPS = 0.9, 0.05, 12
START = torch.tensor([1.0, -2.0, 0.5])


def gradient(weights: Tensor) -> Tensor:
    """Of a loss that is no quadratic, so that a gradient taken at another point shows."""
    return weights**3 + torch.tensor([0.3, -0.2, 0.1]) * weights + 0.05


def simulated(form: str, alpha: float) -> tuple[Tensor, Tensor]:
    """Algorithm 1 line by line: t, t-bar after the last step, the pending average included."""
    fast, slow = START.clone(), START.clone()
    for _ in range(STEPS):
        slow = alpha * slow + (1 - alpha) * fast
        from_ = slow if form == "printed" else fast
        fast = from_ - ETA * gradient(slow)
    return fast, alpha * slow + (1 - alpha) * fast


def trained(form: Any, alpha: float, optimizer: Any = torch.optim.SGD, lr: float = ETA) -> Any:
    weights = nn.Parameter(START.clone())
    slow = SlowWeights({"t": weights}, alpha, form)
    step = optimizer([weights], lr=lr)
    for _ in range(STEPS):
        weights.grad = gradient(weights.detach())
        slow.before()
        step.step()
        slow.after()
    return slow.state()["fast"]["t"], slow.state()["slow"]["t"], weights.detach()


@pytest.mark.parametrize("form", ["printed", "moco"])
def test_algorithm_1(form):
    fast, slow = simulated(form, ALPHA)
    got = trained(form, ALPHA)
    torch.testing.assert_close(got[0], fast)
    torch.testing.assert_close(got[1], slow)
    assert torch.equal(got[1], got[2]), "the parameters hold t-bar between updates"


def test_the_two_readings_differ():
    assert not torch.allclose(trained("printed", ALPHA)[1], trained("moco", ALPHA)[1], atol=1e-2)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_the_printed_form_is_plain_training_with_shorter_steps(optimizer):
    """The moments of AdamW belong to t, so this holds for it as well, weight decay included."""
    plain = nn.Parameter(START.clone())
    step = optimizer([plain], lr=(1 - ALPHA) * ETA)
    for _ in range(STEPS):
        plain.grad = gradient(plain.detach())
        step.step()
    torch.testing.assert_close(trained("printed", ALPHA, optimizer)[1], plain.detach())


@pytest.mark.parametrize("form", ["printed", "moco"])
def test_alpha_0_is_update_and_alpha_1_is_fix(form):
    plain = nn.Parameter(START.clone())
    step = torch.optim.AdamW([plain], lr=ETA)
    for _ in range(STEPS):
        plain.grad = gradient(plain.detach())
        step.step()
    torch.testing.assert_close(trained(form, 0.0, torch.optim.AdamW)[2], plain.detach())
    assert torch.equal(trained(form, 1.0, torch.optim.AdamW)[2], START)


def test_a_step_too_small_for_bfloat16_moves_the_average():
    weights = nn.Parameter(torch.ones(4))
    slow = SlowWeights({"t": weights}, 0.999, "printed")
    weights.data += 1e-3
    slow.after()
    assert bool((weights > 1).all()) and bool((weights.bfloat16() == 1).all())


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_a_wrong_momentum_is_refused(alpha):
    with pytest.raises(UsageError, match="from 0 to 1, or none"):
        Full(lr=1e-3, momentum=alpha)


# --- in the loop ----------------------------------------------------------------------------------


def tuning(folder: Path, how: Train, **changes: Any) -> Run:
    """The main stage on the tiny model: vision and connector in full, the proxy as `how` says."""
    backbone = ranks.fresh()
    backbone.instruct(3, seed=1)
    train: dict[str, Train] = {
        "vision_encoder": Full(lr=1e-3),
        "connector": Full(lr=1e-3),
        "proxy_instruction": how,
    }
    schedule = {"updates": 4, "batch_size": 4, "microbatch_size": 2}
    settings: dict[str, Any] = {"train": train, "objective": Likelihood(view=PROXY)}
    return ranks.run(folder, backbone=backbone, schedule=schedule, **{**settings, **changes})


def weights(one: Run) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in one.backbone.named_parameters()}


@pytest.mark.parametrize("form", ["printed", "moco"])
def test_a_run_resumes_bit_for_bit_with_both_trajectories(tmp_path, monkeypatch, form):
    how = Full(lr=1e-2, momentum=0.5, momentum_form=form)
    whole = tuning(tmp_path / "whole", how)
    whole()
    killed = tuning(tmp_path / "killed", how, save_every=2)
    with monkeypatch.context() as patched:
        step = Run._step

        def die(one: Run, work: Any) -> Any:
            if one._update == 3:
                raise KeyboardInterrupt
            return step(one, work)

        patched.setattr(Run, "_step", die)
        with pytest.raises(KeyboardInterrupt):
            killed()
    folder, _ = checkpoint.newest(tmp_path / "killed" / "checkpoints")
    saved = checkpoint.load_tree(folder / "state")["slow"]["proxy_instruction"]
    assert saved.keys() == {"fast", "slow"}
    assert not torch.equal(*(one["proxy_instruction.vectors"] for one in saved.values()))
    again = tuning(tmp_path / "killed", how)
    again()
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(again)[name]), name


def test_the_language_model_gets_no_gradient_and_only_named_parts_move(tmp_path):
    one = tuning(tmp_path, Full(lr=1e-2, momentum=0.9))
    before = weights(one)
    seen: set[str] = set()
    descend = one._descend

    def noted(*args: Any) -> float:
        seen.update(n for n, p in one.backbone.named_parameters() if p.grad is not None)
        return descend(*args)

    one._descend = noted  # type: ignore[method-assign]
    one()
    frozen = one.backbone.parts()["language_model"].keys()
    assert not seen & frozen, "no memory for gradients of the language model"
    after = weights(one)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "proxy_instruction.vectors" in moved and moved <= seen


def test_fix_keeps_the_proxy_and_warm_up_moves_nothing_else(tmp_path):
    warm = tuning(tmp_path / "warm", Full(lr=1e-2))
    warm.train = {"proxy_instruction": Full(lr=1e-2)}
    before = weights(warm)
    warm()
    moved = {n for n, value in weights(warm).items() if not torch.equal(value, before[n])}
    assert moved == {"proxy_instruction.vectors"}
    fixed = tuning(tmp_path / "fix", Full(lr=1e-2, momentum=1.0))
    fixed()
    assert torch.equal(
        weights(fixed)["proxy_instruction.vectors"], before["proxy_instruction.vectors"]
    )


def test_eq2_the_proxy_stands_where_the_instruction_stood_and_is_gone_at_inference(tmp_path):
    one = tuning(tmp_path, Full(lr=1e-2))
    backbone, readings = one.backbone, one.mixture.readings(0)
    prompt = backbone.collate(readings, [PLAIN, PROXY]).prompts
    proxy = backbone.composer.proxy_id
    assert int((prompt[PROXY].tokens == proxy).sum()) == 3
    assert not bool((prompt[PLAIN].tokens == proxy).any())
    batch = backbone.collate(readings, [PLAIN])
    with torch.no_grad():
        with_proxy = backbone.read(batch)[PLAIN]
        backbone.proxy_instruction = None
        assert torch.equal(with_proxy, backbone.read(batch)[PLAIN])


def test_a_saved_proxy_comes_back(tmp_path):
    one = tuning(tmp_path / "run", Full(lr=1e-2, momentum=0.9))
    one()
    (tmp_path / "model").mkdir()
    store.save(one.backbone, tmp_path / "model", changed=one.changed)
    again = ranks.fresh()
    again.instruct(3, seed=9)
    store.restore(again, tmp_path / "model")
    assert torch.equal(again.proxy_instruction.vectors, one.backbone.proxy_instruction.vectors)


def test_a_stage_that_lacks_a_proxy_says_so(tmp_path):
    workspace = ranks.recipe(tmp_path).workspace()
    settings: dict[str, Any] = {"name": "x", "after": "base", "data": ("phantoms",)}
    stage = Stage(**settings, objective=Likelihood(view=PROXY), train={"connector": Full(lr=1e-3)})
    with pytest.raises(UsageError, match="Say how many vectors it has: proxy=8"):
        stage.check(workspace)
    with pytest.raises(UsageError, match="give 1 to 512"):
        Stage(
            **settings, objective=Likelihood(), train={"connector": Full(lr=1e-3)}, proxy=0
        ).check(workspace)

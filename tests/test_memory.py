"""What training keeps in memory: nothing for frozen weights, and activations only where they fit."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

import ranks
from residency.errors import ResidencyError
from residency.objectives.likelihood import Likelihood
from residency.train import memory
from residency.train.trainable import apply
from residency.train.values import Full, Train
from residency.types import EXEMPLAR

CONNECTOR: dict[str, Train] = {"exemplar_connector": Full(lr=1e-3)}
ALL: dict[str, Train] = {
    part: Full(lr=1e-3) for part in ("vision_encoder", "connector", "language_model")
}


def kept(train: dict[str, Train]) -> tuple[dict[str, bool], int, Any]:
    """Whether the input of each linear layer is kept for the backward pass; tensors kept by the vision
    encoder; and the backbone after a backward pass."""
    backbone = ranks.with_expert()
    apply(backbone, train)
    readings = [ranks.mixture(backbone).reading(i) for i in range(2)]
    batch = backbone.collate(readings, [EXEMPLAR], "trees")
    inputs: dict[str, torch.Tensor] = {}  # held, so that no other tensor takes their memory
    for name, module in backbone.model.named_modules():
        if isinstance(module, nn.Linear) and name.endswith(("down_proj", "fc2")):
            module.register_forward_pre_hook(lambda m, x, n=name: inputs.update({n: x[0]}))
    saved: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        images = backbone.see(batch)
        by_eye = len(saved)
        backbone.see = lambda _: images
        logits = backbone.read(batch)
        loss = Likelihood(view=EXEMPLAR)(logits, batch.targets)["nll"].sum()
    loss.backward()
    places = {tensor.untyped_storage().data_ptr() for tensor in saved}
    return (
        {n: x.untyped_storage().data_ptr() in places for n, x in inputs.items()},
        by_eye,
        backbone,
    )


def test_frozen_parts_keep_no_gradients_and_nothing_for_gradients_of_weights() -> None:
    """The whole model is frozen around a connector that learns through it."""
    frozen, by_eye, backbone = kept(CONNECTOR)
    assert len(frozen) == 3 and not any(frozen.values()) and by_eye == 0
    for name, parameter in backbone.named_parameters():
        assert (parameter.grad is not None) == name.startswith("exemplar_connector."), name
    trained, by_eye, backbone = kept(ALL)  # that the test can see what is kept
    assert trained.keys() == frozen.keys() and all(trained.values()) and by_eye > 10
    assert all(p.grad is not None for p in backbone.parts()["language_model"].values())


class OutOfRoom(torch.OutOfMemoryError):
    """As CUDA raises it."""


def test_an_update_that_does_not_fit_is_run_again_with_checkpoints(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same gradients as a run that fits, dropout included; once told, kept when resumed."""
    train: dict[str, Train] = {"language_model": ranks.LoRA(lr=1e-3, rank=2, dropout=0.3)}
    wanted = ranks.gradients(ranks.run(tmp_path / "fits", train=train))[1]
    assert "computed again" not in capsys.readouterr().out
    one = ranks.run(tmp_path / "full", train=train)
    terms_of, calls = one._terms_of, []

    def tight(batch: Any, scale: float) -> Any:
        calls.append(one.backbone.model.is_activation_checkpointing)
        if len(calls) == 2:
            terms_of(batch, scale)["nll"].backward()
            raise OutOfRoom("12 GiB wanted")
        return terms_of(batch, scale)

    monkeypatch.setattr(one, "_terms_of", tight)
    found = ranks.gradients(one)[1]
    assert calls == [False, False, True, True]
    assert capsys.readouterr().out.count("computed again in the backward pass: an update") == 1
    for before, after in zip(wanted, found, strict=True):
        assert before.keys() == after.keys()
        for name in before:
            torch.testing.assert_close(after[name], before[name], rtol=1e-4, atol=1e-6)
    assert one._state()["so_far"]["thrift"] == "an update did not fit the device"  # type: ignore[index]
    assert not one.backbone.model.is_activation_checkpointing


def test_what_fits_under_no_circumstances_says_what_to_do(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ranks.run(tmp_path)

    def never(batch: Any, scale: float) -> Any:
        raise OutOfRoom("12 GiB wanted")

    monkeypatch.setattr(one, "_terms_of", never)
    with pytest.raises(ResidencyError, match="12 GiB wanted Choose a smaller microbatch_size"):
        one()


@pytest.mark.parametrize(("held", "on"), [(1, True), (2**50, False), (None, False)])
def test_checkpoints_are_set_where_the_estimate_exceeds_the_device(
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    held: int | None,
    on: bool,
) -> None:
    monkeypatch.setattr(memory, "capacity", lambda: held)
    ranks.run(tmp_path, schedule={"updates": 1})()
    assert ("computed again in the backward pass: about" in capsys.readouterr().out) == on

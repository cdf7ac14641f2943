"""Loss terms in pieces: the same terms and gradients, and never all logits at once."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from residency.model import pieces
from residency.model.pieces import terms
from residency.objective import Objective
from residency.objectives.likelihood import Likelihood
from residency.objectives.vitask import VITask
from residency.types import Targets

LENGTHS, WIDTH, VOCABULARY = (3, 1, 7, 2, 2, 5), 6, 11
TOTAL = sum(LENGTHS)


def targets() -> Targets:
    sample = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))
    torch.manual_seed(1)
    return Targets(
        tokens=torch.randint(VOCABULARY, (TOTAL,)),
        sample=sample,
        lengths=torch.tensor(LENGTHS)[sample],
        weights=torch.ones(TOTAL),
        diverges=torch.rand(TOTAL) > 0.3,
    )


def read(objective: Objective) -> tuple[dict[str, Tensor], list[Tensor], list[int]]:
    """Terms, gradients of the head and of the states, and the tokens of each call of the head."""
    torch.manual_seed(0)
    linear = nn.Linear(WIDTH, VOCABULARY, bias=False).double()
    states = {
        view: torch.randn(TOTAL, WIDTH, dtype=torch.float64, requires_grad=True)
        for view in objective.views
    }
    calls: list[int] = []

    def head(hidden: Tensor) -> Tensor:
        calls.append(len(hidden))
        made: Tensor = linear(hidden)
        return made

    found = terms(head, states, targets(), objective, VOCABULARY)
    sum((n + 1) * term.sum() for n, term in enumerate(found.values())).backward()  # type: ignore[union-attr]
    gradients = [linear.weight.grad, *(of.grad for of in states.values())]
    return found, [g for g in gradients if g is not None], calls


@pytest.mark.parametrize(
    "objective",
    [
        Likelihood(balance=0.5),
        VITask(align=1.0, contrast=1.0, contrast_tokens="diverging"),
    ],
    ids=["balanced", "stage 2"],
)
def test_terms_and_gradients_are_those_of_all_logits_at_once(
    objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = len(objective.views)
    wanted, before, calls = read(objective)
    assert calls == [TOTAL] * views  # nothing is cut where it fits
    monkeypatch.setattr(pieces, "MOST", 5 * VOCABULARY * views)
    found, after, calls = read(objective)
    # Responses of 3, 1, 7, 2, 2 and 5 tokens are cut anywhere; each twice, forwards and backwards.
    assert calls == [5] * 4 * 2 * views
    assert list(found) == list(wanted) and len(before) == len(after) == 1 + views
    for name, term in wanted.items():
        torch.testing.assert_close(found[name], term, rtol=1e-12, atol=1e-12)
    for one, two in zip(before, after, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-10, atol=1e-12)


def test_the_logits_of_one_long_response_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked for: the largest tensor of forward and backward pass is a piece."""
    long, vocabulary, most = 300, 2000, 7 * 2000 * 3
    monkeypatch.setattr(pieces, "MOST", most)
    objective = VITask(align=1.0, contrast=1.0)
    linear = nn.Linear(WIDTH, vocabulary, bias=False)
    states = {view: torch.randn(long, WIDTH, requires_grad=True) for view in objective.views}
    said = Targets(
        tokens=torch.randint(vocabulary, (long,)),
        sample=torch.zeros(long, dtype=torch.long),
        lengths=torch.full((long,), long),
        weights=torch.ones(long),
        diverges=torch.ones(long, dtype=torch.bool),
    )
    with Largest() as seen:
        found = terms(linear, states, said, objective, vocabulary)
        torch.stack([*found.values()]).sum().backward()
    assert most / 3 <= seen.numbers < most < vocabulary * long


class Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor has that any operation makes."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(one, Tensor):
                self.numbers = max(self.numbers, one.numel())
        return made


def held(run: Callable[[], object]) -> int:
    """Bytes that autograd keeps for the backward pass."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        made = run()
    del made
    return sum(kept.values())


def test_logits_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = 5000
    linear = nn.Linear(WIDTH, vocabulary, bias=False)
    states = {view: torch.randn(TOTAL, WIDTH, requires_grad=True) for view in Likelihood().views}
    given = (linear, states, targets(), Likelihood(), vocabulary)
    whole = held(lambda: terms(*given))
    monkeypatch.setattr(pieces, "MOST", 5 * vocabulary)
    assert held(lambda: terms(*given)) < 0.2 * whole


def test_no_tokens_make_no_terms() -> None:
    none = torch.zeros(0, dtype=torch.long)
    empty = Targets(
        tokens=none, sample=none, lengths=none, weights=torch.zeros(0), diverges=none.bool()
    )
    states = {view: torch.zeros(0, WIDTH) for view in Likelihood().views}
    made = terms(nn.Linear(WIDTH, VOCABULARY), states, empty, Likelihood(), VOCABULARY)
    assert {name: len(term) for name, term in made.items()} == {"nll": 0}

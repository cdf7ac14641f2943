"""Loss terms in pieces: the same terms and gradients, and never all logits at once."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from residency.model import pieces
from residency.model.pieces import cuts, terms
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
    # 3 + 1, 7 alone since it is too long, 2 + 2, 5; each twice, forwards and backwards.
    assert sorted(calls) == sorted([4, 7, 4, 5] * 2 * views)
    assert list(found) == list(wanted) and len(before) == len(after) == 1 + views
    for name, term in wanted.items():
        torch.testing.assert_close(found[name], term, rtol=1e-12, atol=1e-12)
    for one, two in zip(before, after, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("most", [0, 1, 4, 5, 8, 19, 20, 100])
def test_pieces_are_whole_samples_and_as_long_as_allowed(most: int) -> None:
    sample = targets().sample
    ends = cuts(sample, most)
    assert ends[-1] == TOTAL and ends == sorted(set(ends))
    assert all(end == TOTAL or sample[end] != sample[end - 1] for end in ends)
    pieces_of = [sample[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert all(len(piece) <= most or len(piece.unique()) == 1 for piece in pieces_of)
    for one, two in pairwise(pieces_of):  # none could take one more sample
        assert len(one) + int((two == two[0]).sum()) > most


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
    empty = Targets(tokens=none, sample=none, weights=torch.zeros(0), diverges=none.bool())
    states = {view: torch.zeros(0, WIDTH) for view in Likelihood().views}
    made = terms(nn.Linear(WIDTH, VOCABULARY), states, empty, Likelihood(), VOCABULARY)
    assert {name: len(term) for name, term in made.items()} == {"nll": 0}

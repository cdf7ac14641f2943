"""VITask's equations, one algebraic test each, and the choices that the paper leaves open."""

import math

import pytest
import torch
from torch import Tensor

from residency.errors import UsageError
from residency.objective import kl, nll
from residency.objectives.likelihood import Likelihood
from residency.objectives.vitask import VITask
from residency.types import (
    EXEMPLAR,
    NEGATIVE,
    NEGATIVE_EXEMPLAR,
    PLAIN,
    SHUFFLED,
    Targets,
    View,
)

R, V = 5, 7
VIEWS = (PLAIN, EXEMPLAR, NEGATIVE, NEGATIVE_EXEMPLAR)


@pytest.fixture
def logits() -> dict[View, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {v: torch.randn(R, V, generator=generator).mul_(2).requires_grad_() for v in VIEWS}


@pytest.fixture
def targets() -> Targets:
    return Targets(
        tokens=torch.tensor([1, 0, 6, 2, 2]),
        sample=torch.tensor([0, 0, 0, 1, 1]),
        lengths=torch.tensor([3, 3, 3, 2, 2]),
        weights=torch.ones(R),
        diverges=torch.tensor([False, True, True, False, True]),
    )


def gradients(term: Tensor, logits: dict[View, Tensor]) -> dict[View, Tensor | None]:
    of = torch.autograd.grad(term.sum(), list(logits.values()), allow_unused=True)
    return dict(zip(logits, of, strict=True))


def probabilities(logits: Tensor) -> Tensor:
    return torch.exp(logits) / torch.exp(logits).sum(-1, keepdim=True)


def one_hot(targets: Targets) -> Tensor:
    return torch.eye(V)[targets.tokens]


def only(name: str, **weights: float) -> VITask:
    zero = {"align": 0.0, "contrast": 0.0, "plain": 0.0, "exemplar": 0.0}
    return VITask(**{**zero, name: 1.0, **weights})  # type: ignore[arg-type]


def test_eq1_is_the_negative_log_likelihood_of_the_plain_view(logits, targets):
    expected = -probabilities(logits[PLAIN])[torch.arange(R), targets.tokens].log()
    for objective, name in ((Likelihood(), "nll"), (only("plain"), "vanilla")):
        terms = objective(logits, targets)
        assert list(terms) == [name] and objective.views == (PLAIN,)
        torch.testing.assert_close(terms[name], expected)
        got = gradients(terms[name], logits)
        torch.testing.assert_close(got[PLAIN], probabilities(logits[PLAIN]) - one_hot(targets))
        assert all(got[view] is None for view in VIEWS[1:])


def test_eq2_is_the_same_under_the_exemplar(logits, targets):
    expected = -probabilities(logits[EXEMPLAR])[torch.arange(R), targets.tokens].log()
    for objective, name in ((Likelihood(view=EXEMPLAR), "nll"), (only("exemplar"), "exemplar")):
        terms = objective(logits, targets)
        assert list(terms) == [name] and objective.views == (EXEMPLAR,)
        torch.testing.assert_close(terms[name], expected)
        got = gradients(terms[name], logits)
        assert got[EXEMPLAR] is not None and got[PLAIN] is None


def test_balance_counts_samples_instead_of_tokens(
    logits: dict[View, Tensor], targets: Targets
) -> None:
    by_token = Likelihood()(logits, targets)["nll"]
    by_sample = Likelihood(balance=1.0)(logits, targets)["nll"]
    assert by_sample.sum().item() == pytest.approx(
        by_token[:3].mean().item() + by_token[3:].mean().item()
    )
    between = Likelihood(balance=0.5)(logits, targets)["nll"]
    assert between.tolist() == pytest.approx((by_token * by_sample).sqrt().tolist())


def test_balance_outside_its_range_is_refused() -> None:
    with pytest.raises(UsageError, match="balance=2"):
        Likelihood(balance=2.0)


def test_eq3_is_kl_of_plain_from_exemplar_and_teaches_the_student_only(logits, targets):
    terms = only("align")(logits, targets)
    p, q = probabilities(logits[PLAIN]), probabilities(logits[EXEMPLAR])
    divergence = (p * (p.log() - q.log())).sum(-1)
    torch.testing.assert_close(terms["align"], divergence)
    got = gradients(terms["align"], logits)
    torch.testing.assert_close(got[PLAIN], p * ((p / q).log() - divergence[:, None]))
    assert got[EXEMPLAR] is None


def test_eq3_without_detachment_moves_the_teacher_as_well(logits, targets):
    """RDA*: d KL(p || q) / d teacher logits = q - p."""
    star = VITask(align=1, contrast=0, plain=0, exemplar=0, detach_teacher=False)
    term = star(logits, targets)["align"]
    got = gradients(term, logits)
    p, q = probabilities(logits[PLAIN]), probabilities(logits[EXEMPLAR])
    torch.testing.assert_close(got[EXEMPLAR], q - p)


@pytest.mark.parametrize("detach", [True, False])
def test_eq3_forward_is_kl_of_exemplar_from_plain(logits, targets, detach):
    objective = VITask(
        align=1, contrast=0, plain=0, exemplar=0, direction="forward", detach_teacher=detach
    )
    term = objective(logits, targets)["align"]
    p, q = probabilities(logits[PLAIN]), probabilities(logits[EXEMPLAR])
    torch.testing.assert_close(term, (q * (q / p).log()).sum(-1))
    got = gradients(term, logits)
    torch.testing.assert_close(got[PLAIN], p - q)  # cross-entropy from the teacher
    assert (got[EXEMPLAR] is None) == detach


def test_eq3_temperature_divides_both_logits(logits, targets):
    warm = VITask(align=1, contrast=0, plain=0, exemplar=0, temperature=2.5)
    term = warm(logits, targets)["align"]
    torch.testing.assert_close(term, kl(logits[PLAIN] / 2.5, logits[EXEMPLAR] / 2.5))
    assert not torch.allclose(term, kl(logits[PLAIN], logits[EXEMPLAR]))


def test_eq3_of_equal_distributions_is_zero_even_shifted(logits):
    torch.testing.assert_close(
        kl(logits[PLAIN], logits[PLAIN] + 3.0), torch.zeros(R), atol=1e-6, rtol=0
    )
    assert (kl(logits[PLAIN], logits[EXEMPLAR]) > 0).all()


def test_eq4_ranks_images_and_eq5_orders_as_it(logits, targets):
    """With the same normaliser, eq. 5 is small exactly where the own image makes tokens likelier.

    Eq. 4 asks for p(response | own image) > p(response | other image): where only the target's
    logit differs between images, eq. 5 is below log V if and only if eq. 4 holds for the token.
    """
    margin = torch.tensor([2.0, -1.0, 0.5, -0.1, 3.0])
    own = logits[NEGATIVE].detach() + margin[:, None] * one_hot(targets)
    logits = {PLAIN: own, NEGATIVE: logits[NEGATIVE].detach()}
    holds = nll(logits[PLAIN], targets.tokens) < nll(logits[NEGATIVE], targets.tokens)
    term = only("contrast")(logits, targets)["contrast"]
    assert torch.equal(holds, margin > 0)
    assert torch.equal(term < math.log(V), holds)
    # And it falls as the margin grows: minimising eq. 5 enforces eq. 4.
    wider = {**logits, PLAIN: own + one_hot(targets)}
    assert (only("contrast")(wider, targets)["contrast"] < term).all()


def test_eq5_at_equal_logits_is_log_v_and_pushes_the_margin(logits, targets):
    """V2: a constant token costs log V at first, and still its gradient separates the images."""
    logits[NEGATIVE] = logits[PLAIN].detach().clone().requires_grad_()
    term = only("contrast")(logits, targets)["contrast"]
    torch.testing.assert_close(term, torch.full((R,), math.log(V)))
    got = gradients(term, logits)
    push = 1 / V - one_hot(targets)
    torch.testing.assert_close(got[PLAIN], push)
    torch.testing.assert_close(got[NEGATIVE], -push)


def test_eq6_is_the_softmax_of_the_difference_of_logits(logits, targets):
    terms = only("contrast")(logits, targets)
    q = probabilities(logits[PLAIN] - logits[NEGATIVE])
    torch.testing.assert_close(terms["contrast"], -q[torch.arange(R), targets.tokens].log())
    # q is p_own / p_other, normalised.
    ratio = probabilities(logits[PLAIN]) / probabilities(logits[NEGATIVE])
    torch.testing.assert_close(q, ratio / ratio.sum(-1, keepdim=True))
    got = gradients(terms["contrast"], logits)
    torch.testing.assert_close(got[PLAIN], q - one_hot(targets))
    torch.testing.assert_close(got[NEGATIVE], one_hot(targets) - q)


def test_eq6_options_mask_detach_and_read_the_exemplar(logits, targets):
    base = {"align": 0, "contrast": 1, "plain": 0, "exemplar": 0}
    whole = VITask(**base)(logits, targets)["contrast"]
    diverging = VITask(**base, contrast_tokens="diverging")(logits, targets)["contrast"]
    torch.testing.assert_close(diverging, torch.where(targets.diverges, whole, 0.0))
    fixed = VITask(**base, detach_negative=True)(logits, targets)["contrast"]
    torch.testing.assert_close(fixed, whole)
    assert gradients(fixed, logits)[NEGATIVE] is None
    prompted = VITask(**base, contrast_view="exemplar")
    assert prompted.views == (EXEMPLAR, NEGATIVE_EXEMPLAR)
    torch.testing.assert_close(
        prompted(logits, targets)["contrast"],
        nll(logits[EXEMPLAR] - logits[NEGATIVE_EXEMPLAR], targets.tokens),
    )


def test_eq7_is_the_weighted_sum_of_the_terms(logits, targets):
    alpha, beta = 0.3, 1.7
    terms = VITask(align=alpha, contrast=beta)(logits, targets)
    assert list(terms) == ["vanilla", "exemplar", "align", "contrast"]
    expected = (
        nll(logits[PLAIN], targets.tokens)
        + nll(logits[EXEMPLAR], targets.tokens)
        + alpha * kl(logits[PLAIN], logits[EXEMPLAR])
        + beta * nll(logits[PLAIN] - logits[NEGATIVE], targets.tokens)
    )
    torch.testing.assert_close(torch.stack(list(terms.values())).sum(0), expected)


def test_eq7_in_stage_one_reads_no_negative(logits, targets):
    stage_one = VITask(align=1, contrast=0)
    assert stage_one.views == (PLAIN, EXEMPLAR)
    given = {view: logits[view] for view in stage_one.views}
    assert list(stage_one(given, targets)) == ["vanilla", "exemplar", "align"]


@pytest.mark.parametrize(
    ("objective", "views", "terms"),
    [
        (Likelihood(), (PLAIN,), ["nll"]),  # Van
        (VITask(align=0, contrast=0), (PLAIN, EXEMPLAR), ["vanilla", "exemplar"]),  # Van+EP
        (VITask(align=1, contrast=0), (PLAIN, EXEMPLAR), ["vanilla", "exemplar", "align"]),
        (
            VITask(align=0, contrast=1),
            (PLAIN, EXEMPLAR, NEGATIVE),
            ["vanilla", "exemplar", "contrast"],
        ),
        (
            VITask(align=1, contrast=1),
            (PLAIN, EXEMPLAR, NEGATIVE),
            ["vanilla", "exemplar", "align", "contrast"],
        ),
        (VITask(align=0, contrast=0, plain=0), (EXEMPLAR,), ["exemplar"]),  # EP alone
        (VITask(align=0, contrast=1, exemplar=0), (PLAIN, NEGATIVE), ["vanilla", "contrast"]),
    ],
)
def test_every_cell_of_table_2_reads_its_views_and_no_other(
    logits, targets, objective, views, terms
):
    assert objective.views == views
    assert list(objective({view: logits[view] for view in views}, targets)) == terms


def test_contrast_alone_reads_the_view_it_subtracts_from(logits, targets):
    assert only("contrast").views == (PLAIN, NEGATIVE)
    assert Likelihood(view=SHUFFLED).views == (SHUFFLED,)


def test_terms_are_float32_from_half_precision_logits(logits, targets):
    half = {view: tensor.detach().bfloat16() for view, tensor in logits.items()}
    for term in VITask(align=1, contrast=1)(half, targets).values():
        assert term.dtype == torch.float32 and term.shape == (R,)


@pytest.mark.parametrize(
    "given",
    [
        {"align": -1, "contrast": 0},
        {"align": 0, "contrast": 0, "plain": 0, "exemplar": 0},
        {"align": 1, "contrast": 0, "temperature": 0},
        {"align": math.nan, "contrast": 0},
        {"align": 1, "contrast": math.inf},
        {"align": 1, "contrast": 0, "temperature": math.nan},
    ],
)
def test_impossible_weights_are_refused(given):
    with pytest.raises(UsageError, match="VITask"):
        VITask(**given)

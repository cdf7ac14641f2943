"""Label and probability metrics against scikit-learn: sets of labels, ranks, calibration, draws."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from residency.errors import DataError, UsageError
from residency.metric import metric
from residency.types import Answer, Prediction

LABELS = ("atelectasis", "effusion", "nodule", "mass")


def said(answer: Answer | None, reference: Answer, **more) -> Prediction:
    return Prediction(
        sample="s",
        dataset="d",
        task="t",
        view="plain",
        text="",
        answer=answer,
        reference=reference,
        unit="u",
        **more,
    )


def score(id: str, made: list[Prediction], labels=LABELS, weights=None) -> float:
    one = metric(id)
    rows = np.ones(len(made)) if weights is None else np.asarray(weights, dtype=float)
    return float(one.value(one.prepare(made, labels), rows[None])[0])


def pick(row: np.ndarray, labels=LABELS) -> tuple[str, ...]:
    return tuple(label for label, on in zip(labels, row, strict=True) if on)


def test_golden_sets_of_labels() -> None:
    truth, answers = [[0, 0], [1, 0], [0, 1]], [[0, 0], [0, 0], [0, 1]]
    labels = ("a", "b")
    made = [said(pick(a, labels), pick(t, labels)) for a, t in zip(answers, truth, strict=True)]
    golden = {
        "samples_f1": 2 / 3,
        "samples_f1@scikit-learn": 1 / 3,
        "micro_f1": 2 / 3,
        "macro_f1": 0.5,
        "subset_accuracy": 2 / 3,
        "accuracy": 2 / 3,
        "label_accuracy": 5 / 6,
    }
    for id, value in golden.items():
        assert score(id, made, labels) == pytest.approx(value), id


@pytest.mark.parametrize("seed", range(3))
def test_sets_of_labels_equal_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random((150, 4)) < [0.4, 0.2, 0.1, 0.05]
    answers = np.where(rng.random((150, 4)) < 0.85, truth, ~truth)
    made = [said(pick(a), pick(t)) for a, t in zip(answers, truth, strict=True)]
    drawn = rng.integers(0, 4, 150)
    t, a = np.repeat(truth, drawn, axis=0), np.repeat(answers, drawn, axis=0)
    expected = {
        "micro_f1": sk.f1_score(t, a, average="micro"),
        "samples_f1": sk.f1_score(t, a, average="samples", zero_division=1),
        "samples_f1@scikit-learn": sk.f1_score(t, a, average="samples", zero_division=0),
        "subset_accuracy": sk.accuracy_score(t, a),
        "label_accuracy": (t == a).mean(),
    }
    for id, value in expected.items():
        assert score(id, made, weights=drawn) == pytest.approx(value, abs=1e-12), id


def test_foodseg_reads_names_as_substrings() -> None:
    labels = ("background", "ice cream", "cream", "egg", "steak", "other ingredients")
    rows = [
        ("Ice cream with other ingredients", ("ice cream", "other ingredients"), 1.0),
        ("cream and ice cream", ("ice cream",), 2 / 3),
        ("eggplant", ("steak",), 0.0),
        ("eggplant", ("egg",), 1.0),
        ("I see nothing", (), 1.0),
        ("steak, egg", ("egg", "background"), 2 / 3),
    ]
    for text, reference, value in rows:
        made = [replace(said((), reference), text=text)]
        assert score("samples_f1@foodseg103", made, labels) == pytest.approx(value), text
    with pytest.raises(UsageError, match="names of the label set"):
        score("samples_f1@foodseg103", made, ("background",))


def test_unparsed_sets_are_wrong_not_empty() -> None:
    made = [said(None, ()), said((), ())]
    for id in ("samples_f1", "subset_accuracy", "label_accuracy"):
        assert score(id, made) == 0.5, id
    assert np.isnan(score("micro_f1", made))
    with pytest.raises(UsageError, match="single"):
        score("subset_accuracy", [said("mass", "mass")])
    with pytest.raises(UsageError, match="fixed label set"):
        score("label_accuracy", made, labels=())


@pytest.mark.parametrize("seed", range(3))
def test_balanced_accuracy_equals_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, 200, p=[0.7, 0.25, 0.05])  # the last label never occurs
    answers = np.where(rng.random(200) < 0.7, truth, rng.integers(-1, 4, 200))
    made = [
        said(None if a < 0 else LABELS[a].upper(), LABELS[t])
        for a, t in zip(answers, truth, strict=True)
    ]
    drawn = rng.integers(0, 3, 200)
    t, a = np.repeat(truth, drawn), np.repeat(answers, drawn)
    recalls = [(a[t == label] == label).mean() for label in np.unique(t)]
    assert score("balanced_accuracy", made, weights=drawn) == pytest.approx(np.mean(recalls))
    parsed = [said(LABELS[x % 4], LABELS[y]) for x, y in zip(answers, truth, strict=True)]
    with np.errstate(all="ignore"):
        expected = np.mean([((answers % 4)[truth == c] == c).mean() for c in np.unique(truth)])
    assert score("balanced_accuracy", parsed) == pytest.approx(expected)
    with pytest.raises(UsageError, match="single labels"):
        score("balanced_accuracy", [said((), ())])


def believed(
    seed: int, n: int = 200, labels=LABELS
) -> tuple[list[Prediction], np.ndarray, np.ndarray]:
    """Scored predictions with ties, their probabilities and references."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(labels), n)
    logits = np.round(rng.normal(size=(n, len(labels))) + 1.5 * np.eye(len(labels))[truth], 1)
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    made = [
        said(
            labels[int(row.argmax())],
            labels[t],
            scores={label: float(x) - 40 for label, x in zip(labels, row, strict=True)},
        )
        for row, t in zip(logits, truth, strict=True)
    ]
    return made, probability, truth


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("labels", [LABELS, LABELS[:2]])
def test_scores_equal_scikit_learn(seed: int, labels: tuple[str, ...]) -> None:
    made, probability, truth = believed(seed, labels=labels)
    drawn = np.random.default_rng(seed + 100).integers(0, 3, len(made))
    p, t = np.repeat(probability, drawn, axis=0).round(12), np.repeat(truth, drawn)
    hot = np.eye(len(labels))[t]
    two = len(labels) == 2
    expected = {
        "auroc": sk.roc_auc_score(hot, p, average="macro"),
        "auprc": sk.average_precision_score(hot, p, average="macro"),
        "brier": sk.brier_score_loss(t, p[:, 1]) if two else ((p - hot) ** 2).sum(1).mean(),
        "nll": sk.log_loss(t, p),
    }
    for id, value in expected.items():
        assert score(id, made, labels, drawn) == pytest.approx(value, abs=1e-9), id


def test_sets_of_labels_are_ranked_by_raw_scores() -> None:
    rng = np.random.default_rng(5)
    truth = rng.random((100, 4)) < 0.3
    raw = np.round(truth + rng.normal(size=(100, 4)), 1)
    made = [
        said((), pick(t), scores=dict(zip(LABELS, row.tolist(), strict=True)))
        for t, row in zip(truth, raw, strict=True)
    ]
    assert score("auroc", made) == pytest.approx(sk.roc_auc_score(truth, raw))
    assert score("auprc", made) == pytest.approx(sk.average_precision_score(truth, raw))
    with pytest.raises(UsageError, match="set of labels"):
        score("brier", made)


def test_labels_of_one_kind_have_no_area() -> None:
    scores = {"a": 0.0, "b": 1.0, "c": 2.0}
    made = [said("c", "b", scores=scores), said("c", "c", scores={**scores, "b": -9.0})]
    assert score("auroc", made, ("a", "b", "c")) == 1  # mean over b and c; a is never present
    assert np.isnan(score("auroc", made[:1], ("a", "b", "c")))
    assert np.isnan(score("auprc", made[:1], ("a", "b", "c")))


def test_calibration_error_by_hand() -> None:
    def sure(p: float, right: bool) -> Prediction:
        scores = {"a": float(np.log(p)), "b": float(np.log(1 - p))}
        return said("a", "a" if right else "b", scores=scores)

    made = [sure(0.9, True)] * 8 + [sure(0.9, False)] * 2 + [sure(0.6, True)] * 10
    assert score("ece", made, ("a", "b")) == pytest.approx((10 * 0.1 + 10 * 0.4) / 20)
    perfect = [sure(0.75, True)] * 3 + [sure(0.75, False)]
    assert score("ece", perfect, ("a", "b")) == pytest.approx(0)
    assert 0 <= score("ece_adaptive", made, ("a", "b")) < 1


def test_calibration_error_is_biased_upward_for_few_samples() -> None:
    rng = np.random.default_rng(0)

    def perfectly_calibrated(n: int) -> float:
        made = []
        for p in rng.uniform(0.5, 1, n):
            scores = {"a": float(np.log(p)), "b": float(np.log1p(-p))}
            made.append(said("a", "a" if rng.random() < p else "b", scores=scores))
        return score("ece", made, ("a", "b"))

    small = np.mean([perfectly_calibrated(50) for _ in range(20)])
    assert 0.08 < small < 0.17
    assert perfectly_calibrated(3000) < 0.04


def test_missing_scores_are_refused_with_their_number() -> None:
    made, _, _ = believed(0, n=10)
    bare = [said("mass", "mass"), *made]
    for id in ("auroc", "auprc", "brier", "nll", "ece", "ece_adaptive"):
        with pytest.raises(UsageError, match=f"{id} needs `scores`, and 1 of 11"):
            score(id, bare)
        with pytest.raises(UsageError, match="1 of 1 predictions"):
            score(id, bare[:1])
    with pytest.raises(DataError, match="not among the options"):
        score("nll", [said("a", "z", scores={"a": 0.0, "b": 0.0})])
    with pytest.raises(UsageError, match="same options for every sample"):
        score("auroc", [*made, said("a", "a", scores={"a": 0.0, "b": 0.0})])


def test_a_diverged_model_knows_nothing() -> None:
    made = [said(None, "a"), said("b", "b", scores={"a": -50.0, "b": 0.0})]
    assert score("nll", made, ("a", "b")) == pytest.approx(np.log(2) / 2)
    assert score("brier", made, ("a", "b")) == pytest.approx(0.125)


def test_the_mean_per_token_does_not_prefer_short_options() -> None:
    scores, tokens = {"atelectasis": -4.0, "mass": -3.0}, [4, 2]
    made = [
        said("mass", truth, scores=scores, facts={"option_tokens": tokens})
        for truth in ("Atelectasis", "mass", "mass")
    ]
    assert score("accuracy", made) == pytest.approx(2 / 3)
    assert score("accuracy_per_token", made) == pytest.approx(1 / 3)  # -1 a token against -1.5
    diverged = said(None, "mass")
    assert score("accuracy_per_token", [*made, diverged]) == pytest.approx(1 / 4)
    for unfit, says in (
        (said("mass", "mass", scores=scores), "option_tokens"),  # an expert
        (said("mass", "mass"), "need"),  # generated
        (said(("mass",), ("mass",), scores=scores), "a set of labels"),
    ):
        with pytest.raises(UsageError, match=says):
            score("accuracy_per_token", [unfit])

"""Metrics against scikit-learn and by hand, unparsed answers and bootstrap weights included."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from residency.catalog import find, names
from residency.errors import DataError, UsageError
from residency.metric import Metric, metrics
from residency.metrics import accuracy, exact_match, iou25, macro_f1, point_hit, token_f1
from residency.types import Answer, Box, Box3D, Point, Prediction

LABELS = (
    "normal, benign",
    "abnormal",
    "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
    "rare",
    "absent",
)


def said(
    answer: Answer | None, reference: Answer, text: str = "", dataset: str = "d"
) -> Prediction:
    return Prediction(
        sample="s",
        dataset=dataset,
        task="t",
        view="plain",
        text=text,
        answer=answer,
        reference=reference,
        unit="u",
    )


def score(metric: Metric, predictions: list[Prediction], labels: tuple[str, ...] = ()) -> float:
    return float(
        metric.value(metric.prepare(predictions, labels), np.ones((1, len(predictions))))[0]
    )


def guesses(seed: int, n: int = 300) -> tuple[list[Prediction], np.ndarray, np.ndarray]:
    """Random single-label predictions; id -1 stands for unparsed; the last class never occurs."""
    rng = np.random.default_rng(seed)
    reference = rng.choice(4, size=n, p=[0.5, 0.3, 0.17, 0.03])
    answer = np.where(rng.random(n) < 0.6, reference, rng.integers(-1, 4, n))
    made = [
        said(None if a < 0 else LABELS[a], LABELS[r])
        for a, r in zip(answer, reference, strict=True)
    ]
    return made, answer, reference


@pytest.mark.parametrize("seed", range(5))
def test_single_label_metrics_equal_scikit_learn(seed: int) -> None:
    made, answer, reference = guesses(seed)
    assert (answer < 0).any()
    ids = list(range(len(LABELS)))
    wanted = f1_score(reference, answer, labels=ids, average="macro", zero_division=0)
    assert score(macro_f1, made, LABELS) == pytest.approx(wanted, abs=1e-12)
    assert score(accuracy, made) == pytest.approx(accuracy_score(reference, answer), abs=1e-12)


def test_weights_mean_repeated_samples() -> None:
    made, answer, reference = guesses(9)
    weights = np.random.default_rng(0).integers(0, 4, size=(6, len(made))).astype(float)
    ids = list(range(len(LABELS)))
    values = macro_f1.value(macro_f1.prepare(made, LABELS), weights)
    rights = accuracy.value(accuracy.prepare(made, ()), weights)
    for row, got, right in zip(weights.astype(int), values, rights, strict=True):
        a, r = np.repeat(answer, row), np.repeat(reference, row)
        assert got == pytest.approx(f1_score(r, a, labels=ids, average="macro", zero_division=0))
        assert right == pytest.approx(accuracy_score(r, a))


@pytest.mark.parametrize("seed", range(3))
def test_multi_label_metrics_equal_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference = rng.random((200, 5)) < [0.3, 0.2, 0.1, 0.05, 0.0]
    answer = np.where(rng.random((200, 5)) < 0.9, reference, ~reference)
    unparsed = rng.random(200) < 0.1
    answer[unparsed] = False

    def pick(row: np.ndarray) -> tuple[str, ...]:
        return tuple(label for label, on in zip(LABELS, row, strict=True) if on)

    made = [
        said(None if none else pick(a), pick(r))
        for a, r, none in zip(answer, reference, unparsed, strict=True)
    ]
    wanted = f1_score(reference, answer, average="macro", zero_division=0)
    assert score(macro_f1, made, LABELS) == pytest.approx(wanted, abs=1e-12)
    exact = ((answer == reference).all(1) & ~unparsed).mean()
    assert score(accuracy, made) == pytest.approx(exact)


def test_macro_f1_by_hand_and_its_classes() -> None:
    made = [said("a", "a"), said(None, "a"), said("b", "b")]
    weights = np.ones((1, 3))
    classes = macro_f1.per_class(macro_f1.prepare(made, ("a", "b", "c")), weights)
    np.testing.assert_allclose(classes, [[2 / 3, 1.0, 0.0]])
    assert score(macro_f1, made, ("a", "b", "c")) == pytest.approx(5 / 9)
    with pytest.raises(UsageError, match="fixed label set"):
        macro_f1.prepare(made, ())
    with pytest.raises(DataError, match="outside the label set"):
        macro_f1.prepare(made, ("a",))


def test_accuracy_ignores_case_and_order_but_not_membership() -> None:
    assert score(accuracy, [said("Yes.", "yes")]) == 1
    assert score(accuracy, [said(("b", "a"), ("a", "b"))]) == 1
    assert score(accuracy, [said(("a",), ("a", "b"))]) == 0
    assert score(accuracy, [said((), ()), said(None, ())]) == 0.5
    assert score(accuracy, [said("normal", "abnormal")]) == 0


def box(x1: float, x2: float, name: str = "cell") -> Box:
    return Box(name=name, x1=x1, y1=0.0, x2=x2, y2=10.0)


def test_iou_by_hand() -> None:
    first = np.array([[0.0, 0, 10, 10], [5, 5, 5, 9]])
    second = np.array([[5.0, 0, 15, 10], [20, 20, 30, 30], [0, 0, 10, 10]])
    np.testing.assert_allclose(iou25.iou(first, second), [[1 / 3, 0, 1], [0, 0, 0]])


@pytest.mark.parametrize(
    ("found", "wanted", "right"),
    [
        ((box(0.0, 10.0),), (box(5.0, 15.0),), 1),  # IoU 1/3
        ((box(0.0, 10.0),), (box(6.0, 16.0),), 0),  # exactly 1/4 is not above it
        ((box(0.0, 10.0, "other"),), (box(0.0, 10.0),), 0),
        ((box(0.0, 10.0), box(0.0, 10.0)), (box(0.0, 10.0),), 0),
        ((box(100.0, 110.0), box(0.0, 10.0)), (box(0.0, 10.0), box(100.0, 110.0)), 1),
        # Greedy pairing of the first box with its best partner would leave the second alone.
        ((box(0.0, 10.0), box(-4.0, 6.0)), (box(0.0, 10.0), box(4.0, 14.0)), 1),
        ((), (), 1),
        ((), (box(0.0, 10.0),), 0),
        (None, (), 0),
        ("here", (box(0.0, 10.0),), 0),
    ],
)
def test_iou25_matches_one_to_one(found: Answer | None, wanted: Answer, right: int) -> None:
    assert score(iou25, [said(found, wanted)]) == right


@pytest.mark.parametrize("seed", range(20))
def test_pairing_equals_trying_every_permutation(seed: int) -> None:
    fits = np.random.default_rng(seed).random((4, 4)) < 0.45
    wanted = any(all(fits[i, j] for i, j in enumerate(order)) for order in permutations(range(4)))
    assert iou25._pairs_all(fits) == wanted


def point(x: float, y: float, name: str = "p") -> Point:
    return Point(name=name, x=x, y=y)


def test_point_hit_is_a_tenth_of_the_diagonal_per_data_set() -> None:
    corner = (point(300.0, 400.0),)  # diagonal 500, reach 50
    assert score(point_hit, [said((point(300.0, 450.0),), corner)]) == 1
    assert score(point_hit, [said((point(300.0, 450.1),), corner)]) == 0
    assert score(point_hit, [said((point(300.0, 400.0, "q"),), corner)]) == 0
    assert score(point_hit, [said(corner, corner), said(None, corner)]) == 0.5
    small = said((point(3.0, 8.9),), (point(3.0, 4.0),), dataset="small")
    assert score(point_hit, [said(corner, corner), small]) == 0.5
    two = (point(300.0, 400.0), point(0.0, 0.0))
    assert score(point_hit, [said((point(0.0, 0.0), point(0.0, 0.0)), two)]) == 0.5
    assert np.isnan(score(point_hit, [said((), ())]))


def test_text_metrics_by_hand() -> None:
    assert score(exact_match, [said(None, "A red circle.", text="a red  circle")]) == 1
    assert score(exact_match, [said("yes", "yes", text="It is yes")]) == 0
    assert score(token_f1, [said("a red red circle", "A red circle.")]) == pytest.approx(6 / 7)
    assert score(token_f1, [said("左肺", "右肺")]) == pytest.approx(0.5)
    assert score(token_f1, [said(None, "a"), said("", "")]) == 0.5


def test_every_metric_keeps_the_contract() -> None:
    for name in names("metrics"):
        module = find("metrics", name)
        for one in getattr(module, "metrics", (module,)):
            assert isinstance(one, Metric)
            assert one.id == one.id.lower() and one.id.count("@") <= 1


def varied(n: int = 24) -> dict[str, list[Prediction]]:
    """Predictions of every kind of answer, some wrong and some unparsed, with all facts."""
    rng = np.random.default_rng(2)
    label, options = rng.integers(0, 3, (n, 2)), ["yes", "no", "maybe"]
    place = rng.random((n, 4)) * 20
    scores = rng.normal(size=(n, 3))
    kinds: dict[str, list[Prediction]] = {
        "label": [],
        "set": [],
        "box": [],
        "box3d": [],
        "point": [],
    }
    for i, (a, r) in enumerate(label):
        x, y, u, v = map(float, place[i])
        cuboids = [Box3D(name="", x1=q, y1=0.0, z1=0.0, x2=q + 9, y2=9.0, z2=9.0) for q in (x, u)]
        answers: dict[str, tuple[Answer, Answer]] = {
            "label": (options[a], options[r]),
            "set": (tuple(options[: a + 1]), tuple(options[r:])),
            "box": ((box(x, x + 10),), (box(u, u + 10), box(v, v + 10))),
            "box3d": ((cuboids[0],), (cuboids[1],)),
            "point": ((point(x, y),), (point(u, v),)),
        }
        for kind, (answer, reference) in answers.items():
            text = answer if isinstance(answer, str) else ", ".join(map(str, answer))
            one = said(None if i % 9 == 8 else answer, reference, text=text)
            known = {
                "options": options,
                "answer_type": "OPEN" if i % 5 == 0 else "CLOSED",
                "spacing_mm": 0.2,
                "size": [40, 40],
                "skill": "open",
                "option_tokens": [1, 2, 1],
            }
            scored = dict(zip(options, scores[i].tolist(), strict=True))
            kinds[kind].append(replace(one, sample=f"s{i}", facts=known, scores=scored))
    return kinds


KIND = {"iou": "box", "iou3d": "box3d", "iou25": "box", "point_hit": "point", "mre_mm": "point"}
KIND |= {"landmarks_found": "point", "subset_accuracy": "set", "label_accuracy": "set"}
KIND |= {"samples_f1": "set", "ingredient_recall": "set", "ingredient_precision": "set"}
# These take something from the whole set: document frequencies, the bounds of the bins, other questions
# about the same picture; METEOR is an extra.
OF_THE_SET = {"cider_d", "ece_adaptive", "meteor", "ignores_question"}


@pytest.mark.parametrize("id", sorted(i for i in metrics() if i.split("@")[0] not in OF_THE_SET))
def test_every_metric_weighs_a_sample_as_often_as_it_is_drawn(id: str) -> None:
    name = id.split("@")[0]
    family = "point" if name.startswith("sdr_") else KIND.get(name) or KIND.get(name.split("_")[0])
    made = varied()[family or "label"]
    labels, one = ("yes", "no", "maybe"), metrics()[id]
    weights = np.random.default_rng(1).integers(0, 3, size=(4, len(made)))
    statistics = one.prepare(made, labels)
    assert statistics.ndim == 2 and len(statistics) == len(made)
    values = one.value(statistics, weights.astype(float))
    assert values.shape == (4,) and np.isfinite(values).all()
    for row, value in zip(weights, values, strict=True):
        drawn = [p for p, times in zip(made, row, strict=True) for _ in range(times)]
        whole = one.value(one.prepare(drawn, labels), np.ones((1, len(drawn))))[0]
        assert value == pytest.approx(whole, abs=1e-9)

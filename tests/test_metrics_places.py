"""Boxes, landmarks and ingredients: matching one to one, what is missing counts, published formulas."""

import numpy as np
import pytest

from residency.errors import DataError, UsageError
from residency.metric import metric
from residency.metrics.iou import over_enclosing, pairwise
from residency.types import Answer, Box, Box3D, Point, Prediction


def said(answer: Answer | None, reference: Answer, text: str = "", **facts) -> Prediction:
    return Prediction(
        sample="s",
        dataset="d",
        task="t",
        view="plain",
        text=text,
        answer=answer,
        reference=reference,
        unit="u",
        facts=facts,
    )


def score(id: str, *made: Prediction, labels=()) -> float:
    one = metric(id)
    return float(one.value(one.prepare(made, labels), np.ones((1, len(made))))[0])


def box(*corners: float, name: str = "") -> Box:
    return Box(name=name, **dict(zip(("x1", "y1", "x2", "y2"), corners, strict=True)))


def cuboid(*corners: float, name: str = "") -> Box3D:
    return Box3D(name=name, **dict(zip(("x1", "y1", "z1", "x2", "y2", "z2"), corners, strict=True)))


def test_golden_boxes() -> None:
    first, second = np.array([[10.0, 10, 20, 20]]), np.array([[15.0, 15, 25, 25]])
    assert pairwise(first, second)[0, 0] == pytest.approx(0.14286, abs=1e-5)
    assert pairwise(first, second, pixel=1.0)[0, 0] == pytest.approx(0.17476, abs=1e-5)
    low, high = (0, 0, 0, 0.5, 0.5, 0.5), (0.25, 0.25, 0.25, 0.75, 0.75, 0.75)
    assert over_enclosing(np.array(low), np.array(high)) == pytest.approx(0.03704, abs=1e-5)
    row = said((cuboid(*map(float, low)),), (cuboid(*map(float, high)),))
    assert score("iou3d@m3d", row) == pytest.approx(0.03704, abs=1e-5)
    assert score("iou3d", row) == pytest.approx(0.06667, abs=1e-5)
    grid = said((box(10.0, 10.0, 20.0, 20.0),), (box(15.0, 15.0, 25.0, 25.0),), size=[100, 100])
    assert score("iou@minigpt-med", grid) == pytest.approx(0.17476, abs=1e-5)
    assert score("iou", grid) == pytest.approx(0.14286, abs=1e-5)


def test_enclosing_equals_union_where_boxes_differ_along_one_axis() -> None:
    first, second = np.array([0.0, 0, 0, 2, 1, 1]), np.array([1.0, 0, 0, 3, 1, 1])
    assert over_enclosing(first, second) == pytest.approx(pairwise(first[None], second[None])[0, 0])


def test_boxes_are_paired_one_to_one_and_missing_ones_are_zero() -> None:
    left, right = box(0.0, 0.0, 10.0, 10.0), box(100.0, 0.0, 110.0, 10.0)
    assert score("iou", said((right, left), (left, right))) == 1
    assert score("iou", said((left,), (left, right))) == 0.5
    assert score("iou", said((left, left), (left, right))) == 0.5
    assert score("iou", said(None, (left,)), said((left,), (left,))) == 0.5
    assert score("iou", said((), (left,))) == 0
    # Taking the first box's best partner would leave the second with 1/16.
    found = (box(2.0, 0.0, 12.0, 10.0), box(0.0, 0.0, 7.0, 10.0))
    wanted = (box(0.0, 0.0, 10.0, 10.0), box(6.0, 0.0, 16.0, 10.0))
    assert score("iou", said(found, wanted)) == pytest.approx((6 / 14 + 0.7) / 2)


def test_names_are_respected_where_both_sides_have_them() -> None:
    square = (0.0, 0.0, 10.0, 10.0)
    assert score("iou", said((box(*square, name="heart"),), (box(*square, name="lung"),))) == 0
    assert score("iou", said((box(*square, name="Heart"),), (box(*square, name="heart"),))) == 1
    assert score("iou", said((box(*square),), (box(*square, name="heart"),))) == 1


def test_thresholds_and_precision() -> None:
    wanted = box(0.0, 0.0, 10.0, 10.0)
    half, quarter = box(0.0, 0.0, 10.0, 5.0), box(0.0, 0.0, 5.0, 5.0)
    far = box(50.0, 50.0, 60.0, 60.0)
    rows = [said((half,), (wanted,)), said((quarter, far), (wanted,)), said((far,), ())]
    assert score("iou_acc50", *rows) == 0.5
    assert score("iou_acc25", *rows) == 1
    assert score("iou_precision50", *rows) == 0.25
    assert np.isnan(score("iou", rows[2]))
    assert np.isnan(score("iou3d", *rows))


def test_every_pair_counts_for_minigpt_med() -> None:
    left, right = box(0.0, 0.0, 10.0, 10.0), box(50.0, 50.0, 60.0, 60.0)
    row = said((left, right), (left, right), size="100 100")
    assert score("iou@minigpt-med", row) == 0.5  # two of four pairs
    assert score("iou@minigpt-med", row, said(None, (left,))) == 0.5  # nothing lost by silence
    assert score("iou3d@m3d", said(None, (cuboid(0.0, 0.0, 0.0, 1.0, 1.0, 1.0),))) == 0
    with pytest.raises(UsageError, match="iou@minigpt-med needs 'size'"):
        score("iou@minigpt-med", said((left,), (left,)))


def point(x: float, y: float, name: str = "") -> Point:
    return Point(name=name, x=x, y=y)


def test_landmarks_in_millimetres() -> None:
    wanted = (point(100.0, 100.0, "sella"), point(200.0, 200.0, "nasion"))
    found = (point(206.0, 208.0, "Nasion"), point(120.0, 100.0, "sella"))  # 1 mm and 2 mm
    row = said(found, wanted, spacing_mm=0.1)
    assert score("mre_mm", row) == pytest.approx(1.5)
    assert score("sdr_2mm", row) == 1
    wide = said(found, wanted, spacing_mm="0.1 0.15")  # columns lie further apart than rows
    assert score("mre_mm", wide) == pytest.approx((3 + np.hypot(0.9, 0.8)) / 2)
    assert [score(f"sdr_{r}mm", wide) for r in ("2", "2_5", "3", "4")] == [0.5, 0.5, 1, 1]


def test_missing_landmarks_are_misses_without_a_distance() -> None:
    wanted = (point(0.0, 0.0, "a"), point(10.0, 0.0, "b"))
    rows = [
        said((point(10.0, 0.0, "a"),), wanted, spacing_mm=0.1),
        said(None, wanted, spacing_mm=0.1),
    ]
    assert score("mre_mm", *rows) == pytest.approx(1)
    assert score("landmarks_found", *rows) == 0.25
    assert score("sdr_2mm", *rows) == 0.25
    assert np.isnan(score("mre_mm", rows[1]))
    assert not metric("mre_mm").higher_is_better
    twice = said((point(0.0, 0.0, "a"), point(1.0, 0.0, "a")), wanted, spacing_mm=[0.1, 0.1])
    assert score("landmarks_found", twice) == 0.5


def test_millimetres_need_a_spacing() -> None:
    wanted = (point(0.0, 0.0),)
    with pytest.raises(UsageError, match="mre_mm needs 'spacing_mm', which sample 's'"):
        score("mre_mm", said(wanted, wanted))
    for spacing in ("thin", -0.1, [0.1, 0.1, 0.1], float("nan")):
        with pytest.raises(DataError, match="spacing_mm="):
            score("sdr_2mm", said(wanted, wanted, spacing_mm=spacing))


def test_ingredients() -> None:
    true = ("rice", "Chicken")
    assert score("ingredient_recall", said(("chicken", "salt"), true)) == 0.5
    assert score("ingredient_precision", said(("chicken", "salt", "oil"), true)) == pytest.approx(
        1 / 3
    )
    assert score("ingredient_recall", said(None, true), said((), ())) == 0.5
    assert score("ingredient_precision", said((), true), said((), ())) == 0.5
    labels = ("olive oil", "oil", "rice", "chicken")
    listed = said(None, ("oil", "rice"), text="Rice with olive oil")
    assert score("ingredient_recall@nutrition5k", listed, labels=labels) == 0.5
    assert score("ingredient_recall@nutrition5k", said(None, (), text="rice"), labels=labels) == 1
    with pytest.raises(UsageError, match="names of the label set"):
        score("ingredient_recall@nutrition5k", listed)

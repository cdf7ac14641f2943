"""Retelling: response shuffling (InstFree, eq. 4), instructions drawn afresh, draws by rare words."""

import functools
from collections import Counter
from typing import Any

import numpy as np
import pytest

import models
import ranks
from residency.data.mixture import Mixture
from residency.data.retelling import Retelling, permutation, rarity, sentences
from residency.data.sampler import Sampler, drawn
from residency.errors import UsageError
from residency.task import Wording, text_of
from residency.train.feed import Feed
from residency.types import ImagePart, Markup, Reading, Sample, Turn

REPORT = "Findings: no effusion. Heart is normal.\nImpression: normal."


def told(
    text: Any, retelling: Retelling, draw: tuple[int, ...] = (0, 0, 0), **facts: Any
) -> Reading:
    sample = Sample(id="s", dataset="d", task="report", answer="", **facts)
    parts = text if isinstance(text, tuple) else (text,)
    conversation = (
        Turn("user", (ImagePart(0), "Describe it.")),
        Turn("assistant", parts, learn=True),
    )
    return retelling(Reading(sample=sample, conversation=conversation), draw)


def response(*args: Any, **facts: Any) -> str:
    return text_of(told(*args, **facts).conversation[-1].parts)


@pytest.mark.parametrize(
    ("text", "how", "pieces", "join"),
    [
        ("big cell size, round, label", {"shuffle": "separator"}, 3, ", "),
        ("a b, c d", {"shuffle": "separator", "separator": " "}, 4, " "),
        (REPORT, {"shuffle": "sections"}, 2, "\n"),
        ("One is 1.5 cm. Two, see Fig. 3, is not! Three?", {"shuffle": "sentences"}, 3, " "),
    ],
)
def test_eq4_join_shuffle_split(text, how, pieces, join):
    orders = {response(text, Retelling(**how), (0, epoch, 0)) for epoch in range(60)}
    assert text in orders and len(orders) > min(5, pieces - 1)
    split = Retelling(**how).split(text, "en")[0]
    assert len(split) == pieces
    for order in orders:
        assert sorted(Retelling(**how).split(order, "en")[0]) == sorted(split)
        assert len(order) == len(text)


def test_chinese_is_split_and_joined_by_its_own_marks():
    caption = Retelling(shuffle="separator")
    assert caption.split("细胞大，细胞核圆，单核细胞。", "zh") == (
        ["细胞大", "细胞核圆", "单核细胞"], "，", "。",
    )  # fmt: skip
    orders = {
        response("细胞大，细胞核圆，单核细胞。", caption, (k, 0, 0), language="zh")
        for k in range(40)
    }
    assert len(orders) == 6 and all(order.endswith("。") for order in orders)
    assert sentences("心脏正常。双肺清晰！有积液？") == ["心脏正常。", "双肺清晰！", "有积液？"]
    said = response(
        "心脏正常。双肺清晰。", Retelling(shuffle="sentences"), (1, 0, 0), language="zh"
    )
    assert said in ("心脏正常。双肺清晰。", "双肺清晰。心脏正常。")


def test_an_empty_text_has_one_empty_piece():
    assert Retelling(shuffle="separator").split("", "en") == ([""], ", ", "")


def test_a_full_stop_stays_final():
    ends = {response("a, b, c.", Retelling(shuffle="separator"), (0, e, 0)) for e in range(30)}
    assert len(ends) == 6 and all(end.endswith(".") and end.count(".") == 1 for end in ends)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("E.g. this. That.", 2),
        ("Seen by Dr. Smith. Normal.", 2),
        ("T. 6 is fractured. No shift.", 2),
        ("It measures 3.5 x 2.1 mm. (Arrow) shows it.", 2),
        ("no capital. follows here", 1),
        ("", 0),
    ],
)
def test_sentences(text, count):
    assert len(sentences(text)) == count


def test_every_permutation_is_equally_likely():
    seen = Counter(tuple(permutation(3, k)) for k in range(3000))
    assert len(seen) == 6 and min(seen.values()) > 420


def test_control_text_is_no_piece_and_nothing_changes_by_default():
    parts = (Markup("<box>"), "a, b")
    kept = told(parts, Retelling(shuffle="separator")).conversation[-1].parts
    assert kept[0] is parts[0] and kept[1] in ("a, b", "b, a")
    plain = told("a, b", Retelling())
    assert plain.conversation[0].parts == (ImagePart(0), "Describe it.")


def test_instructions_are_drawn_afresh_after_the_image():
    pool = Retelling(instructions={"en": ("one", "two", "three")})
    asked = [told("a", pool, (0, 0, k)).conversation[0].parts for k in range(30)]
    assert {parts[1] for parts in asked} == {"one", "two", "three"}
    assert all(parts[0] == ImagePart(0) for parts in asked)
    with pytest.raises(UsageError, match="No instruction in language 'zh'"):
        told("a", pool, language="zh")


def test_an_empty_separator_is_refused():
    with pytest.raises(UsageError, match="splits nothing"):
        Retelling(separator="")


def test_rare_words_are_drawn_more_often():
    weights = rarity(["scale, plaque", "scale, plaque", "scale, plaque", "scale, wheal"])
    assert weights.mean() == pytest.approx(1) and weights[3] > 2 * weights[0]
    counts = Counter(
        place for epoch in range(200) for place in drawn(weights, seed=0, epoch=epoch).tolist()
    )
    assert counts[3] / 800 == pytest.approx(weights[3] / 4, abs=0.05)


# --- in the feed ----------------------------------------------------------------------------------


def mixture(backbone: Any, retelling: Retelling) -> Mixture:
    answers = ("a, b, c, d, e", "f, g, h, i, j")
    return Mixture.of(
        [ranks.dataset(4, answers)], "train", wording=Wording(), codec=backbone.codec,
        seed=0, retelling=retelling,
    )  # fmt: skip


def feed(retelling: Retelling, *, seed: int = 0, rank: int = 0, world: int = 1) -> Any:
    backbone = models.backbone("qwen2_vl")
    mixed = mixture(backbone, retelling)
    sampler = Sampler(len(mixed), 2, seed, functools.partial(mixed.order, seed))
    return Feed(
        backbone=backbone, mixture=mixed, sampler=sampler, views=(ranks.Likelihood().view,),
        size=1, seed=seed, rank=rank, world=world,
    )  # fmt: skip


def responses(one: Any, works: int) -> list[list[int]]:
    made = iter(one)
    found = [b.targets.tokens.tolist() for _ in range(works) for b in next(made).batches]
    return sorted(found)


def test_orders_change_from_epoch_to_epoch_and_repeat_with_the_seed():
    shuffle = Retelling(shuffle="separator")
    first, both = responses(feed(shuffle), 2), responses(feed(shuffle), 4)
    assert len({tuple(tokens) for tokens in both}) > 4
    assert first == responses(feed(shuffle), 2) != responses(feed(shuffle, seed=1), 2)


def test_orders_do_not_depend_on_the_number_of_processes():
    shuffle = Retelling(shuffle="separator")
    split = responses(feed(shuffle, rank=0, world=2), 2) + responses(
        feed(shuffle, rank=1, world=2), 2
    )
    assert sorted(split) == responses(feed(shuffle), 2)


def test_a_sampler_with_weights_goes_on_from_its_state():
    weights = np.array([1.0, 1.0, 6.0])

    def draw(epoch: int) -> np.ndarray:
        return drawn(weights, seed=0, epoch=epoch)

    whole = Sampler(3, 2, 0, draw)
    batches = [batch for _ in range(4) for batch in whole]
    again = Sampler(3, 2, 0, draw)
    again.restore({"n": 3, "batch_size": 2, "seed": 0, "pool": 1, "epoch": 1, "position": 2})
    assert [batch for _ in range(3) for batch in again] == batches[3:]
    assert Counter(i for b in batches for i in b)[2] > 4

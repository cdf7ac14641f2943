"""The samples themselves: images with boxes and points, what was asked, and what every method said."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from residency.dataset import Dataset
from residency.errors import DataError, ResidencyError, UsageError
from residency.evaluate.charts import text
from residency.evaluate.drawing import best_frame, crossed, drawn, picture, shapes
from residency.evaluate.predict import select
from residency.evaluate.results import shown
from residency.evaluate.runs import Answered
from residency.evaluate.score import verdicts
from residency.metric import metric
from residency.task import PAPER, Wording, task
from residency.types import Answer, Box, Box3D, Point, Prediction, Sample

CARDS = 24  # of a data set and task
SLICES = 9  # of a volume, around the one that is shown first
MOST_TEXT = 600  # characters of a question or an answer
MOST_METHODS = 8
MOST_NAMES = 8  # of the boxes or points of an answer
SEARCHED = 20_000  # samples of a split, for those that do not stand where they were asked
_STROKES = ("#ffb000", "#19c3e6", "#ff5da2", "#7ee04a", "#b48cff")


@dataclass(slots=True)
class Budget:
    """How many bytes of images a page may still take, and how many images it had to leave out."""

    bytes_left: int = 8_000_000
    left_out: int = 0

    def take(self, coded: str) -> str:
        """The image, or '' where it no longer fits."""
        if len(coded) > self.bytes_left:
            self.left_out += 1
            return ""
        self.bytes_left -= len(coded)
        return coded


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What one method answered; `right` is None and `score` says how good it is where both are possible."""

    method: str
    prediction: Prediction
    right: bool | None
    score: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """One sample: where it stands among the predictions, its facts, and the replies.

    `sample` is None where its images are not at hand.
    """

    place: int
    reference: Answer
    replies: tuple[Reply, ...]
    sample: Sample | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    wording: Wording = PAPER  # in which the last method was asked

    @property
    def wrong(self) -> int:
        """How many methods are wrong about it, the last counting most."""
        each = [reply.right is False for reply in self.replies]
        return sum(each) + len(each) * bool(each and each[-1])


def cards(
    answered: Sequence[Answered], dataset: Dataset | None, *, limit: int = CARDS
) -> list[Card]:
    """At most `limit` samples that all these methods answered, those with most wrong answers first.

    At most two thirds of them are wrong while others are left, so that failures are not all one sees.
    Controls are left out. Sample ids may be file names that name a person, and are not kept: a card is
    known by its line in the predictions.
    """
    methods = [one for one in answered if not one.control][-MOST_METHODS:]
    if not methods:
        return []
    judging = _judging(methods)
    judged = [_judged(one, judging) for one in methods]
    found = []
    for place, p in enumerate(methods[-1].predictions):
        replies = tuple(replies[p.sample] for replies in judged if p.sample in replies)
        found.append(Card(place=place, reference=p.reference, replies=replies, facts=p.facts))
    found.sort(key=lambda card: (-card.wrong, _score(card)))
    wrong = [card for card in found if card.wrong]
    right = [card for card in found if not card.wrong]
    taken = wrong[: max(limit - len(right), 2 * limit // 3)]
    taken += right[: limit - len(taken)]
    if dataset is None:
        return taken
    samples = _samples(methods[-1], dataset, [card.place for card in taken])
    return [
        replace(c, sample=sample, wording=_wording(methods[-1]))
        for c, sample in zip(taken, samples, strict=True)
    ]


def _score(card: Card) -> float:
    score = card.replies[-1].score if card.replies else ""
    return float(score) if score else 0.0


def _verdicts(one: Answered, name: str) -> np.ndarray | None:
    """1 right, 0 wrong, NaN neither, for each prediction; None where the metric cannot tell."""
    try:
        return verdicts(metric(name), metric(name).prepare(one.predictions, one.labels))
    except ResidencyError:  # needs a fact that these predictions lack
        return None


def _judging(methods: Sequence[Answered]) -> str:
    """The first metric by which the answers of all methods are right or wrong, '' for none."""
    names = list(methods[-1].row.metrics)
    told = (n for n in names if all(_verdicts(one, n) is not None for one in methods))
    return next(told, "")


def _graded(one: Answered) -> list[str]:
    """How good each answer is by the first metric of the row that can be computed, '' for undefined."""
    for name in one.row.metrics:
        try:
            statistics = metric(name).prepare(one.predictions, one.labels)
        except ResidencyError:  # as above
            continue
        value, weight = metric(name).value, np.ones((1, 1))
        each = (float(value(row[None], weight)[0]) for row in statistics)
        return [shown(name, number) if np.isfinite(number) else "" for number in each]
    return [""] * len(one.predictions)


def _judged(one: Answered, judging: str) -> dict[str, Reply]:
    """The reply to every sample by its id, right or wrong by the metric `judging`, else with a score."""
    right = _verdicts(one, judging) if judging else None
    scores = _graded(one) if right is None else [""] * len(one.predictions)
    return {
        p.sample: Reply(
            method=one.title,
            prediction=p,
            right=None if right is None or np.isnan(right[i]) else bool(right[i]),
            score=scores[i],
        )
        for i, p in enumerate(one.predictions)
    }


def _samples(one: Answered, dataset: Dataset, places: Sequence[int]) -> list[Sample | None]:
    """The samples at these places of the predictions; None where the data set has another one there."""
    split = str(one.identity.get("split", "test"))
    limit, seed = one.identity.get("limit"), int(one.identity.get("seed", one.row.seed))
    wanted = [one.predictions[place].sample for place in places]
    try:
        whole = dataset.split(split)
        if limit is not None:
            whole = select(dataset, split, limit=limit, seed=seed)
    except UsageError:
        return [None] * len(places)
    found = {}
    for place, name in zip(places, wanted, strict=True):
        if place < len(whole) and whole[place].id == name:
            found[name] = whole[place]
    if len(found) < len(wanted):  # rows were left out, or one task of several was asked
        looked = (whole[place] for place in range(min(len(whole), SEARCHED)))
        found |= {sample.id: sample for sample in looked if sample.id in wanted}
    return [found.get(name) for name in wanted]


def gallery(found: Sequence[Card], total: int, budget: Budget, *, title: str) -> str:
    """Cards with filters; without JavaScript all of them stand there."""
    if not found:
        return ""
    methods = list(dict.fromkeys(reply.method for card in found for reply in card.replies))
    wrong = sum(card.wrong > 0 for card in found)
    asked = {_question(card) for card in found}
    one = f" All were asked: “{_cut(min(asked))}”" if len(asked) == 1 and asked != {""} else ""
    body = "".join(_card(card, methods, budget, "" if one else _question(card)) for card in found)
    graded = any(reply.score for card in found for reply in card.replies)
    order = f"those with wrong answers first: {wrong} of them have one"
    if graded and not wrong:
        order = f"those with the lowest score of {methods[-1]} first"
    references = sorted({_words(card.reference) for card in found})
    choices = references if 1 < len(references) <= 40 else []
    return (
        f'<div class="gallery">{f"<h3>{text(title)}</h3>" if title else ""}'
        f'<p class="note">{len(found)} of {total:,} samples, {text(order)}. Numbers are lines of the '
        f"predictions file.{one}</p>"
        f"{_filters(methods, choices)}"
        f'<div class="cards">{body}</div></div>'
    )


def _filters(methods: Sequence[str], references: Sequence[str]) -> str:
    def select_box(name: str, label: str, options: Sequence[tuple[str, str]]) -> str:
        listed = "".join(
            f'<option value="{text(v)}">{text(words)}</option>' for v, words in options
        )
        return f'<label>{label} <select data-filter="{name}">{listed}</select></label>'

    every = [("", "all"), *((str(at), name) for at, name in enumerate(methods))]
    outcomes = [("", "all"), ("wrong", "wrong"), ("right", "right"), ("mute", "not understood")]
    parts = [select_box("method", "Method", every), select_box("outcome", "Answers", outcomes)]
    if references:
        parts.append(
            select_box("reference", "Reference", [("", "all"), *((r, r) for r in references)])
        )
    return f'<div class="filters" hidden>{"".join(parts)}<output aria-live="polite"></output></div>'


def _card(card: Card, methods: Sequence[str], budget: Budget, asked: str) -> str:
    replies = "".join(_reply(reply, methods.index(reply.method)) for reply in card.replies)
    question = f"<p>{_cut(asked)}</p>" if asked else ""
    line = f"<small>line {card.place + 2}</small>"  # the first says how they were made
    wide = ' class="wide"' if card.sample and "slices" in card.sample.attributes else ""
    return (
        f'<article{wide} data-reference="{text(_words(card.reference))}">'
        f"{_images(card, methods, budget)}"
        f"<div>{question}<dl><dt>reference</dt><dd><b>{_cut(_words(card.reference))}</b></dd>{replies}"
        f"</dl>{line}</div></article>"
    )


def _wording(one: Answered) -> Wording:
    """In which a method was asked; what somebody else predicted does not say."""
    said = one.identity.get("wording")
    return Wording(**said) if isinstance(said, Mapping) else PAPER


def _question(card: Card) -> str:
    sample = card.sample
    return "" if sample is None else task(sample.task).ask(sample, card.wording)


_MARKS = {True: ("right", "✓ right"), False: ("wrong", "✗ wrong")}


def _reply(reply: Reply, at: int) -> str:
    mute = reply.prediction.answer is None
    kind, mark = _MARKS.get(reply.right, ("open", reply.score))  # type: ignore[arg-type]
    if mute:
        kind, mark = "mute", "? not understood"
    shown_mark = f'<em class="{kind}">{text(mark)}</em>' if mark else ""
    words = reply.prediction.text if mute else _words(reply.prediction.answer)
    outcome = "mute wrong" if mute and reply.right is False else kind
    stroke = (
        f' style="--stroke:{_STROKES[at % len(_STROKES)]}"' if _placed(reply.prediction) else ""
    )
    key = f'<i class="swatch"{stroke}></i>' if stroke else ""
    return (
        f'<div class="reply" data-method="{at}" data-outcome="{outcome}"><dt>{key}{text(reply.method)}'
        f"</dt><dd><span>{_cut(words) or '(nothing)'}</span>{shown_mark}</dd></div>"
    )


def _placed(prediction: Prediction) -> bool:
    answer = prediction.answer
    return isinstance(answer, tuple) and any(not isinstance(part, str) for part in answer)


def _words(answer: Answer | None) -> str:
    """An answer as a reader sees it: text, labels joined, boxes and points by name and number."""
    if answer is None or isinstance(answer, str):
        return answer or ""
    names = [part if isinstance(part, str) else part.name for part in answer]
    if all(isinstance(part, str) for part in answer):
        return ", ".join(names) or "none"
    kinds = {Box: "box", Box3D: "3D box", Point: "point"}
    counts = {name: names.count(name) for name in names}
    kind = next(kinds[type(part)] for part in answer if not isinstance(part, str))
    said = [f"{name or kind}{f' × {n}' if n > 1 else ''}" for name, n in counts.items()]
    more = f" and {len(said) - MOST_NAMES} more" if len(said) > MOST_NAMES + 1 else ""
    return ", ".join(said[:MOST_NAMES] if more else said) + more


def _cut(words: str) -> str:
    return text(words if len(words) <= MOST_TEXT else f"{words[:MOST_TEXT]} …")


def _images(card: Card, methods: Sequence[str], budget: Budget) -> str:
    """The image with the shapes of the reference and of every method; of a volume a strip of slices."""
    sample = card.sample
    if sample is None or not sample.images:
        return ""
    facts: Mapping[str, object] = sample.attributes
    first = best_frame(card.reference, facts)
    if "slices" not in facts:
        frames: Sequence[int] = range(min(len(sample.images), 4))  # the images of a comparison
    else:
        step = max(1, len(sample.images) // SLICES)
        frames = sorted({*range(first % step, len(sample.images), step)})[:SLICES]
    tiles = [_tile(card, sample, frame, methods, budget, len(frames)) for frame in frames]
    if len(tiles) == 1:
        return tiles[0]
    kind = "slices" if "slices" in facts else "images"
    return (
        f'<div class="strip" tabindex="0" role="group" aria-label="{len(tiles)} {kind}">'
        f"{''.join(tiles)}</div>"
    )


def _tile(
    card: Card, sample: Sample, frame: int, methods: Sequence[str], budget: Budget, of: int
) -> str:
    try:
        image = sample.images[frame].load()
    except DataError:  # its message may name a file, and with it a person
        return '<div class="bad">image cannot be read</div>'
    coded = budget.take(picture(image, 256 if of == 1 or "slices" in sample.attributes else 160))
    if not coded:
        return '<div class="bad">image left out: the page is full</div>'
    width, height = image.size
    over = "".join(_shapes(card, sample.attributes, frame, (width, height), methods))
    caption = f"<figcaption>{_slice(sample, frame)}</figcaption>" if of > 1 else ""
    # Small images are enlarged dot by dot, so that what the model saw is what one sees.
    small = ' style="image-rendering:pixelated"' if max(width, height) < 160 else ""
    svg = (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="sample {card.place + 1}">'
        f'<image href="{coded}" width="{width}" height="{height}"{small}/>{over}</svg>'
    )
    return f"<figure>{svg}{caption}</figure>" if of > 1 else svg


def _slice(sample: Sample, frame: int) -> str:
    places = sample.attributes.get("slices", "").split()
    return f"slice {places[frame]}" if places else f"image {frame + 1}"


def _shapes(
    card: Card,
    facts: Mapping[str, object],
    frame: int,
    size: tuple[int, int],
    methods: Sequence[str],
) -> Iterator[str]:
    """The reference solid on a dark rim, predictions dashed in the colour of their method.

    A predicted point is a cross, tied to the landmark of the same name by a thin line.
    """
    landmarks = {entry.name: entry for entry in card.reference if isinstance(entry, Point)}
    longest = max(size)
    for shape in shapes(card.reference, facts, frame, size) if _drawable(card.reference) else ():
        yield drawn(shape, longest, 'class="rim"')
        yield drawn(shape, longest, 'class="shape"')
    for reply in card.replies:
        answer = reply.prediction.answer
        if answer is None or not _drawable(answer):
            continue
        at = methods.index(reply.method)
        lines = "".join(
            drawn(s, longest, 'class="shape said"')
            if isinstance(s, Box)
            else crossed(s, landmarks.get(s.name), longest)
            for s in itertools.islice(shapes(answer, facts, frame, size), 40)
        )
        yield f'<g data-method="{at}" style="--stroke:{_STROKES[at % len(_STROKES)]}">{lines}</g>'


def _drawable(answer: Answer) -> bool:
    return isinstance(answer, tuple) and any(not isinstance(part, str) for part in answer)

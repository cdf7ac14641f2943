"""The step that makes pair comparisons: two images, and what their captions have in common and not.

UMIT's first stage (sec. 3.2): a text model reads two captions and writes the similarities and
differences of the images; the sample shows both images. Where samples carry facts, `facts` writes
exact texts without any model.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, NamedTuple

from residency.data.negatives import uniform
from residency.data.rows import Rows
from residency.dataset import Dataset
from residency.errors import UsageError
from residency.evaluate.progress import watched
from residency.step import BASE, Workspace
from residency.synthesis import cost, store
from residency.synthesis.engine import Reply, Request, Sampling, content_key, open_engine
from residency.synthesis.pairs import Pair, pairs
from residency.synthesis.synthesizer import named
from residency.synthesis.truth import facts_of
from residency.types import Language, Sample, Turn

FACTS = "facts"
ROWS = "rows"
# Comparisons for each caption: 0.9 M for 1.6 M in English, 0.2 M for 0.3 M in Chinese (sec. 3.2).
PER_CAPTION: Mapping[Language, float] = {"en": 0.9 / 1.6, "zh": 0.2 / 0.3}
MOST = 3  # facts of each kind that `facts` states
PROMPTS: Mapping[Language, str] = {
    "en": (
        "Two images are known to you by these descriptions.\nImage 1: {first}\nImage 2: {second}\n"
        "Write a short text for somebody who sees both images: first what they have in common, then "
        "how they differ. Speak of image 1 and image 2, not of descriptions, and state nothing that "
        "the descriptions do not say."
    ),
    "zh": (
        "你通过以下描述了解两张图像。\n图像1：{first}\n图像2：{second}\n"
        "请为同时看到两张图像的人写一段简短的文字：先写相同点，再写不同点。"
        "请直接称呼图像1和图像2，不要提及描述，也不要写描述中没有的内容。"
    ),
}
TOLD = (
    "caption",
    "description",
    "描述",
    "说明文字",
)  # a text that speaks of these is no comparison
_SAID: Mapping[Language, tuple[str, str, str, str]] = {
    "en": (
        "In both images {}.",
        "In image 1 {}; in image 2 {}.",
        "the {trait} is {value}",
        ", ",
    ),
    "zh": ("两张图像中{}。", "图像1中{}；图像2中{}。", "{trait}为{value}", "，"),
}


class Two(NamedTuple):
    """Two pairs to be compared; `key` is unique in a job."""

    key: str
    first: Pair
    second: Pair

    @property
    def language(self) -> Language:
        """That of the first caption."""
        return self.first.sample.language


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Draw pairs of images from the captions of each data set and write what they share and do not.

    `writer` is `facts`, or an engine as `open_engine` takes it; a local one runs the model that step
    `of` left (or the base). `auto` is `facts` where all samples carry some, and `local` elsewhere.
    `share` is how many comparisons there are for each caption; None takes the paper's, which depends
    on the language.
    """

    name: str
    data: tuple[str, ...]
    writer: str = "auto"
    of: str = BASE
    split: str = "train"
    share: float | None = None
    sampling: Sampling = Sampling(max_tokens=256)  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        if self.share is not None and not 0 < self.share < float("inf"):
            raise UsageError(f"share={self.share}: give comparisons for each caption, above 0.")

    @property
    def needs(self) -> tuple[str, ...]:
        """The model that writes, if any does."""
        return () if self.writer == FACTS else (self.of,)

    def plan(self, workspace: Workspace) -> list[str]:
        """How many comparisons, and who writes them."""
        drawn, lost = self._drawn(workspace)
        writer = self._writer(drawn)
        by = "; ".join(f"{name}: {n:,}" for name, n in _counted(drawn).items())
        told = [f"{len(drawn):,} comparisons of two images by {writer} ({by})"]
        told += [f"not compared: {', '.join(f'{why} {n}' for why, n in lost.items())}"] * bool(lost)
        if writer == FACTS:
            return told
        served = "endpoint" in writer
        return [*told, cost.describe("synthesise", len(drawn), workspace.base, served=served)]

    def check(self, workspace: Workspace) -> None:
        """Refuse data without pairs, and `facts` where a sample carries none."""
        drawn, _ = self._drawn(workspace)
        if self._writer(drawn) == FACTS:
            self._told(drawn)

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Write, or go on; returns the counts."""
        made, counts = self._samples(workspace, write=True)
        if not made:
            raise UsageError(f"Step {self.name!r} leaves no comparison: {dict(counts)}.")
        print("  " + ", ".join(f"{name} {n}" for name, n in counts.items()), flush=True)
        return {"comparisons": len(made), **counts}

    def dataset(self, workspace: Workspace) -> Dataset:
        """The comparisons; all of them are for training."""
        samples, _ = self._samples(workspace)
        return Dataset(
            name=self._set,
            splits={"train": Rows(len(samples), samples.__getitem__)},
            digest=content_key([(s.id, s.answer) for s in samples]),
        )

    @property
    def _set(self) -> str:
        """The name of the data set that it makes."""
        return f"{self.name}-pairs"

    def _drawn(self, workspace: Workspace) -> tuple[list[Two], Counter[str]]:
        """The pairs to compare, and how many samples are no image with a caption, by reason."""
        found, lost = list[Two](), Counter[str]()
        for dataset in workspace.datasets(self.data):
            every, left = pairs([dataset], self.split, limit=workspace.limit, seed=workspace.seed)
            found += draw(every, self.share, seed=workspace.seed)
            lost += left
        return found, lost

    def _samples(
        self, workspace: Workspace, *, write: bool = False
    ) -> tuple[list[Sample], Counter[str]]:
        drawn, lost = self._drawn(workspace)
        if self._writer(drawn) == FACTS:
            texts = [(text, "") for text in self._told(drawn)]
        else:
            rows = self._written(drawn, workspace) if write else self._kept(workspace)
            texts = [judged(row) for row in rows]
        counts = Counter({f"not compared ({why})": n for why, n in lost.items()})
        samples = []
        for two, (text, reason) in zip(drawn, texts, strict=True):
            counts[reason or f"comparisons ({two.language})"] += 1
            if not reason:
                samples.append(_sample(two, text, self._set))
        return samples, counts

    def _writer(self, drawn: Sequence[Two]) -> str:
        if self.writer != "auto":
            return self.writer
        return FACTS if all(map(by_facts, drawn)) else "local"

    def _told(self, drawn: Sequence[Two]) -> list[str]:
        texts = [by_facts(two) for two in drawn]
        if "" in texts:
            two = drawn[texts.index("")]
            raise UsageError(
                f"Samples {two.first.key} and {two.second.key} carry no facts that could be compared. "
                "Give a writer: an engine such as local or endpoint:URL."
            )
        return texts

    def _kept(self, workspace: Workspace) -> list[store.Row]:
        return store.read_rows(workspace.folder(self.name) / ROWS)

    def _written(self, drawn: Sequence[Two], workspace: Workspace) -> list[store.Row]:
        with open_engine(self._writer(drawn), workspace.model(self.of)) as engine:
            made = {
                "model": named(engine, self.of, workspace),
                "weights": engine.weights,
                "prompt": content_key(dict(PROMPTS))[:8],
                "sampling": self.sampling.as_json(),
            }

            def make(some: Sequence[Two]) -> list[store.Row]:
                keys = [content_key(made, two.key, *_captions(two)) for two in some]
                asked = [_request(two, key) for two, key in zip(some, keys, strict=True)]
                replies = engine.write(asked, self.sampling)
                return [
                    _row(two, key, reply, made)
                    for two, key, reply in zip(some, keys, replies, strict=True)
                ]

            identity = {
                "job": "compare",
                "made": made,
                "pairs": content_key([t.key for t in drawn]),
            }
            with watched(self.name) as progress:
                return store.fill(
                    workspace.folder(self.name) / ROWS,
                    identity,
                    drawn,
                    make,
                    group=engine.batch,
                    progress=progress,
                )


def draw(every: Sequence[Pair], share: float | None, *, seed: int) -> list[Two]:
    """Pairs of different cases of one data set, as many as `share` says; each image about equally often.

    Raises:
        UsageError: all pairs are of one case.
    """
    units = {pair.sample.unit for pair in every}
    if len(units) < 2:
        raise UsageError(
            f"{every[0].sample.dataset} has captions of one case; two images are compared."
        )
    per = PER_CAPTION[every[0].sample.language] if share is None else share
    count, found = max(1, round(len(every) * per)), list[Two]()
    order = list(range(len(every)))
    while len(found) < count:
        if len(found) % len(every) == 0:  # a new round: every image is the first one once
            Random(f"{seed}/{len(found)}").shuffle(order)
        first = every[order[len(found) % len(every)]]
        place = turn = 0
        while turn == 0 or every[place].sample.unit == first.sample.unit:
            place, turn = uniform(len(every), seed, len(found), turn), turn + 1
        second = every[place]
        found.append(Two(f"{first.key}+{second.key}#{len(found)}", first, second))
    return found


def by_facts(two: Two) -> str:
    """What two samples have in common and not, by at most three of their facts each; "" without facts.

    Every statement is true, because the facts are; which are stated is drawn by the pair's key.
    """
    first, second = (facts_of(pair.sample.attributes) for pair in (two.first, two.second))
    traits = [trait for trait in first if trait in second]
    Random(two.key).shuffle(traits)
    same = [trait for trait in traits if first[trait] == second[trait]][:MOST]
    apart = [trait for trait in traits if first[trait] != second[trait]][:MOST]
    both, each, one, join = _SAID[two.language]

    def told(facts: Mapping[str, str], some: Sequence[str]) -> str:
        return join.join(one.format(trait=trait, value=facts[trait]) for trait in some)

    said = [both.format(told(first, same))] if same else []
    said += [each.format(told(first, apart), told(second, apart))] if apart else []
    return (" " if two.language == "en" else "").join(said)


def judged(row: Mapping[str, Any]) -> tuple[str, str]:
    """The text of a row, and why it is none ("" where it is one)."""
    text = str(row["said"]).strip()
    if row["finish"] != "stop":
        return "", "cut_off" if row["finish"] == "length" else "engine_failed"
    if not text:
        return "", "empty"
    return text, "speaks_of_captions" if any(word in text.lower() for word in TOLD) else ""


def _captions(two: Two) -> tuple[str, str]:
    return two.first.caption, two.second.caption


def _request(two: Two, key: str) -> Request:
    first, second = _captions(two)
    said = PROMPTS[two.language].format(first=first, second=second)
    return Request(id=key, turns=(Turn("user", (said,)),))


def _row(two: Two, key: str, reply: Reply, made: Mapping[str, Any]) -> store.Row:
    return {
        "key": key,
        "id": two.key,
        "said": reply.text,
        "finish": reply.finish,
        "reason": reply.reason,
        "made": made,
    }


def _sample(two: Two, text: str, dataset: str) -> Sample:
    """The two images under the task `comparison`."""
    first, second = two.first.sample, two.second.sample
    return replace(
        first,
        id=f"{first.id}+{second.id}#{two.key.rpartition('#')[2]}",
        dataset=dataset,
        task="comparison",
        volume=None,  # of two volumes of a slice each, the slices are no clip
        answer=text,
        images=(*first.images, *second.images),
        question="",
        options=(),
        attributes={},
        also=(),
    )


def _counted(drawn: Sequence[Two]) -> Mapping[str, int]:
    return Counter(two.first.sample.dataset for two in drawn)

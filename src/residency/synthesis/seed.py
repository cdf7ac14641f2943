"""The step that builds the synthesizer's training data from seed triplets (AdaMLLM, Table 1)."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any, Literal

import PIL.Image

from residency.data.rows import Rows
from residency.dataset import Dataset
from residency.errors import UsageError
from residency.evaluate.store import write_whole
from residency.model.album import BLANK_GREY
from residency.step import Workspace
from residency.synthesis.engine import content_key
from residency.synthesis.overlap import Seen, evaluated
from residency.synthesis.pairs import IN_EVALUATION, Found, Pair
from residency.triplets import Triplet
from residency.types import Picture, Sample

Form = Literal["delimited", "header"]
Sees = Literal["both", "image", "caption"]
DESCRIBE = "Describe the image."
PREFIXES = {
    "precise": "Answer with a precise response.\n",
    "informative": "Answer with an informative response.\n",
}
HELD_OUT = 0.1
FILE = "seed.json"


@dataclass(frozen=True, kw_only=True)
class Seed:
    """Seed triplets of `data` as conversations that a synthesizer learns from.

    `delimited`: one instruction, one response with three named parts (any engine can ask for it).
    `header`: the paper's conversation: the caption turn is given, then two task turns in random order,
    of which questions and responses are learned; trained with `turns="continued"`. `sees` says what
    the synthesizer is shown; `blank` is the share of training images that a blank one replaces. A
    tenth of every kind of task is held out as `val`, with all that is asked about its images. Rows
    whose image is in the test or validation split of a data set of `exclude` are left out and counted.
    Further tasks about a picture (`also`) are learned with it: in one reading of picture and caption
    where the form is `delimited`.
    """

    name: str
    data: tuple[str, ...]
    form: Form = "delimited"
    sees: Sees = "both"
    blank: float = 0.1
    exclude: tuple[str, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def plan(self, workspace: Workspace) -> list[str]:
        """How many triplets there are."""
        if not 0 <= self.blank <= 1:
            raise UsageError(f"blank={self.blank} is a share of the images: from 0 to 1.")
        excluded = ", ".join(self.exclude) or "nothing"
        return [
            f"{self.most(workspace)} pictures, a tenth held out; {self.form}, sees {self.sees}, "
            f"{100 * self.blank:g} % blank images; images of {excluded} are left out"
        ]

    def check(self, workspace: Workspace) -> None:
        """Refuse what is no seed."""
        self.plan(workspace)

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Choose and split; the choice goes to `seed.json`."""
        seen = Seen(evaluated(workspace, self.exclude))
        counts: Counter[str] = Counter()
        kept: dict[str, list[tuple[str, tuple[int, int]]]] = {}
        for number, samples in enumerate(self._samples(workspace)):
            for index, sample in enumerate(samples):
                reason = _unusable(sample) or (
                    IN_EVALUATION if any(map(seen.has, sample.images)) else ""
                )
                counts[reason or "kept"] += 1
                if not reason:
                    own = kept.setdefault(sample.attributes.get("kind", ""), [])
                    own.append((sample.images[0].key, (number, index)))
        splits = _split(kept, workspace.seed)
        if not splits["train"] or not splits["val"]:
            raise UsageError(f"{self.data}: too few triplets to hold a tenth out ({dict(counts)}).")
        content = {split: sorted(places) for split, places in splits.items()}
        write_whole(workspace.folder(self.name) / FILE, json.dumps(content) + "\n")
        facts = {
            **counts,
            "evaluation_images": len(seen),
            **{split: len(places) for split, places in splits.items()},
            "kinds": {kind: len(places) for kind, places in sorted(kept.items())},
        }
        print("  " + ", ".join(f"{k} {v}" for k, v in facts.items() if k != "kinds"), flush=True)
        return facts

    def dataset(self, workspace: Workspace) -> Dataset:
        """Train and held-out conversations; only training images are ever blank."""
        every = self._samples(workspace)
        places = self._places(workspace)

        def build(split: str, row: int) -> Sample:
            number, index, *part = places[split][row]
            tasks = each(every[number][index])
            blank = self.blank if split == "train" else 0.0
            first, *more = (
                conversation(one, self.form, self.sees, blank, workspace.seed)
                for one in ([tasks[part[0]]] if part else tasks)
            )
            return replace(first, also=tuple(more)) if more else first

        if self.form == "header":  # a conversation of its own for every task
            places = {
                split: [
                    [number, index, part]
                    for number, index in some
                    for part in range(len(each(every[number][index])))
                ]
                for split, some in places.items()
            }

        return Dataset(
            name=f"{self.name}-seed",
            splits={
                split: Rows(len(some), partial(build, split)) for split, some in places.items()
            },
            digest=content_key(places, [one.digest for one in workspace.datasets(self.data)]),
        )

    def found(self, workspace: Workspace) -> list[Found]:
        """The training triplets themselves: the paper's general tasks."""
        return [
            Found(Pair(one.id, one, one.attributes["caption"]), Triplet(*map(str, one.answer)))
            for sample in self._chosen(workspace, "train")
            for one in each(sample)
        ]

    def most(self, workspace: Workspace) -> int:
        """As many as its data has rows; further tasks about a picture are not counted."""
        return sum(len(one) for one in self._samples(workspace))

    def held_out(self, workspace: Workspace) -> list[Pair]:
        """The pairs of the held-out triplets, to synthesise about."""
        return [
            Pair(one.id, one, one.attributes["caption"]) for one in self._chosen(workspace, "val")
        ]

    def _chosen(self, workspace: Workspace, split: str) -> list[Sample]:
        every = self._samples(workspace)
        return [every[number][index] for number, index in self._places(workspace)[split]]

    def _places(self, workspace: Workspace) -> dict[str, list[list[int]]]:
        text = (workspace.folder(self.name) / FILE).read_text(encoding="utf-8")
        places: dict[str, list[list[int]]] = json.loads(text)
        return places

    def _samples(self, workspace: Workspace) -> list[Any]:
        return [dataset.split("train") for dataset in workspace.datasets(self.data)]


def _split(
    kept: Mapping[str, Sequence[tuple[str, tuple[int, int]]]], seed: int
) -> dict[str, list[tuple[int, int]]]:
    """A tenth of the places of every kind, images drawn with `seed`; an image stays on one side."""
    side: dict[str, str] = {}
    splits: dict[str, list[tuple[int, int]]] = {"train": [], "val": []}
    for kind, own in sorted(kept.items()):
        of = Counter(image for image, _ in own)
        images = list(of)
        Random(f"{seed}/{kind}").shuffle(images)
        wanted = round(HELD_OUT * len(own)) - sum(of[i] for i in of if side.get(i) == "val")
        for image in images:
            if image not in side:
                side[image] = "val" if wanted > 0 else "train"
                wanted -= of[image]
        for image, place in own:
            splits[side[image]].append(place)
    return splits


def _unusable(sample: Sample) -> str:
    parts = [one.answer for one in each(sample)]
    if sample.task != "triplet" or any(len(one) != len(Triplet._fields) for one in parts):
        return "no_triplet"
    if not all(str(part).strip() for one in parts for part in one):
        return "empty_part"
    if not sample.images:
        return "no_image"
    return "" if sample.attributes.get("caption", "").strip() else "no_caption"


def each(sample: Sample) -> tuple[Sample, ...]:
    """The tasks about a picture, one sample for each."""
    return (replace(sample, also=()), *sample.also)


def conversation(sample: Sample, form: Form, sees: Sees, blank: float, seed: int) -> Sample:
    """One seed triplet as a sample to learn; the draws follow from `seed`, its picture and its id."""
    rng = Random(f"{seed}/{sample.id}")
    hidden = Random(f"{seed}/{sample.images[0].key}").random() < blank
    images = tuple(map(blanked, sample.images)) if hidden else sample.images
    caption = "" if sees == "image" else sample.attributes["caption"]
    sample = replace(
        sample,
        images=() if sees == "caption" else images,
        attributes={**sample.attributes, "caption": caption},
    )
    if form == "delimited":
        return sample
    triplet = Triplet(*map(str, sample.answer))
    order = rng.sample(("precise", "informative"), 2)
    rounds = tuple(
        replace(
            sample,
            id=f"{sample.id}#{kind}",
            task="caption",
            images=(),
            question=PREFIXES[kind] + triplet.instruction,
            answer=getattr(triplet, kind),
        )
        for kind in order
    )
    return replace(sample, task="caption", question=DESCRIBE, answer=caption, also=rounds)


def blanked(picture: Picture) -> Picture:
    """A grey image of the same size."""
    size = picture.size
    return Picture(
        key=f"blank of {picture.key}" if size is None else f"blank/{size[0]}x{size[1]}",
        load=partial(_blank, picture),
        size=size,
    )


def _blank(picture: Picture) -> PIL.Image.Image:
    return PIL.Image.new("RGB", picture.size or picture.load().size, BLANK_GREY)

"""Image-caption pairs of any data set, and what was found about them: a triplet, or why there is none."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Protocol, runtime_checkable

from residency.dataset import Dataset
from residency.errors import UsageError
from residency.evaluate.predict import select
from residency.evaluate.store import write_whole
from residency.provenance import file_hash
from residency.step import Workspace
from residency.synthesis.engine import content_key
from residency.synthesis.overlap import Seen, evaluated
from residency.triplets import Triplet
from residency.types import Picture, Sample

LEFT_OUT = "left_out.json"
IN_EVALUATION = "in_an_evaluation_split"
SPOKEN = ("caption", "report")  # tasks whose answer describes the image


class Pair(NamedTuple):
    """One image with its caption; `sample` carries the image and the facts. `key` is unique in a job."""

    key: str
    sample: Sample
    caption: str


class Found(NamedTuple):
    """A pair with its triplet; where there is none, `reason` says why, in a word for counting."""

    pair: Pair
    triplet: Triplet | None
    reason: str = ""


@runtime_checkable
class Source(Protocol):
    """A step that leaves triplets."""

    @property
    def name(self) -> str:
        """Its name as a step."""
        ...

    def found(self, workspace: Workspace) -> list[Found]:
        """What it left, once it has run, in its own order."""
        ...

    def most(self, workspace: Workspace) -> int:
        """How many triplets it can leave at most, as far as is known before it runs."""
        ...


def pairs(
    datasets: Sequence[Dataset], split: str, *, limit: int | None, seed: int
) -> tuple[list[Pair], Counter[str]]:
    """The pairs of a split, and how many samples are none, by reason.

    A caption is the attribute `caption`, else the answer of a captioned or reported sample; recipes are
    told anew by templates (`recipe_caption`). One image per pair, as the paper's sources have.

    Raises:
        UsageError: no sample is a pair.
    """
    found: list[Pair] = []
    lost: Counter[str] = Counter()
    for dataset in datasets:
        for sample in select(dataset, split, limit=limit, seed=seed):
            reason, caption = _usable(sample)
            if reason:
                lost[reason] += 1
            else:
                found.append(Pair(f"{dataset.name}/{sample.id}", sample, caption))
    if not found:
        reasons = ", ".join(f"{reason} {count}" for reason, count in lost.most_common())
        names = ", ".join(dataset.name for dataset in datasets)
        raise UsageError(
            f"{names}/{split} has no image-caption pair ({reasons}). Give a data set of captions or "
            "reports, such as phantoms:smear:task=report."
        )
    return found, lost


def _usable(sample: Sample) -> tuple[str, str]:
    if not sample.images:
        return "no_image", ""
    if len(sample.images) > 1:
        return "several_images", ""
    caption = _caption(sample)
    return ("", caption) if caption else ("no_caption", "")


def _caption(sample: Sample) -> str:
    if "caption" in sample.attributes:
        return sample.attributes["caption"].strip()
    recipe = recipe_of(sample)
    if recipe is not None:
        return recipe_caption(recipe, seed=sample.id)
    spoken = sample.task in SPOKEN and isinstance(sample.answer, str)
    return str(sample.answer).strip() if spoken else ""


@dataclass(frozen=True, kw_only=True)
class Captions:
    """The pairs of a domain. Those whose image is in the test or validation split of a data set of `exclude`
    are left out and counted."""

    name: str
    data: tuple[str, ...]
    split: str = "train"
    exclude: tuple[str, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def check(self, workspace: Workspace) -> None:
        """Refuse data without pairs."""
        self.pairs(workspace)

    def plan(self, workspace: Workspace) -> list[str]:
        """How many pairs."""
        every, lost = self.pairs(workspace)
        excluded = f"; images of {', '.join(self.exclude)} are left out" if self.exclude else ""
        return [f"{len(every):,} pairs{counted(lost)}{excluded}"]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Count them, and what is none; the keys of those left out go to `left_out.json`."""
        seen = Seen(evaluated(workspace, self.exclude))
        every, lost = self._read(workspace)
        shown = [one.key for one in every if any(map(seen.has, one.sample.images))]
        write_whole(workspace.folder(self.name) / LEFT_OUT, json.dumps(shown) + "\n")
        every, lost = self._without(set(shown), every, lost)
        print(f"  {len(every)} pairs{counted(lost)}", flush=True)
        return {"pairs": len(every), "not_pairs": dict(lost), "evaluation_images": len(seen)}

    def found(self, workspace: Workspace) -> list[Found]:
        """Every pair, without a triplet."""
        return [Found(pair, None, "not_asked") for pair in self.pairs(workspace)[0]]

    def most(self, workspace: Workspace) -> int:
        """None: nothing is asked."""
        return 0

    def pairs(self, workspace: Workspace) -> tuple[list[Pair], Counter[str]]:
        """The pairs, and what is none by reason; before the step has run no image is left out.

        Raises:
            UsageError: there is no pair.
        """
        path = workspace.folder(self.name) / LEFT_OUT
        shown = set(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else set()
        return self._without(shown, *self._read(workspace))

    def _read(self, workspace: Workspace) -> tuple[list[Pair], Counter[str]]:
        datasets = workspace.datasets(self.data)
        return pairs(datasets, self.split, limit=workspace.limit, seed=workspace.seed)

    def _without(
        self, shown: set[str], every: list[Pair], lost: Counter[str]
    ) -> tuple[list[Pair], Counter[str]]:
        """The pairs whose keys are not among `shown`."""
        if not shown:
            return every, lost
        if len(shown) == len(every):
            raise UsageError(
                f"Every image of {', '.join(self.data)} is in an evaluation split of "
                f"{', '.join(self.exclude)}. Give other pairs, or exclude=false."
            )
        kept = [one for one in every if one.key not in shown]
        return kept, lost + Counter({IN_EVALUATION: len(every) - len(kept)})


def counted(lost: Mapping[str, int]) -> str:
    """What is no pair, as it follows a number of pairs."""
    return "".join(f", {reason} {count}" for reason, count in lost.items())


# --- recipes ------------------------------------------------------------------------------------

_TITLED = (
    "This is {t}.", "The dish is called {t}.", "{t}", "Recipe: {t}", "A picture of {t}.",
    "What you see here is {t}.",
)  # fmt: skip
_NEEDED = (
    "Ingredients:", "You need:", "It is made with:", "What goes in:", "Take the following:",
    "Shopping list:",
)  # fmt: skip
_COOKED = (
    "Instructions:", "How to make it:", "Steps:", "Method:", "Do it like this:", "Preparation:",
)  # fmt: skip
_MARKS = (
    "{n}. ", "({n}) ", "{n}) ", "[{n}] ", "- ", "* ", "+ ", "[+] ", "[-] ", "Step {n}: ",
    "{l}. ", "({l}) ", "{l}) ", "{r}. ", "({r}) ", "#{n} ",
)  # fmt: skip
_ROMAN = (
    "I",
    "II",
    "III",
    "IV",
    "V",
    "VI",
    "VII",
    "VIII",
    "IX",
    "X",
    "XI",
    "XII",
    "XIII",
    "XIV",
    "XV",
)


class Recipe(NamedTuple):
    """The parts of a recipe."""

    title: str
    ingredients: tuple[str, ...]
    steps: tuple[str, ...]


def recipe_of(sample: Sample) -> Recipe | None:
    """The recipe of a sample of `recipe1m`, None of others."""
    if "recipe" not in sample.attributes:
        return None
    title, ingredients, steps = json.loads(sample.attributes["recipe"])
    return Recipe(title, tuple(ingredients), tuple(steps))


def recipe_caption(recipe: Recipe, *, seed: str) -> str:
    """The recipe as a caption: our wording, enumerators and order of the sections drawn with `seed`.

    The title comes first or last; ingredients and steps follow each other in either order (LLaVA-Chef's
    captions vary in the same ways).
    """
    rng = Random(seed)
    sections = [
        f"{rng.choice(_NEEDED)}\n{_listed(rng, recipe.ingredients)}",
        f"{rng.choice(_COOKED)}\n{_listed(rng, recipe.steps)}",
    ]
    if rng.random() < 0.3:
        sections.reverse()
    place = 0 if rng.random() < 0.8 else len(sections)
    sections.insert(place, rng.choice(_TITLED).format(t=recipe.title))
    return "\n".join(sections)


def _listed(rng: Random, entries: Sequence[str]) -> str:
    fitting = [mark for mark in _MARKS if "{n}" in mark or "{" not in mark]
    if len(entries) <= len(_ROMAN):
        fitting = list(_MARKS)
    mark = rng.choice(fitting)
    marks = [
        mark.format(n=n, l=chr(97 + (n - 1) % 26), r=_ROMAN[(n - 1) % len(_ROMAN)])
        for n in range(1, len(entries) + 1)
    ]
    return "\n".join(f"{own}{entry}" for own, entry in zip(marks, entries, strict=True))


def row_key(made: object, pair: Pair) -> str:
    """The content address of a row: what was made of which text and image, and how, wherever files lie."""
    images = [_content(picture) for picture in pair.sample.images]
    return content_key(made, pair.key, pair.caption, images)


def _content(picture: Picture) -> str:
    try:
        return file_hash(Path(picture.key))
    except (OSError, ValueError):  # no file of its own, or none that can be read
        return picture.key

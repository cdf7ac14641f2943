"""Four questions that no training asked, put to every model: InstFree's Figure 8 as data and cards.

(a) describe, (b) explain an attribute that the reports tell, (c) general knowledge of the attributes, (d)
judge whether the image is typical. Nothing is scored; they are there to be read.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from residency.data.retelling import permutation
from residency.evaluate import gallery
from residency.evaluate.attributes import FACT
from residency.evaluate.controls import fixed
from residency.evaluate.predict import reading, select
from residency.evaluate.steps import SECTION
from residency.evaluate.store import write_whole
from residency.model import store
from residency.model.answerer import Speaker
from residency.model.huggingface import Limits
from residency.step import Workspace
from residency.task import PAPER
from residency.types import PLAIN, Language, Prediction, Sample

PROBES: Mapping[Language, tuple[tuple[str, str], ...]] = {
    "en": (
        ("a", "Describe the image in two sentences."),
        ("b", "Is the {attribute} what you would expect here? Explain why."),
        ("c", "In general, how does the {attribute} help to tell one kind from another?"),
        ("d", "Does anything about the {attribute} in this image suggest that it is not normal?"),
    ),
    "zh": (
        ("a", "用两句话描述这张图像。"),
        ("b", "这里的{attribute}符合预期吗？请说明原因。"),
        ("c", "一般来说，{attribute}如何帮助区分不同种类？"),
        ("d", "图中的{attribute}是否提示异常？"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Probes:
    """Ask each of `models` (label, step) the four questions about some images of a split."""

    name: str
    models: tuple[tuple[str, str], ...]
    data: tuple[str, ...]
    images: int = 2
    split: str = "test"
    max_tokens: int = 64
    limits: Limits = Limits()  # noqa: RUF009 - frozen

    @property
    def needs(self) -> tuple[str, ...]:
        """All models."""
        return tuple(step for _, step in self.models)

    def plan(self, workspace: Workspace) -> list[str]:
        """How many questions."""
        return [f"4 questions about {self.images} images, {len(self.models)} models"]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Write `probes.json` and the section of the page."""
        asked = self._asked(workspace)
        said = {label: self._answers(workspace, step, asked) for label, step in self.models}
        rows = [
            {
                "probe": sample.id.rpartition("#")[2], "sample": sample.id.rpartition("#")[0],
                "question": sample.question, "report": sample.answer,
                "answers": {label: said[label][place] for label in said},
            }
            for place, sample in enumerate(asked)
        ]  # fmt: skip
        folder = workspace.folder(self.name)
        text = json.dumps(rows, indent=1, ensure_ascii=False)
        write_whole(folder / "probes.json", text + "\n")
        cards = [
            gallery.Card(
                place=place,
                reference=sample.answer,
                sample=sample,
                replies=tuple(
                    gallery.Reply(method=label, prediction=_said(sample, texts[place]), right=None)
                    for label, texts in said.items()
                ),
            )
            for place, sample in enumerate(asked)
        ]
        note = "<p class='note'>Questions that no training asked; the reference is the report.</p>"
        budget = gallery.Budget()
        shown = note + gallery.gallery(cards, len(cards), budget, title="")
        write_whole(folder / SECTION, f"<h2>Probes</h2>{shown}")
        return {"probes": len(rows)}

    def _asked(self, workspace: Workspace) -> list[Sample]:
        """The probes of every chosen image as open questions, drawn with the run's seed."""
        found = []
        for dataset in workspace.datasets(self.data):
            samples = select(dataset, self.split, limit=workspace.limit, seed=workspace.seed)
            for place in permutation(len(samples), workspace.seed)[: self.images]:
                found += probes_of(samples[place])
        return found

    def _answers(self, workspace: Workspace, step: str, asked: Sequence[Sample]) -> list[str]:
        backbone = store.load(workspace.model(step))
        backbone.limits = self.limits
        readings = [reading(sample, PAPER, backbone.codec) for sample in asked]
        said = Speaker(backbone).generate(readings, PLAIN, max_tokens=self.max_tokens)
        return [text for text, _ in said]


def _said(sample: Sample, text: str) -> Prediction:
    return replace(fixed(sample, text or None), text=text)


def probes_of(sample: Sample) -> list[Sample]:
    """The four questions about a sample; the answer of each is its report."""
    attribute = sample.attributes.get(FACT, "appearance" if sample.language == "en" else "表现")
    report = sample.attributes.get("report", "") or str(sample.answer)
    return [
        replace(
            sample, id=f"{sample.id}#{kind}", task="vqa", options=(), answer=report,
            question=question.format(attribute=attribute),
        )
        for kind, question in PROBES[sample.language]
    ]  # fmt: skip

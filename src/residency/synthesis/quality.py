"""How good synthetic tasks are: types, diversity, knowledge, complexity, accuracy (AdaMLLM, appendix D).

A model judges through any engine, one question per criterion; people judge the same samples on a sheet
(`sheet.py`). Scores from 1 to 5 become shares of 5: the paper says "rescaled to 0-100" and prints values
down to 20.9, which a scale from 0 would make unlikely (our inference). The wording is ours.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from residency.evaluate.results import Estimate, Row, write_summary
from residency.provenance import versions
from residency.step import BASE, Workspace
from residency.synthesis import store
from residency.synthesis.combining import Combine
from residency.synthesis.engine import Engine, Request, Sampling, content_key, open_engine
from residency.synthesis.sheet import Judged, write_sheet
from residency.synthesis.synthesizer import named
from residency.text import read_label
from residency.types import ImagePart, Part, Sample, Turn

# Appendix D's list; Table 8 divides by 17, the types of Figure 5: all but the last three.
TYPES = (
    "domain classification", "object recognition", "pose and activity recognition", "logo detection",
    "face and expression classification", "scene classification", "sentiment analysis",
    "caption generation", "text detection", "image-text matching", "anomaly detection",
    "style classification", "attribute and context recognition", "task-oriented recognition",
    "step-by-step guidance", "data representation", "utility and affordance recognition",
    "visual grounding", "segmentation", "visual storytelling",
)  # fmt: skip
COUNTS: Mapping[str, int] = {"table8": 17, "appendix_d": 20}
# Figure 5's domains of seed images.
DOMAINS = (
    "general objects", "animals", "people", "nature", "art and culture", "vehicles", "diagrams",
    "landmarks", "food", "sketches", "emotions", "text", "education", "software", "history",
    "transportation", "architecture", "medicine", "sports", "fashion",
)  # fmt: skip
CRITERIA: Mapping[str, str] = {
    "knowledge": (
        "How much of the image does the task use? 1: it has nothing to do with the image. 2: it can be "
        "done without looking. 3: looking is needed, but the question is vague. 4: it is clear and about "
        "one detail. 5: it is about details and the whole."
    ),
    "complexity": (
        "How hard is the task? 1: copying from the caption is enough. 2: a glance is enough. 3: details "
        "have to be considered. 4: details and the whole have to be reasoned about. 5: that, and the "
        "answer must follow a required form."
    ),
    "accuracy": (
        "How right is the response? 1: it misses the task. 2: reasons and conclusion are wrong. 3: only "
        "the reasons are right. 4: only the conclusion is right. 5: both are right."
    ),
}
Sizes = Literal["table8", "appendix_d"]
MARKS = ("1", "2", "3", "4", "5")


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Judge `count` samples of post-training data with a model, and write the sheet for people.

    Only conversations with a task are judged; the draw follows from the run's seed.
    """

    name: str
    of: Combine
    judge: str = BASE
    engine: str = "local"
    count: int = 200
    types: Sizes = "table8"
    domains: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """The data and the judge."""
        return (self.of.name, self.judge)

    def plan(self, workspace: Workspace) -> list[str]:
        """What is judged."""
        return [
            f"{self.count} samples of {self.of.name}, {COUNTS[self.types]} types, {self.engine}"
        ]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Judge, or go on; write the sheet and the row."""
        folder = workspace.folder(self.name)
        chosen = draw(self.of, workspace, self.count)
        with open_engine(self.engine, workspace.model(self.judge)) as engine:
            judged = judge(
                engine,
                chosen,
                folder / "judged",
                types=TYPES[: COUNTS[self.types]],
                domains=DOMAINS if self.domains else (),
                model=named(engine, self.judge, workspace),
                seed=workspace.seed,
            )
        write_sheet(folder, chosen, TYPES[: COUNTS[self.types]], CRITERIA)
        metrics = summary(judged, COUNTS[self.types], seed=workspace.seed)
        row = Row(
            method="quality",
            variant=self.name,
            view=None,
            dataset=self.of.name,
            task="judged",
            seed=workspace.seed,
            n=len(judged),
            n_unparsed=sum(None in one.values() for one in judged),
            metrics=metrics,
        )
        write_summary(
            folder / "summary.json", [row], command=workspace.command, versions=versions()
        )
        spread = {
            name: dict(Counter(one[name] or "unreadable" for one in judged).most_common())
            for name in ("type", *(("domain",) if self.domains else ()))
        }
        for name, counts in spread.items():
            print(f"  {name}: " + ", ".join(f"{k} {n}" for k, n in counts.items()), flush=True)
        return spread


def draw(of: Combine, workspace: Workspace, count: int) -> list[Judged]:
    """The samples to judge: image, instruction and response of a task each."""
    tasks: list[Sample] = []
    for sample in of.dataset(workspace).split("train"):
        for one in (sample, *sample.also):
            if not one.id.endswith("#caption"):
                tasks.append(one)
    chosen = Random(f"{workspace.seed}/quality").sample(tasks, min(count, len(tasks)))
    return [
        Judged(one.id, one.images[0] if one.images else None, one.question, str(one.answer))
        for one in chosen
    ]


def judge(
    engine: Engine,
    chosen: Sequence[Judged],
    folder: Any,
    *,
    types: Sequence[str],
    domains: Sequence[str],
    model: str,
    seed: int,
) -> list[dict[str, str | None]]:
    """Type, domain where asked for, and a mark per criterion; None where a reply names none."""
    asked: list[tuple[str, str, tuple[str, ...]]] = [
        ("type", f"Which kind of task is it? Choose from: {', '.join(types)}.", tuple(types)),
        *((name, f"{text} Answer with one digit.", MARKS) for name, text in CRITERIA.items()),
    ]
    if domains:
        question = f"What is the domain of the image? Choose from: {', '.join(domains)}."
        asked.append(("domain", question, tuple(domains)))
    made = {
        "model": model,
        "weights": engine.weights,
        "prompt": content_key(asked)[:8],
        "seed": seed,
    }

    def make(some: Sequence[Judged]) -> list[store.Row]:
        rows: list[store.Row] = [
            {"key": content_key(made, one.id, one.instruction, one.response), "id": one.id}
            for one in some
        ]
        for name, question, options in asked:
            requests = [_request(one, name, question) for one in some]
            how = Sampling(max_tokens=16, seed=seed, options=options)
            for row, reply in zip(rows, engine.write(requests, how), strict=True):
                row[name], row[f"{name} said"] = read_label(reply.text, options), reply.text
        return [row | {"made": made} for row in rows]

    identity = {"job": "quality", "made": made, "samples": content_key([one.id for one in chosen])}
    rows = store.fill(folder, identity, chosen, make, group=max(1, engine.batch // len(asked)))
    return [{name: row[name] for name, _, _ in asked} for row in rows]


def _request(one: Judged, name: str, question: str) -> Request:
    text = f"Task: {one.instruction}\nResponse: {one.response}\n{question}"
    images = (one.picture,) if one.picture is not None else ()
    parts: tuple[Part, ...] = (*map(ImagePart, range(len(images))), text)
    return Request(id=f"{one.id}/{name}", turns=(Turn("user", parts),), images=images)


def summary(
    judged: Sequence[Mapping[str, str | None]], types: int, *, seed: int
) -> dict[str, Estimate]:
    """Diversity: distinct types over all types. Marks: means over 5, of those that could be read."""
    found = len({one["type"] for one in judged} - {None})
    metrics = {"diversity": Estimate(estimate=found / types, low=found / types, high=found / types)}
    for name in CRITERIA:
        marks = [int(mark) / len(MARKS) for one in judged if (mark := one[name]) is not None]
        if marks:
            metrics[name] = _mean(marks, seed)
    return metrics


def _mean(marks: Sequence[float], seed: int) -> Estimate:
    generator = Random(seed)
    draws = sorted(sum(generator.choices(marks, k=len(marks))) / len(marks) for _ in range(1000))
    middle = sum(marks) / len(marks)
    return Estimate(estimate=middle, low=draws[25], high=draws[974])

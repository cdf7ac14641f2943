"""How good synthetic tasks are: types, diversity, knowledge, complexity, accuracy (AdaMLLM, appendix D).

A model judges through any engine, one question per criterion; people judge the same samples on a sheet
(`sheet.py`). Scores from 1 to 5 become shares of 5: the paper says "rescaled to 0-100" and prints 98.7,
67.7 and 41.7, which the mean of 200 marks gives as shares of 5 and not as (mark - 1) / 4 (our inference).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from residency.evaluate.charts import bar
from residency.evaluate.results import Estimate, Row, write_summary
from residency.evaluate.steps import SECTION
from residency.evaluate.store import write_whole
from residency.provenance import versions
from residency.step import BASE, Workspace
from residency.synthesis import store
from residency.synthesis.combining import Combine
from residency.synthesis.criteria import COUNTS, CRITERIA, DOMAINS, MARKS, TYPES, Sizes
from residency.synthesis.engine import Engine, Request, Sampling, content_key, kind_of, open_engine
from residency.synthesis.sheet import BY_MODEL, FORM, Judged, write_sheet, write_table
from residency.synthesis.synthesizer import named
from residency.text import read_label
from residency.types import ImagePart, Part, Turn

_SAID = "Task: {task}\nResponse: {response}\n{question}"


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Judge `count` samples of post-training data with a model, and write the sheet for people.

    Only conversations with a task are judged; the draw follows from the run's seed.
    """

    name: str
    of: Combine
    judge: str = BASE
    engine: str = field(default="local", repr=False)
    count: int = 200
    types: Sizes = "table8"
    domains: bool = False

    @property
    def identity(self) -> str:
        """What of the engine decides the marks."""
        return kind_of(self.engine).writes

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
        write_sheet(folder, chosen, TYPES[: COUNTS[self.types]])
        write_table(folder / BY_MODEL, chosen, judged)
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
        write_whole(folder / SECTION, section(spread))
        for name, counts in spread.items():
            told = ", ".join(f"{k} {n}" for k, n in counts.items()) or "there is no task"
            print(f"  {name}: {told}", flush=True)
        print(
            f"  for people: {folder / FORM}; their sheets are compared by "
            f"`python -m residency.synthesis.agreement RATED.csv {folder / BY_MODEL}`",
            flush=True,
        )
        return spread


def draw(of: Combine, workspace: Workspace, count: int) -> list[Judged]:
    """The samples to judge: images, caption, instruction and response of a task each."""
    tasks = of.told(workspace)
    chosen = Random(f"{workspace.seed}/quality").sample(tasks, min(count, len(tasks)))
    return [
        Judged(one.id, one.images, caption, one.question, str(one.answer))
        for one, caption in chosen
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
        "prompt": content_key(_SAID, asked)[:8],
        "seed": seed,
    }

    def make(some: Sequence[Judged]) -> list[store.Row]:
        rows: list[store.Row] = [
            {"key": content_key(made, one.id, *one[2:]), "id": one.id} for one in some
        ]
        for name, question, options in asked:
            requests = [_request(one, name, question) for one in some]
            how = Sampling(max_tokens=16, seed=seed, options=options)
            for row, reply in zip(rows, engine.write(requests, how), strict=True):
                row[name], row[f"{name} said"] = read_label(reply.text, options), reply.text
        return [row | {"made": made} for row in rows]

    samples = content_key([(one.id, *one[2:]) for one in chosen])
    identity = {"job": "quality", "made": made, "samples": samples}
    rows = store.fill(folder, identity, chosen, make, group=max(1, engine.batch // len(asked)))
    return [{name: row[name] for name, _, _ in asked} for row in rows]


def _request(one: Judged, name: str, question: str) -> Request:
    told = f"Caption of the image: {one.caption}\n" if one.caption else ""
    text = told + _SAID.format(task=one.instruction, response=one.response, question=question)
    parts: tuple[Part, ...] = (*map(ImagePart, range(len(one.pictures))), text)
    return Request(id=f"{one.id}/{name}", turns=(Turn("user", parts),), images=one.pictures)


def section(spread: Mapping[str, Mapping[str, int]]) -> str:
    """How many tasks are of each type, and images of each domain (Figures 3 and 5), as HTML."""
    parts = ["<h2>Kinds of tasks</h2>"]
    for what, counts in spread.items():
        total, most = sum(counts.values()), max(counts.values(), default=1)
        bars = "".join(
            bar(kind, 100 * count / most, str(count), said=f"{count} of {total}")
            for kind, count in counts.items()
        )
        parts.append(
            f'<figure class="bars"><figcaption>{what}, {total} judged by the model</figcaption>{bars}'
            "</figure>"
        )
    return "".join(parts)


def summary(
    judged: Sequence[Mapping[str, str | None]], types: int, *, seed: int
) -> dict[str, Estimate]:
    """Diversity: distinct types over all types. Marks: means over 5, of those that could be read.

    Nothing where nothing was judged.
    """
    if not judged:
        return {}
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

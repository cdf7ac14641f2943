"""The step that makes post-training data: caption task and synthetic task of each pair (section 3.2)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from random import Random
from typing import Any, Literal

from residency.data.rows import Rows
from residency.dataset import Dataset
from residency.errors import UsageError
from residency.step import Workspace
from residency.synthesis import rules
from residency.synthesis.cot import Combined, Pool, combine, single
from residency.synthesis.engine import content_key
from residency.synthesis.filtering import Filter
from residency.synthesis.pairs import Found, Source
from residency.types import Sample

Response = Literal["combined", "precise", "informative"]
Tasks = Literal["synthetic", "rules", "file", "none"]
# How a caption is asked for; our wording, the number of which follows ALLaVA's pool (the paper's choice).
CAPTION_QUESTIONS = (
    "Describe the image.", "What does this picture show?", "Give a caption for the image.",
    "Write down what you see.", "Tell me what is in this image.", "Explain the picture in words.",
    "Please describe what is shown.", "What is this an image of?", "Put the image into words.",
    "Summarise the content of the picture.", "Can you describe this image for me?",
    "Report what can be seen here.", "Provide a description of the image.",
    "How would you describe this picture?", "State what the image contains.",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Combine:
    """One sample per pair of `triplets`: its caption task, its synthetic task, or both in random order.

    `kept` is the filter whose `yes` a triplet needs; None keeps every triplet. `response` is what is
    learned of one: the chain of thought, or one response alone (Table 5). `tasks` may come from rules
    (recipes) or from a data set `file` instead, matched by the file name of the one image (`same_files`);
    what of it has no pair stands alone. A pair of which nothing survived keeps its caption alone.
    """

    name: str
    triplets: Source
    kept: Filter | None = None
    response: Response = "combined"
    caption: bool = True
    tasks: Tasks = "synthetic"
    pool: Pool = "paper"
    file: str = ""
    limit: int | None = None
    needed: bool = True  # having nothing to learn ends the run; what is judged alone may be nothing

    @property
    def needs(self) -> tuple[str, ...]:
        """The triplets and the verdicts on them."""
        return (self.triplets.name, *((self.kept.name,) if self.kept else ()))

    @property
    def data(self) -> tuple[str, ...]:
        """The file of tasks, if any: part of the step's identity."""
        return (self.file,) if self.file else ()

    def plan(self, workspace: Workspace) -> list[str]:
        """What a sample holds."""
        parts = [*(["caption"] if self.caption else []), *self._task_words()]
        return [f"of {self.triplets.name}: {' and '.join(parts)}, one conversation per pair"]

    def _task_words(self) -> list[str]:
        if self.tasks == "none":
            return []
        if self.tasks == "file":
            return [f"tasks of {self.file}"]
        kept = f", {self.kept.name} says yes" if self.kept else ", unfiltered"
        return ["task by rule"] if self.tasks == "rules" else [f"task ({self.response}{kept})"]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Count what the data set holds.

        Raises:
            UsageError: nothing is left to learn.
        """
        samples, counts = self._samples(workspace)
        if self.tasks == "rules" and not any(
            s.id.endswith("#rule") for s, _ in self.told(workspace)
        ):
            raise UsageError(
                f"tasks=rules makes tasks of recipes, and none of the {sum(counts.values())} pairs of "
                f"{self.triplets.name} is one. Give recipe1m:FOLDER as data, or other tasks."
            )
        if self.needed and not samples:
            raise UsageError(
                f"Step {self.name!r} leaves no sample of {sum(counts.values())} pairs: no task was readable "
                "and kept. Tune the synthesizer for longer, or take what the filter would discard "
                "(column=precise_only)."
            )
        print("  " + ", ".join(f"{name} {n}" for name, n in counts.items()), flush=True)
        return {"samples": len(samples), **counts}

    def dataset(self, workspace: Workspace) -> Dataset:
        """The conversations; all of them are for training."""
        samples, _ = self._samples(workspace)
        spoken = [(s.id, s.question, s.answer, [one.answer for one in s.also]) for s in samples]
        return Dataset(
            name=f"{self.name}-tasks",
            splits={"train": Rows(len(samples), samples.__getitem__)},
            digest=content_key(spoken),
        )

    def _samples(self, workspace: Workspace) -> tuple[list[Sample], Counter[str]]:
        every = self.triplets.found(workspace)
        others, counts = self._others(workspace, every)
        samples = []
        for found, tasks in self._paired(workspace, every, others):
            made = self._conversation(found, tasks, workspace.seed)
            if made is None:
                counts["nothing"] += 1
                continue
            counts["caption_and_task" if self.caption and tasks else _alone(tasks)] += 1
            samples.append(made)
        for alone in others.values():  # tasks about images that have no pair
            counts["task_without_pair"] += len(alone)
            samples += alone
        return samples[: self.limit], counts

    def told(self, workspace: Workspace) -> list[tuple[Sample, str]]:
        """Every task with the caption of its image, "" where there is none: what is judged."""
        every = self.triplets.found(workspace)
        others, _ = self._others(workspace, every)
        told = [
            (task, found.pair.caption)
            for found, tasks in self._paired(workspace, every, others)
            for task in tasks
        ]
        return told + [(task, "") for alone in others.values() for task in alone]

    def _paired(
        self, workspace: Workspace, every: Sequence[Found], others: dict[str, list[Sample]]
    ) -> Iterator[tuple[Found, list[Sample]]]:
        """Every pair with its tasks; takes those of the file out of `others`."""
        verdicts = self.kept.verdicts(workspace) if self.kept else None
        for found in every:
            tasks = others.pop(found.pair.sample.images[0].key, []) if self.file else []
            yield found, tasks + self._tasks(found, verdicts, workspace.seed)

    def _tasks(self, found: Found, verdicts: Any, seed: int) -> list[Sample]:
        """The task of a pair, or none."""
        sample, key = found.pair.sample, f"{seed}/{found.pair.key}"
        if self.tasks == "rules":
            made = rules.task(found.pair.caption, sample, seed=key)
            return [_asked(sample, "rule", made.instruction, made.response)] if made else []
        if self.tasks != "synthetic" or found.triplet is None:
            return []
        if verdicts is not None and verdicts.get(found.pair.key) != "yes":
            return []
        triplet = found.triplet
        if self.response == "combined":
            pair: Combined = combine(triplet, seed=key, pool=self.pool)
        else:
            pair = single(triplet.instruction, getattr(triplet, self.response), seed=key)
        return [_asked(sample, "task", pair.instruction, pair.response)]

    def _conversation(self, found: Found, tasks: list[Sample], seed: int) -> Sample | None:
        sample, rng = found.pair.sample, Random(f"{seed}/{found.pair.key}/order")
        asked = list(tasks)
        if self.caption:
            question = rng.choice(CAPTION_QUESTIONS)
            place = rng.choice((0, len(asked)))  # before or after the tasks, as the released code
            asked.insert(place, _asked(sample, "caption", question, found.pair.caption))
        if not asked:
            return None
        first, *rest = asked
        return replace(first, also=tuple(rest))

    def _others(
        self, workspace: Workspace, every: Sequence[Found]
    ) -> tuple[dict[str, list[Sample]], Counter[str]]:
        """The tasks of the file by the image of their pair, or by their own name where they have none.

        Samples of its other splits are counted, not used.
        """
        found: dict[str, list[Sample]] = {}
        counts: Counter[str] = Counter()
        for dataset in workspace.datasets(self.data) if self.file else ():
            for split in ("val", "test"):
                if left := len(dataset.splits.get(split, ())):
                    counts[f"left_in_the_files_{split}_split"] += left
            for sample in dataset.split("train"):
                parts = (sample, *(replace(one, images=sample.images) for one in sample.also))
                for number, one in enumerate(parts):
                    alone = replace(one, id=f"{sample.id}#file{number}", also=())
                    place = sample.images[0].key if len(sample.images) == 1 else sample.id
                    found.setdefault(place, []).append(alone)
        keys = [one.pair.sample.images[0].key for one in every] if found else []
        same = same_files(list(found), keys)
        return {same.get(place, place): tasks for place, tasks in found.items()}, counts


def _alone(tasks: list[Sample]) -> str:
    return "task_alone" if tasks else "caption_alone"


def same_files(given: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    """Which path of `wanted` each of `given` is, wherever the two lie.

    By file name; where one names several files on a side, as `source.jpg` of every folder does, with the
    folder above it, and the one above that.
    """
    for depth in (1, 2, 3):
        sides = [{_tail(path, depth): path for path in side} for side in (given, wanted)]
        if [len(names) for names in sides] == [len({*given}), len({*wanted})]:
            return {path: sides[1][name] for name, path in sides[0].items() if name in sides[1]}
    return {path: path for path in {*given} & {*wanted}}


def _tail(path: str, depth: int) -> tuple[str, ...]:
    return PurePosixPath(path).parts[-depth:]


def _asked(sample: Sample, kind: str, question: str, answer: str) -> Sample:
    """The sample with another question; free text keeps its lines."""
    return replace(
        sample,
        id=f"{sample.id}#{kind}",
        task="caption",
        question=question,
        answer=answer,
        options=(),
        volume=None,
        also=(),
    )

"""The step that makes post-training data: caption task and synthetic task of each pair (section 3.2)."""

from collections import Counter
from collections.abc import Mapping
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
    (recipes) or from a data set `file` instead, matched by the file name of the image; what of it has
    no pair stands alone. A pair of which nothing survived keeps its caption alone.
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
        kept = f", {self.kept.name} says yes" if self.kept else ", unfiltered"
        return [f"{self.tasks} task ({self.response}{kept if self.tasks == 'synthetic' else ''})"]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Count what the data set holds.

        Raises:
            UsageError: nothing is left to learn.
        """
        samples, counts = self._samples(workspace)
        if not samples:
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
        verdicts = self.kept.verdicts(workspace) if self.kept else None
        others = self._others(workspace)
        counts: Counter[str] = Counter()
        samples = []
        for found in self.triplets.found(workspace):
            tasks = others.pop(_file_name(found.pair.sample), []) if self.file else []
            tasks += self._tasks(found, verdicts, workspace.seed)
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

    def _others(self, workspace: Workspace) -> dict[str, list[Sample]]:
        """The tasks of the file by the file name of their image."""
        found: dict[str, list[Sample]] = {}
        for dataset in workspace.datasets(self.data) if self.file else ():
            for sample in dataset.split("train"):
                parts = (sample, *(replace(one, images=sample.images) for one in sample.also))
                for number, one in enumerate(parts):
                    alone = replace(one, id=f"{sample.id}#file{number}", also=())
                    found.setdefault(_file_name(sample), []).append(alone)
        return found


def _alone(tasks: list[Sample]) -> str:
    return "task_alone" if tasks else "caption_alone"


def _file_name(sample: Sample) -> str:
    return PurePosixPath(sample.images[0].key).name if sample.images else sample.id


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

"""Two ways in which tuning on reports goes wrong, as numbers (InstFree, Kang et al., sec. 3.2).

    image-dependence        the share of answers to questions that keep the style of the reports whatever
                            is asked
    instruction-dependence  what the trained instruction gets out of the model minus what unseen questions
                            get: accuracy of the facts that its report states minus accuracy of its answers

The paper names and shows both; the definitions are ours.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from residency.data.benchmark import TOLD
from residency.data.caption_facts import caption_facts
from residency.data.retelling import Retelling
from residency.dataset import Dataset
from residency.errors import DataError
from residency.evaluate.predict import predict, select
from residency.evaluate.progress import watched
from residency.evaluate.results import Estimate, Row
from residency.evaluate.statistics import intervals
from residency.evaluate.steps import predictions_folder, write_rows
from residency.evaluate.store import FILE, read_predictions
from residency.metric import quotient
from residency.model import store
from residency.model.answerer import Speaker
from residency.model.huggingface import Limits
from residency.step import Workspace
from residency.task import PAPER
from residency.text import normalise, words
from residency.types import PLAIN, PROXY, Language, Prediction, Sample


@dataclass(frozen=True, kw_only=True)
class Habits:
    """Ask the model that step `of` left for a report, and compare with how it answered in step `tested`.

    `instruction` is the trained one by language; without any the proxy instruction asks. `retelling`
    says where a report is split into the pieces by which its style is recognised.
    """

    name: str
    of: str
    tested: str
    data: tuple[str, ...]
    method: str
    variant: str = ""
    instruction: Mapping[Language, str] = field(default_factory=dict)
    retelling: Retelling = Retelling(shuffle="separator")  # noqa: RUF009 - frozen
    split: str = "test"
    batch_size: int = 32
    max_tokens: int = 96
    limits: Limits = Limits()  # noqa: RUF009 - frozen

    @property
    def needs(self) -> tuple[str, ...]:
        """The model, and its answers."""
        return (self.of, self.tested)

    def plan(self, workspace: Workspace) -> list[str]:
        """How many reports are written."""
        by = self.instruction.get("en", "the proxy instruction")
        return [
            f"{d.name}/{self.split}: "
            f"{len(select(d, self.split, limit=workspace.limit, seed=workspace.seed))} reports "
            f"asked for by {by!r}"
            for d in workspace.datasets(self.data)
        ]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Write the reports, compare, and leave a row per data set."""
        rows = []
        for dataset in workspace.datasets(self.data):
            samples = select(dataset, self.split, limit=workspace.limit, seed=workspace.seed)
            path = predictions_folder(workspace, self.tested, dataset, PLAIN) / FILE
            answers = {p.sample: p for p in read_predictions(path).predictions}
            reports = self._reports(workspace, dataset, samples)
            known = pieces_of(dataset.split("train"), self.retelling)
            metrics = measured(
                samples, answers, reports, known, self.retelling, seed=workspace.seed
            )
            rows.append(
                Row(
                    method=self.method, variant=self.variant,
                    view=PLAIN.name if self.instruction else PROXY.name, dataset=dataset.name,
                    task="habits", seed=workspace.seed, n=len(samples),
                    n_unparsed=sum(answers[s.id].answer is None for s in samples), metrics=metrics,
                )
            )  # fmt: skip
        return write_rows(workspace, self.name, rows)

    def _reports(
        self, workspace: Workspace, dataset: Dataset, samples: Sequence[Sample]
    ) -> dict[str, str]:
        """What the model writes about each sample when it is asked as in training."""
        told = [self._as_report(sample) for sample in samples]
        digest = hashlib.sha256(f"{dataset.digest} {self.instruction}".encode()).hexdigest()
        # Under another name, so that nobody takes the reports for answers to the questions.
        asked = replace(
            dataset, name=f"reports {dataset.name}", splits={self.split: told}, labels=(),
            digest=digest[:16], admitted=None,
        )  # fmt: skip
        backbone = store.load(workspace.model(self.of))
        backbone.limits = self.limits
        view = PLAIN if self.instruction else PROXY
        with watched(f"{dataset.name} reports") as progress:
            predictions = predict(
                Speaker(backbone), asked, self.split,
                model=f"{self.of}:{store.identity(workspace.model(self.of))}", view=view,
                mode="generate", wording=PAPER,
                out=predictions_folder(workspace, self.name, asked, view),
                batch_size=self.batch_size, seed=workspace.seed, max_tokens=self.max_tokens,
                progress=progress,
            )  # fmt: skip
        return {p.sample: p.text for p in predictions}

    def _as_report(self, sample: Sample) -> Sample:
        question = self.instruction.get(sample.language, "-")
        answer = sample.attributes.get("report", "") or "-"
        return replace(sample, task="caption", question=question, answer=answer, options=())


def measured(
    samples: Sequence[Sample],
    answers: Mapping[str, Prediction],
    reports: Mapping[str, str],
    known: Collection[str],
    retelling: Retelling,
    *,
    seed: int,
) -> dict[str, Estimate]:
    """Report accuracy, image-dependence and instruction-dependence with their intervals.

    Raises:
        DataError: a sample was not answered.
    """
    absent = [sample.id for sample in samples if sample.id not in answers]
    if absent:
        raise DataError(f"{len(absent)} samples were not answered, such as {absent[0]}.")
    right = [stated(reports[s.id], s, retelling) == s.answer for s in samples]
    hit = [answers[s.id].answer == s.answer for s in samples]
    styled = [in_report_style(answers[s.id], s, known, retelling) for s in samples]
    columns = {
        "report_accuracy": np.array(right, float),
        "image_dependence": np.array(styled, float),
        "instruction_dependence": np.array(right, float) - np.array(hit, float),
    }
    ones = np.ones(len(samples))
    scored = {name: (_mean, np.stack([values, ones], axis=1)) for name, values in columns.items()}
    units = [answers[s.id].unit for s in samples]
    return {
        name: Estimate(**bound._asdict())
        for name, bound in intervals(scored, units, seed=seed).items()
    }


def _mean(statistics: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return quotient(*(weights @ statistics).T)


def pieces_of(samples: Sequence[Sample], retelling: Retelling) -> frozenset[str]:
    """Every piece of the training reports, normalised."""
    return frozenset(
        piece for sample in samples for piece in _pieces(str(sample.answer), sample, retelling)
    )


def _pieces(text: str, sample: Sample, retelling: Retelling) -> set[str]:
    return {normalise(p) for p in retelling.split(text, sample.language)[0]} - {""}


def in_report_style(
    answer: Prediction, sample: Sample, known: Collection[str], retelling: Retelling
) -> bool:
    """Whether an answer is a report: two pieces of training reports, or one and no choice that can be read.

    An answer that is an option, word for word, is none.
    """
    if normalise(answer.text) in {normalise(option) for option in sample.options}:
        return False
    told = _pieces(answer.text, sample, retelling).intersection(known)
    return len(told) > 1 or (len(told) == 1 and answer.answer is None)


def stated(text: str, sample: Sample, retelling: Retelling) -> str | None:
    """The option that a report states about the sample's attribute, None where it states none or several.

    An option is stated where all of its pieces are pieces of the report; one that reports do not tell
    ("no") where no other is. Free text is searched for the fact instead, or for the only option it names.
    """
    told = sample.attributes.get("told", "")
    if not told:
        fact = caption_facts(text).get(sample.attributes.get("attribute", ""))
        said = f" {' '.join(words(text))} "
        named = [option for option in sample.options if f" {' '.join(words(option))} " in said]
        return fact or (named[0] if len(named) == 1 else None)
    have = _pieces(text, sample, retelling)
    found: dict[str, int] = {}
    for option, phrase in zip(sample.options, told.split(TOLD), strict=True):
        wanted = _pieces(phrase, sample, retelling)
        if wanted <= have:
            found[option] = len(wanted)
    most = max(found.values(), default=0)
    best = [option for option, size in found.items() if size == most]
    return best[0] if len(best) == 1 else None

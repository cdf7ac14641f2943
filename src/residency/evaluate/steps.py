"""Steps that measure: a backbone under views, an expert, the majority answer, response ranking."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch

from residency.data.mixture import Mixture
from residency.dataset import Dataset
from residency.errors import DataError
from residency.evaluate.chosen import Method, of_tasks, with_shuffled_options
from residency.evaluate.controls import chance_row, majority
from residency.evaluate.experts import answers
from residency.evaluate.overlap import overlap
from residency.evaluate.predict import Answerer, predict, select
from residency.evaluate.predict import Mode as Asked
from residency.evaluate.progress import watched
from residency.evaluate.ranking import Ranking, figure, ranking, summary
from residency.evaluate.results import Row, write_summary
from residency.evaluate.store import encode, write_whole
from residency.model import store
from residency.model.answerer import Speaker
from residency.model.encoder import caching, space
from residency.model.expert import Expert
from residency.model.huggingface import Backbone, Exemplar, Limits, to_device
from residency.provenance import versions
from residency.step import Workspace
from residency.task import PAPER, Wording, task
from residency.types import NEGATIVE, PLAIN, Area, Prediction, Sample, View

SUMMARY = "summary.json"
SECTION = "section.html"  # HTML that a step leaves for the page of the run
Mode = Literal["auto", "generate", "likelihood"]
Tokens = Callable[[Dataset, Sequence[Sample], Wording], int]


@runtime_checkable
class Source(Protocol):
    """A model that answers from elsewhere; a frozen dataclass whose repr says which."""

    def opened(self) -> AbstractContextManager[tuple[Answerer, str]]:
        """What answers, and what identifies it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Ask the model that step `of` left about a split, under each view, and score it.

    `expert` names a fitting step whose expert is plugged in instead of the model's own (VITask_plug);
    the connector stays as it is. Mode `auto` scores the likelihood of every option where the data
    set has a closed set of single answers and the instruction lists it, and generates otherwise.
    """

    name: str
    of: str
    data: tuple[str, ...]
    method: str
    variant: str = ""
    views: tuple[View, ...] = (PLAIN,)
    mode: Mode = "auto"
    split: str = "test"
    wording: Wording = PAPER
    expert: str | None = None
    exemplar: Exemplar = "cls"
    batch_size: int = 32
    max_tokens: int = 64  # of a response; one that names every label may have as many as it takes
    limits: Limits = Limits()  # noqa: RUF009 - frozen; of a prompt, which cannot be dropped
    tasks: tuple[str, ...] = ()  # samples of these alone; () for all
    metrics: tuple[str, ...] = ()  # () for those that each task declares
    shuffle_options: bool = False  # ask the options in an order drawn from seed and sample
    served: Source | None = None  # what answers instead of the model of `of`
    area: Area = Area()  # noqa: RUF009 - frozen; of images, where a data set says nothing

    @property
    def needs(self) -> tuple[str, ...]:
        """The model, and the expert that is plugged in."""
        return (self.of, self.expert) if self.expert else (self.of,)

    def looks(self) -> dict[tuple[str, str], float]:
        """Every view reads every image, but the blank ones."""
        views = sum(view.image != "blank" for view in self.views) * (self.served is None)
        return dict.fromkeys(((spec, self.split) for spec in self.data), float(views))

    def check(self, workspace: Workspace) -> None:
        """Refuse splits and limits that leave no sample."""
        self.plan(workspace)

    def plan(self, workspace: Workspace) -> list[str]:
        """Samples, views and how answers are got."""
        lines = []
        for dataset in self._datasets(workspace):
            samples = select(dataset, self.split, limit=workspace.limit, seed=workspace.seed)
            views = ", ".join(view.name for view in self.views)
            mode = _mode(dataset, samples, self.mode, self.wording)
            told = f"{len(samples)} samples, views {views}, {mode}"
            lines.append(f"{dataset.name}/{self.split}: {told}")
        return lines

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Predict, score, and write `summary.json`."""
        with self._opened(workspace) as (answerer, model, tokens):
            scored = self._asked(workspace, answerer, model, tokens)
        return write_scored(workspace, self.name, scored)

    @contextmanager
    def _opened(self, workspace: Workspace) -> Iterator[tuple[Answerer, str, Tokens]]:
        """What answers, what identifies it, and how many tokens all labels of a set take."""
        if self.served is not None:
            with self.served.opened() as (answerer, model):
                yield answerer, model, lambda dataset, *_: label_characters(dataset)
            return
        backbone = store.load(workspace.model(self.of))
        backbone.limits = self.limits
        model = f"{self.of}:{store.identity(workspace.model(self.of))}"
        if self.expert is not None:
            plugged = workspace.expert(self.expert)
            backbone.attach(Expert.load(plugged), exemplar=self.exemplar, seed=workspace.seed)
            model += f"+{self.expert}:{store.identity(str(plugged))}"
        uses = workspace.uses(self.data, self.split)
        with caching(backbone, space(workspace.out), uses=uses) as encoder:
            yield Speaker(backbone), model, partial(label_tokens, backbone)
        for line in encoder.told() if encoder is not None else []:
            print(f"  {line}", flush=True)

    def _asked(
        self, workspace: Workspace, answerer: Answerer, model: str, tokens: Tokens
    ) -> list[tuple[Row, dict[str, Any]]]:
        """Rows and details of every data set and view."""
        by = Method(
            method=self.method, variant=self.variant, seed=workspace.seed, metrics=self.metrics
        )
        scored: list[tuple[Row, dict[str, Any]]] = []
        for dataset in self._datasets(workspace):
            samples = select(dataset, self.split, limit=workspace.limit, seed=workspace.seed)
            longest = max(self.max_tokens, tokens(dataset, samples, self.wording))
            own: list[Prediction] = []
            for view in self.views:
                with watched(f"{dataset.name} {view.name}") as progress:
                    predictions = predict(
                        answerer,
                        dataset,
                        self.split,
                        model=model,
                        view=view,
                        mode=_mode(dataset, samples, self.mode, self.wording),
                        wording=self.wording,
                        out=predictions_folder(workspace, self.name, dataset, view),
                        batch_size=self.batch_size,
                        limit=workspace.limit,
                        seed=workspace.seed,
                        max_tokens=longest,
                        progress=progress,
                    )
                scored += by.rows(predictions, dataset, () if view.image == "own" else own)
                own = own or (predictions if view.image == "own" else [])
        return scored

    def _datasets(self, workspace: Workspace) -> list[Dataset]:
        chosen = [of_tasks(d, self.tasks, self.split) for d in workspace.datasets(self.data)]
        if self.area != Area():
            mark = f":{self.area.least}-{self.area.most}"
            chosen = [
                replace(d, area=self.area, digest=d.digest + mark) if d.area == Area() else d
                for d in chosen
            ]
        if not self.shuffle_options:
            return chosen
        return [with_shuffled_options(d, self.split, workspace.seed) for d in chosen]


def label_tokens(
    backbone: Backbone, dataset: Dataset, samples: Sequence[Sample], wording: Wording
) -> int:
    """Tokens of the longest response that names every label, with the end of the turn.

    0 where the answers of the data set are no sets of labels.
    """
    if not dataset.multi_label:
        return 0
    kinds = {(sample.task, sample.language, sample.options): sample for sample in samples}
    lengths = []
    for sample in kinds.values():
        every = replace(sample, answer=sample.options or tuple(dataset.labels))
        written = task(sample.task).write(every, backbone.codec, wording)
        lengths.append(len(backbone.composer.response_ids(written)) + 1)
    return max(lengths)


def label_characters(dataset: Dataset) -> int:
    """The same, at most, for a model whose tokens nobody here can count: one a character, and commas."""
    return sum(len(label) + 2 for label in dataset.labels) if dataset.multi_label else 0


def predictions_folder(
    workspace: Workspace, step: str, dataset: Dataset, view: View | None
) -> Path:
    """Where a step keeps what was said about a data set under a view."""
    return workspace.folder(step) / _slug(dataset.name) / (view.name if view else "answers")


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)


def _mode(dataset: Dataset, samples: Sequence[Sample], mode: Mode, wording: Wording) -> Asked:
    if mode == "auto":
        # Labels may also name boxes. Scoring every label would hand back the list that an instruction
        # leaves out.
        single = all(isinstance(sample.answer, str) for sample in samples)
        closed = dataset.labels and single and not dataset.multi_label and wording.list_options
        return "likelihood" if closed else "generate"
    return "generate" if mode == "generate" else "likelihood"


def write_rows(workspace: Workspace, step: str, rows: Sequence[Row]) -> dict[str, Any]:
    """`write_scored` for rows that have no details."""
    return write_scored(workspace, step, [(row, {}) for row in rows])


def write_scored(
    workspace: Workspace,
    step: str,
    scored: Sequence[tuple[Row, Mapping[str, Any]]],
    more: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Write the `summary.json` of a step and say what it counted; returns counts for its `done.json`."""
    rows, details = [row for row, _ in scored], [entry for _, entry in scored if entry]
    write_summary(
        workspace.folder(step) / SUMMARY,
        rows,
        command=workspace.command,
        versions=versions(),
        more={"details": details, **more},
    )
    cut, refused = (sum(getattr(row, name) for row in rows) for name in ("n_length", "n_error"))
    if cut:
        print(f"  {cut} answers were cut off at the limit of tokens", flush=True)
    if refused:
        print(f"  {refused} samples were refused by the server and count as wrong", flush=True)
    unparsed = sum(row.n_unparsed for row in rows)
    return {"n_unparsed": unparsed, "n_length": cut, "n_error": refused, "rows": len(rows)}


@dataclass(frozen=True, kw_only=True)
class EvaluateExpert:
    """Score an expert on the same samples; with `controls` also majority answer and chance."""

    name: str
    of: str
    data: tuple[str, ...]
    method: str = "expert"
    variant: str = ""
    split: str = "test"
    controls: bool = True

    @property
    def needs(self) -> tuple[str, ...]:
        """The fitting step."""
        return (self.of,)

    def plan(self, workspace: Workspace) -> list[str]:
        """Samples per data set."""
        return [
            f"{d.name}/{self.split}: "
            f"{len(select(d, self.split, limit=workspace.limit, seed=workspace.seed))} samples"
            for d in workspace.datasets(self.data)
        ]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Answer and score; with `controls` also what needs no image."""

        expert = Expert.load(workspace.expert(self.of))
        by = Method(method=self.method, variant=self.variant, seed=workspace.seed)
        scored: list[tuple[Row, dict[str, Any]]] = []
        for dataset in workspace.datasets(self.data):
            samples = select(dataset, self.split, limit=workspace.limit, seed=workspace.seed)
            said = answers(expert, samples, dataset)
            folder = predictions_folder(workspace, self.name, dataset, None)
            lines = [json.dumps(encode(p), ensure_ascii=False) for p in said]
            write_whole(folder / "answers.jsonl", "\n".join(lines) + "\n")
            scored += by.rows(said, dataset)
            scored += _control_rows(dataset, samples, workspace.seed) if self.controls else []
        return write_scored(workspace, self.name, scored)


def _control_rows(
    dataset: Dataset,
    samples: Sequence[Sample],
    seed: int,
    metrics: tuple[str, ...] = (),
) -> list[tuple[Row, dict[str, Any]]]:
    """What needs no image, task by task: the majority answer of the training split, and chance."""
    found: list[tuple[Row, dict[str, Any]]] = []
    by = Method(method="majority", seed=seed, metrics=metrics)
    train = list(dataset.splits.get("train", ()))
    for name in dict.fromkeys(sample.task for sample in samples):
        own = [sample for sample in samples if sample.task == name]
        taught = [sample for sample in train if sample.task == name]
        if taught:
            found += by.rows(majority(own, taught), dataset)
        line = chance_row(own, dataset.labels, seed=seed)
        found += [(line, {})] if line else []
    return found


@dataclass(frozen=True, kw_only=True)
class Controls:
    """What a split gives away without a model: majority answer, chance, and overlap with training."""

    name: str
    data: tuple[str, ...]
    split: str = "test"
    tasks: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """No step."""
        return ()

    def plan(self, workspace: Workspace) -> list[str]:
        """Which data sets."""
        return [
            f"{d.name}/{self.split}: majority, chance, overlap with train"
            for d in workspace.datasets(self.data)
        ]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Score the first two; count and show the last."""
        scored: list[tuple[Row, dict[str, Any]]] = []
        shared = []
        for dataset in workspace.datasets(self.data):
            chosen = of_tasks(dataset, self.tasks, self.split)
            samples = select(chosen, self.split, limit=workspace.limit, seed=workspace.seed)
            scored += _control_rows(chosen, samples, workspace.seed, self.metrics)
            found = overlap(chosen, samples, split=self.split)
            if found is None:
                print(f"  {dataset.name}: no training split to compare with", flush=True)
            else:
                print(f"  {found}", flush=True)
                shared.append(found.as_json())
        return write_scored(workspace, self.name, scored, {"overlap": shared})


@dataclass(frozen=True, kw_only=True)
class Rank:
    """VITask's Figure 3: how sharply models tell the right image from another for the same response.

    For every sample of the split one negative image is drawn (same instruction, other response) and
    stored; all `models` (label -> step) read the same pairs. A pair's value is the mean probability
    of the tokens of the response, its end excluded.
    """

    name: str
    models: tuple[tuple[str, str], ...]
    data: tuple[str, ...]
    split: str = "test"
    wording: Wording = PAPER
    batch_size: int = 32
    limits: Limits = Limits()  # noqa: RUF009 - frozen

    @property
    def needs(self) -> tuple[str, ...]:
        """All models."""
        return tuple(step for _, step in self.models)

    def looks(self) -> dict[tuple[str, str], float]:
        """Every model reads every image as its own and, on average, as another's."""
        times = 2.0 * len(self.models)
        return dict.fromkeys(((spec, self.split) for spec in self.data), times)

    def plan(self, workspace: Workspace) -> list[str]:
        """Pairs and models."""
        datasets = workspace.datasets(self.data)
        n = sum(
            len(select(d, self.split, limit=workspace.limit, seed=workspace.seed)) for d in datasets
        )
        return [f"{n} image pairs, models {', '.join(label for label, _ in self.models)}"]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Read all pairs with every model; write pairs, numbers and the figure."""
        folder = workspace.folder(self.name)
        found: list[Ranking] = []
        pairs: list[dict[str, str]] = []
        values: dict[str, Any] = {}
        for label, step in self.models:
            backbone = store.load(workspace.model(step)).eval()
            backbone.limits = self.limits
            mixture = self._mixture(workspace, backbone)
            uses = workspace.uses(self.data, self.split)
            with caching(backbone, space(workspace.out), uses=uses):
                positive, negative, pairs = token_probabilities(
                    backbone, mixture, seed=workspace.seed, batch_size=self.batch_size
                )
            found.append(ranking(label, positive, negative))
            values[label] = {"positive": positive.tolist(), "negative": negative.tolist()}
        write_whole(folder / "pairs.json", json.dumps({"pairs": pairs, "values": values}) + "\n")
        numbers = [shown.as_json() for shown in found]
        write_whole(folder / "ranking.json", json.dumps(numbers, indent=1) + "\n")
        write_whole(folder / "ranking.svg", figure(found))
        for shown in found:
            print(f"  {shown.name}: " + ", ".join(f"{k} {v}" for k, v in summary(shown).items()))
        return {
            "ranking": [
                {k: v for k, v in n.items() if not isinstance(v, list | tuple)} for n in numbers
            ]
        }

    def _mixture(self, workspace: Workspace, backbone: Backbone) -> Mixture:
        return Mixture.of(
            workspace.datasets(self.data),
            self.split,
            limit=workspace.limit,
            wording=self.wording,
            codec=backbone.codec,
            seed=workspace.seed,
        )


@torch.no_grad()
def token_probabilities(
    backbone: Backbone, mixture: Mixture, *, seed: int, batch_size: int
) -> tuple[np.ndarray, np.ndarray, list[dict[str, str]]]:
    """Mean token probability of each response under its own and under the negative image."""
    views = (PLAIN, NEGATIVE)
    means: dict[View, list[np.ndarray]] = {view: [] for view in views}
    pairs = []
    for start in range(0, len(mixture), batch_size):
        rows = range(start, min(start + batch_size, len(mixture)))
        readings = [mixture.reading(i, seed, views=views) for i in rows]
        pairs += [
            {"sample": r.sample.id, "negative": r.negative.id} for r in readings if r.negative
        ]
        batch = to_device(backbone.collate(readings, views, backbone.form), backbone.device)
        if batch.dropped:
            raise DataError(
                f"The length policy drops {', '.join(batch.dropped[:3])}, so pairs would be "
                "missing. Raise max_tokens, or choose too_long=shrink."
            )
        logits, targets = backbone.read(batch), batch.targets
        counted = (targets.tokens != backbone.composer.end_of_turn).float()
        for view in views:
            p = logits[view].float().softmax(-1).gather(1, targets.tokens[:, None])[:, 0]
            total = torch.zeros(len(readings), 2, device=p.device)
            total.index_add_(0, targets.sample, torch.stack([p * counted, counted], dim=1))
            means[view].append((total[:, 0] / total[:, 1]).clamp(0, 1).cpu().numpy())
    return np.concatenate(means[PLAIN]), np.concatenate(means[NEGATIVE]), pairs

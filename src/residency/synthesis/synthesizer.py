"""Write tasks about image-caption pairs, and read them: AdaMLLM's synthesizer at work (section 3.1.1)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from residency.dataset import Dataset
from residency.errors import UsageError
from residency.evaluate.progress import watched
from residency.evaluate.results import Row, write_summary
from residency.provenance import versions
from residency.step import BASE, Workspace
from residency.synthesis import cost, store
from residency.synthesis.engine import (
    Engine,
    Sampling,
    content_key,
    installed,
    kind_of,
    must_continue,
    open_engine,
)
from residency.synthesis.forms import parse, version, write
from residency.synthesis.pairs import Captions, Found, Pair, counted, pairs, row_key
from residency.synthesis.seed import Form, Seed, Sees
from residency.synthesis.truth import accuracy, share

ROWS = "rows"
HELD_OUT = "held_out_"  # begins the name of a step that writes about the held-out pairs of a seed
MAX_TOKENS = 512  # of a turn (released code)


@dataclass(frozen=True, kw_only=True)
class Synthesize:
    """Ask the model that step `of` left (or the base) for a task about every pair of a split.

    `engine` is as `engine.open_engine` takes it; an endpoint serves its own model. With `held_out` the
    pairs are those that a seed step holds out, with `about` those of a step before; with `source`, a
    model of another run is asked instead.
    The rows, one per pair, are a job of `store`.
    """

    name: str
    of: str
    data: tuple[str, ...] = ()
    split: str = "train"
    form: Form = "delimited"
    sees: Sees = "both"
    engine: str = field(default="local", repr=False)
    sampling: Sampling = Sampling(max_tokens=MAX_TOKENS)  # noqa: RUF009 - frozen
    held_out: Seed | None = None
    about: Captions | None = None
    source: str = ""

    @property
    def identity(self) -> str:
        """What of the engine decides the texts: a run may go on in another place."""
        return kind_of(self.engine).writes

    @property
    def needs(self) -> tuple[str, ...]:
        """The model, and the step whose pairs it is asked about."""
        about = self.held_out or self.about
        return (*(() if self.source else (self.of,)), *((about.name,) if about else ()))

    def check(self, workspace: Workspace) -> None:
        """Refuse data without pairs, and an engine that cannot write the form."""
        self._fits()
        installed(self.engine)
        if self.held_out is None:
            self.pairs(workspace)

    def plan(self, workspace: Workspace) -> list[str]:
        """How many pairs, and how they are asked about."""
        self._fits()
        if self.held_out is not None and not workspace.is_done(self.held_out.name):
            return [f"the held-out pairs of {self.held_out.name}, {self.form}, {self.engine}"]
        every, lost = self.pairs(workspace)
        served = kind_of(self.engine).served
        return [
            f"{len(every):,} pairs{counted(lost)}; {self.form}, engine {self.engine}",
            cost.describe("synthesise", len(every), workspace.base, served=served),
        ]

    def pairs(self, workspace: Workspace) -> tuple[list[Pair], Counter[str]]:
        """The pairs, and what was left out."""
        if self.held_out is not None:
            every = self.held_out.held_out(workspace)
            return every[: workspace.limit], Counter()
        if self.about is not None:
            return self.about.pairs(workspace)
        return pairs(
            self._datasets(workspace), self.split, limit=workspace.limit, seed=workspace.seed
        )

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Synthesise, or go on; returns the counts."""
        every, lost = self.pairs(workspace)
        model = self.source or workspace.model(self.of)
        with open_engine(self.engine, model) as engine:
            rows = synthesise(
                engine,
                every,
                workspace.folder(self.name) / ROWS,
                form=self.form,
                sees=self.sees,
                sampling=self.sampling,
                model=named(engine, self.of, workspace),
                label=self.name,
            )
        counts = count(rows, self.form)
        shown = ", ".join(f"{name} {n}" for name, n in counts.items())
        print(f"  {len(rows)} pairs: {shown}", flush=True)
        failures = store.failures(rows)
        for reason, n in failures.items():
            print(f"  engine_failed {n}: {reason}", flush=True)
        found = [_found(pair, row, self.form) for pair, row in zip(every, rows, strict=True)]
        self._summarise(workspace, found)
        left = {"not_pairs": dict(lost), "discarded": dict(counts), "failures": failures}
        return {"pairs": len(rows), **left}

    def _summarise(self, workspace: Workspace, found: Sequence[Found]) -> None:
        """One row: how many pairs got a triplet, of how many different instructions, how true."""
        asked = [one.triplet.instruction for one in found if one.triplet]
        metrics = {"readable": share(len(asked), len(found))} if found else {}
        if asked:
            metrics["distinct"] = share(len(set(asked)), len(asked))
        row = Row(
            method="synthesizer",
            variant=self.name.removeprefix(HELD_OUT),
            view=None,
            dataset="seed" if self.held_out else "synthetic",  # the same pairs for every variant
            task="triplet",
            seed=workspace.seed,
            n=len(found),
            n_unparsed=len(found) - len(asked),
            metrics=metrics | accuracy(found).shares(),
        )
        path = workspace.folder(self.name) / "summary.json"
        write_summary(path, [row], command=workspace.command, versions=versions())

    def found(self, workspace: Workspace) -> list[Found]:
        """The triplets, and the reasons where there is none."""
        every, _ = self.pairs(workspace)
        rows = store.read_rows(workspace.folder(self.name) / ROWS)
        return [_found(pair, row, self.form) for pair, row in zip(every, rows, strict=True)]

    def most(self, workspace: Workspace) -> int:
        """One for each pair."""
        if self.held_out is not None and not workspace.is_done(self.held_out.name):
            return self.held_out.most(workspace) // 10
        return len(self.pairs(workspace)[0])

    def _fits(self) -> None:
        kind = kind_of(self.engine)
        if self.form == "header":
            must_continue(kind)
        if kind.foreign and not self.source and self.of != BASE:
            raise UsageError(
                f"engine={self.engine} reads Hugging Face folders, and {self.of} will be a checkpoint of "
                "this run. Use engine=local, or export a tuned model and name it by synthesizer=FOLDER."
            )

    def _datasets(self, workspace: Workspace) -> list[Dataset]:
        return workspace.datasets(self.data)


def _found(pair: Pair, row: Mapping[str, Any], form: Form) -> Found:
    parsed = parse(row, form)
    return Found(pair, None, parsed) if isinstance(parsed, str) else Found(pair, parsed)


def synthesise(
    engine: Engine,
    every: Sequence[Pair],
    folder: Any,
    *,
    form: Form,
    sees: Sees,
    sampling: Sampling,
    model: str,
    label: str,
) -> list[store.Row]:
    """The rows of every pair, made or kept: {key, id, said, finish, reason, made}.

    `model` is the name of what writes, for people; `made["weights"]` identifies it.
    """
    made = {
        "model": model,
        "weights": engine.weights,
        "prompt": version(form),
        "sees": sees,
        "sampling": sampling.as_json(),
    }

    def make(some: Sequence[Pair]) -> list[store.Row]:
        keys = [row_key(made, pair) for pair in some]
        replies = write(engine, some, keys, form, sees, sampling)
        return [
            {
                "key": key,
                "id": pair.key,
                "said": [reply.text for reply in said],
                "finish": [reply.finish for reply in said],
                "reason": next((reply.reason for reply in said if reply.reason), ""),
                "made": made,
            }
            for pair, key, said in zip(some, keys, replies, strict=True)
        ]

    identity = {
        "job": "synthesise",
        "made": made,
        "pairs": content_key([(p.key, p.caption) for p in every]),
    }
    with watched(label) as progress:
        return store.fill(folder, identity, every, make, group=engine.batch, progress=progress)


def named(engine: Engine, step: str, workspace: Workspace) -> str:
    """The name of the model behind an engine: the server's own, the base's, or that of a step.

    A path would make equal rows differ where a run was moved.
    """
    if not engine.weights:
        return engine.model
    return workspace.base if step == BASE else step


def count(rows: Sequence[store.Row], form: Form) -> Counter[str]:
    """How many rows have a triplet, and how many lack one by reason, the most frequent first."""
    kinds: Counter[str] = Counter()
    for row in rows:
        parsed = parse(row, form)
        kinds[parsed if isinstance(parsed, str) else "triplet"] += 1
    return Counter(dict(kinds.most_common()))

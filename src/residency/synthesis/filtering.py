"""The step that keeps consistent triplets, and says how true they were before and after."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from residency.evaluate.progress import watched
from residency.evaluate.results import Row, write_summary
from residency.evaluate.store import write_whole
from residency.provenance import versions
from residency.step import BASE, Workspace
from residency.synthesis import consistency, cost, store
from residency.synthesis.consistency import Prompt
from residency.synthesis.engine import Engine, content_key, installed, kind_of, open_engine
from residency.synthesis.pairs import Source
from residency.synthesis.synthesizer import named
from residency.synthesis.truth import Accuracy, accuracy, share
from residency.triplets import Triplet

ROWS = "verdicts"
COUNTS = "counts.json"


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A judge reads every triplet of `triplets` without its image; those it calls `yes` are kept.

    The judge is the model that step `judge` left (or the base), the model `source` of another run, or
    whatever `engine` serves. Where the
    samples carry facts, the summary says how many precise, informative and combined responses are true
    among all triplets and among those kept (Table 7, exact instead of judged).
    """

    name: str
    triplets: Source
    judge: str = BASE
    engine: str = field(default="local", repr=False)
    prompt: Prompt = "few_shot"
    source: str = ""

    @property
    def identity(self) -> str:
        """What of the engine decides the verdicts."""
        return kind_of(self.engine).writes

    @property
    def needs(self) -> tuple[str, ...]:
        """The triplets and the judge."""
        return (self.triplets.name, *(() if self.source else (self.judge,)))

    def check(self, workspace: Workspace) -> None:
        """Refuse an engine that is not installed."""
        installed(self.engine)

    def plan(self, workspace: Workspace) -> list[str]:
        """Who judges what."""
        most, served = self.triplets.most(workspace), kind_of(self.engine).served
        return [
            f"triplets of {self.triplets.name}, judged by {self.judge}, engine {self.engine}",
            f"at most {most:,}: " + cost.describe("filter", most, workspace.base, served=served),
        ]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Judge, or go on; count and compare with the truth."""
        every = self.triplets.found(workspace)
        asked = [(one.pair.key, one.triplet) for one in every if one.triplet is not None]
        model = self.source or workspace.model(self.judge)
        with open_engine(self.engine, model) as engine:
            rows = judge(
                engine,
                asked,
                workspace.folder(self.name) / ROWS,
                prompt=self.prompt,
                seed=workspace.seed,
                model=named(engine, self.judge, workspace),
                label=self.name,
            )
        given = {row["id"]: row["verdict"] for row in rows}
        verdicts = Counter(row["verdict"] or _mute(row) for row in rows)
        before = accuracy(every)
        after = accuracy([one for one in every if given.get(one.pair.key) == "yes"])
        content = {
            "found": dict(Counter(one.reason or "triplet" for one in every)),
            "verdicts": dict(verdicts),
            "truth_before": before.as_json(),
            "truth_after": after.as_json(),
        }
        folder = workspace.folder(self.name)
        write_whole(folder / COUNTS, json.dumps(content, indent=1) + "\n")
        write_summary(
            folder / "summary.json",
            [
                _row(self.name, "before filter", before, workspace, len(rows), verdicts["yes"]),
                _row(self.name, "after filter", after, workspace, verdicts["yes"], verdicts["yes"]),
            ],
            command=workspace.command,
            versions=versions(),
        )
        print(f"  {len(rows)} triplets: {_said(verdicts)}", flush=True)
        for reason, n in store.failures(rows).items():
            print(f"  engine_failed {n}: {reason}", flush=True)
        return content

    def verdicts(self, workspace: Workspace) -> dict[str, str | None]:
        """The verdict on every triplet, by the key of its pair."""
        rows = store.read_rows(workspace.folder(self.name) / ROWS)
        return {row["id"]: row["verdict"] for row in rows}


def judge(
    engine: Engine,
    triplets: Sequence[tuple[str, Triplet]],
    folder: Any,
    *,
    prompt: Prompt,
    seed: int,
    model: str,
    label: str,
) -> list[store.Row]:
    """The verdicts, made or kept: {key, id, verdict, said, made}; None where a reply says none."""
    how = consistency.sampling(seed)
    made = {
        "model": model,
        "weights": engine.weights,
        "prompt": consistency.version(prompt),
        "sampling": how.as_json(),
    }

    def make(some: Sequence[tuple[str, Triplet]]) -> list[store.Row]:
        keys = [content_key(made, *one) for one in some]
        asked = [
            consistency.request(key, triplet, prompt)
            for key, (_, triplet) in zip(keys, some, strict=True)
        ]
        return [
            {
                "key": key,
                "id": name,
                "verdict": consistency.verdict(reply.text),
                "said": reply.text,
                "reason": reply.reason,
                "made": made,
            }
            for key, (name, _), reply in zip(keys, some, engine.write(asked, how), strict=True)
        ]

    identity = {"job": "filter", "made": made, "triplets": content_key(triplets)}
    with watched(label) as progress:
        return store.fill(folder, identity, triplets, make, group=engine.batch, progress=progress)


def _row(
    name: str, variant: str, known: Accuracy, workspace: Workspace, n: int, consistent: int
) -> Row:
    """Shares among the triplets; those whose truth is not known stand under `unparsed`."""
    metrics = ({"consistent": share(consistent, n)} if n else {}) | known.shares()
    return Row(
        method=name,
        variant=variant,
        view=None,
        dataset="synthetic",
        task="triplet",
        seed=workspace.seed,
        n=n,
        n_unparsed=known.undecided,
        metrics=metrics,
    )


def _mute(row: store.Row) -> str:
    return "engine_failed" if row["reason"] else "unreadable"


def _said(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "none"

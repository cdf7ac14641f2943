"""The step that keeps consistent triplets, and says how true they were before and after."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from residency.evaluate.progress import watched
from residency.evaluate.results import Estimate, Row, write_summary
from residency.evaluate.statistics import wilson
from residency.evaluate.store import write_whole
from residency.provenance import versions
from residency.step import BASE, Workspace
from residency.synthesis import consistency, store
from residency.synthesis.consistency import Prompt
from residency.synthesis.engine import Engine, content_key, open_engine
from residency.synthesis.pairs import Found, Source
from residency.synthesis.synthesizer import named
from residency.synthesis.truth import Accuracy, accuracy, facts_of, truth
from residency.triplets import Triplet

ROWS = "verdicts"
COUNTS = "counts.json"


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A judge reads every triplet of `triplets` without its image; those it calls `yes` are kept.

    The judge is the model that step `judge` left (or the base), or whatever `engine` serves. Where the
    samples carry facts, the summary says how many precise, informative and combined responses are true
    among all triplets and among those kept (Table 7, exact instead of judged).
    """

    name: str
    triplets: Source
    judge: str = BASE
    engine: str = "local"
    prompt: Prompt = "few_shot"

    @property
    def needs(self) -> tuple[str, ...]:
        """The triplets and the judge."""
        return (self.triplets.name, self.judge)

    def plan(self, workspace: Workspace) -> list[str]:
        """Who judges what."""
        return [f"triplets of {self.triplets.name}, judged by {self.judge}, engine {self.engine}"]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Judge, or go on; count and compare with the truth."""
        every = self.triplets.found(workspace)
        asked = [(one.pair.key, one.triplet) for one in every if one.triplet is not None]
        with open_engine(self.engine, workspace.model(self.judge)) as engine:
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
        verdicts = Counter(row["verdict"] or "unreadable" for row in rows)
        before = _truth([one for one in every if one.triplet is not None])
        after = _truth([one for one in every if given.get(one.pair.key) == "yes"])
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


def _truth(some: Sequence[Found]) -> Accuracy:
    return accuracy(
        truth(one.triplet, facts_of(one.pair.sample.attributes)) for one in some if one.triplet
    )


def _row(
    name: str, variant: str, known: Accuracy, workspace: Workspace, n: int, consistent: int
) -> Row:
    """Shares among the triplets; those whose truth is not known stand under `unparsed`."""
    metrics = {"consistent": _estimate(consistent, n)}
    for kind in ("precise", "informative", "combined"):
        metrics[f"{kind}_true"] = _estimate(getattr(known, kind), known.decided)
    return Row(
        method=name,
        variant=variant,
        view=None,
        dataset="synthetic",
        task="triplet",
        seed=workspace.seed,
        n=n,
        n_unparsed=known.undecided,
        metrics={key: value for key, value in metrics.items() if value is not None},
    )


def _estimate(count: int, n: int) -> Estimate | None:
    if not n:
        return None
    made = wilson(count, n)
    return Estimate(estimate=made.estimate, low=made.low, high=made.high)


def _said(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "none"

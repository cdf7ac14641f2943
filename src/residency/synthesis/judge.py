"""A judge for small models: triplets of known agreement from a seed, to learn and to be tested on (ours)."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from residency.data.rows import Rows
from residency.dataset import Dataset
from residency.evaluate.results import Row, write_summary
from residency.provenance import versions
from residency.step import Workspace
from residency.synthesis import consistency
from residency.synthesis.consistency import LABELS
from residency.synthesis.engine import content_key, open_engine
from residency.synthesis.filtering import judge
from residency.synthesis.pairs import Pair
from residency.synthesis.seed import Seed, each
from residency.synthesis.truth import share
from residency.triplets import Triplet
from residency.types import Sample

OPEN_KINDS = frozenset(("describe", "caption", "image_captioning"))


@dataclass(frozen=True, kw_only=True)
class Agreements:
    """Triplets of a seed as they stand (yes), with a wrong precise response (no), or open by their kind.

    The wrong one is that of another triplet of the same kind, or the opposite of yes and no.
    """

    name: str
    seed: Seed

    @property
    def needs(self) -> tuple[str, ...]:
        """The seed."""
        return (self.seed.name,)

    def plan(self, workspace: Workspace) -> list[str]:
        """Where they come from."""
        return [f"triplets of {self.seed.name}, half of the closed ones with a wrong answer"]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Count them."""
        cases = self.cases(workspace, "train")
        counts = Counter(label for _, _, label in cases)
        print("  " + ", ".join(f"{label} {n}" for label, n in counts.most_common()), flush=True)
        return dict(counts)

    def cases(self, workspace: Workspace, split: str) -> list[tuple[str, Triplet, str]]:
        """Key, triplet and label of every case of a split (train or val)."""
        if split == "train":
            every = [(f.pair, f.triplet) for f in self.seed.found(workspace) if f.triplet]
        else:
            held = (one for pair in self.seed.held_out(workspace) for one in each(pair.sample))
            every = [(Pair(one.id, one, ""), Triplet(*map(str, one.answer))) for one in held]
        return _cases(every, workspace.seed)

    def dataset(self, workspace: Workspace) -> Dataset:
        """The short prompt and the label, without the image."""
        cases = self.cases(workspace, "train")

        def build(row: int) -> Sample:
            key, triplet, label = cases[row]
            return Sample(
                id=f"{self.name}/{key}",
                dataset=self.name,
                task="vqa",
                question=consistency.prompt(triplet, "short"),
                answer=label,
                options=LABELS,
            )

        return Dataset(
            name=f"{self.name}-cases",
            splits={"train": Rows(len(cases), build)},
            labels=LABELS,
            digest=content_key(cases),
        )


def _cases(every: list[tuple[Pair, Triplet]], seed: int) -> list[tuple[str, Triplet, str]]:
    by_kind: dict[str, list[str]] = {}
    for pair, triplet in every:
        by_kind.setdefault(pair.sample.attributes.get("kind", ""), []).append(triplet.precise)
    cases = []
    for pair, triplet in every:
        kind = pair.sample.attributes.get("kind", "")
        rng = Random(f"{seed}/{pair.key}/judge")
        label = "open" if kind in OPEN_KINDS else "yes"
        wrong = rng.choice(by_kind[kind])
        if label == "yes" and rng.random() < 0.5:
            opposite = {"yes": "no", "no": "yes"}.get(triplet.precise.lower(), wrong)
            if opposite.lower() not in triplet.informative.lower() or opposite in ("yes", "no"):
                triplet, label = triplet._replace(precise=opposite), "no"
        cases.append((pair.key, triplet, label))
    return cases


@dataclass(frozen=True, kw_only=True)
class JudgeTest:
    """How often a judge is right on the held-out cases, and on each label."""

    name: str
    judge: str
    of: Agreements
    engine: str = "local"

    @property
    def needs(self) -> tuple[str, ...]:
        """The judge and the cases."""
        return (self.judge, self.of.name)

    def plan(self, workspace: Workspace) -> list[str]:
        """What is judged."""
        return [f"{self.judge} on the held-out cases of {self.of.name}"]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Judge and compare."""
        cases = self.of.cases(workspace, "val")[: workspace.limit]
        with open_engine(self.engine, workspace.model(self.judge)) as engine:
            rows = judge(
                engine,
                [(key, triplet) for key, triplet, _ in cases],
                workspace.folder(self.name) / "verdicts",
                prompt="short",
                seed=workspace.seed,
                model=self.judge,
                label=self.name,
            )
        right = [row["verdict"] == label for row, (_, _, label) in zip(rows, cases, strict=True)]
        metrics = {"accuracy": share(sum(right), len(right))}
        for label in LABELS:
            own = [good for good, case in zip(right, cases, strict=True) if case[2] == label]
            if own:
                metrics[f"accuracy_{label}"] = share(sum(own), len(own))
        row = Row(
            method="judge",
            variant="held-out seed",
            view=None,
            dataset="seed",
            task="consistency",
            seed=workspace.seed,
            n=len(rows),
            n_unparsed=sum(row["verdict"] is None for row in rows),
            metrics=metrics,
        )
        write_summary(
            workspace.folder(self.name) / "summary.json",
            [row],
            command=workspace.command,
            versions=versions(),
        )
        return {name: value.estimate for name, value in metrics.items()}

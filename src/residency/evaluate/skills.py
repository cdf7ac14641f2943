"""What a generalist can do: accuracy per skill beside its blank-image score and chance, as a model card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from residency.evaluate.predict import predict, select
from residency.evaluate.statistics import interval, paired_interval
from residency.evaluate.store import unit_hash, write_whole
from residency.metric import mean, metric
from residency.model import nano, store
from residency.model.answerer import Speaker
from residency.step import Workspace
from residency.task import Wording, task
from residency.types import BLANK, PLAIN, Prediction, Sample

MAX_TOKENS = 96


@dataclass(frozen=True, kw_only=True)
class Skills:
    """Ask a model every sample of a test split and score each `attributes["skill"]` by itself.

    A sample is right by the first metric of its task, captions by exact match. With `blank` the same
    samples are asked again about a grey image of the same size. The model is then written as a plain
    Hugging Face folder `nano` in bfloat16 with the card as its README.
    """

    name: str
    of: str
    data: tuple[str, ...]
    blank: bool = True

    @property
    def needs(self) -> tuple[str, ...]:
        """The model to measure."""
        return (self.of,)

    def plan(self, workspace: Workspace) -> list[str]:
        """How many samples under which views."""
        (dataset,) = workspace.datasets(self.data)
        samples = select(dataset, "test", limit=workspace.limit, seed=workspace.seed)
        views = "plain and blank" if self.blank else "plain"
        return [f"{dataset.name}/test: {len(samples)} samples, {views}, generated and parsed"]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Export in bfloat16, measure what was exported, write the card."""
        (dataset,) = workspace.datasets(self.data)
        folder = workspace.folder(self.name)
        trained = store.load(workspace.model(self.of))
        exported = folder / "nano"
        nano.save(trained.model, trained.processor, exported)  # type: ignore[arg-type]
        speaker = Speaker(store.load(str(exported)))
        samples = select(dataset, "test", limit=workspace.limit, seed=workspace.seed)
        right = {}
        for view in (PLAIN, BLANK) if self.blank else (PLAIN,):
            predictions = predict(
                speaker,
                dataset,
                "test",
                model=store.identity(str(exported)),
                view=view,
                mode="generate",
                wording=Wording(),
                out=folder / view.name,
                batch_size=64,
                limit=workspace.limit,
                seed=workspace.seed,
                max_tokens=MAX_TOKENS,
            )
            right[view.name] = correct(predictions)
        rows = skill_rows(samples, right, seed=workspace.seed)
        write_whole(folder / "skills.json", json.dumps(rows, indent=1) + "\n")
        card = model_card(rows, command=workspace.command, n=len(samples))
        write_whole(exported / "README.md", card)
        print(card)
        return {"skills": rows}


def correct(predictions: Sequence[Prediction]) -> np.ndarray:
    """Whether each prediction is right, `[n]` of 0 and 1."""
    right = np.zeros(len(predictions))
    for name in {p.task for p in predictions}:
        scored_by = "exact_match" if name == "caption" else task(name).metrics[0]
        rows = [i for i, p in enumerate(predictions) if p.task == name]
        right[rows] = metric(scored_by).prepare([predictions[i] for i in rows], ())[:, 0]
    return right


def skill_rows(
    samples: Sequence[Sample], right: Mapping[str, np.ndarray], *, seed: int
) -> list[dict[str, Any]]:
    """A row per skill: n, accuracy, blank-image accuracy, chance, and the paired gain over blank."""
    rows = []
    for skill in dict.fromkeys(sample.attributes["skill"] for sample in samples):
        chosen = [i for i, sample in enumerate(samples) if sample.attributes["skill"] == skill]
        units = [unit_hash(samples[i]) for i in chosen]
        row: dict[str, Any] = {"skill": skill, "n": len(chosen)}
        row["accuracy"] = interval(mean, right["plain"][chosen, None], units, seed=seed)
        row["chance"] = float(np.mean([float(samples[i].attributes["chance"]) for i in chosen]))
        if "blank" in right:
            plain, blank = right["plain"][chosen, None], right["blank"][chosen, None]
            row["blank"] = interval(mean, blank, units, seed=seed)
            row["gain"] = paired_interval(mean, plain, blank, units, seed=seed)
        rows.append(row)
    return rows


def _percent(values: Sequence[float]) -> str:
    estimate, low, high = (100 * value for value in values)
    return f"{estimate:.1f} [{low:.1f}, {high:.1f}]"


def model_card(rows: Sequence[Mapping[str, Any]], *, command: str, n: int) -> str:
    """The README of the exported model, in Hugging Face form."""
    lines = [
        "---",
        "license: apache-2.0",
        "language: [en, zh]",
        "pipeline_tag: image-text-to-text",
        "library_name: transformers",
        "---",
        "# nano",
        "",
        "A Qwen2-VL of about four million parameters, trained from nothing on procedural images of "
        "shapes, dots, lines and patterns. It is the embedded generalist of Residency: small enough "
        "to ship, real enough to run every code path. It has never seen a medical or food image, "
        "and it is of no use for either until it is specialised.",
        "",
        f"Made by `{command}`. {n} held-out images of the same world, answers generated greedily "
        "and parsed strictly; percent with 95 % bootstrap intervals. A box counts above an IoU of "
        "0.25, a point within a tenth of the diagonal, a description only when it is exact.",
        "",
        "| skill | n | accuracy | blank image | chance | gain over blank |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        blank = _percent(row["blank"]) if "blank" in row else "not measured"
        gain = _percent(row["gain"]) if "gain" in row else "not measured"
        lines.append(
            f"| {row['skill']} | {row['n']} | {_percent(row['accuracy'])} | {blank} | "
            f"{100 * row['chance']:.1f} | {gain} |"
        )
    return "\n".join(lines) + "\n"

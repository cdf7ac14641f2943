"""How long 10,000 predictions take to be scored with all their intervals, by kind of answer.

python benchmarks/scoring.py --json scoring.json

Files of questions, reports, classes (with log-likelihoods), boxes and landmarks, as anyone might hand them
in, 2,500 patients each, scored by `residency score` under every metric that its task declares. CPU time is
that of the process, reading and writing included; on a busy machine wall time says little.
"""

import argparse
import contextlib
import io
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
import numpy as np

from residency.evaluate.scoring import score
from residency.task import task

N, PATIENTS = 10_000, 2_500
TEXT = """the heart lungs are is clear normal no pleural effusion pneumothorax focal consolidation seen
small right left upper lower lobe nodule mass silhouette within limits acute bony abnormality"""
WORDS = TEXT.split()
CLASSES = ("atelectasis", "effusion", "normal", "pneumonia")


@dataclass(frozen=True, slots=True)
class Row:
    """One file: its metrics and the seconds they took."""

    kind: str
    n: int
    metrics: int
    cpu_s: float
    wall_s: float


def question(rng: np.random.Generator) -> dict[str, Any]:
    """Half closed, half a phrase of some words."""
    if rng.random() < 0.5:
        said, true = (("yes", "no")[int(k)] for k in rng.integers(0, 2, 2))
        return {"prediction": f"{said}, it is", "reference": true, "answer_type": "CLOSED"}
    said, true = (" ".join(rng.choice(WORDS, size=rng.integers(1, 5))) for _ in range(2))
    return {"prediction": said, "reference": true, "answer_type": "OPEN"}


def report(rng: np.random.Generator) -> dict[str, Any]:
    """About 40 words each."""
    said, true = (" ".join(rng.choice(WORDS, size=rng.integers(25, 55))) for _ in range(2))
    return {"prediction": f"{said}. {true[:60]}", "reference": true}


def classified(rng: np.random.Generator) -> dict[str, Any]:
    """Four classes with scores."""
    scores = dict(zip(CLASSES, rng.normal(size=4).round(3).tolist(), strict=True))
    said = max(scores, key=scores.__getitem__)
    return {"prediction": said, "reference": str(rng.choice(CLASSES)), "scores": scores,
            "options": list(CLASSES)}  # fmt: skip


def boxes(rng: np.random.Generator) -> dict[str, Any]:
    """One to three boxes on either side, some of them close."""
    corners = rng.uniform(0, 300, (rng.integers(1, 4), 2))
    true = np.concatenate([corners, corners + rng.uniform(50, 200, corners.shape)], axis=1)
    said = (true + rng.normal(0, 20, true.shape))[: rng.integers(1, 4)]
    return {
        "prediction": said.round(1).tolist(),
        "reference": true.round(1).tolist(),
        "size": [512, 512],
    }


def landmarks(rng: np.random.Generator) -> dict[str, Any]:
    """Nineteen points in a cephalogram of 0.1 mm pixels."""
    true = rng.uniform(0, 1900, (19, 2))
    said = true + rng.normal(0, 20, true.shape)
    return {
        "prediction": said.round(1).tolist(),
        "reference": true.round(1).tolist(),
        "spacing_mm": 0.1,
    }


KINDS: dict[str, tuple[str, Callable[[np.random.Generator], dict[str, Any]]]] = {
    "questions": ("vqa", question),
    "reports": ("report", report),
    "classes": ("classification", classified),
    "boxes": ("detection", boxes),
    "landmarks": ("landmark", landmarks),
}


def timed(kind: str, folder: Path) -> Row:
    """Write the file of a kind and score it."""
    name, make = KINDS[kind]
    rng = np.random.default_rng(0)
    rows = [{"id": i, "group": f"p{i % PATIENTS}", **make(rng)} for i in range(N)]
    file = folder / f"{kind}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    wall, cpu = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        (row,) = score(str(file), metrics=task(name).metrics, out=str(folder / kind), task=name)
    return Row(kind, row.n, len(row.metrics), time.process_time() - cpu, time.perf_counter() - wall)


def main() -> None:
    """Time every kind and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", help=f"some of {', '.join(KINDS)}; all for none")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    print("| predictions | n | metrics | CPU s | wall s |\n|---|--:|--:|--:|--:|")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.kinds or KINDS:
            rows.append(timed(kind, Path(folder)))
            r = rows[-1]
            print(
                f"| {r.kind} | {r.n:,} | {r.metrics} | {r.cpu_s:.1f} | {r.wall_s:.1f} |", flush=True
            )
    figures.write(rows, options.json)


if __name__ == "__main__":
    main()

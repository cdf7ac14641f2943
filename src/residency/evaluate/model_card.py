"""The model card of a run in Hugging Face form: YAML that the hub reads, and what a reader must know."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from residency.evaluate.charts import is_control
from residency.evaluate.results import Row, table
from residency.evaluate.retention import SUITE
from residency.evaluate.runs import Run
from residency.evaluate.statements import main_row

BLANK = "*To be written by the people who release the model.*"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def model_card(run: Run, said: Mapping[str, str]) -> str:
    """README.md of the run; `said` is `statements` of it. What only people know is a visible blank."""
    name = run.folder.resolve().name
    front = yaml.safe_dump(_front(run, name), sort_keys=False, allow_unicode=True)
    own = [row for row in run.rows if row.task != SUITE]
    kept = [row for row in run.rows if row.task == SUITE]
    parts = [
        f"---\n{front}---\n# {name}\n",
        f"{said.get('method', 'A model')}, from {said.get('base', 'an unnamed base')}. Not a medical "
        "device: it must not inform the care of a patient.\n",
        f"## Intended use\n\n{BLANK}\n",
        f"## Out of scope\n\nDiagnosis or treatment without a clinician; images, questions and "
        f"populations that the data below do not hold. {BLANK}\n",
        _section("Training", said, ("model", "training", "sources", "partitions", "preprocessing")),
        f"## Results\n\nPercent with 95 % intervals. Unparsed answers count as wrong.\n\n{table(own)}",
    ]
    if kept:
        parts.append(
            "## What tuning cost\n\nThe generalist's own skills on a fixed suite, before and after: "
            f"asked as usual, paraphrased, and with words left out.\n\n{table(kept)}"
        )
    parts += [
        _section("Evidence", said, ("controls", "power", "subgroups", "statistics", "missing")),
        f"## Limitations\n\n{BLANK}\n",
        f"## Use\n\n```\nresidency evaluate {name} data=PATH out=FOLDER\n```\n",
        f"## Reproduce\n\n```\n{run.command}\n```\n\n{said.get('software', '')}\n",
    ]
    return "\n".join(part for part in parts if part)


def _section(heading: str, said: Mapping[str, str], keys: tuple[str, ...]) -> str:
    lines = [f"- {key.replace('_', ' ')}: {said[key]}" for key in keys if key in said]
    return f"## {heading}\n\n" + "\n".join(lines) + "\n" if lines else ""


def _front(run: Run, name: str) -> dict[str, Any]:
    """The metadata block; only what is known."""
    base = str(run.settings.get("base", ""))
    front: dict[str, Any] = {"library_name": "peft", "pipeline_tag": "image-text-to-text"}
    if _HUB_ID.fullmatch(base):
        front["base_model"] = base
    front["tags"] = ["residency", str(run.settings.get("recipe", "run")), "not-a-medical-device"]
    main = main_row(run.rows)
    if main:
        results = [_result(row) for row in run.rows if _alike(row, main)]
        front["model-index"] = [{"name": name, "results": results}]
    return front


def _alike(row: Row, main: Row) -> bool:
    same = (row.method, row.variant) == (main.method, main.variant)
    return same and not is_control(row) and row.dataset != "mean"


def _result(row: Row) -> dict[str, Any]:
    return {
        "task": {"type": row.task},
        "dataset": {"name": row.dataset, "type": row.dataset},
        "metrics": [
            {
                "type": metric,
                "value": round(value.estimate, 4) if value.estimate == value.estimate else None,
                "name": f"{metric} ({row.view or 'no view'})",
            }
            for metric, value in row.metrics.items()
        ],
    }

"""Open a file of predictions, whoever wrote it."""

import json
from pathlib import Path
from typing import Any

from residency.errors import UsageError
from residency.evaluate.foreign import Foreign, read_foreign
from residency.evaluate.lines import Findings
from residency.evaluate.store import read_predictions


def read_any(path: Path, **how: Any) -> Foreign:
    """A predictions file of ours, or anyone's (`how` as in `read_foreign`).

    Raises:
        DataError: neither.
        UsageError: `how` names what a file of ours cannot have renamed.
    """
    if is_ours(path) and how.get("renamed"):
        raise UsageError(f"{path} is a predictions file of ours; leave out map=.")
    if not is_ours(path):
        return read_foreign(path, **{"dataset": path.stem, **how})
    stored, findings = read_predictions(path), Findings()
    if stored.dropped:
        findings.places["truncated"] = ["the last line"] * stored.dropped
    return Foreign(
        predictions=stored.predictions,
        rows=len(stored.predictions) + stored.dropped,
        grouped=len({p.unit for p in stored.predictions}) < len(stored.predictions),
        digest=str((stored.identity or {}).get("digest", "")),
        findings=findings,
    )


def is_ours(path: Path) -> bool:
    """Whether a file opens with the identity that our predictions files have."""
    try:
        with path.open("rb") as file:
            first = json.loads(file.readline(1 << 20))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(first, dict) and isinstance(first.get("identity"), dict)

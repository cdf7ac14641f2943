"""The journal of a stage as it lies on disk: a JSON line for every update."""

import json
from pathlib import Path
from typing import Any

JOURNAL = "journal.jsonl"


def read_journal(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The updates that count, in order, and how many unreadable lines were passed over.

    An update that a resumed run repeated appears once, as it was repeated.
    """
    rows: dict[int, dict[str, Any]] = {}
    unreadable = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                content = json.loads(line)
                if "resumed" in content:
                    rows = {n: row for n, row in rows.items() if n <= content["resumed"]}
                else:
                    rows[content["update"]] = content
            except (ValueError, KeyError, TypeError):
                unreadable += 1
    return [rows[number] for number in sorted(rows)], unreadable

"""Where a benchmark's figures go when asked for with `--json FILE`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch


def write(rows: Sequence[Any], path: Path | None) -> None:
    """The command, torch's version and the rows, as JSON; nothing where no file was named."""
    if path is not None:
        facts = {"command": " ".join(sys.argv), "torch": torch.__version__}
        text = json.dumps(facts | {"rows": [asdict(row) for row in rows]}, indent=1)
        path.write_text(text + "\n", encoding="utf-8")

"""The step that writes training data for others: messages JSONL, and ShareGPT JSON for LLaMA-Factory."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from residency.data.convert import row_of
from residency.data.sinks import FolderSink
from residency.dataset import Dataset
from residency.errors import DataError
from residency.evaluate.store import write_whole
from residency.step import Maker, Workspace

JSONL, SHAREGPT, INFO = "train.jsonl", "sharegpt.json", "dataset_info.json"
# LLaMA-Factory's description of the file; the name is that of its entry.
DESCRIPTION = {
    "residency": {
        "file_name": SHAREGPT,
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
        },
    }
}


@dataclass(frozen=True, kw_only=True)
class Export:
    """`of`'s training split as files: conversations with their images beside them, each image once."""

    name: str
    of: Maker

    @property
    def needs(self) -> tuple[str, ...]:
        """The data."""
        return (self.of.name,)

    def plan(self, workspace: Workspace) -> list[str]:
        """Where it goes."""
        return [f"{workspace.folder(self.name)}: {JSONL}, {SHAREGPT} with {INFO}, images"]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Write both files; what cannot be written is counted."""
        facts = write_files(self.of.dataset(workspace), workspace.folder(self.name))
        print("  " + ", ".join(f"{name} {n}" for name, n in facts.items()), flush=True)
        return facts


def write_files(dataset: Dataset, folder: Path) -> dict[str, int]:
    """Rows {id, messages, images}; `images` are paths below the folder, one `<image>` tag for each.

    Raises:
        DataError: no row could be written.
    """
    left_out, reason = 0, ""
    with FolderSink(folder) as sink:
        for sample in dataset.split("train"):
            try:
                row = row_of(sample)
                sink.add("train", {key: row[key] for key in ("id", "messages")}, sample.images)
            except DataError as error:
                left_out, reason = left_out + 1, reason or str(error)
    if left_out == len(dataset.split("train")):
        raise DataError(f"Nothing can be exported: {reason or 'there are no samples.'}")
    lines = (folder / JSONL).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    shared = [{"messages": row["messages"], "images": row["images"]} for row in rows]
    write_whole(folder / SHAREGPT, json.dumps(shared, ensure_ascii=False, indent=0) + "\n")
    write_whole(folder / INFO, json.dumps(DESCRIPTION, indent=1) + "\n")
    return {"rows": len(rows), "images": sink.images, "left_out": left_out}

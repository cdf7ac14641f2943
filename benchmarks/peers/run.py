"""CPU time of a step of plain LoRA tuning beside LLaMA-Factory, ms-swift, TRL and the Hugging Face Trainer.

python benchmarks/peers/run.py --envs ~/.cache/residency-peers --json peers.json

All tools tune the language model of one small Qwen2-VL (448 x 448, 256 tokens an image) on the same
rows, one thread, float32, rank 16, the same batch; each through its own training loop, in its own process
and environment, update by update in turn. A figure is the median process CPU time of the updates after
the first epoch. A run whose rows, image tokens, adapters or precision differ from ours
is refused, never compared. What cannot run here says why. Not part of the tests: it installs the peers.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import environments  # noqa: E402
import figures  # noqa: E402
import turns  # noqa: E402
import world  # noqa: E402

PEERS = {
    "hf": "HF Trainer",
    "trl": "TRL",
    "llamafactory": "LLaMA-Factory",
    "swift": "ms-swift",
}
OURS, OURS_AS = "ours", ("cold", "warm")  # as which states of the cache of features
SETTINGS = ("default", "best")
SOURCES = HERE.parent.parent / "src"


@dataclass(slots=True)
class Row:
    """One tool under one setting; CPU seconds of an update, median and least over `updates`."""

    tool: str
    setting: str
    version: str = ""
    transformers: str = ""
    tokens: int = 0  # of the longest row of a batch, padding and image included
    labels: int = 0  # learned tokens of a row
    loss: float = 0.0  # mean of the first epoch
    updates: list[float] = field(default_factory=list)
    failure: str = ""

    @property
    def seconds(self) -> float:
        """The figure."""
        return statistics.median(self.updates)


def start(row: Row, python: Path, folder: Path) -> turns.Child:
    """A tool in its own process and environment; it stops after each update."""
    script, out = HERE / f"tool_{row.tool}.py", record(row, folder)
    own = f"{SOURCES}:{HERE}" if row.tool == OURS else str(HERE)
    command = [python, script, folder, row.setting, out]
    return turns.Child(
        command, folder / "data", environments.variables(own), out.with_suffix(".log")
    )


def record(row: Row, folder: Path) -> Path:
    """Where a tool writes what it saw when its run ends."""
    return folder / f"{row.tool}-{row.setting}.json"


def in_turn(
    rows: list[Row], pythons: dict[str, Path], folder: Path, steps: int, timeout: int
) -> None:
    """Run all to their ends, update by update; failures are noted in the rows."""
    children: list[tuple[Row, turns.Child]] = []
    for row in (row for row in rows if not row.failure):  # one after another to the first update
        child = start(row, pythons[row.tool], folder)
        if child.update(timeout, release=False):
            children.append((row, child))
        else:
            row.failure = child.last_words()
            child.finish(0)
        print(f"{row.tool} {row.setting}: {row.failure or 'ready'}", flush=True)
    for number in range(steps - 2):
        for row, child in children:
            if not row.failure and not child.update(timeout):
                row.failure = f"after update {number + 1}: {child.last_words()}"
    for row, child in children:
        child.finish(timeout)
        if not row.failure and not record(row, folder).exists():
            row.failure = child.last_words()


def refused(seen: dict[str, Any], ours: dict[str, Any], rows: list[list[int]]) -> str:
    """Why a run cannot be compared with ours; empty where it can."""
    wanted = [world.IMAGE_TOKENS] * len(ours["rows"])
    if seen["image_tokens"] != wanted:
        return f"image tokens of the rows: {seen['image_tokens']}, not {wanted}"
    for key in ("pixels", "grids", "trained", "targets", "in_vision", "dtypes", "threads"):
        if seen[key] != ours[key]:
            return f"{key}: {seen[key]}, ours {ours[key]}"
    for row in seen["rows"]:
        # Ours ends before the token that is predicted last, some end with the template's newline.
        if not any(row == whole[: len(row)] and len(whole) - len(row) <= 2 for whole in rows):
            return f"a row of {len(row)} tokens that does not follow the chat template"
    apart = abs(seen["loss"] - ours["loss"]) / ours["loss"]
    if seen["labels"] == ours["labels"] and apart > 1e-3:
        return f"mean loss of the first epoch: {seen['loss']:.4f}, ours {ours['loss']:.4f}"
    return ""


def measured(row: Row, seen: dict[str, Any], epoch: int) -> None:
    """Fill a row with the updates after the first epoch."""
    clock = seen["clock"][epoch - 1 :]
    row.updates = [after - before for before, after in itertools.pairwise(clock)]
    row.tokens = max(map(len, seen["rows"]))
    row.labels = max(seen["labels"])
    row.loss = seen["loss"]
    tool = {"hf": "transformers", "swift": "ms-swift", OURS: "residency"}.get(row.tool, row.tool)
    row.version = seen["versions"].get(tool, "")
    row.transformers = seen["versions"]["transformers"]


def measure(options: argparse.Namespace, folder: Path) -> list[Row]:
    """All tools and settings in turn, ours first."""
    world.write(folder, samples=options.samples, batch=options.batch, steps=options.steps)
    whole, epoch = world.rows(folder), options.samples // options.batch
    pythons = {OURS: environments.here()}
    rows = [
        Row(tool, setting)
        for tool in (OURS, *options.peers)
        for setting in (OURS_AS if tool == OURS else options.settings)
    ]
    for tool in options.peers:
        try:
            pythons[tool] = environments.python(tool, options.envs)
        except environments.ToolError as why:
            for row in rows:
                row.failure = str(why) if row.tool == tool else row.failure
    in_turn(rows, pythons, folder, options.steps, options.timeout)
    ours: dict[str, Any] = {}
    for row in rows:
        if row.failure:
            continue
        seen = json.loads(record(row, folder).read_text())
        seen["loss"] = statistics.mean(seen["losses"][:epoch])
        ours = ours or seen
        row.failure = refused(seen, ours, whole)
        if not row.failure:
            measured(row, seen, epoch)
    return rows


def table(rows: list[Row]) -> str:
    """A line each; ratios are ours over it."""
    head = f"{'tool':<14}{'setting':<9}{'version':<9}{'transformers':<14}{'tokens':>7}{'labels':>8}"
    lines = [head + f"{'loss':>9}{'CPU s':>8}{'least':>8}{'cold/':>8}{'warm/':>8}"]
    mine = {row.setting: row for row in rows if row.tool == OURS and row.updates}
    for row in rows:
        name = PEERS.get(row.tool, row.tool)
        if row.failure or not row.updates:
            lines.append(f"{name:<14}{row.setting:<9}{row.failure}")
            continue
        line = f"{name:<14}{row.setting:<9}{row.version:<9}{row.transformers:<14}{row.tokens:>7}"
        line += f"{row.labels:>8}{row.loss:>9.4f}{row.seconds:>8.3f}{min(row.updates):>8.3f}"
        for state in ("cold", "warm"):
            line += f"{mine[state].seconds / row.seconds:>8.2f}" if state in mine else f"{'-':>8}"
        lines.append(line)
    return "\n".join([*lines, verdict(rows)])


def verdict(rows: list[Row]) -> str:
    """Ours beside the fastest peer with the best settings that we know for it."""
    peers = [r for r in rows if r.tool != OURS and r.updates and not r.failure]
    mine = [r for r in rows if r.tool == OURS and r.updates and not r.failure]
    if not peers or not mine:
        return "No peer and none of ours to compare."
    best = min(peers, key=lambda row: row.seconds)
    said = [f"{row.seconds / best.seconds:.2f} with features {row.setting}" for row in mine]
    name = f"{PEERS[best.tool]} ({best.setting})"
    return f"Ours over the fastest peer, {name}: {', '.join(said)}. Target: at most 0.75."


def main() -> None:
    """Install what is missing, measure, print, and write the numbers where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--envs", type=Path, required=True, help="a folder outside the repository")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--timeout", type=int, default=900, help="seconds for one update")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.envs = options.envs.expanduser().resolve()
    if options.envs.is_relative_to(HERE.parent.parent):
        parser.error("--envs lies inside the repository; give a folder outside of it.")
    if options.samples % options.batch or options.steps <= options.samples // options.batch:
        parser.error("--samples must be a multiple of --batch, and --steps more than an epoch.")
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options, Path(folder))
    print(f"Batch of {options.batch}, one CPU thread, float32; medians over updates.")
    print(table(rows))
    figures.write(rows, options.json)
    if not any(row.updates for row in rows if row.tool != OURS):
        raise SystemExit(1)


if __name__ == "__main__":
    main()

"""Whether sharing changes scores: the same questions together in trees, and one to a row, over seeds.

python benchmarks/parity.py --out runs/parity --seeds 3 --json parity.json

Painted smears, four questions about each. `grouped`: the questions of an image are one sample and one
tree. `single`: every question is a sample of its own, among other images. Both tune plainly
(`residency run vanilla`) with the same questions, updates and questions an update, and answer the same
test questions. Runs are kept under `--out`; a second call goes on where the first stopped.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures

from residency.dataset import open_dataset
from residency.types import Sample

QUESTIONS = 4
FORMS = {"grouped": 1, "single": QUESTIONS}  # how many samples an image makes


@dataclass(frozen=True, slots=True)
class Row:
    """One run: accuracy in [0, 1] with its interval, and the seconds of its updates."""

    form: str
    seed: int
    n: int
    accuracy: float
    low: float
    high: float
    updates: int
    seconds: float


def asked(sample: Sample) -> list[tuple[str, str]]:
    """The first facts of a painted image as questions and answers."""
    facts = list(sample.attributes.items())[:QUESTIONS]
    return [(f"What is the {trait}?", value) for trait, value in facts]


def turns(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    """Exchanges about one image as messages."""
    return [
        {"role": role, "content": text}
        for number, (question, answer) in enumerate(pairs)
        for role, text in (("user", "<image>" * (not number) + question), ("assistant", answer))
    ]


def lines(samples: Any, folder: Path, apart: bool) -> Iterator[str]:
    """One line an image, or one a question."""
    for sample in samples:
        path = folder / "images" / f"{sample.id}.png"
        if not path.exists():
            sample.images[0].load().save(path)
        pairs = asked(sample)
        for some in [[pair] for pair in pairs] if apart else [pairs]:
            yield json.dumps({"messages": turns(some), "images": [f"images/{path.name}"]})


def write(folder: Path, train: int, test: int) -> None:
    """Both forms of the same questions; they are tested on the same file."""
    data = open_dataset(f"phantoms:smear:train={train}:val=8:test={test}")
    for form in FORMS:
        (folder / form / "images").mkdir(parents=True, exist_ok=True)
        for split in ("train", "val", "test"):
            apart = form == "single" or split != "train"
            text = "\n".join(lines(data.splits[split], folder / form, apart))
            (folder / form / f"{split}.jsonl").write_text(text + "\n", encoding="utf-8")


def run(folder: Path, form: str, seed: int, batch: int, epochs: float) -> Row:
    """Tune and test one form with one seed, through the command line."""
    out = folder / "runs" / f"{form}-{seed}"
    settings = [f"data={folder / form}", f"out={out}", f"seed={seed}", f"epochs={epochs}"]
    settings += [f"batch_size={batch * FORMS[form]}", "baselines=false"]
    subprocess.run([sys.executable, "-m", "residency", "run", "vanilla", *settings], check=True)
    (row,) = [
        row
        for row in json.loads((out / "results.json").read_text())["rows"]
        if row["method"] == "vanilla" and row["task"] == "vqa" and row["view"] == "plain"
    ]
    journal = (out / "vanilla" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    seconds = [json.loads(line)["seconds"] for line in journal]
    score = row["metrics"]["accuracy"]
    return Row(
        form=form,
        seed=seed,
        n=row["n"],
        accuracy=score["estimate"],
        low=score["low"],
        high=score["high"],
        updates=len(journal),
        seconds=sum(seconds),
    )


def table(rows: list[Row]) -> str:
    """A line a run, then the mean and spread of each form."""
    said = [f"{'form':<10}{'seed':>5}{'n':>6}{'accuracy %':>20}{'updates':>9}{'seconds':>9}"]
    for row in rows:
        score = f"{100 * row.accuracy:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]"
        said.append(
            f"{row.form:<10}{row.seed:>5}{row.n:>6}{score:>20}{row.updates:>9}{row.seconds:>9.0f}"
        )
    for form in FORMS:
        scores = [100 * row.accuracy for row in rows if row.form == form]
        spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
        said.append(
            f"{form}: {statistics.mean(scores):.1f} ± {spread:.1f} over {len(scores)} seeds"
        )
    return "\n".join(said)


def main() -> None:
    """Write the questions, run all, print, and write the numbers where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="a folder for data and runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", type=int, default=600, help="images")
    parser.add_argument("--test", type=int, default=100, help="images")
    parser.add_argument("--batch", type=int, default=16, help="images of an update when grouped")
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folder = options.out.resolve()
    write(folder, options.train, options.test)
    rows = [
        run(folder, form, seed, options.batch, options.epochs)
        for seed in range(options.seeds)
        for form in FORMS
    ]
    print(table(rows))
    figures.write(rows, options.json)


if __name__ == "__main__":
    main()

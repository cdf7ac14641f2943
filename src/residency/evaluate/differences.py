"""Is the difference real? The last method against every other on the samples that both answered."""

import math
from collections.abc import Sequence

from residency.errors import ResidencyError
from residency.evaluate.charts import label, text
from residency.evaluate.comparison import Comparison, comparison_of
from residency.evaluate.pairing import Pair
from residency.evaluate.results import is_fraction
from residency.evaluate.runs import Answered
from residency.evaluate.statistics import holm
from residency.metric import metric


def differences(answered: Sequence[Answered], *, seed: int) -> str:
    """A table of paired differences of the first metric, with McNemar's p adjusted over its rows."""
    if len(answered) < 2:
        return ""
    main = next((one for one in reversed(answered) if not one.control), answered[-1])
    found = []
    for other in answered:
        if other is not main:
            compared = _compared(main, other, seed)
            if compared:
                found.append((other, compared))
    if not found:
        return ""
    tests = [one.test.p for _, one in found if one.test]
    adjusted = iter(holm(tests)) if tests else iter(())
    body = "".join(_row(other, one, next(adjusted) if one.test else None) for other, one in found)
    name = found[0][1].metric
    return (
        f'<p class="note">{text(label(name))} of <b>{text(main.title)}</b> minus that of each other '
        "method, same samples, patients resampled together. p: exact McNemar, adjusted (Holm) over the "
        "rows. Not seen: a smaller difference than this many samples can be expected to show "
        '(power 80&#8239;%).</p><div class="scroll" tabindex="0"><table><thead><tr>'
        '<th scope="col">against</th><th scope="col">difference</th><th scope="col">n</th>'
        '<th scope="col">only this right</th><th scope="col">only other right</th>'
        '<th scope="col">p</th><th scope="col">not seen below</th></tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _compared(main: Answered, other: Answered, seed: int) -> Comparison | None:
    """The comparison under the first metric of the row; None where they share no sample."""
    theirs = {p.sample: p for p in other.predictions}
    mine = [p for p in main.predictions if p.sample in theirs]
    pair = Pair(
        name=("", main.row.dataset, main.row.task, ""),
        first=tuple(mine),
        second=tuple(theirs[p.sample] for p in mine),
        only_first=0,
        only_second=0,
        differing=0,
        repeated=0,
        regrouped=0,
    )
    name = next(iter(main.row.metrics), None)
    if not mine or name is None:
        return None
    try:
        return comparison_of(pair, metric(name), seed=seed)
    except ResidencyError:  # the metric needs what the other's predictions lack
        return None


def _row(other: Answered, one: Comparison, p: float | None) -> str:
    scale = 100 if is_fraction(one.metric) else 1
    d = one.difference
    between = ""
    if math.isfinite(d.low + d.high):
        between = f"<small>{_signed(scale * d.low)} – {_signed(scale * d.high)}</small>"
    counts = "<td>–</td><td>–</td>"
    if one.test:
        counts = f"<td>{one.test.only_first}</td><td>{one.test.only_second}</td>"
    unseen = "–"
    if one.detectable is not None and math.isfinite(one.detectable):
        unseen = f"{scale * one.detectable:.1f}"
    said = "–" if p is None else ("&lt; 0.001" if p < 0.001 else f"{p:.3f}")
    quiet = ' class="quiet"' if other.control else ""
    return (
        f'<tr{quiet}><th scope="row">{text(other.title)}</th>'
        f"<td><b>{_signed(scale * d.estimate)}</b>{between}</td><td>{one.n:,}</td>{counts}"
        f"<td>{said}</td><td>{unseen}</td></tr>"
    )


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")

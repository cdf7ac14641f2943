"""Which class is taken for which: a matrix, or where there are many classes the commonest mistakes."""

from collections import Counter
from collections.abc import Sequence

from residency.evaluate.charts import text
from residency.evaluate.runs import Answered

MOST_CLASSES = 24
COMMONEST = 20
NOT_UNDERSTOOD = "not understood"


def confusion(answered: Sequence[Answered]) -> str:
    """A folded matrix for every method with one label per sample; that of the last is open."""
    fitting = [one for one in answered if one.labels and not one.control and _single(one)]
    return "".join(
        f"<details{' open' if one is fitting[-1] else ''}><summary>{text(one.title)}</summary>"
        f"{_matrix(one) if len(one.labels) <= MOST_CLASSES else _mistakes(one)}</details>"
        for one in fitting
    )


def _single(one: Answered) -> bool:
    known = set(one.labels)
    return all(isinstance(p.reference, str) and p.reference in known for p in one.predictions)


def counted(one: Answered) -> Counter[tuple[str, str]]:
    """How often each (reference, answer) occurs; answers outside the labels count as not understood."""
    known = set(one.labels)
    return Counter(
        (
            str(p.reference),
            p.answer if isinstance(p.answer, str) and p.answer in known else NOT_UNDERSTOOD,
        )
        for p in one.predictions
    )


def _matrix(one: Answered) -> str:
    counts = counted(one)
    columns = list(one.labels)
    if any(answer == NOT_UNDERSTOOD for _, answer in counts):
        columns.append(NOT_UNDERSTOOD)
    heads = "".join(f'<th scope="col"><span>{text(name)}</span></th>' for name in columns)
    body = []
    for reference in one.labels:
        total = sum(counts[reference, answer] for answer in columns)
        cells = "".join(
            _cell(counts[reference, answer], total, reference == answer) for answer in columns
        )
        body.append(f'<tr><th scope="row">{text(reference)}</th>{cells}<td>{total:,}</td></tr>')
    return (
        '<p class="note">Rows: reference. Columns: answer. Shade: share of the row; right answers are '
        'framed.</p><div class="scroll" tabindex="0"><table class="matrix"><thead><tr>'
        f'<td></td>{heads}<th scope="col"><span>n</span></th></tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(count: int, total: int, right: bool) -> str:
    share = count / total if total else 0.0
    kind = " ".join(filter(None, ("right-answer" if right else "", "hot" if share > 0.55 else "")))
    shade = f' style="--heat:{round(100 * share)}%"' if count else ""
    return f"<td{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}{shade}>{count or '·'}</td>"


def _mistakes(one: Answered) -> str:
    wrong = Counter({pair: n for pair, n in counted(one).items() if pair[0] != pair[1]})
    body = "".join(
        f'<tr><th scope="row">{text(reference)}</th><td>{text(answer)}</td><td>{n:,}</td></tr>'
        for (reference, answer), n in wrong.most_common(COMMONEST)
    )
    return (
        f'<p class="note">{len(one.labels)} classes: the {COMMONEST} commonest of {len(wrong):,} kinds '
        'of mistakes.</p><div class="scroll" tabindex="0"><table><thead><tr>'
        '<th scope="col">reference</th><th scope="col">answer</th><th scope="col">n</th></tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )

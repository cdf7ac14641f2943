"""The text metrics by the packages that define them, on 200 random pairs; writes `reference_text.json`.

Run `python tests/reference_text.py` where pycocoevalcap 1.2, rouge-score 0.1.2, rouge 1.0.1 and
sacrebleu 2.6.0 are installed. The suite compares with the stored values, and with the packages where
they are there.
"""

import json
import random
from pathlib import Path

STORED = Path(__file__).with_suffix(".json")
CHUNK = 10  # pairs per corpus score
TEXT = """The the heart lungs is are clear Clear normal No no pleural effusion pneumothorax 2.5 cm 3
nodule right-sided left upper lobe, lobe. clear. T2/FLAIR (stable) x-ray 1,200 mm; size? a an of
"mild" it's & < 10% 8-mm"""
VOCABULARY = TEXT.split()


def pairs() -> list[tuple[str, str]]:
    """200 (response, reference): half of a reference's words are kept, some repeated or swapped."""
    rng = random.Random(20261124)
    made = []
    for _ in range(200):
        reference = rng.choices(VOCABULARY, k=rng.randint(3, 40))
        kept = [word for word in reference if rng.random() < 0.7]
        kept += rng.choices(VOCABULARY, k=rng.randint(1, 10))
        if rng.random() < 0.3:
            rng.shuffle(kept)
        made.append((" ".join(kept), " ".join(reference)))
    return made


def chunks(items: list) -> list[list]:
    """The items in groups of `CHUNK`."""
    return [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]


def by_packages() -> dict[str, list[float]]:
    """Per metric id the value of every pair, or of every chunk for corpus scores."""
    import re

    from pycocoevalcap.bleu.bleu_scorer import BleuScorer
    from pycocoevalcap.cider.cider_scorer import CiderScorer
    from pycocoevalcap.rouge.rouge import Rouge as CocoRouge
    from rouge import Rouge as PypiRouge
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU

    signs = re.compile(r"[.,?;*!%^&_+():-\[\]{}]")

    def clean(text: str) -> str:
        for sign in "\"/\\'":
            text = text.replace(sign, "")
        return " ".join(signs.sub("", text.strip().lower()).split())

    raw = pairs()
    found: dict[str, list[float]] = {}
    for variant, texts in (("coco-raw", raw), ("coco", [(clean(s), clean(t)) for s, t in raw])):
        rouge = CocoRouge()
        found[f"rouge_l@{variant}"] = [rouge.calc_score([s], [t]) for s, t in texts]
        cider = CiderScorer()
        for s, t in texts:
            cider += (s, [t])
        found[f"cider_d@{variant}"] = cider.compute_score()[1].tolist()
        for order in range(1, 5):
            found[f"bleu{order}@{variant}"] = []
        for group in chunks(texts):
            bleu = BleuScorer(n=4)
            for s, t in group:
                bleu += (s, [t])
            for order, value in enumerate(bleu.compute_score(option="closest")[0], start=1):
                found[f"bleu{order}@{variant}"].append(value)
    google = RougeScorer(["rouge1", "rouge2", "rougeL"])
    scored = [google.score(t, s) for s, t in raw]
    pypi = PypiRouge().get_scores(*map(list, zip(*raw, strict=True)))
    for ours, theirs in (("rouge1", "rouge1"), ("rouge2", "rouge2"), ("rouge_l", "rougeL")):
        found[f"{ours}@google"] = [score[theirs].fmeasure for score in scored]
    for ours, theirs in (("rouge1", "rouge-1"), ("rouge2", "rouge-2"), ("rouge_l", "rouge-l")):
        found[f"{ours}@pypi-rouge"] = [score[theirs]["f"] for score in pypi]
    found["bleu4@sacrebleu"] = [
        BLEU(force=True).corpus_score([s for s, _ in group], [[t for _, t in group]]).score / 100
        for group in chunks(raw)
    ]
    return found


if __name__ == "__main__":
    STORED.write_text(json.dumps(by_packages(), indent=0).replace(",\n", ", ") + "\n")

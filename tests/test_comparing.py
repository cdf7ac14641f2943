"""Pair comparisons: drawn at the paper's proportions, exact where facts are known, kept like any job."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import models
from residency.dataset import Dataset, open_dataset
from residency.errors import UsageError
from residency.step import Workspace
from residency.synthesis.comparing import (
    Compare,
    Two,
    by_facts,
    draw,
    judged,
)
from residency.synthesis.engine import Sampling
from residency.synthesis.pairs import pairs
from residency.task import PAPER, task
from residency.types import Sample

EN = "phantoms:smear:task=caption:train=32:size=32"
ZH = "phantoms:chest:task=caption:language=zh:train=6:size=32"


def space(out: Path, limit: int | None = None) -> Workspace:
    return Workspace(out=out, base="nano", seed=3, limit=limit, command="residency run umit")


def drawn(spec: str) -> list[Two]:
    every, _ = pairs([open_dataset(spec)], "train", limit=None, seed=3)
    return draw(every, None, seed=3)


def test_comparisons_come_at_the_papers_proportions(tmp_path: Path) -> None:
    """1.6 M and 0.9 M in English, 0.3 M and 0.2 M in Chinese."""
    step = Compare(name="compare", data=(EN, ZH))
    made = step.dataset(space(tmp_path)).splits["train"]
    assert Counter(sample.language for sample in made) == {"en": 18, "zh": 4}
    assert len({sample.id for sample in made}) == len(made)
    assert step.run(space(tmp_path))["comparisons"] == 22


def test_two_images_of_different_patients_are_shown_and_asked_about() -> None:
    found = drawn(EN)
    firsts = Counter(two.first.key for two in found)
    assert set(firsts.values()) == {1}  # every image is the first one once before any is twice
    for two in found:
        assert two.first.sample.unit != two.second.sample.unit
    assert [two.key for two in found] == [two.key for two in drawn(EN)]


@pytest.mark.parametrize(
    ("spec", "words"), [(EN, ("In both", "In image 1")), (ZH, ("两张", "图像1"))]
)
def test_every_statement_is_true_of_the_facts(
    spec: str, words: tuple[str, str], tmp_path: Path
) -> None:
    twos = drawn(spec)
    samples: list[Sample] = list(
        Compare(name="c", data=(spec,)).dataset(space(tmp_path)).splits["train"]
    )
    for two, sample in zip(twos, samples, strict=True):
        one, other = two.first.sample.attributes, two.second.sample.attributes
        text = str(sample.answer)
        assert text == by_facts(two) and len(sample.images) == 2
        shown = (*two.first.sample.images, *two.second.sample.images)
        assert [picture.key for picture in sample.images] == [picture.key for picture in shown]
        assert words[0] in text or words[1] in text
        told = 0
        for trait in one:
            for value in {one[trait], other[trait]}:
                statement = f"the {trait} is {value}" if spec == EN else f"{trait}为{value}"
                told += statement in text
        assert 1 <= told <= 9
        if spec == EN:
            _both, _, apart = text.partition("In image 1 ")
            mine, _, yours = apart.partition("; in image 2 ")
            for trait in one:
                if f"the {trait} is " in mine:
                    assert f"the {trait} is {one[trait]}" in mine and one[trait] != other[trait]
                    assert f"the {trait} is {other[trait]}" in yours
                elif f"the {trait} is " in text:
                    assert one[trait] == other[trait]
        assert task("comparison").ask(sample, PAPER)


def test_what_a_model_wrote_is_judged_and_counted() -> None:
    assert judged({"said": " Both are round. ", "finish": "stop"}) == ("Both are round.", "")
    assert judged({"said": "x", "finish": "length"})[1] == "cut_off"
    assert judged({"said": "", "finish": "failed"})[1] == "engine_failed"
    assert judged({"said": " ", "finish": "stop"})[1] == "empty"
    assert judged({"said": "The captions agree.", "finish": "stop"})[1] == "speaks_of_captions"


def test_a_text_model_writes_from_captions_and_its_rows_are_kept(tmp_path: Path) -> None:
    base = str(models.folder("qwen2_vl"))
    step = Compare(name="compare", data=(ZH,), writer="local:2", sampling=Sampling(max_tokens=3))
    place = Workspace(out=tmp_path, base=base, seed=3, limit=None, command="residency run umit")
    with pytest.raises(UsageError, match="leaves no comparison"):  # noise runs to the limit
        step.run(place)
    rows = step._kept(place)
    assert len(rows) == 4 and {row["finish"] for row in rows} == {"length"}
    assert all(row["made"]["prompt"] for row in rows)
    written = [(tmp_path / "compare" / "rows" / name).read_bytes() for name in _names(tmp_path)]
    with pytest.raises(UsageError, match="leaves no comparison"):
        step.run(place)
    assert written == [(tmp_path / "compare" / "rows" / n).read_bytes() for n in _names(tmp_path)]


def _names(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "compare" / "rows").glob("*.jsonl"))


def test_what_is_no_image_with_a_caption_is_counted(tmp_path: Path) -> None:
    place = space(tmp_path)
    known = open_dataset(EN).splits["train"]
    odd = (*known[:12], replace(known[12], images=known[12].images * 2))
    place._open["odd"] = Dataset(name="odd", digest="0", splits={"train": odd})
    step = Compare(name="compare", data=("odd",), share=1.0)
    assert step.plan(place)[1] == "not compared: several_images 1"
    assert step.run(place)["not compared (several_images)"] == 1


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="above 0"):
        Compare(name="c", data=(EN,), share=0.0)
    every, _ = pairs([open_dataset(EN)], "train", limit=None, seed=3)
    with pytest.raises(UsageError, match="one case"):
        draw(every[:1], None, seed=3)
    dull = Dataset(
        name="dull",
        digest="0",
        splits={
            "train": tuple(
                Sample(
                    id=str(k), dataset="dull", task="caption", answer=f"{k}",
                    images=(models.picture(k),),
                )
                for k in range(3)
            )
        },
    )  # fmt: skip
    place = space(tmp_path)
    place._open["dull"] = dull
    with pytest.raises(UsageError, match="carry no facts"):
        Compare(name="c", data=("dull",), writer="facts").check(place)
    assert "by local" in Compare(name="c", data=("dull",)).plan(place)[0]
    assert "by facts" in Compare(name="c", data=(EN,)).plan(place)[0]

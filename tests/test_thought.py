"""The fact behind a verdict is asked of a lower block, and the language model learns it there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import models
import ranks
import residency.step
from residency.datasets import general
from residency.errors import UsageError
from residency.model import store
from residency.model.huggingface import Backbone
from residency.objectives.likelihood import Likelihood
from residency.recipe import Recipe, execute
from residency.step import BASE
from residency.train.thought import Heard, Thought
from residency.train.values import Schedule
from residency.types import PLAIN, Reading


def thought(**changes: Any) -> Thought:
    settings: dict[str, Any] = {
        "after": BASE,
        "data": ("noise",),
        "objective": Likelihood(),
        "schedule": Schedule(updates=3, batch_size=4, weight_decay=0.0),
        "layer": 1,
    }
    return Thought(name="think", **{**settings, **changes})


def facts(backbone: Backbone, *said: str) -> list[Reading]:
    readings = ranks.mixture(backbone).readings(0) + ranks.mixture(backbone).readings(1)
    return [
        replace(r, sample=replace(r.sample, attributes={"fact": fact} if fact else {}))
        for r, fact in zip(readings, said, strict=True)
    ]


def known(backbone: Backbone, readings: list[Reading]) -> torch.Tensor:
    heard = Heard(backbone, 1)
    batch = backbone.collate(readings, [PLAIN], "trees")
    with torch.no_grad():
        backbone.read(batch)
        loss = thought()._known(backbone, heard, batch, readings)
    heard.close()
    return loss


def test_the_fact_is_asked_of_the_state_before_the_response_by_the_models_own_head() -> None:
    backbone = models.backbone("qwen2_vl").eval()
    (reading, _) = readings = facts(backbone, "red circle", "")
    language_model: Any = backbone.family.language_model(backbone.model)
    batch = backbone.collate([reading], [PLAIN], "rows")
    prompt = batch.prompts[PLAIN]
    shorter = language_model.layers[:1]  # the same model, cut behind its first block
    with torch.no_grad():
        whole, language_model.layers = language_model.layers, shorter
        states = backbone.states(batch)[PLAIN]  # through the final norm
        language_model.layers = whole
        logits = backbone.head(states)[0]
    tokens = sorted(set(backbone.composer.text_ids(" red circle")))
    expected = torch.stack([F.cross_entropy(logits, torch.tensor(t)) for t in tokens]).mean()
    assert int(prompt.predicts[0].nonzero()[0]) > 0
    torch.testing.assert_close(known(backbone, readings), expected)


def test_facts_count_once_each_however_many_tokens_they_have() -> None:
    backbone = models.backbone("qwen2_vl").eval()
    one, other = (known(backbone, facts(backbone, *said)) for said in (("red", ""), ("", "square")))
    both = known(backbone, facts(backbone, "red", "square"))
    torch.testing.assert_close(both, (one + other) / 2)


def test_without_facts_there_is_no_second_term() -> None:
    backbone = models.backbone("qwen2_vl")
    assert float(known(backbone, facts(backbone, "", ""))) == 0


@pytest.mark.parametrize("layer", [0, 2, 7])
def test_a_block_that_leaves_nothing_above_it_is_refused(layer: int) -> None:
    with pytest.raises(UsageError, match=r"2 blocks.*choose 1 to 1"):
        Heard(models.backbone("qwen2_vl"), layer)


def test_the_step_trains_the_language_model_alone_and_the_fact_becomes_likelier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [replace(ranks.sample(k, "red"), attributes={"fact": "blue"}) for k in range(6)]
    dataset = replace(ranks.dataset(), splits={"train": samples})
    monkeypatch.setattr(residency.step, "open_dataset", lambda spec: dataset)
    base = str(models.folder("qwen2_vl"))
    step = thought(
        schedule=Schedule(updates=8, batch_size=6, warmup=0.0, decay="constant"), lr=3e-3
    )
    execute(
        Recipe(
            name="t", base=base, out=str(tmp_path), seed=0, limit=None, settings={}, steps=(step,)
        )
    )
    before, after = models.backbone("qwen2_vl"), store.load(str(tmp_path / "think" / "model"))
    for part, weights in after.parts().items():
        same = [torch.equal(w, before.parts()[part][name]) for name, w in weights.items()]
        assert all(same) if part != "language_model" else not all(same), part
    reading = [replace(r, sample=samples[0]) for r in ranks.mixture(after).readings(0)]
    assert known(after, reading) < known(before, reading) - 0.5


def test_a_verdict_comes_with_a_twin_that_asks_for_the_other_one() -> None:
    twins = dict.fromkeys(("yes_no", "mcq"), 0)
    for skill in twins:
        for sample in general.Draws("train", (skill,), rounds=4)[:12]:
            asked = {one.id: one for one in sample.also}
            for key, twin in asked.items():
                first = asked.get(key.removesuffix("/twin"))  # or asked before, in the same words
                if not key.endswith("/twin") or first is None:
                    continue
                assert first.attributes["fact"] == twin.attributes["fact"]
                if skill == "yes_no":
                    assert {first.answer, twin.answer} in ({"yes", "no"}, {"是", "否"})
                    assert first.question != twin.question
                else:
                    assert first.answer == twin.answer and set(first.options) == set(twin.options)
                    places = (one.options.index(one.answer) for one in (first, twin))
                    assert len(set(places)) == 2
                twins[skill] += 1
    assert min(twins.values()) > 12

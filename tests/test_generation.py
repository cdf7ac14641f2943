"""Answering: greedy text equals transformers' own, scores equal separate full forwards."""

from dataclasses import replace

import pytest
import torch

import models
from residency.errors import DataError, UsageError
from residency.model import generation
from residency.model.answerer import Speaker
from residency.model.generation import generate, score, stops
from residency.model.huggingface import Backbone, Limits
from residency.model.slots import ProxyInstruction
from residency.types import EXEMPLAR, PLAIN, PROXY, Conversation, Reading, Turn

A, B, C = models.picture(0), models.picture(1, (90, 40)), models.picture(2, (30, 60))
OPTIONS = (
    ("red",),
    ("red circle",),  # the one before is its prefix
    ("red circle, left of a blue square",),
    ("normal",),
    ("肺炎, 没有",),
    ("<|im_end|>",),  # data, not the end of the turn
)


@pytest.fixture(params=models.ALL)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    """A shared backbone."""
    return models.shared(request.param)


def mixed() -> list[Reading]:
    return [
        models.reading("a", A),
        models.reading("b", B, C, question="Which of these two is the longer one, left or right?"),
        models.reading("c", question="Why?"),
        models.reading("d", C, question="There is one red circle; where?"),
    ]


def theirs(backbone: Backbone, reading: Reading, max_tokens: int) -> tuple[str, str]:
    """The same prompt through `model.generate`, by the processor."""
    images = iter([p.load() for p in reading.sample.images])
    chat = [
        {
            "role": turn.role,
            "content": [
                {"type": "text", "text": p}
                if isinstance(p, str)
                else {"type": "image", "image": next(images)}
                for p in turn.parts
            ],
        }
        for turn in reading.conversation[:-1]
    ]
    given = backbone.processor.apply_chat_template(
        chat, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    made = backbone.model.generate(
        **given,
        max_new_tokens=max_tokens,
        do_sample=False,
        eos_token_id=sorted(stops(backbone)),
        pad_token_id=0,
    )[0][given["input_ids"].shape[1] :].tolist()
    stopped = made[-1] in stops(backbone)
    text = backbone.processor.tokenizer.decode(made[:-1] if stopped else made)
    return text.strip(), "stop" if stopped else "length"


def test_greedy_equals_transformers_for_unequal_prompts(backbone: Backbone) -> None:
    readings = mixed()
    expected = [theirs(backbone, r, 7) for r in readings]
    assert generate(backbone, readings, PLAIN, max_tokens=7) == expected
    for reading, answer in zip(readings, expected, strict=True):
        assert generate(backbone, [reading], PLAIN, max_tokens=7) == [answer]
    assert len({text for text, _ in expected}) > 1


def test_a_response_ends_at_any_stop_token(backbone: Backbone) -> None:
    """The token that greedy decoding gives third is declared a stop; the others go on."""
    readings = mixed()[:2]
    ids = [greedy_ids(backbone, r, 6) for r in readings]
    stop = next(t for t in ids[0] if t not in ids[1] and t not in stops(backbone))
    place = ids[0].index(stop)
    config = backbone.model.generation_config
    before = config.eos_token_id
    config.eos_token_id = [stop, *([before] if isinstance(before, int) else before)]
    try:
        made = generate(backbone, readings, PLAIN, max_tokens=6)
        expected = [theirs(backbone, r, 6) for r in readings]
    finally:
        config.eos_token_id = before
    tokenizer = backbone.processor.tokenizer
    assert made == expected
    assert made[0] == (tokenizer.decode(ids[0][:place]).strip(), "stop")
    assert made[1][1] == "length" or backbone.composer.end_of_turn in ids[1]


def greedy_ids(backbone: Backbone, reading: Reading, n: int) -> list[int]:
    """Greedy decoding without a cache: one full read per token."""
    prompt = backbone.collate([reading], [PLAIN], "prompts")
    made: list[int] = []
    with torch.no_grad():
        images = backbone.see(prompt)
        row = prompt.prompts[PLAIN]
        for _ in range(n):
            given = backbone.family.inputs(backbone.model, row, images)
            hidden, _ = backbone.decode(backbone.embed(row, images, None), given, row.positions)
            made.append(int(backbone.head(hidden[:, -1]).argmax()))
            tokens = torch.cat([row.tokens, torch.tensor([[made[-1]]])], dim=1)
            following = (row.positions.amax() + 1).expand(len(row.positions), 1, 1)
            row = replace(
                row,
                tokens=tokens,
                attention=torch.ones_like(tokens, dtype=torch.bool),
                positions=torch.cat([row.positions, following], dim=2),
                predicts=torch.zeros_like(tokens, dtype=torch.bool),
            )
    return made


@pytest.mark.parametrize("view", [PLAIN, EXEMPLAR, PROXY])
def test_batches_of_any_size_give_the_same_text(backbone: Backbone, view: object) -> None:
    made = models.backbone(backbone.name)
    made.attach(models.expert(), exemplar="patches")
    torch.manual_seed(1)
    made.proxy_instruction = ProxyInstruction(2, made.width, std=1.0)
    readings = [r for r in mixed() if r.sample.images]
    speaker = Speaker(made)
    together = speaker.generate(readings, view, max_tokens=5)  # type: ignore[arg-type]
    apart = [speaker.generate([r], view, max_tokens=5)[0] for r in readings]  # type: ignore[arg-type]
    assert together == apart
    scores = speaker.score(readings, view, OPTIONS)  # type: ignore[arg-type]
    alone = torch.cat([speaker.score([r], view, OPTIONS) for r in readings])  # type: ignore[arg-type]
    torch.testing.assert_close(scores, alone, rtol=0, atol=1e-4)


def test_sampling_is_seeded_and_follows_the_distribution(backbone: Backbone) -> None:
    readings = mixed()[:2]

    def drawn(seed: int, temperature: float) -> list[str]:
        generator = torch.Generator().manual_seed(seed)
        made = generate(
            backbone, readings, PLAIN, max_tokens=5, temperature=temperature, generator=generator
        )
        return [text for text, _ in made]

    assert drawn(0, 1.0) == drawn(0, 1.0)
    assert len({tuple(drawn(seed, 5.0)) for seed in range(4)}) > 1
    greedy = [text for text, _ in generate(backbone, readings, PLAIN, max_tokens=5)]
    assert drawn(0, 1e-4) == greedy


def test_impossible_requests_are_refused(backbone: Backbone) -> None:
    readings = mixed()[:1]
    with pytest.raises(UsageError, match="together with a generator"):
        generate(backbone, readings, PLAIN, max_tokens=5, temperature=0.7)
    with pytest.raises(UsageError, match="max_tokens=0"):
        generate(backbone, readings, PLAIN, max_tokens=0)
    for options in ((), (("red",), ("",))):
        with pytest.raises(UsageError, match="at least one option"):
            score(backbone, readings, PLAIN, options)
    assert generate(backbone, [], PLAIN, max_tokens=5) == []
    assert score(backbone, [], PLAIN, OPTIONS).shape == (0, len(OPTIONS))
    backbone.limits = Limits(max_tokens=10, too_long="drop")
    try:
        with pytest.raises(DataError, match="drops the prompts of a"):
            generate(backbone, readings, PLAIN, max_tokens=5)
    finally:
        backbone.limits = Limits()


def separately(backbone: Backbone, reading: Reading, option: str) -> tuple[float, int]:
    """log p(option and end | prompt) by one full read of the conversation that holds it; its tokens."""
    conversation: Conversation = (
        *reading.conversation[:-1],
        Turn("assistant", (option,), learn=True),
    )
    whole = Reading(sample=reading.sample, conversation=conversation)
    batch = backbone.collate([whole], [PLAIN])
    with torch.no_grad():
        logits = backbone.read(batch)[PLAIN].double()
    picked = logits.log_softmax(-1).gather(1, batch.targets.tokens[:, None])
    return float(picked.sum()), len(picked)


@pytest.mark.parametrize("chunk", [2**25, 1000])
def test_scores_equal_separate_forwards(
    backbone: Backbone, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Per token within 1e-5, whatever the size of the pieces in which logits are made."""
    monkeypatch.setattr(generation, "_CHUNK", chunk)
    readings = mixed()
    scores = score(backbone, readings, PLAIN, OPTIONS)
    lengths = Speaker(backbone).lengths(OPTIONS)
    for n, reading in enumerate(readings):
        for k, (option,) in enumerate(OPTIONS):
            expected, length = separately(backbone, reading, option)
            assert abs(float(scores[n, k]) - expected) < 1e-5 * length, (n, option)
            assert lengths[k] == length
    assert scores.shape == (4, len(OPTIONS)) and len(scores.unique()) == scores.numel()


def test_the_order_of_options_changes_nothing(backbone: Backbone) -> None:
    forward = score(backbone, mixed()[:2], PLAIN, OPTIONS)
    backward = score(backbone, mixed()[:2], PLAIN, OPTIONS[::-1])
    torch.testing.assert_close(forward, backward.flip(1), rtol=0, atol=1e-4)


def test_answering_does_not_look_at_the_reference(backbone: Backbone) -> None:
    one, two = (models.reading("a", A, answer=answer) for answer in ("red", "pneumonia " * 3))
    assert generate(backbone, [one], PLAIN, max_tokens=4) == generate(
        backbone, [two], PLAIN, max_tokens=4
    )
    assert torch.equal(
        score(backbone, [one], PLAIN, OPTIONS), score(backbone, [two], PLAIN, OPTIONS)
    )

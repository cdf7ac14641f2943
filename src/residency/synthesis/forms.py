"""How a synthesizer is asked about a pair, and how what it says is read: AdaMLLM's two forms (Table 1).

`delimited`: one assistant turn with named parts, which every engine can write. `header`: the paper's
conversation, in which the model continues after the header of a user's turn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from residency.synthesis.engine import Engine, Reply, Request, Sampling, content_key
from residency.synthesis.pairs import Pair
from residency.synthesis.seed import DESCRIBE, PREFIXES, Form, Sees
from residency.task import PAPER, task
from residency.triplets import Triplet, read
from residency.types import Conversation, ImagePart, Sample, Turn

ROUNDS = 2


def version(form: Form) -> str:
    """Identifies the wording of the form, for the provenance of a row."""
    text = DESCRIBE + "".join(PREFIXES.values())
    if form == "delimited":
        empty = Sample(
            id="", dataset="", task="triplet", answer=(), attributes={"caption": "{caption}"}
        )
        text = task("triplet").ask(empty, PAPER)
    return f"{form}-{content_key(text)[:8]}"


def ask(pair: Pair, key: str, sees: Sees) -> Request:
    """The request of the delimited form."""
    shown = pair.sample.images if sees != "caption" else ()
    caption = "" if sees == "image" else pair.caption
    sample = replace(pair.sample, task="triplet", attributes={"caption": caption})
    images = tuple(map(ImagePart, range(len(shown))))
    turn = Turn("user", (*images, task("triplet").ask(sample, PAPER)))
    return Request(id=key, turns=(turn,), images=shown)


def begin(pair: Pair, sees: Sees) -> Conversation:
    """The caption turn after which the synthesizer of the header form continues."""
    images = () if sees == "caption" else tuple(map(ImagePart, range(len(pair.sample.images))))
    caption = "" if sees == "image" else pair.caption
    return (Turn("user", (*images, DESCRIBE)), Turn("assistant", (caption,)))


def write(
    engine: Engine, some: Sequence[Pair], keys: Sequence[str], form: Form, sees: Sees, how: Sampling
) -> list[list[Reply]]:
    """What the synthesizer says about each pair, turn by turn.

    In the header form the chat template's own tokens between turns are written by us, so a turn that
    ends is followed by the next header; one that does not end (`length`) or fails is the last.
    """
    if form == "delimited":
        requests = [ask(pair, key, sees) for pair, key in zip(some, keys, strict=True)]
        return [[reply] for reply in engine.write(requests, how)]
    said: list[list[Reply]] = [[] for _ in some]
    talks = [begin(pair, sees) for pair in some]
    open_ones = list(range(len(some)))
    for number in range(2 * ROUNDS):
        role: Any = "assistant" if number % 2 else "user"
        requests = [
            Request(
                id=f"{keys[k]}#{number}",
                turns=talks[k],
                images=some[k].sample.images if sees != "caption" else (),
                speaker=role,
            )
            for k in open_ones
        ]
        for k, reply in zip(open_ones, engine.write(requests, how), strict=True):
            said[k].append(reply)
            talks[k] = (*talks[k], Turn(role, (reply.text,)))
        open_ones = [k for k in open_ones if said[k][-1].finish == "stop" and said[k][-1].text]
    return said


def parse(row: Mapping[str, Any], form: Form) -> Triplet | str:
    """The triplet of a row, or why there is none."""
    said, ends = [str(one) for one in row["said"]], row["finish"]
    if "failed" in ends:
        return "engine_failed"
    if "length" in ends:
        return "cut_off"
    return read(said[0]) if form == "delimited" else _rounds(said)


def _rounds(said: Sequence[str]) -> Triplet | str:
    """The first instruction that stands, exactly equal, before a precise and an informative response."""
    if len(said) < 2 * ROUNDS or not all(said):
        return "empty_turn"
    answers: dict[str, tuple[str, str]] = {}
    for asked, answered in zip(said[::2], said[1::2], strict=True):
        kind = next((k for k, prefix in PREFIXES.items() if asked.startswith(prefix)), "")
        if not kind:
            return "no_prefix"
        if kind in answers:
            return f"repeated_{kind}"
        answers[kind] = (asked.removeprefix(PREFIXES[kind]).strip(), answered)
    if not answers["precise"][0]:
        return "empty_instruction"
    if answers["precise"][0] != answers["informative"][0]:
        return "questions_differ"
    return Triplet(answers["precise"][0], answers["precise"][1], answers["informative"][1])

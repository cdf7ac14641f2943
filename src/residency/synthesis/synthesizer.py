"""Write tasks about image-caption pairs, and read them: AdaMLLM's synthesizer at work (section 3.1.1)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from residency.dataset import Dataset
from residency.evaluate.progress import watched
from residency.evaluate.results import Row, write_summary
from residency.provenance import versions
from residency.step import BASE, Workspace
from residency.synthesis import cost, store
from residency.synthesis.engine import Engine, Reply, Request, Sampling, content_key, open_engine
from residency.synthesis.pairs import Found, Pair, pairs, row_key
from residency.synthesis.seed import DESCRIBE, PREFIXES, Form, Seed, Sees
from residency.synthesis.truth import accuracy, share
from residency.task import PAPER, task
from residency.triplets import Triplet, read
from residency.types import Conversation, ImagePart, Sample, Turn

ROWS = "rows"
ROUNDS = 2
MAX_TOKENS = 512  # of a turn (released code)


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


@dataclass(frozen=True, kw_only=True)
class Synthesize:
    """Ask the model that step `of` left (or the base) for a task about every pair of a split.

    `engine` is as `engine.open_engine` takes it; an endpoint serves its own model. With `held_out` the
    pairs are those that a seed step holds out; with `source`, a model of another run is asked instead.
    The rows, one per pair, are a job of `store`.
    """

    name: str
    of: str
    data: tuple[str, ...] = ()
    split: str = "train"
    form: Form = "delimited"
    sees: Sees = "both"
    engine: str = "local"
    sampling: Sampling = Sampling(max_tokens=MAX_TOKENS)  # noqa: RUF009 - frozen
    held_out: Seed | None = None
    source: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        """The model, and the seed whose held-out pairs it is asked about."""
        asked = () if self.source else (self.of,)
        return (*asked, self.held_out.name) if self.held_out else asked

    def check(self, workspace: Workspace) -> None:
        """Refuse data without pairs."""
        if self.held_out is None:
            self.pairs(workspace)

    def plan(self, workspace: Workspace) -> list[str]:
        """How many pairs, and how they are asked about."""
        if self.held_out is not None and not workspace.is_done(self.held_out.name):
            return [f"the held-out pairs of {self.held_out.name}, {self.form}, {self.engine}"]
        every, lost = self.pairs(workspace)
        left = "".join(f", {reason} {count}" for reason, count in lost.items())
        served = "endpoint" in self.engine
        return [
            f"{len(every):,} pairs{left}; {self.form}, engine {self.engine}",
            cost.describe("synthesise", len(every), workspace.base, served=served),
        ]

    def pairs(self, workspace: Workspace) -> tuple[list[Pair], Counter[str]]:
        """The pairs, and what was left out."""
        if self.held_out is not None:
            every = self.held_out.held_out(workspace)
            return every[: workspace.limit], Counter()
        return pairs(
            self._datasets(workspace), self.split, limit=workspace.limit, seed=workspace.seed
        )

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Synthesise, or go on; returns the counts."""
        every, lost = self.pairs(workspace)
        model = self.source or workspace.model(self.of)
        with open_engine(self.engine, model) as engine:
            rows = synthesise(
                engine,
                every,
                workspace.folder(self.name) / ROWS,
                form=self.form,
                sees=self.sees,
                sampling=self.sampling,
                model=named(engine, self.of, workspace),
                label=self.name,
            )
        counts = count(rows, self.form)
        shown = ", ".join(f"{name} {n}" for name, n in counts.items())
        print(f"  {len(rows)} pairs: {shown}", flush=True)
        found = [_found(pair, row, self.form) for pair, row in zip(every, rows, strict=True)]
        self._summarise(workspace, found)
        return {"pairs": len(rows), "not_pairs": dict(lost), "discarded": dict(counts)}

    def _summarise(self, workspace: Workspace, found: Sequence[Found]) -> None:
        """One row: how many pairs got a triplet, of how many different instructions, how true."""
        asked = [one.triplet.instruction for one in found if one.triplet]
        metrics = {"readable": share(len(asked), len(found))} if found else {}
        if asked:
            metrics["distinct"] = share(len(set(asked)), len(asked))
        row = Row(
            method="synthesizer",
            variant=self.name,
            view=None,
            dataset=self.held_out.name if self.held_out else "synthetic",
            task="triplet",
            seed=workspace.seed,
            n=len(found),
            n_unparsed=len(found) - len(asked),
            metrics=metrics | accuracy(found).shares(),
        )
        path = workspace.folder(self.name) / "summary.json"
        write_summary(path, [row], command=workspace.command, versions=versions())

    def found(self, workspace: Workspace) -> list[Found]:
        """The triplets, and the reasons where there is none."""
        every, _ = self.pairs(workspace)
        rows = store.read_rows(workspace.folder(self.name) / ROWS)
        return [_found(pair, row, self.form) for pair, row in zip(every, rows, strict=True)]

    def most(self, workspace: Workspace) -> int:
        """One for each pair."""
        if self.held_out is not None and not workspace.is_done(self.held_out.name):
            return self.held_out.most(workspace) // 10
        return len(self.pairs(workspace)[0])

    def _datasets(self, workspace: Workspace) -> list[Dataset]:
        return workspace.datasets(self.data)


def _found(pair: Pair, row: Mapping[str, Any], form: Form) -> Found:
    parsed = parse(row, form)
    return Found(pair, None, parsed) if isinstance(parsed, str) else Found(pair, parsed)


def synthesise(
    engine: Engine,
    every: Sequence[Pair],
    folder: Any,
    *,
    form: Form,
    sees: Sees,
    sampling: Sampling,
    model: str,
    label: str,
) -> list[store.Row]:
    """The rows of every pair, made or kept: {key, id, said, finish, reason, made}.

    `model` is the name of what writes, for people; `made["weights"]` identifies it.
    """
    made = {
        "model": model,
        "weights": engine.weights,
        "prompt": version(form),
        "sees": sees,
        "sampling": sampling.as_json(),
    }

    def make(some: Sequence[Pair]) -> list[store.Row]:
        keys = [row_key(made, pair) for pair in some]
        replies = write(engine, some, keys, form, sees, sampling)
        return [
            {
                "key": key,
                "id": pair.key,
                "said": [reply.text for reply in said],
                "finish": [reply.finish for reply in said],
                "reason": next((reply.reason for reply in said if reply.reason), ""),
                "made": made,
            }
            for pair, key, said in zip(some, keys, replies, strict=True)
        ]

    identity = {"job": "synthesise", "made": made, "pairs": content_key([p.key for p in every])}
    with watched(label) as progress:
        return store.fill(folder, identity, every, make, group=engine.batch, progress=progress)


def named(engine: Engine, step: str, workspace: Workspace) -> str:
    """The name of the model behind an engine: the server's own, the base's, or that of a step.

    A path would make equal rows differ where a run was moved.
    """
    if not engine.weights:
        return engine.model
    return workspace.base if step == BASE else step


def count(rows: Sequence[store.Row], form: Form) -> Counter[str]:
    """How many rows have a triplet, and how many lack one by reason, the most frequent first."""
    kinds: Counter[str] = Counter()
    for row in rows:
        parsed = parse(row, form)
        kinds[parsed if isinstance(parsed, str) else "triplet"] += 1
    return Counter(dict(kinds.most_common()))

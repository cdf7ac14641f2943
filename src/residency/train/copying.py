"""The step that teaches a language model to copy: random tokens said twice, and where to look."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from residency.errors import UsageError
from residency.model import store
from residency.model.copying_heads import Gaze, calm, echo, ordinary, spread
from residency.model.huggingface import Backbone
from residency.step import BASE, Workspace
from residency.train import checkpoint
from residency.train.values import Schedule

SHORTEST = 3  # tokens of a span


@dataclass(frozen=True, kw_only=True)
class Copying:
    """Give a language model heads that copy, and train it to say spans of random tokens again.

    A model copies with two heads in a row (Olsson et al., 2022, "In-context learning and induction
    heads"): one looks at the token before, so that every place knows what it follows; one further up
    looks at the place that follows an equal token, and says what stands there. Nano has none, and
    next-token loss alone did not make any (docs/results.md). So they are begun by hand and then trained,
    the whole language model with them, on rows of random tokens in which a span of up to `longest` stands
    twice, without image and chat template, about `tokens` tokens an update:

    - `spread`, `calm`: tokens can be told apart again, by their embeddings, in every block;
    - one head of every key-value group of block `before` begins as a look at the token before (`recall`);
    - heads of the blocks `behind` begin by saying what they look at (`echo`), each block a share;
    - where these look is learned: the cross-entropy of their attention weights (supervised attention, Mi
      et al., 2016), times `guidance`, stands beside that of the second span's tokens.

    Embeddings stay as they are after `spread`: all would drift with every update. What the language model
    knew of images is not kept; what comes after teaches it again. Ours throughout.
    """

    name: str
    updates: int
    after: str = BASE
    lr: float = 1e-3
    tokens: int = 768
    longest: int = 32
    before: int = 1
    behind: tuple[int, ...] = (3, 4, 5)
    guidance: float = 1.0

    @property
    def needs(self) -> tuple[str, ...]:
        """The model that does not copy yet."""
        return (self.after,)

    def plan(self, workspace: Workspace) -> list[str]:
        """Updates, and which blocks are shown where to look."""
        for gaze in self._gazes(store.empty(workspace.base)):
            gaze.close()
        return [
            f"{self.updates} updates of about {self.tokens} tokens, spans of up to {self.longest}; "
            f"block {self.before} is shown the token before, blocks {self.behind} what comes next"
        ]

    def check(self, workspace: Workspace) -> None:
        """Refuse a model that cannot be shown."""
        self.plan(workspace)

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Train and commit the model; `copying.jsonl` keeps the losses."""
        backbone = store.load(workspace.model(self.after), dtype=torch.float32)
        words = backbone.embedding_matrix
        trained = [p for p in backbone.parts()["language_model"].values() if p is not words]
        backbone.requires_grad_(False).train()
        for parameter in trained:
            parameter.requires_grad_(True)
        optimizer = torch.optim.AdamW(trained, lr=self.lr, weight_decay=0.01, betas=(0.9, 0.98))
        schedule = Schedule(updates=self.updates, warmup=0.05)
        draw = torch.Generator().manual_seed(workspace.seed)
        every = ordinary(backbone)
        print(f"  {spread(backbone, every)} of {len(every)} embeddings had drifted", flush=True)
        gazes = self._gazes(backbone)
        calm(backbone)
        gazes[0].recall()
        echo(gazes[1:], backbone.width, draw)
        losses: list[dict[str, float]] = []
        for update in range(self.updates):
            for group in optimizer.param_groups:
                group["lr"] = self.lr * schedule.factor(update, self.updates)
            rows = self._rows(every, draw).to(backbone.device)
            terms = terms_of(backbone, rows, gazes)
            optimizer.zero_grad(set_to_none=True)
            (terms["said"] + self.guidance * (terms["before"] + terms["next"])).backward()
            nn.utils.clip_grad_norm_(trained, schedule.clip)
            optimizer.step()
            losses.append({name: float(term.detach()) for name, term in terms.items()})
            if (update + 1) % max(1, self.updates // 20) == 0:
                shown = ", ".join(f"{name} {value:.3f}" for name, value in losses[-1].items())
                print(f"  {self.name} {update + 1}/{self.updates}: {shown}", flush=True)
        for gaze in gazes:
            gaze.close()
        folder = workspace.folder(self.name)
        (folder / "copying.jsonl").write_text("".join(json.dumps(row) + "\n" for row in losses))
        checkpoint.commit(
            folder / "model",
            lambda staged: store.save(backbone, staged, changed={"language_model"}),
            {"stage": self.name, "recipe": workspace.command},
        )
        return {"updates": self.updates, **losses[-1]}

    def _gazes(self, backbone: Backbone) -> list[Gaze]:
        if not self.behind or self.before >= min(self.behind):
            raise UsageError(
                f"before={self.before} must be a lower block than behind={self.behind}: they read "
                "what it found."
            )
        return [Gaze(backbone, block) for block in (self.before, *self.behind)]

    def _rows(self, every: Int[Tensor, " v"], draw: torch.Generator) -> "Rows":
        length = int(torch.randint(SHORTEST, self.longest + 1, (), generator=draw))
        return repeated(every, max(4, 2 * self.tokens // (5 * length)), length, draw)


class Rows(NamedTuple):
    """Tokens `[b, t]` in which a span stands twice, and where each begins `[b]`."""

    tokens: Int[Tensor, "b t"]
    first: Int[Tensor, " b"]
    second: Int[Tensor, " b"]
    length: int

    def to(self, device: torch.device) -> "Rows":
        """The same rows on another device."""
        tokens, first, second = (one.to(device) for one in self[:3])
        return Rows(tokens, first, second, self.length)


def repeated(every: Int[Tensor, " v"], count: int, length: int, draw: torch.Generator) -> Rows:
    """Rows of random tokens, with a span twice at places that differ from row to row.

    At one distance in all rows, place alone would say where to look.
    """
    loose = length // 2 + 1  # tokens that are no part of a span
    size = (count, 2 * length + loose)
    tokens = every[torch.randint(len(every), size, generator=draw)]
    first = torch.randint(loose + 1, (count,), generator=draw)
    between = (torch.rand(count, generator=draw) * (loose + 1 - first)).long()
    second = first + length + between
    inside = torch.arange(length)
    tokens[torch.arange(count)[:, None], second[:, None] + inside] = tokens.gather(
        1, first[:, None] + inside
    )
    return Rows(tokens, first, second, length)


def terms_of(
    backbone: Backbone, rows: Rows, gazes: Sequence[Gaze] = ()
) -> dict[str, Float[Tensor, ""]]:
    """Mean losses in nats.

    `said`: of the second span's tokens but the first, which nothing foretells. `before` and `next`,
    where blocks are watched: of the first one's attention to the token before, and of the others' to
    the first span's next token.
    """
    tokens = rows.tokens
    count, total = tokens.shape
    places = torch.arange(total, device=tokens.device).expand(3, count, -1)
    hidden, _ = backbone.decode(backbone.model.get_input_embeddings()(tokens), {}, places)
    row = torch.arange(count, device=tokens.device)[:, None]
    steps = torch.arange(rows.length - 1, device=tokens.device)
    at, source = rows.second[:, None] + steps, rows.first[:, None] + steps + 1
    logits = backbone.head(hidden[row, at].flatten(0, 1))
    terms = {"said": F.cross_entropy(logits, tokens[row, source].flatten())}
    if gazes:
        before, *behind = (gaze.log_weights() for gaze in gazes)
        terms["before"] = -before.diagonal(-1, -2, -1).mean()
        found = [weights.movedim(1, -1)[row, at, source].mean() for weights in behind]
        terms["next"] = -torch.stack(found).mean()
    return terms

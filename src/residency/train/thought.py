"""The step that teaches a language model to find the fact before it gives a verdict on it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from residency.data.mixture import Mixture
from residency.data.sampler import Sampler
from residency.data.stream import prefetch
from residency.errors import UsageError
from residency.model import store
from residency.model.huggingface import Backbone
from residency.objective import Objective
from residency.step import Workspace
from residency.task import Wording
from residency.train.values import Schedule
from residency.types import PLAIN, Batch, Reading


class Heard:
    """What one block of the language model left at every token, kept from the last forward pass."""

    def __init__(self, backbone: Backbone, layer: int) -> None:
        """Listen to block number `layer`, counted from 1.

        Raises:
            UsageError: the language model has no such block.
        """
        language_model: Any = backbone.family.language_model(backbone.model)
        blocks: Sequence[nn.Module] = language_model.layers
        if not 0 < layer < len(blocks):
            raise UsageError(
                f"layer={layer}: the language model has {len(blocks)} blocks, and one of them "
                f"must be left to think: choose 1 to {len(blocks) - 1}."
            )
        self._norm: nn.Module = language_model.norm
        self._head = backbone.head
        self._states: Tensor | None = None
        self._handle = blocks[layer - 1].register_forward_hook(self._keep)

    def _keep(self, block: nn.Module, given: Any, made: Any) -> None:
        self._states = made[0] if isinstance(made, tuple) else made

    def logits(self, at: Tensor) -> Float[Tensor, "n v"]:
        """The vocabulary at flat places `[n]` of the rows last read, by the model's own head."""
        if self._states is None:
            raise RuntimeError("Nothing was read yet.")
        states, self._states = self._states.flatten(0, 1)[at], None
        return self._head(self._norm(states))

    def close(self) -> None:
        """Stop listening."""
        self._handle.remove()


@dataclass(frozen=True, kw_only=True)
class Thought:
    """Train the language model on the response, and a lower block on the fact behind it.

    A yes, or the letter of an option, compares what the picture shows with what was said. The
    verdict alone teaches neither half: each is worthless without the other. So the state that block
    `layer` leaves where the response begins is asked for the words of `attributes["fact"]`, by the
    model's own final norm and output head; the blocks above learn to compare. Loss: the objective's
    terms, averaged over response tokens, plus `weight` times the mean cross-entropy of the fact's
    tokens, each fact counting once. Samples without a fact have the first term alone. Deep
    supervision (Lee et al., 2015) of one word; everything else here is ours.
    """

    name: str
    after: str
    data: tuple[str, ...]
    objective: Objective
    schedule: Schedule
    lr: float = 1e-3
    layer: int = 2
    weight: float = 1.0

    @property
    def needs(self) -> tuple[str, ...]:
        """The model that does not compare yet."""
        return (self.after,)

    def plan(self, workspace: Workspace) -> list[str]:
        """Updates, and where the fact is asked for."""
        total = self.schedule.total(len(self._mixture(workspace, None)))
        return [
            f"{total} updates of {self.schedule.batch_size} pictures, "
            f"facts asked for behind block {self.layer}"
        ]

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Train and write the Hugging Face folder of the whole model."""
        torch.manual_seed(workspace.seed)
        backbone = store.load(workspace.model(self.after))
        mixture = self._mixture(workspace, backbone.codec)
        trained = list(backbone.parts()["language_model"].values())
        backbone.requires_grad_(False).train()
        for parameter in trained:
            parameter.requires_grad_(True)
        optimizer = torch.optim.AdamW(
            trained, lr=self.lr, weight_decay=self.schedule.weight_decay, betas=(0.9, 0.95)
        )
        heard = Heard(backbone, self.layer)
        total = self.schedule.total(len(mixture))
        losses: list[tuple[float, float]] = []
        with prefetch(self._batches(backbone, mixture, workspace.seed)) as batches:
            for update, (batch, readings) in zip(range(total), batches, strict=False):
                for group in optimizer.param_groups:
                    group["lr"] = self.lr * self.schedule.factor(update, total)
                terms = self.objective(backbone.read(batch), batch.targets)
                said = torch.stack([term.mean() for term in terms.values()]).sum()
                known = self._known(backbone, heard, batch, readings)
                optimizer.zero_grad(set_to_none=True)
                (said + self.weight * known).backward()
                nn.utils.clip_grad_norm_(trained, self.schedule.clip)
                optimizer.step()
                losses.append((float(said.detach()), float(known.detach())))
                if (update + 1) % max(1, total // 20) == 0:
                    recent = torch.tensor(losses[-(total // 20 or 1) :]).mean(0).tolist()
                    state = f"response {recent[0]:.4f}, fact {recent[1]:.3f}"
                    print(f"  {self.name} {update + 1}/{total}: {state}", flush=True)
        heard.close()
        folder = workspace.folder(self.name) / "model"
        backbone.model.save_pretrained(folder)
        backbone.processor.save_pretrained(folder)
        return {"updates": total, "response_loss": losses[-1][0], "fact_loss": losses[-1][1]}

    def _known(
        self, backbone: Backbone, heard: Heard, batch: Batch, readings: Sequence[Reading]
    ) -> Float[Tensor, ""]:
        """The mean over facts of the cross-entropy of their tokens where the response begins."""
        assert batch.tree is not None
        sample = batch.targets.sample
        begins = torch.searchsorted(sample, torch.arange(len(readings)))
        facts = [self._fact(backbone, reading) for reading in readings]
        rows = [n for n, fact in enumerate(facts) for _ in fact]
        if not rows:
            return batch.targets.weights.sum() * 0
        tokens = torch.tensor([token for fact in facts for token in fact])
        shares = torch.tensor([1 / len(fact) for fact in facts for _ in fact])
        logits = heard.logits(batch.tree.places(PLAIN)[begins[rows]])
        asked = F.cross_entropy(logits, tokens, reduction="none")
        return (asked * shares).sum() / shares.sum()

    def _fact(self, backbone: Backbone, reading: Reading) -> list[int]:
        """Tokens of the fact as a claim or a list of options spells them, inside a sentence."""
        sample = reading.sample
        fact = sample.attributes.get("fact", "")
        inside = f" {fact}" if fact and sample.language == "en" else fact
        return sorted(set(backbone.composer.text_ids(inside))) if fact else []

    def _mixture(self, workspace: Workspace, codec: Any) -> Mixture:
        return Mixture.of(
            workspace.datasets(self.data),
            "train",
            limit=workspace.limit,
            wording=Wording(),
            codec=codec,
            seed=workspace.seed,
        )

    def _batches(
        self, backbone: Backbone, mixture: Mixture, seed: int
    ) -> Iterator[tuple[Batch, list[Reading]]]:
        sampler = Sampler(len(mixture), self.schedule.batch_size, seed)
        while True:
            for indices in sampler:
                readings = [reading for i in indices for reading in mixture.readings(i)]
                yield backbone.collate(readings, self.objective.views, "trees"), readings

"""Next-token likelihood: instruction, captioning, multi-task and instruction-free tuning."""

from dataclasses import dataclass

from residency.objective import Logits, Terms, nll
from residency.types import PLAIN, Targets, View


@dataclass(frozen=True, kw_only=True, slots=True)
class Likelihood:
    """-log p(response | view); VITask's equation 1 under `PLAIN`, equation 2 under `EXEMPLAR`."""

    view: View = PLAIN

    @property
    def views(self) -> tuple[View, ...]:
        """The one view it reads."""
        return (self.view,)

    def __call__(self, logits: Logits, targets: Targets) -> Terms:
        """One term per response token."""
        return {"nll": nll(logits[self.view], targets.tokens)}

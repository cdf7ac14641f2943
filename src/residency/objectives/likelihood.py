"""Next-token likelihood: instruction, captioning, multi-task and instruction-free tuning."""

from dataclasses import dataclass

from residency.errors import UsageError
from residency.objective import Logits, Terms, nll
from residency.types import PLAIN, Targets, View


@dataclass(frozen=True, kw_only=True, slots=True)
class Likelihood:
    """-log p(response | view); VITask's equation 1 under `PLAIN`, equation 2 under `EXEMPLAR`.

    The tokens of a sample with n response tokens weigh n**-balance each: 0 averages over tokens,
    as the papers do, 1 counts every sample alike however long its response, 0.5 lies between
    (InternVL 2.5's square averaging, without its normaliser: the term shrinks, the direction stays).
    """

    view: View = PLAIN
    balance: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.balance <= 1:
            raise UsageError(
                f"balance={self.balance} must lie between 0 (tokens count alike) and 1 (samples do)."
            )

    @property
    def views(self) -> tuple[View, ...]:
        """The one view it reads."""
        return (self.view,)

    def __call__(self, logits: Logits, targets: Targets) -> Terms:
        """One term per response token."""
        terms = nll(logits[self.view], targets.tokens)
        if self.balance:
            terms = terms * targets.lengths.to(terms.dtype).pow(-self.balance)
        return {"nll": terms}

"""A backbone as evaluation sees it: functions that answer, nothing else."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from residency.model.generation import Finish, generate, score
from residency.model.huggingface import Backbone
from residency.types import Part, Reading, View


class Speaker:
    """`evaluate.predict.Answerer` over a backbone, in evaluation mode."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone.eval()
        self.codec = backbone.codec

    def generate(
        self, readings: Sequence[Reading], view: View, *, max_tokens: int
    ) -> list[tuple[str, Finish]]:
        """Greedy responses."""
        return generate(self._backbone, readings, view, max_tokens=max_tokens)

    def score(
        self, readings: Sequence[Reading], view: View, options: Sequence[tuple[Part, ...]]
    ) -> Float[Tensor, "n k"]:
        """Summed log-likelihood of every option; the prompt is read once."""
        return score(self._backbone, readings, view, options)

    def lengths(self, options: Sequence[tuple[Part, ...]]) -> list[int]:
        """Tokens of every option with the end of the turn."""
        return [len(self._backbone.composer.response_ids(option)) + 1 for option in options]

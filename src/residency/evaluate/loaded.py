"""Another model than the run's own, as it is, for the untuned rows of a table."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from residency.model import store
from residency.model.answerer import Speaker
from residency.model.huggingface import Limits


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """An `evaluate.steps.Source`: whatever `store.load` takes, with these limits of a prompt."""

    model: str
    limits: Limits = Limits()  # noqa: RUF009 - frozen

    @contextmanager
    def opened(self) -> Iterator[tuple[Speaker, str]]:
        """The model, and which weights it has."""
        backbone = store.load(self.model)
        backbone.limits = self.limits
        yield Speaker(backbone), f"{self.model}:{store.identity(self.model)}"

"""A served model as evaluation sees it: any server with OpenAI's chat completions, asked over HTTP."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from residency.catalog import find
from residency.errors import UsageError
from residency.evaluate.predict import Finish
from residency.model.album import BLANK_GREY
from residency.synthesis.engine import Engine, Request, Sampling, open_engine
from residency.task import Codec
from residency.types import Part, Picture, Reading, View


def is_address(model: str) -> bool:
    """Whether a MODEL is the address of a server."""
    return model.startswith(("http://", "https://"))


@dataclass(frozen=True, slots=True)
class Served:
    """A server at `url` (`?model=NAME` where it has several), whose model writes boxes as `family`."""

    url: str
    family: str

    @contextmanager
    def opened(self) -> Iterator[tuple["Remote", str]]:
        """What answers, and what identifies it: the server does not say which weights it has.

        Raises:
            UsageError: no such family, or the server serves no model or several.
            ResidencyError: the server cannot be reached.
        """
        codec: Codec = find("backbones", self.family).codec
        with open_engine(f"endpoint:{self.url}", "") as engine:
            yield Remote(engine, codec), f"{self.url} {engine.model}"


class Remote:
    """`evaluate.predict.Answerer` over an engine that only writes; greedy."""

    def __init__(self, engine: Engine, codec: Codec) -> None:
        self._engine, self.codec = engine, codec

    def generate(
        self, readings: Sequence[Reading], view: View, *, max_tokens: int
    ) -> list[tuple[str, Finish]]:
        """The responses, several requests at once; with `error` the server's reason for none.

        Raises:
            UsageError: the view needs what no server offers: an exemplar, a proxy instruction.
            ResidencyError: the server cannot be reached any more; what was answered is kept.
        """
        if view.exemplar or view.instruction != "text":
            raise UsageError(
                f"View {view.name!r} needs embeddings of our own, which no server takes. Evaluate a "
                "checkpoint instead of its address."
            )
        requests = [
            Request(
                id=one.sample.id,
                turns=tuple(turn for turn in one.conversation if not turn.learn),
                images=_shown(one, view),
            )
            for one in readings
        ]
        replies = self._engine.write(requests, Sampling(max_tokens=max_tokens))
        return [
            (one.reason, "error") if one.finish == "failed" else (one.text, one.finish)
            for one in replies
        ]

    def score(
        self, readings: Sequence[Reading], view: View, options: Sequence[tuple[Part, ...]]
    ) -> Float[Tensor, "n k"]:
        """Refused: chat completions do not tell the likelihood of a given text."""
        raise UsageError("A served model cannot score options. Use mode=generate.")

    def lengths(self, options: Sequence[tuple[Part, ...]]) -> list[int]:
        """Refused: chat completions do not tell how a given text is cut into tokens."""
        raise UsageError("A served model cannot score options. Use mode=generate.")


def _shown(reading: Reading, view: View) -> tuple[Picture, ...]:
    """The pictures of the view; a blank one has the size of the one it stands for."""
    if view.image == "shuffled" and reading.shuffled is not None:
        return reading.shuffled.images
    if view.image == "blank":
        return tuple(_blank(picture) for picture in reading.sample.images)
    return reading.sample.images


def _blank(picture: Picture) -> Picture:
    from PIL import Image

    size = picture.size or picture.load().size
    return Picture(
        key=f"blank:{size[0]}x{size[1]}", load=lambda: Image.new("RGB", size, BLANK_GREY), size=size
    )

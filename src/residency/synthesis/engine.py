"""What an engine is: a function from requests to texts, wherever the model runs."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any, Literal, Protocol, runtime_checkable

from residency.catalog import find
from residency.errors import UsageError
from residency.types import Conversation, ImagePart, Picture

Finish = Literal["stop", "length", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How a text is drawn: greedy at temperature 0, else with a generator of its own per request.

    `options` are all that may be said: an engine that sees likelihoods says the likeliest of them,
    any other says what it likes within `max_tokens`.
    """

    temperature: float = 0.0
    max_tokens: int = 512
    seed: int = 0
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.temperature < 0:
            raise UsageError(
                f"temperature={self.temperature}, max_tokens={self.max_tokens}: expected 0 or more, "
                "and at least one token."
            )

    def seed_of(self, request: "Request") -> int:
        """The seed of one request, whatever else is asked with it (63 bits)."""
        text = f"{self.seed}\0{request.id}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    def as_json(self) -> dict[str, Any]:
        """For the provenance of a row."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What was said so far; the engine writes the next turn, that of `speaker`.

    `images` are those that the image parts of the turns number.
    """

    id: str
    turns: Conversation
    images: tuple[Picture, ...] = ()
    speaker: Literal["assistant", "user"] = "assistant"


@dataclass(frozen=True, slots=True)
class Reply:
    """The text of a turn and how it ended; `reason` says why where it `failed`."""

    text: str
    finish: Finish
    reason: str = ""


def failed(error: Exception) -> Reply:
    """What an engine says of a request that cannot be read."""
    return Reply("", "failed", " ".join(str(error).split()))


Write = Callable[[Sequence[Request], Sampling], list[Reply]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """A model that is ready to write.

    `weights` identify it ("" where a server does not say), `batch` is how many requests at once suit
    it, `continues` says whether it can write the user's turn, which no chat endpoint offers.
    """

    write: Write
    model: str
    weights: str
    batch: int
    continues: bool


@dataclass(frozen=True, slots=True)
class Kind:
    """What an engine's name says before it is opened.

    `writes` is what of the name decides the texts: engines of equal `writes` are one engine in another
    place, or asked in other groups. `continues` as in `Engine`. `served`: the model is the server's own.
    `package` has to be installed. `foreign`: it reads no checkpoints of ours. `sees`: it reads images.
    """

    writes: str
    continues: bool
    served: bool = False
    foreign: bool = False
    sees: bool = True
    package: str = ""


@runtime_checkable
class Opener(Protocol):
    """What every module in `residency.synthesis.engines` provides; `where` follows its name and a colon."""

    def kind(self, where: str) -> Kind:
        """What the name says.

        Raises:
            UsageError: `where` is none that this engine knows.
        """
        ...

    def opened(self, where: str, model: str) -> Any:
        """A context manager that yields the `Engine`."""
        ...


def kind_of(spec: str) -> Kind:
    """What an engine `NAME` or `NAME:WHERE` is, without opening it.

    Raises:
        UsageError: no such engine, or a place that it does not know.
    """
    opener, where = _opener(spec)
    return opener.kind(where)


def installed(spec: str) -> None:
    """Refuse an engine whose package is missing, before anything is made for it.

    Raises:
        UsageError: it is not installed.
    """
    package = kind_of(spec).package
    known = sys.modules.get(package) if package in sys.modules else package and find_spec(package)
    if package and known is None:
        hint = "'residency[ray]'" if package == "ray" else package
        raise UsageError(
            f"engine={spec} needs {package}, which is not installed: pip install {hint}. Without it, "
            "use engine=local, or serve the model anywhere and use engine=endpoint:URL."
        )


@contextmanager
def open_engine(spec: str, model: str) -> Iterator[Engine]:
    """The engine `NAME` or `NAME:WHERE` (local, local:32, endpoint:URL, vllm, ray:2) over a model.

    Raises:
        UsageError: no such engine, or one whose extra is not installed.
    """
    installed(spec)
    opener, where = _opener(spec)
    with opener.opened(where, model) as engine:
        yield engine


def _opener(spec: str) -> tuple[Opener, str]:
    name, _, where = spec.partition(":")
    opener: Opener = find("synthesis.engines", name)
    return opener, where


def checked(engine: Engine | Kind, requests: Sequence[Request]) -> None:
    """Refuse requests that the engine cannot express.

    Raises:
        UsageError: a user's turn is to be written where only the assistant speaks.
    """
    if any(one.speaker == "user" for one in requests):
        must_continue(engine)


def must_continue(engine: Engine | Kind) -> None:
    """Refuse an engine that cannot write the user's turn.

    Raises:
        UsageError: only the assistant speaks there.
    """
    if not engine.continues:
        raise UsageError(
            "This engine cannot continue after a user header. Use form=delimited, or the engine "
            "local or vllm."
        )


def number(where: str, spec: str, default: int) -> int:
    """The whole number after an engine's name.

    Raises:
        UsageError: it is none, or below one.
    """
    if not where:
        return default
    if not where.isdecimal() or not int(where):
        raise UsageError(f"engine={spec}:{where}: expected a whole number from 1, as in {spec}:2.")
    return int(where)


def as_messages(
    request: Request, image: Callable[[Picture], dict[str, Any]]
) -> list[dict[str, Any]]:
    """The turns as chat messages with content lists; `image` writes a picture as a part."""
    return [
        {
            "role": turn.role,
            "content": [
                image(request.images[part.index])
                if isinstance(part, ImagePart)
                else {"type": "text", "text": str(part)}
                for part in turn.parts
            ],
        }
        for turn in request.turns
    ]


def content_key(*parts: Any) -> str:
    """A hash of JSON values: equal content, equal key, on every machine."""
    text = json.dumps(parts, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()

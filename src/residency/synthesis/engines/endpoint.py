"""Any server with OpenAI's chat completions: several requests at once, retries with backoff, a rate limit.

`endpoint:URL`, where the URL may carry `?model=NAME`, `concurrency=N` (8), `rate=REQUESTS_PER_SECOND` (none),
`attempts=N` (6) and `timeout=SECONDS` (120). A key in $RESIDENCY_API_KEY is sent as a bearer token.
A run may go on at another address where the model is named. A request that the server cannot answer, while it
answers others, fails alone. A server that is full (429) is waited for, up to ten minutes for a request; one
that is gone ends the run, which goes on when it is back.
"""

import base64
import hashlib
import http.client
import itertools
import json
import os
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from socket import gaierror
from typing import Any

import PIL.Image

from residency.catalog import suggest
from residency.data.sinks import encoded
from residency.errors import DataError, ResidencyError, UsageError
from residency.synthesis.engine import (
    Engine,
    Kind,
    Reply,
    Request,
    Sampling,
    as_messages,
    checked,
    failed,
)
from residency.types import ImagePart, Picture, Turn

KEY = "RESIDENCY_API_KEY"
AGAIN = frozenset((408, 409, 425, 429, 500, 502, 503, 504))
HOPELESS = frozenset((401, 403, 404, 405))  # what is wrong with one request is wrong with all
LONGEST = 60.0  # seconds between two attempts
FULL = 429
PATIENCE = 600.0  # seconds that one request waits for a server that says it is full
ENDS = (None, "stop", "length")  # why a text may end; others, such as content_filter, withhold it
KEPT = "What is done is kept: see that the server runs, and run again."
_GREY = Picture(key="grey", load=lambda: PIL.Image.new("RGB", (64, 64), (128, 128, 128)))


@dataclass(kw_only=True)
class Endpoint:
    """A server's address and how hard it may be pressed."""

    url: str
    model: str = ""
    concurrency: int = 8
    rate: float = 0.0
    attempts: int = 6
    timeout: float = 120.0
    pause: float = 0.5  # seconds before the second attempt; doubled after each
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _next: float = 0.0

    def write(self, requests: Sequence[Request], sampling: Sampling) -> list[Reply]:
        """The replies in the order of the requests.

        Raises:
            ResidencyError: the server cannot be reached, or refuses everything that is sent to it.
        """
        checked(self.engine(), requests)
        with ThreadPoolExecutor(self.concurrency) as pool:
            said = list(pool.map(lambda request: self._one(request, sampling), requests))
        lost = [one for one in said if not isinstance(one, Reply)]
        if len(lost) == len(said) or any(isinstance(one, UnansweredError) for one in lost):
            self._probe(requests, lost)
        return [one if isinstance(one, Reply) else failed(one) for one in said]

    def _probe(self, requests: Sequence[Request], lost: Sequence[ResidencyError]) -> None:
        """Whether the fault is of the requests: the server answers the simplest one of their kind."""
        if not lost:
            return
        shown = (_GREY,) if any(one.images for one in requests) else ()
        turn = Turn("user", (*map(ImagePart, range(len(shown))), "Say yes."))
        simplest = Request(id="probe", turns=(turn,), images=shown)
        said = replace(self, attempts=1)._one(simplest, Sampling(max_tokens=1))
        if not isinstance(said, Reply):
            raise ResidencyError(
                f"{self.url} answers nothing, not even the simplest request ({lost[0]}). {KEPT}"
            )

    def engine(self) -> Engine:
        """Seen as an engine."""
        return Engine(
            write=self.write,
            model=self.model,
            weights="",
            batch=4 * self.concurrency,
            continues=False,
        )

    def find_model(self) -> None:
        """Ask the server which model it serves, where none was named.

        Raises:
            UsageError: it serves none or several, or does not list them.
        """
        if self.model:
            return
        hint = f"Name its model: endpoint:{self.url}?model=NAME."
        try:
            listed = self._call("models", None, "models")
        except RefusedError as error:
            raise UsageError(f"{self.url} does not list its models ({error}). {hint}") from error
        except ResidencyError as error:
            raise ResidencyError(f"{error} {hint}") from error
        entries = listed.get("data") if isinstance(listed, dict) else None
        names = [str(entry.get("id")) for entry in entries or () if isinstance(entry, dict)]
        if len(names) != 1:
            have = ", ".join(names[:8]) or "none"
            raise UsageError(f"{self.url} serves {have}. {hint}")
        self.model = names[0]

    def _one(self, request: Request, sampling: Sampling) -> "Reply | Unusable":
        try:
            body = self._body(request, sampling)
        except DataError as error:  # an image that cannot be decoded
            return failed(error)
        try:
            answer = self._call("chat/completions", body, request.id)
            choice = answer["choices"][0]
            text, finish = choice["message"]["content"] or "", choice.get("finish_reason")
        except (AttributeError, KeyError, IndexError, TypeError) as error:
            return RefusedError(f"no choice in the server's answer ({error!r})")
        except (RefusedError, UnansweredError) as error:
            return error
        if finish not in ENDS:
            return Reply("", "failed", f"the server ended its answer by {finish}")
        return Reply(str(text).strip(), "length" if finish == "length" else "stop")

    def _body(self, request: Request, sampling: Sampling) -> bytes:
        body = {
            "model": self.model,
            "messages": as_messages(request, _image),
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed_of(request) % 2**31,
        }
        return json.dumps(body).encode()

    def _call(self, path: str, body: bytes | None, name: str) -> Any:
        """The JSON answer; what may pass is tried again, a server that is full is waited for.

        Raises:
            RefusedError: it will not answer this request.
            UnansweredError: it did not in `attempts` attempts, and may answer others.
            ResidencyError: it cannot be reached, or will answer nothing.
        """
        failed, waited = 0, 0.0
        for attempt in itertools.count(1):
            self._queue()
            try:
                return self._once(path, body)
            except _AgainError as again:
                failed += not again.full
                if failed >= self.attempts:
                    tried = f"no answer in {failed} attempts: {again}"
                    if again.gone:
                        raise ResidencyError(f"{self.url}: {tried}. {KEPT}") from again
                    raise UnansweredError(tried) from again
                pause = self._wait(attempt, name, str(again))
                waited += pause if again.full else 0.0
                if waited > PATIENCE:
                    full = f"{self.url} is full for {PATIENCE:g} s ({again}). {KEPT}"
                    raise ResidencyError(full) from again
            time.sleep(pause)
        raise AssertionError("unreachable")  # of `count`

    def _once(self, path: str, body: bytes | None) -> Any:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(f"{self.url}/{path}", data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as got:
                return json.load(got)
        except urllib.error.HTTPError as error:
            reason = _said(error)
            if error.code in HOPELESS:
                raise ResidencyError(
                    f"{self.url} refuses ({reason}). Check the address, and ${KEY} if it needs a key."
                ) from error
            if error.code not in AGAIN:
                raise RefusedError(reason) from error
            raise _AgainError(reason, full=error.code == FULL) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            cause = getattr(error, "reason", error)
            gone = isinstance(cause, (ConnectionRefusedError, gaierror))
            raise _AgainError(f"{type(error).__name__}: {cause}", gone=gone) from error

    def _wait(self, attempt: int, name: str, reason: str) -> float:
        """Seconds: doubled each time, spread by the request's name, or as long as the server asks."""
        _, asked, seconds = reason.partition("Retry-After ")
        if asked and seconds.isdecimal():
            return min(float(seconds), LONGEST)
        spread = hashlib.sha256(f"{name}{attempt}".encode()).digest()[0] / 255
        return float(min(self.pause * 2 ** min(attempt - 1, 16), LONGEST) * (0.5 + spread / 2))

    def _queue(self) -> None:
        """Wait for this request's turn under the rate limit."""
        if not self.rate:
            return
        with self._turn:
            now = time.monotonic()
            wait = max(0.0, self._next - now)
            self._next = max(now, self._next) + 1 / self.rate
        time.sleep(wait)


class RefusedError(ResidencyError):
    """The server will not answer this request, however often it is asked."""


class UnansweredError(ResidencyError):
    """The server did not answer this request; whether it answers others is not known yet."""


Unusable = RefusedError | UnansweredError


class _AgainError(Exception):
    """What may pass: the server is `full`, or `gone`, or stumbled over this request."""

    def __init__(self, reason: str, *, full: bool = False, gone: bool = False) -> None:
        super().__init__(reason)
        self.full, self.gone = full, gone


def _said(error: urllib.error.HTTPError) -> str:
    after = error.headers.get("Retry-After") if error.headers else None
    try:
        words = " ".join(error.read(400).decode("utf-8", "replace").split())
    except OSError:
        words = ""
    return f"HTTP {error.code} {words}".strip() + (f" Retry-After {after}" if after else "")


def _image(picture: Picture) -> dict[str, Any]:
    data, suffix = encoded(picture)
    kind = "png" if suffix == ".png" else "jpeg"
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def parse(where: str) -> Endpoint:
    """The endpoint of an address with options.

    Raises:
        UsageError: no address of http or https, an unknown option, or a value it cannot take.
    """
    parts = urllib.parse.urlsplit(where)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(
            f"engine=endpoint:{where}: expected an address, as in endpoint:http://localhost:8000."
        )
    known = {"model": str, "concurrency": int, "rate": float, "attempts": int, "timeout": float}
    given: dict[str, Any] = {}
    for name, text in urllib.parse.parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            raise UsageError(
                f"endpoint has no option {name!r}.{suggest(name, list(known))} It has: {', '.join(known)}."
            )
        if name in given:
            raise UsageError(f"endpoint option {name!r} is given twice; keep one.")
        try:
            given[name] = known[name](text)
        except ValueError:
            given[name] = -1
        if name != "model" and not given[name] > 0:
            raise UsageError(f"endpoint option {name}={text!r}: expected a positive number.")
    path = parts.path.rstrip("/")
    url = f"{parts.scheme}://{parts.netloc}{path if path.endswith('/v1') else path + '/v1'}"
    return Endpoint(url=url, **given)


def kind(where: str) -> Kind:
    """The model that is asked for decides, wherever it is served; where none is named, the address."""
    endpoint = parse(where)
    return Kind(f"endpoint {endpoint.model or endpoint.url}", continues=False, served=True)


@contextmanager
def opened(where: str, model: str) -> Iterator[Engine]:
    """Connect; the model is the server's, `model` is not loaded."""
    endpoint = parse(where)
    endpoint.find_model()
    yield endpoint.engine()

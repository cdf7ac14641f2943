"""Any server with OpenAI's chat completions: several requests at once, retries with backoff, a rate limit.

`endpoint:URL`, where the URL may carry `?model=NAME`, `concurrency=N` (8), `rate=REQUESTS_PER_SECOND` (none),
`attempts=N` (6) and `timeout=SECONDS` (120). A key in $RESIDENCY_API_KEY is sent as a bearer token.
"""

import base64
import hashlib
import http.client
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
from dataclasses import dataclass, field
from typing import Any

from residency.catalog import suggest
from residency.data.sinks import encoded
from residency.errors import DataError, ResidencyError, UsageError
from residency.synthesis.engine import Engine, Reply, Request, Sampling, as_messages, checked
from residency.types import Picture

KEY = "RESIDENCY_API_KEY"
AGAIN = frozenset((408, 409, 425, 429, 500, 502, 503, 504))
HOPELESS = frozenset((401, 403, 404, 405))  # what is wrong with one request is wrong with all
LONGEST = 60.0  # seconds between two attempts


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
            return list(pool.map(lambda request: self._one(request, sampling), requests))

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
        hint = f"Name one: endpoint:{self.url}?model=NAME."
        try:
            listed = self._call("models", None, "models")
        except RefusedError as error:
            raise UsageError(f"{self.url} does not list its models ({error}). {hint}") from error
        except ResidencyError as error:
            raise ResidencyError(f"{error} If it lists no models: {hint}") from error
        entries = listed.get("data") if isinstance(listed, dict) else None
        names = [str(entry.get("id")) for entry in entries or () if isinstance(entry, dict)]
        if len(names) != 1:
            have = ", ".join(names[:8]) or "none"
            raise UsageError(f"{self.url} serves {have}. {hint}")
        self.model = names[0]

    def _one(self, request: Request, sampling: Sampling) -> Reply:
        try:
            body = self._body(request, sampling)
        except DataError as error:  # an image that cannot be decoded
            return Reply("", "failed", " ".join(str(error).split()))
        try:
            answer = self._call("chat/completions", body, request.id)
            choice = answer["choices"][0]
            text = choice["message"]["content"] or ""
            finish = "length" if choice.get("finish_reason") == "length" else "stop"
        except (KeyError, IndexError, TypeError) as error:
            return Reply("", "failed", f"no choice in the server's answer ({error!r})")
        except RefusedError as error:
            return Reply("", "failed", str(error))
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
        """The JSON answer; transient failures are tried again."""
        reason = ""
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(self._wait(attempt, name, reason))
            self._queue()
            try:
                with urllib.request.urlopen(self._request(path, body), timeout=self.timeout) as got:
                    return json.load(got)
            except urllib.error.HTTPError as error:
                reason = _said(error)
                if error.code in HOPELESS:
                    raise ResidencyError(
                        f"{self.url} refuses ({reason}). Check the address, and ${KEY} if it needs a key."
                    ) from error
                if error.code not in AGAIN:
                    raise RefusedError(reason) from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = f"{type(error).__name__}: {getattr(error, 'reason', error)}"
        raise ResidencyError(
            f"{self.url} did not answer in {self.attempts} attempts ({reason}). What is done is kept: "
            "start the server and run again."
        )

    def _request(self, path: str, body: bytes | None) -> urllib.request.Request:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        return urllib.request.Request(f"{self.url}/{path}", data=body, headers=headers)

    def _wait(self, attempt: int, name: str, reason: str) -> float:
        """Seconds: doubled each time, spread by the request's name, or as long as the server asks."""
        _, asked, seconds = reason.partition("Retry-After ")
        if asked and seconds.isdecimal():
            return min(float(seconds), LONGEST)
        spread = hashlib.sha256(f"{name}{attempt}".encode()).digest()[0] / 255
        return float(min(self.pause * 2 ** (attempt - 1), LONGEST) * (0.5 + spread / 2))

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


@contextmanager
def opened(where: str, model: str) -> Iterator[Engine]:
    """Connect; the model is the server's, `model` is not loaded."""
    endpoint = parse(where)
    endpoint.find_model()
    yield endpoint.engine()

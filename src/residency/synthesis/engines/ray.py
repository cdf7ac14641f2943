"""Ray Data spreads another engine over a cluster.

`ray:N` for N workers of `local`, `ray:N:ENGINE` for another engine. Needs the extra `ray`. Requests and
replies travel as plain values, images as PNG or JPEG bytes.
"""

import functools
import importlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from residency.data.images import read_image
from residency.data.sinks import encoded
from residency.errors import DataError, ResidencyError, UsageError
from residency.synthesis.engine import (
    Engine,
    Kind,
    Reply,
    Request,
    Sampling,
    checked,
    failed,
    kind_of,
    number,
    open_engine,
)
from residency.types import ImagePart, Picture, Turn

WORKERS = 2
BLOCK = 16  # requests that travel together
TASK = 64  # requests per worker and call


def kind(where: str) -> Kind:
    """That of the engine that it spreads.

    Raises:
        UsageError: no number of workers, or an engine that cannot be spread.
    """
    return replace(kind_of(_parsed(where)[1]), package="ray")


def _parsed(where: str) -> tuple[int, str]:
    workers, _, inner = where.partition(":")
    if inner.partition(":")[0] == "ray":
        raise UsageError("engine=ray:N:ENGINE spreads another engine, not Ray itself.")
    return number(workers, "ray", WORKERS), inner or "local"


@contextmanager
def opened(where: str, model: str) -> Iterator[Engine]:
    """Join the cluster of $RAY_ADDRESS, or start one on this machine.

    Raises:
        ResidencyError: it does not start.
    """
    count, inner = _parsed(where)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray: Any = importlib.import_module("ray")
    importlib.import_module("ray.data")
    started = not ray.is_initialized()
    if started:
        own = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": max(count, os.cpu_count() or 1)}
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="error", **own)
        except Exception as error:  # Ray raises bare ones
            raise ResidencyError(
                f"Ray did not start: {' '.join(str(error).split())} Check $RAY_ADDRESS. On a busy machine "
                "Ray gives up after 30 seconds: run again when it is quieter, or join a running cluster."
            ) from error
    try:
        with open_engine(inner, model) as one:
            known = one
        yield Engine(
            write=functools.partial(_write, ray, inner, model, count, known),
            model=known.model,
            weights=known.weights,
            batch=count * TASK,
            continues=known.continues,
        )
    finally:
        if started:
            ray.shutdown()


def _write(
    ray: Any,
    inner: str,
    model: str,
    workers: int,
    known: Engine,
    requests: Sequence[Request],
    sampling: Sampling,
) -> list[Reply]:
    checked(known, requests)
    replies: dict[int, Reply] = {}
    rows = []
    for place, request in enumerate(requests):
        try:
            rows.append({"place": place, **to_plain(request)})
        except DataError as error:
            replies[place] = failed(error)
    if rows:
        spread = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // BLOCK))
        done = spread.map_batches(
            Worker,
            fn_constructor_args=(inner, model, sampling),
            batch_size=BLOCK,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=1,
        )
        for row in done.take_all():
            replies[int(row["place"])] = Reply(
                str(row["text"]), _FINISH[str(row["finish"])], str(row["reason"])
            )
    return [replies[place] for place in range(len(requests))]


_FINISH: Any = {"stop": "stop", "length": "length", "failed": "failed"}


class Worker:
    """An engine in a process of the cluster."""

    def __init__(self, inner: str, model: str, sampling: Sampling) -> None:
        self._stack = ExitStack()
        self._engine = self._stack.enter_context(open_engine(inner, model))
        self._sampling = sampling

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Write a block of rows; columns in, columns out."""
        names = list(batch)
        rows = [
            dict(zip(names, values, strict=True)) for values in zip(*batch.values(), strict=True)
        ]
        replies = self._engine.write([from_plain(row) for row in rows], self._sampling)
        return {
            "place": [int(row["place"]) for row in rows],
            "text": [reply.text for reply in replies],
            "finish": [reply.finish for reply in replies],
            "reason": [reply.reason for reply in replies],
        }


def to_plain(request: Request) -> dict[str, Any]:
    """A request as values that any process can read.

    Raises:
        DataError: an image cannot be decoded.
    """
    turns = [
        [turn.role, [p.index if isinstance(p, ImagePart) else str(p) for p in turn.parts]]
        for turn in request.turns
    ]
    images = [encoded(picture)[0] for picture in request.images]
    return {
        "id": request.id,
        "speaker": request.speaker,
        "turns": json.dumps(turns),
        "images": images,
    }


def from_plain(row: dict[str, Any]) -> Request:
    """The inverse of `to_plain`; pictures hold their bytes."""
    return Request(
        id=str(row["id"]),
        turns=tuple(
            Turn(role, tuple(ImagePart(p) if isinstance(p, int) else str(p) for p in parts))
            for role, parts in json.loads(str(row["turns"]))
        ),
        images=tuple(
            _picture(bytes(data), f"{row['id']}#{n}") for n, data in enumerate(row["images"])
        ),
        speaker="user" if row["speaker"] == "user" else "assistant",
    )


def _picture(data: bytes, key: str) -> Picture:
    return Picture(key=key, load=functools.partial(read_image, data, key))

"""A small OpenAI-compatible server on loopback that answers with a function and can be told to fail."""

import base64
import functools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from residency.data.images import read_image
from residency.synthesis.engine import Request, Sampling, Write
from residency.types import ImagePart, Picture, Turn


class Server:
    """What was asked, how often, how many at once; `failures` are status codes to answer first."""

    def __init__(self, answer: Callable[[dict[str, Any]], str]) -> None:
        self.answer, self.failures, self.finish = answer, [], "stop"
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.busy = self.most = 0
        self.lock = threading.Lock()


def engine_server(write: Write) -> Server:
    """A server whose model is one of our engines, one request at a time."""
    lock = threading.Lock()

    def answer(body: dict[str, Any]) -> str:
        turns, images = [], []
        for message in body["messages"]:
            parts: list[Any] = []
            for part in message["content"]:
                if part["type"] == "image_url":
                    data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                    parts.append(ImagePart(len(images)))
                    load = functools.partial(read_image, data, "served")
                    images.append(Picture(key=f"served/{len(images)}", load=load))
                else:
                    parts.append(part["text"])
            turns.append(Turn(message["role"], tuple(parts)))
        how = Sampling(max_tokens=body["max_tokens"], temperature=body["temperature"])
        with lock:
            return write([Request(id="r", turns=tuple(turns), images=tuple(images))], how)[0].text

    return Server(answer)


@contextmanager
def running(server: Server) -> Iterator[str]:
    """Its address, while it answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, {"data": [{"id": "tiny"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.bodies.append(body)
                server.headers.append(dict(self.headers))
                server.busy += 1
                server.most = max(server.most, server.busy)
                code = server.failures.pop(0) if server.failures else 200
            try:
                if code == 200:
                    choice = {
                        "message": {"role": "assistant", "content": server.answer(body)},
                        "finish_reason": server.finish,
                    }
                    self._send(200, {"choices": [choice]})
                elif code == 0:  # a broken answer
                    self._raw(200, b"{not json")
                else:
                    self._send(code, {"error": "asked to fail"})
            finally:
                with server.lock:
                    server.busy -= 1

        def _send(self, code: int, value: Any) -> None:
            self._raw(code, json.dumps(value).encode())

        def _raw(self, code: int, data: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_address[1]}"
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()

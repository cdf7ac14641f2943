"""Evaluating the model of a server: its prompts, its refusals, the key, and resuming after it went away."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

from residency import cli
from residency.evaluate.results import read_details, read_results
from residency.evaluate.store import read_predictions

COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}
KEY = "sk-not-to-be-written"


class Chat(BaseHTTPRequestHandler):
    """Names the colour it is shown, says "red" about grey, refuses one shade, can go away."""

    asked: ClassVar[list[dict[str, Any]]] = []
    keys: ClassVar[set[str]] = set()
    alive: ClassVar[int] = 10**6

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": "painter"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        self.keys.add(str(self.headers["Authorization"]))
        if len(self.asked) > self.alive:
            return self._send(404, {"error": "gone"})
        image, text = body["messages"][-1]["content"]
        url = image["image_url"]["url"]
        shown = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))
        pixel = shown.convert("RGB").getpixel((0, 0))
        if pixel == (20, 20, 201):
            return self._send(400, {"error": "image not allowed"})
        apart = {
            name: sum(abs(a - b) for a, b in zip(colour, pixel, strict=True))
            for name, colour in COLOURS.items()
        }
        named = min(apart, key=apart.__getitem__)
        assert "red, green, blue" in text["text"]
        said = f"It is {'red' if pixel == (128, 128, 128) else named}."
        choice = {"message": {"content": said}, "finish_reason": "stop"}
        return self._send(200, {"choices": [choice]})

    def _send(self, code: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("RESIDENCY_API_KEY", KEY)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Chat.asked.clear()
    Chat.alive = 10**6
    server = ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = []
    (tmp_path / "set").mkdir()
    for number in range(12):
        name = list(COLOURS)[number % 3]
        colour = (20, 20, 201) if number == 11 else COLOURS[name]
        Image.new("RGB", (32, 32 + number), colour).save(tmp_path / "set" / f"{number}.png")
        rows.append(
            {
                "id": str(number),
                "image": f"{number}.png",
                "question": "Which colour: red, green, blue?",
                "answer": name,
                "options": list(COLOURS),
                "split": "test" if number > 5 else "train",
            }
        )
    table = tmp_path / "set" / "table.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return table


def test_a_served_model_is_evaluated_with_controls(url: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [f"data=table:{data}", f"out={out}", "controls=true", "batch_size=4"]
    Chat.alive = 5
    assert cli.main(["evaluate", url, *words]) == 1  # the server goes away
    Chat.alive = 10**6
    before = len(Chat.asked)
    assert cli.main(["evaluate", url, *words]) == 0
    assert len(Chat.asked) - before == 18 - 4, "the batch that was answered is not asked again"
    rows = {(row.method, row.view): row for row in read_results(out / "results.json")}
    plain, blank = rows["model", "plain"], rows["model", "blank"]
    assert (plain.n, plain.n_error, plain.n_unparsed) == (6, 1, 1)
    assert plain.metrics["accuracy"].estimate == pytest.approx(5 / 6)
    assert blank.metrics["accuracy"].estimate == pytest.approx(2 / 6)
    assert blank.metrics["answer_flip_rate"].estimate == pytest.approx(4 / 6)
    assert rows["chance", None].metrics["accuracy"].estimate == pytest.approx(1 / 3)
    assert {entry["view"] for entry in read_details(out / "results.json")} >= {"plain", "blank"}
    (file,) = out.rglob("plain/predictions.jsonl")
    refused = [p for p in read_predictions(file).predictions if p.finish == "error"]
    assert len(refused) == 1 and "image not allowed" in refused[0].facts["error"]
    assert Chat.keys == {f"Bearer {KEY}"} and Chat.asked[-1]["model"] == "painter"
    assert not any(KEY in path.read_text() for path in out.rglob("*.json*"))


def test_what_a_server_cannot_do_is_refused(
    url: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", url, f"data=table:{data}", f"out={tmp_path / 'out'}"]
    for more, message in (
        ("mode=likelihood", "cannot score options"),
        ("family=qwen", "Did you mean"),
        ("view=exemplar", "which no server takes"),
        ("task=report", "has none of it in 'test'"),
        ("view=plian", "Did you mean 'plain'"),
        ("metrics=acuracy", "Did you mean 'accuracy'"),
    ):
        assert cli.main([*words, more]) == 2, more
        assert message in capsys.readouterr().err

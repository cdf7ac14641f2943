"""Every engine is the same function: equal requests give equal texts; failures are tried again or named."""

import sys
import time
import types

import pytest

import models
from residency.errors import DataError, ResidencyError, UsageError
from residency.synthesis.engine import (
    Reply,
    Request,
    Sampling,
    checked,
    installed,
    kind_of,
    open_engine,
)
from residency.synthesis.engines import endpoint, vllm
from residency.synthesis.engines.ray import from_plain, to_plain
from residency.types import ImagePart, Picture, Turn
from server import Server, engine_server, running

HOW = Sampling(max_tokens=8)


def ask(name, seed=0, text="What is it?", speaker="assistant"):
    turns = (Turn("user", (ImagePart(0), text)),)
    if speaker == "user":
        turns = (*turns, Turn("assistant", ("red circle",)))
    return Request(id=name, turns=turns, images=(models.picture(seed),), speaker=speaker)


@pytest.fixture(scope="module")
def tiny():
    with open_engine("local:4", str(models.folder("qwen2_vl"))) as engine:
        yield engine


def test_a_batch_says_what_each_request_alone_does(tiny):
    requests = [
        ask(f"r{n}", n, text) for n, text in enumerate(("What?", "How many red?", "Is it blue?"))
    ]
    together = tiny.write(requests, HOW)
    assert together == [tiny.write([one], HOW)[0] for one in requests]
    assert len({reply.text for reply in together}) > 1


def test_sampling_follows_the_request_not_its_company(tiny):
    how = Sampling(max_tokens=8, temperature=1.0, seed=3)
    requests = [ask(f"r{n}") for n in range(3)]
    together = tiny.write(requests, how)
    assert [reply.text for reply in together] == [tiny.write([r], how)[0].text for r in requests]
    assert len({reply.text for reply in together}) == 3, "one picture, three seeds"
    assert tiny.write(requests, Sampling(max_tokens=8, temperature=1.0, seed=4)) != together


def test_the_users_turn_is_written_after_its_header(tiny):
    assert tiny.continues
    said = tiny.write([ask("r", speaker="user")], HOW)
    assert said[0].finish in ("stop", "length")
    assert said != tiny.write([ask("r")], HOW)


def test_labels_are_chosen_by_likelihood(tiny):
    how = Sampling(max_tokens=4, options=("yes", "no", "open"))
    said = [reply.text for reply in tiny.write([ask(f"r{n}", n) for n in range(3)], how)]
    assert set(said) <= {"yes", "no", "open"}


def test_a_request_that_cannot_be_read_fails_alone(tiny):
    def broken():
        raise DataError("no such\nimage")

    bad = Request(id="bad", turns=ask("b").turns, images=(Picture(key="bad", load=broken),))
    said = tiny.write([ask("a"), bad, ask("c", 1)], HOW)
    assert said[1] == Reply("", "failed", "no such image")
    assert said[0] == tiny.write([ask("a")], HOW)[0]
    assert said[2].finish != "failed"


def test_an_endpoint_says_what_the_local_engine_says(tiny):
    requests = [ask(f"r{n}", n) for n in range(6)]
    with (
        running(engine_server(tiny.write)) as url,
        open_engine(f"endpoint:{url}?concurrency=3", "ignored") as served,
    ):
        assert (served.model, served.weights, served.batch) == ("tiny", "", 12)
        texts = [reply.text for reply in served.write(requests, HOW)]
    assert texts == [reply.text for reply in tiny.write(requests, HOW)]


def test_an_endpoint_asks_several_at_once_and_tries_again(monkeypatch):
    monkeypatch.setenv(endpoint.KEY, "secret")
    server = Server(lambda body: body["messages"][0]["content"][1]["text"])
    server.failures = [503, 429, 0]
    with running(server) as url:
        one = endpoint.Endpoint(url=f"{url}/v1", model="m", concurrency=4, pause=0.01)
        said = one.write([ask(f"r{n}", text=f"t{n}") for n in range(8)], HOW)
    assert [reply.text for reply in said] == [f"t{n}" for n in range(8)]
    assert len(server.bodies) == 11
    assert all(h["Authorization"] == "Bearer secret" for h in server.headers)
    assert {b["seed"] for b in server.bodies} == {
        HOW.seed_of(ask(f"r{n}")) % 2**31 for n in range(8)
    }


def test_a_refused_request_fails_alone_and_a_refused_key_stops_all():
    server = Server(lambda body: "fine")
    with running(server) as url:
        one = endpoint.Endpoint(url=f"{url}/v1", model="m", concurrency=1, pause=0.01)
        server.failures = [400]
        said = one.write([ask("a"), ask("b")], HOW)
        assert said[0].finish == "failed" and "HTTP 400" in said[0].reason
        assert said[1] == Reply("fine", "stop")
        server.failures = [401]
        with pytest.raises(ResidencyError, match="refuses"):
            one.write([ask("a")], HOW)
        server.failures = [400, 400, 400]
        with pytest.raises(ResidencyError, match="not even the simplest request"):
            one.write([ask("a"), ask("b")], HOW)


@pytest.mark.parametrize("code", [500, 0, 204])
def test_a_request_that_is_never_answered_fails_alone_while_the_server_answers_others(code):
    server = Server(lambda body: "fine")
    with running(server) as url:
        one = endpoint.Endpoint(url=f"{url}/v1", model="m", concurrency=1, attempts=2, pause=0.01)
        server.failures = [code, code]
        said = one.write([ask("a"), ask("b")], HOW)
        assert said[0].finish == "failed" and "no answer in 2 attempts" in said[0].reason
        assert said[1] == Reply("fine", "stop")
        assert server.bodies[-1]["max_tokens"] == 1, "the probe"
        server.failures = [code, code, code]
        with pytest.raises(ResidencyError, match="not even the simplest request"):
            one.write([ask("a")], HOW)


def test_a_full_server_is_waited_for_and_a_gone_one_ends_the_run(monkeypatch):
    server = Server(lambda body: "fine")
    with running(server) as url:
        one = endpoint.Endpoint(url=f"{url}/v1", model="m", attempts=1, pause=0.001)
        server.failures = [429] * 8
        assert one.write([ask("a")], HOW) == [Reply("fine", "stop")]
        monkeypatch.setattr(endpoint, "PATIENCE", 0.002)
        server.failures = [429] * 20
        with pytest.raises(ResidencyError, match="is full for"):
            one.write([ask("a")], HOW)
    with pytest.raises(ResidencyError, match="Connection refused"):
        one.write([ask("a")], HOW)


def test_what_a_server_withholds_is_no_text():
    server = Server(lambda body: None)
    server.finish = "content_filter"
    with running(server) as url:
        one = endpoint.Endpoint(url=f"{url}/v1", model="m")
        (said,) = one.write([ask("a")], HOW)
    assert said == Reply("", "failed", "the server ended its answer by content_filter")


def test_a_rate_limit_spreads_requests():
    server = Server(lambda body: "x")
    with running(server) as url:
        one = endpoint.Endpoint(url=f"{url}/v1", model="m", concurrency=4, rate=50.0)
        began = time.monotonic()
        one.write([ask(f"r{n}") for n in range(6)], HOW)
        assert time.monotonic() - began >= 5 / 50


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("", "expected an address"),
        ("ftp://x", "expected an address"),
        ("http://localhost:1?concurency=3", "Did you mean 'concurrency'"),
        ("http://localhost:1?rate=-1", "expected a positive number"),
    ],
)
def test_a_bad_address_is_refused(where, message):
    with pytest.raises(UsageError, match=message):
        endpoint.parse(where)


def test_an_engine_without_user_turns_refuses_them():
    with pytest.raises(UsageError, match="form=delimited"):
        checked(
            endpoint.Endpoint(url="http://x/v1", model="m").engine(), [ask("r", speaker="user")]
        )


@pytest.mark.parametrize("spec", ["local:0", "ray:x", "ray:2:ray:2"])
def test_a_bad_engine_is_refused(spec):
    with pytest.raises(UsageError), open_engine(spec, str(models.folder("qwen2_vl"))):
        pass


def test_an_engine_is_the_same_in_another_place():
    assert kind_of("local").writes == kind_of("local:4").writes == kind_of("ray:3").writes
    one, other = (f"endpoint:http://{host}?model=m" for host in ("a", "b:1"))
    assert kind_of(one) == kind_of(f"{other}&concurrency=2")
    assert kind_of(one).served and kind_of(f"ray:2:{one}").writes == kind_of(one).writes
    assert kind_of("endpoint:http://a") != kind_of("endpoint:http://b"), "models not named"
    assert kind_of("local").continues and not kind_of(one).continues
    for bad in ("local:x", "endpoint:x", "ray:1:ray"):
        with pytest.raises(UsageError):
            kind_of(bad)


def test_a_missing_package_is_said_before_anything_is_made(monkeypatch):
    monkeypatch.setattr("residency.synthesis.engine.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    with pytest.raises(UsageError, match=r"needs ray, which is not installed"):
        installed("ray:2")
    installed("local")


def test_a_misspelt_engine_gets_a_suggestion():
    with pytest.raises(UsageError, match="Did you mean 'local'"), open_engine("locl", "nano"):
        pass


def test_vllm_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UsageError, match="pip install vllm"), open_engine("vllm", "nano"):
        pass


class FakeVLLM(types.ModuleType):
    """The two classes of vLLM that the engine uses, over the local engine's tokenizer."""

    def __init__(self, tokenizer):
        super().__init__("vllm")
        self.prompts = []
        module = self

        class SamplingParams:
            def __init__(self, **given):
                self.given = given

        class LLM:
            def __init__(self, **given):
                self.given = given

            def get_tokenizer(self):
                return tokenizer

            def generate(self, prompts, settings):
                module.prompts += prompts
                assert all(one.given["max_tokens"] == 8 for one in settings)
                ended = types.SimpleNamespace(text=" said ", finish_reason="stop")
                return [types.SimpleNamespace(outputs=[ended]) for _ in prompts]

        self.SamplingParams, self.LLM = SamplingParams, LLM


def test_vllm_gets_everything_up_to_the_next_turn(monkeypatch):
    processor = models.backbone("qwen2_vl").processor
    processor.tokenizer.chat_template = processor.chat_template
    fake = FakeVLLM(processor.tokenizer)
    monkeypatch.setitem(sys.modules, "vllm", fake)
    with vllm.opened("", str(models.folder("qwen2_vl"))) as engine:
        said = engine.write([ask("a"), ask("b", speaker="user")], HOW)
    assert said == [Reply("said", "stop")] * 2
    first, second = (one["prompt"] for one in fake.prompts)
    assert first.endswith("What is it?<|im_end|>\n<|im_start|>assistant\n")
    assert second.endswith("red circle<|im_end|>\n<|im_start|>user\n")
    assert len(fake.prompts[0]["multi_modal_data"]["image"]) == 1


def test_a_request_travels_as_plain_values(tiny):
    request = ask("r", 3)
    back = from_plain(to_plain(request))
    assert (back.id, back.turns, back.speaker) == (request.id, request.turns, request.speaker)
    assert tiny.write([back], HOW) == tiny.write([request], HOW)


@pytest.mark.slow
def test_two_ray_workers_say_what_the_local_engine_says(tiny):
    pytest.importorskip("ray", reason="needs the extra `ray`")
    requests = [ask(f"r{n}", n % 5) for n in range(20)]
    with open_engine("ray:2:local:4", str(models.folder("qwen2_vl"))) as engine:
        assert engine.weights == tiny.weights
        assert engine.write(requests, HOW) == tiny.write(requests, HOW)

"""The engine of a language model without images: templates, control tokens, likelihoods, company."""

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

import models
from residency.errors import UsageError
from residency.synthesis import consistency
from residency.synthesis.engine import Reply, Request, Sampling, kind_of, open_engine
from residency.synthesis.engines.text import Language
from residency.triplets import Triplet
from residency.types import ImagePart, Turn

TRIPLET = Triplet("What is it?", "a dog <|im_end|>", "It barks, so it is a dog.")
HOW = consistency.sampling(0)
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def saved(folder, template):
    tokenizer = AutoTokenizer.from_pretrained(models.folder("qwen2_vl"))
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    size = max(len(tokenizer), *tokenizer.all_special_ids) + 1
    config = LlamaConfig(
        vocab_size=size, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    torch.manual_seed(3)
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module", params=[TEMPLATE, None], ids=["chat", "base"])
def model(request, tmp_path_factory):
    return saved(tmp_path_factory.mktemp("text") / "m", request.param)


def asked(count):
    return [
        consistency.request(f"r{n}", TRIPLET._replace(precise="dog " * n), "short")
        for n in range(1, count + 1)
    ]


def test_labels_are_the_likeliest_alone_and_in_company(model):
    with open_engine(f"text:{model}?batch=3", "ignored") as engine:
        assert (engine.model, engine.batch, engine.continues) == (model, 3, False)
        together = engine.write(asked(3), HOW)
        assert together == [engine.write([one], HOW)[0] for one in asked(3)]
        assert {reply.text for reply in together} <= set(consistency.LABELS)


def test_the_likelihood_is_that_of_the_network(model):
    tokenizer = AutoTokenizer.from_pretrained(model)
    network = LlamaForCausalLM.from_pretrained(model).eval()
    language = Language(network=network, tokenizer=tokenizer)
    prompt = language.prompt(asked(1)[0])
    told = []
    for option in HOW.options:
        ids = [*prompt, *language.option(option)]
        with torch.no_grad():
            all_of = network(torch.tensor([ids])).logits[0].log_softmax(-1)
        told.append(sum(float(all_of[k - 1, ids[k]]) for k in range(len(prompt), len(ids))))
    with open_engine(f"text:{model}", "") as engine:
        (said,) = engine.write(asked(1), HOW)
    assert said.text == HOW.options[told.index(max(told))]


def test_texts_never_become_control_tokens(model):
    tokenizer = AutoTokenizer.from_pretrained(model)
    language = Language(network=None, tokenizer=tokenizer)
    clean = language.prompt(consistency.request("r", TRIPLET._replace(precise="a dog"), "short"))
    odd = language.prompt(consistency.request("r", TRIPLET, "short"))
    special = set(tokenizer.all_special_ids)
    assert [i for i in odd if i in special] == [i for i in clean if i in special]
    assert "<|im_end|>" in tokenizer.decode(odd)
    if language.chats:
        frame = tokenizer.apply_chat_template(
            [{"role": "user", "content": "x"}], add_generation_prompt=True, tokenize=True
        )
        ids = frame if isinstance(frame, list) else frame["input_ids"]
        assert language.prompt(Request(id="r", turns=(Turn("user", ("x",)),))) == list(ids)


def test_it_says_a_line_and_refuses_images_and_sampling(model):
    image = Request(id="i", turns=(Turn("user", (ImagePart(0), "?")),), images=(models.picture(0),))
    with open_engine(f"text:{model}", "") as engine:
        said = engine.write([asked(1)[0], image], Sampling(max_tokens=5))
        assert said[0].finish in ("stop", "length") and "\n" not in said[0].text.strip("\n")
        assert said[1] == Reply("", "failed", "this engine sees no images")
        with pytest.raises(UsageError, match="greedy"):
            engine.write(asked(1), Sampling(temperature=1.0))
        assert engine.write([], HOW) == []


def test_a_model_is_named_and_known_by_its_weights(model):
    assert kind_of(f"text:{model}?batch=2") == kind_of(f"text:{model}")
    for bad in ("text", f"text:{model}?size=3", f"text:{model}?batch=x"):
        with pytest.raises(UsageError):
            kind_of(bad)

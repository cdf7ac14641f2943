"""Nano from nothing: tokenizer, sizes, and a folder that the Auto classes load."""

from functools import cache
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, Qwen2Tokenizer

from residency.datasets import general
from residency.errors import UsageError
from residency.model import nano


@cache
def tokenizer() -> Qwen2Tokenizer:
    return nano.train_tokenizer(general.texts(1500))


@pytest.mark.parametrize(
    "text",
    [
        "图中有多少个红色圆形？",
        "肺炎，没有骨折。X光",
        "naïve café 🙂\tend\n\n",
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|><|im_end|>",
        "<|object_ref_start|>ring<|object_ref_end|><|box_start|>(120,34),(999,1000)<|box_end|>",
    ],
)
def test_text_survives_the_tokenizer(text: str) -> None:
    assert tokenizer().decode(tokenizer()(text).input_ids) == text


def test_special_names_are_single_tokens_and_digits_stay_apart() -> None:
    ids = tokenizer().convert_tokens_to_ids(list(nano.SPECIAL))
    assert len(set(ids)) == 14 and max(ids) == len(tokenizer()) - 1
    for name, number in zip(nano.SPECIAL, ids, strict=True):
        assert tokenizer()(name).input_ids == [number]
    assert len(tokenizer()("(120,1000)").input_ids) == len("(120,1000)")
    vocabulary = tokenizer().get_vocab()
    assert not [t for t in vocabulary if len(t) > 1 and any(c in "0123456789" for c in t)]


def test_special_names_in_data_can_be_kept_as_text() -> None:
    ids = tokenizer()("<|im_end|>", split_special_tokens=True).input_ids
    assert len(ids) > 1 and tokenizer().convert_tokens_to_ids("<|im_end|>") not in ids
    assert tokenizer().decode(ids) == "<|im_end|>"


def test_medical_names_take_few_tokens() -> None:
    for name in ("pneumonia", "melanoma", "basophil", "cardiomegaly", "diabetic retinopathy"):
        assert len(tokenizer()(f" {name}").input_ids) <= 4, name


def test_tokenizer_refuses_a_vocabulary_without_room() -> None:
    with pytest.raises(UsageError, match="below 270"):
        nano.train_tokenizer(["a"], vocab_size=200)


def test_build_has_the_declared_size_and_spare_rows() -> None:
    model = nano.build(nano.train_tokenizer(general.texts(6000)))
    total = sum(p.numel() for p in model.parameters())
    assert 4_000_000 < total < 4_400_000
    rows = model.get_input_embeddings().weight
    assert rows.shape[0] - 2048 >= 8
    assert model.get_output_embeddings().weight is rows


def test_build_refuses_unknown_and_impossible_sizes() -> None:
    with pytest.raises(UsageError, match="widht"):
        nano.build(tokenizer(), widht=64)
    with pytest.raises(UsageError, match="multiple of 2 x heads=6"):
        nano.build(tokenizer(), width=100)


def test_saved_folder_loads_by_the_auto_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.manual_seed(0)
    model = nano.build(tokenizer(), depth=2, vision_depth=1)
    nano.save(model, nano.processor(tokenizer()), tmp_path)
    assert next(model.parameters()).dtype == torch.float32
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(tmp_path)
    assert type(loaded).__name__ == "Qwen2VLForConditionalGeneration"
    for name, weight in loaded.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name].bfloat16().float()), name
    samples = general.Draws("test", general.SKILLS)[:3]
    chats = [
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": s.question}]}]
        for s in samples
    ]
    prompts = [
        processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        for chat in chats
    ]
    assert prompts[0].startswith("<|im_start|>user\n<|vision_start|>") and prompts[0].endswith(
        "assistant\n"
    )
    assert processor.tokenizer(prompts).input_ids == tokenizer()(prompts).input_ids
    inputs = processor(
        text=prompts,
        images=[s.images[0].load() for s in samples],
        return_tensors="pt",
        padding=True,
    )
    pads = (inputs["input_ids"] == loaded.config.image_token_id).sum(1)
    assert pads.tolist() == [16, 16, 16]
    with torch.no_grad():
        logits = loaded(**inputs).logits
    assert logits.shape[:2] == inputs["input_ids"].shape and logits.isfinite().all()


@pytest.mark.parametrize("size", [(28, 28), (224, 224), (64, 128), (300, 90)])
def test_images_of_any_size_take_about_sixteen_tokens(size: tuple[int, int]) -> None:
    from PIL import Image

    grid = nano.processor(tokenizer()).image_processor(
        images=[Image.new("RGB", size)], return_tensors="pt"
    )["image_grid_thw"]
    assert 8 <= int(grid.prod()) // 4 <= 20

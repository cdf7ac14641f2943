"""Tiny random checkpoints of the further families: their real control tokens, templates and layouts."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import transformers as hf
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from residency.model import nano

Livelier = Callable[[torch.nn.Module], torch.nn.Module]
TILE, PATCH = 28, 7
NARROW = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
TEXT = NARROW | {"num_hidden_layers": 2, "num_key_value_heads": 1, "max_position_embeddings": 1024}
RESERVED = [f"<|reserved_special_token_{k}|>" for k in (0, 1, 2, 3, 4, 5, 100, 101)]

# Qwen2.5-VL opens as Qwen2-VL does; Qwen3-VL writes no system turn of its own.
# Llama 3 as open-llava-next and llava-hf write it: images first, then the text of a turn.
LLAVA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<|reserved_special_token_4|>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] }}{% endfor %}{{ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MLLAMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for content in message['content'] %}{% if content['type'] == 'image' %}{{ '<|image|>' }}"
    "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
# Gemma has no system turn: its text stands before that of the first user. Texts are trimmed.
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{% set first = messages[0]['content'][0]['text'] + '\n\n' %}{% set rest = messages[1:] %}"
    "{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{% for message in rest %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' }}"
    "{{ first if loop.first else '' }}"
    "{% for content in message['content'] %}{% if content['type'] == 'image' %}{{ '<start_of_image>' }}"
    "{% elif content['type'] == 'text' %}{{ content['text'] | trim }}{% endif %}{% endfor %}"
    "{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)


def _qwen(name: str, tokenizer: hf.Qwen2Tokenizer, template: str, patch: int) -> hf.ProcessorMixin:
    options = {
        "size": {"shortest_edge": 24 * 24, "longest_edge": 96 * 96},
        "patch_size": patch,
        "merge_size": 2,
    }
    made: hf.ProcessorMixin = getattr(hf, name)(
        image_processor=hf.Qwen2VLImageProcessor(**options),
        tokenizer=tokenizer,
        video_processor=hf.Qwen2VLVideoProcessor(**options),
        chat_template=template,
    )
    return made


def _qwen_ids(tokenizer: hf.Qwen2Tokenizer) -> dict[str, int]:
    names = ("image_pad", "video_pad", "vision_start", "vision_end")
    keys = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    tokens = (tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in names)
    return dict(zip(keys, tokens, strict=True))


def _qwen_text(tokenizer: hf.Qwen2Tokenizer, **more: object) -> dict[str, object]:
    return {
        **TEXT,
        "vocab_size": len(tokenizer) + 6,
        "bos_token_id": None,
        "eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"),
        "pad_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        **more,
    }


def qwen2_5_vl(path: Path, livelier: Livelier, tokenizer: hf.Qwen2Tokenizer, system: str) -> None:
    """Windows of 2 x 2 tokens in the first block, all patches in the second."""
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]}
    config = hf.Qwen2_5_VLConfig(
        text_config=_qwen_text(tokenizer, rope_parameters=rope),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "num_heads": 2,
            "intermediate_size": 48,
            "out_hidden_size": 32,
            "patch_size": PATCH,
            "window_size": 4 * PATCH,
            "fullatt_block_indexes": [1],
        },
        tie_word_embeddings=True,
        **_qwen_ids(tokenizer),
    )
    livelier(hf.Qwen2_5_VLForConditionalGeneration(config)).save_pretrained(path)
    _qwen("Qwen2_5_VLProcessor", tokenizer, system + nano.CHAT_TEMPLATE, PATCH).save_pretrained(
        path
    )


def qwen3_vl(path: Path, livelier: Livelier, tokenizer: hf.Qwen2Tokenizer) -> None:
    """Two of three blocks feed decoder layers."""
    rope = {
        "rope_type": "default",
        "rope_theta": 10_000.0,
        "mrope_section": [4, 2, 2],
        "mrope_interleaved": True,
    }
    config = hf.Qwen3VLConfig(
        text_config=_qwen_text(
            tokenizer, rope_parameters=rope, head_dim=16, tie_word_embeddings=True
        ),
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "num_heads": 2,
            "intermediate_size": 48,
            "out_hidden_size": 32,
            "patch_size": PATCH,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 1],
        },
        tie_word_embeddings=True,
        **_qwen_ids(tokenizer),
    )
    livelier(hf.Qwen3VLForConditionalGeneration(config)).save_pretrained(path)
    _qwen("Qwen3VLProcessor", tokenizer, nano.CHAT_TEMPLATE, PATCH).save_pretrained(path)


def llama_tokenizer(
    texts: Sequence[str], *more: str, size: int = 380
) -> hf.PreTrainedTokenizerFast:
    """Byte-level BPE with Llama 3's control tokens, `more` the last of them."""
    learner = Tokenizer(BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learner.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    learner.train_from_iterator(texts, trainer)
    special = ["<|begin_of_text|>", "<|end_of_text|>", *RESERVED]
    special += ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>", *more]
    learner.add_special_tokens(special)
    begin = ("<|begin_of_text|>", learner.token_to_id("<|begin_of_text|>"))
    learner.post_processor = processors.TemplateProcessing(
        single=f"{begin[0]} $A", pair=f"{begin[0]} $A {begin[0]} $B", special_tokens=[begin]
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=learner,
        bos_token=begin[0],
        eos_token="<|eot_id|>",
        pad_token=RESERVED[0],
        additional_special_tokens=special[2:],
        model_max_length=1024,
    )


def _llama_ids(tokenizer: hf.PreTrainedTokenizerFast) -> dict[str, int]:
    return {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def llava_next(path: Path, livelier: Livelier, texts: Sequence[str]) -> None:
    """The image token of open-llava-next; grids of two to four tiles; no spare row."""
    tokenizer = llama_tokenizer(texts)
    grids = [[28, 56], [56, 28], [56, 56], [84, 28], [28, 84]]
    image = tokenizer.convert_tokens_to_ids(RESERVED[4])
    config = hf.LlavaNextConfig(
        text_config={
            "model_type": "llama",
            **TEXT,
            "vocab_size": len(tokenizer),
            **_llama_ids(tokenizer),
        },
        vision_config={
            "model_type": "clip_vision_model",
            **NARROW,
            "num_hidden_layers": 2,
            "image_size": TILE,
            "patch_size": PATCH,
            "projection_dim": 32,
        },
        image_grid_pinpoints=grids,
        image_token_index=image,
        tie_word_embeddings=False,
    )
    model = livelier(hf.LlavaNextForConditionalGeneration(config))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(path)
    hf.LlavaNextProcessor(
        image_processor=hf.LlavaNextImageProcessor(
            size={"shortest_edge": TILE},
            crop_size={"height": TILE, "width": TILE},
            image_grid_pinpoints=grids,
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=RESERVED[4],
        chat_template=LLAVA_TEMPLATE,
    ).save_pretrained(path)


def mllama(path: Path, livelier: Livelier, texts: Sequence[str]) -> None:
    """Cross-attention in two of four layers, with open gates; `<|image|>` is beyond the head."""
    tokenizer = llama_tokenizer(texts, "<|image|>")
    image = tokenizer.convert_tokens_to_ids("<|image|>")
    config = hf.MllamaConfig(
        text_config={
            **TEXT,
            "vocab_size": image,
            "num_hidden_layers": 4,
            "cross_attention_layers": [1, 3],
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
            **_llama_ids(tokenizer),
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "attention_heads": 2,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "image_size": TILE,
            "patch_size": PATCH,
            "max_num_tiles": 4,
            "intermediate_layers_indices": [0],
            "vision_output_dim": 64,
        },
        image_token_index=image,
    )
    model = livelier(hf.MllamaForConditionalGeneration(config))
    for name, parameter in model.named_parameters():
        if name.endswith("gate"):
            parameter.data.fill_(0.7)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(path)
    hf.MllamaProcessor(
        image_processor=hf.MllamaImageProcessor(
            size={"height": TILE, "width": TILE}, max_image_tiles=4
        ),
        tokenizer=tokenizer,
        chat_template=MLLAMA_TEMPLATE,
    ).save_pretrained(path)


def gemma_tokenizer(texts: Sequence[str]) -> hf.GemmaTokenizer:
    """BPE over "▁" with byte fallback, runs of newlines and control tokens in the vocabulary."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    special += [f"<unused{k}>" for k in range(4)] + ["<start_of_turn>", "<end_of_turn>"]
    pictures = ["<start_of_image>", "<end_of_image>", "<image_soft_token>"]
    learner = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True))
    learner.normalizer = normalizers.Replace(" ", "▁")
    learner.pre_tokenizer = pre_tokenizers.Split(Regex("\n+"), "isolated")
    trainer = BpeTrainer(vocab_size=200, show_progress=False, special_tokens=special)
    learner.train_from_iterator([*texts, "\n\n \n\n \n\n\n \n\n\n\n " * 9], trainer)
    vocab = learner.get_vocab()
    for name in [*(f"<0x{k:02X}>" for k in range(256)), *pictures]:
        vocab.setdefault(name, len(vocab))
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    names = dict(zip(("boi_token", "eoi_token", "image_token"), pictures, strict=True))
    made = hf.GemmaTokenizer(
        vocab=vocab, merges=merges, extra_special_tokens=names, model_max_length=1024
    )
    made.add_tokens(special[5:], special_tokens=True)
    return made


def gemma3(path: Path, livelier: Livelier, texts: Sequence[str]) -> None:
    """Two of three layers see seven positions, an image has nine tokens."""
    tokenizer = gemma_tokenizer(texts)
    ids = {name: tokenizer.convert_tokens_to_ids(f"<{name}>") for name in ("pad", "eos", "bos")}
    config = hf.Gemma3Config(
        text_config={
            **TEXT,
            "num_hidden_layers": 3,
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "vocab_size": len(tokenizer) + 4,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "sliding_window": 7,
            **{f"{name}_token_id": of for name, of in ids.items()},
        },
        vision_config={
            "model_type": "siglip_vision_model",
            **NARROW,
            "num_hidden_layers": 1,
            "image_size": 6 * PATCH,
            "patch_size": PATCH,
        },
        mm_tokens_per_image=9,
        image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
    )
    model = hf.Gemma3ForConditionalGeneration(config)
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=0.02)
    model = livelier(model)
    model.generation_config.eos_token_id = [
        ids["eos"],
        tokenizer.convert_tokens_to_ids("<end_of_turn>"),
    ]
    model.save_pretrained(path)
    hf.Gemma3Processor(
        image_processor=hf.Gemma3ImageProcessor(size={"height": 42, "width": 42}),
        tokenizer=tokenizer,
        image_seq_length=9,
        chat_template=GEMMA_TEMPLATE,
    ).save_pretrained(path)


def blip2(path: Path, livelier: Livelier, texts: Sequence[str]) -> None:
    """With OPT: five queries, two spare rows, no chat template."""
    learner = Tokenizer(BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learner.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(
        vocab_size=380,
        initial_alphabet=alphabet,
        show_progress=False,
        special_tokens=["<s>", "<pad>", "</s>"],
    )
    learner.train_from_iterator(texts, trainer)
    learner.add_special_tokens(["<image>"])
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=learner,
        bos_token="</s>",
        eos_token="</s>",
        unk_token="</s>",
        pad_token="<pad>",
        model_max_length=512,
    )
    text = {
        "model_type": "opt",
        "vocab_size": len(tokenizer) + 2,
        "hidden_size": 32,
        "ffn_dim": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "word_embed_proj_dim": 32,
        "max_position_embeddings": 512,
        "dropout": 0.0,
        **{
            f"{name}_token_id": getattr(tokenizer, f"{name}_token_id")
            for name in ("bos", "eos", "pad")
        },
    }
    vision = NARROW | {"num_hidden_layers": 1, "image_size": TILE, "patch_size": PATCH}
    queries = NARROW | {"num_hidden_layers": 2, "vocab_size": 60, "encoder_hidden_size": 32}
    config = hf.Blip2Config(
        text_config=text,
        vision_config=vision,
        qformer_config=queries,
        num_query_tokens=5,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = hf.Blip2ForConditionalGeneration(config)
    torch.nn.init.normal_(model.query_tokens, std=0.02)
    model = livelier(model)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(path)
    size = {"height": TILE, "width": TILE}
    hf.Blip2Processor(
        image_processor=hf.BlipImageProcessor(size=size), tokenizer=tokenizer, num_query_tokens=5
    ).save_pretrained(path)

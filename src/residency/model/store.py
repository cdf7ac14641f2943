"""Where models come from and go to: `nano`, a run, a checkpoint, a Hugging Face folder or id, an adapter."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

import residency
from residency.backbone import family_of
from residency.errors import CheckpointError, UsageError
from residency.model.expert import Expert
from residency.model.huggingface import Backbone
from residency.model.slots import ProxyInstruction

FORMAT = 1
SCRATCH = "scratch"  # the base of a recipe that builds its own
NANO = Path(residency.__file__).parent / "nano"


def default_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load(
    model: str, *, device: torch.device | None = None, dtype: torch.dtype | None = None
) -> Backbone:
    """Load what `model` names, ready to evaluate; always with an explicit dtype.

    Raises:
        UsageError: neither a known name, a folder with a model in it, nor a Hugging Face id.
        CheckpointError: a run folder without a finished model, or files that do not fit together.
    """
    device = device or default_device()
    folder = checkpoint_folder(model)
    if folder is not None:
        return _load_checkpoint(folder, device, dtype)
    path = Path(model)
    if (path / "adapter_config.json").is_file():
        described = json.loads((path / "adapter_config.json").read_text())
        backbone = load(described["base_model_name_or_path"], device=device, dtype=dtype)
        _load_adapter(backbone, path)
        return backbone.eval()
    if path.exists() and not (path / "config.json").is_file():
        raise UsageError(
            f"{model} holds no model: expected residency.json (a checkpoint or run), config.json (a "
            "Hugging Face model) or adapter_config.json (a PEFT adapter)."
        )
    return _load_base(model, device, dtype)


def checkpoint_folder(model: str) -> Path | None:
    """The checkpoint that a path names: itself, or the model its run finished last; else None."""
    path = Path(model)
    if (path / "residency.json").is_file():
        return path
    if (path / "run.json").is_file():
        named = json.loads((path / "run.json").read_text()).get("model")
        if not named or not (path / named / "residency.json").is_file():
            raise CheckpointError(f"{model} has no finished model yet; run its recipe to the end.")
        return path / named
    return None


def resolve(model: str) -> str:
    """`nano` as the folder inside the package, anything else unchanged."""
    return str(NANO) if model == "nano" else model


def identity(model: str) -> str:
    """A cheap hash of a base model: configuration, and size, head and tail of each weight file."""
    folder = Path(resolve(model))
    digest = hashlib.sha256(model.encode() if not folder.is_dir() else b"")
    for path in sorted(folder.glob("*.json")) + sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(2**20))
            file.seek(max(0, size - 2**20))
            digest.update(file.read())
    return digest.hexdigest()[:16]


def config_of(model: str) -> Any:
    """The Hugging Face configuration of a base model, without its weights."""
    from transformers import AutoConfig  # noqa: PLC0415 - heavy

    where = resolve(model)
    try:
        return AutoConfig.from_pretrained(where, local_files_only=Path(where).is_dir())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Cannot open model {model!r}: {str(error).splitlines()[0]} Give nano, a run folder, a "
            "checkpoint, a Hugging Face folder or id, or an adapter folder."
        ) from error


def _load_base(model: str, device: torch.device, dtype: torch.dtype | None) -> Backbone:
    from transformers import (  # noqa: PLC0415 - heavy
        AutoModelForImageTextToText,
        AutoProcessor,
    )

    config = config_of(model)
    name, family = family_of(config.model_type)
    if dtype is None:
        dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    where = resolve(model)
    processor = AutoProcessor.from_pretrained(where)
    network = AutoModelForImageTextToText.from_pretrained(
        where, dtype=dtype, attn_implementation="sdpa"
    )
    return Backbone(name, family, network.to(device), processor, model).eval()


def empty(model: str) -> Backbone:
    """The architecture of a base model on the meta device: names and sizes without weights."""
    from transformers import (  # noqa: PLC0415 - heavy
        AutoModelForImageTextToText,
        AutoProcessor,
    )

    model = "nano" if model == SCRATCH else model  # what is built from nothing has nano's shape
    config = config_of(model)
    name, family = family_of(config.model_type)
    with torch.device("meta"):
        network = AutoModelForImageTextToText.from_config(config)
    network.tie_weights()
    return Backbone(name, family, network, AutoProcessor.from_pretrained(resolve(model)), model)


def save(backbone: Backbone, folder: Path, *, changed: set[str]) -> None:
    """Write adapter, fully trained parts, expert and processor into an existing folder.

    `changed` names the parts whose own weights differ from the base. Nothing is hashed here: the
    manifest is the business of whoever commits the folder.
    """
    if backbone.peft:
        backbone.peft[0].peft_config["default"].base_model_name_or_path = resolve(backbone.base)
        backbone.peft[0].save_pretrained(folder / "adapter")
    parts = backbone.parts()
    tensors = {
        plain_name(name): p.detach().contiguous().cpu()
        for part in sorted(changed)
        for name, p in parts[part].items()
        if ".lora_" not in name
    }
    if tensors:
        save_file(tensors, folder / "parts.safetensors")
    if backbone.expert is not None:
        backbone.expert.save(folder / "expert")
    backbone.processor.save_pretrained(folder / "processor")  # type: ignore[no-untyped-call]
    proxy = backbone.proxy_instruction
    described = {
        "format": FORMAT,
        "family": backbone.name,
        "base": backbone.base,
        "base_identity": identity(backbone.base),
        "changed": sorted(changed),
        "exemplar": backbone.exemplar if backbone.exemplar_connector is not None else None,
        "proxy_width": 0 if proxy is None else len(proxy.vectors),
        "slots": [backbone.composer.exemplar_id, backbone.composer.proxy_id],
        "boxes": type(backbone.codec).__name__,
    }
    (folder / "residency.json").write_text(json.dumps(described, indent=1) + "\n")


def plain_name(name: str) -> str:
    """A parameter's name without PEFT's wrapping, so that parts load into a bare model."""
    return name.replace(".base_layer.", ".")


def _load_checkpoint(folder: Path, device: torch.device, dtype: torch.dtype | None) -> Backbone:
    described = json.loads((folder / "residency.json").read_text())
    if described["format"] != FORMAT:
        raise CheckpointError(
            f"{folder} has checkpoint format {described['format']}; this version reads {FORMAT}."
        )
    base = described["base"]
    if identity(base) != described["base_identity"]:
        raise CheckpointError(
            f"{folder} was trained on another {base!r} than the one found now. Restore that base."
        )
    backbone = load(base, device=device, dtype=dtype)
    if described["proxy_width"]:
        backbone.proxy_instruction = ProxyInstruction(described["proxy_width"], backbone.width)
    if (folder / "expert").is_dir():
        expert = Expert.load(folder / "expert")
        backbone.attach(expert, exemplar=described["exemplar"] or "cls")
    restore(backbone, folder)
    return backbone.to(device).eval()


def restore(backbone: Backbone, folder: Path) -> None:
    """Put a checkpoint's trained weights into a backbone built the same way.

    Raises:
        CheckpointError: a saved weight has no place in the model.
    """
    if (folder / "adapter").is_dir():
        _load_adapter(backbone, folder / "adapter")
    path = folder / "parts.safetensors"
    if not path.is_file():
        return
    own = {plain_name(name): p for name, p in backbone.named_parameters()}
    for name, tensor in load_file(path).items():
        if name not in own or own[name].shape != tensor.shape:
            raise CheckpointError(f"{path}: {name} {tuple(tensor.shape)} does not fit the model.")
        # A part trained in float32 keeps that precision beside frozen half-precision ones.
        own[name].data = tensor.to(own[name].device)


def _load_adapter(backbone: Backbone, folder: Path) -> None:
    from peft import PeftModel, set_peft_model_state_dict  # noqa: PLC0415 - heavy

    if backbone.peft:
        state = load_file(folder / "adapter_model.safetensors")
        set_peft_model_state_dict(backbone.peft[0], state)
    else:
        wrapped = PeftModel.from_pretrained(backbone.model, folder, is_trainable=False)
        backbone.peft.append(wrapped)

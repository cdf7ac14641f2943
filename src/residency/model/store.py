"""Where models come from and go to: `nano`, runs, checkpoints, adapters, Hugging Face models."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import residency
from residency import codec_pixels
from residency.backbone import Family, family_of
from residency.catalog import suggest
from residency.errors import CheckpointError, ResidencyError, UsageError
from residency.model import sharding
from residency.model.expert import Expert
from residency.model.huggingface import Backbone
from residency.model.slots import ExemplarConnector, ProxyInstruction

FORMAT = 1
SCRATCH = "scratch"  # the base of a recipe that builds its own
NANO = Path(residency.__file__).parent / "nano"
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_MODELS = (
    "Give nano, a run folder, a checkpoint, a Hugging Face folder or id, or an adapter folder."
)


def default_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load(
    model: str, *, device: torch.device | None = None, dtype: torch.dtype | None = None
) -> Backbone:
    """Load what `model` names, ready to evaluate; always with an explicit dtype.

    Raises:
        UsageError: neither a known name, a folder with a model in it, nor a Hugging Face id.
        CheckpointError: a run folder without a finished model, or files that are broken or do not
            fit together.
    """
    device = device or default_device()
    folder = checkpoint_folder(model)
    if folder is not None:
        return _load_checkpoint(folder, device, dtype)
    base = _adapter_base(model)
    if base is None:
        return _load_base(model, device, dtype)
    backbone = load(base, device=device, dtype=dtype)
    with _readable(Path(model)):
        _load_adapter(backbone, Path(model))
    return backbone.to(device).eval()


def checkpoint_folder(model: str) -> Path | None:
    """The checkpoint that a path names: itself, or the model its run finished last; else None.

    Raises:
        CheckpointError: a run without a finished model.
    """
    path = Path(model)
    if (path / "residency.json").is_file():
        return path
    if (path / "run.json").is_file():
        with _readable(path / "run.json"):
            named = json.loads((path / "run.json").read_text()).get("model")
        if not named or not (path / named / "residency.json").is_file():
            raise CheckpointError(f"{model} has no finished model yet; run its recipe to the end.")
        return path / named
    return None


def _adapter_base(model: str) -> str | None:
    """What a PEFT adapter folder says it adapts; None for anything else."""
    path = Path(model) / "adapter_config.json"
    if not path.is_file():
        return None
    with _readable(path):
        base = json.loads(path.read_text()).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise CheckpointError(
            f"{path} does not name its base model. Write it into base_model_name_or_path."
        )
    return base


def root(model: str) -> str:
    """The base model underneath a run, a checkpoint or an adapter: `model` itself if it is one."""
    folder = checkpoint_folder(model)
    base = _described(folder)["base"] if folder is not None else _adapter_base(model)
    return model if base is None else root(str(base))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever a library says about broken files becomes one line that names the path."""
    try:
        yield
    except ResidencyError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        first = (lines or [type(error).__name__])[0].rstrip(".")
        raise CheckpointError(
            f"{path} cannot be read ({first}){_pointers(path)}. Copy it again from a whole source."
        ) from error


def _pointers(path: Path) -> str:
    """A hint where weight files are Git LFS pointers or are cut short."""
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    for file in files:
        if file.is_file():
            with file.open("rb") as opened:
                if opened.read(20).startswith(b"version https://git-"):
                    return f"; {file.name} is a Git LFS pointer: fetch it with `git lfs pull`"
    return ""


def resolve(model: str) -> str:
    """`nano` as the folder inside the package, anything else unchanged."""
    return str(NANO) if model == "nano" else model


def identity(model: str) -> str:
    """A cheap hash of a model: configuration, and size, head and tail of each weight file.

    For a run it is that of its finished model.
    """
    folder = checkpoint_folder(model) or Path(resolve(model))
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
    """The Hugging Face configuration of a base model, without its weights.

    Raises:
        UsageError: nothing there, a folder without a model, or a model type nobody knows.
    """
    from transformers import AutoConfig  # heavy

    where = resolve(model)
    if Path(where).exists() and not (Path(where) / "config.json").is_file():
        raise UsageError(
            f"{model} holds no model: expected residency.json (a checkpoint), run.json (a run), "
            "config.json (a Hugging Face model) or adapter_config.json (a PEFT adapter)."
        )
    if not Path(where).exists() and not _HUB_ID.fullmatch(where):
        raise UsageError(f"No such model folder: {where!r}. {_MODELS}")
    try:
        return AutoConfig.from_pretrained(
            where, local_files_only=Path(where).is_dir(), trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        hint = suggest(model, ["nano"])
        raise UsageError(
            f"Cannot open model {model!r}: {first.rstrip('.')}.{hint} {_MODELS}"
        ) from error


def _load_base(model: str, device: torch.device, dtype: torch.dtype | None) -> Backbone:
    from transformers import AutoModelForImageTextToText  # heavy

    config = config_of(model)
    name, family = _family(model, config)
    if dtype is None:
        dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    where = resolve(model)
    with _readable(Path(where)):
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            where,
            dtype=dtype,
            attn_implementation="sdpa",
            output_loading_info=True,
            use_safetensors=True,  # never a pickle
            trust_remote_code=False,
        )
        network, report = loaded
    absent = sorted(report["missing_keys"])
    if absent:  # they would be random
        raise CheckpointError(
            f"{model} lacks {len(absent)} weights of a {config.model_type} model, for example "
            f"{absent[0]}. Copy it again from a whole source."
        )
    return Backbone(
        name, family, network.to(device), _processor(where, family), _named(model)
    ).eval()


def _family(model: str, config: Any) -> tuple[str, Family]:
    try:
        return family_of(config.model_type)
    except UsageError as error:
        raise UsageError(f"{model}: {error}") from error


def _processor(where: str, family: Family) -> Any:
    from transformers import AutoProcessor  # heavy

    with _readable(Path(where)):
        processor = AutoProcessor.from_pretrained(where, trust_remote_code=False)
        processor.chat_template = processor.chat_template or family.chat
        if not hasattr(processor, "image_processor") or not processor.chat_template:
            raise CheckpointError(
                f"{where} has no complete processor: an image processor, a tokenizer and a chat "
                "template. Copy those files from the base model."
            )
        return processor


def _named(model: str) -> str:
    """What a checkpoint records as its base: folders by full path, ids and `nano` as given."""
    return str(Path(model).resolve()) if model != "nano" and Path(model).is_dir() else model


def empty(model: str) -> Backbone:
    """The architecture of a model on the meta device: names and sizes without weights.

    Slots that a checkpoint carries are part of it, its expert is not; `scratch` looks like nano.
    """
    from transformers import AutoModelForImageTextToText  # heavy

    base = "nano" if model == SCRATCH else root(model)
    config = config_of(base)
    name, family = _family(base, config)
    with torch.device("meta"):
        network = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
    network.tie_weights()
    backbone = Backbone(name, family, network, _processor(resolve(base), family), base)
    folder = checkpoint_folder(model)
    if folder is not None and (folder / "parts.safetensors").is_file():
        with _readable(folder / "parts.safetensors"), torch.device("meta"):
            with safe_open(folder / "parts.safetensors", "pt") as file:
                if "exemplar_connector.norm.weight" in file.keys():  # noqa: SIM118 - not a mapping
                    width = file.get_slice("exemplar_connector.norm.weight").get_shape()[0]
                    backbone.exemplar_connector = ExemplarConnector(width, backbone.width)
            if vectors := _described(folder)["proxy_width"]:
                backbone.proxy_instruction = ProxyInstruction(vectors, backbone.width)
    return backbone


def gathered(backbone: Backbone, *, keep: bool) -> dict[str, Any] | None:
    """The whole weights of a sharded model on the CPU, by name; None where it is not sharded.

    Every process takes part, those that do not write without `keep`. One weight at a time is whole on
    the device.
    """
    if not sharding.is_sharded(backbone):
        return None
    whole: dict[str, Any] = sharding.whole_tree(dict(backbone.named_parameters()), keep=keep)
    return whole


def save(
    backbone: Backbone,
    folder: Path,
    *,
    changed: set[str],
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write adapter, fully trained parts, expert and processor into an existing folder.

    `changed` names the parts whose own weights differ from the base. `weights` are those that `gathered`
    made of a sharded model. Nothing is hashed here: the manifest is the business of whoever commits
    the folder.

    Raises:
        ResidencyError: the model is sharded and its weights were not gathered.
    """
    if weights is None and sharding.is_sharded(backbone):
        raise ResidencyError(
            "The weights lie in pieces over several processes. Gather them in every process first: "
            "`store.gathered`."
        )
    if backbone.peft:
        wrapper = backbone.peft[0]
        # By its name where it is nano: a path inside this installation would mean nothing elsewhere.
        wrapper.peft_config["default"].base_model_name_or_path = backbone.base
        # PEFT's own choice would look the base up on the network; embeddings are never adapted.
        adapted = weights and {
            f"base_model.model.{name.removeprefix('model.')}": tensor
            for name, tensor in weights.items()
            if ".lora_" in name
        }
        wrapper.save_pretrained(folder / "adapter", save_embedding_layers=False, state_dict=adapted)
        (folder / "adapter" / "README.md").unlink(missing_ok=True)  # an empty form, with a path
    parts = backbone.parts()
    tensors = {
        plain_name(name): (weights or parts[part])[name].detach().contiguous().cpu()
        for part in sorted(changed)
        for name in parts[part]
        if ".lora_" not in name
    }
    if tensors:
        save_file(tensors, folder / "parts.safetensors")
    if backbone.expert is not None:
        heads = weights and {
            name.removeprefix("expert."): tensor
            for name, tensor in weights.items()
            if name.startswith("expert.")
        }
        backbone.expert.save(folder / "expert", heads)
    backbone.processor.save_pretrained(folder / "processor")
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
        "boxes": codec_pixels.described(backbone.codec),
    }
    (folder / "residency.json").write_text(json.dumps(described, indent=1) + "\n")


def plain_name(name: str) -> str:
    """A parameter's name without PEFT's wrapping, so that parts load into a bare model."""
    return name.replace(".base_layer.", ".")


def _described(folder: Path) -> dict[str, Any]:
    """`residency.json` of a checkpoint."""
    with _readable(folder / "residency.json"):
        described: dict[str, Any] = json.loads((folder / "residency.json").read_text())
        if described["format"] != FORMAT:
            raise CheckpointError(
                f"{folder} has checkpoint format {described['format']}; this version reads "
                f"{FORMAT}."
            )
        absent = sorted({"base", "base_identity", "exemplar", "proxy_width"} - described.keys())
        if absent:
            raise CheckpointError(f"{folder}/residency.json lacks {absent}; it is no checkpoint.")
    return described


def _load_checkpoint(folder: Path, device: torch.device, dtype: torch.dtype | None) -> Backbone:
    described = _described(folder)
    base = described["base"]
    if identity(base) != described["base_identity"]:
        here = Path(resolve(base)).is_dir() or _HUB_ID.fullmatch(base)
        raise CheckpointError(
            f"{folder} was trained on another {base!r} than the one found now. Restore that base."
            if here
            else f"{folder} was trained on {base!r}, which is not there. Put the base back there."
        )
    backbone = load(base, device=device, dtype=dtype)
    if isinstance(
        described["boxes"], dict
    ):  # else the name of the family's own, of earlier versions
        backbone.codec = codec_pixels.codec_of(described["boxes"])
    if described["proxy_width"]:
        backbone.proxy_instruction = ProxyInstruction(described["proxy_width"], backbone.width)
    if (folder / "expert").is_dir():
        expert = Expert.load(folder / "expert")
        backbone.attach(expert, exemplar=described["exemplar"] or "cls")
    restore(backbone, folder)
    return backbone.to(device).eval()


def restore(backbone: Backbone, folder: Path) -> None:
    """Put a checkpoint's trained weights into a backbone built the same way.

    Every weight keeps the precision it has in `backbone`.

    Raises:
        CheckpointError: a file is broken, or a saved weight has no place in the model.
    """
    if (folder / "adapter").is_dir():
        with _readable(folder / "adapter"):
            _load_adapter(backbone, folder / "adapter")
    path = folder / "parts.safetensors"
    if not path.is_file():
        return
    own = {plain_name(name): p for name, p in backbone.named_parameters()}
    with _readable(path):
        saved = load_file(path)
    for name, tensor in saved.items():
        if name not in own or own[name].shape != tensor.shape:
            raise CheckpointError(f"{path}: {name} {tuple(tensor.shape)} does not fit the model.")
        sharding.assign(own[name], tensor)


def _load_adapter(backbone: Backbone, folder: Path) -> None:
    from peft import PeftModel, set_peft_model_state_dict  # heavy

    from residency.model.adapters import streamline

    if not (folder / "adapter_model.safetensors").is_file():
        raise CheckpointError(f"{folder} has no adapter_model.safetensors; no other kind is read.")
    if backbone.peft:
        state = load_file(folder / "adapter_model.safetensors")
        if not sharding.is_sharded(backbone):
            set_peft_model_state_dict(backbone.peft[0], state)
            return
        own = dict(backbone.peft[0].named_parameters())
        for name, tensor in state.items():
            sharding.assign(own[name.removesuffix(".weight") + ".default.weight"], tensor)
    else:
        wrapped = PeftModel.from_pretrained(backbone.model, folder, is_trainable=False)
        streamline(wrapped)
        backbone.peft.append(wrapped)

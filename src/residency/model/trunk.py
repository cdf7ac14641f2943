"""Trunks of an expert: a small network of ours, any timm model, any Hugging Face vision model."""

import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.data.config import resolve_data_config
from torch import Tensor, nn

from residency.errors import UsageError

# The attribute under which vision transformers keep what stands before the patch tokens.
PREFIX_PARAMETERS = ("cls_token", "class_embedding", "distillation_token", "register_tokens")
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrunkSpec:
    """All that is needed to rebuild a trunk offline, without its weights, and to feed it.

    `config` is the Hugging Face configuration as JSON, or empty; `name` the timm model or the
    Hugging Face model type; images are resized to `image_size` squared, aspect ratio ignored so
    that nothing at the border is cut off, and normalised by `mean` and `std` of [0, 1] values.
    """

    kind: Literal["small", "timm", "hf"]
    name: str
    image_size: int
    config: str = ""
    mean: tuple[float, float, float] = HALF
    std: tuple[float, float, float] = HALF
    resample: Literal["bilinear", "bicubic"] = "bilinear"


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        same = stride == 1 and before == width
        self.shortcut: nn.Module = (
            nn.Identity()
            if same
            else nn.Sequential(
                nn.AvgPool2d(stride),
                nn.Conv2d(before, width, 1, bias=False),
                nn.BatchNorm2d(width),
            )
        )

    def forward(self, x: Float[Tensor, "n a h w"]) -> Float[Tensor, "n b i j"]:
        """Two convolutions beside a shortcut."""
        return F.relu(self.body(x) + self.shortcut(x))


class Small(nn.Module):
    """A residual network of 0.3 M parameters; 64 pixels give a 4 x 4 map of 128 features."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            Block(32, 32, 1),
            Block(32, 64, 2),
            Block(64, 128, 2),
        )

    def forward(
        self, pixels: Float[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n k d"]]:
        """The CLS or pooled feature, and the patch features."""
        # A quarter less time per update, measured on one CPU core.
        x = self.body(pixels.contiguous(memory_format=torch.channels_last))
        return x.mean((2, 3)), x.flatten(2).transpose(1, 2)


class Timm(nn.Module):
    """A timm model without its classifier."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        # The first token is the CLS token; 0 where a model has none.
        self.has_cls = getattr(model, "cls_token", None) is not None
        self.prefix = int(getattr(model, "num_prefix_tokens", 0) or 0)

    def forward(
        self, pixels: Float[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n k d"]]:
        """The CLS or pooled feature, and the patch features."""
        model = cast(Any, self.model)
        found = model.forward_features(pixels)
        if found.ndim == 4:
            channels_first = found.shape[1] == model.num_features
            tokens = found.flatten(2).transpose(1, 2) if channels_first else found.flatten(1, 2)
        else:
            tokens = found
        patches = tokens[:, self.prefix :]
        if self.has_cls:
            return tokens[:, 0], patches
        return pooled_or_mean(model.forward_head(found, pre_logits=True), patches), patches


class HuggingFace(nn.Module):
    """A Hugging Face vision model read through `last_hidden_state` and `pooler_output`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        lengths = [
            parameter.shape[-2] if parameter.ndim > 1 else 1
            for name, parameter in model.named_parameters()
            if name.rpartition(".")[2] in PREFIX_PARAMETERS
        ]
        self.prefix = sum(lengths)
        if self.prefix and getattr(model, "pooler", None) is not None:
            cast(Any, model).pooler = None  # never read: it would be weights without gradient
        forward = inspect.signature(model.forward).parameters
        self.extra = (
            {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in forward else {}
        )

    def forward(
        self, pixels: Float[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n k d"]]:
        """The CLS or pooled feature, and the patch features."""
        output = self.model(pixel_values=pixels, **self.extra)
        tokens = output.last_hidden_state
        if tokens.ndim == 4:
            tokens = tokens.flatten(2).transpose(1, 2)
        patches = tokens[:, self.prefix :]
        if self.prefix:
            return tokens[:, 0], patches
        pooled = getattr(output, "pooler_output", None)
        return pooled_or_mean(None if pooled is None else pooled.flatten(1), patches), patches


def pooled_or_mean(
    pooled: Float[Tensor, "n e"] | None, patches: Float[Tensor, "n k d"]
) -> Float[Tensor, "n d"]:
    """The model's own pooling where it keeps the width of the patches, else their mean."""
    if pooled is not None and pooled.shape[-1] == patches.shape[-1]:
        return pooled
    return patches.mean(1)


def probe(trunk: nn.Module, spec: TrunkSpec) -> tuple[int, int]:
    """`(width, patches)` of a trunk, found by reading one grey image twice.

    Raises:
        UsageError: the trunk cannot read images of this size, or reads the same image differently
            each time (masked autoencoders drop random patches).
    """
    image = torch.linspace(-1, 1, spec.image_size).expand(1, 3, spec.image_size, -1)
    training = trunk.training
    trunk.eval()
    try:
        with torch.no_grad():
            cls, patches = trunk(image)
            again, _ = trunk(image)
    except (RuntimeError, ValueError, AssertionError, TypeError, AttributeError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise UsageError(
            f"{spec.name!r} cannot serve as an expert at {spec.image_size} pixels ({first}). "
            "Choose another image_size or an image classifier."
        ) from error
    trunk.train(training)
    if not torch.equal(cls, again):
        raise UsageError(
            f"{spec.name!r} reads the same image differently each time, so it cannot serve as an "
            "expert. Use a classifier, for masked autoencoders their 'vit' form."
        )
    return int(cls.shape[-1]), int(patches.shape[1])


def build(spec: TrunkSpec) -> nn.Module:
    """The trunk with random weights, from the specification alone: no network."""
    if spec.kind == "small":
        return Small()
    if spec.kind == "timm":
        return Timm(create_timm(spec.name, spec.image_size, pretrained=False))
    from transformers import AutoConfig, AutoModel

    values = json.loads(spec.config)
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    return HuggingFace(AutoModel.from_config(config, trust_remote_code=False))


def create_timm(name: str, image_size: int, *, pretrained: bool) -> nn.Module:
    """A timm model without classifier, for this image size where it depends on one."""
    import timm

    arguments: dict[str, Any] = {"pretrained": pretrained, "num_classes": 0}
    try:
        return timm.create_model(name, img_size=image_size, **arguments)
    except TypeError:  # convolutional networks take any size and know no such argument
        return timm.create_model(name, **arguments)


def open_timm(
    name: str, image_size: int | None, *, pretrained: bool
) -> tuple[nn.Module, TrunkSpec]:
    """A timm trunk by name.

    Raises:
        UsageError: timm has no such model.
    """
    import timm

    from residency.catalog import suggest

    if not timm.is_model(name.partition(".")[0]):
        raise UsageError(f"timm has no model {name!r}.{suggest(name, timm.list_models())}")
    found = timm.get_pretrained_cfg(name)
    facts = resolve_data_config({}, pretrained_cfg=found.to_dict() if found else {})
    spec = TrunkSpec(
        kind="timm",
        name=name,
        image_size=image_size or facts["input_size"][-1],
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        resample="bicubic" if facts["interpolation"] == "bicubic" else "bilinear",
    )
    return Timm(create_timm(name, spec.image_size, pretrained=pretrained)), spec


def open_huggingface(source: str, image_size: int | None) -> tuple[nn.Module, TrunkSpec]:
    """A Hugging Face vision trunk from a folder or id: safetensors only, never remote code.

    Models of images and text (CLIP, SigLIP) give their image side. Without a processor the mean and
    std are 0.5.

    Raises:
        UsageError: nothing to load there, or the weights do not fill the model.
    """
    from transformers import AutoConfig, AutoModel

    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        config = getattr(config, "vision_config", config)
        with quiet_transformers():
            model, loading = AutoModel.from_pretrained(
                source,
                config=config,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise UsageError(
            f"Cannot open an expert from {source!r} ({first}). Give 'small', 'timm:NAME', "
            "'timm:NAME,pretrained', or a Hugging Face folder or id with safetensors weights."
        ) from error
    missing = sorted(key for key in loading["missing_keys"] if "pooler" not in key)
    if missing:
        raise UsageError(
            f"The weights in {source!r} lack {len(missing)} tensors of {type(model).__name__}, "
            f"such as {missing[0]!r}. Give a complete checkpoint of an image classifier."
        )
    native = getattr(config, "image_size", None)
    spec = TrunkSpec(
        kind="hf",
        name=config.model_type,
        image_size=image_size or (native if isinstance(native, int) else 224),
        config=config.to_json_string(use_diff=False),
    )
    return HuggingFace(model), with_processor(spec, source, fixed=image_size is not None)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No load report: a dropped classifier is expected, and missing weights are refused by us."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def with_processor(spec: TrunkSpec, source: str, *, fixed: bool) -> TrunkSpec:
    """Take size (unless `fixed`), mean, std and resampling from the image processor, if any.

    Raises:
        UsageError: the processor is there but cannot be read, so the normalisation is unknown.
    """
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        if (Path(source) / "preprocessor_config.json").exists():
            raise UsageError(
                f"{source}/preprocessor_config.json cannot be read as an image processor. "
                "Repair it, or remove it to normalise with mean and std 0.5."
            ) from error
        return spec
    mean, std = getattr(processor, "image_mean", None), getattr(processor, "image_std", None)
    return replace(
        spec,
        image_size=spec.image_size if fixed else (declared_side(processor) or spec.image_size),
        mean=tuple(mean) if mean is not None else spec.mean,
        std=tuple(std) if std is not None else spec.std,
        resample="bicubic" if int(getattr(processor, "resample", 2) or 2) == 3 else "bilinear",
    )


def declared_side(processor: Any) -> int | None:
    """The side of the images that a processor hands to its model, if it says so."""
    crops = getattr(processor, "do_center_crop", False)
    for declared in (processor.crop_size if crops else None, getattr(processor, "size", None)):
        size = dict(declared or {})
        side = size.get("height") or size.get("shortest_edge")
        if side:
            return int(side)
    return None

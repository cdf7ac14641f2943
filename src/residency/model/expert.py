"""The expert: VITask's task-specific model, an image classifier with one joint head for many data sets."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from residency.dataset import Dataset
from residency.errors import CheckpointError, UsageError
from residency.model.trunk import (
    Small,
    TrunkSpec,
    build,
    open_huggingface,
    open_timm,
    probe,
)

FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """The outputs of the joint head that belong to one data set."""

    dataset: str
    start: int
    labels: tuple[str, ...]
    multi_label: bool

    @property
    def stop(self) -> int:
        """One past its last output."""
        return self.start + len(self.labels)


@dataclass(frozen=True, slots=True)
class Layout:
    """Who owns which outputs of the joint head. Slices are shared whole or disjoint."""

    slices: tuple[Slice, ...]

    @property
    def outputs(self) -> int:
        """The width of the joint head; 70 for the twelve MedMNIST sets."""
        return max(part.stop for part in self.slices)

    def of(self, dataset: Dataset) -> Slice:
        """The slice for a data set: its own, else one that another set with equal labels owns.

        Raises:
            UsageError: the head has no outputs for these labels.
        """
        kind = (dataset.labels, dataset.multi_label)
        matching = [part for part in self.slices if (part.labels, part.multi_label) == kind]
        if not matching:
            have = ", ".join(part.dataset for part in self.slices)
            raise UsageError(
                f"The expert has no outputs for the {len(dataset.labels)} labels of data set "
                f"{dataset.name!r}; it was made for: {have}. Fit an expert on this data set."
            )
        return next((part for part in matching if part.dataset == dataset.name), matching[0])

    def inside(self, part: Slice) -> Bool[Tensor, " o"]:
        """True at the outputs of the slice."""
        place = torch.arange(self.outputs)
        return (place >= part.start) & (place < part.stop)

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values, read back by `from_json`."""
        return [asdict(part) for part in self.slices]

    @classmethod
    def from_json(cls, values: Sequence[dict[str, Any]]) -> "Layout":
        """Inverse of `to_json`, after JSON turned tuples into lists."""
        return cls(tuple(Slice(**{**part, "labels": tuple(part["labels"])}) for part in values))


def layout(datasets: Sequence[Dataset]) -> Layout:
    """One joint head: a slice per data set, shared by data sets whose labels are identical.

    Raises:
        UsageError: no data sets, two of one name, or one without a closed label set.
    """
    if not datasets:
        raise UsageError("An expert needs at least one data set; none was given.")
    starts: dict[tuple[tuple[str, ...], bool], int] = {}
    slices: dict[str, Slice] = {}
    width = 0
    for dataset in datasets:
        if not dataset.labels:
            raise UsageError(
                f"Data set {dataset.name!r} has no closed label set, so no expert can be fitted "
                "on it. Use classification data, or run without an expert."
            )
        if dataset.name in slices:
            raise UsageError(f"Data set {dataset.name!r} is given twice; name each only once.")
        kind = (dataset.labels, dataset.multi_label)
        if kind not in starts:
            starts[kind] = width
            width += len(dataset.labels)
        slices[dataset.name] = Slice(
            dataset=dataset.name,
            start=starts[kind],
            labels=dataset.labels,
            multi_label=dataset.multi_label,
        )
    return Layout(tuple(slices.values()))


class Expert(nn.Module):
    """An image classifier that gives logits, and features for the exemplar slot.

    `width` is the size of one feature, `patches` how many patch features an image has.
    """

    def __init__(self, trunk: nn.Module, spec: TrunkSpec, joint: Layout) -> None:
        super().__init__()
        self.spec = spec
        self.layout = joint
        self.width, self.patches = probe(trunk, spec)
        self.trunk = trunk
        self.head = nn.Linear(self.width, joint.outputs)

    @property
    def image_size(self) -> int:
        """Height and width of `pixels`."""
        return self.spec.image_size

    @classmethod
    def create(
        cls,
        source: str,
        datasets: Sequence[Dataset],
        *,
        image_size: int | None = None,
        seed: int,
    ) -> "Expert":
        """Make an expert whose new weights (always the head) are drawn from `seed`.

        `source` is `small` (ours, from scratch), `timm:NAME` (random) or `timm:NAME,pretrained`
        (download), or a Hugging Face folder or id. `image_size` defaults to what the source was
        made for, 64 for `small`.

        Raises:
            UsageError: unknown source, an unusable image size, or data sets without labels.
        """
        joint = layout(datasets)
        with torch.random.fork_rng(devices=[]):  # built on the CPU
            torch.manual_seed(seed)
            trunk, spec = open_trunk(source, image_size)
            return cls(trunk, spec, joint)

    def features(
        self, pixels: Float[Tensor, "n 3 h w"], kind: Literal["cls", "patches"]
    ) -> Float[Tensor, "n k d"]:
        """What the exemplar slot reads.

        `cls` gives one vector, the CLS token or, for models without one, the pooled feature;
        `patches` gives the patch tokens without CLS, or the last feature map row by row.
        """
        cls, patches = self.trunk(pixels)
        return cls[:, None] if kind == "cls" else patches

    def forward(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n o"]:
        """Logits of the whole joint head; only the slice of the sample's data set has a meaning."""
        return self.head(self.trunk(pixels)[0])

    def resized(self, images: Sequence[Image.Image]) -> UInt8[Tensor, "n 3 h w"]:
        """The images as RGB bytes at the size of the trunk, aspect ratio ignored."""
        side = (self.image_size, self.image_size)
        method = Image.Resampling[self.spec.resample.upper()]
        out = np.empty((len(images), *side, 3), dtype=np.uint8)
        for row, image in zip(out, images, strict=True):
            rgb = image if image.mode == "RGB" else image.convert("RGB")
            row[:] = np.asarray(rgb if rgb.size == side else rgb.resize(side, method))
        return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()

    def normalised(
        self, values: UInt8[Tensor, "n 3 h w"] | Float[Tensor, "n 3 h w"]
    ) -> Float[Tensor, "n 3 h w"]:
        """Values in 0..255 as the trunk expects them, on their own device."""
        mean = torch.tensor(self.spec.mean, device=values.device)[:, None, None]
        std = torch.tensor(self.spec.std, device=values.device)[:, None, None]
        return (values.float() / 255 - mean) / std

    def pixels(self, images: Sequence[Image.Image]) -> Float[Tensor, "n 3 h w"]:
        """Images as the trunk reads them, on the CPU."""
        return self.normalised(self.resized(images))

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write `expert.safetensors`, then `expert.json`, which alone makes the folder loadable.

        `weights` stand for its own where those lie in pieces (`model/sharding.py`).
        """
        folder.mkdir(parents=True, exist_ok=True)
        # Cloned, because safetensors refuses tensors that share memory.
        held = {**self.state_dict(), **(weights or {})}
        state = {name: value.detach().cpu().clone() for name, value in held.items()}
        save_file(state, folder / "expert.safetensors")
        facts = {"format": FORMAT, "trunk": asdict(self.spec), "layout": self.layout.to_json()}
        (folder / "expert.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Expert":
        """Read what `save` wrote, offline.

        Raises:
            CheckpointError: no expert there, or a broken one.
        """
        if not (folder / "expert.json").is_file():
            raise CheckpointError(
                f"No expert in {folder}: expert.json is missing. Give a folder that a run wrote."
            )
        try:
            facts = json.loads((folder / "expert.json").read_text())
            if facts["format"] != FORMAT:
                raise ValueError(f"format {facts['format']}, this version reads {FORMAT}")
            values = facts["trunk"]
            triples = {key: tuple(values[key]) for key in ("mean", "std")}
            spec = TrunkSpec(**{**values, **triples})
            with torch.random.fork_rng(devices=[]):
                expert = cls(build(spec), spec, Layout.from_json(facts["layout"]))
            expert.load_state_dict(load_file(folder / "expert.safetensors"))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            first = (str(error).splitlines() or [""])[0]
            raise CheckpointError(
                f"The expert in {folder} cannot be read ({first}). Fit it again."
            ) from error
        return expert.eval()

    def adopt(self, other: "Expert") -> int:
        """Start from another expert: its trunk, and its outputs for equal label sets.

        Returns how many outputs were taken over.

        Raises:
            UsageError: the other expert has another trunk.
        """
        if other.spec != self.spec:
            raise UsageError(
                f"Cannot start a {self.spec.kind} expert {self.spec.name!r} at {self.image_size} "
                f"pixels from a {other.spec.kind} expert {other.spec.name!r} at "
                f"{other.image_size}. Use the same source and image size."
            )
        self.trunk.load_state_dict(other.trunk.state_dict())
        known = {(part.labels, part.multi_label): part for part in other.layout.slices}
        taken: set[int] = set()
        for part in self.layout.slices:
            same = known.get((part.labels, part.multi_label))
            if same is not None:
                taken.update(range(part.start, part.stop))
                for mine, theirs in zip(
                    self.head.parameters(), other.head.parameters(), strict=True
                ):
                    mine.data[part.start : part.stop] = theirs.data[same.start : same.stop]
        return len(taken)


def open_trunk(source: str, image_size: int | None) -> tuple[nn.Module, TrunkSpec]:
    """The trunk that `source` names; see `Expert.create`."""
    if image_size is not None and image_size < 8:
        raise UsageError(f"image_size={image_size} is too small for an expert; use 8 or more.")
    if source == "small":
        return Small(), TrunkSpec(kind="small", name="small", image_size=image_size or 64)
    if source.startswith("timm:"):
        name, _, option = source.removeprefix("timm:").partition(",")
        if option not in ("", "pretrained"):
            raise UsageError(
                f"Unknown option {option!r} in {source!r}. "
                "Allowed: 'timm:NAME' (random weights) or 'timm:NAME,pretrained'."
            )
        return open_timm(name, image_size, pretrained=bool(option))
    return open_huggingface(source, image_size)

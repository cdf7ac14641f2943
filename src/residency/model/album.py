"""The distinct images of a batch, decoded once and prepared together; slices of a volume as one clip."""

import itertools
from collections.abc import Iterable, Sequence

import torch
from PIL import Image
from torch import Tensor
from transformers import ProcessorMixin

from residency.backbone import Family, ImageLayout
from residency.errors import DataError
from residency.types import Area, Picture, Sample, View

BLANK_GREY = (128, 128, 128)  # the blank image keeps the size of the image it stands for
Shown = Image.Image | tuple[Image.Image, ...]  # an image, or the slices of a volume as a clip


class Album:
    """The distinct images of a batch by key: decoded once, preprocessed together.

    Where the family reads clips, the slices of a volume are one entry. `budgets` caps the area in
    pixels of an image beyond what its `Area` says.
    """

    def __init__(self, family: Family, processor: ProcessorMixin) -> None:
        self._family, self._processor = family, processor
        self.images: dict[str, Shown] = {}
        self.layouts: dict[str, ImageLayout] = {}
        self.pixels: dict[str, Tensor] = {}
        self.areas: dict[str, Area] = {}
        self.budgets: dict[str, int] = {}

    def add(self, sample: Sample, view: View) -> list[str]:
        """Decode what a view shows of a sample, unless it is there already; returns the keys."""
        clip = sample.volume is not None and len(sample.images) > 1 and self._family.clips
        entries = [sample.images] if clip else [(picture,) for picture in sample.images]
        return [self._add(pictures, view) for pictures in entries]

    def _add(self, pictures: tuple[Picture, ...], view: View) -> str:
        first, key = pictures[0], "|".join(picture.key for picture in pictures)
        many = len(pictures) > 1
        if view.image == "blank":  # blank images of one size are one image
            known = self.images.get(key)
            width, height = size_of(known) if known else first.size or first.load().size
            grey = Image.new("RGB", (width, height), BLANK_GREY)
            key = f"blank:{width}x{height}" + f"x{len(pictures)}" * many
            key += f":{first.area}" * (first.area != Area())
            self.images.setdefault(key, (grey,) * len(pictures) if many else grey)
        elif key not in self.images:
            self.images[key] = tuple(p.load() for p in pictures) if many else first.load()
        self.areas[key] = first.area
        return key

    def keep(self, keys: Iterable[str]) -> None:
        """Forget every other image."""
        wanted = set(keys)
        self.images = {key: image for key, image in self.images.items() if key in wanted}

    def prepare(self) -> None:
        """Preprocess all images, neighbours of one kind and area in one call.

        Raises:
            DataError: the processor refuses an image, for example one that is far too narrow.
        """
        self.pixels, self.layouts = self.processed(self.images)

    def processed(self, keys: Iterable[str]) -> tuple[dict[str, Tensor], dict[str, ImageLayout]]:
        """Tensors for the vision encoder and the layout of each image, in the order of `keys`."""
        keys = list(keys)
        if not keys:
            return {}, {}
        groups = itertools.groupby(keys, lambda key: (self._area(key), type(self.images[key])))
        made = [self._call(list(group)) for _, group in groups]
        pixels = {name: torch.cat([p[name] for p, _ in made]) for name in made[0][0]}
        layouts = [layout for _, of in made for layout in of]
        return pixels, dict(zip(keys, layouts, strict=True))

    def _area(self, key: str) -> Area:
        """What bounds an image: its own area, and a budget that is lower."""
        own, budget = self.areas[key], self.budgets.get(key)
        if budget is None:
            return own
        return Area(min(own.least, budget) if own.least else None, min(own.most or budget, budget))

    def _call(self, keys: Sequence[str]) -> tuple[dict[str, Tensor], list[ImageLayout]]:
        images = [self.images[key] for key in keys]
        clips = [image for image in images if isinstance(image, tuple)]
        alone = [image for image in images if not isinstance(image, tuple)]
        try:
            if clips and self._family.clips is not None:
                return self._family.clips(self._processor, clips, self._area(keys[0]))
            return self._family.pixels(self._processor, alone, self._area(keys[0]))
        except ValueError as error:
            if len(keys) > 1:
                for key in keys:  # find the one to name
                    self._call([key])
            size = "x".join(map(str, size_of(images[0])))
            raise DataError(
                f"Image {keys[0].partition('|')[0]} ({size}) cannot be preprocessed: {error}. "
                "Crop it or leave it out."
            ) from error


def size_of(shown: Shown) -> tuple[int, int]:
    """(width, height) in pixels, of a clip those of its first slice."""
    return shown[0].size if isinstance(shown, tuple) else shown.size


def single(shown: Shown) -> Image.Image:
    """The image.

    Raises:
        DataError: a clip.
    """
    if isinstance(shown, tuple):
        raise DataError(
            "An expert reads images, and a sample is a volume. Use a method without exemplar for it."
        )
    return shown

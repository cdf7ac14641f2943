"""Turn files, bytes and arrays into the 8-bit RGB images that everything else reads, refusing bad ones.

Rules, in order: a regular file of an allowed format; size judged by the header, before decoding;
one frame; every byte decodes; EXIF orientation applied, so boxes live in the displayed frame; grey
of more than 8 bits scaled linearly (never clipped) from the range that the TIFF declares, else from
the image's own minimum and maximum; transparency composited on the background. DICOM files, told by
their marker, follow the rules of `dicom_pixels` instead.
"""

import functools
import io
import os
import stat
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
from PIL import ImageFile, ImageOps
from PIL.Image import Image

from residency.data import dicom
from residency.data.dicom import DicomError
from residency.data.dicom_pixels import eight_bit
from residency.data.windows import Window
from residency.errors import DataError
from residency.types import Picture

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF")
SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".dcm"))
MAX_PIXELS = 50_000_000
MIN_SIDE = 2
MAX_ASPECT = 200  # Qwen2-VL's resizing refuses anything longer
Background = Literal["black", "white"]
DEEP = frozenset(("I", "I;16", "I;16B", "I;16L", "I;16N", "F"))
PLAIN = frozenset(("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr"))
# What an image that was read is marked with in its `info`, and what each mark says.
MARKS = "marks"
MEANINGS = {
    "turned": "are turned by their EXIF orientation; boxes are those of the turned image",
    "cmyk": "are CMYK, converted without their colour profile",
    "deep": "hold more than 8 bits of no declared range, scaled by their own minimum and maximum",
    "alpha": "have transparency, composited on black",
}
# What a file that is no image turns out to be, by how it begins.
IMPOSTORS = (
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML document"),
    (b"%!ps", "a PostScript program"),
    (b"%pdf", "a PDF document"),
    (b"version https://git-lfs", "a Git LFS pointer"),
)


class ImageError(DataError):
    """An image that cannot be used; `code` says why in one word, for counting."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def open_image(
    path: str | Path, *, max_pixels: int = MAX_PIXELS, background: Background = "black"
) -> Image:
    """Decode an image file to RGB under the rules of this module.

    Raises:
        ImageError: missing, not a regular file, empty, another format, truncated or corrupt, more
            than `max_pixels`, a side under 2 pixels, longer than 200:1, several frames, not finite.
    """
    _require_file(path)
    if os.path.splitext(path)[1].lower() not in dicom.SUFFIXES:
        try:
            with open(path, "rb") as stream:
                if not dicom.marked(stream.read(132)):
                    stream.seek(0)
                    return _open(stream, str(path), max_pixels, background)
        except OSError as error:  # no permission, or a disk that fails
            raise ImageError("unreadable", f"{path} cannot be read: {_reason(error)}.") from None
    return dicom_image(path, max_pixels=max_pixels)


def read_image(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Decode an image that is held as bytes; `name` says in errors where they come from.

    Raises:
        ImageError: as `open_image`; DICOM is read from files only.
    """
    if not data:
        raise ImageError("empty", f"{name} is empty (0 bytes).")
    return _open(io.BytesIO(data), name, max_pixels, "black")


def dicom_image(
    path: str | Path,
    *,
    frame: int | None = None,
    window: Window | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Image:
    """A DICOM frame as it is meant to be seen; `window` replaces that of the file.

    Raises:
        ImageError: what `dicom_pixels.eight_bit` refuses, under the same code.
    """
    try:
        return array_image(eight_bit(path, frame=frame, window=window, max_pixels=max_pixels))
    except DicomError as error:
        raise ImageError(error.code, str(error)) from None


def _open(
    stream: io.BytesIO | io.BufferedReader, path: str, max_pixels: int, background: Background
) -> Image:
    # Some libraries switch this on for the whole process; it fills missing rows with grey.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            image = PIL.Image.open(stream, formats=FORMATS)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise ImageError(
            "pixels", f"{path} is refused: {_reason(error)} At most {max_pixels:,} are read."
        ) from None
    except PIL.UnidentifiedImageError:
        raise _unidentified(stream, path) from None
    except Exception as error:  # a damaged header makes decoders raise nearly anything
        raise ImageError("corrupt", f"{path} cannot be decoded: {_reason(error)}") from None
    with image:
        _require_shape(path, image, max_pixels)
        try:
            _require_one_frame(path, image)
            image.load()
            # Both copy all pixels: what stands upright is left as it is.
            upright = image.getexif().get(274, 1) == 1
            shown = image if upright else ImageOps.exif_transpose(image)
            deep = image.mode in DEEP
            marks = tuple(_marks(image))
            found = _grey(path, image, shown) if deep else _rgb(path, shown, background)
            found.info = {MARKS: marks}
            return found
        except ImageError:
            raise
        except Exception as error:  # as above, for the pixels
            code = "truncated" if "truncated" in str(error) else "corrupt"
            raise ImageError(code, f"{path} cannot be decoded: {_reason(error)}") from None


def array_image(pixels: np.ndarray) -> Image:
    """An image from uint8 `[h, w]` grey or `[h, w, 3]` RGB.

    Raises:
        DataError: another dtype or shape.
    """
    colour = pixels.ndim == 3 and pixels.shape[2] == 3
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or colour):
        raise DataError(
            f"An image array must be uint8 [h, w] or [h, w, 3], not {pixels.dtype} "
            f"{list(pixels.shape)}."
        )
    return PIL.Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")


def inside(root: Path, name: str) -> Path:
    """The real path of `name` below `root`, symbolic links followed.

    Raises:
        ImageError: the path leads out of `root`.
    """
    try:
        home, target = os.path.realpath(root), os.path.realpath(root / name)
        within = os.path.commonpath((home, target)) == home
    except ValueError:  # a NUL byte
        within = False
    if not within or os.path.isabs(name):
        raise ImageError(
            "escape",
            f"Image path {name!r} leads out of {root}. Use paths relative to that folder, and "
            "copy files in place of symbolic links that leave it.",
        )
    return Path(target)


def file_picture(root: Path, name: str) -> Picture:
    """The image file `name` below `root`; whether it lies there is checked when it is read."""
    return Picture(key=str(root / name), load=functools.partial(_open_inside, root, name))


def _open_inside(root: Path, name: str) -> Image:
    return open_image(inside(root, name))


def _marks(image: Image) -> Iterator[str]:
    """What of an image is read by a rule that one should know of; see `MEANINGS`."""
    if image.getexif().get(274, 1) != 1:
        yield "turned"
    if image.mode == "CMYK":
        yield "cmyk"
    if image.mode in DEEP and _declared(getattr(image, "tag_v2", {})) is None:
        yield "deep"
    if image.mode not in DEEP and image.has_transparency_data:
        yield "alpha"


def _require_file(path: str | Path) -> None:
    """Refuse before opening: reading a FIFO would wait for ever."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise ImageError(
            "missing" if missing else "unreadable",
            f"No such image file: {path}" if missing else f"{path!r}: {_reason(error)}",
        ) from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise ImageError("not_a_file", f"{path} is {kind}; expected an image file.")
    if status.st_size == 0:
        raise ImageError("empty", f"{path} is empty (0 bytes). Copy or download it again.")


def _unidentified(stream: io.BytesIO | io.BufferedReader, path: str) -> ImageError:
    stream.seek(0)
    head = stream.read(256).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    found = next((what for start, what in IMPOSTORS if head.startswith(start)), "")
    what = f"is {found}" if found else "is damaged at its beginning or of another format"
    return ImageError("format", f"{path} {what}; expected one of {', '.join(FORMATS)}.")


def _require_shape(path: str | Path, image: Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(
            "pixels",
            f"{path} has {width}x{height} = {width * height / 1e6:.0f} million pixels; at most "
            f"{max_pixels / 1e6:g} million are read. Scale it down or cut it.",
        )
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            "tiny", f"{path} is {width}x{height} pixels; each side needs at least {MIN_SIDE}."
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(
            "aspect",
            f"{path} is {width}x{height} pixels; sides may differ by a factor of {MAX_ASPECT}.",
        )


def _require_one_frame(path: str | Path, image: Image) -> None:
    # MPO is a camera JPEG: its further frames are previews of the first.
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames != 1:
        raise ImageError(
            "frames", f"{path} has {frames} frames; expected one. Save the frame you mean."
        )


def _grey(path: str | Path, image: Image, shown: Image) -> Image:
    """Grey of 16 or 32 bits as 8-bit RGB; a constant image of unknown range becomes black."""
    tags = getattr(image, "tag_v2", {})
    values = np.asarray(shown).astype(np.float64)
    if image.mode == "I" and tags.get(339, (1,))[0] == 1 and 258 in tags:
        values %= 2**32  # Pillow reads unsigned 32-bit TIFF as signed
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise ImageError("nan", f"{path} has {count} pixels that are NaN or infinite.")
    low, high = _declared(tags) or (values.min(), values.max())
    if values.min() < low or values.max() > high:
        raise ImageError(
            "range",
            f"{path} declares values {low:g} to {high:g} but holds {values.min():g} to "
            f"{values.max():g}. Correct its SampleValue tags.",
        )
    scaled = (values - low) * (255 / (high - low) if high > low else 0)
    grey = np.rint(scaled).astype(np.uint8)
    # Photometric interpretation 0: white is zero. Pillow inverts 8-bit images only.
    return array_image(255 - grey if tags.get(262) == 0 else grey)


def _declared(tags: Mapping[int, Any]) -> tuple[float, float] | None:
    """(S)MinSampleValue and (S)MaxSampleValue of a TIFF, where both are given."""
    for low, high in ((340, 341), (280, 281)):
        if low in tags and high in tags:
            first, last = (np.ravel(np.asarray(tags[tag], float))[0] for tag in (low, high))
            return float(first), float(last)
    return None


def _rgb(path: str | Path, image: Image, background: Background) -> Image:
    if image.has_transparency_data:
        canvas = PIL.Image.new("RGBA", image.size, background)
        return PIL.Image.alpha_composite(canvas, image.convert("RGBA")).convert("RGB")
    if image.mode not in PLAIN:
        raise ImageError("mode", f"{path} has colour mode {image.mode}; save it as grey or RGB.")
    return image.convert("RGB")


def _reason(error: BaseException) -> str:
    """What went wrong, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]

"""DICOM pixels as they are meant to be seen: the order of PS3.3 and PS3.14, and nothing twice.

1. decode (one frame; YBR becomes RGB, palettes are looked up);
2. modality LUT, else rescale slope and intercept (Hounsfield units for CT);
3. VOI LUT, else window, else the CT window `abdomen`, else the range of the image's own values;
4. inversion where the lowest value is white (MONOCHROME1, or PresentationLUTShape INVERSE);
5. 8 bit, by the range that step 3 declares: no minimum and maximum a second time.
"""

import os
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from residency.data.dicom import MEDICAL, DicomError, count, guarded, library, read_dataset
from residency.data.windows import PRESETS, Window, shown
from residency.errors import UsageError

MAX_PIXELS = 50_000_000
CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1")
COLOUR = (
    "RGB",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_ICT",
    "YBR_RCT",
    "YBR_PARTIAL_422",
    "YBR_PARTIAL_420",
)


def eight_bit(
    path: str | os.PathLike[str],
    *,
    frame: int | None = None,
    window: Window | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Shaped[np.ndarray, "*shape"]:
    """One frame as uint8, `[h, w]` grey or `[h, w, 3]` RGB; `window` replaces that of the file.

    Raises:
        DicomError: no DICOM file or image, damaged or truncated, several frames and none chosen,
            too many pixels, a codec that is not installed.
        UsageError: no such frame, or pydicom is not installed.
    """
    with guarded(path):
        return _eight_bit(path, frame, window, max_pixels)


def _eight_bit(
    path: str | os.PathLike[str], frame: int | None, window: Window | None, max_pixels: int
) -> np.ndarray:
    dataset = read_dataset(path, pixels=True)
    place = _frame(dataset, path, frame, max_pixels)
    pixels = _decoded(dataset, path, place)
    kind = str(dataset.get("PhotometricInterpretation") or "").strip()
    if kind == "PALETTE COLOR":
        return _palette(dataset, pixels)
    if kind in COLOUR:
        return _to_eight(pixels, int(dataset.BitsStored))
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise DicomError("dicom_pixels", f"{path}: its photometric interpretation cannot be shown.")
    grey = _grey(dataset, pixels, place, window)
    inverse = kind == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE"
    grey = 255 - grey if inverse else grey
    padding = _padding(dataset, pixels)
    if padding is not None:
        grey[padding] = 0  # what the scanner did not measure is background
    return grey


def measured(
    path: str | os.PathLike[str], *, frame: int | None = None, max_pixels: int = MAX_PIXELS
) -> Float[np.ndarray, "h w"]:
    """One grey frame in the unit of its modality (Hounsfield for CT), steps 1 and 2, float32.

    Raises:
        DicomError: as `eight_bit`; or an image in colour, which measures nothing.
    """
    with guarded(path):
        return _measured(path, frame, max_pixels)


def _measured(path: str | os.PathLike[str], frame: int | None, max_pixels: int) -> np.ndarray:
    dataset = read_dataset(path, pixels=True)
    place = _frame(dataset, path, frame, max_pixels)
    if not str(dataset.get("PhotometricInterpretation") or "").startswith("MONOCHROME"):
        raise DicomError("dicom_pixels", f"{path} is in colour; a volume is made of grey slices.")
    pixels = _decoded(dataset, path, place)
    return _modality(dataset, pixels, place).astype(np.float32)


def _frame(dataset: Any, path: str | os.PathLike[str], frame: int | None, limit: int) -> int:
    """The frame to decode, once its header promises an image of a size that is read."""
    rows, columns = (count(dataset, tag, path) for tag in ("Rows", "Columns"))
    if not rows or not columns or "PixelData" not in dataset:
        raise DicomError("dicom_pixels", f"{path} is a DICOM file without an image.")
    if rows * columns > limit:
        raise DicomError(
            "pixels",
            f"{path} has {columns}x{rows} pixels; at most {limit / 1e6:g} million are read.",
        )
    frames = count(dataset, "NumberOfFrames", path) or 1
    if frame is None and frames > 1:
        raise DicomError(
            "frames", f"{path} has {frames} frames; expected one. Choose one by its number."
        )
    if not 0 <= (frame or 0) < frames:
        raise UsageError(f"{path} has frames 0 to {frames - 1}, not {frame}.")
    return frame or 0


def _decoded(
    dataset: Any, path: str | os.PathLike[str], place: int
) -> Shaped[np.ndarray, "h w *c"]:
    pydicom = library()
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise DicomError("dicom_corrupt", f"{path} names no transfer syntax. Export it again.")
    try:
        # The deflated syntax is undone while reading; the others need a decoder.
        decoder = pydicom.pixels.get_decoder(syntax)
    except NotImplementedError:
        raise DicomError("dicom_codec", f"{path} has an unknown transfer syntax.") from None
    if not decoder.is_available:
        raise DicomError(
            "dicom_codec", f"{path} is compressed as {syntax.name}; its codec: {MEDICAL}."
        )
    try:
        return pydicom.pixels.pixel_array(dataset, index=place)
    except Exception as error:  # as above, for the pixels
        if "12-bit" in str(error):
            raise DicomError(
                "dicom_codec",
                f"{path} is 12-bit JPEG ({syntax.name}), for which residency[medical] has no codec. "
                "pylibjpeg-libjpeg (GPL-3.0) decodes it once it is installed.",
            ) from None
        truncated = "less than expected" in str(error)
        raise DicomError(
            "truncated" if truncated else "dicom_corrupt",
            f"{path}: its pixels are {'cut off' if truncated else 'damaged'} "
            f"({type(error).__name__}). Export it again.",
        ) from None


def _grey(dataset: Any, pixels: np.ndarray, place: int, window: Window | None) -> np.ndarray:
    tables: Any = dataset.get("VOILUTSequence") or ()
    if window is None and not len(tables):
        window = _declared(dataset, place)
    if window is not None:
        return _windowed(dataset, pixels, place, window)
    values = _modality(dataset, pixels, place)
    if len(tables):
        return _table(tables[0], values, (0, 255))
    if int(dataset.BitsStored) == 8 and pixels.dtype == np.uint8 and values is pixels:
        return pixels.copy()
    padding = _padding(dataset, pixels)
    kept = values if padding is None else values[~padding]
    if not kept.size or kept.min() == kept.max():
        return np.zeros(values.shape, np.uint8)
    return shown(values, Window.between(float(kept.min()), float(kept.max())))


def _declared(dataset: Any, place: int) -> Window | None:
    """The window of the file, `abdomen` for a CT without one, None for others without one."""
    voi = _group(dataset, place, "FrameVOILUTSequence") or dataset
    level, width = (_first(voi, tag) for tag in ("WindowCenter", "WindowWidth"))
    if level is not None and width is not None and width > 0:
        name = str(voi.get("VOILUTFunction") or "LINEAR").strip()
        linear = name not in ("LINEAR_EXACT", "SIGMOID")
        if linear and width < 1:
            return Window(level, width, "LINEAR_EXACT")
        return Window(level, width, "LINEAR" if linear else name)  # type: ignore[arg-type]
    ct = str(dataset.file_meta.get("MediaStorageSOPClassUID")) in CT_CLASSES
    return PRESETS["abdomen"] if ct else None


def _windowed(dataset: Any, pixels: np.ndarray, place: int, window: Window) -> np.ndarray:
    """Steps 2 and 3; each stored value is worked out once where they are fewer than pixels."""
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2 and pixels.size:
        low, high = int(pixels.min()), int(pixels.max())
        if high - low < pixels.size:
            stored = np.arange(low, high + 1).astype(pixels.dtype)
            grey: np.ndarray = shown(_modality(dataset, stored, place), window)
            return grey[np.subtract(pixels, low, dtype=np.int32)]
    return shown(_modality(dataset, pixels, place), window)


def _modality(dataset: Any, pixels: np.ndarray, place: int) -> np.ndarray:
    """Step 2; the pixels themselves where the file declares nothing."""
    tables: Any = dataset.get("ModalityLUTSequence") or ()
    if len(tables):
        return _table(tables[0], pixels, None)
    rescale = _group(dataset, place, "PixelValueTransformationSequence") or dataset
    slope, intercept = (_first(rescale, tag) for tag in ("RescaleSlope", "RescaleIntercept"))
    if slope in (None, 1.0) and intercept in (None, 0.0):
        return pixels
    return pixels * (1.0 if slope is None else slope) + (intercept or 0.0)


def _table(item: Any, values: np.ndarray, onto: tuple[int, int] | None) -> np.ndarray:
    """Values through a lookup table; `onto` scales its declared range (0 to 2^bits - 1) to 8 bit."""
    entries, first, bits = (int(value) for value in item.LUTDescriptor)
    entries = entries or 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        data = np.frombuffer(data, np.uint8 if len(data) == entries else "<u2")
    lut = np.asarray(data)[:entries]
    # An unsigned first value stands for a negative one where the stored values are signed.
    if first >= 2**15 and values.min() < 0:
        first -= 2**16
    mapped = lut[np.clip(np.rint(values).astype(np.int64) - first, 0, len(lut) - 1)]
    return _to_eight(mapped, bits) if onto else mapped


def _palette(dataset: Any, pixels: np.ndarray) -> np.ndarray:
    colours = library().pixels.apply_color_lut(pixels, dataset)[..., :3]
    bits = int(dataset.RedPaletteColorLookupTableDescriptor[2])
    # Some writers declare 16 bits and fill only the lower 8.
    return _to_eight(colours, 8 if colours.dtype == np.uint8 or colours.max() < 256 else bits)


def _to_eight(values: np.ndarray, bits: int) -> np.ndarray:
    return np.rint(values * (255 / (2**bits - 1))).clip(0, 255).astype(np.uint8)


def _padding(dataset: Any, pixels: np.ndarray) -> np.ndarray | None:
    """True where the scanner filled in instead of measuring; None where the file names no such value."""
    value = dataset.get("PixelPaddingValue")
    if value is None or pixels.ndim != 2:
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    return (pixels >= low) & (pixels <= high)


def _group(dataset: Any, place: int, name: str) -> Any:
    """The item of a functional group for one frame, its own before the shared one."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    shared = dataset.get("SharedFunctionalGroupsSequence") or ()
    for groups in (own[place : place + 1], shared[:1]):
        if len(groups) and groups[0].get(name):
            return groups[0].get(name)[0]
    return None


def _first(item: Any, tag: str) -> float | None:
    """The (first) value of a decimal attribute."""
    value = item.get(tag)
    if value is None or value == "":
        return None
    if hasattr(value, "__len__") and not isinstance(value, str):
        value = value[0] if len(value) else None
    return None if value is None else float(value)

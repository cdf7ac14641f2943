"""From scanner values to 8-bit grey through a window: which values are shown between black and white."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from jaxtyping import Num, UInt8

from residency.catalog import suggest
from residency.errors import UsageError

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]


@dataclass(frozen=True, slots=True)
class Window:
    """`level` is the middle and `width` the extent of the values shown, in the image's own unit."""

    level: float
    width: float
    function: Function = "LINEAR"

    @classmethod
    def between(cls, low: float, high: float) -> "Window":
        """The window that shows `low` as black and `high` as white."""
        return cls((low + high) / 2, high - low, "LINEAR_EXACT")


# Level and width in Hounsfield units, as radiology departments use them.
PRESETS: Mapping[str, Window] = MappingProxyType(
    {
        "abdomen": Window(40.0, 400.0),
        "bone": Window(450.0, 1800.0),
        "brain": Window(40.0, 80.0),
        "liver": Window(60.0, 160.0),
        "lung": Window(-600.0, 1500.0),
        "mediastinum": Window(50.0, 400.0),
        "stroke": Window(40.0, 40.0),
        "subdural": Window(80.0, 200.0),
    }
)
# Three windows as the colours of one picture: everything, soft tissue, brain (MedGemma 1.5).
RGB_WINDOWS = (
    Window.between(-1024.0, 1024.0),
    Window.between(-135.0, 215.0),
    Window.between(0.0, 80.0),
)


Windows = Window | tuple[Window, Window, Window]


def windows(text: str) -> Windows:
    """The window that a user names: a preset, `rgb` for three as colours, or LEVEL/WIDTH.

    Raises:
        UsageError: none of these.
    """
    if text == "rgb":
        return RGB_WINDOWS
    level, slash, width = text.partition("/")
    if not slash:
        return preset(text)
    try:
        found = Window(float(level), float(width))
    except ValueError:
        found = Window(0.0, 0.0)
    if not (abs(found.level) < float("inf") and 1 <= found.width < float("inf")):
        raise UsageError(f"window={text}: expected LEVEL/WIDTH in numbers, such as 40/400.")
    return found


def preset(name: str) -> Window:
    """The CT window of that name.

    Raises:
        UsageError: no such window.
    """
    if name not in PRESETS:
        raise UsageError(
            f"No CT window {name!r}.{suggest(name, list(PRESETS))} Windows: {', '.join(PRESETS)}; "
            "or rgb, or LEVEL/WIDTH."
        )
    return PRESETS[name]


def shown(values: Num[np.ndarray, "*shape"], window: Window) -> UInt8[np.ndarray, "*shape"]:
    """The values as grey, 0 to 255 (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3).

    LINEAR:        y = 255 ((x - (level - 0.5)) / (width - 1) + 0.5), cut to [0, 255]
    LINEAR_EXACT:  y = 255 ((x - level) / width + 0.5), cut to [0, 255]
    SIGMOID:       y = 255 / (1 + exp(-4 (x - level) / width))

    Raises:
        UsageError: a width that shows nothing (LINEAR needs at least 1, the others more than 0).
    """
    least = 1 if window.function == "LINEAR" else 0
    if not (window.width > least or window.width == least == 1):
        raise UsageError(
            f"A window of width {window.width:g} shows nothing; {window.function} needs "
            f"{'at least 1' if least else 'more than 0'}."
        )
    x = values.astype(np.float64)
    if window.function == "SIGMOID":
        # Beyond +-50 the curve is flat to 20 digits, and exp would overflow.
        y = 1 / (1 + np.exp(np.clip(-4 * (x - window.level) / window.width, -50, 50)))
    elif window.function == "LINEAR_EXACT":
        y = (x - window.level) / window.width + 0.5
    elif window.width == 1:
        y = (x > window.level - 0.5).astype(np.float64)
    else:
        y = (x - (window.level - 0.5)) / (window.width - 1) + 0.5
    return np.rint(255 * np.clip(y, 0, 1)).astype(np.uint8)

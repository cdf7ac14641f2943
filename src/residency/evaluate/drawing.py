"""Images, boxes and points as self-contained HTML: a data URI with shapes drawn over it."""

import base64
import io
import math
from collections.abc import Iterator, Mapping, Sequence

from PIL.Image import Image, Resampling

from residency.data.volumes import Slices
from residency.evaluate.charts import text
from residency.types import Answer, Box, Box3D, Point

LARGEST = 256  # pixels per side of an embedded image
Shape = Box | Point


def png(image: Image, largest: int = LARGEST) -> str:
    """A data URI; larger images are reduced, small ones left to the browser to enlarge."""
    return _uri(_reduced(image, largest), "PNG", optimize=True)


def picture(image: Image, largest: int = LARGEST) -> str:
    """A data URI of at most about 20 kB: PNG where that is small, else JPEG."""
    small = _reduced(image, largest)
    exact = _uri(small, "PNG", optimize=True)
    return exact if len(exact) < 20_000 else _uri(small, "JPEG", quality=82)


def _reduced(image: Image, largest: int) -> Image:
    small = image.convert("RGB")
    small.thumbnail((largest, largest), Resampling.LANCZOS)
    return small


def _uri(image: Image, kind: str, **how: int | bool) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **how)
    coded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{coded}"


def best_frame(answer: Answer, attributes: Mapping[str, object]) -> int:
    """The image to show: the first, or of a volume the slice that most boxes of the answer cross."""
    if "slices" not in attributes:
        return 0
    places = _slices(attributes).places
    cubes = [entry for entry in answer if isinstance(entry, Box3D)]
    middle = len(places) // 2
    crossed = [sum(c.z1 <= place < c.z2 for c in cubes) for place in places]
    return max(range(len(places)), key=lambda n: (crossed[n], -abs(n - middle)))


def shapes(
    answer: Answer, attributes: Mapping[str, object], frame: int, size: tuple[int, int]
) -> Iterator[Shape]:
    """Boxes and points of one image in its pixels; of cuboids, what they show in this slice."""
    for entry in answer:
        if isinstance(entry, Box | Point):
            yield entry
        elif isinstance(entry, Box3D) and "slices" in attributes:
            slices = _slices(attributes)
            if entry.z1 <= slices.places[frame] < entry.z2:
                low, high = (entry.x1, entry.y1), (entry.x2, entry.y2)
                if not slices.as_stored:  # turned: front up, the patient's right at the left
                    low, high = (
                        (size[0] - high[0], size[1] - high[1]),
                        (size[0] - low[0], size[1] - low[1]),
                    )
                yield Box(name=entry.name, x1=low[0], y1=low[1], x2=high[0], y2=high[1])


def _slices(attributes: Mapping[str, object]) -> Slices:
    return Slices.of({key: str(value) for key, value in attributes.items()})


def drawn(shape: Shape, longest: int, style: str) -> str:
    """A box or a point as SVG; `style` is its attributes, '' comes back for what is not finite."""
    numbers: Sequence[float] = (
        (shape.x1, shape.y1, shape.x2, shape.y2)
        if isinstance(shape, Box)
        else (shape.x, shape.y, longest / 60, 0)
    )
    if not all(map(math.isfinite, numbers)):
        return ""
    first, second, third, fourth = numbers
    tail = f"{style}><title>{text(shape.name)}</title>"
    if isinstance(shape, Box):
        across, down = max(third - first, 0), max(fourth - second, 0)
        return (
            f'<rect x="{first:g}" y="{second:g}" width="{across:g}" height="{down:g}" {tail}</rect>'
        )
    return f'<circle cx="{first:g}" cy="{second:g}" r="{third:g}" {tail}</circle>'


def crossed(said: Point, meant: Point | None, longest: int) -> str:
    """A predicted point as a cross, with a line to where it should be; '' for what is not finite."""
    if not math.isfinite(said.x + said.y):
        return ""
    arm = longest / 55
    lines = [(-arm, -arm, arm, arm), (-arm, arm, arm, -arm)]
    path = "".join(
        f"M{said.x + x1:g} {said.y + y1:g}L{said.x + x2:g} {said.y + y2:g}"
        for x1, y1, x2, y2 in lines
    )
    tie = f"M{said.x:g} {said.y:g}L{meant.x:g} {meant.y:g}" if meant else ""
    title = f"<title>{text(said.name)}</title>"
    return (
        f'<path class="tie" d="{tie}"/>' if tie else ""
    ) + f'<path class="rim" d="{path}"/><path class="shape" d="{path}">{title}</path>'

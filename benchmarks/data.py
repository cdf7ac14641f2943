"""Samples per CPU second from disk to a decoded image: 28x28 npz, 512x512 JPEG, DICOM, peers beside us.

python benchmarks/data.py --json data.json

Made-up files of each kind are written once, then read in a shuffled order by one thread: by us (a
reader's samples, with every check that training relies on), by a plain PyTorch `DataLoader` whose
`__getitem__` does the least that gives the same pixels (numpy, Pillow or pydicom), and by Hugging Face
`datasets` (JPEG through its `Image` feature; absent where it is not installed). The first pass warms the
page cache and is not counted; the median of the others is. `index` is our first look at every row:
decoding, hashing and checking, once per data set; `again` is the same from the index.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
import numpy as np
import PIL.Image
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from residency.data.index import Index
from residency.dataset import Dataset, open_dataset

SEED, PASSES = 0, 3


@dataclass(frozen=True, slots=True)
class Row:
    """Samples per CPU second of one kind of file, by reader; None where a peer cannot read it here."""

    kind: str
    n: int
    ours: float
    torch_plain: float
    hf_datasets: float | None
    index: float
    again: float


def write_npz(folder: Path, n: int) -> Path:
    """BreastMNIST's layout at 28x28."""
    rng = np.random.default_rng(SEED)
    arrays: dict[str, Any] = {}
    for split, count in (("train", n), ("val", 2), ("test", 2)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, 28, 28), np.uint8)
        arrays[f"{split}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % 2
    path = folder / "breastmnist.npz"
    np.savez_compressed(path, **arrays)
    return path


def write_jpeg(folder: Path, n: int) -> Path:
    """512x512 photographs of smooth noise in class folders."""
    rng = np.random.default_rng(SEED)
    for number in range(n):
        small = rng.integers(0, 256, (32, 32, 3), np.uint8)
        image = PIL.Image.fromarray(small).resize((512, 512), PIL.Image.Resampling.BICUBIC)
        target = folder / "jpeg" / "train" / f"class{number % 2}" / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        image.save(target, quality=90)
    return folder / "jpeg"


def write_dicom(folder: Path, n: int) -> Path:
    """512x512 CT slices of 12 bits, uncompressed, with a table of labels."""
    from pydicom.dataset import Dataset as Header
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    rng = np.random.default_rng(SEED)
    root = folder / "dicom"
    root.mkdir()
    lines = ["image,label,split"]
    for number in range(n):
        header = Header()
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = CTImageStorage
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        header.Modality, header.PatientID = "CT", f"P{number}"
        header.Rows = header.Columns = 512
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
        header.PixelRepresentation, header.RescaleSlope, header.RescaleIntercept = 0, 1, -1024
        header.WindowCenter, header.WindowWidth = 40, 400
        header.PixelData = rng.integers(0, 4096, (512, 512)).astype(np.uint16).tobytes()
        header.save_as(root / f"{number}.dcm", enforce_file_format=True)
        lines.append(f"{number}.dcm,{'ab'[number % 2]},train")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


class Plain(TorchDataset):  # type: ignore[type-arg]
    """The least code that gives an 8-bit array per index."""

    def __init__(self, n: int, load: Callable[[int], np.ndarray]) -> None:
        self.n, self.load = n, load

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> np.ndarray:
        return self.load(index)


def plain_loader(kind: str, path: Path) -> Callable[[int], np.ndarray]:
    """How one would read a file of this kind by hand."""
    if kind == "npz 28x28":
        images = np.load(path)["train_images"]
        return lambda index: np.repeat(images[index][..., None], 3, axis=2)
    if kind == "jpeg 512x512":
        files = sorted(path.rglob("*.jpg"))
        return lambda index: np.asarray(PIL.Image.open(files[index]).convert("RGB"))
    import pydicom

    files = sorted(path.glob("*.dcm"))

    def read(index: int) -> np.ndarray:
        dataset = pydicom.dcmread(files[index])
        values = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        grey = np.clip((values + 160) / 400, 0, 1) * 255
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)

    return read


def rate(n: int, run: Callable[[Sequence[int]], object]) -> float:
    """Samples per CPU second over shuffled passes, the median of all but the first."""
    seconds = []
    for number in range(PASSES + 1):
        order = np.random.default_rng(number).permutation(n).tolist()
        began = time.process_time()
        run(order)
        seconds.append(time.process_time() - began)
    return n / statistics.median(seconds[1:])


def loaded(data: Plain) -> Callable[[Sequence[int]], object]:
    """A pass of PyTorch's loader over an order; batches stay lists, so nothing is stacked."""
    return lambda order: sum(DataLoader(data, batch_size=16, sampler=order, collate_fn=len))


def ours(dataset: Dataset) -> Callable[[Sequence[int]], object]:
    """A pass of ours over an order."""
    samples = dataset.split("train")
    return lambda order: sum(samples[index].images[0].load().size[0] for index in order)


def hugging_face(kind: str, path: Path) -> Callable[[Sequence[int]], object] | None:
    """A pass of `datasets` over an order: the Image feature for JPEG; it has no reader for the others."""
    try:
        from datasets import Dataset as Arrow
        from datasets import Image as Feature
    except ImportError:
        return None
    if kind != "jpeg 512x512":
        return None
    table = Arrow.from_dict({"image": list(map(str, sorted(path.rglob("*.jpg"))))})
    table = table.cast_column("image", Feature())
    return lambda order: sum(table[index]["image"].convert("RGB").size[0] for index in order)


def looked_at(dataset: Dataset) -> float:
    """Rows per CPU second of reading the whole index."""
    began = time.process_time()
    count = sum(1 for _ in Index.open(dataset, "train").entries())
    return count / (time.process_time() - began)


def measure(kind: str, spec: str, path: Path) -> Row:
    """The row of one kind of file."""
    dataset = open_dataset(spec)
    n = len(dataset.split("train"))
    data = Plain(n, plain_loader(kind, path))
    peer = hugging_face(kind, path)
    return Row(
        kind=kind,
        n=n,
        index=looked_at(dataset),
        again=looked_at(dataset),
        ours=rate(n, ours(dataset)),
        torch_plain=rate(n, loaded(data)),
        hf_datasets=rate(n, peer) if peer else None,
    )


def main() -> None:
    """Write the files, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument(
        "--n", type=int, default=256, help="files of each kind (npz: ten times as many)"
    )
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["RESIDENCY_CACHE"], os.environ["RESIDENCY_SALT"] = (
            str(folder / "cache"),
            "benchmark",
        )
        path = write_npz(folder, 10 * options.n)
        rows.append(measure("npz 28x28", f"medmnist:{path}", path))
        path = write_jpeg(folder, options.n)
        rows.append(measure("jpeg 512x512", f"folder:{path}", path))
        path = write_dicom(folder, options.n)
        rows.append(measure("dicom 512x512", f"dicom:{path}", path))
    print("samples per CPU second")
    names = [name for name in Row.__dataclass_fields__ if name not in ("kind", "n")]
    print(f"{'':<15}{'n':>7}" + "".join(f"{name:>15}" for name in names))
    for row in rows:
        cells = [getattr(row, name) for name in names]
        shown = (f"{cell:>15,.0f}" if cell is not None else f"{'-':>15}" for cell in cells)
        print(f"{row.kind:<15}{row.n:>7}" + "".join(shown))
    figures.write(rows, options.json)


if __name__ == "__main__":
    main()

"""MedMNIST v2/v3: twelve sets of small 2D images (Yang et al., Scientific Data 2023; CC BY 4.0).

On disk, as published: `<flag>.npz` (28 x 28) or `<flag>_{64,128,224}.npz`, each with the arrays
{train,val,test}_{images,labels}: images uint8 [n, s, s] or [n, s, s, 3], labels [n, 1] class
indices, for chestmnist [n, 14] zeros and ones. DermaMNIST is CC BY-NC 4.0. Label names, split
sizes and md5 sums are those of MedMNIST's own `info.py`, version 3.0.2.
"""

import functools
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL.Image import Image

from residency.catalog import suggest
from residency.data.images import array_image
from residency.data.npz import Archive
from residency.data.published import Published
from residency.data.rows import Rows
from residency.dataset import Dataset
from residency.errors import DataError
from residency.types import Answer, Picture, Sample

SIZES = (28, 64, 128, 224)
MAX_ROWS = 2_000_000  # twelve times the largest published split: stops a zip bomb
SPLITS = ("train", "val", "test")
SOURCE = "MedMNIST 3.0.2, zenodo.org/records/10519652"


@dataclass(frozen=True)
class Flag:
    """The published facts of one set: counts per split, and one md5 per size of `SIZES`."""

    labels: tuple[str, ...]
    modality: tuple[str, str]
    counts: tuple[int, int, int]
    md5: tuple[str, ...]
    multi_label: bool = False
    licence: str = "CC BY 4.0"


ORGANS = (
    "bladder; femur-left; femur-right; heart; kidney-left; kidney-right; liver; "
    "lung-left; lung-right; pancreas; spleen"
)
# Labels in class order; counts of train, val, test; md5 at 28, 64, 128, 224 pixels.
PUBLISHED: tuple[tuple[str, str, tuple[str, str], tuple[int, int, int], str], ...] = (
    (
        "pathmnist",
        "adipose; background; debris; lymphocytes; mucus; smooth muscle; "
        "normal colon mucosa; cancer-associated stroma; colorectal adenocarcinoma epithelium",
        ("colon pathology", "结肠病理"),
        (89996, 10004, 7180),
        "a8b06965200029087d5bd730944a56c1 55aa9c1e0525abe5a6b9d8343a507616 "
        "ac42d08fb904d92c244187169d1fd1d9 2c51a510bcdc9cf8ddb2af93af1eadec",
    ),
    (
        "chestmnist",
        "atelectasis; cardiomegaly; effusion; infiltration; mass; nodule; pneumonia; "
        "pneumothorax; consolidation; edema; emphysema; fibrosis; pleural; hernia",
        ("chest X-ray", "胸部X光"),
        (78468, 11219, 22433),
        "02c8a6516a18b556561a56cbdd36c4a8 9de6cd0b934ebb5b7426cfba5efbae16 "
        "db107e5590b27930b62dbaf558aebee3 45bd33e6f06c3e8cdb481c74a89152aa",
    ),
    (
        "dermamnist",
        "actinic keratoses and intraepithelial carcinoma; basal cell carcinoma; "
        "benign keratosis-like lesions; dermatofibroma; melanoma; melanocytic nevi; "
        "vascular lesions",
        ("dermatoscope", "皮肤镜"),
        (7007, 1003, 2005),
        "0744692d530f8e62ec473284d019b0c7 b70a2f5635c6199aeaa28c31d7202e1f "
        "2defd784463fa5243564e855ed717de1 8974907d8e169bef5f5b96bc506ae45d",
    ),
    (
        "octmnist",
        "choroidal neovascularization; diabetic macular edema; drusen; normal",
        ("retinal OCT", "视网膜OCT"),
        (97477, 10832, 1000),
        "c68d92d5b585d8d81f7112f81e2d0842 e229e9440236b774d9f0dfef9d07bdaf "
        "0a97e76651ace45c5d943ee3f65b63ae abc493b6d529d5de7569faaef2773ba3",
    ),
    (
        "pneumoniamnist",
        "normal; pneumonia",
        ("chest X-ray", "胸部X光"),
        (4708, 524, 624),
        "28209eda62fecd6e6a2d98b1501bb15f 8f4eceb4ccffa70c672198ea285246c6 "
        "05b46931834c231683c68f40c47b2971 d6a3c71de1b945ea11211b03746c1fe1",
    ),
    (
        "retinamnist",
        "0; 1; 2; 3; 4",
        ("fundus", "眼底"),
        (1080, 120, 400),
        "bd4c0672f1bba3e3a89f0e4e876791e4 afda852cc34dcda56f86ad2b2457dbcc "
        "e48e916a24454daf90583d4e6efb1a18 eae7e3b6f3fcbda4ae613ebdcbe35348",
    ),
    (
        "breastmnist",
        "malignant; normal, benign",
        ("breast ultrasound", "乳腺超声"),
        (546, 78, 156),
        "750601b1f35ba3300ea97c75c52ff8f6 742edef2a1fd1524b2efff4bd7ba9364 "
        "363e4b3f8d712e9b5de15470a2aaadf1 b56378a6eefa9fed602bb16d192d4c8b",
    ),
    (
        "bloodmnist",
        "basophil; eosinophil; erythroblast; "
        "immature granulocytes(myelocytes, metamyelocytes and promyelocytes); lymphocyte; "
        "monocyte; neutrophil; platelet",
        ("blood cell microscope", "血细胞显微"),
        (11959, 1712, 3421),
        "7053d0359d879ad8a5505303e11de1dc 2b94928a2ae4916078ca51e05b6b800b "
        "adace1e0ed228fccda1f39692059dd4c b718ff6835fcbdb22ba9eacccd7b2601",
    ),
    (
        "tissuemnist",
        "Collecting Duct, Connecting Tubule; Distal Convoluted Tubule; "
        "Glomerular endothelial cells; Interstitial endothelial cells; Leukocytes; "
        "Podocytes; Proximal Tubule Segments; Thick Ascending Limb",
        ("kidney cortex microscope", "肾皮质显微"),
        (165466, 23640, 47280),
        "ebe78ee8b05294063de985d821c1c34b 123ece2eba09d0aa5d698fda57103344 "
        "61b955355d7425a89687b06cca3ce0c2 b077128c4a949f0a4eb01517f9037b9c",
    ),
    (
        "organamnist",
        ORGANS,
        ("abdominal CT", "腹部CT"),
        (34561, 6491, 17778),
        "68e3f8846a6bd62f0c9bf841c0d9eacc 2dcccc29b88e6da5a01161ef20cda288 "
        "eeae80d0a227a8d099027e1b3cfd3b60 50747347e05c87dd3aaf92c49f9f3170",
    ),
    (
        "organcmnist",
        ORGANS,
        ("abdominal CT", "腹部CT"),
        (12975, 2392, 8216),
        "b9ceb9546e10131b32923c5bbeaea2b1 3ce34a8724ea6f548e6db4744d03b6a9 "
        "773c1f009daa3fe5d9a2a201b2a7ed94 050f5e875dc056f6768abf94ec9995d1",
    ),
    (
        "organsmnist",
        ORGANS,
        ("abdominal CT", "腹部CT"),
        (13932, 2452, 8827),
        "9ab87b696fb54e2a387ebe992d6ed5f1 53a6d115339d874c25e309a994ff46d3 "
        "ded0c5fa01a95dc4978b956f613e9b8e b354719e553fbbb2513d5533f52a4cb1",
    ),
)
FLAGS = {
    name: Flag(
        labels=tuple(labels.split("; ")),
        modality=modality,
        counts=counts,
        md5=tuple(md5.split()),
        multi_label=name == "chestmnist",
        licence="CC BY-NC 4.0" if name == "dermamnist" else "CC BY 4.0",
    )
    for name, labels, modality, counts, md5 in PUBLISHED
}
# What UMIT asks (its figures), in wordings that put a question of the sample.
QUESTIONS = {
    "pathmnist": "Which type of tissue does this image represent?",
    "dermamnist": "Which disease does this dermatoscopic image represent?",
    "octmnist": "Which type of tissue does this image represent?",
    "pneumoniamnist": "Does this chest X-ray image show a normal lung?",
    "breastmnist": "Does this breast ultrasound image show malignant tissue or normal tissue?",
    "bloodmnist": "What type of blood cell is shown in this image?",
    "organcmnist": "Which organ is shown in this CT image?",
}
ABOUT = Published(
    name="medmnist",
    title="MedMNIST 2D, twelve sets",
    task="classification",
    sizes={"train": 518_175, "val": 70_467, "test": 119_320},
    metric="accuracy, macro-F1",
    source="zenodo.org/records/10519652",
    licence="CC BY 4.0 (DermaMNIST CC BY-NC 4.0)",
    access="open download",
    tested_on="real",
)


def recognises(path: Path) -> bool:
    """Whether it is an `.npz` file (what is wrong with it is said by `load`)."""
    return path.suffix == ".npz" and path.is_file()


def load(where: str) -> Dataset:
    """Open a MedMNIST file: a path, or `<flag>` / `<flag>_<size>` in the folder $RESIDENCY_DATA.

    Raises:
        DataError: missing, truncated, a Git LFS pointer, not one of the twelve sets, arrays of
            another shape, or a label outside the set.
    """
    path = _find(where)
    _refuse_pointer(path)
    archive = Archive(path)
    present = archive.names()
    name, flag, size = _identify(path, present)
    wanted = {f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels")}
    if missing := sorted(wanted - present):
        raise DataError(
            f"{path.name} lacks the arrays {', '.join(missing)}; it has "
            f"{', '.join(sorted(present)) or 'none'}. A MedMNIST file has images and labels of "
            "train, val and test."
        )
    labels = {split: _labels(archive, split, flag, size) for split in SPLITS}
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "md5").hexdigest()
    splits = {
        split: Rows(
            len(labels[split]),
            functools.partial(_sample, archive, labels[split], name, flag, split, digest),
        )
        for split in SPLITS
    }
    return Dataset(
        name=path.stem,
        splits=splits,
        labels=flag.labels,
        multi_label=flag.multi_label,
        modality=dict(zip(("en", "zh"), flag.modality, strict=True)),
        digest=digest,
        source=SOURCE,
        licence=flag.licence,
        notes=_notes(flag, size, digest, labels, present - wanted),
    )


def _find(where: str) -> Path:
    """The file that the argument means."""
    flags = ", ".join(FLAGS)
    if not where:
        raise DataError(f"medmnist needs a file or a flag: medmnist:FLAG, with FLAG in {flags}.")
    path = Path(where)
    if path.is_file():
        return path
    if path.suffix == ".npz" or "/" in where:
        raise DataError(f"No such file: {where!r}. Give the path of a MedMNIST .npz file.")
    if _parse(where) is None:
        raise DataError(
            f"No MedMNIST set named {where!r}.{suggest(where, list(FLAGS))} Flags: {flags}; "
            "append _64, _128 or _224 for the larger sizes."
        )
    folder = os.environ.get("RESIDENCY_DATA")
    if not folder:
        raise DataError(
            f"medmnist:{where} is looked up in the folder $RESIDENCY_DATA, which is not set. Set "
            f"it, or give the path of {where}.npz ({SOURCE})."
        )
    path = Path(folder) / f"{where}.npz"
    if not path.is_file():
        raise DataError(f"No {where}.npz in $RESIDENCY_DATA ({folder}). Get it from {SOURCE}.")
    return path


def _parse(stem: str) -> tuple[str, int] | None:
    """Flag and size of a file name without suffix, None where it is not a published name."""
    match = re.fullmatch(r"([a-z]+)(?:_(64|128|224))?", stem)
    if match is None or match[1] not in FLAGS:
        return None
    return match[1], int(match[2] or 28)


def _refuse_pointer(path: Path) -> None:
    with path.open("rb") as stream:
        head = stream.read(512)
    if not head.startswith(b"version https://git-lfs"):
        return
    size = re.search(rb"size (\d+)", head)
    facts = [f"{int(size[1]) / 1e6:.1f} MB"] if size else []
    if parsed := _parse(path.stem):
        facts.append(f"md5 {FLAGS[parsed[0]].md5[SIZES.index(parsed[1])]}")
    detail = f" ({', '.join(facts)})" if facts else ""
    raise DataError(
        f"{path.name} is a Git LFS pointer ({path.stat().st_size} bytes), not an npz. "
        f"Fetch the real file{detail} with `git lfs pull`, or from {SOURCE}."
    )


def _identify(path: Path, present: set[str]) -> tuple[str, Flag, int]:
    """Name, facts and size, by the file name: the arrays alone do not tell two sets apart."""
    parsed = _parse(path.stem)
    if parsed is not None:
        return path.stem, FLAGS[parsed[0]], parsed[1]
    looks = "looks like MedMNIST, but " if "train_images" in present else ""
    raise DataError(
        f"{path.name} {looks}is not named after a MedMNIST set, so its labels are unknown."
        f"{suggest(path.stem, list(FLAGS))} Rename it to FLAG.npz or FLAG_{{64,128,224}}.npz; "
        f"flags: {', '.join(FLAGS)}."
    )


def _labels(archive: Archive, split: str, flag: Flag, size: int) -> np.ndarray:
    """Checked labels of a split, int64 [n] or [n, c]; the images are checked by their header."""
    file = archive.path.name
    shape, dtype = archive.header(f"{split}_images")
    if (
        dtype != np.uint8
        or shape[1:] not in ((size, size), (size, size, 3))
        or not (0 < shape[0] <= MAX_ROWS)
    ):
        raise DataError(
            f"{file}: {split}_images is {dtype} {list(shape)}; expected uint8 [n, {size}, {size}] "
            f"or [n, {size}, {size}, 3] with n from 1 to {MAX_ROWS}, by the file name."
        )
    width = len(flag.labels) if flag.multi_label else 1
    label_shape, label_dtype = archive.header(f"{split}_labels")
    allowed = [(shape[0], width)] + ([] if flag.multi_label else [(shape[0],)])
    if label_shape not in allowed or label_dtype.kind not in "iub":
        raise DataError(
            f"{file}: {split}_labels is {label_dtype} {list(label_shape)}; expected integers "
            f"[{shape[0]}, {width}], one row per image."
        )
    labels = archive.array(f"{split}_labels").astype(np.int64).reshape(shape[0], width)
    limit = 2 if flag.multi_label else len(flag.labels)
    outside = np.argwhere((labels < 0) | (labels >= limit))
    if len(outside):
        row, column = outside[0]
        raise DataError(
            f"{file}: {split} row {row} has label {labels[row, column]}; allowed: 0 to {limit - 1} "
            f"({len(outside)} such values in {split}). Fix the file, or fetch the published one."
        )
    return labels if flag.multi_label else labels[:, 0]


def _decode(archive: Archive, split: str, row: int) -> Image:
    return array_image(archive.array(f"{split}_images")[row])


def _sample(
    archive: Archive, labels: np.ndarray, name: str, flag: Flag, split: str, digest: str, row: int
) -> Sample:
    answer: Answer = (
        tuple(flag.labels[column] for column in np.flatnonzero(labels[row]))
        if flag.multi_label
        else flag.labels[labels[row]]
    )
    base, size = _parse(name) or (name, SIZES[0])
    picture = Picture(
        key=f"medmnist/{base}/{size}/{digest[:12]}/{split}/{row}",
        load=functools.partial(_decode, archive, split, row),
        size=(size, size),
    )
    return Sample(
        id=f"{name}/{split}/{row}",
        dataset=name,
        task="classification",
        answer=answer,
        images=(picture,),
        question=QUESTIONS.get(base, ""),
        options=flag.labels,
        modality=flag.modality[0],
    )


def _notes(
    flag: Flag, size: int, digest: str, labels: dict[str, np.ndarray], extra: set[str]
) -> tuple[str, ...]:
    """What differs from the published file."""
    notes = []
    official = flag.md5[SIZES.index(size)]
    if digest != official:
        notes.append(f"Unofficial file: md5 {digest}, published {official}.")
    counts = tuple(len(labels[split]) for split in SPLITS)
    if counts != flag.counts:
        notes.append(
            f"Split sizes train/val/test {'/'.join(map(str, counts))} differ from the published "
            f"{'/'.join(map(str, flag.counts))}."
        )
    if extra:
        notes.append(f"Ignored arrays: {', '.join(sorted(extra))}.")
    return tuple(notes)

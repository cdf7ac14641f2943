"""HAM10000: 10,015 dermatoscopic images of seven kinds of pigmented lesions (Tschandl et al., 2018).

Source: doi.org/10.7910/DVN/DBW86T, CC BY-NC 4.0 (also
kaggle.com/datasets/kmader/skin-cancer-mnist-ham10000), open download. On disk, as published:
`HAM10000_metadata.csv` (on Dataverse without a suffix) with columns lesion_id, image_id, dx,
dx_type, age, sex, localization (and dataset), and the images in `HAM10000_images_part_1/` and
`HAM10000_images_part_2/`, `<image_id>.jpg`. The owners publish no split of these images; here whole
lesions are split 70/10/20, seeded. DermaMNIST is the same images, split 70/10/20 without regard to
lesions (VITask uses that split). The labels are DermaMNIST's. A sample's group is its lesion.

tested on: fixture
"""

from pathlib import Path

from residency.data.labelled import (
    Folders,
    Labelled,
    labelled_dataset,
)
from residency.data.published import Defects, Published, first_of, one_of
from residency.data.records import read_table
from residency.data.splits import SHARES
from residency.dataset import Dataset

TABLES = ("HAM10000_metadata.csv", "HAM10000_metadata")
FOLDERS = ("HAM10000_images_part_1", "HAM10000_images_part_2", "images", "")
DIAGNOSES = {
    "akiec": "actinic keratoses and intraepithelial carcinoma",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis-like lesions",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevi",
    "vasc": "vascular lesions",
}
LABELS = tuple(DIAGNOSES.values())
ABOUT = Published(
    name="ham10000",
    title="HAM10000",
    task="classification",
    sizes={"all": 10_015},
    metric="accuracy, macro-F1",
    source="doi.org/10.7910/DVN/DBW86T",
    licence="CC BY-NC 4.0",
    access="open download",
    tested_on="fixture",
    modality={"en": "dermatoscope", "zh": "皮肤镜"},
)


def recognises(path: Path) -> bool:
    """The metadata table."""
    return one_of(path, *TABLES) is not None


def load(where: str) -> Dataset:
    """Open the folder that holds the metadata and the folders of images.

    Raises:
        DataError: not there, or no table of the published columns.
    """
    root, defects = ABOUT.locate(where), Defects()
    table, folders = first_of(root, *TABLES), Folders(root, FOLDERS)
    wanted = ("lesion_id", "image_id", "dx", "dx_type", "localization")
    rows = [
        Labelled(
            key=image,
            image=folders.path(image, f"{FOLDERS[0]}/{image}.jpg") if image else "",
            label=DIAGNOSES.get(dx, dx),
            group=lesion,
            facts=(("confirmed_by", confirmed), ("localization", place)),
        )
        for lesion, image, dx, confirmed, place in read_table(table, wanted, defects)
    ]
    return labelled_dataset(
        ABOUT,
        rows,
        root,
        LABELS,
        table=table,
        shares=SHARES,
        defects=defects,
    )

"""How well CheXmask could segment a frontal chest radiograph of MIMIC-CXR (Gaggion et al., 2024).

InstFree leaves out images of a reverse classification accuracy below .7: most are no frontal chest.
"""

from pathlib import Path

from residency.data.published import Defects, one_of
from residency.data.records import read_table

TABLES = ("MIMIC-CXR-JPG.csv", "chexmask.csv")
LEAST = 0.7  # the least mean reverse classification accuracy


def qualities(root: Path, defects: Defects) -> dict[str, float]:
    """The mean accuracy by dicom id; lateral images are not in the table. Empty, with a note, without one."""
    table = one_of(root, *TABLES)
    if table is None:
        defects.notes.append("No table of CheXmask: images are not filtered by it.")
        return {}
    found = {}
    for name, quality in read_table(table, ("dicom_id", "Dice RCA (Mean)"), defects):
        try:
            found[name] = float(quality)
        except ValueError:
            defects.add("Rows of CheXmask without a number (passed over)")
    return found

"""Data sets that Hugging Face `datasets` saved on disk (`save_to_disk`), read with pyarrow alone.

On disk: `dataset_dict.json` and a folder per split, or one split: `state.json` (the names of its Arrow
files), `dataset_info.json` (features, class names, licence), `data-00000-of-00001.arrow`. Nothing is
imported from `datasets`, and no loading script is run. Source and licence are the owner's.
"""

from pathlib import Path
from typing import Any

from residency.data.arrow import as_dataset, read_arrow
from residency.data.documents import read_json
from residency.data.splits import SYNONYMS
from residency.dataset import Dataset
from residency.errors import DataError


def recognises(path: Path) -> bool:
    """Whether it is a folder that `save_to_disk` wrote; never raises."""
    try:
        return path.is_dir() and any(
            (path / name).is_file() for name in ("dataset_dict.json", "state.json")
        )
    except OSError:
        return False


def load(where: str) -> Dataset:
    """Open a folder of `save_to_disk`.

    Raises:
        DataError: no such folder, a state that does not name its files, or columns of no known shape.
    """
    root = Path(where)
    if not where or not recognises(root):
        raise DataError(f"{where!r} is no folder of `save_to_disk`. Write huggingface:FOLDER.")
    folders = {"": root}
    if (root / "dataset_dict.json").is_file():
        listed = _object(root / "dataset_dict.json").get("splits")
        if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
            raise DataError(f"{root / 'dataset_dict.json'} does not list its splits.")
        folders = {SYNONYMS.get(name.lower(), ""): root / name for name in listed}
        if "" in folders or len(folders) < len(listed):
            raise DataError(
                f"{root} has splits {', '.join(map(str, listed))}; allowed, each once: "
                f"{', '.join(SYNONYMS)}. "
                "Rename the folders and dataset_dict.json, or open one folder."
            )
    tables = {}
    names: tuple[str, ...] = ()
    licence = ""
    for split, folder in folders.items():
        tables[split] = read_arrow(_shards(folder))
        info = _object(folder / "dataset_info.json")
        names, licence = names or _names(info), licence or str(info.get("license") or "")
    return as_dataset(root.resolve().name, tables, root, names=names, licence=licence)


def _object(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path} holds no object with keys.")
    return value


def _shards(folder: Path) -> list[Path]:
    """The Arrow files that the state names, all inside the folder."""
    state = _object(folder / "state.json")
    files = state.get("_data_files")
    names = [entry.get("filename") for entry in files or [] if isinstance(entry, dict)]
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise DataError(f"{folder / 'state.json'} does not name the Arrow files of its folder.")
    if state.get("_indices_data_files"):
        raise DataError(f"{folder} is a selection by index. Save it after `flatten_indices()`.")
    return [folder / str(name) for name in names]


def _names(info: dict[str, Any]) -> tuple[str, ...]:
    """The class names of the column `label`."""
    features = info.get("features")
    label = features.get("label") if isinstance(features, dict) else None
    names = label.get("names") if isinstance(label, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) else ()

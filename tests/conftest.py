"""Shared fixtures; nothing of residency is imported here, for jaxtyping must hook it first."""

import os
import tempfile
from pathlib import Path

# What tests learn about files is no one else's.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="residency-tests-")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Whether features are kept is decided by the clock: runs with equal seeds would differ in rounding.
os.environ["RESIDENCY_CACHE_GIB"] = "0"

import pytest
import torch

torch.set_num_threads(1)

REPOSITORY = Path(__file__).resolve().parent.parent


def shared_data_folder() -> Path:
    return Path(os.environ.get("RESIDENCY_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))


# Files with few tests that take long; two workers end together if these start first.
LONG = ("test_vitask_end_to_end", "test_trainer", "test_families", "test_readers", "test_stage")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in LONG)  # stable: else the order of names
    folder = shared_data_folder()
    if folder.is_dir():
        return
    skip = pytest.mark.skip(reason=f"no real images at {folder}: set RESIDENCY_SHARED_DATA")
    for item in items:
        if "shared_data" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images; the test skips where it is absent."""
    folder = shared_data_folder()
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}: set RESIDENCY_SHARED_DATA")
    return folder

"""Progress bars: ours of an evaluation on a terminal alone, none of transformers for weights."""

from collections.abc import Iterator
from io import StringIO

import pytest
from huggingface_hub.utils import are_progress_bars_disabled
from rich.console import Console
from transformers.utils import logging

from residency.cli import _quiet_loading
from residency.evaluate.progress import watched


def test_a_terminal_sees_count_and_time_left() -> None:
    written = StringIO()
    with watched(
        "smear plain", console=Console(file=written, force_terminal=True, width=100)
    ) as show:
        assert show is not None
        show(32, 300)
    assert "smear plain" in written.getvalue()
    assert "32/300" in written.getvalue()


def test_a_file_gets_nothing() -> None:
    written = StringIO()
    with watched("smear plain", console=Console(file=written)) as show:
        assert show is None
    assert written.getvalue() == ""


@pytest.fixture
def bars() -> Iterator[None]:
    """Bars of transformers and of the hub, as a fresh process has them."""
    logging.enable_progress_bar()
    yield
    logging.enable_progress_bar()


@pytest.mark.usefixtures("bars")
def test_weights_load_without_a_bar_and_downloads_keep_theirs() -> None:
    downloads = are_progress_bars_disabled()
    _quiet_loading()
    assert not logging.is_progress_bar_enabled()
    assert are_progress_bars_disabled() == downloads

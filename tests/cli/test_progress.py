"""Progress is a line on a terminal, renewed while it lasts, and nothing elsewhere."""

import io
import threading
from types import SimpleNamespace

import pytest

from service.cli import progress as progress_module
from service.cli.progress import Progress


class Terminal(io.StringIO):
    """A stderr that somebody looks at, and that says when something was written."""

    def __init__(self):
        super().__init__()
        self.written = threading.Event()

    def isatty(self):
        return True

    def flush(self):
        self.written.set()


@pytest.fixture
def terminal(monkeypatch):
    shown = Terminal()
    # Only there: pytest puts its own stderr back before the test begins.
    monkeypatch.setattr(progress_module, "sys", SimpleNamespace(stderr=shown))
    return shown


def test_a_terminal_is_told_how_far_it_is_and_wiped(terminal):
    with Progress("Read", every_s=0.001) as progress:
        progress.advance(1234)
        progress.advance(1)
        assert terminal.written.wait(10)
        while "1,235 rows" not in terminal.getvalue():
            terminal.written.clear()
            assert terminal.written.wait(10)

    assert "\rRead 1,235 rows, 0 s" in terminal.getvalue()
    assert terminal.getvalue().rpartition("\r")[2] == ""


def test_without_rows_it_is_the_time(terminal):
    with Progress("Checking", every_s=0.001):
        assert terminal.written.wait(10)

    assert "\rChecking, 0 s" in terminal.getvalue()


def test_what_is_quick_shows_nothing(terminal):
    with Progress("Read", every_s=60):
        pass

    assert terminal.getvalue() == ""


def test_nothing_is_shown_where_it_is_not_wanted_or_no_terminal(terminal, monkeypatch):
    with Progress("Read", is_shown=False, every_s=0.001):
        assert not terminal.written.wait(0.05)
    monkeypatch.setattr(terminal, "isatty", lambda: False)
    with Progress("Read", every_s=0.001):
        assert not terminal.written.wait(0.05)

    assert terminal.getvalue() == ""

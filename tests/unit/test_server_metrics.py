"""The folder in which workers put their metrics together: whose it is, and when it goes."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from service import server
from service.server import child_exit, pre_fork, share_metrics


@pytest.fixture
def shared(monkeypatch, tmp_path):
    """`shared()`: the folder that this process, as a master, has made; None before it has."""
    monkeypatch.setattr(server, "_metrics_folder", None)
    monkeypatch.setattr(server, "_master", None)
    monkeypatch.setattr(server.atexit, "register", lambda *at_exit: None)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "the one of a master that this one was started by")
    return lambda: server._metrics_folder


def test_a_reload_keeps_what_was_counted(shared, tmp_path):
    share_metrics(tmp_path)
    made = shared()
    (made / "counter_7.db").touch()
    share_metrics(tmp_path)

    assert list(tmp_path.iterdir()) == [made]
    assert list(made.iterdir()) == [made / "counter_7.db"]
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(made)
    assert made.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_ends_the_master(shared, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        share_metrics(tmp_path / "none")

    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("obol: OBOL_METRICS_DIR is not valid: ")
    assert shared() is None


def test_only_the_master_removes_it(shared, tmp_path, monkeypatch):
    share_metrics(tmp_path)
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    server._remove_metrics()
    assert shared().exists()

    monkeypatch.setattr(os, "getpid", lambda: pid)
    server._remove_metrics()
    server._remove_metrics()
    assert not shared().exists()


def test_another_user_s_folder_is_left_alone(shared, tmp_path, monkeypatch):
    theirs = tmp_path / "obol-metrics-theirs"
    theirs.mkdir()
    os.utime(theirs, (0, 0))
    monkeypatch.setattr(os, "geteuid", lambda: theirs.stat().st_uid + 1)
    share_metrics(tmp_path)

    assert theirs.exists()


def test_a_dead_worker_leaves_the_gauges_and_its_counts_stay(shared, tmp_path):
    share_metrics(tmp_path)
    for name in ("counter_7", "histogram_7", "gauge_livesum_7", "gauge_liveall_7", "gauge_livesum_8"):
        (shared() / f"{name}.db").touch()

    child_exit(None, SimpleNamespace(pid=7))

    assert sorted(file.stem for file in shared().iterdir()) == ["counter_7", "gauge_livesum_8", "histogram_7"]


def test_a_worker_that_becomes_another_user_can_write_there(shared, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(os, "chown", lambda *to: given.append(to))
    share_metrics(tmp_path)
    pre_fork(None, SimpleNamespace(cfg=SimpleNamespace(uid=33, gid=34)))

    assert given == [(shared(), 33, 34)]


def test_hooks_without_a_folder_do_nothing(shared):
    worker = SimpleNamespace(pid=7, cfg=None)
    pre_fork(None, worker)
    child_exit(None, worker)
    server._remove_metrics()

    assert shared() is None


@pytest.mark.parametrize(
    "master",
    [
        "service.server, service.worker",
        "service.server; service.server.when_ready(None)",
        "service.cli, service.dev.sandbox",
    ],
)
def test_the_master_does_not_decide_that_figures_are_each_worker_s_own(master):
    # prometheus_client decides it when it is imported, and what the master has imported its workers have.
    said = f"import sys, {master}; print([n for n in sys.modules if n in ('service.metrics', 'prometheus_client')])"
    assert subprocess.run([sys.executable, "-c", said], capture_output=True, check=True).stdout == b"[]\n"

"""Files with secrets are read by their owner alone, and are whole or not there."""

import stat

from service.dev.private_file import write_private


def test_a_private_file_is_private_also_over_what_a_crash_left(tmp_path):
    file = tmp_path / "secret"
    leftover = tmp_path / "secret.unfinished"
    leftover.write_text("half of a longer one")
    leftover.chmod(0o600)
    write_private(file, "whole")

    assert file.read_text() == "whole"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not leftover.exists()

"""Files with secrets of development mode."""

from pathlib import Path


def write_private(file: Path, content: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    unfinished = file.with_name(file.name + ".unfinished")
    unfinished.touch(mode=0o600)
    unfinished.write_text(content)
    unfinished.rename(file)

"""What setup.cfg cannot say: an installed Obol brings along what a checkout has at its root."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT_FILES = ("alembic.ini", "gunicorn.conf.py", "wsgi.py", "alembic/env.py", "alembic/script.py.mako")
MIGRATIONS = ("alembic/versions/*.py", "alembic/versions/*/*.sql")


class BuildWithRoot(build_py):
    """Copies them to service/_root, where service.migrations.ROOT finds them."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for file in (*ROOT_FILES, *(path for pattern in MIGRATIONS for path in Path().glob(pattern))):
            target = Path(self.build_lib, "service", "_root", file)
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(file), str(target))


setup(cmdclass={"build_py": BuildWithRoot})

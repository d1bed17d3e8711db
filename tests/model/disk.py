"""A folder for results that can be written to, or not."""

from __future__ import annotations

import shutil
import tempfile
from functools import cached_property
from pathlib import Path

__all__ = ["Disk"]


class Disk:
    """A folder, made when somebody asks for it."""

    is_broken = False

    @cached_property
    def _home(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="remote-tasks-model-"))

    @cached_property
    def path(self) -> Path:
        """Where results go."""
        folder = self._home / "results"
        folder.mkdir()
        return folder

    def break_(self) -> None:
        """Put a file where the folder was, which stops even root."""
        if not self.is_broken:
            shutil.rmtree(self.path)
            self.path.write_text("")
            self.is_broken = True

    def mend(self) -> None:
        """Put the folder back, empty."""
        if self.is_broken:
            self.path.unlink()
            self.path.mkdir()
            self.is_broken = False

    def remove(self) -> None:
        """Leave nothing."""
        if "_home" in self.__dict__:
            shutil.rmtree(self._home)

"""The README as a package index shows it, as the description of the package.

Hatch runs this when it builds. No other page lies beside a package, so links to pages become plain text, and
pictures are left out. It imports nothing of this repository, because a build has nothing of it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_PAGE = r"\((?!https?:)[^)]+\)"
_PICTURE = re.compile(rf"^!\[[^\]]*\]{_PAGE}\n+", re.MULTILINE)
_COMMENT = re.compile(r"^<!--.*?-->\n", re.MULTILINE)
_LINK = re.compile(rf"\[([^\]]+)\]{_PAGE}")


def without_relative_links(text: str) -> str:
    """Return Markdown in which links to other pages are plain text, for where they would lead nowhere."""
    return _LINK.sub(r"\1", _PICTURE.sub("", text))


class Description(MetadataHookInterface):
    """Sets the package's description."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add ``readme`` to the metadata of the project."""
        text = _COMMENT.sub("", (Path(self.root) / "README.md").read_text(encoding="utf-8"))
        metadata["readme"] = {"content-type": "text/markdown", "text": without_relative_links(text)}

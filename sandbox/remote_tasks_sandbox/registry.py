"""The vendors of the sandbox: every folder of this package that has a module ``vendor``.

A new one needs no entry anywhere else.
"""

from __future__ import annotations

from dataclasses import make_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from remote_tasks_sandbox.settings import Settings
from remote_tasks_sandbox.vendor import Vendor

__all__ = ["VENDORS", "new_settings"]


def _found() -> tuple[type[Vendor], ...]:
    folders = [module.name for module in iter_modules([str(Path(__file__).parent)]) if module.ispkg]
    return tuple(import_module(f"{__package__}.{name}.vendor").VENDOR for name in folders)


VENDORS = _found()

_All: Any = make_dataclass("Settings", [], bases=tuple(vendor.settings for vendor in VENDORS))


def new_settings() -> Settings:
    """Return the settings of all vendors in one object, with their defaults."""
    settings: Settings = _All()
    return settings

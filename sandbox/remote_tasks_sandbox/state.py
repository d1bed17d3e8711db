"""The sandbox as one object: its clock, settings, vendors, faults and journal behind one lock.

A test in the same process changes this object; other processes use the control plane, which calls it. The
vendors are all folders of this package that have a module ``vendor``: a new one needs no entry anywhere else.
"""

from __future__ import annotations

from dataclasses import make_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from remote_tasks_sandbox.clock import Clock, WallClock
from remote_tasks_sandbox.journal import Journal, RequestRecord
from remote_tasks_sandbox.vendor import Context, Vendor

__all__ = ["Sandbox"]


def _found() -> tuple[type[Vendor], ...]:
    folders = [module.name for module in iter_modules([str(Path(__file__).parent)]) if module.ispkg]
    return tuple(import_module(f"{__package__}.{name}.vendor").VENDOR for name in folders)


VENDORS = _found()

#: The settings of all vendors in one object, with their defaults.
_Settings: Any = make_dataclass("Settings", [], bases=tuple(vendor.settings for vendor in VENDORS))


class Sandbox(Context):
    """State and behaviour of the emulated services; thread safe.

    The account of each vendor is an attribute with the vendor's name. Its methods raise ``ValueError`` for a
    value that makes no sense.

    :param clock: what time it is; default the machine's clock, which can be advanced
    :param base_url: how clients reach the sandbox; part of the addresses it hands out
    """

    def __init__(self, clock: Clock | None = None, base_url: str = "http://127.0.0.1:8099") -> None:
        super().__init__(clock or WallClock(), _Settings(), base_url)
        self.journal = Journal({name for vendor in VENDORS for name in vendor.key_headers})
        self.vendors: dict[str, Vendor] = {vendor.name: vendor(self) for vendor in VENDORS}
        vars(self).update({name: vendor.account for name, vendor in self.vendors.items()})

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    @property
    def requests(self) -> list[RequestRecord]:
        """Return the requests to the emulated APIs, oldest first."""
        return self.journal.all()

    def reset(self) -> None:
        """Return to an empty sandbox: no tasks, faults or requests, default settings, clock not advanced."""
        with self.lock:
            for vendor in self.vendors.values():
                vendor.account.clear()
            self.journal.clear()
            self.limiter.clear()
            self.clock.reset()
            vars(self.settings).update(vars(_Settings()))
        self.faults.clear()

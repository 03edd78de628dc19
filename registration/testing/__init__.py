"""Test helpers for programs that use this package: a fake clock, a failing disk, contracts as test suites.

Public, with the same stability as the rest. `BackendContract` needs pytest; the others import without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registration.testing.clock import FakeClock as FakeClock
from registration.testing.lease_contract import LeaseContract as LeaseContract
from registration.testing.records_contract import RecordsContract as RecordsContract
from registration.testing.simulated_disk import Fault as Fault
from registration.testing.simulated_disk import PowerCut as PowerCut
from registration.testing.simulated_disk import SimulatedDisk as SimulatedDisk
from registration.testing.targets import TargetContract as TargetContract

if TYPE_CHECKING:
    from registration.testing.backend_contract import BackendContract as BackendContract


def __getattr__(name: str) -> Any:
    if name != "BackendContract":
        raise AttributeError(f"module 'registration.testing' has no attribute {name!r}")
    from registration.testing.backend_contract import BackendContract  # noqa: PLC0415  # a fake clock needs no pytest

    return BackendContract

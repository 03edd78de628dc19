"""For those who test what they build on this package: a clock that obeys, a disk that fails, contracts as tests.

Public, and kept like the rest.
"""

from __future__ import annotations

from registration.testing.clock import FakeClock as FakeClock
from registration.testing.contract import StoreContract as StoreContract
from registration.testing.lease_contract import LeaseContract as LeaseContract
from registration.testing.records_contract import RecordsContract as RecordsContract
from registration.testing.simulated_disk import Fault as Fault
from registration.testing.simulated_disk import PowerCut as PowerCut
from registration.testing.simulated_disk import SimulatedDisk as SimulatedDisk
from registration.testing.targets import TargetContract as TargetContract

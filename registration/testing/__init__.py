"""For those who test what they build on this package: a clock that obeys, and the contract of stores.

Public, and kept like the rest.
"""

from __future__ import annotations

from registration.testing.clock import FakeClock as FakeClock
from registration.testing.contract import StoreContract as StoreContract

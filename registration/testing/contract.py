"""The contract of stores as a test suite: inherit from it, give it stores, and every promise is tried.

::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def open_store(self, tmp_path):
            return lambda: MyStore(tmp_path, REGISTRATION)

`open_store` is a pytest fixture: a callable that opens a store on the same place each time it is called. A
store that forgets when it is closed, as the one in memory does, sets `outlives_closing` to False.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from registration.core.store import Store

OpenStore = Callable[[], Store]


class StoreContract:
    """What `registration.core.store.Store` promises, one test for each promise."""

    outlives_closing: ClassVar[bool] = True

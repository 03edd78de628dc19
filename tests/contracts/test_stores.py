"""Both stores keep the contract; what differs between them is nobody's business.

The contract itself is `registration.testing.contract`.
"""

from __future__ import annotations

import pytest

from registration import open_memory
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.files.backend import open_files
from registration.storage.files.registry_file import RegistryFile
from registration.testing import StoreContract
from tests.conftest import check_store

REGISTRY_ID = "019b76da-a800-7000-8000-000000000001"


class TestFileStore(StoreContract):
    @pytest.fixture
    def open_store(self, root):
        wanted = RegistryFile(REGISTRY_ID, "2026-01-01T00:00:00.000000Z", REGISTRATION.name)
        return lambda: open_files(root, REGISTRATION, wanted=wanted)  # `root` ends in the check


class TestMemoryStore(StoreContract):
    outlives_closing = False

    @pytest.fixture
    def open_store(self, restless_threads):
        store = open_memory(f"urn:uuid:{REGISTRY_ID}", REGISTRATION)
        yield lambda: store
        check_store(store)

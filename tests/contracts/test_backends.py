"""Files and memory are the same registry: both keep the one contract of backends.

The contract itself is `registration.testing.backend_contract`.
"""

from __future__ import annotations

import pytest

from registration import MemoryBackend
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.disk import PosixDisk
from registration.storage.files.backend import FileBackend
from registration.storage.files.registry_file import RegistryFile, make_registry
from registration.testing import BackendContract
from registration.testing.backend_contract import SOURCE


class TestFileBackend(BackendContract):
    @pytest.fixture
    def open_backend(self, tmp_path, restless_threads):
        id = SOURCE.removeprefix("urn:uuid:")
        make_registry(
            PosixDisk(), str(tmp_path), RegistryFile(id, "2026-01-01T00:00:00.000000Z", REGISTRATION.name)
        )
        opened = []

        def open_backend():
            opened.append(FileBackend(tmp_path))
            return opened[-1]

        yield open_backend
        for backend in opened:
            backend.close()


class TestMemoryBackend(BackendContract):
    outlives_closing = False

    @pytest.fixture
    def open_backend(self, restless_threads):
        backend = MemoryBackend()
        return lambda: backend

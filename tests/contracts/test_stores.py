"""Both stores keep the contract; what differs between them is nobody's business.

The contract itself is `registration.testing.contract`.
"""

from __future__ import annotations

import threading

import pytest

from registration import MemoryStore
from registration.core.store import Store
from registration.evidence.verification import verify_files
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.files.files import FileStore
from registration.storage.files.registry_file import RegistryFile
from registration.testing import StoreContract
from registration.testing.contract import append
from registration.values.snapshots import Position
from tests.conftest import check_store

REGISTRY_ID = "019b76da-a800-7000-8000-000000000001"


class TestFileStore(StoreContract):
    @pytest.fixture
    def open_store(self, root):
        wanted = RegistryFile(REGISTRY_ID, "2026-01-01T00:00:00.000000Z", REGISTRATION.name)
        return lambda: FileStore(root, REGISTRATION, wanted=wanted)  # `root` ends in the check


class TestMemoryStore(StoreContract):
    outlives_closing = False

    @pytest.fixture
    def open_store(self, restless_threads):
        store = MemoryStore(f"urn:uuid:{REGISTRY_ID}", REGISTRATION)
        yield lambda: store
        check_store(store)


def test_stores_fill_in_the_protocol():
    """A type checker, and a reader, can take either store for a `Store`."""
    promised = {name for name in vars(Store) if not name.startswith("_")}

    for kind in (FileStore, MemoryStore):
        assert promised <= set(dir(kind))


def test_an_append_in_the_middle_of_an_inspection_in_memory_waits_or_shows_whole():
    """What another thread appends while the bytes in memory are being put together does not look like damage."""

    class Interrupting:
        """An event that lets another thread append when its line is asked for, once it is armed."""

        armed = False

        def __init__(self, event):
            self.event = event

        def __getattr__(self, name):
            return getattr(self.event, name)

        @property
        def line(self):
            if self.armed:
                self.armed = False
                writer.start()
                writer.join(0.2)  # it may have to wait for the inspection
            return self.event.line

    source = MemoryStore(f"urn:uuid:{REGISTRY_ID}", REGISTRATION)
    (event,), snapshot = append(source, "a")
    store = MemoryStore(source.source, REGISTRATION)
    interrupting = Interrupting(event)
    store.append("a", Position(), [interrupting], snapshot)
    writer = threading.Thread(target=append, args=(store, "a"))
    interrupting.armed = True

    files = store.inspect("a")

    writer.join()
    verified = verify_files(files, stream="a", source=store.source, definition=REGISTRATION)
    assert verified.findings == ()

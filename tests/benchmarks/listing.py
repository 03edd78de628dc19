"""What lists cost, with the catalog and without: ``python tests/benchmarks/listing.py [DIR] [--manifests N] [--million N]``.

1. A registry of N manifests (10,000 by default) is made in DIR with the real thing, each somewhere on its way, and the
   catalog catches up with all of it. Then the first page of 20 in one state is asked for: warm, in fresh processes, and,
   paired with it, by going through every manifest's own files.
2. With --million, a catalog of so many is filled through its own projection from events that no log has, and asked for
   pages in every order. The logs' sizes are then taken from one file that is looked at as often as there are rows.

Times are medians. A directory that has such a registry already is used as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from registration import RegistrationPipeline
from registration.catalog.catalog import Catalog
from registration.catalog.file import Unusable
from registration.catalog.filters import KEYS, Filters, Order
from registration.core.policy import NO_POLICY
from registration.pipeline.find import FindPart
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage.disk import PosixDisk
from registration.storage.reports import FeedEntry
from registration.values.events import Event
from registration.values.times import rfc3339

FIXTURE = Path(__file__).resolve().parents[2] / "fixtures" / "manifests" / "mcp-server.json"
WAY = (
    ("create", None, "DRAFT"),
    ("submit_for_review", "DRAFT", "REVIEWED"),
    ("approve", "REVIEWED", "APPROVED"),
    ("register", "APPROVED", "REGISTERED"),
)
LINE_BYTES = 700
STATES = tuple(state for _, _, state in WAY)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", nargs="?", help="where to make the registry; a temporary one by default")
    parser.add_argument("--manifests", type=int, default=10_000)
    parser.add_argument("--million", type=int, default=0, metavar="N", help="a catalog of N, such as 1000000")
    parser.add_argument("--json", action="store_true")
    said = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(
        dir=said.directory and os.path.dirname(os.path.abspath(said.directory))
    ) as scratch:
        if said.manifests:
            found |= measure_real(said.directory or os.path.join(scratch, "registry"), said.manifests)
        if said.million:
            found |= measure_many(os.path.join(scratch, "many"), said.million)
    if said.json:
        print(json.dumps(found))
    else:
        width = max(map(len, found))
        for name, value in found.items():
            print(
                f"{name:<{width}}  {value:,.3f}"
                if isinstance(value, float)
                else f"{name:<{width}}  {value:,}"
            )


def median_ms(call: Callable[[], object], times: int) -> float:
    """The median time of a call, in milliseconds."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        taken.append((time.perf_counter() - begun) * 1_000)
    return statistics.median(taken)


# -- the real thing ----------------------------------------------------------------------------------------------------


def measure_real(root: str, manifests: int) -> dict[str, Any]:
    make_registry(root, manifests)
    with RegistrationPipeline(root, create=False) as pipeline:
        catalog = Path(pipeline.find.catalog_status().path)
        catalog.unlink(missing_ok=True)
        begun, cpu = time.perf_counter(), time.process_time()
        events = pipeline.find.catch_up_catalog()
        took, cpu = time.perf_counter() - begun, time.process_time() - cpu

        def page() -> None:
            assert len(list(pipeline.list("REVIEWED", limit=20))) == 20

        def made() -> None:
            assert len(list(islice(in_memory(pipeline, "REVIEWED"), 20))) == 20

        def all_made() -> None:
            assert sum(1 for _ in in_memory(pipeline, "REVIEWED"))

        page()
        return {
            "manifests": manifests,
            "events": events,
            "catching up, events/s": events / took,
            "catching up, CPU µs/event": cpu / events * 1e6,
            "catalog, bytes/manifest": catalog.stat().st_size / manifests,
            "first page of 20 in one state, warm, ms": median_ms(page, 200),
            "the same in a fresh process, ms": fresh(root, "page_ms"),
            "CPU of that process, ms": fresh(root, "cpu_ms"),
            "first 20 with one made in memory, ms": median_ms(made, 5),
            "all of one state with one made in memory, ms": median_ms(all_made, 3),
            "all of one state with the catalog, ms": median_ms(lambda: list(pipeline.list("REVIEWED")), 3),
            "count in one state, ms": median_ms(lambda: pipeline.find.count("REVIEWED"), 20),
            "first page with a word and a pointer, ms": median_ms(
                lambda: list(pipeline.list(text="weather", where={"/number": 77}, limit=20)), 20
            ),
            "statistics, ms": median_ms(pipeline.find.stats, 3),
        }


def make_registry(root: str, manifests: int) -> None:
    if os.path.exists(os.path.join(root, "registry.json")):
        return
    document = orjson.loads(FIXTURE.read_bytes())
    with RegistrationPipeline(root, actor="ada") as pipeline:
        for number in range(manifests):
            id = f"io.github.acme/m{number:07}"
            pipeline.create(id, {**document, "name": id, "number": number})
            for action, _, _ in WAY[1 : 1 + number % len(WAY)]:
                pipeline.act(id, action, actor="bea")


def in_memory(pipeline: RegistrationPipeline, state: str) -> Iterator[object]:
    """The first list where no catalog can be kept: one is made in memory."""
    original = FindPart._kept
    FindPart._kept = lambda _: None  # type: ignore[method-assign,assignment]
    vars(pipeline.find).pop("_in_memory", None)
    try:
        yield from pipeline.list(state)
    finally:
        FindPart._kept = original  # type: ignore[method-assign]


def fresh(root: str, which: str, times: int = 11) -> float:
    """The median of a figure that fresh processes give: the first page, imports and opening included."""
    program = (
        "import sys, time, json\n"
        "begun = time.perf_counter()\n"
        "from registration import RegistrationPipeline\n"
        "pipeline = RegistrationPipeline(sys.argv[1], create=False)\n"
        "ready = time.perf_counter()\n"
        "assert len(list(pipeline.list('REVIEWED', limit=20))) == 20\n"
        "ended = time.perf_counter()\n"
        "print(json.dumps({'page_ms': (ended - ready) * 1e3, 'cpu_ms': time.process_time() * 1e3}))\n"
    )
    return statistics.median(
        json.loads(subprocess.run([sys.executable, "-c", program, root], capture_output=True, check=True).stdout)[which]
        for _ in range(times)
    )  # fmt: skip


# -- as many as are wanted ---------------------------------------------------------------------------------------------


class Synthetic:
    """As much of a store as a catalog asks: a feed of events that no log has."""

    definition = REGISTRATION
    source = "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057"

    def __init__(self, manifests: int) -> None:
        self._manifests = manifests
        self._events = sum(1 + number % len(WAY) for number in range(manifests))
        self._document = orjson.loads(FIXTURE.read_bytes())
        self._running: Iterator[FeedEntry] | None = None

    def feed(
        self, after: str | None = None, *, limit: int | None = None, areas: Collection[str] | None = None
    ) -> Iterator[FeedEntry]:
        if after is None or self._running is None:
            self._running = self._entries()
        return islice(self._running, limit)

    def feed_end(self) -> str:
        return str(self._events)

    def load(self, stream: str) -> None:
        raise AssertionError(stream)  # everything comes in order, so no log is asked for

    def _entries(self) -> Iterator[FeedEntry]:
        told = 0
        for number in range(self._manifests):
            head = ""
            for version, (action, source, target) in enumerate(WAY[: 1 + number % len(WAY)], 1):
                told += 1
                event = self._event(number, version, action, source, target, head)
                head = event.hash
                yield FeedEntry(str(told), "manifests", event)

    def _event(
        self, number: int, version: int, action: str, source: str | None, target: str, head: str
    ) -> Event:
        id = f"io.github.acme/m{number:07}"
        data: dict[str, Any] = {
            "action": action,
            "from": source,
            "to": target,
            "actor": "bea",
            "digest": "sha256:" + f"{number:064x}",
        }
        if version == 1:
            data["document"] = {**self._document, "name": id, "number": number}
        return Event(
            id=f"{number:032x}", source=self.source, type=REGISTRATION.event_type(action), subject=id,
            time=rfc3339(1_767_225_600_000_000_000 + (number * 4 + version) * 1_000_000), version=version, part=1,
            remaining=0, correlation_id=None, causation_id=None, idempotency_key=None, traceparent=None, data=data,
            prev_hash=head, hash=f"{number:060x}{version:04x}", line=b"x" * LINE_BYTES,
        )  # fmt: skip


class SyntheticCatalog(Catalog):
    """Looks at one file for every log."""

    looked_at: str

    def _log_bytes(self, id: str) -> int:
        os.stat(self.looked_at)
        return LINE_BYTES * (1 + int(id[-7:]) % len(WAY))


def measure_many(root: str, manifests: int) -> dict[str, Any]:
    os.mkdir(root)
    store: Any = Synthetic(manifests)
    catalog = SyntheticCatalog(store, disk=PosixDisk(), root=root, busy_timeout_s=60)
    catalog.looked_at = root
    begun, cpu = time.perf_counter(), time.process_time()
    events = catalog.catch_up()
    took, cpu = time.perf_counter() - begun, time.process_time() - cpu
    size = os.stat(os.path.join(root, "catalog.sqlite")).st_size
    found: dict[str, Any] = {
        "many: manifests": manifests,
        "many: events": events,
        "many: projecting, events/s": events / took,
        "many: projecting, CPU µs/event": cpu / events * 1e6,
        "many: catalog, bytes/manifest": size / manifests,
    }
    for key in KEYS:
        for descending in (False, True):
            order = Order(key, descending)
            for state in (None, "REVIEWED"):
                name = f"many: first page by {order.text}{', one state' if state else ''}, ms"
                found[name] = median_ms(lambda s=state, o=order: page_of(catalog, s, o), 20)  # type: ignore[misc]
    wanted = Filters(state="REVIEWED")
    found["many: count in one state, ms"] = median_ms(
        lambda: catalog.count(wanted, policy=lambda: NO_POLICY), 5
    )
    time_now = rfc3339(time.time_ns())
    found["many: statistics, ms"] = median_ms(lambda: catalog.statistics(time=time_now, since=None), 1)
    return found


def page_of(catalog: Catalog, state: str | None, order: Order) -> None:
    try:
        page = catalog.page(Filters(state=state), order, policy=lambda: NO_POLICY, after=None, limit=20)
    except Unusable as error:
        raise AssertionError(error) from error
    assert len(page.rows) == 20


if __name__ == "__main__":
    main()

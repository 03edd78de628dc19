"""Strays: what is in a registry's directories and belongs to nothing in it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from registration.storage import layout
from registration.storage.disk import Disk, failures_named, given_back, opened_directory, read_whole
from registration.storage.files.blobs import opened
from registration.storage.files.logs import TEMPORARY_SNAPSHOT
from registration.storage.reports import Stray
from registration.values.documents import digest_of_bytes
from registration.values.ids import id_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.storage.files.logs import FileLogs

_LEFT = "a temporary file: a writer was interrupted or is still running"
_UNEXPECTED = "unexpected file"


def strays_of(logs: FileLogs, area: str) -> Iterator[Stray]:
    """The strays of an area; see `registration.storage.ports.Mending.strays`."""
    disk, root = logs.disk, logs.root
    with failures_named("listing", root):
        temporary = layout.REGISTRY_FILE + layout.TEMPORARY_SUFFIX
        with opened_directory(disk, root) as directory:
            if temporary in disk.names(directory) and area == layout.MANIFESTS:
                yield Stray(temporary, _LEFT, unfinished=True)
        with suppress(FileNotFoundError), logs.opened_area(area) as directory:
            own = area == layout.REGISTRY
            for name in list(logs.ids(area)) if own else sorted(disk.names(directory)):
                path = name if own else f"{area}/{name}"
                if id_of(name) is None:
                    yield Stray(path, "not the file name of an id", unfinished=False)
                    continue
                # A file in place of a directory is reported on reading that manifest.
                with (
                    suppress(NotADirectoryError),
                    opened_directory(disk, name, dir_fd=directory) as there,
                ):
                    yield from _of_no_stream(disk.names(there), path + "/")
        if area == layout.MANIFESTS:
            yield from _stray_rules(disk, root)
            yield from _stray_names(disk, root)


def set_aside(logs: FileLogs, area: str, id: str) -> list[str]:
    """See `registration.storage.ports.Mending.set_aside`."""
    own = layout.quarantine_directory(id, area)
    with failures_named("listing", f"{layout.QUARANTINE}/{own}"):
        with (
            suppress(FileNotFoundError),
            opened(logs.disk, logs.root, (layout.QUARANTINE, own)) as found,
        ):
            return sorted(logs.disk.names(found[-1]))
        return []


def _of_no_stream(names: list[str], above: str) -> Iterator[Stray]:
    for name in sorted(names):
        if name == TEMPORARY_SNAPSHOT:
            yield Stray(above + name, _LEFT, unfinished=True)
        elif name not in layout.OF_A_MANIFEST:
            yield Stray(above + name, _UNEXPECTED, unfinished=False)


def _stray_rules(disk: Disk, root: str) -> Iterator[Stray]:
    """The files in `rules/` that are not rules; a changed file is damage."""
    for kind in layout.RULE_KINDS:
        with suppress(FileNotFoundError), opened(disk, root, (layout.RULES, kind)) as found:
            for name in sorted(disk.names(found[-1])):
                path = f"{layout.RULES}/{kind}/{name}"
                if name.endswith(layout.TEMPORARY_SUFFIX):
                    yield Stray(path, _LEFT, unfinished=True)
                elif not layout.is_rule_file(name):
                    yield Stray(path, _UNEXPECTED, unfinished=False)
                else:
                    with given_back(disk, disk.open(name, os.O_RDONLY, dir_fd=found[-1])) as fd:
                        data = read_whole(disk, fd)
                    if digest_of_bytes(data) != "sha256:" + name.removesuffix(".json"):
                        yield Stray(path, "its SHA-256 differs from its name", unfinished=False, damaged=True)


def _stray_names(disk: Disk, root: str) -> Iterator[Stray]:
    """The files in `names/` that reserve no name."""
    with suppress(FileNotFoundError), opened(disk, root, (layout.NAMES,)) as found:
        for encoded in sorted(disk.names(found[-1])):
            name, path = id_of(encoded), f"{layout.NAMES}/{encoded}"
            if name is None:
                yield Stray(path, "not the file name of a name", unfinished=False)
                continue
            try:
                with opened_directory(disk, encoded, dir_fd=found[-1]) as own:
                    files = sorted(disk.names(own))
            except NotADirectoryError:
                yield Stray(path, _UNEXPECTED, unfinished=False)
                continue
            for file in files:
                if file.endswith(layout.TEMPORARY_SUFFIX):
                    yield Stray(f"{path}/{file}", _LEFT, unfinished=True)
                elif layout.reserved_by_file(name, file) is None:
                    yield Stray(f"{path}/{file}", "not the file name of a name", unfinished=False)

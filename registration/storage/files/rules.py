"""The rules that were in force, kept by digest: lifecycles, policies, schemas. Written once, never changed.

``rules/<kind>/<sha256>.json`` holds the RFC 8785 form, so a file's name is its own SHA-256: ``sha256sum`` checks it. What
an event was decided under can be read for as long as the registry lasts.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import orjson

from registration.core.store import Stray
from registration.errors import CorruptRegistry, NotFound
from registration.storage import layout
from registration.storage.disk import (
    ensure_directory,
    given_back,
    opened_directory,
    read_whole,
    replace_atomic,
)
from registration.values.documents import canonical, digest_of_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.storage.disk import Disk


def write_rule(disk: Disk, root: int, kind: str, digest: str, value: Any) -> None:
    """Keep a rule, on the disk. The caller holds the lock of the root, whose descriptor this is."""
    data = canonical(value)
    assert digest_of_bytes(data) == digest
    name = layout.rule_file(digest)
    ensure_directory(disk, layout.RULES, dir_fd=root)
    with opened_directory(disk, layout.RULES, dir_fd=root) as rules:
        ensure_directory(disk, kind, dir_fd=rules)
        with opened_directory(disk, kind, dir_fd=rules) as directory:
            replace_atomic(disk, directory, name, name + layout.TEMPORARY_SUFFIX, data)
            disk.sync(directory)


def sync_rule(disk: Disk, root: str, kind: str, digest: str) -> bool:
    """See to it that a rule that is there stays, also after a power cut: whoever wrote it may have died. False: it isn't."""
    try:
        with _opened(disk, root, kind) as (above, rules, directory):
            disk.status_at(layout.rule_file(digest), dir_fd=directory)
            for fd in (directory, rules, above):
                disk.sync(fd)
    except FileNotFoundError:
        return False
    return True


def read_rule(disk: Disk, root: str, kind: str, digest: str) -> Any:
    """What was kept under a digest.

    Raises:
        NotFound: when nothing was.
        CorruptRegistry: when it is not what was kept.
    """
    name = layout.rule_file(digest)
    try:
        with (
            _opened(disk, root, kind) as (_, _, directory),
            given_back(disk, disk.open(name, os.O_RDONLY, dir_fd=directory)) as fd,
        ):
            data = read_whole(disk, fd)
    except FileNotFoundError:
        raise rule_not_found(kind, digest) from None
    if digest_of_bytes(data) != digest:
        path = f"{layout.RULES}/{kind}/{name}"
        raise CorruptRegistry(
            f"{path} is not what was kept there: its SHA-256 is not its name.",
            "Put the file back from a backup.",
            path=path,
        )
    return orjson.loads(data)


def stray_rules(disk: Disk, root: str) -> Iterator[Stray]:
    """What is in `rules/` and isn't what was kept: a changed file is damage."""
    for kind in layout.RULE_KINDS:
        with suppress(FileNotFoundError), _opened(disk, root, kind) as (_, _, directory):
            for name in sorted(disk.names(directory)):
                path = f"{layout.RULES}/{kind}/{name}"
                digest = "sha256:" + name.removesuffix(".json")
                if name.endswith(layout.TEMPORARY_SUFFIX):
                    yield Stray(path, "a temporary file: a writer died, or is at work", unfinished=True)
                elif not layout.is_rule_file(name):
                    yield Stray(path, "it is none of the registry's files", unfinished=False)
                else:
                    try:
                        read_rule(disk, root, kind, digest)
                    except CorruptRegistry:
                        yield Stray(path, "its SHA-256 is not its name", unfinished=False, damaged=True)


@contextmanager
def _opened(disk: Disk, root: str, kind: str) -> Iterator[tuple[int, int, int]]:
    """The root, `rules/` in it, and the directory of a kind. Raises FileNotFoundError where there is none."""
    with (
        opened_directory(disk, root) as above,
        opened_directory(disk, layout.RULES, dir_fd=above) as rules,
        opened_directory(disk, kind, dir_fd=rules) as directory,
    ):
        yield above, rules, directory


def rule_not_found(kind: str, digest: str) -> NotFound:
    """There is no such rule."""
    return NotFound(
        f"The registry keeps nothing in {layout.RULES}/{kind} under {digest}.",
        "It was in force in another registry, or its file is missing: look for a backup.",
        digest=digest,
    )

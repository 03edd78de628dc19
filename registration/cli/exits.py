"""Exit codes: the one table from errors to exit codes."""

from __future__ import annotations

from collections.abc import Iterable

from registration.errors import (
    AlreadyExists,
    CorruptLog,
    CorruptRegistry,
    InvalidArgument,
    LeaseHeld,
    LockTimeout,
    NotFound,
    RegistrationError,
    Rejected,
    UnknownEvent,
    VersionConflict,
    WaitTimeout,
)

OK, FAILURE, USAGE, NOT_FOUND, REFUSED, CONFLICT, LOCKED, DAMAGE, WAITED = range(9)

EXIT_CODES: tuple[tuple[int, str, tuple[type[RegistrationError], ...]], ...] = (
    (OK, "done", ()),
    (FAILURE, "failure: disk, files, or a bug", (RegistrationError,)),
    (USAGE, "usage: invalid option, id or state", (InvalidArgument,)),
    (NOT_FOUND, "not found: no such manifest, file or registry", (NotFound,)),
    (REFUSED, "refused: illegal transition, guard, invalid document, or taken id", (Rejected, AlreadyExists)),
    (CONFLICT, "version conflict: another writer was first", (VersionConflict,)),
    (LOCKED, "locked: by another writer or another person", (LockTimeout, LeaseHeld)),
    (
        DAMAGE,
        "damaged: corrupt files found; nothing was changed",
        (CorruptLog, CorruptRegistry, UnknownEvent),
    ),
    (WAITED, "timed out: the state was not reached in time", (WaitTimeout,)),
)
"""Code, meaning, and errors. The most derived class decides."""


def worst(errors: Iterable[RegistrationError]) -> int:
    """The exit code for several errors: that of damage, else the highest; 0 without any."""
    codes = {exit_code(error) for error in errors}
    return DAMAGE if DAMAGE in codes else max(codes, default=OK)


def exit_code(error: RegistrationError) -> int:
    """The exit code of an error: that of the nearest of its classes in the table."""
    codes = {kind: code for code, _, kinds in EXIT_CODES for kind in kinds}
    return next(codes[kind] for kind in type(error).__mro__ if kind in codes)

"""Exit codes: the one table from errors to the numbers that a shell sees."""

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
    (FAILURE, "failure: the disk, the files, or a defect of ours", (RegistrationError,)),
    (USAGE, "usage: an option, an id or a state that can't be meant", (InvalidArgument,)),
    (NOT_FOUND, "not found: no such manifest, file or registry", (NotFound,)),
    (REFUSED, "refused: an illegal move, a guard, a bad document, a taken id", (Rejected, AlreadyExists)),
    (CONFLICT, "version conflict: somebody else was first", (VersionConflict,)),
    (LOCKED, "locked: somebody else is writing, or has claimed it", (LockTimeout, LeaseHeld)),
    (DAMAGE, "damage found: nothing was changed", (CorruptLog, CorruptRegistry, UnknownEvent)),
    (WAITED, "waited in vain: the state did not come in time", (WaitTimeout,)),
)
"""Code, meaning, and the errors that end in it. The most derived class decides."""


def worst(errors: Iterable[RegistrationError]) -> int:
    """The exit code of a command that met several errors: damage before all, else the highest; 0 without any."""
    codes = {exit_code(error) for error in errors}
    return DAMAGE if DAMAGE in codes else max(codes, default=OK)


def exit_code(error: RegistrationError) -> int:
    """The exit code of an error: that of the nearest of its classes in the table."""
    codes = {kind: code for code, _, kinds in EXIT_CODES for kind in kinds}
    return next(codes[kind] for kind in type(error).__mro__ if kind in codes)

"""One tree of errors: the problem, the facts, and the next step.

Every error that this package raises on purpose is a `RegistrationError`. Its text is two sentences at
most: the problem (which object, what was expected, what was found) and the next step. The facts are in
`details`, as JSON values, for programs that handle the error, and `next` holds the next steps as data.
No text here is a line for a shell: an interface words the steps for its users, as `registration.cli.words` does.

The class tells how to handle it:

- `Rejected`, `AlreadyExists`: the domain refuses. A retry changes nothing.
- `VersionConflict`: another writer was first. Load again, decide again.
- `LockTimeout`, `LeaseHeld`: the manifest is locked. Retry later. `ConsumerBusy`: the consumer is.
- `ConsumerBlocked`: an entry of the feed keeps failing; a person must look.
- `WaitTimeout`: a wait timed out.
- `NotFound`, `InvalidArgument`: the call was wrong.
- `StoreError`: the disk or the files failed. The outcome is unknown: load again and look.
- `CorruptLog` and `CorruptRegistry`: a file is corrupt. Nothing was changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

Operation = Literal[
    "act",
    "list", "show", "why", "verify", "recover", "repair", "receipt", "init", "import",
    "alias.list", "alias.set", "alias.remove", "names.list", "query", "query.schema",
    "consumers.list", "consumers.status", "consumers.reset", "consumers.retry", "consumers.skip", "hooks.redeliver", "follow",
    "lifecycle.graph", "lifecycle.migrate", "lifecycle.show",
    "policy.apply", "policy.approve", "policy.propose",
    "locks.break", "locks.claim", "locks.list", "locks.release",
    "sessions.cancel", "sessions.delete", "sessions.list", "sessions.restart", "sessions.resume", "sessions.show",
    "sessions.start",
]  # fmt: skip
"""The operations of a registry. `act` is any action of its lifecycle, tagging included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """A possible next step, as data. Each interface words it: the command line as a line to type.

    operation: the operation. id: its subject: a manifest, a session, a consumer, a name, the key of a lock, or a
    directory; None for the registry as a whole. action: the action of the lifecycle; for the operation `act` only.
    actor: the actor; None if any will do, or if `missing` asks for one. given: its known arguments, by name, as JSON
    values. missing: the names of arguments still to be supplied: `actor`, `reason`, `comment`, `context`, `document`,
    `tags`, …
    """

    operation: Operation
    id: str | None = None
    action: str | None = None
    actor: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict, hash=False)
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The step in neutral words: ``approve 'a' as 'bea', giving reason``."""
        what = self.action if self.operation == "act" else self.operation.replace(".", " ")
        of = "" if self.id is None else f" {self.id!r}"
        by = "" if self.actor is None else f" as {self.actor!r}"
        words = f", giving {', '.join(self.missing)}" if self.missing else ""
        return f"{what}{of}{by}{words}"

    def as_json(self) -> dict[str, Any]:
        """The step as one JSON object; the names are stable."""
        return {
            "operation": self.operation,
            "id": self.id,
            "action": self.action,
            "actor": self.actor,
            "given": dict(self.given),
            "missing": list(self.missing),
        }


class RegistrationError(Exception):
    """The root of the tree.

    problem: names the object, the expected and the found value.
    next_step: the remedy, in words that fit any interface; empty if the problem implies it.
    next: the same as data, the usual step first; empty if no operation of the registry helps.
    details: the facts as JSON values; the names are stable.
    """

    code: ClassVar[str] = "error"

    def __init__(self, problem: str, next_step: str = "", /, *following: Next, **details: Any) -> None:
        super().__init__(problem)
        self.problem = problem
        self.next_step = next_step
        self.next = following
        self.details = details

    def __str__(self) -> str:
        return f"{self.problem} {self.next_step}".rstrip()

    def __reduce__(self) -> tuple[Any, ...]:
        # Subclasses have constructors of their own; an error must still cross a process boundary whole.
        return (_restore, (type(self), self.problem, self.next_step, self.next, self.details))

    def as_json(self) -> dict[str, Any]:
        """The error as one JSON object: `error` (a stable name), `message`, `next_step`, `next_actions`, `details`."""
        return {
            "error": self.code,
            "message": self.problem,
            "next_step": self.next_step,
            "next_actions": [step.as_json() for step in self.next],
            "details": self.details,
        }


def _restore(
    kind: type[RegistrationError],
    problem: str,
    next_step: str,
    following: tuple[Next, ...],
    details: dict[str, Any],
) -> RegistrationError:
    error = kind.__new__(kind)
    RegistrationError.__init__(error, problem, next_step, *following, **details)
    return error


class InvalidArgument(RegistrationError, ValueError):
    """An argument is invalid: a malformed id, an unknown state, a key that is too long."""

    code = "invalid_argument"


class InvalidDefinition(InvalidArgument):
    """A lifecycle is invalid. `details["problems"]` lists every problem."""

    code = "invalid_definition"

    def __init__(self, name: str, problems: list[str]) -> None:
        super().__init__(
            f"The lifecycle {name!r} has {_count(problems, 'problem')}: {_listed(problems)}",
            f"Fix {_them(problems)} and try again.",
            name=name,
            problems=problems,
        )


class InvalidPolicy(InvalidArgument):
    """A policy is invalid. `details["problems"]` lists every problem."""

    code = "invalid_policy"

    def __init__(self, source: str, problems: list[str], next_step: str | None = None) -> None:
        super().__init__(
            f"The policy {source} has {_count(problems, 'problem')}: {_listed(problems)}",
            next_step or f"Fix {_them(problems)} and try again.",
            source=source,
            problems=problems,
        )


class InvalidWizard(InvalidArgument):
    """A wizard is invalid. `details["problems"]` lists every problem."""

    code = "invalid_wizard"

    def __init__(self, name: str, problems: list[str]) -> None:
        super().__init__(
            f"The wizard {name!r} has {_count(problems, 'problem')}: {_listed(problems)}",
            f"Fix {_them(problems)} and try again.",
            name=name,
            problems=problems,
        )


class InvalidHooks(InvalidArgument):
    """The file of hooks is invalid. `details["problems"]` lists every problem."""

    code = "invalid_hooks"

    def __init__(self, source: str, problems: list[str]) -> None:
        super().__init__(
            f"The hooks {source} have {_count(problems, 'problem')}: {'; '.join(problems)}.",
            "Fix them all; until then no hook runs.",
            source=source,
            problems=problems,
        )


class NotFound(RegistrationError, LookupError):
    """There is no such manifest, or no registry in that directory."""

    code = "not_found"


class AlreadyExists(RegistrationError):
    """The id is taken. Nothing was written."""

    code = "already_exists"


class NameTaken(AlreadyExists):
    """Another manifest holds the document's name. Nothing was written."""

    code = "name_taken"


class Rejected(RegistrationError):
    """The domain refuses. Nothing was written; the same request will be refused again."""

    code = "rejected"


class InvalidDocument(Rejected):
    """A document is invalid. `details["problems"]` lists every problem."""

    code = "invalid_document"

    def __init__(
        self,
        source: str,
        problems: list[str],
        next_step: str = "Correct the document and try again.",
        *following: Next,
        more: bool = False,
    ) -> None:
        listed = "; ".join(problems) + ("; and more" if more else "")
        super().__init__(
            f"{source} is invalid: {listed}.",
            next_step,
            *following,
            source=source,
            problems=problems,
        )


class IllegalTransition(Rejected):
    """The lifecycle has no such transition from the manifest's state. `details["allowed"]` lists those that it has."""

    code = "illegal_transition"


class GuardRefused(Rejected):
    """A guard refused. `details` is the result of `registration.core.explanation.Explanation.as_json`.

    `details["verdicts"]` holds each guard's name, verdict, reason and evidence.
    """

    code = "guard_refused"


class InvalidAnswer(Rejected):
    """An answer in a session is invalid. `details["problems"]` lists every problem, `details["found"]` the same as JSON."""

    code = "invalid_answer"


class NotYours(Rejected):
    """The session belongs to another user, or is bound to another client."""

    code = "not_yours"


class SessionEnded(Rejected):
    """The session has ended, in `details["state"]`. If it can be restarted, the next step says so."""

    code = "session_ended"


class SessionExpired(SessionEnded):
    """The session was idle for too long. It can be restarted, with its answers."""

    code = "session_expired"


class WorkFailed(Rejected):
    """The external work of a session failed, and everything was undone. The session is FAILED."""

    code = "work_failed"


class WorkStuck(Rejected):
    """The external work of a session can't be undone now. The session keeps its state; resuming it retries."""

    code = "work_stuck"


class SessionActive(AlreadyExists):
    """There is an active session already. `details["session"]` is its id."""

    code = "session_active"


class PinMismatch(Rejected):
    """The document or the log differs from what the caller pinned. `details` holds the expected and the found value."""

    code = "pin_mismatch"


class LeaseLost(Rejected):
    """The lease is no longer the caller's: it expired and was acquired by another holder, or it was broken.

    `details` holds the key, its number, and the holder, host, since and until of the current lease, if there is one.
    """

    code = "lease_lost"


class StaleFence(Rejected):
    """A write under an expired lease, after a write under a later one. Nothing was written.

    `details` holds the given number, the highest one seen, and the actor and version of the write under that.
    """

    code = "stale_fence"


class ReceiptMismatch(Rejected):
    """A receipt does not match the log. `details["problems"]` lists every difference."""

    code = "receipt_mismatch"


class IdempotencyMismatch(Rejected):
    """The idempotency key was used before, for a different request."""

    code = "idempotency_mismatch"


class SnapshotMismatch(Rejected):
    """The snapshot differs from the folded log at its version. Nothing was written."""

    code = "snapshot_mismatch"


class TargetRefused(Rejected):
    """The target of a deployment refuses. Nothing was done there."""

    code = "target_refused"


class VersionConflict(RegistrationError):
    """The manifest is not at the version that the caller expects. Nothing was written."""

    code = "version_conflict"

    def __init__(self, stream: str, expected: int, found: int | None = None) -> None:
        seen = "it has moved on" if found is None else f"it is at version {found}"
        super().__init__(
            f"{stream!r} was expected at version {expected}, but {seen}.",
            "Load it again and decide again.",
            manifest_id=stream,
            expected=expected,
            found=found,
        )


class LockTimeout(RegistrationError):
    """Waiting for the manifest's lock timed out. Nothing was written."""

    code = "lock_timeout"

    def __init__(self, what: str, timeout_s: float) -> None:
        super().__init__(
            f"Timed out after {timeout_s:g} s waiting for the lock on {what!r}: another process is writing.",
            "Try again, or wait longer.",
            what=what,
            timeout_s=timeout_s,
        )


class LeaseHeld(RegistrationError):
    """Another actor holds the lock. Nothing was written. Retry when it is released or expired."""

    code = "lease_held"

    def __init__(self, key: str, *, holder: str, host: str, since: str, until: str, number: int) -> None:
        super().__init__(
            f"{key!r} is locked by {holder!r} on {host}, since {since}, until {until}.",
            "Wait until then, ask its holder to release it, or break the lock.",
            Next(operation="locks.break", id=key, missing=("reason",)),
            key=key,
            holder=holder,
            host=host,
            since=since,
            until=until,
            number=number,
        )


class ConsumerBusy(LockTimeout):
    """Another process is reading the feed under that name. `details["holder"]` identifies it."""

    code = "consumer_busy"

    def __init__(self, name: str, holder: dict[str, Any] | None) -> None:
        who = "another process"
        if holder:
            who = f"process {holder.get('pid')} on {holder.get('host')}, since {holder.get('since')}"
        RegistrationError.__init__(
            self,
            f"The consumer {name!r} is in use by {who}.",
            "Stop that process first, or use another name.",
            consumer=name,
            holder=holder,
        )


class ConsumerBlocked(RegistrationError):
    """A consumer is blocked by an entry that keeps failing, so that the order is kept."""

    code = "consumer_blocked"

    def __init__(self, name: str, entry: str, error: str, attempts: int, cursor: str) -> None:
        tries = f"{attempts} attempt{'' if attempts == 1 else 's'}"
        super().__init__(
            f"The consumer {name!r} is stuck at {entry} after {tries}: {error}.",
            "Retry the entry, or skip it.",
            Next(operation="consumers.retry", id=name),
            Next(operation="consumers.skip", id=name, missing=("reason",)),
            consumer=name,
            entry=entry,
            error=error,
            tried=attempts,
            cursor=cursor,
        )


class WaitTimeout(RegistrationError):
    """A wait timed out. Nothing was written."""

    code = "wait_timeout"


class StoreError(RegistrationError):
    """The store failed, so the outcome is unknown: load again and look."""

    code = "store_error"


class TargetUnavailable(StoreError):
    """The target of a deployment gave no answer, so the outcome is unknown."""

    code = "target_unavailable"


class UnknownEvent(StoreError):
    """The log contains a type of event that this release does not know. Nothing was changed."""

    code = "unknown_event"


class CorruptRegistry(StoreError):
    """The registry's own file is missing, unreadable or of another format. Nothing was changed."""

    code = "corrupt_registry"


class CorruptLog(StoreError):
    """A log is corrupt. Nothing was changed.

    path: the file, relative to the registry. line: from 1; 0 if no line can be named.
    offset_bytes: the start of the first bad line. sound_version: the last valid version.
    """

    code = "corrupt_log"

    def __init__(
        self, path: str, *, line: int, offset_bytes: int, reason: str, sound_version: int, stream: str
    ) -> None:
        where = f"{path}, line {line}, byte {offset_bytes}" if line else path
        sound = {0: "No version is valid.", 1: "Version 1 is valid."}.get(
            sound_version, f"Versions 1 to {sound_version} are valid."
        )
        advice, steps = _after_damage(path.partition("/")[0], stream)
        super().__init__(
            f"{stream!r} is damaged at {where}: {reason}. {sound}",
            f"Nothing was changed. {advice}",
            *steps,
            manifest_id=stream,
            path=path,
            line=line,
            offset_bytes=offset_bytes,
            reason=reason,
            sound_version=sound_version,
        )


def _after_damage(area: str, stream: str) -> tuple[str, tuple[Next, ...]]:
    """The remedy for a damaged log, by its directory."""
    repair = Next(operation="repair", id=stream if area == "manifests" else f"{area}/{stream}")
    advice = "Look for a backup; without one, see all findings and what a repair would keep"
    if area == "manifests":
        return f"{advice}.", (Next(operation="verify", id=stream), repair)
    if area == "sessions":
        return f"{advice}, or delete the session.", (
            Next(operation="verify"),
            repair,
            Next(operation="sessions.delete", id=stream),
        )
    return f"{advice}.", (Next(operation="verify"), repair)


def _count(items: list[str], noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"


def _listed(problems: list[str]) -> str:
    """All of them as one sentence; the last may have ended one already."""
    listed = "; ".join(problems)
    return listed if listed.endswith((".", "?")) else listed + "."


def _them(problems: list[str]) -> str:
    return "it" if len(problems) == 1 else "them all"

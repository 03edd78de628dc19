"""One tree of errors: what went wrong, what was found, and what to do next.

Every error that this package raises on purpose is a `RegistrationError`. Its text is two sentences at
most: the problem (which object, what was expected, what was found) and the next step. The facts behind
the text are in `details`, as JSON values, for programs that handle the error, and `next` holds the next steps as data.
No text here is a line for a shell: an interface words the steps for its users, as `registration.cli.words` does.

What to do with one is in its class:

- `Rejected`, `AlreadyExists`: the domain says no. Trying again changes nothing.
- `VersionConflict`: somebody else was first. Load again, decide again.
- `LockTimeout`, `LeaseHeld`: somebody else holds the manifest. Try again later. `ConsumerBusy`: the consumer.
- `ConsumerBlocked`: an entry of the feed keeps failing; somebody has to look.
- `WaitTimeout`: what was waited for did not come in time.
- `NotFound`, `InvalidArgument`: the question was wrong.
- `StoreError`: the disk or the files failed. After one, the outcome is unknown: load again and look.
- `CorruptLog` and `CorruptRegistry`: bytes are not what was written. Nothing was changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

Operation = Literal[
    "act",
    "list", "show", "why", "verify", "recover", "repair", "receipt", "init",
    "alias.list", "alias.set", "names.list", "query", "query.schema",
    "consumers.list", "consumers.status", "consumers.reset", "consumers.retry", "consumers.skip", "hooks.redeliver", "follow",
    "lifecycle.graph", "lifecycle.migrate", "lifecycle.show",
    "locks.break", "locks.claim", "locks.list", "locks.release",
    "sessions.cancel", "sessions.delete", "sessions.list", "sessions.restart", "sessions.resume", "sessions.show",
    "sessions.start",
]  # fmt: skip
"""What a registry can be asked to do. `act` is any action of its lifecycle, tagging included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """A step that could be taken next, as data. Each interface words it: the command line as a line to type.

    operation: what the registry is asked to do. id: to what: a manifest, or what the operation is about (a session, a
    consumer, a name, the key of a lock, a directory); None where it is about the registry as a whole. action: which one
    of the lifecycle; for the operation `act` alone. actor: who is to do it; None where that makes no difference, or where
    `missing` asks for one. given: words that go with it, by name, as JSON values. missing: the names of words that have to
    be supplied: `actor`, `reason`, `comment`, `context`, `document`, `tags`, …
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

    problem: what is wrong, naming the object, what was expected and what was found.
    next_step: what to do about it, in words that hold for any interface; empty where the problem says it already.
    next: the same as data, the usual step first; empty where there is nothing that the registry could be asked.
    details: the same facts as JSON values; the names are stable.
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
    """What the caller passed can't be meant: a malformed id, an unknown state, a key that is too long."""

    code = "invalid_argument"


class InvalidDefinition(InvalidArgument):
    """A lifecycle contradicts itself. `details["problems"]` lists everything that is wrong with it."""

    code = "invalid_definition"

    def __init__(self, name: str, problems: list[str]) -> None:
        super().__init__(
            f"The lifecycle {name!r} has {_count(problems, 'problem')}: {_listed(problems)}",
            f"Mend {_them(problems)} and try again.",
            name=name,
            problems=problems,
        )


class InvalidPolicy(InvalidArgument):
    """A policy can't be meant. `details["problems"]` lists everything that is wrong with it."""

    code = "invalid_policy"

    def __init__(self, source: str, problems: list[str]) -> None:
        super().__init__(
            f"The policy {source} has {_count(problems, 'problem')}: {_listed(problems)}",
            f"Mend {_them(problems)}; until then nothing is written under it.",
            source=source,
            problems=problems,
        )


class InvalidWizard(InvalidArgument):
    """A wizard contradicts itself. `details["problems"]` lists everything that is wrong with it."""

    code = "invalid_wizard"

    def __init__(self, name: str, problems: list[str]) -> None:
        super().__init__(
            f"The wizard {name!r} has {_count(problems, 'problem')}: {_listed(problems)}",
            f"Mend {_them(problems)} and try again.",
            name=name,
            problems=problems,
        )


class InvalidHooks(InvalidArgument):
    """The file of hooks can't be meant. `details["problems"]` lists everything that is wrong with it."""

    code = "invalid_hooks"

    def __init__(self, source: str, problems: list[str]) -> None:
        super().__init__(
            f"The hooks {source} have {_count(problems, 'problem')}: {'; '.join(problems)}.",
            "Mend them all; until then no hook is run.",
            source=source,
            problems=problems,
        )


class NotFound(RegistrationError, LookupError):
    """There is no such manifest, or no registry at that place."""

    code = "not_found"


class AlreadyExists(RegistrationError):
    """The id is taken. Nothing was written."""

    code = "already_exists"


class NameTaken(AlreadyExists):
    """Another manifest holds the name that the document gives itself. Nothing was written."""

    code = "name_taken"


class Rejected(RegistrationError):
    """The domain says no. Nothing was written; the same request will be rejected again."""

    code = "rejected"


class InvalidDocument(Rejected):
    """A document that can't be kept as it is. `details["problems"]` lists every one that was found."""

    code = "invalid_document"

    def __init__(
        self,
        source: str,
        problems: list[str],
        next_step: str = "Correct the document and give it again.",
        *following: Next,
        more: bool = False,
    ) -> None:
        listed = "; ".join(problems) + ("; and more" if more else "")
        super().__init__(
            f"{source} can't be accepted: {listed}.",
            next_step,
            *following,
            source=source,
            problems=problems,
        )


class IllegalTransition(Rejected):
    """The lifecycle has no such move from where the manifest is. `details["allowed"]` lists those it has."""

    code = "illegal_transition"


class GuardRefused(Rejected):
    """A guard said no. `details` is what `registration.core.explanation.Explanation.as_json` gives.

    `details["verdicts"]` holds each guard's name, verdict, reason and evidence.
    """

    code = "guard_refused"


class InvalidAnswer(Rejected):
    """An answer in a session can't be taken. `details["problems"]` lists all that is wrong, `details["found"]` as JSON."""

    code = "invalid_answer"


class NotYours(Rejected):
    """The session belongs to somebody else, or is bound to another client."""

    code = "not_yours"


class SessionEnded(Rejected):
    """The session is over: `details["state"]` says how. Where it can be started again, the next step says so."""

    code = "session_ended"


class SessionExpired(SessionEnded):
    """The session was left alone for too long. It can be started again, with the answers that it has."""

    code = "session_expired"


class WorkFailed(Rejected):
    """What a session was to do outside failed, and everything was undone. The session is FAILED."""

    code = "work_failed"


class WorkStuck(Rejected):
    """What a session has done outside can't be undone now. The session stays where it is; going on with it tries again."""

    code = "work_stuck"


class SessionActive(AlreadyExists):
    """There is an active session already. `details["session"]` is its id."""

    code = "session_active"


class PinMismatch(Rejected):
    """The document or the log is not what the caller has seen. `details` holds what was expected and found."""

    code = "pin_mismatch"


class LeaseLost(Rejected):
    """The lease is not the caller's any more: it ended, and somebody else took it, or it was broken.

    `details` holds the key, the number that it had, and, where somebody holds it now, who, where, since and until when.
    """

    code = "lease_lost"


class StaleFence(Rejected):
    """A write under a lease, after a write under a later one was seen. Nothing was written.

    `details` holds the number that was given, the one that was seen, and who wrote under that at which version.
    """

    code = "stale_fence"


class ReceiptMismatch(Rejected):
    """A receipt doesn't say what the log says. `details["problems"]` lists everything that differs."""

    code = "receipt_mismatch"


class IdempotencyMismatch(Rejected):
    """The idempotency key was used before, for a different request."""

    code = "idempotency_mismatch"


class SnapshotMismatch(Rejected):
    """The snapshot is not what the log folds to at its version. Nothing was written."""

    code = "snapshot_mismatch"


class TargetRefused(Rejected):
    """The place that something is deployed to says no. Nothing was done there."""

    code = "target_refused"


class VersionConflict(RegistrationError):
    """The manifest is at another version than the one the caller decided on. Nothing was written."""

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
    """Somebody else held the manifest for the whole wait. Nothing was written."""

    code = "lock_timeout"

    def __init__(self, what: str, timeout_s: float) -> None:
        super().__init__(
            f"{what!r} is being written by somebody else; waited {timeout_s:g} s for its lock.",
            "Try again, or wait longer.",
            what=what,
            timeout_s=timeout_s,
        )


class LeaseHeld(RegistrationError):
    """Somebody else holds the lease. Nothing was written. Try again when it has ended."""

    code = "lease_held"

    def __init__(self, key: str, *, holder: str, host: str, since: str, until: str, number: int) -> None:
        super().__init__(
            f"{key!r} is held by {holder!r} on {host}, since {since}, until {until}.",
            "Wait until then, have it released, or break the lock.",
            Next(operation="locks.break", id=key, missing=("reason",)),
            key=key,
            holder=holder,
            host=host,
            since=since,
            until=until,
            number=number,
        )


class ConsumerBusy(LockTimeout):
    """Somebody else is reading the feed under that name. `details["holder"]` says who."""

    code = "consumer_busy"

    def __init__(self, name: str, holder: dict[str, Any] | None) -> None:
        who = "somebody else"
        if holder:
            who = f"process {holder.get('pid')} on {holder.get('host')}, since {holder.get('since')}"
        RegistrationError.__init__(
            self,
            f"The consumer {name!r} is at work in {who}.",
            "Stop that one first, or work under another name.",
            consumer=name,
            holder=holder,
        )


class ConsumerBlocked(RegistrationError):
    """A consumer met an entry that keeps failing, and goes no further, so that the order is kept."""

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
    """What was waited for did not come in time. Nothing was written."""

    code = "wait_timeout"


class StoreError(RegistrationError):
    """The store failed, so the outcome is unknown: load again and look."""

    code = "store_error"


class TargetUnavailable(StoreError):
    """The place that something is deployed to gave no answer, so it can't be told whether it was done."""

    code = "target_unavailable"


class UnknownEvent(StoreError):
    """The log holds a type of event that this release does not know. Nothing was changed."""

    code = "unknown_event"


class CorruptRegistry(StoreError):
    """The registry's own file is missing, unreadable or of another format. Nothing was changed."""

    code = "corrupt_registry"


class CorruptLog(StoreError):
    """A log is not what was written. Nothing was changed.

    path: the file, relative to the registry. line: from 1; 0 where no line can be named.
    offset_bytes: where the first bad byte's line begins. sound_version: the last version that checks out.
    """

    code = "corrupt_log"

    def __init__(
        self, path: str, *, line: int, offset_bytes: int, reason: str, sound_version: int, stream: str
    ) -> None:
        where = f"{path}, line {line}, byte {offset_bytes}" if line else path
        sound = {0: "No version checks out.", 1: "Version 1 checks out."}.get(
            sound_version, f"Versions 1 to {sound_version} check out."
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
    """What to do about a damaged log, by the directory that it is in."""
    repair = Next(operation="repair", id=stream if area == "manifests" else f"{area}/{stream}")
    advice = "Look for a backup; where there is none, see the whole finding and what a repair would keep"
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

"""Commands: one request about one manifest, and its arguments ("words"), declared and validated once.

`Words` and its parts are the arguments of the pipeline's methods; `command` validates them, all problems at once, and builds the
`Command`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from registration.errors import InvalidArgument, InvalidDocument
from registration.values.documents import check_document
from registration.values.ids import check_id
from registration.values.people import name_problems

if TYPE_CHECKING:
    from registration.values.documents import Document
    from registration.values.leases import Lease

CONTEXT_BYTES_MAX = 64 * 1024
TEXT_CHARACTERS_MAX = 10_000
LABEL_CHARACTERS_MAX = 200
NUMBER_MAX = 2**53 - 1

_DIGEST = re.compile("sha256:[0-9a-f]{64}")
_HEAD = re.compile("[0-9a-f]{64}")


class Via(TypedDict):
    """How an actor came in, from the system: `registration.engine.origin`.

    uid: the user id of the process. login: its name; None if the system has none. host: the name of the machine.
    """

    uid: int
    login: str | None
    host: str


class Basics(TypedDict, total=False):
    """The arguments of every command.

    actor: by default the pipeline's `actor`; `check_actor` tells which names are accepted. comment: a remark to store with the event. idempotency_key: the
    same key with the same request returns the first result again and writes nothing; a manifest remembers its 64 latest keys.
    correlation_id: groups the events of one request; by default the id of the event.
    dry_run: decide, but write nothing; the result says what would be recorded, and `TransitionResult.dry_run` that it was not.
    """

    actor: str | None
    comment: str | None
    idempotency_key: str | None
    correlation_id: str | None
    dry_run: bool


class Pins(TypedDict, total=False):
    """The preconditions of a command.

    expected_version: the manifest is at this version. expected_digest, expected_head: its document has this digest, and its
    log ends in this hash: it is exactly the reviewed state. fence: the fencing number of the caller's lease on the manifest
    (``manifests/<id>``); refused once a later one is known.
    """

    expected_version: int | None
    expected_digest: str | None
    expected_head: str | None
    fence: int | None


class Why(TypedDict, total=False):
    """reason: stored with the event."""

    reason: str | None


class More(TypedDict, total=False):
    """context: further JSON values to store with the event, up to 64 KiB."""

    context: Mapping[str, Any] | None


class CreateWords(Basics, More, total=False):
    """The arguments of a creation."""


class ReachWords(Basics, Pins, total=False):
    """The arguments of `transition_state`, whose context contains the reason as well."""


class RejectWords(Basics, More, Pins, total=False):
    """The arguments of a rejection, besides its reason."""


class Words(Basics, More, Pins, Why, total=False):
    """The arguments of any action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One request. Exactly one of `action` and `target` is given.

    stream: the manifest's id. action: the action to take; target: the state to reach, by any action that
    leads there. document: the new document, for `create` and `revise`. claim: the lease that is held on the manifest at this moment.
    undoes: the version of the event that this command undoes. tags: the tags to add or remove. members: further members of the
    event's data, set by the program, not by users. seen: what the decision saw outside this log, by subject; it goes into the event, so
    that it can be checked. imported: the origin of an imported document: `by` (the importer), `source` (a name) and `line` (0 for a
    whole file). via: how the actor came in (`Via`). The rest is documented in `Words`.
    """

    stream: str
    action: str | None = None
    target: str | None = None
    actor: str | None = None
    document: Document | None = None
    reason: str | None = None
    comment: str | None = None
    context: Mapping[str, Any] | None = None
    expected_version: int | None = None
    expected_digest: str | None = None
    expected_head: str | None = None
    fence: int | None = None
    claim: Lease | None = None
    idempotency_key: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None
    undoes: int | None = None
    tags: tuple[str, ...] = ()
    members: Mapping[str, Any] | None = None
    seen: Mapping[str, Any] | None = None
    imported: Mapping[str, Any] | None = None
    via: Mapping[str, Any] | None = None

    def payload(self) -> dict[str, Any]:
        """The members of the event's data that come from the request, without the action, in the order of the format."""
        said: dict[str, Any] = {}
        if self.reason:
            said["reason"] = self.reason
        if self.comment:
            said["comment"] = self.comment
        if self.context:
            said["context"] = self.context
        if self.members:
            said |= self.members
        return said


def command(stream: str, words: Mapping[str, Any], **rest: Any) -> Command:
    """The command with the arguments `words`, without `dry_run`. rest: members of the `Command` that are not arguments, such as its action.

    Nothing is converted: a number is not accepted as text, nor text as a number.

    Raises:
        InvalidArgument: naming every invalid argument, the expected and the found value.
        TypeError: when there is no such argument.
    """
    check_id(stream)
    checked: dict[str, Any] = {}
    problems: list[str] = []
    for word, value in words.items():
        check = _CHECKS.get(word)
        if check is None:
            raise TypeError(f"unexpected keyword argument {word!r}; expected are {', '.join(_CHECKS)}")
        if value is not None:
            try:
                checked[word] = check(value)
            except ValueError as problem:
                problems.append(f"{word}: {problem} (found {_shorten(value)})")
    if problems:
        raise InvalidArgument(
            f"Invalid request for {stream!r}: {'; '.join(problems)}.",
            "Correct it and try again.",
            manifest_id=stream,
            problems=problems,
        )
    return Command(stream=stream, **checked, **rest)


def check_actor(name: object, what: str = "actor") -> str:
    """Return the name of an actor, as typed.

    what: the name of the argument.

    Raises:
        InvalidArgument: when it is not text of 1 to 200 characters, or has one of `registration.values.people.name_problems`.
    """
    try:
        return _actor(name)
    except ValueError as problem:
        raise InvalidArgument(
            f"Invalid {what} {_shorten(name)}: {problem}.",
            "Pass a valid name.",
            problems=[f"{what}: {problem}"],
        ) from None


def check_via(via: object) -> Via:
    """Return how an actor came in, as a program told it.

    Raises:
        InvalidArgument: when it is not a `Via`.
    """
    if isinstance(via, Mapping) and via.keys() == Via.__annotations__.keys():
        uid, login, host = (via[name] for name in ("uid", "login", "host"))
        texts = [host] if login is None else [login, host]
        if type(uid) is int and abs(uid) <= NUMBER_MAX and all(map(_is_short_text, texts)):
            return {"uid": uid, "login": login, "host": host}
    raise InvalidArgument(
        f"Invalid `via` {_shorten(via)}.",
        "Return {'uid': …, 'login': …, 'host': …}: an integer, text or None, and text of at most 200 characters.",
    )


def _is_short_text(value: object) -> bool:
    try:
        return bool(_sized(value))
    except ValueError:
        return False


def _actor(value: object) -> str:
    text = _sized(value)
    if problems := name_problems(text):
        raise ValueError("; ".join(problems))
    return text


def _label(value: object) -> str:
    text = _sized(value)
    if not text.isprintable() or text != text.strip():
        raise ValueError("it has control characters, or leading or trailing white space")
    return text


def _sized(value: object) -> str:
    text = _unicode(value)
    if not 1 <= len(text) <= LABEL_CHARACTERS_MAX:
        raise ValueError(f"expected 1 to {LABEL_CHARACTERS_MAX} characters")
    return text


def _text(value: object) -> str:
    text = _unicode(value)
    if len(text) > TEXT_CHARACTERS_MAX:
        raise ValueError(f"expected at most {TEXT_CHARACTERS_MAX:,} characters")
    return text.strip()


def _unicode(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("expected text")  # noqa: TRY004  # collected with all other problems
    text = str.__str__(value)  # a member of an enumeration as its value
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it has a lone surrogate, which is not a character") from None
    return text


def _context(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("expected a mapping")  # noqa: TRY004  # as above
    taken = {"reason", "comment", "document"} & value.keys()
    if taken:
        raise ValueError(f"{', '.join(sorted(taken))}: given twice, or not accepted here")
    try:
        return check_document(dict(value), source="it", size_bytes_max=CONTEXT_BYTES_MAX).value
    except InvalidDocument as error:
        raise ValueError("; ".join(error.details["problems"])) from None


def _integer(at_least: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if type(value) is not int or not at_least <= value <= NUMBER_MAX:
            raise ValueError(f"expected an integer from {at_least} to 2**53 - 1")
        return value

    return check


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError("expected sha256: and all 64 hex digits, as shown with the manifest")
    return value


def _head(value: object) -> str:
    if not isinstance(value, str) or not _HEAD.fullmatch(value):
        raise ValueError("expected all 64 hex digits, as shown with the manifest")
    return value


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"


_CHECKS: Mapping[str, Callable[[object], Any]] = {
    "actor": _actor,
    "reason": _text,
    "comment": _text,
    "context": _context,
    "expected_version": _integer(0),
    "expected_digest": _digest,
    "expected_head": _head,
    "fence": _integer(1),
    "idempotency_key": _label,
    "correlation_id": _label,
}
"""The check of each argument; a test compares this with `Words`."""

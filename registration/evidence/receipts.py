"""Receipts: the evidence for a manifest's state, as one portable JSON document that can be verified later. Pure.

A receipt states which document was approved by whom, under which rules, at which position of which log. It is derived from
the log alone, so it is verified by deriving it again, from the log up to that version, and comparing.

Each event up to there is decided again first: for what its rules did not allow there is no receipt, and none is valid.

Changes of the rules that the owner of the registry's directory forced are shown as well, up to the making of the receipt. They are
derived from the registry's own log, at least up to the version under which the manifest's last event was decided.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registration.core.decider import fold
from registration.errors import Next, ReceiptMismatch, Rejected
from registration.evidence.redeciding import redecide
from registration.values.documents import digest_of

if TYPE_CHECKING:
    from registration.core.definition import Definition
    from registration.evidence.kept_rules import KeptRules
    from registration.values.events import Event

FORMAT = 1
KIND = "registration-receipt"
RECEIPT_BYTES_MAX = 64 * 1024 * 1024
"""The maximum size of a receipt to verify: it contains every policy that its events were decided under."""

FORCED_SHOWN_MAX = 16
"""The number of forced changes of the rules that a receipt shows: the latest ones. It has the count of all."""

ReadRule = Callable[[str, str], Any]
"""The rules stored under a digest, by kind (`registration.storage.layout.RULE_KINDS`)."""


@dataclass(frozen=True, slots=True)
class ReceiptCheck:
    """A receipt that matches the log.

    version, state: those of the receipt. current_version, current_state: those of the manifest now. same_document: whether
    the document is still the one that the receipt is of. repairs: of the log, up to the receipt, as in it. imports: its events that were
    imported, as in it. unchecked: the number of events that could not be decided again here, by reason. forced: the changes of the rules
    that the owner of the directory forced, as in it, at most `FORCED_SHOWN_MAX`; forced_count: the number of all.
    """

    manifest_id: str
    version: int
    state: str
    current_version: int
    current_state: str
    same_document: bool
    repairs: tuple[Mapping[str, Any], ...] = ()
    imports: tuple[Mapping[str, Any], ...] = ()
    unchecked: tuple[tuple[str, int], ...] = ()
    forced: tuple[Mapping[str, Any], ...] = ()
    forced_count: int = 0


def make_receipt(
    definition: Definition, events: Sequence[Event], read: ReadRule, rules: KeptRules
) -> dict[str, Any]:
    """The receipt of a manifest after `events`, its whole log up to that point, at least one.

    rules: those under which the events were decided, as they were kept.

    Raises:
        Rejected: when an event is not what its rules allow; or when the current document has no approval: there is no evidence.
    """
    return _receipt(definition, events, read, rules)[0]


def _receipt(
    definition: Definition,
    events: Sequence[Event],
    read: ReadRule,
    rules: KeptRules,
    shown: int = sys.maxsize,
) -> tuple[dict[str, Any], tuple[tuple[str, int], ...]]:
    """The receipt, and the number of events that could not be decided again, by reason.

    shown: the version of the registry's own log up to which forced changes are shown; further if the manifest was decided under a later one.
    """
    unchecked = _allowed(definition, events, rules)
    state = fold(definition, None, events)
    assert state is not None
    approvals = [one for one in state.approvals if one.get("digest") == state.digest]
    if not approvals:
        raise Rejected(
            f"There is no receipt for {state.stream!r} at version {state.version}: it is {state.state}, and "
            "its document has no approval.",
            "Have it approved first, and see what is missing.",
            Next(operation="why", id=state.stream),
            manifest_id=state.stream,
            state=state.state,
            version=state.version,
        )
    brought = [event.version for event in events if "document" in event.data]
    of_state = {*brought[-1:], *(one["version"] for one in approvals), *_way_here(events)}
    told = [event for event in events if event.version in of_state]
    under = state.registry["version"] if state.registry is not None else 0
    members: dict[str, Any] = {
        "format": FORMAT,
        "kind": KIND,
        "registry": state.source,
        "manifest_id": state.stream,
        "state": state.state,
        "version": state.version,
        "time": state.updated_at,
        "digest": state.digest,
        "log": {"size": state.position.size_bytes, "head": state.position.head},
        "approvals": [dict(one) for one in approvals],
        **_repairs(events),
        **_imports(events),
        **_forced(rules, max(shown, under)),
        "events": [_event(event) for event in told],
        "rules": _rules(told, read),
    }
    return {**members, "checksum": digest_of(members)}, unchecked


def _allowed(
    definition: Definition, events: Sequence[Event], rules: KeptRules
) -> tuple[tuple[str, int], ...]:
    """Refuse if an event is not what its rules allow; returns the number of those that can't be asked, by reason."""
    unchecked: Counter[str] = Counter()
    for doubt in redecide(definition, rules, events):
        if doubt.kind == "unchecked":
            unchecked[doubt.group] += 1
        if doubt.kind != "damage":
            continue
        stream = events[-1].subject
        raise Rejected(
            f"There is no receipt for {stream!r}: line {doubt.version} of its log is not what the rules allow: {doubt.reason}.",
            "Verify the manifest. Don't rely on its state.",
            Next(operation="verify", id=stream),
            manifest_id=stream,
            version=doubt.version,
            reason=doubt.reason,
        )
    return tuple(sorted(unchecked.items()))


def check_receipt(
    receipt: Mapping[str, Any],
    definition: Definition,
    events: Sequence[Event],
    read: ReadRule,
    rules: KeptRules,
) -> ReceiptCheck:
    """Compare a receipt with the complete log of the manifest that it names. rules: as for `make_receipt`.

    Raises:
        ReceiptMismatch: naming everything that differs.
    """
    version = receipt.get("version")
    unchecked: tuple[tuple[str, int], ...] = ()
    problems = form_problems(receipt)
    if not problems and not 1 <= receipt["version"] <= len(events):
        problems = [f"/version: it is {version}, but the log ends at version {len(events)}"]
    if not problems:
        try:
            made, unchecked = _receipt(definition, events[:version], read, rules, _forced_to(receipt))
        except Rejected as error:
            problems = [error.problem.rstrip(".")]
        else:
            problems = _differences(receipt, made)
    if problems:
        raise mismatch(receipt, problems)
    now = fold(definition, None, events)
    assert now is not None
    forced = receipt.get("forced", {"count": 0, "events": []})
    return ReceiptCheck(
        manifest_id=now.stream,
        version=receipt["version"],
        state=receipt["state"],
        current_version=now.version,
        current_state=now.state,
        same_document=now.digest == receipt["digest"],
        repairs=tuple(_repairs(events[:version]).get("repairs", ())),
        imports=tuple(_imports(events[:version]).get("imports", ())),
        unchecked=unchecked,
        forced=tuple(forced["events"]),
        forced_count=forced["count"],
    )


def form_problems(receipt: Mapping[str, Any]) -> list[str]:
    """The problems that show without a log: it is not a receipt, or was changed."""
    if receipt.get("kind") != KIND:
        return [f"/kind: it is {receipt.get('kind')!r}, not {KIND!r}"]
    if receipt.get("format") != FORMAT:
        return [f"/format: it is {receipt.get('format')!r}; this release reads format {FORMAT}"]
    for name, kind in (
        ("manifest_id", str),
        ("registry", str),
        ("version", int),
        ("state", str),
    ):
        if type(receipt.get(name)) is not kind:
            return [f"/{name}: it is {receipt.get(name)!r}"]
    members = {name: value for name, value in receipt.items() if name != "checksum"}
    if receipt.get("checksum") != digest_of(members):
        return ["/checksum: it does not match: the receipt was modified"]
    return []


def mismatch(receipt: Mapping[str, Any], problems: list[str]) -> ReceiptMismatch:
    """The error that a receipt is invalid."""
    named = receipt.get("manifest_id")
    return ReceiptMismatch(
        f"The receipt{f' for {named!r}' if isinstance(named, str) else ''} is invalid: {'; '.join(problems)}.",
        "Don't rely on it. Make one of what the log says now.",
        *([Next(operation="receipt", id=named)] if isinstance(named, str) else []),
        manifest_id=named,
        problems=problems,
    )


def _way_here(events: Sequence[Event]) -> list[int]:
    """The version of the event that led to the current state."""
    place = events[-1].to_state
    return [
        next(event.version for event in reversed(events) if event.from_state != place or event.version == 1)
    ]


def _event(event: Event) -> dict[str, Any]:
    return {
        "version": event.version,
        "time": event.time,
        "actor": event.actor,
        "action": event.action,
        "to": event.to_state,
        "digest": event.data.get("digest"),
        "lifecycle": event.data.get("lifecycle"),
        "policy": event.data.get("policy"),
        **{name: event.data[name] for name in _IF_SAID if name in event.data},
        "hash": event.hash,
    }


_IF_SAID = ("roster", "registry", "counted", "imported", "via")
"""Members of events that a receipt shows where they are: release 0.1 wrote none of them."""


def _imports(events: Sequence[Event]) -> dict[str, Any]:
    """The events that were imported, if there are any: by whom, and from which line of what."""
    found = [
        {"version": event.version, "actor": event.actor, **event.data["imported"], "hash": event.hash}
        for event in events
        if isinstance(event.data.get("imported"), dict)
    ]
    return {"imports": found} if found else {}


def _repairs(events: Sequence[Event]) -> dict[str, Any]:
    """The repairs of the log, if it has any: what was lost, and the approvals that lapsed; None where release 0.1 repaired it."""
    found = [
        {
            "version": event.version,
            "time": event.time,
            "actor": event.actor,
            "reason": event.data.get("reason"),
            "lost": dict(event.data["lost"]),
            "lapsed": event.data.get("lapsed"),
            "hash": event.hash,
        }
        for event in events
        if "lost" in event.data
    ]
    return {"repairs": found} if found else {}


def _forced(rules: KeptRules, version: int) -> dict[str, Any]:
    """The changes of the rules that the owner of the directory forced, up to a version of the registry's own log, if there are any."""
    found = [one for one in (rules.log.forced if rules.log is not None else ()) if one["version"] <= version]
    return {"forced": {"count": len(found), "events": found[-FORCED_SHOWN_MAX:]}} if found else {}


def _forced_to(receipt: Mapping[str, Any]) -> int:
    """The version of the last forced change that a receipt shows; 0 if it shows none. Later ones were made after it."""
    if "forced" not in receipt:
        return 0
    try:
        version = receipt["forced"]["events"][-1]["version"]
    except (KeyError, TypeError, IndexError):
        return sys.maxsize  # it is not what a receipt shows
    return version if type(version) is int else sys.maxsize


def _rules(events: Sequence[Event], read: ReadRule) -> dict[str, Any]:
    """The rules that the events name, in full; schemas by the digests in the policies."""
    lifecycles = sorted({event.data["lifecycle"]["digest"] for event in events if "lifecycle" in event.data})
    policies = sorted({event.data["policy"] for event in events if "policy" in event.data})
    rosters = sorted({event.data["roster"] for event in events if "roster" in event.data})
    return {
        "lifecycles": {digest: read("lifecycles", digest) for digest in lifecycles},
        "policies": {digest: read("policies", digest) for digest in policies},
        **({"rosters": {digest: read("rosters", digest) for digest in rosters}} if rosters else {}),
    }


def _differences(receipt: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    # Receipts of release 0.1 do not name repairs, which lapsed nothing then.
    untold = {"checksum"}
    if "repairs" not in receipt and all(one["lapsed"] is None for one in made.get("repairs", ())):
        untold.add("repairs")
    return [
        f"/{name}: it does not match the log"
        for name in made
        if name not in untold
        and (name not in receipt or digest_of([receipt[name]]) != digest_of([made[name]]))
    ] + [f"/{name}: unknown member" for name in receipt if name not in made]

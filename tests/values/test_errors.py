"""Errors: one tree, whole across processes, the same facts as text and as JSON."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys

import pytest

from registration import errors
from registration.errors import (
    AlreadyExists,
    ConsumerBlocked,
    ConsumerBusy,
    CorruptLog,
    CorruptRegistry,
    GuardRefused,
    IdempotencyMismatch,
    IllegalTransition,
    InvalidAnswer,
    InvalidArgument,
    InvalidDefinition,
    InvalidDocument,
    InvalidHooks,
    InvalidPolicy,
    InvalidWizard,
    LeaseHeld,
    LeaseLost,
    LockTimeout,
    NameTaken,
    Next,
    NotFound,
    NotYours,
    PinMismatch,
    ReceiptMismatch,
    RegistrationError,
    Rejected,
    SessionActive,
    SessionEnded,
    SessionExpired,
    SnapshotMismatch,
    StaleFence,
    StoreError,
    TargetRefused,
    TargetUnavailable,
    UnknownEvent,
    VersionConflict,
    WaitTimeout,
    WorkFailed,
    WorkStuck,
)

PLAIN = (
    RegistrationError,
    InvalidArgument,
    NotFound,
    AlreadyExists,
    NameTaken,
    Rejected,
    IllegalTransition,
    GuardRefused,
    InvalidAnswer,
    NotYours,
    SessionEnded,
    SessionExpired,
    SessionActive,
    WorkFailed,
    WorkStuck,
    PinMismatch,
    LeaseLost,
    StaleFence,
    ReceiptMismatch,
    IdempotencyMismatch,
    SnapshotMismatch,
    StoreError,
    TargetRefused,
    TargetUnavailable,
    UnknownEvent,
    CorruptRegistry,
    WaitTimeout,
)
"""Those that take their words from whoever raises them."""

SAMPLES = [
    *(
        kind(
            "It is wrong.",
            "Do it right.",
            Next(operation="show", id="a"),
            manifest_id="a",
            problem="p",
            list=[1, {"b": None}],
        )
        for kind in PLAIN
    ),
    InvalidDefinition("ticket", ["one", "two"]),
    InvalidPolicy("policy.toml", ["one", "two"]),
    InvalidWizard("survey", ["one", "two"]),
    InvalidDocument("card.json", ["at /a: wrong"], more=True),
    InvalidHooks("hooks.toml", ["one", "two"]),
    VersionConflict("a", 3, 4),
    VersionConflict("a", 3),
    LockTimeout("a", 2.5),
    ConsumerBusy("index", {"pid": 7, "host": "vm", "since": "2026-01-01T00:00:00.000000Z"}),
    ConsumerBusy("index", None),
    ConsumerBlocked("index", "a version 2 (approve)", "OSError: no", 8, "1-0123abcd:400"),
    LeaseHeld("manifests/a", holder="bea", host="desk", since="then", until="soon", number=3),
    CorruptLog("manifests/a/events.jsonl", line=3, offset_bytes=900, reason="r", sound_version=2, stream="a"),
    CorruptLog("manifests/a/events.jsonl", line=0, offset_bytes=0, reason="r", sound_version=0, stream="a"),
]

TREE = {
    "RegistrationError": (Exception,),
    "InvalidArgument": (RegistrationError, ValueError),
    "InvalidDefinition": (InvalidArgument,),
    "InvalidPolicy": (InvalidArgument,),
    "InvalidWizard": (InvalidArgument,),
    "InvalidHooks": (InvalidArgument,),
    "NotFound": (RegistrationError, LookupError),
    "AlreadyExists": (RegistrationError,),
    "NameTaken": (AlreadyExists,),
    "Rejected": (RegistrationError,),
    "InvalidDocument": (Rejected,),
    "IllegalTransition": (Rejected,),
    "GuardRefused": (Rejected,),
    "InvalidAnswer": (Rejected,),
    "NotYours": (Rejected,),
    "SessionEnded": (Rejected,),
    "SessionExpired": (SessionEnded,),
    "SessionActive": (AlreadyExists,),
    "WorkFailed": (Rejected,),
    "WorkStuck": (Rejected,),
    "PinMismatch": (Rejected,),
    "LeaseLost": (Rejected,),
    "StaleFence": (Rejected,),
    "ReceiptMismatch": (Rejected,),
    "IdempotencyMismatch": (Rejected,),
    "SnapshotMismatch": (Rejected,),
    "TargetRefused": (Rejected,),
    "VersionConflict": (RegistrationError,),
    "LockTimeout": (RegistrationError,),
    "ConsumerBusy": (LockTimeout,),
    "ConsumerBlocked": (RegistrationError,),
    "WaitTimeout": (RegistrationError,),
    "LeaseHeld": (RegistrationError,),
    "StoreError": (RegistrationError,),
    "TargetUnavailable": (StoreError,),
    "UnknownEvent": (StoreError,),
    "CorruptRegistry": (StoreError,),
    "CorruptLog": (StoreError,),
}
"""What callers may rely on in an `except`."""

ADVICE = "Nothing was changed. Look for a backup; without one, see all findings and what a repair would keep."

each = pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)


def classes():
    """Every error class of the module."""
    return {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, RegistrationError)
    }


def test_the_tree():
    """Each class stands where it says what to do: `except Rejected` never catches what can be tried again."""
    assert {name: kind.__bases__ for name, kind in classes().items()} == TREE


def test_every_class_is_tried_here():
    """No error class is left out of these tests."""
    assert {type(error) for error in SAMPLES} == set(classes().values())


def test_every_class_has_a_code_of_its_own():
    """The stable name in JSON tells the classes apart."""
    codes = {name: kind.code for name, kind in classes().items()}

    assert len(set(codes.values())) == len(codes)
    assert codes["CorruptLog"] == "corrupt_log"
    assert all(code.isascii() and code == code.lower() for code in codes.values())


@each
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_crosses_a_process_boundary_whole(error, protocol):
    """Pickled and read back, as by `multiprocessing`, an error says and carries the same."""
    again = pickle.loads(pickle.dumps(error, protocol))

    assert type(again) is type(error)
    assert str(again) == str(error)
    assert (again.problem, again.next_step, again.details) == (error.problem, error.next_step, error.details)
    assert again.next == error.next
    assert again.args == error.args == (error.problem,)
    assert again.as_json() == error.as_json()


@each
def test_an_error_can_be_copied(error):
    """A copy is the same error; changing its details leaves the first as it was."""
    again = copy.deepcopy(error)
    again.details["attempts"] = 3

    assert str(again) == str(error)
    assert "attempts" not in error.details


def test_what_was_added_to_an_error_crosses_as_well():
    """Details and next steps that were set on the way, as the engine does, are not lost."""
    error = VersionConflict("a", 3, 4)
    error.details["attempts"] = 20
    error.next_step = "Wait."

    again = pickle.loads(pickle.dumps(error))

    assert again.details["attempts"] == 20
    assert str(again) == "'a' was expected at version 3, but it is at version 4. Wait."


def test_another_process_reads_an_error(tmp_path):
    """A process that has imported nothing of this package yet gets the error whole."""
    path = tmp_path / "error.pickle"
    path.write_bytes(pickle.dumps(SAMPLES[-2]))
    script = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')))"

    read = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)

    assert read.stdout == f"{SAMPLES[-2]}\n"


@each
def test_an_error_as_json(error):
    """An error is one JSON object: a stable name, the problem, the next step as a text and as data, the facts."""
    told = json.loads(json.dumps(error.as_json()))

    assert list(told) == ["error", "message", "next_step", "next_actions", "details"]
    assert told["error"] == type(error).code
    assert told["message"] == error.problem
    assert told["next_step"] == error.next_step
    assert told["next_actions"] == [step.as_json() for step in error.next]
    assert told["details"] == error.details


@each
def test_the_text_of_an_error_is_the_problem_and_the_next_step(error):
    """What people read is what is wrong, and then what to do."""
    assert str(error) == f"{error.problem} {error.next_step}"


def test_an_error_without_a_next_step_has_no_blank_at_its_end():
    """Where the problem says it all, it is all that is said."""
    assert str(NotFound("There is none.")) == "There is none."
    assert NotFound("There is none.").as_json() == {
        "error": "not_found",
        "message": "There is none.",
        "next_step": "",
        "next_actions": [],
        "details": {},
    }


@pytest.mark.parametrize(
    ("error", "text", "details"),
    [
        (
            VersionConflict("a", 3, 4),
            "'a' was expected at version 3, but it is at version 4. Load it again and decide again.",
            {"manifest_id": "a", "expected": 3, "found": 4},
        ),
        (
            VersionConflict("a", 3),
            "'a' was expected at version 3, but it has moved on. Load it again and decide again.",
            {"manifest_id": "a", "expected": 3, "found": None},
        ),
        (
            VersionConflict("a", 0, 0),
            "'a' was expected at version 0, but it is at version 0. Load it again and decide again.",
            {"manifest_id": "a", "expected": 0, "found": 0},
        ),
        (
            LockTimeout("a", 10.0),
            "Timed out after 10 s waiting for the lock on 'a': another process is writing. Try again, or wait longer.",
            {"what": "a", "timeout_s": 10.0},
        ),
        (
            LeaseHeld("manifests/a", holder="bea", host="desk", since="S", until="U", number=3),
            (
                "'manifests/a' is locked by 'bea' on desk, since S, until U. Wait until then, ask its holder to release it, or break the "
                "lock."
            ),
            {"key": "manifests/a", "holder": "bea", "host": "desk", "since": "S", "until": "U", "number": 3},
        ),
        (
            InvalidDefinition("ticket", ["it has no way out"]),
            "The lifecycle 'ticket' has 1 problem: it has no way out. Fix it and try again.",
            {"name": "ticket", "problems": ["it has no way out"]},
        ),
        (
            InvalidPolicy("acme/policy.toml", ["roles: it is missing", "kinds[0].name: it is missing"]),
            (
                "The policy acme/policy.toml has 2 problems: roles: it is missing; kinds[0].name: it is missing. "
                "Fix them all and try again."
            ),
            {
                "source": "acme/policy.toml",
                "problems": ["roles: it is missing", "kinds[0].name: it is missing"],
            },
        ),
        (
            InvalidHooks("acme/hooks.toml", ["hooks[0].url: it is missing"]),
            (
                "The hooks acme/hooks.toml have 1 problem: hooks[0].url: it is missing. Fix them all; until then no hook "
                "runs."
            ),
            {"source": "acme/hooks.toml", "problems": ["hooks[0].url: it is missing"]},
        ),
        (
            ConsumerBusy("index", {"pid": 7, "host": "vm", "since": "2026-01-01T00:00:00.000000Z"}),
            (
                "The consumer 'index' is in use by process 7 on vm, since 2026-01-01T00:00:00.000000Z. Stop that process first, "
                "or use another name."
            ),
            {
                "consumer": "index",
                "holder": {"pid": 7, "host": "vm", "since": "2026-01-01T00:00:00.000000Z"},
            },
        ),
        (
            ConsumerBlocked("index", "a version 2 (approve)", "OSError: no", 8, "1-0123abcd:400"),
            (
                "The consumer 'index' is stuck at a version 2 (approve) after 8 attempts: OSError: no. Retry the entry, or "
                "skip it."
            ),
            {
                "consumer": "index",
                "entry": "a version 2 (approve)",
                "error": "OSError: no",
                "tried": 8,
                "cursor": "1-0123abcd:400",
            },
        ),
        (
            InvalidDocument("card.json", ["at /a: x", "at /b: y"], more=True),
            "card.json is invalid: at /a: x; at /b: y; and more. Correct the document and try again.",
            {"source": "card.json", "problems": ["at /a: x", "at /b: y"]},
        ),
        (
            CorruptLog(
                "manifests/a/events.jsonl",
                line=3,
                offset_bytes=900,
                reason="it is torn",
                sound_version=2,
                stream="a",
            ),
            f"'a' is damaged at manifests/a/events.jsonl, line 3, byte 900: it is torn. Versions 1 to 2 are valid. {ADVICE}",
            {
                "manifest_id": "a",
                "path": "manifests/a/events.jsonl",
                "line": 3,
                "offset_bytes": 900,
                "reason": "it is torn",
                "sound_version": 2,
            },
        ),
        (
            CorruptLog(
                "manifests/a/events.jsonl",
                line=0,
                offset_bytes=0,
                reason="it is gone",
                sound_version=0,
                stream="a",
            ),
            f"'a' is damaged at manifests/a/events.jsonl: it is gone. No version is valid. {ADVICE}",
            {
                "manifest_id": "a",
                "path": "manifests/a/events.jsonl",
                "line": 0,
                "offset_bytes": 0,
                "reason": "it is gone",
                "sound_version": 0,
            },
        ),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, Exception) else "",
)
def test_what_the_errors_with_facts_of_their_own_say(error, text, details):
    """Errors with a fixed form name the object, what was expected, what was found, and what to do next."""
    assert str(error) == text
    assert error.details == details


def test_the_builtins_catch_them_too():
    """Code that knows nothing of this package still catches the usual kinds."""
    with pytest.raises(ValueError, match="wrong"):
        raise InvalidArgument("It is wrong.")
    with pytest.raises(LookupError, match="gone"):
        raise NotFound("It is gone.")

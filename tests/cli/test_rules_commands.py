"""The command line's commands about rules, evidence and earlier states, as somebody at a terminal meets them."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonpatch
import pytest
from click.testing import CliRunner

from registration import RegistrationPipeline
from registration.cli.app import COMMANDS, app
from registration.cli.exits import EXIT_CODES
from registration.rules.guards.registry import BUILTIN
from registration.rules.lifecycles.registration import REGISTRATION
from registration.testing import FakeClock
from registration.values.documents import digest_of
from tests.cli.test_cli import FIXTURES, ID, SERVER, Terminal, run
from tests.kit.builders import forge
from tests.kit.choice import sampled
from tests.kit.disks import LOG, SNAPSHOT
from tests.kit.disks import tree as untyped_tree
from tests.kit.policies import put_in_force

FULL = FIXTURES / "policies" / "full"
PUBLIC = str(FIXTURES / "lifecycles" / "public-registry.toml")
EXAMPLES = FIXTURES.parent / "examples" / "lifecycles"
DOCUMENT = json.loads(Path(SERVER).read_bytes())


@pytest.fixture
def terminal(root: Path) -> Terminal:
    terminal = Terminal(root)
    terminal.ok("init")
    return terminal


@pytest.fixture
def governed(terminal: Terminal) -> Terminal:
    """A registry under the full policy, and the sample server in it."""
    terminal.ok("policy", "apply", str(FULL / "policy.toml"))
    terminal.ok("create", SERVER)
    return terminal


@pytest.fixture
def registered(governed: Terminal) -> Terminal:
    """The sample server went the whole way."""
    governed.ok("submit", ID)
    for actor in ("bea", "cyd"):
        governed.ok("approve", ID, "--actor", actor)
    governed.ok("register", ID, "--actor", "dot")
    return governed


@pytest.fixture
def revised(terminal: Terminal, tmp_path: Path) -> Terminal:
    """A manifest `a` with three documents: version 1, 2 and 4."""
    documents = [
        {"name": "a", "tags": ["x"]},
        {"name": "a", "tags": ["x", "y"]},
        {"name": "b", "licence": "MIT"},
    ]
    for number, document in enumerate(documents, start=1):
        (tmp_path / f"{number}.json").write_text(json.dumps(document))
    terminal.ok("create", "--id", "a", str(tmp_path / "1.json"))
    terminal.ok("revise", "a", str(tmp_path / "2.json"), "--actor", "bea")
    terminal.ok("submit", "a")
    terminal.ok("reject", "a", "--reason", "no licence", "--actor", "cyd")
    terminal.ok("revise", "a", str(tmp_path / "3.json"))
    return terminal


def tree(root: Path) -> dict[str, Any]:
    """Every file and directory below a root, with its content."""
    return dict(untyped_tree(root))  # type: ignore[no-untyped-call]


def shown(terminal: Terminal, *words: str) -> str:
    """What a real terminal gets of a command, on both streams: where there is none, click takes out what it would obey."""
    environment = {"REGISTRATION_ROOT": str(terminal.root), "REGISTRATION_ACTOR": "ada"}
    result = CliRunner().invoke(app, words, input="", prog_name="registration", env=environment, color=True)
    assert result.exit_code in {code for code, _, _ in EXIT_CODES}, words
    assert "Traceback" not in result.output, words
    assert "should not happen" not in result.output, (words, result.output)
    return result.output


def obeyed(text: str) -> list[str]:
    """The characters in it that a terminal would do something about, other than going to the next line."""
    return [character for character in text.replace("\n", "") if not character.isprintable()]


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def objects(text: str) -> list[dict[str, Any]]:
    """JSON, one object a line."""
    return [json.loads(line) for line in text.splitlines()]


# -- help ----------------------------------------------------------------------------------------------------


def every_command(
    command: click.Command = app, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that it is called by."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in command.list_commands(click.Context(command)):
        below = command.get_command(click.Context(command), name)
        assert below is not None
        yield from every_command(below, (*path, name))


def test_every_command_shows_what_can_be_typed() -> None:
    """The examples in the help are lines of that command, with options and arguments that it takes."""
    shown = 0
    for path, command in every_command():
        printed = CliRunner().invoke(app, [*path, "--help"], prog_name="registration").output
        examples = [
            line.strip() for line in printed.partition("Examples:")[2].splitlines() if "registration " in line
        ]
        mine = [line for line in examples if line.partition("registration ")[2].startswith(" ".join(path))]
        assert mine, path
        assert printed.startswith(f"Usage: registration {' '.join(path)} ")
        for line in mine:
            typed = re.split(r" [|>&]|\)\"", line.partition("registration ")[2])[0]
            words = shlex.split(typed)[len(path) :]
            command.make_context(" ".join(path), words)  # raises where an option or an argument is none
            shown += 1

    assert shown > len(COMMANDS)


@pytest.mark.parametrize("group", ["lifecycle", "policy"])
def test_a_group_lists_its_commands(group: str) -> None:
    """Called without one, as with `--help`; a word that is none is refused with the nearest."""
    bare = CliRunner().invoke(app, [group], prog_name="registration")
    wrong = CliRunner().invoke(app, [group, "shwo"], prog_name="registration")

    assert "check" in bare.output
    assert "show" in bare.output
    assert bare.exit_code == wrong.exit_code == 2
    assert "Unknown command 'shwo'. Did you mean 'show'?" in wrong.stderr


# -- why -----------------------------------------------------------------------------------------------------


def test_why_tells_each_rule_who_could_and_what_is_next(governed: Terminal) -> None:
    """On one screen; data, so on stdout."""
    governed.ok("submit", ID)

    result = governed.type("why", ID, "approve")

    assert result.exit_code == 0
    assert result.stderr == ""
    assert lines(result.stdout) == [
        f"{ID} is REVIEWED, at version 2.",
        "",
        "approve -> APPROVED: refused for ada",
        "  yes schema (policy): the document complies with the JSON Schema of mcp-server",
        "  yes mcp_server (policy): the document complies with the rules for MCP servers",
        "  no  role (policy): 'ada' is not reviewer",
        "  no  not_the_author (policy): 'ada' submitted this document; another person must approve it",
        "  possible for: bea, cyd",
        f"  next: registration approve {ID} --actor bea",
    ]


def test_why_tells_everything_that_can_be_done(governed: Terminal) -> None:
    """Without an action, one paragraph for each; where nothing leads on, that is said."""
    everything = governed.ok("why", ID)
    for words in (("submit", ID), ("approve", ID, "--actor", "bea"), ("approve", ID, "--actor", "cyd")):
        governed.ok(*words)
    allowed = governed.ok("why", ID, "register", "--actor", "dot")
    governed.ok("register", ID, "--actor", "dot")

    assert [line.partition(":")[0] for line in lines(everything) if " -> " in line] == [
        "revise -> DRAFT",
        "submit_for_review -> REVIEWED",
    ]
    assert "register -> REGISTERED: allowed for dot" in allowed
    assert lines(governed.ok("why", ID)) == [
        f"{ID} is REGISTERED, at version 5.",
        "The state is final.",
    ]
    assert "approve: the lifecycle has no such transition from REGISTERED" in governed.ok(
        "why", ID, "approve"
    )


def test_why_takes_what_would_be_said(terminal: Terminal) -> None:
    """With the reason, the comment and the context as they would be given."""
    terminal.ok("create", "--id", "a", SERVER)
    terminal.ok("submit", "a")

    refused, allowed = (terminal.ok("why", "a", "reject", *words) for words in ((), ("--reason", "unclear")))

    assert "reject -> DRAFT: refused for ada" in refused
    assert "  next: registration reject a --reason TEXT" in refused
    assert "reject -> DRAFT: allowed for ada" in allowed


def test_why_in_json_is_what_a_program_gets(governed: Terminal) -> None:
    """One object for each action, as in Python, in a refusal and in `refusals.jsonl`; `next` is worded as a line to type."""
    governed.ok("submit", ID)
    with RegistrationPipeline(governed.root, actor="ada") as pipeline:
        explained = [one.as_json() for one in pipeline.explain(ID)]

    told = objects(governed.ok("why", ID, "--json"))
    refused = json.loads(governed.fails(4, "approve", ID, "--json"))
    noted = json.loads((governed.root / "refusals.jsonl").read_text())

    assert [{**one, "next": ""} for one in told] == [{**one, "next": ""} for one in explained]
    assert refused["details"] == told[0]
    assert noted["refusal"] == explained[0]
    assert told[0]["next"] == f"registration approve {ID} --actor bea"
    assert refused["error"] == "guard_refused"


def test_why_writes_nothing(governed: Terminal) -> None:
    """However often it is asked."""
    before = tree(governed.root)

    for words in ((), ("register",), ("approve", "--actor", "eve")):
        governed.ok("why", ID, *words)

    assert tree(governed.root) == before


def test_a_refusal_lists_what_is_wrong_with_a_document(governed: Terminal, tmp_path: Path) -> None:
    """Each problem with its place and its rule, one a line, then what to do about it."""
    (tmp_path / "bad.json").write_text(json.dumps({**DOCUMENT, "description": "", "version": "latest"}))

    said = governed.fails(4, "create", "--id", "b", str(tmp_path / "bad.json"))

    problems = [line for line in lines(said) if line.startswith("  - at ")]
    assert any(line.startswith("  - at /description: ") for line in problems)
    assert any(line.startswith("  - at /version: ") and line.endswith("(M4)") for line in problems)
    assert "Correct every problem listed, and submit the document again." in said
    assert said.count("Error: ") == 1


# -- act, undo -------------------------------------------------------------------------------------------------


@pytest.fixture
def public(root: Path) -> Terminal:
    """A registry with a lifecycle in which nothing is called as in the usual one."""
    terminal = Terminal(root)
    said = terminal.type("init", "--lifecycle", PUBLIC)
    assert lines(said.stderr)[-1] == "Next: registration act ID submit FILE"
    return terminal


def test_act_does_whatever_the_lifecycle_offers(public: Terminal) -> None:
    """By its names, with a file where the action brings a document."""
    made = public.ok("act", ID, "submit", SERVER)
    public.ok("act", ID, "accept", "--actor", "bea", "--reason", "sound")
    public.ok("act", ID, "revise", SERVER)
    removed = public.type("act", ID, "remove")

    assert made == f"{ID}  PROPOSED  (version 1)\n"
    assert removed.stdout == f"{ID}  CHANGE_PROPOSED -> REMOVED  (version 4)\n"
    assert removed.stderr == f"Next: registration why {ID}\n"
    assert [event["data"]["action"] for event in objects(public.ok("log", ID, "--json"))] == [
        "submit", "accept", "revise", "remove",
    ]  # fmt: skip


def test_a_lifecycle_without_create_says_how_to_begin(public: Terminal) -> None:
    """Wherever somebody would be told to create something, it is told by what."""
    advice = "Make one in another way: `registration act ID submit FILE`, `registration act ID publish FILE`."

    assert advice in public.fails(2, "create", SERVER)
    assert public.type("list").stderr == "There is no manifest yet.\nNext: registration act ID submit FILE\n"
    assert public.ok("list") == ""


def test_act_acts_on_what_was_looked_at(terminal: Terminal) -> None:
    """Or not at all: with another digest or another head it is refused, saying what there is."""
    terminal.ok("create", "--id", "a", SERVER)
    terminal.ok("submit", "a")
    shown = terminal.json("show", "a")
    head = objects(terminal.ok("log", "a", "--json"))[-1]["hash"]

    other = terminal.fails(4, "approve", "a", "--digest", "sha256:" + "0" * 64)
    moved = terminal.fails(4, "act", "a", "approve", "--head", "0" * 64)
    terminal.ok("approve", "a", "--digest", str(shown["digest"]), "--head", head)

    assert f"has the digest {shown['digest']};" in other
    assert f"has the head {head};" in moved
    assert "It changed since it was reviewed: review it again, then decide again." in moved
    assert "state     APPROVED" in terminal.ok("show", "a")


def test_undo_takes_the_last_step_back(revised: Terminal) -> None:
    """And says what it did as every other command does; the log tells both."""
    undone = revised.ok("undo", "a", "--comment", "too early")
    again = revised.fails(4, "undo", "a")

    assert undone == "a  DRAFT -> DRAFT  (version 6)\n"
    assert json.loads(revised.ok("show", "--document", "a")) == {"name": "a", "tags": ["x", "y"]}
    assert objects(revised.ok("log", "a", "--json"))[-1]["data"]["undoes"] == 5
    assert lines(again) == [
        "Error: Version 6 of 'a' (revise) can't be undone: it is itself the undoing of version 5.",
        "See what can be done from here: `registration why a`.",
    ]


def test_undo_says_what_the_way_back_needs(terminal: Terminal) -> None:
    """A submission is taken back by a rejection, and that needs a reason."""
    terminal.ok("create", "--id", "a", SERVER)
    terminal.ok("submit", "a")

    assert "'reject' of 'a' was refused: a reason is required but missing." in terminal.fails(4, "undo", "a")
    assert terminal.json("undo", "a", "--reason", "too early")["to"] == "DRAFT"


# -- tick ------------------------------------------------------------------------------------------------------


@pytest.fixture
def late(root: Path) -> Terminal:
    """Three drafts that nobody has touched for thirty days, since January 2001."""
    lifecycle, clock = EXAMPLES / "agent-upkeep.toml", FakeClock(978_307_200_000_000_000)
    with RegistrationPipeline(root, lifecycle=lifecycle, actor="ada", clock=clock) as pipeline:
        for id in "abc":
            pipeline.create(id, {"title": id})
            pipeline.revise(id, {"title": id * 2})
    return Terminal(root)


def test_tick_records_what_is_due(late: Terminal) -> None:
    """Each with the time that it was due at; a second look finds nothing."""
    before = tree(late.root)
    planned = late.type("tick", "--dry-run")
    unchanged = tree(late.root) == before
    one = late.type("tick", "a")
    rest = late.type("tick")
    nothing = late.type("tick")

    assert unchanged
    assert one.stdout == "a  DRAFT -> EXPIRED  (expire, due 2001-01-31 00:00:03Z)\n"
    assert one.stderr == "1 time-out recorded.\n"
    assert lines(one.stdout) + lines(rest.stdout) == lines(planned.stdout)
    assert planned.stderr == "3 time-outs would be recorded; nothing was changed.\n"
    assert nothing.stdout == ""
    assert nothing.stderr == "0 time-outs recorded.\n"
    assert "state    EXPIRED" in late.ok("show", "a")


def test_why_says_that_a_time_out_is_due(late: Terminal) -> None:
    """What can be done is told from where the next write finds the manifest, and why that is elsewhere is said."""
    before = tree(late.root)
    told = lines(late.ok("why", "a"))
    submit = objects(late.ok("why", "a", "submit_for_review", "--json"))[0]

    assert told[:2] == [
        "a is DRAFT, at version 2.",
        "A time-out is due: the next write, or `registration tick`, first moves it to EXPIRED.",
    ]
    assert [line for line in told if "->" in line] == [
        "reopen -> DRAFT: allowed for ada",
        "withdraw -> WITHDRAWN: refused for ada",
    ]
    assert (submit["state"], submit["version"], submit["to"]) == ("EXPIRED", 3, None)
    assert tree(late.root) == before


def test_tick_in_json_gives_the_events(late: Terminal) -> None:
    """As they stand in the log then."""
    told = objects(late.ok("tick", "--json"))

    logged = [
        event for id in "abc" for event in objects(late.ok("log", id, "--json")) if "timeout" in event["data"]
    ]
    assert told == logged
    assert {event["data"]["timeout"]["due"] <= event["data"]["timeout"]["fired"] for event in told} == {True}


@pytest.mark.damaged
def test_a_damaged_manifest_does_not_hide_what_else_is_due(late: Terminal) -> None:
    """It is named, the others are looked at, and the exit code says that there is damage."""
    log = late.root / "manifests" / "b" / LOG
    log.write_bytes(log.read_bytes().replace(b'"create"', b'"creatE"'))
    (log.parent / SNAPSHOT).unlink()

    result = late.type("tick")

    assert result.exit_code == 7
    assert {line.split()[0] for line in lines(result.stdout)} == {"a", "c"}
    assert "'b' is damaged at manifests/b/events.jsonl, line 1" in result.stderr


# -- receipts --------------------------------------------------------------------------------------------------


def test_a_receipt_is_carried_away_and_checked(registered: Terminal, tmp_path: Path) -> None:
    """Printed into a file, read again from there or from a pipe."""
    printed = registered.ok("receipt", ID)
    (tmp_path / "receipt.json").write_text(printed)

    checked = registered.ok("verify-receipt", str(tmp_path / "receipt.json"))
    piped = registered.ok("verify-receipt", "-", input=registered.ok("receipt", ID, "--json"))

    assert checked == piped == f"The receipt is valid: {ID} was REGISTERED at version 5.\nIt still is.\n"
    assert len(registered.ok("receipt", ID, "--json").splitlines()) == 1
    assert json.loads(printed) == registered.json("receipt", ID)
    assert registered.json("verify-receipt", str(tmp_path / "receipt.json")) == {
        "manifest_id": ID,
        "version": 5,
        "state": "REGISTERED",
        "current_version": 5,
        "current_state": "REGISTERED",
        "same_document": True,
        "repairs": [],
        "imports": [],
        "unchecked": {},
        "forced": {"count": 0, "events": []},
    }


def test_a_receipt_says_that_the_rules_were_changed_by_force(
    registered: Terminal, root: Path, tmp_path: Path
) -> None:
    """Whoever checks it reads when, by whom and why."""
    rules = (FULL / "policy.toml").read_text()
    file = tmp_path / "policy.toml"
    shutil.copytree(FULL, tmp_path, dirs_exist_ok=True)
    file.write_text(f'{rules}\n[governance]\npolicy = {{ roles = ["registrar"], four_eyes = true }}\n')
    registered.ok("policy", "apply", str(file))
    file.write_text(rules)
    registered.ok("policy", "apply", str(file), "--as-owner", "--reason", "dot has left", "--actor", "zoe")
    (tmp_path / "receipt.json").write_text(registered.ok("receipt", ID))

    at = registered.json("receipt", ID)["forced"]["events"][0]["time"]
    checked = registered.ok("verify-receipt", str(tmp_path / "receipt.json"))
    assert checked == (
        f"The receipt is valid: {ID} was REGISTERED at version 5.\n"
        f"The rules were changed by force at {at}, by zoe: dot has left.\n"
        "It still is.\n"
    )


def test_a_receipt_of_what_has_moved_on_says_so(terminal: Terminal, tmp_path: Path) -> None:
    """It holds for its version; where the manifest stands now, and with which document, is told."""
    terminal.ok("create", "--id", "a", SERVER)
    terminal.ok("submit", "a")
    terminal.ok("approve", "a", "--actor", "bea")
    (tmp_path / "receipt.json").write_text(terminal.ok("receipt", "a"))
    terminal.ok("reject", "a", "--reason", "unclear")
    rejected = terminal.ok("verify-receipt", str(tmp_path / "receipt.json"))
    (tmp_path / "new.json").write_text("{}")
    terminal.ok("revise", "a", str(tmp_path / "new.json"))

    revised = terminal.ok("verify-receipt", str(tmp_path / "receipt.json"))

    assert "It is DRAFT now, at version 4; the document is still the same." in rejected
    assert "It is DRAFT now, at version 5; with another document." in revised


def test_a_receipt_that_does_not_hold_ends_in_a_refusal(registered: Terminal, tmp_path: Path) -> None:
    """What differs is named; a script sees it by the exit code."""
    receipt = registered.json("receipt", ID)
    forged = {**receipt, "approvals": []}
    sealed = {**forged, "checksum": digest_of({name: forged[name] for name in forged if name != "checksum"})}
    other = Terminal(tmp_path / "other")
    other.ok("init")

    changed = registered.fails(4, "verify-receipt", "-", input=json.dumps(forged))
    mended = registered.fails(4, "verify-receipt", "-", input=json.dumps(sealed))
    elsewhere = other.fails(4, "verify-receipt", "-", input=json.dumps(receipt))
    nothing = registered.fails(4, "verify-receipt", SERVER)
    as_json = json.loads(registered.fails(4, "verify-receipt", "-", "--json", input=json.dumps(sealed)))

    assert "is invalid: /checksum: it does not match: the receipt was modified." in changed
    assert f"The receipt for '{ID}' is invalid: /approvals: it does not match the log." in mended
    assert "/registry: it is of urn:uuid:" in elsewhere
    assert "The receipt is invalid: /kind: it is None, not 'registration-receipt'." in nothing
    assert (as_json["error"], as_json["details"]["problems"]) == (
        "receipt_mismatch",
        ["/approvals: it does not match the log"],
    )


# -- diff, blame -----------------------------------------------------------------------------------------------

LAST_CHANGE = [
    "@@ -1,7 +1,4 @@",
    " {",
    '-  "name": "a",',
    '-  "tags": [',
    '-    "x",',
    '-    "y"',
    "-  ]",
    '+  "name": "b",',
    '+  "licence": "MIT"',
    " }",
]


def test_diff_shows_what_changed(revised: Terminal) -> None:
    """By the last change, from one version to another, or from one to now."""
    assert lines(revised.ok("diff", "a")) == LAST_CHANGE
    assert lines(revised.ok("diff", "a", "1", "2"))[-7:] == [
        '   "name": "a",', '   "tags": [', '-    "x"', '+    "x",', '+    "y"', "   ]", " }",
    ]  # fmt: skip
    assert lines(revised.ok("diff", "a", "2")) == LAST_CHANGE
    backwards = lines(revised.ok("diff", "a", "5", "4"))
    assert {line for line in backwards if line[0] in "+-"} == {
        {"-": "+", "+": "-"}[line[0]] + line[1:] for line in LAST_CHANGE if line[0] in "+-"
    }


def test_diff_in_json_is_a_patch(revised: Terminal) -> None:
    """RFC 6902: applied to the one document it gives the other."""
    before, after = (json.loads(revised.ok("show", "a", "--document", "--version", n)) for n in ("1", "5"))

    told = revised.json("diff", "a", "1", "5")

    assert told["before"] == {"version": 1, "digest": digest_of(before)}
    assert told["after"] == {"version": 5, "digest": digest_of(after)}
    assert jsonpatch.apply_patch(before, json.dumps(told["patch"])) == after
    assert revised.json("diff", "a", "2", "3")["patch"] == []


def test_diff_says_that_there_is_nothing_to_show(revised: Terminal) -> None:
    """On stderr: the data is empty."""
    revised.ok("create", "--id", "b", SERVER)

    same, only = revised.type("diff", "a", "2", "4"), revised.type("diff", "b")

    assert (same.stdout, only.stdout) == ("", "")
    assert same.stderr == "The document is the same at versions 2 and 4.\n"
    assert only.stderr == "There is only one document, that of version 1.\n"


RED, GREEN, CYAN = b"\x1b[31m", b"\x1b[32m", b"\x1b[36m"


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True),
    ],
)
def test_a_pipe_gets_colours_on_request_only(
    revised: Terminal, environment: dict[str, str], coloured: bool
) -> None:
    """FORCE_COLOR asks for them."""
    shown = run("diff", "a", root=revised.root, env={"FORCE_COLOR": "", "NO_COLOR": "", **environment}).stdout

    assert (RED in shown, GREEN in shown, CYAN in shown) == (coloured,) * 3
    assert lines(re.sub(rb"\x1b\[\d+m", b"", shown).decode()) == LAST_CHANGE


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colours_unless_it_says_no(
    revised: Terminal, environment: dict[str, str], coloured: bool
) -> None:
    """NO_COLOR says no."""
    ours, theirs = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "registration", "diff", "a"],
        env={**clean, "REGISTRATION_ROOT": str(revised.root), **environment},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 30)[0]:
        try:
            shown += os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            break
    os.close(ours)

    assert process.wait() == 0
    assert (RED + b'-  "name": "a",' in shown) == coloured
    assert (b"\x1b" in shown) == coloured


def test_blame_tells_who_set_what(revised: Terminal) -> None:
    """Each field with its event; at one place, with what stood there before."""
    every = [line.split() for line in lines(revised.ok("blame", "a"))]
    name = lines(revised.ok("blame", "a", "/name"))
    tags = lines(revised.ok("blame", "a", "/tags/1"))

    assert [(row[0], *row[3:]) for row in every] == [
        ("5", "ada", "revise", "/name", '"b"'),
        ("5", "ada", "revise", "/licence", '"MIT"'),
    ]
    assert name[0].endswith('  revise  /name  "b"')
    assert name[1:] == ['  before, by ada at version 1: "a"']
    assert tags[0].endswith("  revise  /tags/1  (removed)")
    assert tags[1:] == ['  before, by bea at version 2: "y"']


def test_what_came_back_was_removed_before(revised: Terminal, tmp_path: Path) -> None:
    """That nothing stood there for a while is said; null would be something."""
    (tmp_path / "4.json").write_text('{"tags": null}')
    revised.ok("revise", "a", str(tmp_path / "4.json"))

    told = lines(revised.ok("blame", "a", "/tags"))
    as_json = json.loads(revised.ok("blame", "a", "/tags", "--json"))

    assert told[0].endswith("  /tags  null")
    assert told[1:] == [
        "  before, by ada at version 5: (removed)",
        '  before, by bea at version 2: ["x","y"]',
        '  before, by ada at version 1: ["x"]',
    ]
    assert (as_json["value"], as_json["removed"]) == (None, False)
    assert [(one["version"], one["removed"]) for one in as_json["earlier"]] == [
        (5, True),
        (2, False),
        (1, False),
    ]


# -- earlier states --------------------------------------------------------------------------------------------


def test_show_looks_back(revised: Terminal) -> None:
    """At a version, or at a time; a date is all of that day."""
    second = revised.json("show", "a", "--version", "2")
    time = str(revised.json("show", "a", "--version", "3")["updated_at"])

    assert (second["state"], second["document"]) == ("DRAFT", {"name": "a", "tags": ["x", "y"]})
    assert revised.json("show", "a", "--at", time)["version"] == 3
    assert revised.json("show", "a", "--at", "2100-01-01") == revised.json("show", "a")
    assert "state    REVIEWED" in revised.ok("show", "a", "--version", "3")
    assert json.loads(revised.ok("show", "a", "--version", "1", "--document")) == {"name": "a", "tags": ["x"]}


def test_log_is_drawn(revised: Terminal) -> None:
    """A lane for each state; without UTF-8, in ASCII."""
    drawn = run("log", "a", "--graph", root=revised.root, env={"PYTHONIOENCODING": "utf-8"}).stdout.decode()
    ascii = run("log", "a", "--graph", root=revised.root, env={"PYTHONIOENCODING": "ascii"}).stdout.decode()

    assert lines(drawn)[:2] == ["DRAFT", "┊ REVIEWED"]
    assert [line[:3] for line in lines(drawn)[2:]] == ["● ┊", "● ┊", "╰─●", "●─╯", "● ┊"]
    assert [line[:3] for line in lines(ascii)[2:]] == ["* :", "* :", "`-*", "*-'", "* :"]
    assert lines(drawn)[5].split()[-4:] == ["cyd", "reject", "no", "licence"]


def test_the_log_says_what_an_event_is_to_others(root: Path, tmp_path: Path) -> None:
    """Which approvals it ends, what it takes back, that nobody did it; drawn or not."""
    lifecycle, clock = EXAMPLES / "agent-upkeep.toml", FakeClock(978_307_200_000_000_000)
    with RegistrationPipeline(root, lifecycle=lifecycle, actor="ada", clock=clock) as pipeline:
        pipeline.create("a", {})
        pipeline.submit_for_review("a")
        for actor in ("bea", "cyd"):
            pipeline.approve("a", actor=actor)
        pipeline.act("a", "recall", comment="not yet")
        pipeline.revise("a", {"title": "x"})
        pipeline.undo("a")
        clock.advance(31 * 86_400)
        pipeline.upkeep.tick("a")
    terminal = Terminal(root)

    told = lines(terminal.ok("log", "a"))
    drawn = lines(terminal.ok("log", "a", "--graph"))

    remarks = [
        "not yet; ends the approvals of versions 3, 4",
        "revise             DRAFT -> DRAFT",
        "undoes version 6",
        "a time-out after 30d",
    ]
    assert [line.endswith(end) for line, end in zip(told[4:], remarks, strict=True)] == [True] * 4
    assert drawn[-4].endswith(remarks[0])
    assert drawn[-2].endswith(remarks[2])
    assert drawn[-1].endswith(remarks[3])


def test_the_head_that_can_be_pinned_is_shown(terminal: Terminal) -> None:
    """Whoever looked at a manifest can say so with what `show` printed."""
    terminal.ok("create", SERVER)
    terminal.ok("submit", ID)
    told = dict(line.split(maxsplit=1) for line in lines(terminal.ok("show", ID))[1:])

    approve = ("approve", ID, "--digest", told["digest"], "--head", told["head"])

    assert "REVIEWED -> APPROVED" in terminal.ok(*approve)
    assert "has the head" in terminal.fails(4, *approve)
    assert "all 64 hex digits" in terminal.fails(2, "approve", ID, "--digest", told["digest"][:20])


# -- lifecycles ------------------------------------------------------------------------------------------------


def test_a_lifecycle_is_checked_shown_and_walked() -> None:
    """A file, or one that comes along; without a registry."""
    alone = Terminal(Path("/nowhere"))

    checked = alone.type("lifecycle", "check", PUBLIC)
    paths = [line.split() for line in lines(alone.ok("lifecycle", "paths", PUBLIC))]
    shipped = alone.json("lifecycle", "show", "registration-upkeep")

    assert lines(checked.stdout)[0] == f"{PUBLIC} is valid: public-registry version 1, 4 states, 5 actions."
    assert re.fullmatch("sha256:[0-9a-f]{64}", lines(checked.stdout)[1])
    assert checked.stderr == f"Next: registration init --lifecycle {PUBLIC} DIR\n"
    assert paths[0] == ["PROPOSED", "submit"]
    assert ["CHANGE_PROPOSED", "publish,", "submit"] in paths
    assert (shipped["name"], shipped["version"]) == ("registration-upkeep", 1)


def test_what_is_shown_can_be_given_again(tmp_path: Path) -> None:
    """`lifecycle show` prints a file for `init --lifecycle`; it is the same lifecycle, with the same digest."""
    for name in ("registration", "registration-upkeep", PUBLIC, str(EXAMPLES / "parallel-reviews.toml")):
        file = tmp_path / "shown.json"
        file.write_text(Terminal(tmp_path).ok("lifecycle", "show", name))

        given, shown = (Terminal(tmp_path).json("lifecycle", "check", one) for one in (name, str(file)))

        assert given == shown


def test_every_problem_of_a_lifecycle_is_listed(tmp_path: Path) -> None:
    """One a line, each with its path in the file."""
    (tmp_path / "bad.toml").write_text(
        'name = "bad"\n[states.A]\n[states.B]\nparent = "C"\n[actions.go]\npast = "gone"\nfrom = "A"\nto = "D"\n'
    )

    said = lines(Terminal(tmp_path).fails(2, "lifecycle", "check", str(tmp_path / "bad.toml")))

    assert said[0].endswith("bad.toml' has 2 problems:")
    assert [line.partition(":")[0] for line in said[1:3]] == ["  - states.B.parent", "  - actions.go.to"]
    assert said[-1] == "Fix them all and try again."


def test_a_registry_is_made_with_a_lifecycle(tmp_path: Path) -> None:
    """A file or a name; afterwards it is the registry's own, wherever the file has gone."""
    file = tmp_path / "own.toml"
    shutil.copy(PUBLIC, file)
    terminal = Terminal(tmp_path / "registry")

    made = terminal.json("init", "--lifecycle", str(file))
    file.unlink()

    assert made["lifecycle"] == {
        "name": "public-registry", "version": 1, "digest": terminal.json("lifecycle", "check", PUBLIC)["digest"],
    }  # fmt: skip
    assert terminal.json("lifecycle", "show") == terminal.json("lifecycle", "show", PUBLIC)
    assert "PROPOSED --> CURRENT : accept" in terminal.ok("graph")
    assert terminal.ok("graph") == terminal.ok("graph", PUBLIC) == terminal.ok("lifecycle", "graph", PUBLIC)
    assert terminal.json("init", "--lifecycle", PUBLIC)["made"] is False
    assert "has the lifecycle 'public-registry' version 1, not 'registration-upkeep'" in terminal.fails(
        2, "init", "--lifecycle", "registration-upkeep"
    )


def test_states_of_the_registrys_own_lifecycle_can_be_named(public: Terminal) -> None:
    """In whatever case, where a state is asked for."""
    public.ok("act", ID, "submit", SERVER)

    both = public.fails(4, "transition", ID, "current")
    assert "both 'accept' and 'publish' lead there. Name one of the actions." in " ".join(both.split())
    assert public.ok("transition", ID, "removed") == f"{ID}  PROPOSED -> REMOVED  (version 2)\n"
    public.ok("act", ID, "publish", SERVER)
    assert public.ok("list", "--state", "listed").split()[:2] == [ID, "CURRENT"]
    assert "Its states are PROPOSED, CURRENT, CHANGE_PROPOSED, REMOVED." in public.fails(
        2, "list", "--state", "DRAFT"
    )


@pytest.fixture
def next_version(public: Terminal, tmp_path: Path) -> str:
    """A second version of the public registry's lifecycle, without proposals of changes."""
    said = json.loads(public.ok("lifecycle", "show"))
    said["version"] = 2
    states = [state for state in said["states"] if state["name"] != "CHANGE_PROPOSED"]
    text = json.dumps({**said, "states": states}).replace('"to": "CHANGE_PROPOSED"', '"to": "CURRENT"')
    path = tmp_path / "next.json"
    path.write_text(
        text.replace('["PROPOSED", "CHANGE_PROPOSED"]', '"PROPOSED"').replace(
            '"from": "CHANGE_PROPOSED"', '"from": "CURRENT"'
        )
    )
    return str(path)


def test_a_migration_is_planned_refused_and_done(public: Terminal, next_version: str) -> None:
    """`--dry-run` lists who stands in the way, and ends as the real thing would."""
    for id in ("a", "b"):
        public.ok("act", id, "submit", SERVER)
        public.ok("act", id, "accept")
    public.ok("act", "b", "revise", SERVER)
    before = tree(public.root)

    planned = public.type("lifecycle", "migrate", "--dry-run", next_version)
    refused = public.fails(4, "lifecycle", "migrate", next_version)
    unchanged = tree(public.root) == before
    public.ok("act", "b", "accept")
    again = public.type("lifecycle", "migrate", "--dry-run", next_version)
    done = public.type("lifecycle", "migrate", next_version)

    assert (planned.exit_code, again.exit_code, done.exit_code) == (4, 0, 0)
    assert planned.stdout == "b is CHANGE_PROPOSED, which version 2 lacks\n"
    assert planned.stderr == (
        "2 manifests checked. public-registry version 2 would be put in force; nothing was changed.\n"
    )
    assert (
        "1 manifest prevents the migration to 'public-registry' version 2: b is CHANGE_PROPOSED." in refused
    )
    assert unchanged
    assert done.stderr == "2 manifests checked. public-registry version 2 is in force now.\n"
    assert public.json("lifecycle", "show")["version"] == 2
    assert public.ok("act", "b", "revise", SERVER) == "b  CURRENT -> CURRENT  (version 5)\n"
    assert public.type("verify").stderr.startswith("2 manifests checked: sound; ")
    assert "is not a later version of it" in public.fails(2, "lifecycle", "migrate", next_version)


def test_a_migration_in_json(public: Terminal, next_version: str) -> None:
    """One object: what is in force, what is proposed, who stands in the way, and whether it was done."""
    public.ok("act", "a", "publish", SERVER)
    public.ok("act", "a", "revise", SERVER)

    planned = public.type("lifecycle", "migrate", "--dry-run", "--json", next_version)

    told = json.loads(planned.stdout)
    assert planned.exit_code == 4
    assert list(told) == ["current", "proposed", "looked_at", "stranded", "unreadable", "done"]
    assert told["stranded"] == [{"manifest_id": "a", "state": "CHANGE_PROPOSED"}]
    assert (told["current"]["version"], told["proposed"]["version"], told["done"]) == (1, 2, False)


@pytest.mark.damaged
def test_an_event_of_a_later_release_names_that_release(terminal: Terminal) -> None:
    """Whoever meets it is told what to upgrade to; nothing is written behind it."""
    terminal.ok("create", "--id", "a", SERVER)
    log = terminal.root / "manifests" / "a" / LOG
    (line,) = [json.loads(line) for line in log.read_bytes().splitlines()]
    line |= {"type": "registration.imported.v1", "data": {**line["data"], "release": "9.9.9"}}
    log.write_bytes(forge([line]))
    (log.parent / SNAPSHOT).unlink()
    before = log.read_bytes()

    for words in (("show", "a"), ("submit", "a"), ("why", "a"), ("receipt", "a"), ("undo", "a")):
        said = " ".join(terminal.fails(7, *words).split())
        assert "Version 1 of 'a' is a 'registration.imported.v1', which this release" in said
        assert "It was written by release 9.9.9: upgrade to that release or a later one" in said
    assert log.read_bytes() == before


# -- policies --------------------------------------------------------------------------------------------------


def test_a_policy_is_checked_and_shown(governed: Terminal) -> None:
    """The one in force, one in a file, and one that was in force earlier, by the digest that events name."""
    checked = lines(governed.ok("policy", "check"))
    shown = governed.json("policy", "show")
    digest = checked[1]
    put_in_force(governed.root, '[roles]\nboss = ["eve"]\n')

    assert checked[0] == "The policy is valid: 21 rules for 5 actions."
    assert digest == digest_of({name: value for name, value in shown.items() if name != "roles"})
    assert objects(governed.ok("log", ID, "--json"))[0]["data"]["policy"] == digest
    assert lines(governed.ok("policy", "check", str(FULL / "policy.toml"))) == checked
    assert {**governed.json("policy", "show", digest), "roles": shown["roles"]} == shown
    assert governed.json("policy", "show")["roles"] == {"boss": ["eve"]}
    assert governed.json("policy", "check")["digest"] is None
    assert governed.json("policy", "check")["roster"] == digest_of({"format": 1, "roles": {"boss": ["eve"]}})


def test_no_policy_is_said_to_be_none(terminal: Terminal, tmp_path: Path) -> None:
    """With where to write one; an empty file says nothing."""
    (tmp_path / "empty.toml").write_text("")

    check, show = terminal.type("policy", "check"), terminal.type("policy", "show")

    assert check.stdout == "There is no policy: only the lifecycle's own rules apply.\n"
    assert "policy.toml next to registry.json" in check.stderr
    assert show.stdout == ""
    assert "There is no policy" in show.stderr
    assert terminal.ok("policy", "show", "--json") == "null\n"
    assert "is valid but empty" in terminal.ok("policy", "check", str(tmp_path / "empty.toml"))


def test_what_is_checked_and_what_is_in_force(governed: Terminal, tmp_path: Path) -> None:
    """The file is checked, whatever is in force: edited, emptied, or gone. Without a registry, for the default lifecycle."""
    own = governed.root / "policy.toml"
    text = own.read_text()

    own.write_text(text.replace('"dot"', '"dan"'))
    edited, told = governed.type("policy", "check"), governed.json("policy", "check")
    own.write_text("")
    empty = governed.type("policy", "check")
    own.unlink()
    gone = governed.type("policy", "check")
    nowhere = Terminal(tmp_path / "nowhere").type("policy", "check", str(FULL / "policy.toml"))

    assert lines(edited.stderr)[-1] == "It is not in force. Next: registration policy apply --dry-run"
    assert told["in_force"] is False
    assert empty.stdout == "policy.toml is valid but empty: only the lifecycle's own rules would apply.\n"
    assert lines(empty.stderr)[-1] == "It is not in force. Next: registration policy apply --dry-run"
    assert lines(gone.stderr)[0] == "There is no policy.toml: these are the rules in force."
    assert gone.stdout == edited.stdout
    assert (nowhere.exit_code, nowhere.stdout) == (3, "")


def test_a_policy_is_checked_before_there_is_a_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the default lifecycle, as people write a policy before they begin."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGISTRATION_ROOT", raising=False)

    found = CliRunner().invoke(
        app, ["policy", "check", str(FULL / "policy.toml"), "--json"], prog_name="registration"
    )

    assert found.exit_code == 0
    assert json.loads(found.stdout)["in_force"] is None


def test_every_problem_of_a_policy_is_listed(governed: Terminal) -> None:
    """By `policy check`, and when it is applied; the rules in force continue, and each command says so."""
    text = (governed.root / "policy.toml").read_text()
    (governed.root / "policy.toml").write_text(
        text.replace('"approve"', '"aprove"').replace('any = ["registrar"]', "any = 5")
    )

    said = lines(governed.fails(2, "policy", "check"))
    refused = lines(governed.fails(2, "policy", "apply"))
    submitted = governed.type("submit", ID)

    assert said == refused
    assert submitted.exit_code == 0
    assert lines(submitted.stderr)[0].startswith(
        "Warning: policy.toml is invalid; the rules in force continue."
    )
    assert said[0].endswith("policy.toml has 5 problems:")
    assert "  - guards[5].any: it must be a list of texts, with at least one, not 5" in said
    assert said[-1] == "Fix them all and try again."


ALONE = """[roles]
reviewer = {people}
[[guards]]
guard = "role"
actions = ["approve"]
any = ["reviewer"]
[[guards]]
guard = "not_the_author"
actions = ["approve"]
[[guards]]
guard = "approvals"
actions = ["register"]
count = 2
"""


def test_a_demand_that_nobody_can_meet_is_a_problem(terminal: Terminal, tmp_path: Path) -> None:
    """The policy is valid, and would shut the gate for good: that has an exit code; a demand that only some can't meet is a warning."""
    (tmp_path / "alone.toml").write_text(ALONE.format(people='["bea"]'))
    (tmp_path / "two.toml").write_text(ALONE.format(people='["bea", "cyd"]'))

    alone = lines(terminal.fails(2, "policy", "check", str(tmp_path / "alone.toml")))
    told = json.loads(terminal.fails(2, "policy", "check", str(tmp_path / "alone.toml"), "--json"))
    two = terminal.type("policy", "check", str(tmp_path / "two.toml"))

    assert alone == [
        (
            f"Error: The policy {tmp_path}/alone.toml has 1 problem: register: it takes 2 approvals, "
            "and only 'bea' may approve."
        ),
        "Nobody can meet that. Give roles to more people, or demand less.",
    ]
    assert told["details"]["problems"] == ["register: it takes 2 approvals, and only 'bea' may approve"]
    assert two.exit_code == 0
    assert lines(two.stderr)[:-1] == [
        (
            "Warning: register: it takes 2 approvals; documents that 'bea' or 'cyd' submitted can't get them: only 'bea' "
            "and 'cyd' may approve, not their own"
        )
    ]
    assert lines(two.stderr)[-1] == (
        f"It is not in force. Next: registration policy apply --dry-run {tmp_path}/two.toml"
    )
    (warning,) = terminal.json("policy", "check", str(tmp_path / "two.toml"))["warnings"]
    assert f"Warning: {warning}" == lines(two.stderr)[0]


def test_a_proposed_policy_tells_which_pending_approvals_it_ends(governed: Terminal, tmp_path: Path) -> None:
    """Other rules end all of them, another roster those of the people who leave; a roster that only grows ends none."""
    text = (FULL / "policy.toml").read_text()
    for name, new in {
        "grown": text.replace('"bea", "cyd"', '"bea", "cyd", "dan"'),
        "left": text.replace('"bea", "cyd"', '"cyd", "dan"'),
        "other": text.replace("count = 2", "count = 1"),
    }.items():
        shutil.copytree(FULL, tmp_path / name)
        (tmp_path / name / "policy.toml").write_text(new)
    governed.ok("submit", ID)
    governed.ok("approve", ID, "--actor", "bea")

    grown, left, other = (
        governed.type("policy", "check", str(tmp_path / name / "policy.toml"))
        for name in ("grown", "left", "other")
    )

    assert "no longer count" not in grown.stderr
    assert lines(left.stderr)[-3:-1] == [
        "1 pending approval would no longer count under it:",
        f"  {ID}, version 3, by bea: no longer reviewer",
    ]
    assert lines(other.stderr)[-2] == f"  {ID}, version 3, by bea: another policy"
    assert governed.json("policy", "check", str(tmp_path / "left" / "policy.toml"))["uncounted"] == [
        {"manifest_id": ID, "version": 3, "actor": "bea", "why": "no longer reviewer"}
    ]
    governed.ok("approve", ID, "--actor", "cyd")
    governed.ok("register", ID, "--actor", "dot")
    assert (
        "no longer count"
        not in governed.type("policy", "check", str(tmp_path / "other" / "policy.toml")).stderr
    )


def test_guards_are_listed(terminal: Terminal) -> None:
    """All that are built in, with their parameters."""
    told = objects(terminal.ok("policy", "guards", "--json"))

    assert [one["guard"] for one in told] == list(BUILTIN)


def test_a_guard_is_explained_without_a_registry(tmp_path: Path) -> None:
    """Its parameters, one a line, and an example; a mistyped name is refused with the nearest."""
    nowhere = Terminal(tmp_path)

    told = lines(nowhere.ok("policy", "explain", "approvals"))
    wrong = nowhere.fails(2, "policy", "explain", "aprovals")
    example = told[told.index("An example for policy.toml:") + 2 :]

    assert told[0] == "approvals: enough people approved this document, in total and by role"
    assert told[2].split("  ")[1] == "count"
    assert "an integer from 1; default 1" in told[2]
    assert (
        "\n".join(line.removeprefix("  ") for line in example) + "\n"
        == json.loads(nowhere.ok("policy", "explain", "approvals", "--json"))["example"]
    )
    assert "aliases" in nowhere.ok("policy", "explain", "reason_given")
    assert lines(nowhere.ok("policy", "explain", "limits"))[-3:] == [
        "  people = 20",
        "  revisions = 100",
        "  drafts = 50",
    ]
    assert nowhere.ok("policy", "explain", "once").startswith("once: each person approves a document once")
    assert "There is no guard 'aprovals'. Did you mean 'approvals'?" in wrong


def test_guards_of_installed_packages_are_listed(terminal: Terminal, tmp_path: Path) -> None:
    """After those that are built in, with what they say of themselves; one that can't be loaded says why."""
    (tmp_path / "acme.py").write_text(
        "from registration.rules.guards.registry import Parameter\n"
        "def ticket(state, command, policy):\n"
        '    "the request names a ticket"\n'
        "ticket.parameters = {'system': Parameter('text')}\n"
    )
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[registration.guards]\nticket = acme:ticket\nstale = acme:gone\nrole = acme:ticket\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "REGISTRATION_ROOT": str(terminal.root)}

    script = [sys.executable, "-m", "registration", "policy", "guards", "--json"]
    told = objects(subprocess.run(script, env=environment, capture_output=True, text=True, check=True).stdout)

    assert [one["guard"] for one in told] == [*BUILTIN, "stale", "ticket"]
    assert told[-1] == {
        "guard": "ticket",
        "summary": "the request names a ticket",
        "parameters": ["system"],
    }
    assert "can't be loaded from 'acme:gone'" in told[-2]["summary"]
    assert all(set(one) == {"guard", "summary", "parameters"} for one in told)
    assert [line.split()[0] for line in lines(terminal.ok("policy", "guards"))] == list(BUILTIN)


def test_a_policy_is_tried_out(registered: Terminal, tmp_path: Path) -> None:
    """Every decision that would fall out differently, with the reason; then how many, and by which rules."""
    registered.fails(4, "create", "--id", "b", SERVER, "--actor", "eve")
    proposed = tmp_path / "proposed.toml"
    proposed.write_text(
        '[roles]\nreviewer = ["bea"]\n[[guards]]\nguard = "role"\nactions = ["approve"]\nany = ["reviewer"]\n'
        '[[guards]]\nguard = "approvals"\nactions = ["register"]\ncount = 2\n'
    )
    before = tree(registered.root)

    result = registered.type("policy", "replay", str(proposed))
    told = objects(registered.ok("policy", "replay", str(proposed), ID, "--json"))

    assert result.exit_code == 0
    assert [line.split()[:5] for line in lines(result.stdout)] == [
        [ID, "4", "cyd", "approve", "refused"],
        [ID, "5", "dot", "register", "refused"],
    ]
    assert "'cyd' is not reviewer" in result.stdout
    assert result.stderr.splitlines() == [
        "5 decisions replayed: 2 would change.",
        "  1 by role",
        "  1 by approvals",
    ]
    assert [(one["version"], one["was"], one["would_be"]) for one in told] == [
        (4, "accepted", "refused"),
        (5, "accepted", "refused"),
    ]
    assert told[0]["why"]["who"] == {"anybody": False, "actors": [], "excluded": []}, "bea approved already"
    assert tree(registered.root) == before


def test_the_policy_in_force_changes_nothing(registered: Terminal) -> None:
    """Tried out on what it decided itself."""
    result = registered.type("policy", "replay", str(registered.root / "policy.toml"))

    assert result.stdout == ""
    assert result.stderr == "5 decisions replayed: 0 would change.\n"


# -- mistakes --------------------------------------------------------------------------------------------------

NO_DIGEST = "sha256:" + "0" * 64

MISTAKES = [
    (2, ("why",), "Missing argument 'ID'"),
    (2, ("why", ID, "aprove"), "has no action 'aprove'. Did you mean 'approve'? Its actions are"),
    (2, ("why", ID, "approve", "--context", "5"), "Pass a JSON object: --context"),
    (2, ("act", ID), "Missing argument 'ACTION'"),
    (
        2,
        ("act", ID, "frobnicate"),
        "Its actions are create, revise, submit_for_review, approve, reject, register.",
    ),
    (2, ("act", ID, "submit_for_review", SERVER), "'submit_for_review' takes no document. Omit it."),
    (2, ("act", ID, "revise"), "'revise' needs a document, but none was given. Pass one: its FILE"),
    (2, ("approve", ID, "--digest", "30c02911"), "expected_digest: "),
    (2, ("show", ID, "--version", "1", "--at", "2026-01-01"), "Use either --version or --at."),
    (2, ("show", ID, "--version", "0"), "0 is not in the range"),
    (2, ("show", ID, "--version", "7"), "has no version 7: it has version 1 only."),
    (2, ("show", ID, "--at", "yesterday"), "Invalid time 'yesterday'. Write 2026-01-31T09:30:00Z"),
    (
        2,
        ("show", ID, "--at", "2026-01-31T09:30:00"),
        "has no time zone. Write 2026-01-31T09:30:00Z",
    ),
    (2, ("diff", ID, "1", "9"), "has no version 9: it has version 1 only."),
    (2, ("diff", ID, "x"), "'x' is not a valid integer"),
    (2, ("blame", ID, "version"), "'version' is not a JSON Pointer. Write it as '/packages/0/version'"),
    (2, ("lifecycle", "check", SERVER), "states: it is missing"),
    (2, ("lifecycle", "migrate", "registration"), "is not a later version of it. Keep the name"),
    (2, ("policy", "check", SERVER), "it is not TOML"),
    (2, ("policy", "show", "sha256:30c02911"), "A digest is `sha256:` and 64 hex digits."),
    (2, ("init", "--lifecycle", SERVER), "states: it is missing"),
    (3, ("why", "io.github.acme/wether@1.2.0"), f"Did you mean '{ID}'?"),
    (3, ("act", "no-such", "approve"), "There is no manifest 'no-such'."),
    (3, ("act", ID, "revise", "nowhere.json"), "There is no file nowhere.json."),
    (3, ("undo", "no-such"), "See the list of existing ones: `registration list`."),
    (3, ("tick", "no-such"), "There is no manifest 'no-such'."),
    (3, ("receipt", "no-such"), "There is no manifest 'no-such'."),
    (3, ("verify-receipt", "nowhere.json"), "There is no file nowhere.json. Pass the receipt's file, or -."),
    (3, ("diff", "no-such"), "There is no manifest 'no-such'."),
    (3, ("show", ID, "--at", "2001-01-01"), "did not exist yet at 2001-01-01: it was created at 20"),
    (3, ("blame", ID, "/versoin"), "and there never was. Did you mean '/version'?"),
    (3, ("lifecycle", "check", "nowhere.toml"), "or one of: registration, registration-upkeep."),
    (3, ("lifecycle", "migrate", "nowhere.toml"), "There is no lifecycle file 'nowhere.toml'"),
    (3, ("graph", "nowhere.toml"), "Pass a TOML or JSON file"),
    (3, ("policy", "check", "nowhere.toml"), "There is no file nowhere.toml. Pass the policy's file."),
    (3, ("policy", "replay", "nowhere.toml"), "There is no file nowhere.toml."),
    (3, ("policy", "show", NO_DIGEST), "rules/policies has no file with the digest sha256:000"),
    (4, ("undo", ID), "it created the manifest. See what can be done from here: `registration why"),
    (4, ("receipt", ID), f"Have it approved first, and see what is missing: `registration why {ID}`."),
    (4, ("approve", ID, "--digest", NO_DIGEST), "It changed since it was reviewed"),
    (
        4,
        ("verify-receipt", str(FIXTURES / "invalid" / "broken.json")),
        "Pass the unchanged output of `registration receipt`",
    ),
    (1, ("verify-receipt", "/"), "/ can't be read: Is a directory."),
    (1, ("lifecycle", "check", "/"), "Pass a readable file."),
    (1, ("policy", "check", "/etc/"), "Is a directory"),
]


@pytest.mark.parametrize(
    ("code", "words", "said"), MISTAKES, ids=[" ".join(words)[:60] for _, words, _ in MISTAKES]
)
def test_a_mistake_is_named_and_the_next_step_told(
    terminal: Terminal, code: int, words: tuple[str, ...], said: str
) -> None:
    """Each has its documented exit code, says what is wrong and what to do, and changes nothing."""
    terminal.ok("create", SERVER)
    before = tree(terminal.root)

    message = " ".join(terminal.fails(code, *words).split())

    assert said in message
    assert code in {documented for documented, _, _ in EXIT_CODES}
    assert tree(terminal.root) == before


NASTY = ["\x1b[31mred\x9b2J\u202e\a\r\nc", "..", "/", "x" * 5_000, "", "-", "💥"]


def nasty_lines() -> Iterator[tuple[str, ...]]:
    """Every command with something odd in the place of each of its arguments and of what its options take."""
    for path, command in every_command():
        if path[0] in ("completion", "demo", "doctor", "init"):
            continue
        arguments = [one for one in command.params if isinstance(one, click.Argument)]
        options = [one for one in command.params if isinstance(one, click.Option) and not one.is_flag]
        usual = {"id": ID, "file": SERVER, "action": "approve", "state": "REVIEWED", "pointer": "/name"}
        for odd in NASTY:
            words = [usual.get(str(one.name), "1") for one in arguments if one.required]
            for index in range(len(words)):
                if (path[0], odd) != ("import", "/"):  # it would go through every folder of the machine
                    yield (*path, "--", *(odd if at == index else word for at, word in enumerate(words)))
            for option in options:
                if option.name != "registry":
                    yield (*path, option.opts[-1], odd, "--", *words)


@pytest.mark.parametrize("part", sampled(range(20), 0, rest="slow"))
def test_nothing_that_can_be_typed_is_a_traceback_or_paints_the_terminal(
    governed: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    """Odd ids, names, files, reasons: each ends in a documented code, and nothing is obeyed by the terminal."""
    every = list(nasty_lines())
    here = tmp_path / "two" / "deep"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)  # some of them are folders that are gone through
    for words in every[part::20]:
        assert not obeyed(shown(governed, *words)), words

    assert len(every) > 300


def test_file_names_that_are_too_many_are_not_obeyed(governed: Terminal) -> None:
    """A shell puts the names of files in the place of a `*`; they may be anybody's."""
    assert not obeyed(shown(governed, "show", ID, "\x1b[31mred"))


def test_control_characters_in_what_was_written_are_shown_and_not_obeyed(
    terminal: Terminal, tmp_path: Path
) -> None:
    """In documents, reasons, comments, roles and verdicts, whoever looks at them and however."""
    evil = "\x1b[31m\x07\x9b2J\u202e\n"
    document = {"name": evil, f"key {evil}": evil, "deep": {evil: [evil]}}
    (tmp_path / "evil.json").write_text(json.dumps(document))
    (terminal.root / "s.json").write_text(
        json.dumps({"required": ["x"], "properties": {"name": {"enum": [evil]}}})
    )
    put_in_force(
        terminal.root,
        f'[roles]\n{json.dumps("boss " + evil)} = ["bea"]\n'
        f'[[kinds]]\nname = {json.dumps("kind " + evil)}\nmatch = {{ "" = true }}\nschema = "s.json"\n'
        f'[[guards]]\nguard = "role"\nactions = ["approve"]\nany = [{json.dumps("boss " + evil)}]\n'
        '[[guards]]\nguard = "schema"\nactions = ["approve"]\n',
    )
    terminal.ok("create", "--id", "a", str(tmp_path / "evil.json"), "--comment", f"c {evil}.")
    (tmp_path / "evil.json").write_text(json.dumps({**document, "name": "x"}))
    terminal.ok("revise", "a", str(tmp_path / "evil.json"), "--reason", f"r {evil}.")
    terminal.ok("submit", "a")
    printed = [
        shown(terminal, *words)
        for words in (
            ("why", "a"),
            ("why", "a", "approve", "--actor", "eve"),
            ("approve", "a"),
            ("log", "a"),
            ("log", "a", "--graph"),
            ("show", "a"),
            ("diff", "a"),
            ("blame", "a"),
            ("blame", "a", "/name"),
            ("blame", "a", f"/nam {evil}"),
            ("list",),
            ("policy", "check"),
            ("policy", "replay", str(terminal.root / "policy.toml")),
            ("lifecycle", "paths"),
            ("verify",),
        )
    ]

    assert [obeyed(text) for text in printed] == [[]] * len(printed)
    assert r"\x1b[31m\x07\x9b2J\u202e" in printed[0]


def test_control_characters_in_files_that_were_tampered_with_are_not_obeyed(terminal: Terminal) -> None:
    """A log that somebody rewrote whole can hold an actor that no request may have."""
    terminal.ok("create", "--id", "a", SERVER)
    log = terminal.root / "manifests" / "a" / LOG
    evil = [json.loads(line) for line in log.read_bytes().splitlines()]
    evil[0]["data"]["actor"] = "\x1b[31m\x9b2J"
    log.write_bytes(forge(evil, statehashes=False))
    (log.parent / SNAPSHOT).unlink()
    terminal.ok("revise", "a", SERVER)
    terminal.ok("submit", "a")
    terminal.ok("approve", "a")

    for words in (
        ("blame", "a", "/name"),
        ("log", "a"),
        ("log", "a", "--graph"),
        ("why", "a"),
        ("show", "a"),
        ("diff", "a"),
    ):
        assert not obeyed(shown(terminal, *words)), words


def test_the_lifecycle_as_json_is_what_a_file_may_say(terminal: Terminal) -> None:
    """What `lifecycle show` prints is the lifecycle's own data."""
    assert objects(terminal.ok("lifecycle", "show", "--json")) == [REGISTRATION.data]


# -- as processes ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_script_sees_the_documented_codes(governed: Terminal, tmp_path: Path) -> None:
    """As a shell does: done, usage, not found, refused, and what a refusal prints goes to stderr."""
    (tmp_path / "receipt.json").write_text("{}")
    environment = {"REGISTRATION_ACTOR": "ada"}

    done = [
        run(*words, root=governed.root, env=environment)
        for words in (
            ("why", ID),
            ("policy", "check"),
            ("lifecycle", "show"),
            ("why", ID, "aprove"),
            ("policy", "show", "x"),
            ("why", "no-such"),
            ("undo", ID),
            ("verify-receipt", str(tmp_path / "receipt.json")),
        )
    ]

    assert [process.returncode for process in done] == [0, 0, 0, 2, 2, 3, 4, 4]
    assert all(process.stdout == b"" for process in done[3:])
    assert all(b"Traceback" not in process.stderr for process in done)


@pytest.mark.torture
def test_two_migrations_as_processes(public: Terminal, next_version: str) -> None:
    """Of two at once one is done; the other is told, and both leave a registry that can be used."""
    public.ok("act", "a", "publish", SERVER)
    line = [sys.executable, "-m", "registration", "lifecycle", "migrate", next_version]
    environment = {**os.environ, "REGISTRATION_ROOT": str(public.root)}

    both = [
        subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [process.communicate()[1].decode() for process in both]

    codes = sorted(process.returncode for process in both)
    assert codes[0] == 0
    assert codes[1] in (1, 2)
    refusal = next(text for text in said if "Error: " in text)
    assert (
        "The registry was changed by another process meanwhile." in refusal
        or "is not a later version of it" in refusal
    )
    assert public.json("lifecycle", "show")["version"] == 2
    assert public.ok("act", "a", "remove") == "a  CURRENT -> REMOVED  (version 2)\n"

"""A repair at a terminal: what it lapses, who may do it, and where it can be seen afterwards.

The story: ada submits, bea approves, eve rejects it as malware. One byte of eve's line is changed, and ada repairs the log. Once, the
rejection was simply gone: bea's approval counted on, ada registered, and the receipt said nothing of a repair.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registration import GuardRefused, RegistrationPipeline
from registration.storage.layout import directory_of
from registration.values.documents import digest_of
from tests.cli.test_cli import ID, SERVER, Terminal
from tests.kit.policies import put_in_force

GUARDED = """
[roles]
admin = ["ada", "zoe"]

[[guards]]
guard = "role"
actions = ["repair"]
any = ["admin"]

[[guards]]
guard = "not_the_author"
actions = ["repair"]

[[guards]]
guard = "reason_given"
actions = ["repair"]

[refusals]
log = true
"""


def log_of(root: Path, id: str = ID) -> Path:
    return root / "manifests" / directory_of(id) / "events.jsonl"


def change(log: Path, was: bytes, other: bytes) -> bytes:
    """Change some bytes of a log, of the last line in which they are; gives its bytes from before."""
    before = log.read_bytes()
    head, found, rest = before.rpartition(was)
    assert found
    log.write_bytes(head + other + rest)
    return before


@pytest.fixture
def terminal(root: Path) -> Terminal:
    """A manifest that was approved by bea."""
    terminal = Terminal(root)
    terminal.ok("init")
    terminal.ok("create", SERVER)
    terminal.ok("submit", ID)
    terminal.ok("approve", "--actor", "bea", ID)
    return terminal


@pytest.fixture
def rejected(terminal: Terminal) -> Terminal:
    """It was rejected by eve, and that line is damaged."""
    terminal.ok("reject", "--actor", "eve", "--reason", "malware", ID)
    change(log_of(terminal.root), b'"malware"', b'"malwarE"')
    return terminal


def test_a_lost_rejection_opens_nothing(rejected: Terminal) -> None:
    """What bea approved before has to be approved again, and the repair can be seen wherever somebody looks."""
    plan = rejected.type("repair", ID)
    assert plan.exit_code == 7
    assert "leads to" in plan.stdout
    assert "REVIEWED: the approval of version 3 lapses, and must be given again" in plan.stdout

    rejected.ok("repair", "--accept-loss", ID)

    refused = rejected.fails(4, "register", ID)
    assert "is REVIEWED and can't do 'register' from there" in refused
    shown = rejected.ok("show", ID)
    assert "repaired  at version 4: " in shown
    assert "bytes lost, with version 4; approvals had to be given again" in shown
    assert "approved" not in shown
    (row,) = rejected.json("show", ID)["repairs"]  # type: ignore[misc]  # a list
    assert (row["version"], row["actor"], row["lapsed"]) == (4, "ada", [3])
    assert "ends the approval of version 3" in rejected.ok("log", ID).splitlines()[-1]
    assert rejected.type("verify").exit_code == 0


def test_every_receipt_afterwards_names_the_repair(rejected: Terminal) -> None:
    """It says who repaired what, and what lapsed; one from which that was taken does not hold."""
    rejected.ok("repair", "--accept-loss", ID)
    rejected.fails(4, "receipt", ID)
    rejected.ok("approve", "--actor", "bea", ID)
    rejected.ok("register", ID)

    receipt = rejected.json("receipt", ID)

    (repair,) = receipt["repairs"]  # type: ignore[misc]  # a list
    assert (repair["version"], repair["actor"], repair["lapsed"]) == (4, "ada", [3])
    assert repair["lost"]["last_version"] == 4
    file = rejected.root.parent / "receipt.json"
    file.write_text(json.dumps(receipt), encoding="utf-8")
    assert "Its log was repaired at version 4, by ada: " in rejected.ok("verify-receipt", str(file))
    del receipt["repairs"]
    with RegistrationPipeline(rejected.root) as pipeline:
        receipt["checksum"] = digest_of({name: one for name, one in receipt.items() if name != "checksum"})
        with pytest.raises(Exception, match="/repairs: it does not match the log"):
            pipeline.evidence.check_receipt(receipt)


def test_a_registered_manifest_is_reviewed_again_and_keeps_its_name(terminal: Terminal) -> None:
    """The lost events may have withdrawn it. Nothing else can take the name, and resolving it says what it is now."""
    terminal.ok("register", ID)
    terminal.ok("tag", "add", ID, "old")
    change(log_of(terminal.root), b'"old"', b'"0ld"')

    terminal.ok("repair", "--accept-loss", ID)

    terminal.ok("create", "--id", "copy", SERVER)
    terminal.ok("submit", "copy")
    terminal.ok("approve", "--actor", "bea", "copy")
    assert "held by" in terminal.fails(4, "register", "copy")
    resolved = terminal.json("resolve", ID)
    assert (resolved["manifest_id"], resolved["state"]) == (ID, "REVIEWED")
    assert terminal.ok("list", "--state", "REVIEWED", "--json").count(ID) == 1
    terminal.ok("approve", "--actor", "bea", ID)
    terminal.ok("register", ID)
    terminal.ok("recover")
    assert terminal.type("verify").exit_code == 0


def test_a_name_that_another_manifest_holds_by_now_is_released(root: Path) -> None:
    """The lost events had withdrawn it. Otherwise two would hold the name for ever, which `verify` calls damage."""
    terminal = Terminal(root)
    terminal.ok("init", "--lifecycle", "registration-upkeep")
    for id in ("first", "second"):
        terminal.ok("create", "--id", id, SERVER)
        terminal.ok("submit", id)
        terminal.ok("approve", "--actor", "bea", id)
        terminal.ok("register", id)
        if id == "first":
            terminal.ok("act", "--reason", "moved", id, "withdraw")
    change(log_of(root, "first"), b'"moved"', b'"m0ved"')
    plan = terminal.type("repair", "first")

    terminal.ok("repair", "--accept-loss", "first")

    assert f"releases   {ID}: another manifest holds it now" in plan.stdout
    assert "releases" in terminal.ok("log", "first").splitlines()[-1]
    event = json.loads(log_of(root, "first").read_text().splitlines()[-1])
    assert event["data"]["released"] == ID
    assert event["data"]["seen"]["holder"]["manifest_id"] == "second"
    assert terminal.json("show", "first")["name"] is None
    assert terminal.ok("resolve", ID).strip() == "second"
    assert "0 recovered" in terminal.type("recover").stderr
    assert terminal.type("verify").exit_code == 0


def test_a_lock_does_not_reserve_a_repair(terminal: Terminal) -> None:
    """Breaking it is an event, which a damaged log can't take. Its holder keeps the lock, and reviews what is there now."""
    terminal.ok("claim", "--actor", "cyd", ID)
    terminal.ok("tag", "add", "--actor", "cyd", ID, "old")
    change(log_of(terminal.root), b'"old"', b'"0ld"')
    assert "allowed for ada" in terminal.ok("why", ID, "repair")

    terminal.ok("repair", "--accept-loss", ID)

    assert "'cyd'" in terminal.fails(6, "approve", "--actor", "bea", ID)
    terminal.ok("approve", "--actor", "cyd", ID)
    terminal.ok("register", ID)


# -- a policy that guards it -------------------------------------------------------------------------------------


@pytest.fixture
def guarded(rejected: Terminal) -> Terminal:
    put_in_force(rejected.root, GUARDED)
    return rejected


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--actor", "bea", "--reason", "no backup"), "'bea' is not admin"),
        (("--actor", "ada", "--reason", "no backup"), "'ada' submitted this document"),
        (("--actor", "zoe"), "a reason is required but missing"),
    ],
)
@pytest.mark.damaged
def test_a_guarded_repair_is_refused_like_any_action(guarded: Terminal, words, reason) -> None:
    """Each guard with its reason, the next step as a line to type, a line in the refusals; and not one byte is changed."""
    before = log_of(guarded.root).read_bytes()
    plan = guarded.type("repair", *words, ID)
    assert not (guarded.root / "refusals.jsonl").exists()

    refused = guarded.type("repair", "--accept-loss", *words, ID)

    assert plan.exit_code == 7
    assert "It would be refused:" in plan.stderr
    assert reason in plan.stderr
    assert refused.exit_code == 4
    assert reason in refused.stderr
    assert f"Next: registration repair {ID} --" in refused.stderr
    assert log_of(guarded.root).read_bytes() == before
    assert not (guarded.root / "quarantine").exists()
    (noted,) = map(json.loads, (guarded.root / "refusals.jsonl").read_text().splitlines())
    assert noted["refusal"]["action"] == "repair"


def test_those_whom_the_policy_allows_can_repair(guarded: Terminal) -> None:
    """And the event names the rules that allowed it, which are stored before it."""
    guarded.ok("repair", "--accept-loss", "--actor", "zoe", "--reason", "no backup", ID)

    event = json.loads(log_of(guarded.root).read_text().splitlines()[-1])
    policy = event["data"]["policy"]
    assert json.loads(guarded.ok("policy", "show", policy, "--json"))
    assert guarded.type("verify").exit_code == 0


@pytest.mark.damaged
def test_why_says_who_may_repair(guarded: Terminal) -> None:
    """In the state that would remain, which is how the guards see it; of a sound log as well."""
    of_damaged = guarded.ok("why", ID, "repair", "--actor", "bea")

    assert "is APPROVED, at version 3." in of_damaged
    assert "repair -> REVIEWED: refused for bea" in of_damaged
    assert "possible for: zoe" in of_damaged
    guarded.ok("repair", "--accept-loss", "--actor", "zoe", "--reason", "no backup", ID)
    assert "repair -> REVIEWED: allowed for zoe" in guarded.ok(
        "why", ID, "repair", "--actor", "zoe", "--reason", "x"
    )


@pytest.mark.damaged
def test_a_log_of_which_nothing_is_left_is_guarded_as_well(guarded: Terminal) -> None:
    """Otherwise damaging its first line would be the way round: the whole manifest would be gone."""
    log_of(guarded.root).write_bytes(b"garbage\n")

    assert "'bea' is not admin" in guarded.fails(
        4, "repair", "--accept-loss", "--actor", "bea", "--reason", "x", ID
    )
    assert "nothing of it would remain" in guarded.ok("why", ID, "repair", "--actor", "bea")

    assert log_of(guarded.root).read_bytes() == b"garbage\n"


@pytest.mark.damaged
def test_repairing_everything_asks_for_each_log(terminal: Terminal) -> None:
    """Aliases are logs as manifests are: what may not be repaired is reported, and stops nothing else."""
    terminal.ok("register", ID)
    name = ID.partition("@")[0]
    terminal.ok("alias", "set", name, "stable", "1.2.0")
    put_in_force(terminal.root, GUARDED.replace("not_the_author", "reason_given"))
    alias = terminal.root / "aliases" / directory_of(name) / "events.jsonl"
    for log in (alias, log_of(terminal.root)):
        change(log, b'"time":"2', b'"time":"3')

    refused = terminal.type("repair", "--all", "--accept-loss", "--actor", "bea", "--reason", "x")
    as_one = terminal.fails(
        4, "repair", "--accept-loss", "--actor", "bea", "--reason", "x", f"aliases/{name}"
    )
    done = terminal.type("repair", "--all", "--accept-loss", "--actor", "zoe", "--reason", "x")

    assert refused.exit_code == 4
    assert refused.stderr.count("'bea' is not admin") == 2
    assert f"Next: registration repair aliases/{name} --actor ada --reason x" in as_one
    assert done.exit_code == 0, done.output
    assert done.stdout.count("Repaired: ") == 2
    told = json.loads(alias.read_text().splitlines()[-1])["data"]
    assert {"policy", "lifecycle", "release"} <= told.keys()


def test_a_program_is_refused_with_the_same_error(guarded: Terminal) -> None:
    """`GuardRefused`, with the explanation as its details; the plan has it, too, and the place that it would lead to otherwise."""
    with RegistrationPipeline(guarded.root, actor="bea") as pipeline:
        plan = pipeline.upkeep.repair(ID, reason="no backup")
        assert plan is not None
        assert isinstance(plan.refusal, GuardRefused)
        with pytest.raises(GuardRefused) as refused:
            pipeline.upkeep.repair(ID, accept_loss=True, reason="no backup")
        allowed = pipeline.upkeep.repair(ID, actor="zoe", reason="no backup")
        done = pipeline.upkeep.repair(ID, accept_loss=True, actor="zoe", reason="no backup")

    assert refused.value.details["verdicts"] == plan.refusal.details["verdicts"]
    assert allowed is not None
    assert (allowed.place, allowed.lapsed, allowed.refusal) == ("REVIEWED", (3,), None)
    assert done is not None
    assert (done.place, done.lapsed) == ("REVIEWED", (3,))

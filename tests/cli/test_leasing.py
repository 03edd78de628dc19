"""The command line's commands for working alone, as somebody at a terminal meets them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from registration import RegistrationPipeline
from registration.engine.leases.leases import open_leases
from registration.errors import LeaseHeld
from tests.cli.test_cli import ID, SERVER, Terminal
from tests.kit.policies import put_in_force

KEY = f"manifests/{ID}"
POLICY = """
[roles]
reviewer = ["bea", "cyd"]

[[guards]]
guard = "role"
actions = ["submit_for_review", "approve", "reject", "register"]
any = ["reviewer"]

[[guards]]
guard = "not_the_author"
actions = ["approve"]
"""


@pytest.fixture
def terminal(root: Path) -> Terminal:
    """A registry with the sample server in review, brought by ada."""
    terminal = Terminal(root)
    terminal.ok("init")
    terminal.ok("create", SERVER)
    terminal.ok("submit", ID)
    return terminal


def claim(terminal: Terminal, actor: str, *words: str) -> dict[str, Any]:
    return terminal.json("claim", ID, "--actor", actor, *words)


def test_two_reviewers_share_the_work(terminal: Terminal) -> None:
    """One claims, the other sees it, is kept off, and finds it done."""
    first = terminal.ok("claim", ID, "--actor", "bea")
    assert first.startswith(f"{ID} is locked for you (bea) until ")
    shown = [line.split() for line in terminal.ok("show", ID).splitlines()]
    assert ["locked", "by", "bea"] in [row[:3] for row in shown]

    said = terminal.fails(6, "approve", ID, "--actor", "cyd")
    assert f"'{KEY}' is locked by 'bea' on " in said
    assert f"`registration locks break {KEY} --reason TEXT`" in said
    said = terminal.fails(6, "claim", ID, "--actor", "cyd")
    assert "locked by 'bea'" in said

    terminal.ok("approve", ID, "--actor", "bea")
    assert terminal.json("show", ID)["claim"] is None
    terminal.ok("approve", ID, "--actor", "cyd")


def test_a_refusal_in_json_says_who_has_it(terminal: Terminal) -> None:
    """A program gets holder, host, since, until and number."""
    taken = claim(terminal, "bea")
    del taken["manifest_id"]

    error = json.loads(terminal.fails(6, "reject", ID, "--reason", "x", "--json"))

    assert error["error"] == "lease_held"
    assert error["details"] == taken


def test_a_claim_is_for_the_time_that_was_said(terminal: Terminal) -> None:
    """Half an hour, or what `--for` says; a time that is none is refused with examples."""
    taken = claim(terminal, "bea", "--for", "2h")
    assert int(taken["until"][11:13]) == (int(taken["since"][11:13]) + 2) % 24

    assert "expected 30s, 45m" in terminal.fails(2, "claim", ID, "--for", "soon")
    assert "at most" in terminal.fails(2, "claim", ID, "--for", "90w", "--actor", "bea")


def test_releasing(terminal: Terminal) -> None:
    """The own claim ends; what nobody claimed is no failure; somebody else's is refused."""
    claim(terminal, "bea")
    assert "locked by 'bea'" in terminal.fails(6, "release", ID, "--actor", "cyd")

    assert terminal.ok("release", ID, "--actor", "bea") == f"{ID} is released.\n"
    assert terminal.ok("release", ID, "--actor", "bea") == f"{ID} was not locked; nothing was changed.\n"
    assert terminal.json("release", ID) == {"manifest_id": ID, "released": False}
    assert "no manifest 'weather'" in terminal.fails(3, "release", "weather")


def test_breaking_a_claim(terminal: Terminal) -> None:
    """By the id or the key, with a reason; the log and the history tell, and what is written under it is refused."""
    taken = claim(terminal, "bea")
    assert "--reason" in terminal.fails(2, "locks", "break", ID)
    assert "requires a reason" in terminal.fails(2, "locks", "break", ID, "--reason", " ")

    said = terminal.ok("locks", "break", ID, "--reason", "on holiday", "--actor", "dan")

    assert said.startswith("The lock of bea (")
    assert terminal.ok("log", ID).splitlines()[-1].endswith("on holiday; breaks bea's lock")
    assert "broken" in terminal.ok("locks", "history", KEY)
    assert terminal.ok("locks", "history", KEY) == terminal.ok("locks", "history", ID)
    number = str(taken["number"])
    assert "Your lease has expired" in terminal.fails(4, "approve", ID, "--fence", number, "--actor", "bea")
    assert "There is no lock" in terminal.fails(3, "locks", "break", KEY, "--reason", "x")
    assert terminal.ok("locks", "list") == ""
    terminal.ok("verify")


def test_breaking_another_lease(terminal: Terminal) -> None:
    """It stands in the lease's own history, since there is no manifest to record it in."""
    keeper = open_leases(terminal.root)
    keeper.acquire("sessions/wiz_1", holder="bea", ttl_s=600)

    broken = terminal.json("locks", "break", "sessions/wiz_1", "--reason", "the terminal is gone")

    assert (broken["key"], broken["holder"], broken["broken"]) == ("sessions/wiz_1", "bea", True)
    (ended,) = (
        json.loads(line) for line in terminal.ok("locks", "history", "sessions/wiz_1", "--json").splitlines()
    )
    assert (ended["how"], ended["by"], ended["reason"]) == ("broken", "ada", "the terminal is gone")


def test_listing(terminal: Terminal) -> None:
    """Each lease that holds, with its key, its holder and its number; one that is damaged is named after the others."""
    claim(terminal, "bea")
    keeper = open_leases(terminal.root)
    keeper.acquire("sessions/wiz_1", holder="cyd", ttl_s=600)

    rows = [line.split()[:2] for line in terminal.ok("locks", "list").splitlines()]
    assert rows == [[KEY, "bea"], ["sessions/wiz_1", "cyd"]]
    told = [json.loads(line) for line in terminal.ok("locks", "list", "--json").splitlines()]
    assert [set(one) for one in told] == [{"key", "holder", "host", "number", "since", "until"}] * 2

    (terminal.root / "leases" / "manifests" / "io.github.acme%2Fweather@1.2.0.json").write_bytes(b"torn")
    result = terminal.type("locks", "list")
    assert result.exit_code == 7
    assert result.stdout.startswith("sessions/wiz_1")
    assert "is not a valid record" in result.stderr


def test_what_waits_and_why(terminal: Terminal) -> None:
    """Each reviewer sees what they could do, with the rules' reasons and the line to type; authors and strangers don't."""
    put_in_force(terminal.root, POLICY)

    told = terminal.ok("next", "--as", "bea").splitlines()

    assert told[0].startswith(f"{ID}  REVIEWED  since ")
    assert told[1] == "  approve -> APPROVED: 'bea' is reviewer; 'bea' is not the author"
    assert told[2] == f"    registration approve {ID} --actor bea"
    assert told[4] == f"    registration reject {ID} --reason TEXT --actor bea"
    for name in ("ada", "eve"):
        result = terminal.type("next", "--as", name)
        assert (result.exit_code, result.stdout) == (0, "")
        assert f"Nothing is waiting for {name}." in result.stderr


def test_what_others_claimed_is_passed_over(terminal: Terminal) -> None:
    """It is said how many, and where to look; the own claim is shown, and what to claim next is not suggested again."""
    claim(terminal, "bea")

    others = terminal.type("next", "--as", "cyd")
    own = terminal.type("next", "--as", "bea")

    assert others.stdout == ""
    assert "1 is locked by others: see `registration locks list`." in others.stderr
    assert "locked by you until" in own.stdout
    assert "Next:" not in own.stderr


def test_next_in_json_and_the_line_it_gives_can_be_typed(terminal: Terminal) -> None:
    """What is printed to be typed does what it says, for whoever types it."""
    told = json.loads(terminal.ok("next", "--as", "o'brien", "--state", "reviewed", "--json"))

    assert set(told) == {"manifest_id", "state", "version", "since", "choices", "claim"}
    assert set(told["choices"][0]) == {"action", "to", "why", "next", "next_actions"}
    words = shlex.split(told["choices"][0]["next"])
    terminal.ok(*words[1:])
    with RegistrationPipeline(terminal.root) as pipeline:
        assert [one["actor"] for one in pipeline.load_state(ID).approvals] == ["o'brien"]


def test_no_more_than_asked_for(terminal: Terminal) -> None:
    """The oldest ones; a wrong state is refused with a suggestion."""
    terminal.ok("create", "--id", "b", SERVER)
    terminal.ok("create", "--id", "a", SERVER)

    shown = [line.split()[0] for line in terminal.ok("next", "--limit", "2").splitlines() if line[0] != " "]

    assert shown == [ID, "b"]
    assert "Did you mean 'REVIEWED'" in terminal.fails(2, "next", "--state", "REVEWED")


def test_what_cannot_be_read_is_said_and_the_rest_shown(root: Path) -> None:
    """A damaged manifest, or claim, hides nothing else."""
    terminal = Terminal(root)
    terminal.ok("init")
    for id in ("a", "b"):
        terminal.ok("create", "--id", id, SERVER)
    claim_file = root / "leases" / "manifests" / "a.json"
    claim_file.parent.mkdir(parents=True)
    claim_file.write_bytes(b"torn")

    result = terminal.type("next")

    assert result.exit_code == 7
    assert result.stdout.startswith("b  DRAFT")
    assert "leases/manifests/a.json" in result.stderr


def test_a_setting_keeps_leases_elsewhere(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs of several registries may share one place; what is not known is refused."""
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("REGISTRATION_LEASES", str(tmp_path / "shared"))
    claim(terminal, "bea")

    with pytest.raises(LeaseHeld):
        open_leases(tmp_path / "shared").acquire(KEY, holder="cyd", ttl_s=1)
    assert not (terminal.root / "leases").exists()
    monkeypatch.setenv("REGISTRATION_LEASES", "redis://cache")
    assert "unknown scheme 'redis'" in terminal.fails(2, "claim", ID)

"""The first command that people type: what the gate of a new registry demands, and beginning with rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_cli import FIXTURES, SERVER, Terminal

PUBLIC = str(FIXTURES / "lifecycles" / "public-registry.toml")
TEAM = ("--policy", "team", "--member", "reviewer=bea", "--member", "reviewer=cyd", "--member", "owner=ana")


@pytest.fixture
def terminal(root: Path) -> Terminal:
    return Terminal(root)


def test_init_says_what_the_gate_demands(terminal: Terminal, tmp_path: Path) -> None:
    """That the author may do it alone, in the words of the lifecycle, and where to look for rules that demand more."""
    said = terminal.type("init")
    public = Terminal(tmp_path / "public").type("init", "--lifecycle", PUBLIC)

    assert said.stderr.splitlines() == [
        (
            "Anyone may approve and register, also the author. For rules that demand more: registration policy template --help"
        ),
        "Next: registration create FILE",
    ]
    assert public.stderr.startswith("Anyone may accept, also the author. ")


def test_a_registry_begins_with_four_eyes(terminal: Terminal) -> None:
    """The first document is under the rules: its author can't approve it."""
    said = terminal.type("init", "--policy", "four-eyes")
    terminal.ok("create", "--id", "a", SERVER)
    terminal.ok("submit", "a")

    refused = terminal.fails(4, "approve", "a")
    terminal.ok("approve", "a", "--actor", "bea")

    assert said.stderr.splitlines() == [
        "  approve: anyone, not the author",
        "  register: anyone, after 1 approval",
        "Next: registration create FILE",
    ]
    assert "'ada' submitted this document; another person must approve it" in refused
    assert (terminal.root / "policy.toml").read_text().startswith("# Four eyes: ")


def test_a_registry_begins_with_a_team(terminal: Terminal) -> None:
    """Its people are in its policy; somebody else is refused."""
    said = terminal.json("init", *TEAM)
    terminal.ok("create", "--id", "a", SERVER)
    terminal.ok("submit", "a")

    refused = terminal.fails(4, "approve", "a", "--actor", "eve")
    terminal.ok("approve", "a", "--actor", "cyd")
    terminal.ok("register", "a", "--actor", "ana")

    assert said["gate"][-1] == {"action": "remove_alias", "demand": "owner (ana)", "alone": False}  # type: ignore[index]
    assert "'eve' is not reviewer" in refused


def test_a_registry_of_mcp_servers_takes_nothing_else(terminal: Terminal, tmp_path: Path) -> None:
    """From its first document on, under the id that the document has."""
    (tmp_path / "other.json").write_text('{"title": "no server"}')

    terminal.ok("init", "--policy", "mcp", *TEAM[2:])
    terminal.ok("create", SERVER)

    assert "was refused" in terminal.fails(4, "create", "--id", "b", str(tmp_path / "other.json"))


@pytest.mark.parametrize(
    ("words", "problem", "advice"),
    [
        (
            ("--policy", "team"),
            "The policy 'team' needs at least one person as reviewer and one as owner.",
            "Name them: `--member reviewer=NAME --member owner=NAME`.",
        ),
        (
            ("--policy", "team", "--member", "reviewr=bea"),
            "The policy 'team' has no role 'reviewr'. Did you mean 'reviewer'?",
            "Its roles are reviewer, owner.",
        ),
        (
            ("--policy", "team", "--member", "reviewer=bea, cyd"),
            "Invalid member 'reviewer=bea, cyd': one person at a time.",
            "Repeat it: `--member reviewer=bea --member reviewer=cyd`.",
        ),
        (
            ("--policy", "team", "--member", "bea"),
            "Invalid member 'bea': expected ROLE=NAME.",
            "For example: `--member reviewer=ana`.",
        ),
        (
            ("--policy", "four-eyes", "--member", "owner=ana"),
            "The policy 'four-eyes' has no role 'owner'.",
            "It has no roles: leave out `--member`.",
        ),
        (("--member", "owner=ana"), "`--member` needs a policy to put people into.", "Add `--policy team`."),
        (
            ("--policy", "four-eye"),
            "No policy 'four-eye' comes with the package. Did you mean 'four-eyes'?",
            "There are four-eyes, team, mcp.",
        ),
        (
            ("--policy", "./mine.toml"),
            "'./mine.toml' is a file; expected four-eyes, team, mcp.",
            "To begin with rules of your own, copy them to DIR/policy.toml first, and leave out `--policy`.",
        ),
        (
            ("--policy", "four-eyes", "--lifecycle", PUBLIC),
            (
                "The policy 'four-eyes', for the lifecycle 'public-registry', has 1 problem: guards[0].actions: the "
                "lifecycle 'public-registry' has no action 'approve'. Did you mean 'remove'?"
            ),
            "Write a policy.toml of your own for it; `registration policy template four-eyes` prints this one.",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_told_and_nothing_is_made(
    terminal: Terminal, words: tuple[str, ...], problem: str, advice: str
) -> None:
    """Neither a registry nor a policy: the command can be typed again."""
    said = terminal.fails(2, "init", *words)

    assert said.splitlines() == [f"Error: {problem}", advice]
    assert not terminal.root.exists()


def test_a_registry_that_is_there_gets_no_other_rules(terminal: Terminal) -> None:
    """They are changed by applying a policy; one that is there already is not replaced either."""
    terminal.ok("init")
    before = sorted(terminal.root.rglob("*"))

    refused = terminal.fails(4, "init", "--policy", "four-eyes")
    dry = terminal.fails(4, "init", "--policy", "four-eyes", "--dry-run")

    assert (
        "is already a registry: its rules are changed by applying other ones. Nothing was changed." in refused
    )
    assert "`registration policy apply FILE`" in refused
    assert dry == refused
    assert sorted(terminal.root.rglob("*")) == before


def test_where_no_registry_can_be_made_no_policy_is_left(terminal: Terminal) -> None:
    """The same line can be typed again, once the obstacle is gone."""
    terminal.root.mkdir()
    (terminal.root / "manifests").write_text("in the way")

    terminal.fails(1, "init", "--policy", "four-eyes")
    left = sorted(path.name for path in terminal.root.iterdir())
    (terminal.root / "manifests").unlink()
    terminal.ok("init", "--policy", "four-eyes")

    assert left == ["manifests"]


def test_a_policy_that_is_there_is_begun_with(terminal: Terminal) -> None:
    """`init` uses it as it is; with `--policy`, it is not written over."""
    terminal.root.mkdir()
    (terminal.root / "policy.toml").write_text(
        '[[guards]]\nguard = "not_the_author"\nactions = ["register"]\n'
    )

    refused = terminal.fails(4, "init", "--policy", "four-eyes")
    said = terminal.type("init")

    assert "There is already a " in refused
    assert "  register: anyone, not the author, after 1 approval" in said.stderr.splitlines()


def test_a_dry_run_says_what_would_be_demanded(terminal: Terminal) -> None:
    """And makes nothing."""
    said = terminal.type("init", "--dry-run", *TEAM)
    told = terminal.json("init", "--dry-run")

    assert "  repair, move_alias, remove_alias: owner (ana)" in said.stderr.splitlines()
    assert [one["alone"] for one in told["gate"]] == [True, True]  # type: ignore[attr-defined]
    assert not terminal.root.exists()


def test_a_small_team_is_warned(terminal: Terminal) -> None:
    """Of documents that nobody in it could approve."""
    said = terminal.type("init", "--policy", "team", "--member", "reviewer=bea", "--member", "owner=ana")

    assert said.exit_code == 0
    assert said.stderr.startswith(
        "Warning: approve: only 'bea' may do it, and not for documents that 'bea' submitted\n"
    )


def test_a_policy_is_printed_to_begin_with(terminal: Terminal) -> None:
    """Without a registry; into a file, and from there in force."""
    printed = terminal.ok("policy", "template", *TEAM[1:])

    assert 'reviewer = ["bea", "cyd"]\nowner = ["ana"]\n' in printed
    assert json.loads(terminal.ok("policy", "template", *TEAM[1:], "--json")) == {
        "policy": "team",
        "text": printed,
    }

"""The check of the actor that a policy may demand (`[actors]`): how they came in, and in which script their name is. Pure.

It returns the verdict of a refusal, or None; so it is an `Answer`, in `why` as well, only where it matters. How an actor came in is
part of the command (`Command.via`) and of the event (`data.via`), so the same is asked when an event is decided again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registration.core.policy import Verdict
from registration.values.names import LATEST
from registration.values.people import same_person, script_problem

if TYPE_CHECKING:
    from registration.core.policy import Policy
    from registration.values.commands import Command

LOGIN = "login"
"""The source of `[actors]` that binds an actor to the user of the operating system."""


def says_actor(command: Command, policy: Policy) -> Verdict | None:
    """A refusal if the name mixes scripts and `one_script` is demanded, or the policy's `sources` know the actor by another name.

    The script comes first: the two names may look the same.
    """
    if policy.one_script and command.actor is not None and (problem := script_problem(command.actor)):
        return Verdict(
            agrees=False,
            reason=f"the name {command.actor!r} is not in one script: {problem}",
            evidence={"actor": command.actor, "problem": problem},
            remedy="Use a name whose letters are of one script (`one_script` in the policy's [actors]).",
        )
    if LOGIN in policy.sources and not _is_automatic(command):
        return _says_login(command)
    return None


def answerable(command: Command, policy: Policy) -> str | None:
    """Who answers for a command that was refused: the actor, and where actors are bound to logins the login.

    Otherwise a false name would use up what its owner may do in a day.
    """
    if LOGIN in policy.sources and command.via is not None:
        login: str | None = command.via.get("login")
        return login
    return command.actor


def as_if(actor: str | None) -> dict[str, Any]:
    """How an actor comes in who gives a command in person: for asking what others could do."""
    return {"uid": None, "login": actor, "host": None}


def _says_login(command: Command) -> Verdict | None:
    via = command.via or {}
    login = via.get("login")
    if same_person(command.actor, login):
        return None
    evidence = {"actor": command.actor, "source": LOGIN, "via": dict(via)}
    demand = "the policy demands that the actor is the operating-system user"
    if login is None:
        if via.get("uid") is not None:
            user = f"user {via['uid']} on {via['host']} has no login name"
        else:
            user = "no actor is named" if command.actor is None else "who that is was not recorded"
        return Verdict(
            agrees=False,
            reason=f"{demand}, and {user}",
            evidence=evidence,
            remedy="Act as a user whom the system knows by name (`source` in the policy's [actors]).",
        )
    named = "no actor is named" if command.actor is None else f"{command.actor!r} is another name"
    return Verdict(
        agrees=False,
        reason=f"{demand}: the login is {login!r} (user {via.get('uid')} on {via.get('host')}), and {named}",
        evidence=evidence,
        remedy=f"Act as {login!r}, or have the other person log in and do it (`source` in the policy's [actors]).",
        needs={"actor": login},
    )


def _is_automatic(command: Command) -> bool:
    """Whether the registry itself gave the command: only `latest` moves without anyone's request."""
    return command.actor is None and (command.members or {}).get("alias") == LATEST

"""How an actor came in: the user of the operating system who runs this process, and the host. Never from the environment.

An actor is a name that is given. What is recorded beside it (`data.via` of an event) is what the system says. It is not a proof
against a user who can write to the registry's files, only against a name given by mistake, or in another's place.
"""

from __future__ import annotations

import os
import pwd
from functools import lru_cache

from registration.values.commands import Via


def came_in() -> Via:
    """The user who runs this process at this moment, also after a fork or a change of the user id. A new object each time."""
    return _of(os.getuid()).copy()


@lru_cache(maxsize=16)
def _of(uid: int) -> Via:
    try:
        login: str | None = _text(pwd.getpwuid(uid).pw_name)
    except (KeyError, OSError):  # a container without the user, or a directory service that doesn't answer
        login = None
    return {"uid": uid, "login": login or None, "host": _text(os.uname().nodename)}


def _text(said: str) -> str:
    """Text that JSON can have: the system may say any bytes."""
    return said.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

"""The shipped wizards, by name, each loaded on demand."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from registration.core.decider import nearest
from registration.errors import NotFound

if TYPE_CHECKING:
    from registration.onboarding.wizards.wizard import Wizard

SHIPPED = {
    "community-onboarding": "registration.onboarding.community",
    "mcp-server": "registration.onboarding.wizards.mcp_server",
    "agent-card": "registration.onboarding.wizards.agent_card",
}
"""By name, the module that contains its `WIZARD`."""


def shipped(name: str) -> Wizard:
    """The wizard of that name.

    Raises:
        NotFound: when there is none of that name; the closest one is suggested.
    """
    if name not in SHIPPED:
        raise NotFound(
            f"There is no wizard {name!r}.{nearest(name, SHIPPED)}",
            f"Pass a file, or one of: {', '.join(SHIPPED)}.",
        )
    wizard: Wizard = import_module(SHIPPED[name]).WIZARD
    return wizard

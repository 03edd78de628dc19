"""The feed's access to the logs of other areas: aliases, guided sessions, deployments.

A follower may never have used one of them, so each is opened when the feed first mentions it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from registration.storage import layout

if TYPE_CHECKING:
    from registration.storage.feed import AreaLogs
    from registration.storage.ledger import Areas, Ledger


def _registry(store: Ledger) -> AreaLogs:
    from registration.rules.lifecycles.registry import REGISTRY  # noqa: PLC0415  # a chart is built: most commands never follow

    return store.area(layout.REGISTRY, REGISTRY)


def _aliases(store: Ledger) -> AreaLogs:
    from registration.engine.names.aliases import ALIASES  # noqa: PLC0415  # a chart is built: most commands never follow

    return store.area(layout.ALIASES, ALIASES)


def _deployments(store: Ledger) -> AreaLogs:
    from registration.onboarding.community.deploying.lifecycle import DEPLOYMENT  # noqa: PLC0415  # as above

    return store.area(layout.DEPLOYMENTS, DEPLOYMENT)


def _sessions(store: Ledger) -> AreaLogs:
    from registration.onboarding.sessions.logs import SessionLogs  # noqa: PLC0415  # as above

    return SessionLogs(store)


OTHERS: Areas = {
    layout.REGISTRY: _registry,
    layout.ALIASES: _aliases,
    layout.SESSIONS: _sessions,
    layout.DEPLOYMENTS: _deployments,
}

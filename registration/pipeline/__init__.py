"""The public API: one registry, with all its operations and queries.

`RegistrationPipeline` has the commands and the states; the rest is on its parts (`pipeline.names`, `pipeline.work`, `pipeline.feed`,
`pipeline.find`, `pipeline.evidence`, `pipeline.upkeep`, `pipeline.sessions`), each a small object over one `OpenRegistry`. Names are
resolved when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registration.pipeline.pipeline import RegistrationPipeline as RegistrationPipeline

_HOME_OF = {"RegistrationPipeline": "registration.pipeline.pipeline"}

__all__ = ["RegistrationPipeline"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'registration.pipeline' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value

"""Review, approve and register JSON manifests on plain files, with a history that can be proved.

::

    from registration import RegistrationPipeline

    with RegistrationPipeline("registry", actor="ada") as pipeline:
        draft = pipeline.create(None, {"name": "weather", "version": "1.0.0"})
        pipeline.submit_for_review(draft.manifest_id)
        pipeline.approve(draft.manifest_id, actor="bea")
        pipeline.register(draft.manifest_id)

Start at `registration.pipeline.pipeline`; ARCHITECTURE.md is the map. Names are resolved when they are first used, so
that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registration.catalog.statistics import Statistics as Statistics
    from registration.core.chart import Chart as Chart
    from registration.core.definition import Definition as Definition
    from registration.core.explanation import Explanation as Explanation
    from registration.core.interpreter import Action as Action
    from registration.core.interpreter import GuardUse as GuardUse
    from registration.core.interpreter import State as State
    from registration.core.interpreter import Timeout as Timeout
    from registration.core.interpreter import Transition as Transition
    from registration.core.outlook import Outlook as Outlook
    from registration.core.policy import Kind as Kind
    from registration.core.policy import Policy as Policy
    from registration.core.policy import Verdict as Verdict
    from registration.engine.engine import TransitionResult as TransitionResult
    from registration.engine.leases.keeper import LeaseKeeper as LeaseKeeper
    from registration.engine.leases.leases import open_leases as open_leases
    from registration.engine.names.answers import AliasedVersion as AliasedVersion
    from registration.engine.names.answers import NameStatus as NameStatus
    from registration.engine.names.answers import Resolution as Resolution
    from registration.engine.publisher import StateChange as StateChange
    from registration.errors import AlreadyExists as AlreadyExists
    from registration.errors import ConsumerBlocked as ConsumerBlocked
    from registration.errors import ConsumerBusy as ConsumerBusy
    from registration.errors import CorruptLog as CorruptLog
    from registration.errors import CorruptRegistry as CorruptRegistry
    from registration.errors import GuardRefused as GuardRefused
    from registration.errors import IdempotencyMismatch as IdempotencyMismatch
    from registration.errors import IllegalTransition as IllegalTransition
    from registration.errors import InvalidAnswer as InvalidAnswer
    from registration.errors import InvalidArgument as InvalidArgument
    from registration.errors import InvalidDefinition as InvalidDefinition
    from registration.errors import InvalidDocument as InvalidDocument
    from registration.errors import InvalidHooks as InvalidHooks
    from registration.errors import InvalidPolicy as InvalidPolicy
    from registration.errors import InvalidWizard as InvalidWizard
    from registration.errors import LeaseHeld as LeaseHeld
    from registration.errors import LeaseLost as LeaseLost
    from registration.errors import LockTimeout as LockTimeout
    from registration.errors import NameTaken as NameTaken
    from registration.errors import NotFound as NotFound
    from registration.errors import NotYours as NotYours
    from registration.errors import PinMismatch as PinMismatch
    from registration.errors import ReceiptMismatch as ReceiptMismatch
    from registration.errors import RegistrationError as RegistrationError
    from registration.errors import Rejected as Rejected
    from registration.errors import SessionActive as SessionActive
    from registration.errors import SessionEnded as SessionEnded
    from registration.errors import SessionExpired as SessionExpired
    from registration.errors import SnapshotMismatch as SnapshotMismatch
    from registration.errors import StaleFence as StaleFence
    from registration.errors import StoreError as StoreError
    from registration.errors import TargetRefused as TargetRefused
    from registration.errors import TargetUnavailable as TargetUnavailable
    from registration.errors import UnknownEvent as UnknownEvent
    from registration.errors import VersionConflict as VersionConflict
    from registration.errors import WaitTimeout as WaitTimeout
    from registration.errors import WorkFailed as WorkFailed
    from registration.errors import WorkStuck as WorkStuck
    from registration.feed.consumers import Consumer as Consumer
    from registration.feed.consumers import ConsumerStatus as ConsumerStatus
    from registration.onboarding.sessions.backing import MemoryBacking as MemoryBacking
    from registration.onboarding.sessions.session import Caller as Caller
    from registration.onboarding.sessions.session import Session as Session
    from registration.onboarding.sessions.sessions import Sessions as Sessions
    from registration.onboarding.sessions.settings import SessionSettings as SessionSettings
    from registration.onboarding.wizards.forms import form_of as form_of
    from registration.onboarding.wizards.wizard import Option as Option
    from registration.onboarding.wizards.wizard import Problem as Problem
    from registration.onboarding.wizards.wizard import Wizard as Wizard
    from registration.onboarding.wizards.wizard import WizardStep as WizardStep
    from registration.pipeline.asynchronous.pipeline import (
        AsyncRegistrationPipeline as AsyncRegistrationPipeline,
    )
    from registration.pipeline.many import CreateItem as CreateItem
    from registration.pipeline.many import ItemResult as ItemResult
    from registration.pipeline.many import Results as Results
    from registration.pipeline.many import TransitionItem as TransitionItem
    from registration.pipeline.pipeline import RegistrationPipeline as RegistrationPipeline
    from registration.pipeline.results import Listing as Listing
    from registration.pipeline.results import Summary as Summary
    from registration.rules.lifecycles.registration import LifecycleState as LifecycleState
    from registration.storage.ledger import Ledger as Ledger
    from registration.storage.memory import MemoryBackend as MemoryBackend
    from registration.storage.memory import open_memory as open_memory
    from registration.storage.reports import FeedEntry as FeedEntry
    from registration.values.commands import Command as Command
    from registration.values.events import Event as Event
    from registration.values.events import StateSnapshot as StateSnapshot
    from registration.values.leases import Lease as Lease
    from registration.values.times import RetryPolicy as RetryPolicy

__version__ = "0.2.0"

_HOME_OF = {
    "Statistics": "registration.catalog.statistics",
    "Chart": "registration.core.chart",
    "Definition": "registration.core.definition",
    "Explanation": "registration.core.explanation",
    "Action": "registration.core.interpreter",
    "GuardUse": "registration.core.interpreter",
    "State": "registration.core.interpreter",
    "Timeout": "registration.core.interpreter",
    "Transition": "registration.core.interpreter",
    "Outlook": "registration.core.outlook",
    "Kind": "registration.core.policy",
    "Policy": "registration.core.policy",
    "Verdict": "registration.core.policy",
    "TransitionResult": "registration.engine.engine",
    "LeaseKeeper": "registration.engine.leases.keeper",
    "open_leases": "registration.engine.leases.leases",
    "AliasedVersion": "registration.engine.names.answers",
    "NameStatus": "registration.engine.names.answers",
    "Resolution": "registration.engine.names.answers",
    "StateChange": "registration.engine.publisher",
    "AlreadyExists": "registration.errors",
    "ConsumerBlocked": "registration.errors",
    "ConsumerBusy": "registration.errors",
    "CorruptLog": "registration.errors",
    "CorruptRegistry": "registration.errors",
    "GuardRefused": "registration.errors",
    "IdempotencyMismatch": "registration.errors",
    "IllegalTransition": "registration.errors",
    "InvalidAnswer": "registration.errors",
    "InvalidArgument": "registration.errors",
    "InvalidDefinition": "registration.errors",
    "InvalidDocument": "registration.errors",
    "InvalidHooks": "registration.errors",
    "InvalidPolicy": "registration.errors",
    "InvalidWizard": "registration.errors",
    "LeaseHeld": "registration.errors",
    "LeaseLost": "registration.errors",
    "LockTimeout": "registration.errors",
    "NameTaken": "registration.errors",
    "NotFound": "registration.errors",
    "NotYours": "registration.errors",
    "PinMismatch": "registration.errors",
    "ReceiptMismatch": "registration.errors",
    "RegistrationError": "registration.errors",
    "Rejected": "registration.errors",
    "SessionActive": "registration.errors",
    "SessionEnded": "registration.errors",
    "SessionExpired": "registration.errors",
    "SnapshotMismatch": "registration.errors",
    "StaleFence": "registration.errors",
    "StoreError": "registration.errors",
    "TargetRefused": "registration.errors",
    "TargetUnavailable": "registration.errors",
    "UnknownEvent": "registration.errors",
    "VersionConflict": "registration.errors",
    "WaitTimeout": "registration.errors",
    "WorkFailed": "registration.errors",
    "WorkStuck": "registration.errors",
    "Consumer": "registration.feed.consumers",
    "ConsumerStatus": "registration.feed.consumers",
    "MemoryBacking": "registration.onboarding.sessions.backing",
    "Caller": "registration.onboarding.sessions.session",
    "Session": "registration.onboarding.sessions.session",
    "Sessions": "registration.onboarding.sessions.sessions",
    "SessionSettings": "registration.onboarding.sessions.settings",
    "form_of": "registration.onboarding.wizards.forms",
    "Option": "registration.onboarding.wizards.wizard",
    "Problem": "registration.onboarding.wizards.wizard",
    "Wizard": "registration.onboarding.wizards.wizard",
    "WizardStep": "registration.onboarding.wizards.wizard",
    "AsyncRegistrationPipeline": "registration.pipeline.asynchronous.pipeline",
    "CreateItem": "registration.pipeline.many",
    "ItemResult": "registration.pipeline.many",
    "Results": "registration.pipeline.many",
    "TransitionItem": "registration.pipeline.many",
    "RegistrationPipeline": "registration.pipeline.pipeline",
    "Listing": "registration.pipeline.results",
    "Summary": "registration.pipeline.results",
    "LifecycleState": "registration.rules.lifecycles.registration",
    "Ledger": "registration.storage.ledger",
    "MemoryBackend": "registration.storage.memory",
    "open_memory": "registration.storage.memory",
    "FeedEntry": "registration.storage.reports",
    "Command": "registration.values.commands",
    "Event": "registration.values.events",
    "StateSnapshot": "registration.values.events",
    "Lease": "registration.values.leases",
    "RetryPolicy": "registration.values.times",
}
"""Where each public name lives; a test holds this against the imports above, which the type checker reads."""

__all__ = ["__version__", *_HOME_OF]  # noqa: PLE0604  # made of one table, rather than listed once more


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'registration' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

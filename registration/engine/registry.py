"""`OpenRegistry`: one open registry, shared by the pipeline and its parts.

Its store, the rules in force, the engine over both, the names, and the lease keeper. This is the only place where a caller's
arguments become a command. Each part of `registration.pipeline` is made of one of these and nothing more.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from registration.core.actors import LOGIN, as_if, says_actor
from registration.core.decider import check_action, nearest
from registration.core.explanation import Explanation, explain
from registration.core.facts import REPAIR, TAGGING, action_of
from registration.core.interpreter import steps
from registration.core.outlook import Outlook, outlooks
from registration.core.policy import NO_POLICY
from registration.engine.engine import Engine, Random, TransitionResult, seeing
from registration.engine.governance import Governance
from registration.engine.names.alias_logs import AliasLogs
from registration.engine.names.registry import Names
from registration.engine.origin import came_in
from registration.errors import (
    CorruptLog,
    InvalidArgument,
    InvalidDocument,
    Next,
    NotFound,
    RegistrationError,
    Rejected,
    StoreError,
)
from registration.storage import layout
from registration.storage.layout import lease_key
from registration.values.commands import Command, check_via, command
from registration.values.documents import Document, check_document, parse_document
from registration.values.ids import check_id
from registration.values.times import Clock, system_clock

if TYPE_CHECKING:
    from registration.core.definition import Definition
    from registration.core.policy import Guard, Policy
    from registration.engine.leases.keeper import LeaseKeeper
    from registration.engine.trial import Trial
    from registration.errors import Next
    from registration.evidence.kept_rules import KeptRules
    from registration.storage.ledger import Ledger
    from registration.values.commands import Via
    from registration.values.events import StateSnapshot
    from registration.values.leases import Lease
    from registration.values.times import RetryPolicy

_log = logging.getLogger("registration")

GOVERNED_AREAS = (layout.MANIFESTS, layout.ALIASES)
"""The areas whose events are decided under the rules of the registry, and name its own log."""

SUGGESTIONS_MAX = 10_000
"""How many ids are searched for a suggestion."""


class OpenRegistry:
    """One registry, open. Safe to share between threads.

    policy: returns the rules in force; a `Governance` also guards the commits under them. guards: the program's own, by name. actor: the default actor. leases: the lease keeper, or an
    argument of `registration.open_leases`; by default the registry's own. The rest is documented in
    `registration.pipeline.pipeline.RegistrationPipeline`.
    """

    def __init__(
        self,
        store: Ledger,
        policy: Callable[[], Policy] = lambda: NO_POLICY,
        *,
        guards: Mapping[str, Guard] | None = None,
        actor: str | None = None,
        leases: LeaseKeeper | str | os.PathLike[str] | None = None,
        clock: Clock = system_clock,
        random: Random | None = None,
        retry: RetryPolicy | None = None,
        traceparent: Callable[[], str | None] | None = None,
        via: Callable[[], Via] | None = None,
        lock_timeout_s: float = 10.0,
    ) -> None:
        self.policy = policy
        self.governance = policy if isinstance(policy, Governance) else None
        self.guards = guards
        self.actor = actor
        self.clock = clock
        self.lock_timeout_s = lock_timeout_s
        self.closed = False
        self._store = store
        self._random = random
        self._traceparent = traceparent
        self._via = came_in if via is None else lambda: check_via(via())
        if isinstance(leases, str | os.PathLike):
            from registration.engine.leases.leases import open_leases  # noqa: PLC0415  # few programs use one

            self.leases = open_leases(leases, clock=clock)
        elif leases is not None:
            self.leases = leases
        self._names = Names(
            store,
            AliasLogs(
                store,
                policy=policy,
                governing=self.governance,
                clock=clock,
                random_source=random,
                retry=retry,
                lock_timeout_s=lock_timeout_s,
            ),
        )
        self.engine = Engine(
            store,
            policy=policy,
            governing=self.governance,
            claims=self.lease_on,
            clock=clock,
            random_source=random,
            retry=retry,
            lock_timeout_s=lock_timeout_s,
            reservations=self._names,
            onward=self._onward,
            ahead=self._ahead,
        )

    def close(self) -> None:
        """Release everything; later calls are refused. Closing twice is harmless."""
        self.closed = True
        self._names.close()
        self._store.close()

    @property
    def store(self) -> Ledger:
        """The registry's logs.

        Raises:
            StoreError: when the registry is closed.
        """
        self.check_open()
        return self._store

    @property
    def names(self) -> Names:
        """The names, with their holders and aliases. Raises: as `store`."""
        self.check_open()
        return self._names

    def check_open(self) -> None:
        """Refuse if the registry is closed. Raises: as `store`."""
        if self.closed:
            raise StoreError("The pipeline is closed.", "Make a new one.")

    @property
    def definition(self) -> Definition:
        """The lifecycle with its version, its digest and its guards."""
        return self._store.definition

    @property
    def source(self) -> str:
        """``urn:uuid:`` and the registry's id."""
        return self._store.source

    @property
    def document_bytes_max(self) -> int:
        """The maximum size of a document in this registry."""
        return self._store.document_bytes_max

    @cached_property
    def leases(self) -> LeaseKeeper:
        """The lease keeper, by default over the registry's own records. Its calls block on the disk."""
        from registration.engine.leases.leases import Leases  # noqa: PLC0415  # only for writes

        return Leases(self._store.records, clock=self.clock)

    def governing(self) -> Governance:
        """The registry's own log and the rules that it puts in force.

        Raises:
            InvalidArgument: when this program brought a function instead.
            StoreError: when the registry is closed.
        """
        self.check_open()
        if self.governance is None:
            raise InvalidArgument(
                "This registry was opened with rules of the program's own, which are not in its log.",
                "Open it with a `RegistrationPipeline`.",
            )
        return self.governance

    def engine_over(self, store: Ledger) -> Engine:
        """An engine over other logs of the registry, such as sessions, with the same rules, clock and retries."""
        governed = store.name in GOVERNED_AREAS
        return Engine(
            store,
            policy=self.policy if governed else self._elsewhere,
            governing=self.governance if governed else None,
            clock=self.clock,
            random_source=self._random,
            lock_timeout_s=self.lock_timeout_s,
        )

    def _elsewhere(self) -> Policy:
        """The rules for the repair of a log whose events don't name the registry's own."""
        return self.policy().variant(registry=None)

    def kept_rules(self, store: Ledger | None = None) -> KeptRules:
        """The rules under which the events of an area's logs were decided, as they were kept. store: by default the manifests.

        Raises:
            CorruptRegistry, StoreError: when `registry.json` can't be read.
        """
        from registration.evidence.kept_rules import KeptRules  # noqa: PLC0415  # for evidence alone

        store = store or self.store
        lifecycles = self._ever_in_force() if store.name == layout.MANIFESTS else None
        governed = self.governance is not None and store.name in GOVERNED_AREAS
        log = self.governance.rules_log(store.name) if self.governance is not None and governed else None
        return KeptRules(store.definition, store.kept, guards=self.guards, lifecycles=lifecycles, log=log)

    def _ever_in_force(self) -> list[str] | None:
        """The digests of the lifecycles that are or were in force, the first one first, by `registry.json`; None in memory, where there is none."""
        raw = self.store.records.read((layout.REGISTRY_FILE,))
        if raw is None:
            return None
        from registration.storage.files.registry_file import parse_registry  # noqa: PLC0415  # as above

        file = parse_registry("", raw)
        current = file.lifecycle if file.lifecycle is not None else self.definition.identity
        return [one["digest"] for one in (*file.earlier, current)]

    # -- commands ------------------------------------------------------------------------------------------

    def command(self, stream: str, words: Mapping[str, Any], **rest: Any) -> Command:
        """A caller's request as a `Command`, with how the actor came in; the actor is as `acting` says if the words have none.

        words: those of `registration.values.commands.Words`. rest: other members of the command, such as its action.

        Raises:
            InvalidArgument: when a word is invalid; every problem is named.
        """
        said = dict(words)
        said.pop("dry_run", None)
        if said.get("actor") is None:
            said["actor"] = self.acting(None)
        rest["via"] = self._via()
        if self._traceparent is not None:
            rest["traceparent"] = self._traceparent()
        return command(stream, said, **rest)

    def acting(self, actor: str | None) -> str | None:
        """The actor of a call: the given one, else that of this registry, else, if the policy demands it, the login."""
        found = actor if actor is not None else self.actor
        if found is None and LOGIN in self._sources():
            return self._via()["login"]
        return found

    def _sources(self) -> tuple[str, ...]:
        """How an actor must be known; empty if the rules can't be read: a command meets that by itself, where it matters."""
        try:
            return self.policy().sources
        except RegistrationError:
            return ()

    def check_acting(self, actor: str) -> None:
        """Refuse an actor whom the policy's [actors] refuses, for a call that records no event.

        Raises:
            Rejected: when the policy demands another actor.
        """
        refusal = says_actor(Command(stream="", actor=actor, via=self._via()), self.policy())
        if refusal is not None:
            raise Rejected(
                f"{actor!r} can't do this: {refusal.reason}.", refusal.remedy, **dict(refusal.evidence)
            )

    def carry_out(
        self, manifest_id: str, words: Mapping[str, Any], *, trial: Trial | None = None, **rest: Any
    ) -> TransitionResult:
        """Build a command, and run it; see `command`. trial: only decide it, in this trial.

        Raises: as `registration.engine.engine.Engine.execute`.
        """
        if self.closed:
            self.check_open()
        wanted = self.command(manifest_id, words, **rest)
        if trial is None and words.get("dry_run"):
            trial = self.engine.trial()
        try:
            result = self.engine.execute(wanted, trial)
        except NotFound:
            raise self.unknown(manifest_id) from None
        if wanted.fence is None and "fence" in result.event.data:
            self._end_lease(result, trial)
        return result

    def reach(
        self,
        manifest_id: str,
        target: str,
        context: Mapping[str, Any] | None,
        words: Mapping[str, Any],
        *,
        trial: Trial | None = None,
    ) -> TransitionResult:
        """Move a manifest to a state. The context may contain `reason` and `comment` as well."""
        said = dict(words)
        if isinstance(context, Mapping):
            more = dict(context)
            said |= {word: more.pop(word) for word in ("reason", "comment") if word in more}
            context = more or None
        return self.carry_out(manifest_id, {**said, "context": context}, trial=trial, target=target)

    @property
    def creating(self) -> str:
        """The action that creates a manifest: `create` if there is one, else the only one that does."""
        chart = self.definition.chart
        found = [action.name for action in chart.actions if action.name in chart.own_transitions(None)]
        return found[0] if "create" not in found and len(found) == 1 else "create"

    def trial(self) -> Trial:
        """A trial of many commands, one after the other; it may be larger than memory."""
        from registration.engine.spilled import Spilled  # noqa: PLC0415  # SQLite: not needed for a trial of one command
        from registration.engine.trial import Trial  # noqa: PLC0415  # for dry runs alone

        return Trial(self.store, Spilled())

    # -- why -----------------------------------------------------------------------------------------------

    def explained(
        self,
        manifest_id: str,
        action: str | None,
        words: Mapping[str, Any],
        document: Mapping[str, Any] | bytes | Document | None = None,
    ) -> tuple[Explanation, ...]:
        """Why an action is possible from a manifest's state, or not.

        See `registration.pipeline.pipeline.RegistrationPipeline.explain`.
        """
        chart = self.definition.chart
        if action == REPAIR.name and not chart.has_action(action):
            return self._explained(manifest_id, self._repairable(manifest_id), action, words, None)
        if action is not None and not (isinstance(action, str) and action in TAGGING):
            check_action(chart, action)
        state = self.store.load(check_id(manifest_id))
        if state is not None:
            state = self.as_of_now(state)
        elif action is None or action not in chart.own_transitions(None):
            raise self.unknown(manifest_id)
        return self._explained(manifest_id, state, action, words, document)

    def explained_from(
        self, state: StateSnapshot, action: str | None, words: Mapping[str, Any], *, in_person: bool = False
    ) -> tuple[Explanation, ...]:
        """The same from a given state, without checking whether the manifest has changed since.

        in_person: as if the actor gave the command, whoever runs this process.
        """
        return self._explained(state.stream, state, action, words, None, in_person=in_person)

    def _explained(
        self,
        manifest_id: str,
        state: StateSnapshot | None,
        action: str | None,
        words: Mapping[str, Any],
        document: Mapping[str, Any] | bytes | Document | None,
        *,
        in_person: bool = False,
    ) -> tuple[Explanation, ...]:
        definition, policy = self.definition, self.policy()
        # A lock does not reserve a repair: breaking it would need a log that can be written.
        claimable = state is not None and not (
            action == REPAIR.name and action_of(definition.chart, action) is REPAIR
        )
        claim = self.lease_on(manifest_id) if claimable else None
        offered = steps(definition.chart, state.state, state.facts.get("history")) if state else {}
        brought = None if document is None else self.document(document)
        standing = state.document if state is not None else None
        found = []
        for name in offered if action is None else [action]:
            carried = brought if action_of(definition.chart, name).document else None
            command = self.command(manifest_id, words, action=name, claim=claim, document=carried)
            seen = self.engine.quotas_seen(command.actor, policy, creating=state is None)
            command = seeing(command, seen)
            if in_person:
                command = replace(command, via=as_if(command.actor))
            why = explain(definition, state, command, policy=policy)
            looked_at = standing if brought is None else brought.value
            found.append(self.names.explained(why, definition, looked_at))
        return tuple(found)

    def _repairable(self, manifest_id: str) -> StateSnapshot | None:
        """What a repair would leave of a manifest; of one that is not damaged, its state."""
        try:
            return self.state(manifest_id)
        except CorruptLog:
            loss = self.store.repair(manifest_id, None)
            return self.state(manifest_id) if loss is None else loss.state

    def outlook(self, state: StateSnapshot) -> tuple[Outlook, ...]:
        """The approvals that a state has and lacks, by action that demands them; see `registration.core.outlook.outlooks`.

        Raises:
            InvalidPolicy, StoreError: when the rules in force can't be read.
        """
        definition = self.definition
        return outlooks(definition.chart, definition.guards, self.policy(), state)

    # -- a caller's ids and documents -------------------------------------------------------------------------------

    def state(self, manifest_id: str) -> StateSnapshot:
        """The state of a manifest, shared with the store: not to be changed.

        Raises:
            NotFound: when there is no such manifest; the nearest id is suggested.
        """
        store = self.store
        found = store.load(check_id(manifest_id))
        if found is None:
            raise self.unknown(manifest_id)
        return found

    def as_of_now(self, state: StateSnapshot) -> StateSnapshot:
        """A state after the due time-outs, which the next write would record first."""
        if "due" not in state.facts:
            return state
        result = self.engine.tick(state.stream, dry_run=True)
        return state if result is None else result.state

    def lease_on(self, manifest_id: str) -> Lease | None:
        """The current lease on a manifest."""
        return self.leases.find(lease_key(manifest_id))

    def document(self, given: Mapping[str, Any] | bytes | Document) -> Document:
        """Validate a caller's document.

        Raises:
            InvalidDocument: when it is invalid; every problem is named.
        """
        limit = self.store.document_bytes_max
        if isinstance(given, bytes):
            return parse_document(given, source="The document", size_bytes_max=limit)
        if isinstance(given, Document):
            if given.size_bytes > limit:
                raise InvalidDocument(
                    "The document", [f"it has {given.size_bytes:,} bytes; at most {limit:,} are allowed"]
                )
            return given
        return check_document(dict(given) if isinstance(given, Mapping) else given, size_bytes_max=limit)

    def unknown(self, manifest_id: str) -> NotFound:
        """The error of an unknown id, with the closest existing one."""
        known = [id for id in islice(self.store.streams(), SUGGESTIONS_MAX) if id != manifest_id]
        problem = f"There is no manifest {manifest_id!r}.{nearest(manifest_id, known)}"
        if not known:
            return NotFound(problem, "There are none yet: create it first.", manifest_id=manifest_id)
        return NotFound(
            problem, "See the list of existing ones.", Next(operation="list"), manifest_id=manifest_id
        )

    def _onward(self, state: StateSnapshot, action: str | None, actor: str | None) -> tuple[Next, ...]:
        """The next steps from a state; none if a rule can't be evaluated, since they are only advice."""
        try:
            found = self.explained_from(state, action, {"actor": actor})
        except RegistrationError as error:
            _log.info("%s: the next steps are unknown: %s", state.stream, error)
            return ()
        steps: list[Next] = []
        for why in found:
            if why.next is not None and why.next not in steps:
                steps.append(why.next)
        return tuple(steps)

    def _ahead(self, state: StateSnapshot) -> tuple[Outlook, ...]:
        """The outlook from a state; none if the rules can't be read, since it is only advice."""
        try:
            return self.outlook(state)
        except RegistrationError as error:
            _log.info("%s: the outlook is unknown: %s", state.stream, error)
            return ()

    def _end_lease(self, result: TransitionResult, trial: Trial | None) -> None:
        """End the lease of a command, if the command completes its purpose. A failure is logged."""
        event = result.event
        moved = event.from_state != event.to_state or "approval" in event.data
        if result.replayed or not moved:
            return
        if trial is not None:
            trial.end_lease(event.subject, event.data["fence"])
            return
        try:
            held = self.lease_on(event.subject)
            if held is not None and held.number == event.data["fence"]:
                self.leases.release(held)
        except RegistrationError as error:  # the command is committed; the lease expires by itself
            _log.warning("%s: its lock could not be released: %s", event.subject, error)

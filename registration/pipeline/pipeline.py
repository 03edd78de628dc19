"""`RegistrationPipeline`: what programs import.

The façade over one registry: manifests are created, revised, reviewed, approved, rejected and registered;
their states are read, their histories replayed. Every call is a few lines over `registration.engine.engine`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack

from registration.core.policy import NO_POLICY
from registration.core.store import Recovered
from registration.engine.engine import Engine, Outcome, Random
from registration.engine.names.alias_logs import AliasLogs
from registration.engine.names.registry import Names
from registration.engine.publisher import Handler, StateChange
from registration.errors import InvalidArgument, NotFound, RegistrationError
from registration.pipeline.areas import OTHERS
from registration.pipeline.claims import ClaimingPipeline
from registration.pipeline.reader import as_dict
from registration.pipeline.results import TransitionResult, Words, WordsWithReason
from registration.values.commands import Command
from registration.values.documents import DOCUMENT_BYTES_MAX, DOCUMENT_BYTES_MIN, Document
from registration.values.ids import check_id, id_from_document, uuid7
from registration.values.retry import LOCK_TIMEOUT_S_MAX
from registration.values.times import Clock, rfc3339, system_clock

if TYPE_CHECKING:
    from types import TracebackType

    from registration.core.definition import Definition
    from registration.core.policy import Guard, Policy
    from registration.core.store import Loss, Store
    from registration.engine.leases.keeper import LeaseKeeper
    from registration.pipeline.many import CreateItem, Results, TransitionItem
    from registration.values.events import Event
    from registration.values.retry import RetryPolicy
    from registration.values.snapshots import StateSnapshot

C = TypeVar("C", bound="CreateItem | Mapping[str, Any]")
S = TypeVar("S", bound="TransitionItem | Mapping[str, Any]")


_log = logging.getLogger("registration")

CAUGHT_UP_AFTER = 300
"""How many events a pipeline commits before it brings the catalog up to date when it is closed."""


class RegistrationPipeline(ClaimingPipeline):
    """One registry. Safe to share between threads, and between processes through its files.

    root: the registry's directory. It is made where it is missing, unless `create` is False.
    store: a store to use instead of files, such as `MemoryStore`; then `root` is not given.
    lifecycle: what the registry is made with: a `Definition`, its data form, a TOML or JSON file, or the name of one that
    comes with the package; a registry that is there has its own. policy: the rules to use instead of those in the
    registry's `policy.toml`. guards: by name, the program's own, for lifecycles and policies that name them.
    actor: who acts where a call doesn't say. leases: who keeps the leases, which claims are: a keeper, or what
    `registration.open_leases` takes; the registry's own files as usual.
    document_bytes_max: how large a document a registry takes that this call makes.
    snapshots: `each`: a manifest's `state.json` is current when a command returns. `idle`: it follows in the background, at
    `close`, and before the process ends. The log is on the disk in both when a command returns.
    lock_timeout_s: how long to wait for somebody else who is writing to the same manifest.
    retry: how often to decide again after a conflict. traceparent: gives the W3C trace context, where one is active.
    clock, random: where time, ids and waits come from. Afterwards `made` says whether this call made the registry.

    What every call can raise: `InvalidArgument` for an id or an argument that can't be meant, `NotFound`,
    `CorruptLog` where damage is met, and `StoreError` when the disk fails; after the last, load again and look.

    Raises:
        NotFound: when there is no registry at `root` and `create` is False.
        CorruptRegistry: when its own file is damaged.
        InvalidDefinition: when the lifecycle can't be meant.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        store: Store | None = None,
        create: bool = True,
        lifecycle: Definition | Mapping[str, Any] | str | os.PathLike[str] | None = None,
        policy: Policy | None = None,
        guards: Mapping[str, Guard] | None = None,
        actor: str | None = None,
        leases: LeaseKeeper | str | os.PathLike[str] | None = None,
        document_bytes_max: int = DOCUMENT_BYTES_MAX,
        snapshots: Literal["each", "idle"] = "each",
        lock_timeout_s: float = 10.0,
        retry: RetryPolicy | None = None,
        traceparent: Callable[[], str | None] | None = None,
        clock: Clock = system_clock,
        random: Random | None = None,
    ) -> None:
        if type(document_bytes_max) is not int or document_bytes_max < DOCUMENT_BYTES_MIN:
            raise InvalidArgument(
                f"`document_bytes_max` is {document_bytes_max!r}; a number of bytes, {DOCUMENT_BYTES_MIN} or more, is "
                "expected.",
                "Give the size of the largest document.",
            )
        if not 0 <= lock_timeout_s <= LOCK_TIMEOUT_S_MAX:
            raise InvalidArgument(
                f"`lock_timeout_s` is {lock_timeout_s!r}; seconds from 0 to {LOCK_TIMEOUT_S_MAX:,} are expected.",
                "Say how long to wait for somebody else.",
            )
        if snapshots not in ("each", "idle"):
            raise InvalidArgument(
                f"`snapshots` is {snapshots!r}; 'each' or 'idle' is expected.",
                "Say when state.json is to be written.",
            )
        if (root is None) is (store is None):
            raise InvalidArgument(
                "A pipeline needs a root or a store, and not both.", "Give the registry's directory."
            )
        if store is not None and (lifecycle is not None or guards is not None):
            raise InvalidArgument(
                "A store has its lifecycle already: `lifecycle` and `guards` are for a registry on files.",
                "Give the store its definition: `MemoryStore(source, definition)`.",
            )
        self.made = False
        rules: Callable[[], Policy] | None = None
        if store is None:
            from registration.engine.opening import open_registry  # noqa: PLC0415  # a store in memory needs none of it
            from registration.storage.files.registry_file import RegistryFile  # noqa: PLC0415  # as above

            assert root is not None
            now_ns = clock()
            id = uuid7(now_ns // 1_000_000, random.randbytes(10) if random else os.urandom(10))
            wanted = RegistryFile(id, rfc3339(now_ns), "", document_bytes_max) if create else None
            store, rules = open_registry(
                root,
                wanted=wanted,
                lifecycle=lifecycle,
                guards=guards,
                snapshots=snapshots,
                lock_timeout_s=lock_timeout_s,
                others=OTHERS,
            )
            self.made = store.made
        if policy is not None or rules is None:
            rules = _always(policy or NO_POLICY)
        logs = AliasLogs(store, clock=clock, random_source=random, retry=retry, lock_timeout_s=lock_timeout_s)
        names = Names(store, logs)
        super().__init__(
            store,
            rules,
            names=names,
            guards=guards,
            actor=actor,
            clock=clock,
            lock_timeout_s=lock_timeout_s,
        )
        self._engine = Engine(
            store,
            policy=rules,
            claims=self._claim,
            clock=clock,
            random_source=random,
            retry=retry,
            lock_timeout_s=lock_timeout_s,
            reservations=names,
        )
        self._clock = clock
        self._keeper = self._keeper_of(leases, store)
        self._traceparent = traceparent

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of everything; later calls are refused. Closing twice is harmless.

        Whoever committed much brings the catalog up to date first, so that the next list doesn't have to.
        """
        if not self._closed and self._engine.committed > CAUGHT_UP_AFTER:
            try:
                self.catch_up_catalog()
            except RegistrationError as error:  # the next list says so, if it is still true then
                _log.info("The catalog was not brought up to date: %s", error)
        self._closed = True
        self._names.close()
        self._store.close()

    # -- commands ------------------------------------------------------------------------------------------

    def create(
        self,
        manifest_id: str | None,
        document: Mapping[str, Any] | bytes | Document,
        *,
        actor: str | None = None,
        comment: str | None = None,
        context: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        correlation_id: str | None = None,
    ) -> StateSnapshot:
        """Make a new manifest, a DRAFT.

        manifest_id: None takes what the document says (see `registration.values.ids.id_from_document`).
        document: a JSON object, as Python values or as JSON text in UTF-8.

        Raises:
            InvalidDocument: when the document can't be kept; every problem is named.
            AlreadyExists: when the id is taken.
            IdempotencyMismatch, LockTimeout: as for `transition_state`.
        """
        return self.create_with_result(
            manifest_id,
            document,
            actor=actor,
            comment=comment,
            context=context,
            idempotency_key=idempotency_key,
            correlation_id=correlation_id,
        ).snapshot

    def create_with_result(
        self, manifest_id: str | None, document: Mapping[str, Any] | bytes | Document, **said: Unpack[Words]
    ) -> TransitionResult:
        """As `create`, giving what the other commands give."""
        checked = self._document(document)
        id = id_from_document(checked.value) if manifest_id is None else manifest_id
        return self._transition(id, action=self._creating(), document=checked, **said)

    def revise(
        self,
        manifest_id: str,
        document: Mapping[str, Any] | bytes | Document,
        *,
        actor: str | None = None,
        reason: str | None = None,
        comment: str | None = None,
        context: Mapping[str, Any] | None = None,
        expected_version: int | None = None,
        idempotency_key: str | None = None,
        correlation_id: str | None = None,
    ) -> TransitionResult:
        """Give a DRAFT another document. Approvals of the earlier one lapse.

        Raises: as `transition_state`, and InvalidDocument.
        """
        return self._transition(
            manifest_id,
            action="revise",
            document=self._document(document),
            actor=actor,
            reason=reason,
            comment=comment,
            context=context,
            expected_version=expected_version,
            idempotency_key=idempotency_key,
            correlation_id=correlation_id,
        )

    def submit_for_review(self, manifest_id: str, **said: Unpack[WordsWithReason]) -> TransitionResult:
        """DRAFT → REVIEWED. Takes what `act` takes."""
        return self.act(manifest_id, "submit_for_review", **said)

    def approve(self, manifest_id: str, **said: Unpack[WordsWithReason]) -> TransitionResult:
        """REVIEWED → APPROVED, for the document as it stands. Takes what `act` takes.

        The event holds the digests of the document, of the lifecycle and of the policy, and the head of the log.
        """
        return self.act(manifest_id, "approve", **said)

    def reject(self, manifest_id: str, *, reason: str | None, **said: Unpack[Words]) -> TransitionResult:
        """REVIEWED or APPROVED → DRAFT, saying why. Takes what `act` takes.

        Raises:
            GuardRefused: when no reason is given.
        """
        return self.act(manifest_id, "reject", reason=reason, **said)

    def register(self, manifest_id: str, **said: Unpack[WordsWithReason]) -> TransitionResult:
        """APPROVED → REGISTERED, for good. Takes what `act` takes.

        The manifest then holds the name that its document gives itself (``name@version``), where it gives itself one.

        Raises:
            NameTaken: when another manifest holds it.
        """
        return self.act(manifest_id, "register", **said)

    def act(
        self,
        manifest_id: str,
        action: str,
        *,
        document: Mapping[str, Any] | bytes | Document | None = None,
        actor: str | None = None,
        reason: str | None = None,
        comment: str | None = None,
        context: Mapping[str, Any] | None = None,
        expected_version: int | None = None,
        expected_digest: str | None = None,
        expected_head: str | None = None,
        fence: int | None = None,
        idempotency_key: str | None = None,
        correlation_id: str | None = None,
    ) -> TransitionResult:
        """Do what the lifecycle calls `action`. Otherwise as `transition_state`.

        document: for an action that brings one. expected_digest, expected_head: refuse unless the document has this digest,
        and the log ends in this hash: what was looked at is what is acted on. fence: the number of the lease on this manifest
        (``manifests/<id>``) that the caller works under; the event keeps it, and one under a lease that has ended is
        refused as soon as a later one is known. What the holder of a claim does carries the claim's number by itself.

        Raises:
            PinMismatch: when one of the two has moved.
            StaleFence: when a later number is known.
            LeaseHeld: when somebody else has claimed the manifest.
        """
        return self._transition(
            manifest_id,
            action=action,
            document=None if document is None else self._document(document),
            expected_digest=expected_digest,
            expected_head=expected_head,
            fence=fence,
            actor=actor,
            reason=reason,
            comment=comment,
            context=context,
            expected_version=expected_version,
            idempotency_key=idempotency_key,
            correlation_id=correlation_id,
        )

    def transition_state(
        self,
        manifest_id: str,
        target_state: str,
        context: Mapping[str, Any] | None = None,
        *,
        actor: str | None = None,
        expected_version: int | None = None,
        idempotency_key: str | None = None,
        correlation_id: str | None = None,
    ) -> TransitionResult:
        """Bring a manifest to a state, by whichever action leads there from where it is.

        context: what to record with it: `reason` and `comment` (text), and any other JSON values up to 64 KiB.
        actor: who does it. expected_version: refuse unless the manifest is at this version.
        idempotency_key: the same key with the same request gives the first answer again and writes nothing; a
        manifest remembers its 64 latest keys.
        correlation_id: groups what belongs to one request; by default the id of the event.

        When it returns, the event survives a power cut, and the handlers have been told (or another thread is
        telling them).

        Raises:
            NotFound: when there is no such manifest.
            IllegalTransition: when nothing leads there from where it is, or it is there already.
            GuardRefused: when a guard says no, such as for a missing reason.
            IdempotencyMismatch: when the key was used for another request.
            VersionConflict: when it is at another version than expected, or others were always faster.
            LockTimeout: when somebody else was writing to it all the time.
        """
        said = as_dict(context)
        if type(said) is not dict:  # nothing to take apart: refused with all else that is wrong
            return self._transition(
                manifest_id, target=target_state, actor=actor, context=said, expected_version=expected_version,
                idempotency_key=idempotency_key, correlation_id=correlation_id,
            )  # fmt: skip
        return self._transition(
            manifest_id,
            target=target_state,
            actor=actor,
            reason=said.pop("reason", None),
            comment=said.pop("comment", None),
            context=said or None,
            expected_version=expected_version,
            idempotency_key=idempotency_key,
            correlation_id=correlation_id,
        )

    def undo(self, manifest_id: str, **said: Unpack[WordsWithReason]) -> TransitionResult:
        """Take back what was done last, by the action that the lifecycle names for it. Nothing is removed from the log.

        The new event says which one it undoes. Takes what `act` takes.

        Raises:
            Rejected: when the lifecycle has no way back from it, or it was an undoing itself.
            GuardRefused: when a guard says no, such as for a missing reason.
        """
        from registration.evidence.undoing import plan_undo  # noqa: PLC0415  # for this call alone

        events = list(self.history(manifest_id))
        key = said.get("idempotency_key")
        first = next(
            (event for event in reversed(events) if key is not None and event.idempotency_key == key), None
        )
        if (
            first is not None and "undoes" in first.data
        ):  # asked again: the engine gives the first answer again
            events = events[: first.version - 1]
        action, document = plan_undo(self._store.definition, events)
        last = events[-1]
        said.setdefault("expected_version", last.version)
        return self._transition(manifest_id, action=action, document=document, undoes=last.version, **said)

    def tick(self, manifest_id: str, *, dry_run: bool = False) -> tuple[Event, ...]:
        """Record the time-outs of a manifest that are due, each at the time that it was due, and give their events.

        The next write to the manifest would do the same first. dry_run: only say what would be recorded.
        """
        self._open()
        outcome = self._engine.tick(check_id(manifest_id), dry_run=dry_run)
        return outcome.events if outcome is not None else ()

    # -- many at once ----------------------------------------------------------------------------------------

    def create_many(self, items: Iterable[C], *, workers: int = 8) -> Results[C, TransitionResult]:
        """Make many manifests, their syncs overlapped; gives one result for each item, in order.

        items: `CreateItem`s, or mappings with their members; taken in this thread, a window at a time, so they may have no
        end. workers: how many threads carry them out, 1 to 64. An item that fails is told with its error, and stops no
        other; see `registration.pipeline.many.Results` for interrupts and for leaving early.

        Raises:
            InvalidArgument: when `workers` can't be meant.
        """
        from registration.pipeline.many import carry_out, creation  # noqa: PLC0415  # most programs write one by one

        self._open()
        return carry_out(items, lambda item: creation(self, self._document, item), workers=workers)

    def transition_many(self, items: Iterable[S], *, workers: int = 8) -> Results[S, TransitionResult]:
        """Take many steps, as `create_many` makes many manifests; those of one manifest in the order given.

        items: `TransitionItem`s, or mappings with their members.

        Raises:
            InvalidArgument: when `workers` can't be meant.
        """
        from registration.pipeline.many import carry_out, transition  # noqa: PLC0415  # as above

        self._open()
        return carry_out(items, lambda item: transition(self, item), workers=workers)

    # -- the log and its snapshot ----------------------------------------------------------------------------

    def persist_state(self, manifest_id: str, snapshot: StateSnapshot) -> None:
        """Keep a snapshot, where it is exactly what the log folds to at its version.

        A later snapshot that is kept already stays.

        Raises:
            SnapshotMismatch: when it is of something else. Nothing was written.
            NotFound: when there is no such manifest.
        """
        self.load_state(manifest_id)
        if snapshot.stream != manifest_id:
            raise InvalidArgument(
                f"The snapshot is of {snapshot.stream!r}, not of {manifest_id!r}.", "Give the manifest's own."
            )
        self._engine.persist(snapshot)

    def recover_from_events(self, manifest_id: str) -> StateSnapshot:
        """Replay the whole log, checking the chain from the first byte, and write the snapshot anew.

        Raises:
            NotFound: when there is no such manifest.
            CorruptLog: when the log is damaged. Nothing was changed.
        """
        return self._found(manifest_id, self.recover(manifest_id).state)

    def recover(self, manifest_id: str, *, dry_run: bool = False) -> Recovered:
        """As `recover_from_events`, saying what was set right; without a state where nothing was acknowledged.

        The claim of the name that the manifest holds is made again where it is missing.

        dry_run: change nothing, and say what would be done.
        """
        found = self._open().recover(check_id(manifest_id), dry_run=dry_run)
        if found.state is None or found.state.name is None:
            return found
        steps = self._mend(found.state, dry_run=dry_run)
        return Recovered(found.state, (*found.steps, *steps)) if steps else found

    def repair(self, manifest_id: str, *, accept_loss: bool = False, actor: str | None = None) -> Loss | None:
        """What keeping only the events before the damage would lose; None where nothing is damaged.

        accept_loss: do it. The bytes that are lost to the log, and the snapshot, go to `quarantine/`, and an event of
        type ``registration.repaired.v1`` becomes the log's last: it names the loss and `actor`. Where not even
        the first event checks out, nothing is kept, and the id is free again.

        Raises:
            NotFound: when there is no such manifest.
        """
        from registration.values.requests import Request  # noqa: PLC0415  # pydantic: not for who only reads

        self._open()
        request = Request.of(manifest_id, {"actor": actor if actor is not None else self._actor})
        try:
            return self._engine.repair(manifest_id, actor=request.actor, accept_loss=accept_loss)
        except NotFound:
            raise self._unknown(manifest_id) from None

    # -- handlers --------------------------------------------------------------------------------------------

    def on(self, event: Literal["state_change"], handler: Handler) -> Callable[[], None]:
        """Call `handler` with a `StateChange` for each event that this pipeline commits, after the commit.

        Once for each event, in order for each manifest, in the thread of a writer. What it raises is logged, and
        harms neither the commit nor other handlers. Commands that it issues inherit the correlation id, and
        name the event as their cause.

        Returns a callable that takes the handler away again.

        Raises:
            InvalidArgument: when `event` is anything but "state_change".
        """
        self._open()
        if event != "state_change":
            raise InvalidArgument(f"There is no {event!r} to listen to.", "Listen to 'state_change'.")
        return self._engine.publisher.subscribe(handler)

    def emit_state_change(self, change: StateChange) -> None:
        """Hand a change to the handlers, behind those that are waiting. Commits do this by themselves.

        For events that this pipeline did not commit: read from a log, say, or committed by another process.
        """
        self._open()
        self._engine.publisher.announce(change)

    def _creating(self) -> str:
        """The action that makes a manifest: `create` where there is one, else the only one that does."""
        chart = self.lifecycle
        creating = [action.name for action in chart.actions if action.name in chart.own_transitions(None)]
        if "create" in creating or len(creating) != 1:
            return "create"
        return creating[0]

    def _keeper_of(
        self, given: LeaseKeeper | str | os.PathLike[str] | None, store: Store
    ) -> LeaseKeeper | Callable[[], LeaseKeeper]:
        """The keeper of leases that was given or named; otherwise that of the store's files, or one in memory."""
        from registration.storage.files.files import FileStore  # noqa: PLC0415  # a store in memory needs none of it

        if isinstance(given, str | os.PathLike):
            from registration.engine.leases.leases import open_leases  # noqa: PLC0415  # most programs name none

            return open_leases(given, clock=self._clock)
        if given is not None:
            return given
        if not isinstance(store, FileStore):
            from registration.engine.leases.leases import open_leases  # noqa: PLC0415  # files have their own

            return open_leases("memory:", clock=self._clock)

        def on_files() -> LeaseKeeper:
            from registration.engine.leases.leases import Leases  # noqa: PLC0415  # not before something is written
            from registration.storage.files.records import FileRecords  # noqa: PLC0415  # as above

            return Leases(FileRecords(store.disk, store.root), clock=self._clock)

        return on_files

    # -- inside ----------------------------------------------------------------------------------------------

    def _as_of_now(self, state: StateSnapshot) -> StateSnapshot:
        if "due" not in state.facts:
            return state
        outcome = self._engine.tick(state.stream, dry_run=True)
        return outcome.state if outcome is not None else state

    def _transition(self, manifest_id: str, **request: Any) -> TransitionResult:
        outcome = self._execute(manifest_id, **request)
        return TransitionResult(
            outcome.events[-1], outcome.state, outcome.attempts, outcome.replayed, outcome.waited_s
        )

    def _execute(
        self,
        manifest_id: str,
        *,
        action: str | None = None,
        target: str | None = None,
        document: Document | None = None,
        undoes: int | None = None,
        tags: tuple[str, ...] = (),
        **said: Any,
    ) -> Outcome:
        from registration.values.requests import Request  # noqa: PLC0415  # pydantic: not for who only reads

        self._open()
        said["context"] = as_dict(said.get("context"))
        if said.get("actor") is None:
            said["actor"] = self._actor
        request = Request.of(manifest_id, said)
        command = Command(
            stream=manifest_id,
            action=action,
            target=target,
            document=document,
            actor=request.actor,
            reason=request.reason,
            comment=request.comment,
            context=request.context,
            expected_version=request.expected_version,
            expected_digest=request.expected_digest,
            expected_head=request.expected_head,
            fence=request.fence,
            undoes=undoes,
            tags=tags,
            idempotency_key=request.idempotency_key,
            correlation_id=request.correlation_id,
            traceparent=self._traceparent() if self._traceparent else None,
        )
        try:
            outcome = self._engine.execute(command)
        except NotFound:
            raise self._unknown(manifest_id) from None
        if command.fence is None and "fence" in outcome.events[-1].data:
            self._settle_claim(outcome)
        return outcome


def _always(policy: Policy) -> Callable[[], Policy]:
    """What gives the same policy each time."""
    return lambda: policy

"""`RegistrationPipeline`: the main class of the public API.

The façade over one registry: manifests are created, revised, reviewed, approved, rejected and registered; their states are read,
their histories replayed. Every call is a few lines over `registration.engine.registry.OpenRegistry`; everything other than
commands on a manifest, and its state, is in the parts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, TypeVar, Unpack

from registration.engine.registry import OpenRegistry
from registration.errors import InvalidArgument, RegistrationError
from registration.pipeline.areas import OTHERS
from registration.values.commands import check_actor
from registration.values.documents import DOCUMENT_BYTES_MAX, DOCUMENT_BYTES_MIN, Document, parse_document
from registration.values.ids import check_id, id_from_document, uuid7
from registration.values.names import check_tags
from registration.values.times import LOCK_TIMEOUT_S_MAX, Clock, rfc3339, system_clock

if TYPE_CHECKING:
    from types import TracebackType

    from registration.catalog.filters import FilterWords
    from registration.core.chart import Chart
    from registration.core.definition import Definition
    from registration.core.explanation import Explanation
    from registration.core.outlook import Outlook
    from registration.core.policy import Guard, Policy
    from registration.engine.engine import Random, TransitionResult
    from registration.engine.leases.keeper import LeaseKeeper
    from registration.engine.publisher import Handler, StateChange
    from registration.onboarding.sessions.sessions import Sessions
    from registration.pipeline.evidence import EvidencePart
    from registration.pipeline.feed import FeedPart
    from registration.pipeline.find import FindPart
    from registration.pipeline.importing import Imported, Offer
    from registration.pipeline.many import CreateItem, Results, TransitionItem
    from registration.pipeline.names import NamesPart
    from registration.pipeline.part import Direct
    from registration.pipeline.results import Listing
    from registration.pipeline.upkeep import UpkeepPart
    from registration.pipeline.work import WorkPart
    from registration.storage.ledger import Ledger
    from registration.values.commands import CreateWords, ReachWords, RejectWords, Via, Words
    from registration.values.events import Event, StateSnapshot
    from registration.values.times import RetryPolicy

C = TypeVar("C", bound="CreateItem | Mapping[str, Any]")
S = TypeVar("S", bound="TransitionItem | Mapping[str, Any]")


_log = logging.getLogger("registration")

CAUGHT_UP_AFTER = 300
"""The number of committed events after which a pipeline updates the catalog when it is closed."""


class AsIf(TypedDict, total=False):
    """The assumed arguments of an action for `explain`; see `registration.values.commands`."""

    actor: str | None
    reason: str | None
    comment: str | None
    context: Mapping[str, Any] | None


class RegistrationPipeline:
    """One registry. Safe to share between threads, and between processes through its files.

    root: the registry's directory. It is created if it is missing, unless `create` is False.
    store: a ledger to use instead of files, such as that of `open_memory`; then `root` must not be given.
    lifecycle: the one to create a registry with: a `Definition`, its data form, a TOML or JSON file, or the name of a
    shipped one; an existing registry has its own. policy: the rules to use instead of those in force in the
    registry; they are put in force in a registry that this call creates. guards: the program's own, by name, for lifecycles and policies that name them.
    actor: the default actor. leases: the keeper of the leases, claims among them: a `LeaseKeeper`, or an argument of
    `registration.open_leases`; default: the registry's own files.
    document_bytes_max: the maximum size of a document, for a registry that this call creates.
    snapshots: `each`: a manifest's `state.json` is current when a command returns. `idle`: it follows in the background, at
    `close`, and before the process ends. In both cases the log is on the disk when a command returns.
    lock_timeout_s: how long to wait for another writer of the same manifest.
    retry: how often to decide again after a conflict. traceparent: returns the current W3C trace context, if any.
    via: returns how the current actor came in, for a service that knows its users from the system (the credentials of a local socket);
    by default, the user who runs this process.
    clock, random: the sources of time, ids and waits. `made` tells whether this call created the registry.

    Every call can raise: `InvalidArgument` for an invalid id or argument, `NotFound`,
    `CorruptLog` if damage is detected, and `StoreError` when the disk fails; after the last, load again.

    Raises:
        NotFound: when there is no registry at `root` and `create` is False.
        CorruptRegistry: when its own file is damaged.
        InvalidDefinition: when the lifecycle is invalid.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        store: Ledger | None = None,
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
        via: Callable[[], Via] | None = None,
        clock: Clock = system_clock,
        random: Random | None = None,
    ) -> None:
        _check_settings(document_bytes_max, lock_timeout_s, snapshots)
        if (root is None) is (store is None):
            raise InvalidArgument(
                "A pipeline needs either a root or a store.", "Pass the registry's directory."
            )
        if store is not None and (lifecycle is not None or guards is not None):
            raise InvalidArgument(
                "A store already has a lifecycle: `lifecycle` and `guards` are for a registry on files.",
                "Pass the definition to the store: `open_memory(source, definition)`.",
            )
        self.made = False
        if store is None:
            from registration.engine.opening import open_registry  # noqa: PLC0415  # a store in memory needs none of it
            from registration.storage.files.registry_file import RegistryFile  # noqa: PLC0415  # as above

            assert root is not None
            now_ns = clock()
            id = uuid7(now_ns // 1_000_000, random.randbytes(10) if random else os.urandom(10))
            wanted = RegistryFile(id, rfc3339(now_ns), "", document_bytes_max) if create else None
            store, backend, governance = open_registry(
                root,
                wanted=wanted,
                lifecycle=lifecycle,
                guards=guards,
                snapshots=snapshots,
                lock_timeout_s=lock_timeout_s,
                others=OTHERS,
                policy=policy,
                actor=actor,
                clock=clock,
                random_source=random,
            )
            self.made = backend.made
        else:
            from registration.engine.governance import Governance  # noqa: PLC0415  # as above

            governance = Governance(store, brought=policy, actor=actor, clock=clock, random_source=random)
            if store.in_force is None and next(store.streams(), None) is None:
                governance.begin()  # nothing was written yet: this makes the registry
        self._random = random
        self._registry = OpenRegistry(
            store,
            governance,
            guards=guards,
            actor=actor,
            leases=leases,
            clock=clock,
            random=random,
            retry=retry,
            traceparent=traceparent,
            via=via,
            lock_timeout_s=lock_timeout_s,
        )

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
        """Release everything; later calls are refused. Closing twice is harmless.

        After many commits, the catalog is updated first, so that the next list is fast.
        """
        if not self._registry.closed and self._registry.engine.committed > CAUGHT_UP_AFTER:
            try:
                self.find.catch_up_catalog()
            except RegistrationError as error:  # the next list reports it, if it still applies
                _log.info("The search index was not updated: %s", error)
        if "sessions" in self.__dict__:
            self.sessions.close()
        self._registry.close()

    # -- the parts -----------------------------------------------------------------------------------------

    @cached_property
    def names(self) -> NamesPart[Direct]:
        """The holders of names, and the aliases of names."""
        from registration.pipeline.names import NamesPart  # noqa: PLC0415  # each part is loaded when it is used

        return NamesPart(self._registry)

    @cached_property
    def work(self) -> WorkPart[Direct]:
        """Claims and leases, and the manifests waiting for an actor."""
        from registration.pipeline.work import WorkPart  # noqa: PLC0415  # as above

        return WorkPart(self._registry)

    @cached_property
    def feed(self) -> FeedPart[Direct]:
        """The feed of commits: cursors, consumers, hooks, waiting."""
        from registration.pipeline.feed import FeedPart  # noqa: PLC0415  # as above

        return FeedPart(self._registry)

    @cached_property
    def find(self) -> FindPart[Direct]:
        """Lists, counts, statistics and queries, and their catalog."""
        from registration.pipeline.find import FindPart  # noqa: PLC0415  # as above

        return FindPart(self._registry)

    @cached_property
    def evidence(self) -> EvidencePart[Direct]:
        """Past states, differences, receipts, verification, and replay under a proposed policy."""
        from registration.pipeline.evidence import EvidencePart  # noqa: PLC0415  # as above

        return EvidencePart(self._registry)

    @cached_property
    def upkeep(self) -> UpkeepPart[Direct]:
        """Recovery, repair and time-outs."""
        from registration.pipeline.upkeep import UpkeepPart  # noqa: PLC0415  # as above

        return UpkeepPart(self._registry)

    @cached_property
    def sessions(self) -> Sessions:
        """The guided sessions that create manifests in this registry, with the shipped wizards.

        For a program's own wizards and workers, create a `Sessions` with `registry=` this pipeline.
        """
        from registration.onboarding.sessions.backing import LedgerBacking  # noqa: PLC0415  # as above
        from registration.onboarding.sessions.sessions import Sessions  # noqa: PLC0415  # as above

        registry = self._registry
        return Sessions(
            LedgerBacking(registry.store),
            registry=self,
            clock=registry.clock,
            random=self._random,
            lock_timeout_s=registry.lock_timeout_s,
        )

    # -- commands ------------------------------------------------------------------------------------------

    def create(
        self,
        manifest_id: str | None,
        document: Mapping[str, Any] | bytes | Document,
        **words: Unpack[CreateWords],
    ) -> StateSnapshot:
        """Create a manifest, as a DRAFT.

        manifest_id: None for the id derived from the document (see `registration.values.ids.id_from_document`).
        document: a JSON object, as Python values or as JSON text in UTF-8.

        Raises:
            InvalidDocument: when the document is invalid; every problem is listed.
            AlreadyExists: when the id is taken.
            IdempotencyMismatch, LockTimeout: as for `transition_state`.
        """
        return self.create_with_result(manifest_id, document, **words).snapshot

    def create_with_result(
        self,
        manifest_id: str | None,
        document: Mapping[str, Any] | bytes | Document,
        **words: Unpack[CreateWords],
    ) -> TransitionResult:
        """As `create`, with the result of other commands."""
        checked = self._registry.document(document)
        id = id_from_document(checked.value) if manifest_id is None else manifest_id
        return self._registry.carry_out(id, words, action=self._registry.creating, document=checked)

    def revise(
        self, manifest_id: str, document: Mapping[str, Any] | bytes | Document, **words: Unpack[Words]
    ) -> TransitionResult:
        """Replace the document of a DRAFT. Approvals of the earlier one lapse.

        Raises: as `transition_state`, and InvalidDocument.
        """
        brought = self._registry.document(document)
        return self._registry.carry_out(manifest_id, words, action="revise", document=brought)

    def submit_for_review(self, manifest_id: str, **words: Unpack[Words]) -> TransitionResult:
        """DRAFT → REVIEWED. Arguments as for `act`."""
        return self._registry.carry_out(manifest_id, words, action="submit_for_review")

    def approve(self, manifest_id: str, **words: Unpack[Words]) -> TransitionResult:
        """REVIEWED → APPROVED, for the current document. Arguments as for `act`.

        The event holds the digests of the document, of the lifecycle and of the policy, and the head of the log.
        `TransitionResult.outlook()` tells which approvals are still missing, and who could give them.

        Raises:
            GuardRefused: when the same person approved this document already, under the same rules (`once`).
        """
        return self._registry.carry_out(manifest_id, words, action="approve")

    def reject(
        self, manifest_id: str, *, reason: str | None, **words: Unpack[RejectWords]
    ) -> TransitionResult:
        """REVIEWED or APPROVED → DRAFT, with a reason. Arguments as for `act`.

        Raises:
            GuardRefused: when no reason is given.
        """
        return self._registry.carry_out(manifest_id, {"reason": reason, **words}, action="reject")

    def register(self, manifest_id: str, **words: Unpack[Words]) -> TransitionResult:
        """APPROVED → REGISTERED, permanently. Arguments as for `act`.

        The manifest then holds the name of its document (``name@version``), if it has one.

        Raises:
            NameTaken: when another manifest holds it.
        """
        return self._registry.carry_out(manifest_id, words, action="register")

    def act(
        self,
        manifest_id: str,
        action: str,
        *,
        document: Mapping[str, Any] | bytes | Document | None = None,
        **words: Unpack[Words],
    ) -> TransitionResult:
        """Take the action of that name. Otherwise as `transition_state`.

        document: for an action that takes one. words: see `registration.values.commands`. An action by the holder of a claim
        carries the claim's number automatically, as `fence`.

        Raises:
            PinMismatch: when the document or the log differs from the pinned one.
            StaleFence: when a later fencing number is known.
            LeaseHeld: when another actor has claimed the manifest.
        """
        brought = None if document is None else self._registry.document(document)
        return self._registry.carry_out(manifest_id, words, action=action, document=brought)

    def transition_state(
        self,
        manifest_id: str,
        target_state: str,
        context: Mapping[str, Any] | None = None,
        **words: Unpack[ReachWords],
    ) -> TransitionResult:
        """Move a manifest to a state, by whichever action leads there from its state.

        context: data to store with the event: `reason` and `comment` (text), and any other JSON values up to 64 KiB.
        words: the actor and the preconditions; see `registration.values.commands`.

        When it returns, the event survives a power cut, and the handlers have been called (or another thread is
        calling them).

        Raises:
            NotFound: when there is no such manifest.
            IllegalTransition: when nothing leads there from its state, or it is already there.
            GuardRefused: when a guard refuses, for example because of a missing reason.
            IdempotencyMismatch: when the key was used for another request.
            VersionConflict: when it is not at the expected version, or other writers were faster at every attempt.
            LockTimeout: when waiting for another writer timed out.
        """
        return self._registry.reach(manifest_id, target_state, context, words)

    def undo(self, manifest_id: str, **words: Unpack[Words]) -> TransitionResult:
        """Undo the last event, by the action that the lifecycle names for it. Nothing is removed from the log.

        The new event names the version that it undoes. Arguments as for `act`.

        Raises:
            Rejected: when the lifecycle has no way back from it, or it was itself an undo.
            GuardRefused: when a guard refuses, for example because of a missing reason.
        """
        from registration.evidence.undoing import plan_undo  # noqa: PLC0415  # for this call alone

        action, document, undoes = plan_undo(
            self._registry.definition, list(self.history(manifest_id)), words.get("idempotency_key")
        )
        if words.get("expected_version") is None:
            words["expected_version"] = undoes
        return self._registry.carry_out(manifest_id, words, action=action, document=document, undoes=undoes)

    def tag(self, manifest_id: str, tags: Iterable[str] | str, **words: Unpack[Words]) -> TransitionResult:
        """Add tags to a manifest, in any state. Approvals stay. Arguments as for `act`.

        tags: one, or several; existing ones are ignored.

        Raises:
            Rejected: when it already has all of them, or would have too many.
            GuardRefused: when the policy refuses: it may name the action `tag`.
            InvalidArgument: when one of them is invalid.
        """
        return self._registry.carry_out(manifest_id, words, action="tag", tags=_checked(tags))

    def untag(self, manifest_id: str, tags: Iterable[str] | str, **words: Unpack[Words]) -> TransitionResult:
        """Remove tags from a manifest. Otherwise as `tag`; in the policy it is named `untag`.

        Raises:
            Rejected: when it has none of them.
        """
        return self._registry.carry_out(manifest_id, words, action="untag", tags=_checked(tags))

    def create_many(
        self, items: Iterable[C], *, workers: int = 8, dry_run: bool = False
    ) -> Results[C, TransitionResult]:
        """Create many manifests, with overlapping syncs; returns one result per item, in order.

        items: `CreateItem`s, or mappings with their members; read in this thread, a window at a time, so they may be
        endless. workers: the number of threads, 1 to 64. A failing item is reported with its error, and stops no
        other; see `registration.pipeline.many.Results` for interrupts and for stopping early. dry_run: only decide them, each
        after the earlier ones, and write nothing. An item is a call of this program, and may name its actor: for documents
        and words of others, use `import_many`.

        Raises:
            InvalidArgument: when `workers` is invalid.
        """
        from registration.pipeline.many import carry_out, creation  # noqa: PLC0415  # most programs write one by one

        trial = self._registry.trial() if dry_run else None
        self._registry.check_open()
        return carry_out(items, partial(creation, self._registry, trial), workers=workers)

    def transition_many(
        self, items: Iterable[S], *, workers: int = 8, dry_run: bool = False
    ) -> Results[S, TransitionResult]:
        """Execute many transitions, as `create_many`; those of one manifest in the order given.

        items: `TransitionItem`s, or mappings with their members.

        Raises:
            InvalidArgument: when `workers` is invalid.
        """
        from registration.pipeline.many import carry_out, transition  # noqa: PLC0415  # as above

        trial = self._registry.trial() if dry_run else None
        self._registry.check_open()
        return carry_out(items, partial(transition, self._registry, trial), workers=workers)

    def import_many(
        self,
        offers: Iterable[Offer],
        *,
        submit: bool = False,
        trust_lines: bool = False,
        workers: int = 8,
        dry_run: bool = False,
    ) -> Results[Offer, Imported]:
        """Create a manifest from each offered document, once, however often it is run; see `registration.pipeline.importing`.

        This pipeline's actor is the importer: the actor of the events, which name source and line as well (`data.imported`).
        submit: submit it for review as well. trust_lines: an offer may name its actor, its id and whether to submit it; otherwise an
        offer that does is refused. workers, dry_run: as for `create_many`.

        Raises:
            InvalidArgument: when `workers` is invalid, or the lifecycle has no `create`, or no `submit_for_review` that is needed.
        """
        from registration.pipeline.importing import Importer  # noqa: PLC0415  # as above
        from registration.pipeline.many import carry_out  # noqa: PLC0415  # as above

        self._registry.check_open()
        trial = self._registry.trial() if dry_run else None
        importer = Importer(self._registry, submit=submit, trust_lines=trust_lines, trial=trial)
        return carry_out(offers, importer.prepare, workers=workers)

    # -- states and logs -----------------------------------------------------------------------------------

    def load_state(self, manifest_id: str) -> StateSnapshot:
        """The state after the last acknowledged event, as a copy that may be kept and mutated.

        Raises:
            NotFound: when there is no such manifest; the closest id is suggested.
        """
        return self._registry.state(manifest_id).detached()

    def find_state(self, manifest_id: str) -> StateSnapshot | None:
        """As `load_state`; None if there is no such manifest, without searching for a suggestion."""
        found = self._registry.store.load(check_id(manifest_id))
        return None if found is None else found.detached()

    def persist_state(self, manifest_id: str, snapshot: StateSnapshot) -> None:
        """Store a snapshot, if it is exactly the fold of the log at its version.

        A later snapshot that is stored already stays.

        Raises:
            SnapshotMismatch: when it does not match the log. Nothing was written.
            NotFound: when there is no such manifest.
        """
        self._registry.state(manifest_id)
        if snapshot.stream != manifest_id:
            raise InvalidArgument(
                f"The snapshot is of {snapshot.stream!r}, not of {manifest_id!r}.",
                "Pass the manifest's own snapshot.",
            )
        self._registry.engine.persist(snapshot)

    def recover_from_events(self, manifest_id: str) -> StateSnapshot:
        """Replay the whole log, verifying the chain from the first byte, and rewrite the snapshot.

        Raises:
            NotFound: when there is no such manifest.
            CorruptLog: when the log is damaged. Nothing was changed.
        """
        state = self.upkeep.recover(manifest_id).state
        if state is None:
            raise self._registry.unknown(manifest_id)
        return state

    def history(self, manifest_id: str) -> Iterator[Event]:
        """All acknowledged events, in order, each checked against the chain from the first byte.

        Raises (while iterating):
            NotFound: when there is no such manifest.
            CorruptLog: at the first corrupt line, after those before it.
        """
        self._registry.state(manifest_id)
        yield from self._registry.store.read(manifest_id)

    def list(
        self,
        state: str | None = None,
        *,
        sort: str = "id",
        limit: int | None = None,
        after: str | None = None,
        **filters: Unpack[FilterWords],
    ) -> Listing:
        """The manifests that match all filters, sorted; see `registration.pipeline.find.FindPart.list`.

        Raises:
            InvalidArgument: when there is no such state, or a filter is invalid.
        """
        return self.find.list(state, sort=sort, limit=limit, after=after, **filters)

    def outlook(self, manifest_id: str) -> tuple[Outlook, ...]:
        """The approvals that a manifest has and lacks, by action that demands them, and the actors who could give them.

        In the order of the lifecycle; only of actions that can be taken, or approved, from its state.

        Raises:
            NotFound: when there is no such manifest; the nearest id is suggested.
        """
        return self._registry.outlook(self._registry.state(manifest_id))

    def explain(
        self,
        manifest_id: str,
        action: str | None = None,
        *,
        document: Mapping[str, Any] | bytes | Document | None = None,
        **words: Unpack[AsIf],
    ) -> tuple[Explanation, ...]:
        """Explain whether an action is possible now; without one, every action of the lifecycle in this state.

        action: or `repair`, for the rules about repairing a damaged log, in the state that would remain.
        The other arguments are assumed for the action; a creation can be explained before there is a manifest. Each
        explanation has every guard's verdict with its evidence, the actors who could act, and the next step. Due time-outs
        count as recorded: the next write would record them first. Nothing is written.

        Raises:
            NotFound: when there is no such manifest, and the action doesn't create one.
            InvalidArgument: when the lifecycle has no such action.
        """
        return self._registry.explained(manifest_id, action, words, document)

    # -- handlers ------------------------------------------------------------------------------------------

    def on(self, event: Literal["state_change"], handler: Handler) -> Callable[[], None]:
        """Call `handler` with a `StateChange` for each event that this pipeline commits, after the commit.

        Once for each event, in order for each manifest, in the thread of a writer. An exception is logged, and
        affects neither the commit nor other handlers. Commands that a handler issues inherit the correlation id, and
        name the event as their cause.

        Returns a callable that removes the handler.

        Raises:
            InvalidArgument: when `event` is anything but "state_change".
        """
        self._registry.check_open()
        if event != "state_change":
            raise InvalidArgument(f"There is no event {event!r}.", "Listen to 'state_change'.")
        return self._registry.engine.publisher.subscribe(handler)

    def emit_state_change(self, change: StateChange) -> None:
        """Hand a change to the handlers, after those that are waiting. Commits do this automatically.

        For events that this pipeline did not commit: read from a log, for example, or committed by another process.
        """
        self._registry.check_open()
        self._registry.engine.publisher.announce(change)

    # -- the registry itself ---------------------------------------------------------------------------------

    def check_actor(self, actor: str) -> None:
        """Refuse a name that no actor may have, and one that the policy doesn't take (its ``[actors]``), as commands do.

        For what is done in an actor's name without a command of this pipeline, such as a step of a session.

        Raises:
            InvalidArgument: when the name is invalid.
            Rejected: when the policy demands another actor.
        """
        self._registry.check_acting(check_actor(actor))

    @property
    def registry_id(self) -> str:
        """The registry's own id, a UUID: every event names it in its `source`."""
        return self._registry.source.removeprefix("urn:uuid:")

    @property
    def actor(self) -> str | None:
        """The default actor."""
        return self._registry.actor

    @property
    def document_bytes_max(self) -> int:
        """The maximum size of a document in this registry."""
        return self._registry.document_bytes_max

    @property
    def lifecycle(self) -> Chart:
        """The registry's lifecycle: its states, actions and transitions."""
        return self._registry.definition.chart

    @property
    def definition(self) -> Definition:
        """The lifecycle with its version, its digest and its guards."""
        return self._registry.definition

    @property
    def place(self) -> str | None:
        """The registry's directory; None if it is in memory."""
        return self._registry.store.backend.place

    @property
    def policy(self) -> Policy:
        """The current rules in force, besides those of the lifecycle.

        Raises:
            CorruptRegistry, CorruptLog: when the registry's own log is damaged, or a rule in force is.
        """
        self._registry.check_open()
        return self._registry.policy()

    def read_document(self, raw: bytes, *, source: str = "The document") -> Document:
        """Validate a document given as JSON text, within this registry's limits; `create` and `revise` accept it.

        source: its name in errors, such as a file name.

        Raises:
            InvalidDocument: when it is invalid; every problem is listed.
        """
        return parse_document(raw, source=source, size_bytes_max=self.document_bytes_max)


def _check_settings(document_bytes_max: int, lock_timeout_s: float, snapshots: str) -> None:
    if type(document_bytes_max) is not int or document_bytes_max < DOCUMENT_BYTES_MIN:
        raise InvalidArgument(
            f"Invalid `document_bytes_max` {document_bytes_max!r}: expected bytes, {DOCUMENT_BYTES_MIN} or more.",
            "Pass the maximum size of a document.",
        )
    if not 0 <= lock_timeout_s <= LOCK_TIMEOUT_S_MAX:
        raise InvalidArgument(
            f"Invalid `lock_timeout_s` {lock_timeout_s!r}: expected seconds, 0 to {LOCK_TIMEOUT_S_MAX:,}.",
            "Pass the time to wait for a lock.",
        )
    if snapshots not in ("each", "idle"):
        raise InvalidArgument(
            f"Invalid `snapshots` {snapshots!r}: expected 'each' or 'idle'.",
            "Choose when to write state.json.",
        )


def _checked(tags: Iterable[str] | str) -> tuple[str, ...]:
    return check_tags([tags] if isinstance(tags, str) else list(tags))

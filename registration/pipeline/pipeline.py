"""`RegistrationPipeline`: what programs import.

The façade over one registry: manifests are created, revised, reviewed, approved, rejected and registered; their states are read,
their histories replayed. Every call is a few lines over `registration.engine.registry.OpenRegistry`; what isn't a command on a
manifest, or its state, is on the parts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, TypeVar, Unpack

from registration.core.policy import NO_POLICY
from registration.engine.registry import OpenRegistry
from registration.errors import InvalidArgument, RegistrationError
from registration.pipeline.areas import OTHERS
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
    from registration.values.commands import CreateWords, ReachWords, RejectWords, Words
    from registration.values.events import Event, StateSnapshot
    from registration.values.times import RetryPolicy

C = TypeVar("C", bound="CreateItem | Mapping[str, Any]")
S = TypeVar("S", bound="TransitionItem | Mapping[str, Any]")


_log = logging.getLogger("registration")

CAUGHT_UP_AFTER = 300
"""How many events a pipeline commits before it brings the catalog up to date when it is closed."""


class AsIf(TypedDict, total=False):
    """What would be said with an action that `explain` is asked about; see `registration.values.commands`."""

    actor: str | None
    reason: str | None
    comment: str | None
    context: Mapping[str, Any] | None


class RegistrationPipeline:
    """One registry. Safe to share between threads, and between processes through its files.

    root: the registry's directory. It is made where it is missing, unless `create` is False.
    store: a ledger to use instead of files, such as that of `open_memory`; then `root` is not given.
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

    What every call can raise: `InvalidArgument` for an id or an argument that is invalid, `NotFound`,
    `CorruptLog` where damage is met, and `StoreError` when the disk fails; after the last, load again and look.

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
        rules: Callable[[], Policy] = partial(_given, policy or NO_POLICY)
        if store is None:
            from registration.engine.opening import open_registry  # noqa: PLC0415  # a store in memory needs none of it
            from registration.storage.files.registry_file import RegistryFile  # noqa: PLC0415  # as above

            assert root is not None
            now_ns = clock()
            id = uuid7(now_ns // 1_000_000, random.randbytes(10) if random else os.urandom(10))
            wanted = RegistryFile(id, rfc3339(now_ns), "", document_bytes_max) if create else None
            store, backend, in_force = open_registry(
                root,
                wanted=wanted,
                lifecycle=lifecycle,
                guards=guards,
                snapshots=snapshots,
                lock_timeout_s=lock_timeout_s,
                others=OTHERS,
            )
            self.made = backend.made
            rules = in_force if policy is None else rules
        self._random = random
        self._registry = OpenRegistry(
            store,
            rules,
            guards=guards,
            actor=actor,
            leases=leases,
            clock=clock,
            random=random,
            retry=retry,
            traceparent=traceparent,
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
        """Let go of everything; later calls are refused. Closing twice is harmless.

        Whoever committed much brings the catalog up to date first, so that the next list doesn't have to.
        """
        if not self._registry.closed and self._registry.engine.committed > CAUGHT_UP_AFTER:
            try:
                self.find.catch_up_catalog()
            except RegistrationError as error:  # the next list says so, if it is still true then
                _log.info("The search index was not updated: %s", error)
        if "sessions" in self.__dict__:
            self.sessions.close()
        self._registry.close()

    # -- the parts -----------------------------------------------------------------------------------------

    @cached_property
    def names(self) -> NamesPart[Direct]:
        """Who holds which name, and where the aliases of a name point."""
        from registration.pipeline.names import NamesPart  # noqa: PLC0415  # each part is loaded when it is used

        return NamesPart(self._registry)

    @cached_property
    def work(self) -> WorkPart[Direct]:
        """Claims and leases, and what waits for whom."""
        from registration.pipeline.work import WorkPart  # noqa: PLC0415  # as above

        return WorkPart(self._registry)

    @cached_property
    def feed(self) -> FeedPart[Direct]:
        """Every commit as it comes: cursors, consumers, hooks, waiting."""
        from registration.pipeline.feed import FeedPart  # noqa: PLC0415  # as above

        return FeedPart(self._registry)

    @cached_property
    def find(self) -> FindPart[Direct]:
        """Lists, counts, statistics and queries, and the catalog that answers them."""
        from registration.pipeline.find import FindPart  # noqa: PLC0415  # as above

        return FindPart(self._registry)

    @cached_property
    def evidence(self) -> EvidencePart[Direct]:
        """Earlier states, differences, receipts, verification, and policies tried on the past."""
        from registration.pipeline.evidence import EvidencePart  # noqa: PLC0415  # as above

        return EvidencePart(self._registry)

    @cached_property
    def upkeep(self) -> UpkeepPart[Direct]:
        """Recovery, repair and time-outs."""
        from registration.pipeline.upkeep import UpkeepPart  # noqa: PLC0415  # as above

        return UpkeepPart(self._registry)

    @cached_property
    def sessions(self) -> Sessions:
        """The guided sessions that end in manifests of this registry, with the wizards that come along.

        For wizards and workers of the program's own, make a `Sessions` with `registry=` this pipeline.
        """
        from registration.onboarding.sessions.backing import FileBacking, MemoryBacking  # noqa: PLC0415  # as above
        from registration.onboarding.sessions.sessions import Sessions  # noqa: PLC0415  # as above

        registry, timeout_s = self._registry, self._registry.lock_timeout_s
        root = getattr(registry.store, "root", None)
        backing = (
            MemoryBacking(registry.source, lock_timeout_s=timeout_s)
            if root is None
            else FileBacking(root, lock_timeout_s=timeout_s)
        )
        return Sessions(
            backing, registry=self, clock=registry.clock, random=self._random, lock_timeout_s=timeout_s
        )

    # -- commands ------------------------------------------------------------------------------------------

    def create(
        self,
        manifest_id: str | None,
        document: Mapping[str, Any] | bytes | Document,
        **words: Unpack[CreateWords],
    ) -> StateSnapshot:
        """Make a new manifest, a DRAFT.

        manifest_id: None takes what the document says (see `registration.values.ids.id_from_document`).
        document: a JSON object, as Python values or as JSON text in UTF-8.

        Raises:
            InvalidDocument: when the document can't be kept; every problem is named.
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
        """As `create`, giving what the other commands give."""
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
        """DRAFT → REVIEWED. Takes what `act` takes."""
        return self._registry.carry_out(manifest_id, words, action="submit_for_review")

    def approve(self, manifest_id: str, **words: Unpack[Words]) -> TransitionResult:
        """REVIEWED → APPROVED, for the document as it stands. Takes what `act` takes.

        The event holds the digests of the document, of the lifecycle and of the policy, and the head of the log.
        """
        return self._registry.carry_out(manifest_id, words, action="approve")

    def reject(
        self, manifest_id: str, *, reason: str | None, **words: Unpack[RejectWords]
    ) -> TransitionResult:
        """REVIEWED or APPROVED → DRAFT, saying why. Takes what `act` takes.

        Raises:
            GuardRefused: when no reason is given.
        """
        return self._registry.carry_out(manifest_id, {"reason": reason, **words}, action="reject")

    def register(self, manifest_id: str, **words: Unpack[Words]) -> TransitionResult:
        """APPROVED → REGISTERED, for good. Takes what `act` takes.

        The manifest then holds the name that its document gives itself (``name@version``), where it gives itself one.

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
        """Do what the lifecycle calls `action`. Otherwise as `transition_state`.

        document: for an action that brings one. words: see `registration.values.commands`. What the holder of a claim does
        carries the claim's number by itself, as `fence`.

        Raises:
            PinMismatch: when the document or the log is another than expected.
            StaleFence: when a later number is known.
            LeaseHeld: when somebody else has claimed the manifest.
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
        """Bring a manifest to a state, by whichever action leads there from where it is.

        context: what to record with it: `reason` and `comment` (text), and any other JSON values up to 64 KiB.
        words: who does it, and what has to hold; see `registration.values.commands`.

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
        return self._registry.reach(manifest_id, target_state, context, words)

    def undo(self, manifest_id: str, **words: Unpack[Words]) -> TransitionResult:
        """Take back what was done last, by the action that the lifecycle names for it. Nothing is removed from the log.

        The new event says which one it undoes. Takes what `act` takes.

        Raises:
            Rejected: when the lifecycle has no way back from it, or it was an undoing itself.
            GuardRefused: when a guard says no, such as for a missing reason.
        """
        from registration.evidence.undoing import plan_undo  # noqa: PLC0415  # for this call alone

        action, document, undoes = plan_undo(
            self._registry.definition, list(self.history(manifest_id)), words.get("idempotency_key")
        )
        if words.get("expected_version") is None:
            words["expected_version"] = undoes
        return self._registry.carry_out(manifest_id, words, action=action, document=document, undoes=undoes)

    def tag(self, manifest_id: str, tags: Iterable[str] | str, **words: Unpack[Words]) -> TransitionResult:
        """Give a manifest tags, whatever its state. Approvals stay. Takes what `act` takes.

        tags: one, or several; those that it has already are passed over.

        Raises:
            Rejected: when it has all of them already, or would have too many.
            GuardRefused: when the policy says no: it may name the action `tag`.
            InvalidArgument: when one of them can't be a tag.
        """
        return self._registry.carry_out(manifest_id, words, action="tag", tags=_checked(tags))

    def untag(self, manifest_id: str, tags: Iterable[str] | str, **words: Unpack[Words]) -> TransitionResult:
        """Take tags away from a manifest. Otherwise as `tag`; the policy's name for it is `untag`.

        Raises:
            Rejected: when it has none of them.
        """
        return self._registry.carry_out(manifest_id, words, action="untag", tags=_checked(tags))

    def create_many(
        self, items: Iterable[C], *, workers: int = 8, dry_run: bool = False
    ) -> Results[C, TransitionResult]:
        """Make many manifests, their syncs overlapped; gives one result for each item, in order.

        items: `CreateItem`s, or mappings with their members; taken in this thread, a window at a time, so they may have no
        end. workers: how many threads carry them out, 1 to 64. An item that fails is told with its error, and stops no
        other; see `registration.pipeline.many.Results` for interrupts and for leaving early. dry_run: only decide them, each on
        what those before it would have come to, and write nothing.

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
        """Take many steps, as `create_many` makes many manifests; those of one manifest in the order given.

        items: `TransitionItem`s, or mappings with their members.

        Raises:
            InvalidArgument: when `workers` is invalid.
        """
        from registration.pipeline.many import carry_out, transition  # noqa: PLC0415  # as above

        trial = self._registry.trial() if dry_run else None
        self._registry.check_open()
        return carry_out(items, partial(transition, self._registry, trial), workers=workers)

    def import_many(
        self, offers: Iterable[Offer], *, submit: bool = False, workers: int = 8, dry_run: bool = False
    ) -> Results[Offer, Imported]:
        """Make a manifest of each document that is offered, once, however often it is begun; see `registration.pipeline.importing`.

        submit: hand it in for review as well, where its source doesn't say. workers, dry_run: as for `create_many`.

        Raises:
            InvalidArgument: when `workers` is invalid, or the lifecycle has no `create`, or no `submit_for_review` that is needed.
        """
        from registration.pipeline.importing import Importer  # noqa: PLC0415  # as above
        from registration.pipeline.many import carry_out  # noqa: PLC0415  # as above

        self._registry.check_open()
        importer = Importer(self._registry, submit=submit, trial=self._registry.trial() if dry_run else None)
        return carry_out(offers, importer.prepare, workers=workers)

    # -- states and logs -----------------------------------------------------------------------------------

    def load_state(self, manifest_id: str) -> StateSnapshot:
        """The state after the last acknowledged event, as a copy that may be kept and changed.

        Raises:
            NotFound: when there is no such manifest; the nearest id is suggested.
        """
        return self._registry.state(manifest_id).detached()

    def find_state(self, manifest_id: str) -> StateSnapshot | None:
        """As `load_state`; None where there is no such manifest, without a look at which one may have been meant."""
        found = self._registry.store.load(check_id(manifest_id))
        return None if found is None else found.detached()

    def persist_state(self, manifest_id: str, snapshot: StateSnapshot) -> None:
        """Keep a snapshot, where it is exactly what the log folds to at its version.

        A later snapshot that is kept already stays.

        Raises:
            SnapshotMismatch: when it is of something else. Nothing was written.
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
        """Replay the whole log, checking the chain from the first byte, and write the snapshot anew.

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
            CorruptLog: at the first line that is not what was written; those before it have been given.
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
        """All manifests that everything said holds of, sorted; see `registration.pipeline.find.FindPart.list`.

        Raises:
            InvalidArgument: when there is no such state, or a filter is invalid.
        """
        return self.find.list(state, sort=sort, limit=limit, after=after, **filters)

    def explain(
        self,
        manifest_id: str,
        action: str | None = None,
        *,
        document: Mapping[str, Any] | bytes | Document | None = None,
        **words: Unpack[AsIf],
    ) -> tuple[Explanation, ...]:
        """Why an action can be taken now, or can't; without one, for everything that the lifecycle offers from here.

        The rest is what would be said with it; an action that creates can be asked about before there is a manifest. Each
        explanation has every guard's verdict with its evidence, who could act, and the command to type next. Time-outs that
        are due count as recorded: the next write would do that first. Nothing is written.

        Raises:
            NotFound: when there is no such manifest, and the action doesn't create one.
            InvalidArgument: when the lifecycle has no such action.
        """
        return self._registry.explained(manifest_id, action, words, document)

    # -- handlers ------------------------------------------------------------------------------------------

    def on(self, event: Literal["state_change"], handler: Handler) -> Callable[[], None]:
        """Call `handler` with a `StateChange` for each event that this pipeline commits, after the commit.

        Once for each event, in order for each manifest, in the thread of a writer. What it raises is logged, and
        harms neither the commit nor other handlers. Commands that it issues inherit the correlation id, and
        name the event as their cause.

        Returns a callable that takes the handler away again.

        Raises:
            InvalidArgument: when `event` is anything but "state_change".
        """
        self._registry.check_open()
        if event != "state_change":
            raise InvalidArgument(f"There is no event {event!r}.", "Listen to 'state_change'.")
        return self._registry.engine.publisher.subscribe(handler)

    def emit_state_change(self, change: StateChange) -> None:
        """Hand a change to the handlers, behind those that are waiting. Commits do this by themselves.

        For events that this pipeline did not commit: read from a log, say, or committed by another process.
        """
        self._registry.check_open()
        self._registry.engine.publisher.announce(change)

    # -- what the registry is ------------------------------------------------------------------------------

    @property
    def registry_id(self) -> str:
        """The registry's own id, a UUID: every event names it in its `source`."""
        return self._registry.source.removeprefix("urn:uuid:")

    @property
    def actor(self) -> str | None:
        """Who acts where a call doesn't say."""
        return self._registry.actor

    @property
    def document_bytes_max(self) -> int:
        """The size of the largest document that this registry takes."""
        return self._registry.document_bytes_max

    @property
    def lifecycle(self) -> Chart:
        """The lifecycle that the registry runs: its states, actions and transitions."""
        return self._registry.definition.chart

    @property
    def definition(self) -> Definition:
        """The lifecycle with its version, its digest and its guards."""
        return self._registry.definition

    @property
    def policy(self) -> Policy:
        """The rules in force besides the lifecycle's, as they stand now.

        Raises:
            InvalidPolicy: when `policy.toml` is invalid.
        """
        self._registry.check_open()
        return self._registry.policy()

    def read_document(self, raw: bytes, *, source: str = "The document") -> Document:
        """Check a document given as JSON text, within this registry's limits; `create` and `revise` take it.

        source: what errors call it, such as a file's name.

        Raises:
            InvalidDocument: when it can't be kept; every problem is named.
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


def _given(policy: Policy) -> Policy:
    """What gives the same policy each time."""
    return policy


def _checked(tags: Iterable[str] | str) -> tuple[str, ...]:
    return check_tags([tags] if isinstance(tags, str) else list(tags))

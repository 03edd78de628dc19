"""`RegistrationPipeline`: what programs import.

The façade over one registry: manifests are created, revised, reviewed, approved, rejected and registered;
their states are read, their histories replayed. Every call is a few lines over `registration.engine`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

from registration.core.decider import check_state, nearest
from registration.engine import Engine, Outcome, Random
from registration.errors import (
    InvalidArgument,
    InvalidDocument,
    LockTimeout,
    NotFound,
    StoreError,
)
from registration.lifecycles.registration import REGISTRATION
from registration.publisher import Handler, StateChange
from registration.results import Summary, TransitionResult, Words, WordsWithReason
from registration.retry import LOCK_TIMEOUT_S_MAX
from registration.values.commands import Command
from registration.values.documents import (
    DOCUMENT_BYTES_MAX,
    DOCUMENT_BYTES_MIN,
    Document,
    check_document,
    parse_document,
)
from registration.values.ids import check_id, id_from_document, uuid7
from registration.values.times import Clock, rfc3339, system_clock

if TYPE_CHECKING:
    from types import TracebackType

    from registration.core.chart import Chart
    from registration.core.store import Loss, Recovered, Store
    from registration.retry import RetryPolicy
    from registration.stores.files import FileStore
    from registration.values.events import Event
    from registration.values.snapshots import StateSnapshot
    from registration.verification import Finding, Verification

SUGGESTIONS_MAX = 10_000
"""How many ids are looked at for the one that was probably meant."""


class RegistrationPipeline:
    """One registry. Safe to share between threads, and between processes through its files.

    root: the registry's directory. It is made where it is missing, unless `create` is False.
    store: a store to use instead of files, such as `MemoryStore`; then `root` is not given.
    actor: who acts where a call doesn't say.
    document_bytes_max: how large a document a registry takes that this call makes.
    lock_timeout_s: how long to wait for somebody else who is writing to the same manifest.
    retry: how often to decide again after a conflict. traceparent: gives the W3C trace context, where one is active.
    clock, random: where time, ids and waits come from. Afterwards `made` says whether this call made the registry.

    What every call can raise: `InvalidArgument` for an id or an argument that can't be meant, `NotFound`,
    `CorruptLog` where damage is met, and `StoreError` when the disk fails; after the last, load again and look.

    Raises:
        NotFound: when there is no registry at `root` and `create` is False.
        CorruptRegistry: when its own file is damaged.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        store: Store | None = None,
        create: bool = True,
        actor: str | None = None,
        document_bytes_max: int = DOCUMENT_BYTES_MAX,
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
        if (root is None) is (store is None):
            raise InvalidArgument(
                "A pipeline needs a root or a store, and not both.", "Give the registry's directory."
            )
        self.made = False
        if store is None:
            assert root is not None
            store = _file_store(root, create, document_bytes_max, lock_timeout_s, clock, random)
            self.made = store.made
        self._store: Store = store
        self._engine = Engine(
            store, clock=clock, random_source=random, retry=retry, lock_timeout_s=lock_timeout_s
        )
        self._actor = actor
        self._traceparent = traceparent
        self._closed = False

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
        """Let go of everything; later calls are refused. Closing twice is harmless."""
        self._closed = True
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
        return self._transition(id, action="create", document=checked, **said)

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
        """REVIEWED → APPROVED, for the document as it stands. Takes what `act` takes."""
        return self.act(manifest_id, "approve", **said)

    def reject(self, manifest_id: str, *, reason: str | None, **said: Unpack[Words]) -> TransitionResult:
        """REVIEWED or APPROVED → DRAFT, saying why. Takes what `act` takes.

        Raises:
            GuardRefused: when no reason is given.
        """
        return self.act(manifest_id, "reject", reason=reason, **said)

    def register(self, manifest_id: str, **said: Unpack[WordsWithReason]) -> TransitionResult:
        """APPROVED → REGISTERED, for good. Takes what `act` takes."""
        return self.act(manifest_id, "register", **said)

    def act(
        self,
        manifest_id: str,
        action: str,
        *,
        actor: str | None = None,
        reason: str | None = None,
        comment: str | None = None,
        context: Mapping[str, Any] | None = None,
        expected_version: int | None = None,
        idempotency_key: str | None = None,
        correlation_id: str | None = None,
    ) -> TransitionResult:
        """Do what the lifecycle calls `action`. Otherwise as `transition_state`."""
        return self._transition(
            manifest_id,
            action=action,
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
        said = _as_dict(context)
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

    # -- reading -------------------------------------------------------------------------------------------

    def load_state(self, manifest_id: str) -> StateSnapshot:
        """The state after the last acknowledged event.

        Raises:
            NotFound: when there is no such manifest; the nearest id is suggested.
        """
        return self._found(manifest_id, self._open().load(check_id(manifest_id)))

    def history(self, manifest_id: str) -> Iterator[Event]:
        """All acknowledged events, in order, each checked against the chain from the first byte.

        Raises (while iterating):
            NotFound: when there is no such manifest.
            CorruptLog: at the first line that is not what was written; those before it have been given.
        """
        self.load_state(manifest_id)
        yield from self._open().read(manifest_id)

    def list(self, state: str | None = None) -> Iterator[Summary]:
        """All manifests, sorted by their file names.

        state: only those in it; a parent state, such as IN_REVIEW, stands for its children. A manifest that
        can't be read is given with its `problem`, whatever the filter, and ends nothing.

        Raises:
            InvalidArgument: when there is no such state.
        """
        store, chart = self._open(), self._store.definition.chart
        if state is not None:
            check_state(chart, state)
        return self._summaries(store, state)

    def _summaries(self, store: Store, state: str | None) -> Iterator[Summary]:
        chart = store.definition.chart
        for stream in store.streams():
            try:
                found = store.load(stream)
            except (StoreError, LockTimeout) as problem:
                yield Summary(stream, problem=problem)
                continue
            if found is not None and (state is None or state in chart.lineage(found.state)):
                yield Summary(
                    found.stream, found.state, found.version, found.digest, found.created_at, found.updated_at
                )

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

        dry_run: change nothing, and say what would be done.
        """
        return self._open().recover(check_id(manifest_id), dry_run=dry_run)

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

    def verify(self, manifest_id: str, *, quick: bool = False) -> Verification:
        """Check a manifest's files from the first byte, changing nothing.

        quick: only the snapshot, and the size of the log.

        Raises:
            NotFound: when there is nothing under that id.
            LockTimeout: when a writer was waited for in vain.
        """
        from registration.verification import unreadable, verify_files  # noqa: PLC0415  # most programs never verify

        store = self._open()
        try:
            files = store.inspect(check_id(manifest_id), quick=quick)
        except NotFound:
            raise self._unknown(manifest_id) from None
        except StoreError as error:
            return unreadable(manifest_id, error)
        return verify_files(files, stream=manifest_id, source=store.source, definition=store.definition)

    def strays(self) -> Iterator[Finding]:
        """What stands in the registry and belongs to no manifest, or was left there by a crash."""
        from registration.verification import Finding  # noqa: PLC0415  # as above

        for stray in self._open().strays():
            yield Finding("unfinished" if stray.unfinished else "stray", stray.path, 0, 0, stray.reason)

    def manifest_ids(self) -> Iterator[str]:
        """The ids of all manifests' directories, sorted; some may hold nothing that was acknowledged."""
        return self._open().streams()

    @property
    def registry_id(self) -> str:
        """The registry's own id, a UUID: every event names it in its `source`."""
        return self._store.source.removeprefix("urn:uuid:")

    @property
    def document_bytes_max(self) -> int:
        """How large a document this registry takes."""
        return self._store.document_bytes_max

    @property
    def lifecycle(self) -> Chart:
        """The lifecycle that the registry runs: its states, actions and transitions."""
        return self._store.definition.chart

    def read_document(self, raw: bytes, *, source: str = "The document") -> Document:
        """Check a document given as JSON text, within this registry's limits; `create` and `revise` take it.

        source: what errors call it, such as a file's name.

        Raises:
            InvalidDocument: when it can't be kept; every problem is named.
        """
        return parse_document(raw, source=source, size_bytes_max=self._store.document_bytes_max)

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

    # -- inside ----------------------------------------------------------------------------------------------

    def _open(self) -> Store:
        if self._closed:
            raise StoreError("The pipeline is closed.", "Make a new one.")
        return self._store

    def _document(self, given: Mapping[str, Any] | bytes | Document) -> Document:
        limit = self._open().document_bytes_max
        if isinstance(given, bytes):
            return self.read_document(given)
        if isinstance(given, Document):
            if given.size_bytes > limit:
                raise InvalidDocument(
                    "The document", [f"it has {given.size_bytes:,} bytes; at most {limit:,} are taken"]
                )
            return given
        return check_document(_as_dict(given), size_bytes_max=limit)

    def _transition(self, manifest_id: str, **request: Any) -> TransitionResult:
        outcome = self._execute(manifest_id, **request)
        return TransitionResult(outcome.events[-1], outcome.state, outcome.attempts, outcome.replayed)

    def _execute(
        self,
        manifest_id: str,
        *,
        action: str | None = None,
        target: str | None = None,
        document: Document | None = None,
        **said: Any,
    ) -> Outcome:
        from registration.values.requests import Request  # noqa: PLC0415  # pydantic: not for who only reads

        self._open()
        said["context"] = _as_dict(said.get("context"))
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
            idempotency_key=request.idempotency_key,
            correlation_id=request.correlation_id,
            traceparent=self._traceparent() if self._traceparent else None,
        )
        try:
            return self._engine.execute(command)
        except NotFound:
            raise self._unknown(manifest_id) from None

    def _found(self, manifest_id: str, state: StateSnapshot | None) -> StateSnapshot:
        if state is None:
            raise self._unknown(manifest_id)
        return state

    def _unknown(self, manifest_id: str) -> NotFound:
        known = [id for id in islice(self._open().streams(), SUGGESTIONS_MAX) if id != manifest_id]
        return NotFound(
            f"There is no manifest {manifest_id!r}.{nearest(manifest_id, known)}",
            "`registration list` shows those that there are."
            if known
            else "There is none yet: create it first.",
            manifest_id=manifest_id,
        )


def _as_dict(given: Any) -> Any:
    """A mapping of any kind as a dict of its own; anything else as it is, to be refused where it is checked."""
    return dict(given) if isinstance(given, Mapping) else given


def _file_store(
    root: str | os.PathLike[str],
    create: bool,
    document_bytes_max: int,
    lock_timeout_s: float,
    clock: Clock,
    random: Random | None,
) -> FileStore:
    from registration.stores.files import FileStore  # noqa: PLC0415  # a store in memory needs none of it
    from registration.stores.registry_file import RegistryFile  # noqa: PLC0415  # as above

    now_ns = clock()
    randomness = random.randbytes(10) if random else os.urandom(10)
    wanted = RegistryFile(
        uuid7(now_ns // 1_000_000, randomness), rfc3339(now_ns), REGISTRATION.name, document_bytes_max
    )
    return FileStore(root, REGISTRATION, wanted=wanted if create else None, lock_timeout_s=lock_timeout_s)

"""`RegistryReader`: everything that can be asked of a registry, and changes nothing.

States now and earlier, histories, differences, who set what, why something can or can't be done, receipts, and whether
every byte is what was written. What is asked of all manifests at once is in `registration.pipeline.finder`;
`registration.pipeline.pipeline` adds the commands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Literal

from registration.core.decider import check_action, nearest
from registration.core.explanation import Explanation, explain
from registration.core.interpreter import steps
from registration.core.naming import TAGGING, action_of
from registration.errors import InvalidDocument, NotFound, StoreError
from registration.feed.following import FeedReader
from registration.pipeline.finder import Finder
from registration.values.commands import Command
from registration.values.documents import Document, check_document, parse_document
from registration.values.ids import check_id
from registration.values.times import Clock, system_clock

if TYPE_CHECKING:
    import threading

    from registration.core.chart import Chart
    from registration.core.definition import Definition
    from registration.core.policy import Guard, Policy
    from registration.core.store import Store
    from registration.engine.names.registry import Names
    from registration.evidence.differences import Blame, Difference
    from registration.evidence.policy_replay import Decision
    from registration.evidence.receipts import ReceiptCheck
    from registration.evidence.verification import Finding, Verification
    from registration.values.events import Event
    from registration.values.leases import Lease
    from registration.values.snapshots import StateSnapshot

SUGGESTIONS_MAX = 10_000
"""How many ids are looked at for the one that was probably meant."""


class RegistryReader(FeedReader, Finder):
    """The reading half of a pipeline over one store. Safe to share between threads.

    What every call can raise: `InvalidArgument` for an id or an argument that can't be meant, `NotFound`,
    `CorruptLog` where damage is met, and `StoreError` when the disk fails.
    """

    def __init__(
        self,
        store: Store,
        policy: Callable[[], Policy],
        *,
        names: Names,
        guards: Mapping[str, Guard] | None = None,
        actor: str | None = None,
        clock: Clock = system_clock,
        lock_timeout_s: float = 10.0,
    ) -> None:
        self._store = store
        self._names = names
        self._guards = guards
        self._policy = policy
        self._actor = actor
        self._clock = clock
        self._lock_timeout_s = lock_timeout_s
        self._closed = False

    # -- states --------------------------------------------------------------------------------------------

    def load_state(self, manifest_id: str) -> StateSnapshot:
        """The state after the last acknowledged event, as a copy that may be kept and changed.

        Raises:
            NotFound: when there is no such manifest; the nearest id is suggested.
        """
        return self._found(manifest_id, self._open().load(check_id(manifest_id))).detached()

    def find_state(self, manifest_id: str) -> StateSnapshot | None:
        """As `load_state`; None where there is no such manifest, without a look at which one may have been meant."""
        found = self._open().load(check_id(manifest_id))
        return None if found is None else found.detached()

    def history(self, manifest_id: str) -> Iterator[Event]:
        """All acknowledged events, in order, each checked against the chain from the first byte.

        Raises (while iterating):
            NotFound: when there is no such manifest.
            CorruptLog: at the first line that is not what was written; those before it have been given.
        """
        self._found(manifest_id, self._open().load(check_id(manifest_id)))
        yield from self._open().read(manifest_id)

    # -- time travel ---------------------------------------------------------------------------------------

    def state_at(
        self, manifest_id: str, *, version: int | None = None, time: str | None = None
    ) -> StateSnapshot:
        """The state as it was after that version, or at that time; exactly one of them is given.

        time: RFC 3339, such as ``2026-11-21T09:30:00Z``; see `registration.evidence.timetravel.at_time`.

        Raises:
            NotFound: when there was no such manifest then.
            InvalidArgument: when there is no such version, or the time is none.
        """
        from registration.evidence.timetravel import state_at  # noqa: PLC0415  # most programs look at the present

        return state_at(self._store.definition, self.history(manifest_id), version=version, time=time)

    def diff(self, manifest_id: str, a: int | None = None, b: int | None = None) -> Difference:
        """What changed in the document from version `a` to version `b` (now, where it is not given).

        Without either: by the last change of the document.

        Raises:
            InvalidArgument: when there is no such version.
        """
        from registration.evidence.differences import difference  # noqa: PLC0415  # as above

        return difference(self._store.definition, self.history(manifest_id), a, b)

    def blame(self, manifest_id: str, pointer: str | None = None) -> tuple[Blame, ...]:
        """Which event set what stands at a JSON Pointer; without one, for every leaf of the document.

        Raises:
            NotFound: when nothing ever stood there.
            InvalidArgument: when it is no JSON Pointer.
        """
        from registration.evidence.differences import blame  # noqa: PLC0415  # as above

        return tuple(blame(self.history(manifest_id), pointer))

    def wait(
        self,
        manifest_id: str,
        state: str,
        timeout_s: float | None = None,
        *,
        stop: threading.Event | None = None,
    ) -> StateSnapshot:
        """Wait until a manifest is in a state, and give it as it was then; at once where it is there.

        state: a parent state, such as IN_REVIEW, is there where a child of it is. A state that it only came through while
        this waited counts. timeout_s: None waits for ever. stop: ends the waiting when it is set.

        Raises:
            NotFound: when there is no such manifest.
            InvalidArgument: when there is no such state.
            Rejected: as soon as the lifecycle has no way there any more.
            WaitTimeout: when it didn't come there in time, or `stop` was set.
        """
        from registration.feed.waiting import wait_for  # noqa: PLC0415  # most programs don't wait

        return wait_for(self._open(), self.load_state(manifest_id), state, timeout_s=timeout_s, stop=stop)

    # -- why -----------------------------------------------------------------------------------------------

    def explain(
        self,
        manifest_id: str,
        action: str | None = None,
        *,
        actor: str | None = None,
        reason: str | None = None,
        comment: str | None = None,
        context: Mapping[str, Any] | None = None,
        document: Mapping[str, Any] | bytes | Document | None = None,
    ) -> tuple[Explanation, ...]:
        """Why an action can be taken now, or can't; without one, for everything that the lifecycle offers from here.

        The rest is what would be said with it; an action that creates can be asked about before there is a manifest. Each explanation has every guard's verdict with its evidence, who could
        act, and the command to type next. Time-outs that are due count as recorded: the next write would do that first.
        Nothing is written.

        Raises:
            NotFound: when there is no such manifest, and the action doesn't create one.
            InvalidArgument: when the lifecycle has no such action.
        """
        from registration.values.requests import Request  # noqa: PLC0415  # pydantic: not for who only reads states

        definition = self._store.definition
        tagging = isinstance(action, str) and action in TAGGING
        asked = action if action is None or tagging else check_action(definition.chart, action)
        state = self._open().load(check_id(manifest_id))
        if state is not None:
            state = self._as_of_now(state)
        elif asked is None or asked not in definition.chart.own_transitions(None):
            raise self._unknown(manifest_id)
        policy = self._policy()
        claim = self._claim(manifest_id) if state is not None else None
        request = Request.of(
            manifest_id,
            {
                "actor": self._actor if actor is None else actor,
                "reason": reason,
                "comment": comment,
                "context": as_dict(context),
            },
        )
        offered = steps(definition.chart, state.state, state.facts.get("history")) if state else {}
        names = list(offered) if asked is None else [asked]
        brought = None if document is None else self._document(document)
        standing = state.document if state is not None else None
        looked_at = standing if brought is None else brought.value
        explained = (
            explain(
                definition,
                state,
                Command(
                    stream=manifest_id,
                    action=name,
                    actor=request.actor,
                    reason=request.reason,
                    comment=request.comment,
                    context=request.context,
                    claim=claim,
                    document=brought if action_of(definition.chart, name).document else None,
                ),
                policy=policy,
            )
            for name in names
        )
        return tuple(self._names.explained(one, definition, looked_at) for one in explained)

    def rule(self, kind: Literal["lifecycles", "policies", "schemas"], digest: str) -> Any:
        """What an event names by digest, as JSON values: it is kept for as long as the registry lasts.

        Raises:
            NotFound: when the registry keeps nothing under that digest.
            CorruptRegistry: when it is not what was kept.
        """
        return self._open().kept(kind, digest)

    def replay_policy(self, policy: Policy, manifest_id: str | None = None) -> Iterator[Decision]:
        """Every decision of one log, or of all, as it would fall out under a proposed policy; see `Decision.differs`.

        Raises (while iterating): as `history`.
        """
        from registration.evidence.policy_replay import read_refusals, replay_decisions  # noqa: PLC0415  # as above

        store = self._open()
        refusals = read_refusals(store.refusals())
        for stream in store.streams() if manifest_id is None else (manifest_id,):
            if manifest_id is not None or store.load(stream) is not None:
                yield from replay_decisions(
                    store.definition, policy, self.history(stream), refusals.get(stream, ())
                )

    def read_policy(self, path: str) -> Policy:
        """A policy from a file that is not in force, for `replay_policy`; its schemas stand beside it.

        Raises:
            InvalidPolicy: when it can't be meant; every problem is named.
            StoreError: when it can't be read.
        """
        from registration.engine.policy_in_force import read_policy  # noqa: PLC0415  # as above

        return read_policy(path, self.lifecycle, self._guards)

    # -- receipts ------------------------------------------------------------------------------------------

    def receipt(self, manifest_id: str) -> dict[str, Any]:
        """The evidence for what a manifest is now, as one JSON document; see `registration.evidence.receipts`.

        Raises:
            Rejected: when nobody approved its document as it stands.
        """
        from registration.evidence.receipts import make_receipt  # noqa: PLC0415  # as above

        events = list(self.history(manifest_id))
        return make_receipt(self._store.definition, events, self._store.kept)

    def verify_receipt(self, receipt: Mapping[str, Any]) -> ReceiptCheck:
        """Check a receipt against the log of the manifest that it names, from the first byte.

        Raises:
            ReceiptMismatch: naming everything in it that the log doesn't say.
            NotFound: when this registry has no such manifest.
        """
        from registration.evidence.receipts import RECEIPT_BYTES_MAX, check_receipt, form_problems, mismatch  # noqa: PLC0415  # as above

        store = self._open()
        size = RECEIPT_BYTES_MAX
        checked = check_document(as_dict(receipt), source="The receipt", size_bytes_max=size).value
        problems = form_problems(checked)
        if not problems and checked["registry"] != store.source:
            problems = [f"/registry: it is of {checked['registry']}, and this registry is {store.source}"]
        if problems:
            raise mismatch(checked, problems)
        events = list(self.history(checked["manifest_id"]))
        return check_receipt(checked, store.definition, events, store.kept)

    # -- the files -----------------------------------------------------------------------------------------

    def verify(self, manifest_id: str, *, quick: bool = False) -> Verification:
        """Check a manifest's files from the first byte, and the claim of the name that it holds, changing nothing.

        quick: only the snapshot, and the size of the log.

        Raises:
            NotFound: when there is nothing under that id.
            LockTimeout: when a writer was waited for in vain.
        """
        from registration.evidence.verification import verify_stream  # noqa: PLC0415  # most programs never verify

        store = self._open()
        try:
            found = verify_stream(store, check_id(manifest_id), quick=quick)
        except NotFound:
            raise self._unknown(manifest_id) from None
        if quick or found.findings or (state := store.load(manifest_id)) is None:
            return found
        from registration.engine.names.upkeep import findings_of  # noqa: PLC0415  # as above

        return replace(found, findings=tuple(findings_of(self._names, state)))

    def strays(self) -> Iterator[Finding]:
        """What stands in the registry and belongs to no manifest, was left there by a crash, or is a changed rule."""
        from registration.evidence.verification import Finding  # noqa: PLC0415  # as above

        for stray in chain(self._open().strays(), self._names.strays()):
            if stray.damaged:
                yield Finding("damage", stray.path, 0, 0, stray.reason)
            else:
                yield Finding("unfinished" if stray.unfinished else "stray", stray.path, 0, 0, stray.reason)

    def manifest_ids(self) -> Iterator[str]:
        """The ids of all manifests' directories, sorted; some may hold nothing that was acknowledged."""
        return self._open().streams()

    @property
    def registry_id(self) -> str:
        """The registry's own id, a UUID: every event names it in its `source`."""
        return self._store.source.removeprefix("urn:uuid:")

    @property
    def actor(self) -> str | None:
        """Who acts where a call doesn't say."""
        return self._actor

    @property
    def document_bytes_max(self) -> int:
        """How large a document this registry takes."""
        return self._store.document_bytes_max

    @property
    def lifecycle(self) -> Chart:
        """The lifecycle that the registry runs: its states, actions and transitions."""
        return self._store.definition.chart

    @property
    def definition(self) -> Definition:
        """The lifecycle with its version, its digest and its guards."""
        return self._store.definition

    @property
    def policy(self) -> Policy:
        """The rules in force besides the lifecycle's, as they stand now.

        Raises:
            InvalidPolicy: when `policy.toml` can't be meant.
        """
        self._open()
        return self._policy()

    def read_document(self, raw: bytes, *, source: str = "The document") -> Document:
        """Check a document given as JSON text, within this registry's limits; `create` and `revise` take it.

        source: what errors call it, such as a file's name.

        Raises:
            InvalidDocument: when it can't be kept; every problem is named.
        """
        return parse_document(raw, source=source, size_bytes_max=self._store.document_bytes_max)

    # -- inside --------------------------------------------------------------------------------------------

    def _as_of_now(self, state: StateSnapshot) -> StateSnapshot:
        """The state with the time-outs that are due, where there is a clock to tell; it is as recorded here."""
        return state

    def _claim(self, manifest_id: str) -> Lease | None:
        """The lease that somebody has on the manifest, where there is somebody who keeps leases; there is nobody here."""
        return None

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
        return check_document(as_dict(given), size_bytes_max=limit)

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


def as_dict(given: Any) -> Any:
    """A mapping of any kind as a dict of its own; anything else as it is, to be refused where it is checked."""
    return dict(given) if isinstance(given, Mapping) else given

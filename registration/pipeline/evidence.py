"""`pipeline.evidence`: past states, differences and proofs from the log of a manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from registration.pipeline.part import M, Part, call, iterate
from registration.pipeline.upkeep import verified, verified_and_compared
from registration.storage import layout
from registration.values.documents import check_document

if TYPE_CHECKING:
    from registration.core.policy import Policy
    from registration.evidence.differences import Blame, Difference
    from registration.evidence.policy_replay import Decision
    from registration.evidence.receipts import ReceiptCheck
    from registration.evidence.uncounting import Uncounted
    from registration.evidence.verification import Verification
    from registration.values.events import Event, StateSnapshot


class EvidencePart(Part[M]):
    """The past of each manifest: its states, the author and rules of each change, and verification of every byte."""

    @call
    def at(self, manifest_id: str, *, version: int | None = None, time: str | None = None) -> StateSnapshot:
        """A past state, by version or by time; exactly one of them must be given.

        time: RFC 3339, such as ``2026-11-21T09:30:00Z``; see `registration.evidence.timetravel.at_time`.

        Raises:
            NotFound: when there was no such manifest then.
            InvalidArgument: when there is no such version, or the time is invalid.
        """
        from registration.evidence.timetravel import state_at  # noqa: PLC0415  # for this call alone

        return state_at(self._registry.definition, self._events(manifest_id), version=version, time=time)

    @call
    def diff(self, manifest_id: str, a: int | None = None, b: int | None = None) -> Difference:
        """The changes of the document from version `a` to version `b` (default: now).

        Without either: the last change of the document.

        Raises:
            InvalidArgument: when there is no such version.
        """
        from registration.evidence.differences import difference  # noqa: PLC0415  # as above

        return difference(self._registry.definition, self._events(manifest_id), a, b)

    @call
    def blame(self, manifest_id: str, pointer: str | None = None) -> tuple[Blame, ...]:
        """The event that set the value at a JSON Pointer; without one, for every leaf of the document.

        Raises:
            NotFound: when there never was a value.
            InvalidArgument: when it is not a JSON Pointer.
        """
        from registration.evidence.differences import blame  # noqa: PLC0415  # as above

        return tuple(blame(self._events(manifest_id), pointer))

    @call
    def receipt(self, manifest_id: str) -> dict[str, Any]:
        """The evidence for a manifest's current state, as one JSON document; see `registration.evidence.receipts`.

        Raises:
            Rejected: when an event of its log is not what the rules allow, or the current document has no approval.
        """
        from registration.evidence.receipts import make_receipt  # noqa: PLC0415  # as above

        registry = self._registry
        events = list(self._events(manifest_id))
        return make_receipt(registry.definition, events, registry.store.kept, registry.kept_rules())

    @call
    def check_receipt(self, receipt: Mapping[str, Any]) -> ReceiptCheck:
        """Verify a receipt against the log of its manifest, from the first byte.

        Raises:
            ReceiptMismatch: naming every difference from the log.
            NotFound: when this registry has no such manifest.
        """
        from registration.evidence.receipts import RECEIPT_BYTES_MAX, check_receipt, form_problems, mismatch  # noqa: PLC0415  # as above

        store = self._registry.store
        given = dict(receipt) if isinstance(receipt, Mapping) else receipt
        checked = check_document(given, source="The receipt", size_bytes_max=RECEIPT_BYTES_MAX).value
        problems = form_problems(checked)
        if not problems and checked["registry"] != store.source:
            problems = [f"/registry: it is of {checked['registry']}, but this registry is {store.source}"]
        if problems:
            raise mismatch(checked, problems)
        events = list(self._events(checked["manifest_id"]))
        rules = self._registry.kept_rules()
        return check_receipt(checked, store.definition, events, store.kept, rules)

    @call
    def verify(self, manifest_id: str, *, quick: bool = False) -> Verification:
        """Verify a manifest's files from the first byte, and the reservation of its name. Changes nothing.

        quick: only the snapshot, and the size of the log.

        Raises:
            NotFound: when there are no files for that id.
            LockTimeout: when waiting for a writer timed out.
        """
        if quick:
            return verified(self._registry, manifest_id, quick=True)
        return verified_and_compared(self._registry, manifest_id)

    @call
    def rule(self, kind: Literal["lifecycles", "policies", "rosters", "schemas"], digest: str) -> Any:
        """A rule that an event names by digest, as JSON values. It is stored as long as the registry exists.

        Raises:
            NotFound: when there is no rule with that digest.
            CorruptRegistry: when its file is corrupt.
        """
        return self._registry.store.kept(kind, digest)

    @iterate
    def replay_policy(self, policy: Policy, manifest_id: str | None = None) -> Iterator[Decision]:
        """Every decision of one manifest, or of all manifests and aliases, under a proposed policy; see `Decision.differs`.

        Raises (while iterating): as `RegistrationPipeline.history`.
        """
        from registration.evidence.policy_replay import read_refusals, replay_decisions  # noqa: PLC0415  # as above

        store = self._registry.store
        refusals = read_refusals(store.refusals())
        for stream in store.streams() if manifest_id is None else (manifest_id,):
            if manifest_id is not None or store.load(stream) is not None:
                yield from replay_decisions(
                    store.definition, policy, self._events(stream), refusals.get(stream, ())
                )
        if manifest_id is not None:
            return
        aliases = self._registry.names.logs.store
        refusals = read_refusals(store.refusals(), layout.ALIASES)
        for name in aliases.streams():
            if aliases.load(name) is not None:
                found, noted = aliases.read(name), refusals.get(name, ())
                yield from replay_decisions(aliases.definition, policy, found, noted, layout.ALIASES)

    @iterate
    def uncounted_approvals(self, policy: Policy) -> Iterator[Uncounted]:
        """The pending approvals that count now, and would no longer count under a proposed policy; by manifest, in order.

        Raises (while iterating): as `RegistrationPipeline.load_state`.
        """
        from registration.evidence.uncounting import uncounted  # noqa: PLC0415  # as above

        store, now = self._registry.store, self._registry.policy()
        for stream in store.streams():
            state = store.load(stream)
            if state is not None:
                yield from uncounted(store.definition.chart, now, policy, state)

    @call
    def read_policy(self, path: str) -> Policy:
        """A policy from a file that is not in force, for `replay_policy`, with its schemas in the same directory.

        Raises:
            InvalidPolicy: when the policy is invalid; every problem is listed.
            StoreError: when it can't be read.
        """
        from registration.engine.policy_on_disk import read_policy  # noqa: PLC0415  # as above

        return read_policy(path, self._registry.definition.chart, self._registry.guards).policy

    def _events(self, manifest_id: str) -> Iterator[Event]:
        self._registry.state(manifest_id)
        return self._registry.store.read(manifest_id)

"""`pipeline.work`: claims on manifests, and the manifests waiting for an actor.

A reviewer claims a manifest, so that two don't review the same one. A claim is a lease (a lock that expires) on a manifest, held by
an actor (an actor is a name given by the caller, so any program acting under it may renew and release it). While it is held:

- only its holder can act on the manifest; others get `LeaseHeld`, which names the holder and the end. The policy may limit it
  to some actions (``[claims]`` in `policy.toml`), or to none. Reading is free, and time-outs fire;
- actions of its holder carry its number (`data.fence`), so that a program that still works under an earlier one is refused.

It is released when its purpose is served: when the holder's action moves the manifest on, or is an approval. It also ends when it
expires; by `release`; and when it is broken, which requires a reason and is an event in the manifest's log.

It is a courtesy between people, and does not protect the log: a command that was being decided when the claim was made may
still succeed. Pin the version, the digest or the head for that.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from registration.engine.leases.record import LeaseRecord, broken, granted, not_held, renewed
from registration.errors import InvalidArgument, LeaseLost, NotFound
from registration.pipeline.part import M, Part, call, iterate
from registration.storage.layout import MANIFESTS, lease_key
from registration.values.commands import check_actor
from registration.values.ids import check_id
from registration.values.people import same_person

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.engine.leases.keeper import LeaseKeeper
    from registration.pipeline.waiting import WaitingList
    from registration.values.leases import Lease

CLAIM_S = 1_800
"""The default duration of a claim: half an hour, to review one manifest without a hurry."""


class WorkPart(Part[M]):
    """Claims on manifests, all other leases, and the manifests waiting for an actor.

    Every call can also raise `InvalidArgument` when there is no actor, or the name is invalid, `Rejected` when the policy demands
    another one (``source`` in its ``[actors]``), and the errors of
    `registration.engine.leases.keeper.LeaseKeeper`.
    """

    @property
    def leases(self) -> LeaseKeeper:
        """The keeper of leases: claims, and any other leases of programs.

        Its calls block on the disk.
        """
        return self._registry.leases

    @call
    def claim_of(self, manifest_id: str) -> Lease | None:
        """The current claim on a manifest; None if it is free."""
        return self._registry.lease_on(check_id(manifest_id))

    @iterate
    def claims(self) -> Iterator[Lease]:
        """All current claims, sorted by manifest."""
        return self.leases.list(MANIFESTS)

    @call
    def claim(
        self,
        manifest_id: str,
        *,
        for_s: float = CLAIM_S,
        actor: str | None = None,
        dry_run: bool = False,
    ) -> Lease:
        """Prevent others from acting on a manifest for `for_s` seconds. Calling it again extends the claim.

        dry_run: only decide; the result then has the number 0 and no token, since none was issued.

        Raises:
            LeaseHeld: when another actor has claimed it.
            NotFound: when there is no such manifest.
        """
        state = self._registry.state(manifest_id)
        who = self._known(actor)
        held = self._registry.lease_on(manifest_id)
        if dry_run:
            return self._would_claim(lease_key(manifest_id), who, held, for_s)
        if held is not None and same_person(held.holder, who):
            with suppress(LeaseLost):  # it has just ended
                return self.leases.renew(held, ttl_s=for_s)
        seen = state.fence["number"] if state.fence is not None else 0
        return self.leases.acquire(lease_key(manifest_id), holder=who, ttl_s=for_s, above=seen)

    @call
    def release(self, manifest_id: str, *, actor: str | None = None, dry_run: bool = False) -> bool:
        """Release the actor's own claim. Returns whether there was one. dry_run: only decide.

        Raises:
            LeaseHeld: when it belongs to another actor.
            NotFound: when there is no such manifest.
        """
        who = self._known(actor)
        held = self._registry.lease_on(check_id(manifest_id))
        if held is None:
            self._registry.state(manifest_id)
            return False
        if not same_person(held.holder, who):
            raise held.refusal()
        return dry_run or self.leases.release(held)

    @call
    def break_claim(
        self, manifest_id: str, *, reason: str, actor: str | None = None, dry_run: bool = False
    ) -> Lease:
        """Break a claim, and record that in the manifest's log; returns the broken claim. dry_run: only decide.

        The event comes first: after a kill in between, the log has it, and a retry ends the claim. Its holder can no longer write
        under its number.

        Raises:
            NotFound: when it is not claimed, or there is no such manifest.
        """
        return self._break_claim(manifest_id, reason, actor, dry_run=dry_run)

    @call
    def break_lease(self, key: str, *, reason: str, actor: str | None = None, dry_run: bool = False) -> Lease:
        """Break a lease on any key; for a claim on a manifest (``manifests/ID``), as `break_claim`.

        Raises:
            NotFound: when there is none.
        """
        area, _, id = key.partition("/")
        if area == MANIFESTS:
            return self._break_claim(id, reason, actor, dry_run=dry_run)
        who = self._known(actor)
        if not dry_run:
            return self.leases.break_lease(key, by=who, reason=reason)
        held = self.leases.find(key)
        broken(
            LeaseRecord(key, lease=held), by=who, reason=reason, number=None, now_ns=self._registry.clock()
        )
        assert held is not None  # refused otherwise
        return held

    @call
    def next(self, name: str, *, state: str | None = None, limit: int = 10) -> WaitingList:
        """The manifests on which an actor could act now, oldest first; see `registration.pipeline.waiting`.

        Raises:
            InvalidArgument: when the name is invalid, or there is no such state.
        """
        from registration.pipeline.waiting import waiting_for  # noqa: PLC0415  # for this call alone

        return waiting_for(self._registry, name, state=state, limit=limit)

    def _break_claim(self, manifest_id: str, reason: str, actor: str | None, *, dry_run: bool) -> Lease:
        who = self._named(actor)
        self._registry.state(manifest_id)
        key = lease_key(manifest_id)
        held = self._registry.lease_on(manifest_id)
        if held is None:
            raise not_held(key)
        if not reason.strip():
            raise InvalidArgument(
                f"Breaking {held.holder}'s lock on {manifest_id!r} requires a reason.",
                "Give one: the holder will want to know.",
            )
        trial = self._registry.engine.trial() if dry_run else None
        asked = self._registry.command(manifest_id, {"actor": who, "reason": reason})
        self._registry.engine.record_broken_claim(asked, held, trial=trial)
        if not dry_run:
            with suppress(NotFound):  # it has just ended
                self.leases.break_lease(key, by=who, reason=reason, number=held.number)
        return held

    def _would_claim(self, key: str, who: str, held: Lease | None, for_s: float) -> Lease:
        """The claim that `claim` would return. Raises: as `claim`."""
        now_ns = self._registry.clock()
        if held is not None and same_person(held.holder, who):
            found = renewed(LeaseRecord(key, held.number, held), held, now_ns=now_ns, ttl_s=for_s)
        else:
            record = LeaseRecord(key, lease=held)
            found = granted(record, holder=who, host="", token="", now_ns=now_ns, ttl_s=for_s, above=0)
        assert found.lease is not None
        return replace(found.lease, number=0, token="")

    def _named(self, actor: str | None) -> str:
        who = self._registry.acting(actor)
        if who is None:
            raise InvalidArgument("A lock requires an actor.", "Name the actor.")
        return check_actor(who)

    def _known(self, actor: str | None) -> str:
        """The actor of a call that records no event, whom the policy might refuse."""
        who = self._named(actor)
        self._registry.check_acting(who)
        return who

"""The contract of lease keepers as a test suite: inherit from it, open a keeper, and every promise is tested.

::

    class TestMyLeases(LeaseContract):
        @pytest.fixture
        def open_leases(self, tmp_path):
            return lambda clock: MyLeases(tmp_path, clock=clock)

`open_leases` is a pytest fixture: a callable that opens a keeper of the same leases on each call, with the given clock. A keeper
that forgets its leases on closing, such as the one in memory, sets `outlives_closing` to False, and returns the same keeper
each time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from registration.engine.leases.keeper import TTL_S_MAX, LeaseKeeper, leased
from registration.engine.leases.record import HISTORY_MAX
from registration.errors import InvalidArgument, LeaseHeld, LeaseLost, NotFound
from registration.testing.clock import FakeClock
from registration.values.times import Clock

OpenLeases = Callable[[Clock], LeaseKeeper]

KEY = "manifests/acme/weather@1.0"

NOT_KEYS = (
    "",
    "acme",
    "manifests/",
    "manifests/../escape",
    "manifests/-option",
    "Manifests/a",
    "/a",
    "../a",
    "manifests/a\n",
    "manifests/a\0",
    "manifests/é",
    "manifests/" + "a" * 201,
)
"""Invalid keys."""


class LeaseContract:
    """The promises of `registration.engine.leases.keeper.LeaseKeeper`, one test for each."""

    outlives_closing: ClassVar[bool] = True

    # -- holding ---------------------------------------------------------------------------------------------

    def test_a_lease_says_who_has_it_and_until_when(self, open_leases: OpenLeases) -> None:
        """`find` returns the lease from `acquire`, immediately and until it expires."""
        keeper = open_leases(still())

        lease = keeper.acquire(KEY, holder="bea", ttl_s=90)

        assert (lease.key, lease.holder, lease.number) == (KEY, "bea", 1)
        assert (lease.since, lease.until) == ("2026-01-01T00:00:00.000000Z", "2026-01-01T00:01:30.000000Z")
        assert keeper.find(KEY) == lease
        assert lease.token not in repr(lease)
        assert lease.token not in str(lease.as_json())

    def test_a_held_one_is_refused_and_its_holder_named(self, open_leases: OpenLeases) -> None:
        """A second caller, even the same holder, gets an error with the holder, the host, the start and the end."""
        first, second = open_leases(clock := still()), open_leases(clock)
        lease = first.acquire(KEY, holder="bea", ttl_s=90)

        for holder in ("cyd", "bea"):
            error = raised(LeaseHeld, partial(second.acquire, KEY, holder=holder, ttl_s=1))

            assert error.details == lease.as_json()
        assert second.find(KEY) == lease

    def test_another_handle_sees_a_lease_at_once(self, open_leases: OpenLeases) -> None:
        """A lease acquired through one handle is seen by every other."""
        one, other = open_leases(clock := still()), open_leases(clock)

        lease = one.acquire(KEY, holder="bea", ttl_s=90)

        assert other.find(KEY) == lease
        assert other.release(lease)
        assert one.find(KEY) is None

    def test_keys_do_not_touch_each_other(self, open_leases: OpenLeases) -> None:
        """Each key has its own lease and numbers, however similar the keys are."""
        keeper = open_leases(still())
        keys = [KEY, "manifests/acme", "sessions/acme", "manifests/acme:weather@1.0"]

        leases = [keeper.acquire(key, holder="bea", ttl_s=90) for key in keys]

        assert [lease.number for lease in leases] == [1] * len(keys)
        assert [keeper.find(key) for key in keys] == leases

    def test_what_nobody_has_is_found_as_none(self, open_leases: OpenLeases) -> None:
        """`find` of an unused key is None, and creates nothing."""
        keeper = open_leases(still())

        assert keeper.find(KEY) is None
        assert keeper.history(KEY) == ()
        assert list(keeper.list()) == []

    # -- time ------------------------------------------------------------------------------------------------

    def test_a_lease_ends_by_its_time(self, open_leases: OpenLeases) -> None:
        """A dead holder blocks others until the expiry, to the microsecond, and no longer."""
        keeper = open_leases(clock := still())
        lease = keeper.acquire(KEY, holder="bea", ttl_s=90)

        clock.now_ns += 90_000_000_000 - 1_000
        assert keeper.find(KEY) == lease
        raised(LeaseHeld, lambda: keeper.acquire(KEY, holder="cyd", ttl_s=90))
        clock.now_ns += 1_000

        assert keeper.find(KEY) is None
        assert list(keeper.list()) == []
        assert keeper.acquire(KEY, holder="cyd", ttl_s=90).number == 2

    def test_renewing_begins_the_time_anew(self, open_leases: OpenLeases) -> None:
        """It is the same lease, with the same number and a later end."""
        keeper = open_leases(clock := still())
        lease = keeper.acquire(KEY, holder="bea", ttl_s=90)
        clock.advance(60)

        renewed = keeper.renew(lease, ttl_s=90)

        assert (renewed.number, renewed.token, renewed.since) == (lease.number, lease.token, lease.since)
        assert renewed.until == "2026-01-01T00:02:30.000000Z"
        assert keeper.find(KEY) == renewed

    def test_renewing_may_shorten(self, open_leases: OpenLeases) -> None:
        """A renewal may end earlier than the lease before."""
        keeper = open_leases(clock := still())
        lease = keeper.acquire(KEY, holder="bea", ttl_s=90)

        keeper.renew(lease, ttl_s=1)
        clock.advance(1)

        assert keeper.find(KEY) is None

    def test_an_ended_lease_that_nobody_took_is_renewed(self, open_leases: OpenLeases) -> None:
        """It was not acquired by another holder, so nothing was lost."""
        keeper = open_leases(clock := still())
        lease = keeper.acquire(KEY, holder="bea", ttl_s=1)
        clock.advance(3_600)

        assert keeper.renew(lease, ttl_s=1).number == lease.number

        assert keeper.find(KEY) is not None

    def test_a_lease_that_somebody_took_is_lost(self, open_leases: OpenLeases) -> None:
        """Renewing it is refused, naming the current holder."""
        keeper = open_leases(clock := still())
        lease = keeper.acquire(KEY, holder="bea", ttl_s=1)
        clock.advance(1)
        taken = keeper.acquire(KEY, holder="cyd", ttl_s=90)

        error = raised(LeaseLost, lambda: keeper.renew(lease, ttl_s=90))

        assert error.details == {**taken.as_json(), "held_number": 2, "number": 1}
        assert keeper.find(KEY) == taken

    # -- releasing -------------------------------------------------------------------------------------------

    def test_a_released_lease_is_free_at_once(self, open_leases: OpenLeases) -> None:
        """The next holder gets it, with a greater number; releasing the old lease again ends nothing."""
        keeper = open_leases(still())
        lease = keeper.acquire(KEY, holder="bea", ttl_s=90)

        assert keeper.release(lease)

        assert keeper.find(KEY) is None
        following = keeper.acquire(KEY, holder="cyd", ttl_s=90)
        assert following.number == 2
        assert not keeper.release(lease)
        assert keeper.find(KEY) == following

    def test_releasing_too_late_is_harmless_and_warned_of(self, open_leases: OpenLeases) -> None:
        """A release after another holder acquired it is logged as a warning: the caller worked without a lease."""
        keeper = open_leases(clock := still())
        lease = keeper.acquire(KEY, holder="bea", ttl_s=1)
        clock.advance(1)
        taken = keeper.acquire(KEY, holder="cyd", ttl_s=90)

        with warnings() as said:
            assert not keeper.release(lease)

        assert keeper.find(KEY) == taken
        assert len(said) == 1
        assert all(word in said[0] for word in (KEY, "'bea'", "'cyd'", "number 1", "number 2"))

    def test_releasing_what_ended_and_nobody_took_is_quiet(self, open_leases: OpenLeases) -> None:
        """It counts as in time; releasing it again is not reported either."""
        keeper = open_leases(clock := still())
        lease = keeper.acquire(KEY, holder="bea", ttl_s=1)
        clock.advance(1)

        with warnings() as said:
            assert keeper.release(lease)
            assert not keeper.release(lease)

        assert said == []

    def test_only_the_own_token_releases_and_renews(self, open_leases: OpenLeases) -> None:
        """A similar lease with another token belongs to another holder."""
        keeper = open_leases(still())
        lease = keeper.acquire(KEY, holder="bea", ttl_s=90)
        guessed = replace(lease, token="0" * 32)

        with warnings():
            assert not keeper.release(guessed)
        raised(LeaseLost, lambda: keeper.renew(guessed, ttl_s=90))

        assert keeper.find(KEY) == lease

    def test_a_block_holds_a_lease(self, open_leases: OpenLeases) -> None:
        """`leased` releases it at the end, even if the block fails."""
        keeper = open_leases(still())

        def fail() -> None:
            with leased(keeper, KEY, holder="bea", ttl_s=90) as lease:
                assert keeper.find(KEY) == lease
                raise ZeroDivisionError

        raised(ZeroDivisionError, fail)

        assert keeper.find(KEY) is None

    # -- numbers ---------------------------------------------------------------------------------------------

    def test_numbers_grow_however_a_lease_ended(self, open_leases: OpenLeases) -> None:
        """After a release, an expiry and a break; a break uses up one more number, the breaker's."""
        keeper = open_leases(clock := still())
        numbers = []

        for end in ("release", "expiry", "break", "release"):
            lease = keeper.acquire(KEY, holder="bea", ttl_s=90)
            numbers.append(lease.number)
            if end == "release":
                keeper.release(lease)
            elif end == "expiry":
                clock.advance(90)
            else:
                keeper.break_lease(KEY, by="cyd", reason="gone home")

        assert numbers == [1, 2, 3, 5]

    def test_numbers_grow_over_what_was_seen_elsewhere(self, open_leases: OpenLeases) -> None:
        """If a log has seen greater numbers than the record, as after a restore, the next one is still greater."""
        keeper = open_leases(still())

        lease = keeper.acquire(KEY, holder="bea", ttl_s=90, above=41)

        assert lease.number == 42
        keeper.release(lease)
        assert keeper.acquire(KEY, holder="bea", ttl_s=90, above=7).number == 43

    def test_numbers_outlive_closing(self, open_leases: OpenLeases) -> None:
        """Leases and numbers are the same after reopening."""
        keeper = open_leases(clock := still())
        lease = keeper.acquire(KEY, holder="bea", ttl_s=90)
        keeper.close()
        keeper.close()

        again = open_leases(clock) if self.outlives_closing else keeper

        assert again.find(KEY) == lease
        assert again.release(lease)
        assert again.acquire(KEY, holder="cyd", ttl_s=90).number == 2

    def test_threads_that_race_get_it_one_after_the_other(self, open_leases: OpenLeases) -> None:
        """Of many concurrent callers one holds it, and each success has a new number, greater than those before."""
        keepers = [open_leases(still(tick_ns=1_000)) for _ in range(4)]
        inside, seen, overlaps = [0], [], []

        def work(keeper: LeaseKeeper, name: str) -> None:
            taken = 0
            while taken < 10:
                try:
                    lease = keeper.acquire(KEY, holder=name, ttl_s=90)
                except LeaseHeld:
                    continue
                inside[0] += 1
                overlaps.append(inside[0])
                seen.append(lease.number)
                inside[0] -= 1
                assert keeper.release(lease)
                taken += 1

        threads = [threading.Thread(target=work, args=(keeper, f"w{n}")) for n, keeper in enumerate(keepers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert seen == list(range(1, 41))
        assert set(overlaps) == {1}

    # -- breaking, listing, history --------------------------------------------------------------------------

    def test_a_broken_lease_is_lost_and_its_holder_told_why(self, open_leases: OpenLeases) -> None:
        """The breaker gets the broken lease; its holder can't renew it, and reads who broke it and why."""
        keeper = open_leases(still())
        lease = keeper.acquire(KEY, holder="bea", ttl_s=90)

        assert keeper.break_lease(KEY, by="cyd", reason=" gone home ", number=1) == lease

        assert keeper.find(KEY) is None
        error = raised(LeaseLost, lambda: keeper.renew(lease, ttl_s=90))
        assert "'cyd' broke it" in error.problem
        assert "gone home" in error.problem
        with warnings() as said:
            assert not keeper.release(lease)
        assert said == []

    def test_breaking_what_nobody_has_is_refused(self, open_leases: OpenLeases) -> None:
        """Neither is a lease with another number broken, nor one without a reason."""
        keeper = open_leases(clock := still())
        raised(NotFound, lambda: keeper.break_lease(KEY, by="cyd", reason="why"))
        lease = keeper.acquire(KEY, holder="bea", ttl_s=90)

        raised(NotFound, lambda: keeper.break_lease(KEY, by="cyd", reason="why", number=2))
        for reason in ("", " \n", "x" * 10_001):
            raised(InvalidArgument, partial(keeper.break_lease, KEY, by="cyd", reason=reason))

        assert keeper.find(KEY) == lease
        clock.advance(90)
        raised(NotFound, lambda: keeper.break_lease(KEY, by="cyd", reason="why"))

    def test_the_leases_that_hold_are_listed_by_key(self, open_leases: OpenLeases) -> None:
        """Without ended ones; optionally only those of one area."""
        keeper = open_leases(clock := still())
        short = keeper.acquire("manifests/short", holder="bea", ttl_s=1)
        b, a, s = (
            keeper.acquire(key, holder="bea", ttl_s=90)
            for key in ("manifests/b", "manifests/a", "sessions/s")
        )
        keeper.release(keeper.acquire("manifests/done", holder="bea", ttl_s=90))
        assert list(keeper.list("manifests")) == [a, b, short]

        clock.advance(1)

        assert list(keeper.list()) == [a, b, s]
        assert list(keeper.list("sessions")) == [s]
        assert list(keeper.list("nothing")) == []

    def test_how_leases_ended_is_remembered(self, open_leases: OpenLeases) -> None:
        """The latest ones, in order: the holder, the end, and for a broken one the breaker and the reason."""
        keeper = open_leases(clock := still())
        for _ in range(HISTORY_MAX):
            keeper.release(keeper.acquire(KEY, holder="ada", ttl_s=90))
        keeper.acquire(KEY, holder="bea", ttl_s=1)
        clock.advance(1)
        keeper.acquire(KEY, holder="cyd", ttl_s=90)
        keeper.break_lease(KEY, by="dan", reason="gone home")

        history = keeper.history(KEY)

        assert len(history) == HISTORY_MAX
        assert [(one.how, one.holder) for one in history[-3:]] == [
            ("released", "ada"),
            ("expired", "bea"),
            ("broken", "cyd"),
        ]
        assert (history[-1].by, history[-1].reason) == ("dan", "gone home")
        assert (history[-1].number, history[-2].number) == (HISTORY_MAX + 2, HISTORY_MAX + 1)

    # -- invalid arguments -----------------------------------------------------------------------------------

    def test_what_is_no_key_is_refused(self, open_leases: OpenLeases) -> None:
        """Before doing anything."""
        keeper = open_leases(still())
        lost = keeper.acquire(KEY, holder="bea", ttl_s=90)
        keeper.release(lost)

        for key in NOT_KEYS:
            for call in (
                partial(keeper.acquire, key, holder="bea", ttl_s=90),
                partial(keeper.find, key),
                partial(keeper.history, key),
                partial(keeper.break_lease, key, by="bea", reason="why"),
            ):
                raised(InvalidArgument, call)
        for area in ("", "..", "a/b", "A"):
            raised(InvalidArgument, partial(next, keeper.list(area), None))

        assert list(keeper.list()) == []

    def test_a_holder_a_time_or_a_number_that_cannot_be_meant_is_refused(
        self, open_leases: OpenLeases
    ) -> None:
        """And no number is used up."""
        keeper = open_leases(still())
        wrong: list[dict[str, Any]] = [
            *({"holder": name} for name in ("", " bea", "b\na", "x" * 201, None, 7)),
            *({"ttl_s": ttl} for ttl in (0, -1, float("nan"), float("inf"), TTL_S_MAX + 1, True, "90", None)),
            *({"above": number} for number in (-1, 2**53, 1.0, True, None)),
        ]

        for said in wrong:
            arguments = {"holder": "bea", "ttl_s": 90, **said}
            raised(InvalidArgument, partial(keeper.acquire, KEY, **arguments))

        assert keeper.acquire(KEY, holder="bea", ttl_s=TTL_S_MAX).number == 1


def still(tick_ns: int = 0) -> FakeClock:
    """A clock that only advances when told to."""
    return FakeClock(tick_ns=tick_ns)


class warnings(logging.Handler):  # noqa: N801  # it reads as what it catches: `with warnings() as said`
    """The warnings logged in a block, as lines."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())

    def __enter__(self) -> list[str]:
        logging.getLogger("registration").addHandler(self)
        return self._said

    def __exit__(self, *_: object) -> None:
        logging.getLogger("registration").removeHandler(self)


def raised(kind: type[BaseException], call: Callable[[], object]) -> Any:
    """The error that a call raises; fails if it raises none."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised")

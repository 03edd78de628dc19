"""The contract of targets as a test suite: inherit from it, open a target, and every promise is tested.

::

    class TestMyTarget(TargetContract):
        @pytest.fixture
        def open_target(self, tmp_path):
            return lambda: MyTarget(tmp_path)

`open_target` is a pytest fixture: a callable that opens a target on the same community on each call; the
community is empty at first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from registration.errors import IdempotencyMismatch, RegistrationError, TargetRefused
from registration.onboarding.community.deploying.target import Done, Target

OpenTarget = Callable[[], Target]


class TargetContract:
    """The promises of `registration.onboarding.community.deploying.target.Target`, one test for each."""

    # -- doing -----------------------------------------------------------------------------------------------

    def test_what_was_done_is_found_by_its_key(self, open_target: OpenTarget) -> None:
        """`find` returns the completed call and its id, also through another handle."""
        target = open_target()

        role = _role(target, "a")
        category = target.create_channel("b", name="c", kind="category", category=None)
        channel = target.create_channel("c", name="c", kind="text", category=category)
        permission = target.set_permission("d", channel=channel, role=role, access="read")

        for one in (target, open_target()):
            assert one.find("a") == Done("create_role", role, undone=False)
            assert one.find("b") == Done("create_channel", category, undone=False)
            assert one.find("c") == Done("create_channel", channel, undone=False)
            assert one.find("d") == Done("set_permission", permission, undone=False)
            assert one.find("e") is None

    def test_the_same_key_again_does_nothing_and_gives_the_first_answer(
        self, open_target: OpenTarget
    ) -> None:
        """Repeating it is harmless, also through another handle; a second object would be refused for its name."""
        first = _role(open_target(), "a")

        assert _role(open_target(), "a") == first
        with _refused(TargetRefused):
            _role(open_target(), "b")

    def test_a_key_is_not_taken_for_another_request(self, open_target: OpenTarget) -> None:
        """The same key with other arguments is an error, and nothing is done."""
        target = open_target()
        first = _role(target, "a")

        with _refused(IdempotencyMismatch):
            _role(target, "a", name="another")
        with _refused(IdempotencyMismatch):
            target.create_channel("a", name="gold", kind="text", category=None)

        assert target.find("a") == Done("create_role", first, undone=False)
        _role(target, "b", name="another")

    def test_what_is_made_has_ids_of_its_own(self, open_target: OpenTarget) -> None:
        """Ids are unique, and never reused after an undo."""
        target = open_target()
        ids = [_role(target, f"a{n}", name=f"gold {n}") for n in range(3)]

        target.delete_role("a2")
        ids.append(_role(target, "b", name="gold 2"))

        assert len(set(ids)) == 4

    def test_what_refers_to_nothing_is_refused(self, open_target: OpenTarget) -> None:
        """A channel needs its category, a permission its channel and its role; a refused call does nothing."""
        target = open_target()
        role = _role(target, "a")
        channel = target.create_channel("b", name="c", kind="text", category=None)

        for category in ("nothing", channel):
            with _refused(TargetRefused):
                target.create_channel("c", name="d", kind="text", category=category)
        for one, other in (("nothing", role), (channel, "nothing")):
            with _refused(TargetRefused):
                target.set_permission("d", channel=one, role=other, access="read")

        assert target.find("c") is target.find("d") is None

    def test_channels_of_one_name_are_refused_beside_each_other_only(self, open_target: OpenTarget) -> None:
        """In another category the name is free."""
        target = open_target()
        one = target.create_channel("a", name="one", kind="category", category=None)
        other = target.create_channel("b", name="other", kind="category", category=None)

        target.create_channel("c", name="general", kind="text", category=one)
        target.create_channel("d", name="general", kind="text", category=other)

        with _refused(TargetRefused):
            target.create_channel("e", name="General", kind="voice", category=one)

    # -- taking back -----------------------------------------------------------------------------------------

    def test_what_was_taken_back_leaves_room(self, open_target: OpenTarget) -> None:
        """An undone role or channel is gone: its name is free."""
        target = open_target()
        _role(target, "a")
        target.create_channel("b", name="c", kind="text", category=None)

        assert target.delete_channel("b") == "undone"
        assert target.delete_role("a") == "undone"

        _role(target, "c")
        target.create_channel("d", name="c", kind="text", category=None)

    def test_taking_back_again_changes_nothing(self, open_target: OpenTarget) -> None:
        """Objects created by others meanwhile stay, whatever their names."""
        target = open_target()
        _role(target, "a")
        target.delete_role("a")
        another = _role(target, "b")

        assert open_target().delete_role("a") == "nothing"

        assert target.find("b") == Done("create_role", another, undone=False)
        with _refused(TargetRefused):
            _role(target, "c")

    def test_a_key_that_was_taken_back_is_closed(self, open_target: OpenTarget) -> None:
        """A late call is refused, and leaves nothing behind."""
        target = open_target()
        role = _role(target, "a")
        target.delete_role("a")

        with _refused(TargetRefused):
            _role(open_target(), "a")

        assert target.find("a") == Done("create_role", role, undone=True)
        _role(target, "b")

    def test_a_key_is_closed_also_where_nothing_was_done(self, open_target: OpenTarget) -> None:
        """An undo may overtake the call that it undoes."""
        target = open_target()

        assert target.delete_role("a") == "nothing"
        assert target.delete_channel("b") == "nothing"
        assert target.restore_permission("c") == "nothing"

        with _refused(TargetRefused):
            _role(open_target(), "a")
        with _refused(TargetRefused):
            target.create_channel("b", name="c", kind="text", category=None)
        assert target.find("a") == Done(None, None, undone=True)
        role = _role(target, "d")
        channel = target.create_channel("e", name="c", kind="text", category=None)
        with _refused(TargetRefused):
            target.set_permission("c", channel=channel, role=role, access="read")

    def test_a_permission_goes_back_to_what_it_was(self, open_target: OpenTarget) -> None:
        """The previous permission applies again; its own call can still be undone."""
        target = open_target()
        role = _role(target, "a")
        channel = target.create_channel("b", name="c", kind="text", category=None)
        target.set_permission("c", channel=channel, role=role, access="read")
        target.set_permission("d", channel=channel, role=role, access="write")

        assert target.restore_permission("d") == "undone"
        assert target.restore_permission("c") == "undone"

    def test_what_others_have_set_since_stays(self, open_target: OpenTarget) -> None:
        """A permission set again by another call belongs to that call, even if it is equal."""
        target = open_target()
        role = _role(target, "a")
        channel = target.create_channel("b", name="c", kind="text", category=None)
        target.set_permission("c", channel=channel, role=role, access="read")
        target.set_permission("d", channel=channel, role=role, access="read")

        assert target.restore_permission("c") == "left"
        assert target.restore_permission("d") == "undone"

    def test_a_category_with_channels_is_not_taken_back(self, open_target: OpenTarget) -> None:
        """Objects that others put into it would be lost; once they are moved away, it is removed."""
        target = open_target()
        category = target.create_channel("a", name="c", kind="category", category=None)
        target.create_channel("b", name="c", kind="text", category=category)

        with _refused(TargetRefused):
            target.delete_channel("a")

        assert target.find("a") == Done("create_channel", category, undone=False)
        target.delete_channel("b")
        assert target.delete_channel("a") == "undone"

    def test_what_a_role_could_do_goes_with_it(self, open_target: OpenTarget) -> None:
        """A removed role or channel has nothing left to restore."""
        target = open_target()
        role = _role(target, "a")
        channel = target.create_channel("b", name="c", kind="text", category=None)
        target.set_permission("c", channel=channel, role=role, access="read")
        another = _role(target, "d", name="silver")
        target.set_permission("e", channel=channel, role=another, access="read")

        target.delete_role("a")
        target.delete_channel("b")

        assert target.restore_permission("c") == "nothing"
        assert target.restore_permission("e") == "nothing"


def _role(target: Target, key: str, *, name: str = "gold") -> str:
    return target.create_role(key, name=name, colour="#F1C40F", permissions=["speak"])


@contextmanager
def _refused(kind: type[RegistrationError]) -> Iterator[None]:
    try:
        yield
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was expected, and nothing was raised")

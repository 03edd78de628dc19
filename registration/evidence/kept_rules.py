"""The rules that events name by digest, as they were kept: lifecycles, policies with their schemas, rosters.

Events are decided again under these, not under those in force now (`registration.evidence.redeciding`). What was named and isn't
there any more, or is no longer what was named, is damage; what is there and can't be asked in this program is `unchecked`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from registration.core.policy import NO_POLICY, Policy
from registration.errors import CorruptRegistry, InvalidArgument, InvalidDefinition, NotFound, StoreError

if TYPE_CHECKING:
    from registration.core.definition import Definition
    from registration.core.policy import Guard

ReadRule = Callable[[str, str], Any]
"""Returns the rule that is stored under a digest, by kind (`registration.storage.layout.RULE_KINDS`).

Raises NotFound when there is none, CorruptRegistry when its bytes have another digest."""

POLICIES_KEPT_MAX = 64
"""The number of policies that are in memory at a time, each with its schemas."""

MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""What reading a rule raises that has its digest, and is no rule."""


class NotKept(Exception):  # a reason on its way to a finding, never seen by a caller
    """A rule that an event names, and that is not there as it was named."""


class NotHere(Exception):  # as above
    """A rule that is kept, and that this program can't ask."""


@dataclass(frozen=True, slots=True)
class InForce:
    """The rules that one version of the registry's own log put in force.

    version, hash: of the line that did. time: when. policy, roster, lifecycle: their digests; None where there was none, and for a
    lifecycle that the log says nothing about.
    """

    version: int
    hash: str
    time: str
    policy: str | None
    roster: str | None
    lifecycle: str | None = None


class RegistryLog(Protocol):
    """The registry's own log, as far as deciding again needs it."""

    @property
    def begun(self) -> str:
        """When it was made: events of later moments name it. RFC 3339."""

    @property
    def forced(self) -> Sequence[Mapping[str, Any]]:
        """The changes that the owner of the directory forced, in order: `version`, `time`, `actor`, `via`, `reason` and `hash` of each."""

    def at(self, version: int) -> InForce | None:
        """The rules in force after that version; None if the log has no such version."""


class KeptRules:
    """The rules of one area's events, each read and built once.

    current: the definition of the area. read: see `ReadRule`. guards: the program's own, by name, besides the built-in and the installed
    ones. lifecycles: the digests that were ever in force, the first one first; None: not known for this area. log: the registry's own log; None: there is none.
    """

    def __init__(
        self,
        current: Definition,
        read: ReadRule,
        *,
        guards: Mapping[str, Guard] | None = None,
        lifecycles: Sequence[str] | None = None,
        log: RegistryLog | None = None,
    ) -> None:
        self.current = current
        self.log = log
        self._read = read
        self._guards = guards
        self._lifecycles = lifecycles
        self._definitions: dict[str, Definition] = {current.identity["digest"]: current}
        self._policies: dict[tuple[str | None, str | None, int, int], Policy] = {}

    def definition(self, digest: str) -> Definition:
        """The lifecycle with that digest.

        Raises:
            NotKept, NotHere: as above.
        """
        found = self._definitions.get(digest)
        if found is None:
            from registration.rules.lifecycles.loading import definition_of  # noqa: PLC0415  # for lifecycles of before

            guards = {**self.current.guards, **(self._guards or {})}
            found = self._built(
                "lifecycle", lambda: definition_of(self._read("lifecycles", digest), guards=guards)
            )
            if found.name != self.current.name:
                raise NotKept(f"it names the lifecycle {found.name!r}, which is not of this area")
            # What data doesn't have, the area has.
            of_area = self.current
            self._definitions[digest] = found = replace(
                found, governed=of_area.governed, members=of_area.members, shape=of_area.shape
            )
        if self._lifecycles is not None and digest not in self._lifecycles:
            raise NotKept(f"the lifecycle {digest} was never in force here")
        return found

    def first(self) -> Definition:
        """The lifecycle of events that name none: those of before any was replaced.

        Raises:
            NotKept, NotHere: as above.
        """
        return self.definition(self._lifecycles[0]) if self._lifecycles else self.current

    def is_known(self, digest: str) -> bool:
        """Whether a lifecycle is known to have been in force: it is now, or the registry says so."""
        return self._lifecycles is not None or digest == self.current.identity["digest"]

    def policy(
        self, digest: str | None, roster: str | None, registry: Mapping[str, Any] | None, format: int
    ) -> Policy:
        """The policy that an event was decided under. format: the meaning of the built-in guards, for an event without a policy.

        Raises:
            NotKept, NotHere: as above.
        """
        # By number, since a program counts no further: the hash of a version is compared elsewhere.
        key = (digest, roster, -1 if registry is None else registry["version"], format)
        found = self._policies.get(key)
        if found is None or found.registry != registry:
            if len(self._policies) >= POLICIES_KEPT_MAX:
                self._policies.clear()
            found = self._policies[key] = replace(self._policy(digest, roster, format), registry=registry)
        return found

    def check_lifecycle(self, digest: str) -> None:
        """Whether the lifecycle with that digest is kept, of whatever area.

        Raises:
            NotKept, NotHere: as above.
        """
        self._built("lifecycle", lambda: self._read("lifecycles", digest))

    def rules_of(self, digest: str) -> str | None:
        """See `Policy.rules_of`."""
        from registration.rules.policy_data import rules_digest  # noqa: PLC0415  # for events under a policy

        try:
            data = self._built("policy", lambda: self._read("policies", digest))
            found: str = self._built("policy", lambda: rules_digest(data))
        except (NotKept, NotHere):
            return None
        return found

    def _policy(self, digest: str | None, roster: str | None, format: int) -> Policy:
        if digest is None and roster is None:
            return NO_POLICY if format == NO_POLICY.format else Policy(format=format)
        from registration.rules.policy_data import policy_from  # noqa: PLC0415  # for events under a policy

        roles = None if roster is None else self._built("roster", lambda: self._read("rosters", roster))
        data = None if digest is None else self._built("policy", lambda: self._read("policies", digest))
        policy: Policy = self._built(
            "policy",
            lambda: policy_from(
                data,
                lambda one: self._read("schemas", one),
                self._guards,
                roster=roles,
                rules_of=self.rules_of,
            ),
        )
        return policy

    def _built(self, what: str, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except NotFound as error:
            raise NotKept(f"the {what} that it names is not kept ({_lower(error.problem)})") from None
        except CorruptRegistry as error:
            raise NotKept(f"the {what} that it names is damaged ({_lower(error.problem)})") from None
        except (InvalidArgument, InvalidDefinition, StoreError) as error:
            # A policy of a later release; what is of no format at all is no policy, though it has its digest.
            if isinstance(error, StoreError) and type(error.details.get("format")) is not int:
                raise NotKept(f"the {what} that it names is malformed ({_lower(error.problem)})") from None
            raise NotHere(f"its {what} can't be asked here: {_lower(error.problem)}") from None
        except MALFORMED as error:
            raise NotKept(
                f"the {what} that it names is malformed ({type(error).__name__}: {error})"
            ) from None


def _lower(sentence: str) -> str:
    """A sentence inside another one."""
    return sentence.rstrip(".")

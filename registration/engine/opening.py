"""Opening a registry on files, with its lifecycle and policy; creating and migrating it.

A registry names its lifecycle by digest and stores it in `rules/lifecycles/`, so it is always opened with exactly the
lifecycle it was created with. `migrate` puts a later version in force.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from registration.core.decider import nearest
from registration.core.definition import Definition
from registration.core.interpreter import shortest_paths
from registration.engine.governance import Governance
from registration.engine.origin import came_in
from registration.engine.policy_on_disk import PolicyOnDisk
from registration.errors import InvalidArgument, InvalidPolicy, Next, NotFound, Rejected, StoreError
from registration.rules.lifecycles.registration import REGISTRATION
from registration.storage import layout
from registration.storage.files.backend import FileBackend, open_files
from registration.storage.files.registry_file import RegistryFile
from registration.storage.ledger import Areas, Ledger, Snapshots
from registration.values.commands import command
from registration.values.times import Clock, system_clock

if TYPE_CHECKING:
    from registration.core.policy import Guard, Policy
    from registration.engine.engine import Random

LIFECYCLE_BYTES_MAX = 256 * 1024

Guards = Mapping[str, "Guard"]


@dataclass(frozen=True, slots=True)
class Migration:
    """The effect of putting another version of the lifecycle in force.

    current, proposed: their names, versions and digests. looked_at: the number of manifests. stranded: those in a state
    that the proposed one lacks, each with its place. unreadable: those that can't be
    read. done: whether it is in force now.
    """

    current: Mapping[str, Any]
    proposed: Mapping[str, Any]
    looked_at: int
    stranded: tuple[tuple[str, str], ...]
    unreadable: tuple[str, ...]
    done: bool


def lifecycle_from(
    given: Definition | Mapping[str, Any] | str | os.PathLike[str], guards: Guards | None = None
) -> Definition:
    """A lifecycle from an argument: a definition, its data form, the name of a shipped one, or a file.

    Raises:
        InvalidDefinition: when it is invalid; every problem is listed.
        NotFound: when there is no such file.
    """
    if isinstance(given, Definition):
        return given
    from registration.rules.lifecycles.loading import SHIPPED, definition_of, shipped  # noqa: PLC0415  # as for registries with one of their own

    if isinstance(given, str) and given in SHIPPED:
        return definition_of(shipped(given), guards=guards)
    from registration.rules.lifecycles.files import check_lifecycle, parse_lifecycle  # noqa: PLC0415  # pydantic

    if isinstance(given, Mapping):
        return definition_of(check_lifecycle(given, source="The lifecycle", guards=guards), guards=guards)
    path = os.fspath(given)
    try:
        with open(path, "rb") as opened:
            raw = opened.read(LIFECYCLE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise NotFound(
            f"There is no lifecycle file {path!r}, and no shipped lifecycle of that name.{nearest(path, SHIPPED)}",
            f"Pass a TOML or JSON file, or one of: {', '.join(SHIPPED)}.",
        ) from None
    except OSError as error:
        raise StoreError(f"{path} can't be read: {error.strerror}.", "Pass a readable file.") from None
    form: Literal["json", "toml"] = "json" if path.endswith(".json") else "toml"
    data = parse_lifecycle(raw, source=path, form=form, guards=guards)
    return definition_of(data, guards=guards)


def open_registry(
    root: str | os.PathLike[str],
    *,
    wanted: RegistryFile | None = None,
    lifecycle: Definition | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    guards: Guards | None = None,
    snapshots: Snapshots = "each",
    lock_timeout_s: float = 10.0,
    others: Areas | None = None,
    policy: Policy | None = None,
    actor: str | None = None,
    clock: Clock = system_clock,
    random_source: Random | None = None,
) -> tuple[Ledger, FileBackend, Governance]:
    """The ledger of a registry's manifests, its backend, and its governance.

    wanted: the registry to create if there is none; None: it must exist. lifecycle: its lifecycle on creation
    (default: `registration`); an existing registry must have the same. others: as for `open_files`. policy, actor, clock, random_source:
    as for `Governance`.

    Raises:
        NotFound, CorruptRegistry, StoreError: as `open_files`.
        InvalidArgument: when the registry has a different lifecycle.
        InvalidDefinition: when the lifecycle is invalid, or one of its guards is not installed.
    """
    given = None if lifecycle is None else lifecycle_from(lifecycle, guards)
    making = given or REGISTRATION
    if wanted is not None:
        wanted = replace(wanted, definition=making.name, lifecycle=making.identity)

    def resolve(registry: RegistryFile, kept: Callable[[str, str], Any]) -> Definition:
        own = _own_lifecycle(registry, kept, given, guards)
        if given is not None and own.identity != given.identity:
            raise InvalidArgument(
                f"The registry at {os.fspath(root)} has the lifecycle {own.name!r} version {own.version}, not "
                f"{given.name!r} version {given.version} as given.",
                "Open it without naming one, or put another version in force.",
                Next(operation="lifecycle.migrate", missing=("file",)),
            )
        return own

    store = open_files(
        root,
        resolve,
        wanted=wanted,
        lifecycle=making.data,
        snapshots=snapshots,
        lock_timeout_s=lock_timeout_s,
        others=others,
    )
    backend = store.backend
    assert isinstance(backend, FileBackend)
    governance = Governance(
        store,
        guards=guards,
        file=PolicyOnDisk(backend.disk, backend.root, store.definition.chart, guards),
        brought=policy,
        actor=actor,
        clock=clock,
        random_source=random_source,
    )
    if backend.made:
        with suppress(InvalidPolicy):  # as with a policy that is there later: the first write says so
            governance.begin()
    return store, backend, governance


def _own_lifecycle(
    registry: RegistryFile,
    kept: Callable[[str, str], Any],
    given: Definition | None,
    guards: Guards | None,
) -> Definition:
    named = registry.lifecycle
    if named is None or (named["digest"] == REGISTRATION.identity["digest"] and not registry.earlier):
        return REGISTRATION
    if given is not None and named == given.identity and not registry.earlier:
        return given
    # The default lifecycle is loaded already; the reader of others is only loaded if needed.
    from registration.rules.lifecycles.loading import definition_of  # noqa: PLC0415

    earlier = frozenset(
        type for one in registry.earlier for type in _event_types(kept("lifecycles", one["digest"]))
    )
    if given is not None and named == given.identity:
        return replace(given, earlier=earlier)
    return definition_of(kept("lifecycles", named["digest"]), guards=guards, earlier=earlier)


def _event_types(data: Mapping[str, Any]) -> set[str]:
    """The event types of a lifecycle, in every schema up to its own."""
    words = [(one["past"], one.get("schema", 1)) for one in data["actions"]]
    words += [(one["past"], 1) for one in data.get("timeouts", ())]
    return {f"{data['name']}.{past}.v{schema}" for past, last in words for schema in range(1, last + 1)}


def migrate(
    root: str | os.PathLike[str],
    proposed: Definition,
    *,
    guards: Guards | None = None,
    actor: str | None = None,
    reason: str | None = None,
    as_owner: bool = False,
    dry_run: bool = True,
) -> Migration:
    """Put another version of a registry's lifecycle in force, or only determine the effect.

    Logs are not changed: they fold forever. No manifest may be in a state that the proposed lifecycle lacks.
    Programs that have the registry open refuse to write from then on, and must open it again. The registry's own log says by whom
    and why. as_owner: without the consent that the rules in force demand; the caller has made sure that the actor owns the directory.

    Raises:
        InvalidArgument: when it has another name, or is not a later version.
        Rejected: when manifests would be stranded, or can't be read; `details` lists them. Nothing was changed.
        GuardRefused: when the rules in force refuse the change. Nothing was changed.
    """
    store, _, governance = open_registry(root, guards=guards, actor=actor)
    current = store.definition
    if proposed.name != current.name or proposed.version <= current.version:
        raise InvalidArgument(
            f"The registry has {current.name!r} version {current.version}, but {proposed.name!r} version "
            f"{proposed.version} is not a later version of it.",
            "Keep the name, which every event contains, and raise `version`.",
        )
    looked_at, stranded, unreadable = _look(store, proposed)
    found = Migration(
        current.identity, proposed.identity, looked_at, tuple(stranded), tuple(unreadable), done=not dry_run
    )
    if dry_run:
        return found
    if stranded or unreadable:
        raise _in_the_way(proposed, stranded, unreadable)
    store.keep("lifecycles", current.identity["digest"], current.data)
    store.keep("lifecycles", proposed.identity["digest"], proposed.data)
    migrating = command(
        layout.REGISTRY, {"actor": actor, "reason": reason}, action="migrate_lifecycle", via=came_in()
    )
    governance.record(migrating, lifecycle=proposed.identity, instead_of=current.identity, as_owner=as_owner)
    # There may have been writes between the check and the change. Later ones are refused, so this check is final.
    _, stranded, unreadable = _look(store, proposed, last_word=True)
    if stranded or unreadable:
        # Back to the current one. There may already be writes under the proposed one: its event types stay known.
        back = replace(migrating, reason="manifests would be stranded")
        governance.record(back, lifecycle=current.identity, instead_of=proposed.identity, as_owner=True)
        raise _in_the_way(proposed, stranded, unreadable)
    return found


def _look(
    store: Ledger, proposed: Definition, *, last_word: bool = False
) -> tuple[int, list[tuple[str, str]], list[str]]:
    """The number of manifests, those that would be stranded, and those that can't be read.

    last_word: wait for writers in progress.
    """
    places = {frozenset(place.split("+")) for place in shortest_paths(proposed.chart)}
    stranded: list[tuple[str, str]] = []
    unreadable: list[str] = []
    looked_at = 0
    for stream in store.streams():
        try:
            state = store.load(stream, waiting=last_word)
        except StoreError:
            unreadable.append(stream)
            continue
        if state is not None:
            looked_at += 1
            if frozenset(state.state.split("+")) not in places:
                stranded.append((stream, state.state))
    return looked_at, stranded, unreadable


def _in_the_way(proposed: Definition, stranded: list[tuple[str, str]], unreadable: list[str]) -> Rejected:
    what = [f"{stream} is {place}" for stream, place in stranded]
    what += [f"{id} can't be read" for id in unreadable]
    stand = "1 manifest prevents" if len(what) == 1 else f"{len(what)} manifests prevent"
    return Rejected(
        f"{stand} the migration to {proposed.name!r} version {proposed.version}: "
        f"{'; '.join(what[:5])}{' and more' if len(what) > 5 else ''}.",
        "Move them to states of that version, or add the missing states to it. Nothing was changed.",
        stranded=[list(one) for one in stranded],
        unreadable=unreadable,
    )

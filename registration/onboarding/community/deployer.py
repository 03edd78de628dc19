"""Onboarding: the work of the wizard `community-onboarding`. A session at DEPLOY becomes a deployment at a target.

Each attempt of a session is its own deployment, ``<session>.<attempt>``; its id and target are recorded in the session's
log before anything is done. So a resumed session finds the same deployment at the same target, whatever target
is given then. The guarantees of a deployment are in `registration.onboarding.community.deploying.saga`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from registration.errors import InvalidArgument, Next, Rejected, WorkFailed, WorkStuck
from registration.onboarding.community.deploying.json_target import JsonTarget
from registration.onboarding.community.deploying.plans import plan_for
from registration.onboarding.community.deploying.saga import open_deployments
from registration.storage import layout
from registration.storage.disk import PosixDisk, ensure_directory, failures_named, opened_directory

if TYPE_CHECKING:
    from registration.onboarding.community.deploying.saga import Deployment, Deployments
    from registration.onboarding.community.deploying.target import Target
    from registration.onboarding.sessions.work import Work
    from registration.storage.disk import Disk

STEP = "DEPLOY"
"""The step that it works on."""

RECORD = "deployment"
"""The key in the session's records: the deployment's `id`, and its `place`."""


class CommunityDeployer:
    """Deploys the result of sessions; a `registration.onboarding.sessions.work.Worker`.

    root: the registry. place: the target's directory; None: ``communities/<name>`` in the registry. open_target: opens the
    target in a directory. actor: the actor in the deployment's log. told: called with a description of each step.

    Raises:
        InvalidArgument: when the parent directory of `place` does not exist.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        place: str | os.PathLike[str] | None = None,
        open_target: Callable[[str], Target] = JsonTarget,
        actor: str | None = None,
        told: Callable[[str], None] | None = None,
        lock_timeout_s: float = 10.0,
        disk: Disk | None = None,
    ) -> None:
        self._root = os.fspath(root)
        self._place = None if place is None else _real(os.fspath(place))
        self._open_target = open_target
        self._actor = actor
        self._told = told
        self._lock_timeout_s = lock_timeout_s
        self._disk: Disk = disk or PosixDisk()

    def do(self, work: Work) -> None:
        """See `Worker.do`.

        Raises:
            WorkFailed: when a step failed; everything was rolled back.
            WorkStuck: when something can't be rolled back now.
            Rejected: when the session deploys something else, or started at another target.
        """
        if work.document.get("kind") != "community":
            raise Rejected(
                f"{work.session} does not define a community and can't be deployed.",
                "Continue it with the program that does its work: `Sessions(…, workers=…)`.",
                session=work.session,
            )
        id, target = self._begun(work)
        deployments = self._opened()
        try:
            if deployments.get(id) is None:  # another process may have planned it
                deployments.start(id, plan_for(work.document))
            done = self._run(deployments, id, target, work.session)
        finally:
            deployments.close()
        if done.is_undone:
            raise WorkFailed(done.describe(), "Fix the failure first.", session=work.session)

    def undo(self, work: Work) -> None:
        """See `Worker.undo`. A completed deployment is rolled back, too.

        Raises:
            WorkStuck: when something can't be rolled back now.
        """
        if RECORD not in work.records:
            return
        id, target = self._begun(work)
        deployments = self._opened()
        try:
            if deployments.get(id) is not None:
                deployments.give_up(id, "its session was abandoned")
                self._run(deployments, id, target, work.session)
        finally:
            deployments.close()

    # -- inside ----------------------------------------------------------------------------------------------

    def _opened(self) -> Deployments:
        return open_deployments(
            self._root, actor=self._actor, lock_timeout_s=self._lock_timeout_s, disk=self._disk
        )

    def _run(self, deployments: Deployments, id: str, target: Target, session: str) -> Deployment:
        done = deployments.run(id, target, told=self._tell)
        if not done.has_ended:
            raise WorkStuck(
                done.describe(),
                "Fix the cause, then resume the session.",
                Next(operation="sessions.resume", id=session),
                session=session,
            )
        return done

    def _begun(self, work: Work) -> tuple[str, Target]:
        """The deployment's id, and its target; recorded first."""
        said = work.records.get(RECORD)
        if said is None:
            place = self._place or f"{layout.COMMUNITIES}/{layout.directory_of(work.document['name'])}"
            work.record(RECORD, id=f"{work.session}.{work.attempt}", place=place)
            said = work.records[RECORD]
        directory = os.path.join(os.path.realpath(self._root), said["place"])
        if self._place not in (None, directory):
            raise Rejected(
                f"{work.session} is being deployed to {directory}, but {self._place} was given.",
                "Continue without a target: it is stored in the session.",
                session=work.session,
                place=directory,
            )
        if not os.path.isabs(said["place"]):
            self._make_room()
        return said["id"], self._open_target(directory)

    def _make_room(self) -> None:
        with (
            failures_named("making", layout.COMMUNITIES),
            opened_directory(self._disk, self._root) as directory,
        ):
            ensure_directory(self._disk, layout.COMMUNITIES, dir_fd=directory)

    def _tell(self, now: Deployment) -> None:
        """A description of an event that completes a step."""
        if self._told is None:
            return
        facts, steps = now.snapshot.facts, now.plan.steps
        done = len(facts.get("ids", ()))
        if now.state == "READY":
            self._told(f"{done}/{len(steps)}  {steps[done - 1].title}")
        elif now.state == "RETURNING":
            self._told(f"rolling back: {facts['back']} of {len(steps)} steps left")


def _real(place: str) -> str:
    real = os.path.realpath(place)
    if not os.path.isdir(os.path.dirname(real)):
        raise InvalidArgument(
            f"The target {place!r} can't be created: there is no directory {os.path.dirname(real)}.",
            "Create that directory, or choose another target.",
            place=place,
        )
    return real

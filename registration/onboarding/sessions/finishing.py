"""The end of a session: its answers become a manifest, a DRAFT in the registry.

The manifest is created first, and then the session records that it is complete and names the manifest. Killed in between, the
session is where it was, and completing it again finds its own manifest: the same document returns the same result, and a
different one revises it, as long as it is a DRAFT.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from registration.errors import AlreadyExists
from registration.values.documents import check_document
from registration.values.ids import id_from_document

if TYPE_CHECKING:
    from registration.engine.publisher import StateChange
    from registration.values.documents import Document
    from registration.values.events import Event, StateSnapshot


class Manifests(Protocol):
    """The part of a registry in which sessions end; `registration.pipeline.pipeline.RegistrationPipeline` implements it."""

    @property
    def document_bytes_max(self) -> int:
        """The size of the largest document that the registry takes."""

    def create(
        self,
        manifest_id: str | None,
        document: Document,
        *,
        actor: str | None = ...,
        comment: str | None = ...,
        idempotency_key: str | None = ...,
        correlation_id: str | None = ...,
    ) -> StateSnapshot:
        """Make a new manifest."""

    def revise(
        self,
        manifest_id: str,
        document: Document,
        *,
        actor: str | None = ...,
        idempotency_key: str | None = ...,
        correlation_id: str | None = ...,
    ) -> StateChange:
        """Give a draft another document."""

    def check_actor(self, actor: str) -> None:
        """Refuse an actor whom the registry does not take."""

    def find_state(self, manifest_id: str) -> StateSnapshot | None:
        """The state of a manifest; None if there is none."""

    def history(self, manifest_id: str) -> Iterator[Event]:
        """The events of a manifest."""


def finish(registry: Manifests, session: str, actor: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Create the session's manifest with this document, unless it exists. Returns its `id`, `version` and `digest`.

    Raises:
        AlreadyExists: when another manifest has the id.
        Rejected: when the registry's rules refuse it.
    """
    checked = check_document(dict(document), size_bytes_max=registry.document_bytes_max)
    id = id_from_document(checked.value)
    key = f"{session}:{checked.digest[-16:]}"
    try:
        found = registry.create(
            id, checked, actor=actor, comment=f"by {session}", idempotency_key=key, correlation_id=session
        )
    except AlreadyExists as taken:
        first = next(registry.history(id))
        if first.correlation_id != session:
            raise _taken(taken) from None
        state = registry.find_state(id)
        assert state is not None  # its history was just read
        if state.digest != checked.digest:
            return _said(
                registry.revise(
                    id, checked, actor=actor, idempotency_key=key, correlation_id=session
                ).snapshot
            )
        found = state
    return _said(found)


def check_free(registry: Manifests, session: str, document: Mapping[str, Any]) -> None:
    """Check that the id of a session's manifest is not taken, before work is done for it.

    Raises:
        AlreadyExists: when it is taken.
        Rejected: when the document has no id, or is too large.
    """
    id = id_from_document(check_document(dict(document), size_bytes_max=registry.document_bytes_max).value)
    if registry.find_state(id) is not None and next(registry.history(id)).correlation_id != session:
        raise _taken(AlreadyExists(f"There is a manifest {id!r} already.", manifest_id=id))


def _taken(error: AlreadyExists) -> AlreadyExists:
    return AlreadyExists(
        error.problem,
        "Change the answer for its name or version: go back, then forward again.",
        **error.details,
    )


def _said(state: StateSnapshot) -> dict[str, Any]:
    return {"id": state.manifest_id, "version": state.version, "digest": state.digest}

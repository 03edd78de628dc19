"""Importing: manifests from many documents, each created once, however often the import is run.

`Importer` handles one document, `registration.pipeline.import_sources` reads them, and `registration.pipeline.many` executes the
work. The guarantees:

- a document that already exists, under its id and with its digest, is left alone; so an import that was killed is simply
  run again, and ends in the same registry as an uninterrupted one;
- another document under the same id is a separate error, and changes nothing;
- two concurrent imports do everything once: each creation and each submission has an idempotency key derived from the
  source's name, the id and the digest;
- a source speaks for no one: the importer is the actor of everything that it imports. A line that names an actor, an id or a
  submission is refused, unless the caller trusts the lines. In any case the event names importer, source and line (`data.imported`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from registration.core.interpreter import steps
from registration.errors import (
    AlreadyExists,
    IdempotencyMismatch,
    InvalidArgument,
    InvalidDocument,
    Next,
    RegistrationError,
)
from registration.values.ids import check_id, id_from_document

if TYPE_CHECKING:
    from registration.engine.registry import OpenRegistry
    from registration.engine.trial import Trial
    from registration.pipeline.many import Work
    from registration.values.documents import Document
    from registration.values.events import StateSnapshot

SUBMIT = "submit_for_review"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A document from a source, with the source's other members.

    source: the file's name, the same at every reading. line: from 1; 0 if a file contains one document. document:
    None if it is unreadable, for the reason in `problem`. submit: None if the source does not set it.
    """

    source: str
    line: int = 0
    document: Document | None = None
    manifest_id: str | None = None
    actor: str | None = None
    comment: str | None = None
    submit: bool | None = None
    problem: RegistrationError | None = None

    @property
    def place(self) -> str:
        """Its position, for people."""
        return place_of(self.source, self.line)

    @property
    def named(self) -> tuple[str, ...]:
        """What the source names besides document and comment: some of `id`, `actor` and `submit`. It counts only if lines are trusted."""
        given = {"id": self.manifest_id, "actor": self.actor, "submit": self.submit}
        return tuple(name for name, value in given.items() if value is not None)


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of importing a document, actual or planned.

    outcome: `created`, or `unchanged` if it existed. submitted: whether it was submitted for review now. problem: the reason
    that it was not, although it should have been. state: the manifest's state.
    """

    outcome: Literal["created", "unchanged"]
    submitted: bool
    state: StateSnapshot
    problem: RegistrationError | None = None


class Importer:
    """The work of an import into one registry. Its default actor is the importer.

    submit: submit imported manifests for review. trust_lines: lines may name the actor, the id and whether to submit; otherwise a line
    that does is refused. trial: only decide everything, in this trial.

    Raises:
        InvalidArgument: when the lifecycle has no `create`, or something is to be submitted and it has no
            `submit_for_review`.
    """

    def __init__(
        self,
        registry: OpenRegistry,
        *,
        submit: bool = False,
        trust_lines: bool = False,
        trial: Trial | None = None,
    ) -> None:
        chart = registry.definition.chart
        first = steps(chart, None).get("create")
        if first is None:
            raise InvalidArgument(
                f"The lifecycle {chart.name!r} has no action `create`, so nothing can be imported.",
                "See what it has.",
                Next(operation="lifecycle.show"),
            )
        self._registry = registry
        self._submit = submit
        self._trust_lines = trust_lines
        self._trial = trial
        self._drafted = first.place
        if submit:
            self._check_submitting()

    def prepare(self, offer: Offer) -> Work[Imported]:
        """The manifest id of a document, and the work for it; for `registration.pipeline.many.carry_out`.

        Raises:
            RegistrationError: when it can't be read, has no id, or names what only trusted lines may name.
        """
        if offer.problem is not None or offer.document is None:
            raise offer.problem or InvalidArgument(f"{offer.place} holds no document.", "")
        if not self._trust_lines and offer.named:
            raise _not_trusted(offer)
        id = check_id(_own_id(offer) if offer.manifest_id is None else offer.manifest_id)
        if offer.submit:
            self._check_submitting()
        return id, partial(self._import, id, offer, offer.document)

    def _import(self, id: str, offer: Offer, document: Document) -> Imported:
        source = well_formed(offer.source)
        found, key = self._find(id), _key(source, id, document.digest)
        origin = {"by": self._registry.acting(None), "source": source, "line": offer.line}
        outcome: Literal["created", "unchanged"] = "unchanged"
        if found is None:
            try:
                words = {"actor": offer.actor, "comment": offer.comment, "idempotency_key": key}
                result = self._registry.carry_out(
                    id, words, trial=self._trial, action="create", document=document, imported=origin
                )
            except (AlreadyExists, IdempotencyMismatch):  # another import was faster
                found = self._find(id)
            else:
                found = result.state
                outcome = "unchanged" if result.replayed else "created"
        state = _same(id, found, document)
        if not self._to_submit(offer, state):
            return Imported(outcome, submitted=False, state=state)
        try:
            words = {
                "actor": offer.actor,
                "expected_digest": document.digest,
                "idempotency_key": key + ":submit",
            }
            handed_in = self._registry.carry_out(id, words, trial=self._trial, action=SUBMIT, imported=origin)
        except IdempotencyMismatch:  # this import submitted it, as another actor, and it was rejected
            return Imported(outcome, submitted=False, state=state)
        except RegistrationError as problem:
            return Imported(outcome, submitted=False, state=state, problem=problem)
        if handed_in.replayed:  # this import submitted it, and it was rejected
            return Imported(outcome, submitted=False, state=state)
        return Imported(outcome, submitted=True, state=handed_in.state)

    def _find(self, id: str) -> StateSnapshot | None:
        return (self._trial or self._registry.store).load(id)

    def _to_submit(self, offer: Offer, state: StateSnapshot) -> bool:
        wanted = self._submit if offer.submit is None else offer.submit
        return wanted and state.state == self._drafted

    def _check_submitting(self) -> None:
        chart = self._registry.definition.chart
        if SUBMIT not in steps(chart, self._drafted):
            raise InvalidArgument(
                f"The lifecycle {chart.name!r} has no `{SUBMIT}` from {self._drafted}.",
                "Import without submitting.",
            )


def well_formed(name: str) -> str:
    """The name of a file as text that can be stored and printed: names need not be UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def place_of(source: str, line: int = 0) -> str:
    """A position in a source, for people."""
    name = "standard input" if source == "-" else source
    return f"{name}, line {line}" if line else name


def _not_trusted(offer: Offer) -> InvalidArgument:
    return InvalidArgument(
        f"{offer.place} names {_listed(offer.named)}, and its source is not trusted.",
        "Nothing was imported from it. Remove what it names, or trust the lines of this source.",
        Next(operation="import", given={"trust_lines": True}, missing=("source",)),
        source=offer.source,
        line=offer.line,
        named=list(offer.named),
    )


def _listed(names: tuple[str, ...]) -> str:
    quoted = [f"`{name}`" for name in names]
    return " and ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))


def _own_id(offer: Offer) -> str:
    assert offer.document is not None
    try:
        return id_from_document(offer.document.value)
    except InvalidDocument as error:
        raise InvalidDocument(
            f"Without an id, {offer.place}",
            error.details["problems"],
            'Add a name, or an id on a line of a .jsonl file: {"id": "…", "document": {…}}.',
        ) from None


def _key(source: str, id: str, digest: str) -> str:
    """An idempotency key: the same for the same document from the same source."""
    return "import:" + hashlib.sha256(f"{source}\0{id}\0{digest}".encode()).hexdigest()[:32]


def _same(id: str, found: StateSnapshot | None, document: Document) -> StateSnapshot:
    if found is None or found.digest != document.digest:
        raise _different(id, found.digest if found is not None else None, document.digest)
    return found


def _different(id: str, found: str | None, offered: str) -> AlreadyExists:
    return AlreadyExists(
        f"{id!r} exists with another document: {found or 'none'}, not {offered}.",
        "Nothing was changed. Choose another id for this one, or revise the existing one.",
        Next(operation="act", action="revise", id=id, missing=("document",)),
        manifest_id=id,
        found=found,
        offered=offered,
    )

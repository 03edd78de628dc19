"""Contention: many writers on one manifest, in threads and in processes, and what the log says of them afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from measuring import Samples, at_once
from processes import run_workers
from subject import DOCUMENT, open_subject
from worker import revise

from registration.errors import RegistrationError

if TYPE_CHECKING:
    from registration.pipeline.pipeline import RegistrationPipeline


@dataclass(frozen=True, slots=True)
class Contention:
    """What became of many writers on one manifest.

    writes: acknowledged. refused: given up, after all attempts. attempts: how many writes took one, two, …. within_3: the share of
    writes that took three at most. lost: acknowledged, and not in the log at their version. unclaimed: in the log, and
    acknowledged to nobody. Times are in seconds.
    """

    writers: str
    mode: str
    writes: int
    refused: int
    attempts: dict[int, int]
    within_3: float
    lost: int
    unclaimed: int
    median_s: float
    p99_s: float
    slowest_s: float
    per_s: float

    def as_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return {name: getattr(self, name) for name in self.__slots__} | {
            "attempts": {str(count): writes for count, writes in self.attempts.items()}
        }


def contend_in_threads(root: str, mode: str, *, writers: int, times: int) -> Contention:
    """So many threads of this process, each with so many revisions of one manifest."""
    answers: list[dict[str, Any]] = []
    refused: list[RegistrationError] = []
    with open_subject(root, mode) as pipeline:
        pipeline.create("shared", DOCUMENT)

        def writer(name: str) -> Callable[[], None]:
            numbers = count()

            def write() -> None:
                try:
                    answers.append(revise(pipeline, next(numbers), name))
                except RegistrationError as error:
                    refused.append(error)

            return write

        at_once([writer(f"w{number}") for number in range(writers)], times=times)
        return _judged(pipeline, f"{writers} threads", mode, answers, len(refused))


def contend_in_processes(root: str, mode: str, *, writers: int, times: int) -> Contention:
    """The same with processes."""
    with open_subject(root, mode) as pipeline:
        pipeline.create("shared", DOCUMENT)
        told = run_workers([(root, mode, "shared", f"w{number}", str(times)) for number in range(writers)])
        answers = [answer for one in told for answer in one["done"]]
        return _judged(pipeline, f"{writers} processes", mode, answers, writers * times - len(answers))


def _judged(
    pipeline: RegistrationPipeline, writers: str, mode: str, answers: list[dict[str, Any]], refused: int
) -> Contention:
    """Compare what was acknowledged with what the log holds."""
    logged = {event.version: event.id for event in pipeline.history("shared") if event.version > 1}
    told = {answer["version"]: answer["event"] for answer in answers}
    lost = sum(logged.get(answer["version"]) != answer["event"] for answer in answers)
    attempts = Counter(answer["attempts"] for answer in answers)
    took = Samples(tuple(answer["took_s"] for answer in answers))
    ended = max(answer["ended_s"] for answer in answers)
    began = min(answer["ended_s"] - answer["took_s"] for answer in answers)
    return Contention(
        writers, mode, len(answers), refused,
        attempts=dict(sorted(attempts.items())),
        within_3=sum(writes for count, writes in attempts.items() if count <= 3) / len(answers),
        lost=lost,
        unclaimed=sum(told.get(version) != id for version, id in logged.items()),
        median_s=took.median,
        p99_s=took.percentile(99),
        slowest_s=max(took.seconds),
        per_s=len(answers) / (ended - began),
    )  # fmt: skip

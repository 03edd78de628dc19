"""`hooks.toml`: the hooks of a registry, in the directory of `registry.json`; written by people.

::

    [[hooks]]
    name = "search-index"
    command = ["./hooks/index.py", "--quiet"]        # no shell; the event on stdin; exit code 0 means success
    states = ["REGISTERED"]                          # only events that lead there; a parent state includes its children

    [[hooks]]
    name = "ci"
    url = "https://ci.example.com/hooks/registration"
    secrets = ["env:CI_HOOK_SECRET", "file:hooks/ci.secret"]     # during a rotation, the new one first
    actions = ["approve", "register"]
    types = ["registration.*"]                       # of the event, `*` and `?` as in file names

Parsed once at the edge; every problem is reported with its position in the file.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from registration.errors import InvalidArgument, InvalidHooks, NotFound, StoreError
from registration.feed.consumers import check_name
from registration.storage import layout
from registration.values.times import RetryPolicy

if TYPE_CHECKING:
    from registration.core.chart import Chart
    from registration.storage.ledger import Ledger
    from registration.storage.reports import FeedEntry

TIMEOUT_S = 20.0
TIMEOUT_S_MAX = 3_600
ATTEMPTS_MAX = 100
WAIT_S_MAX = 7 * 86_400
DELIVERING = RetryPolicy(attempts_max=12, base_s=5.0, cap_s=3_600.0)
"""The number of attempts before an event becomes a dead letter, and the waits in between: two to three hours in total."""

_MEMBERS = frozenset(
    {
        "name", "command", "url", "secrets", "states", "actions", "types", "areas", "timeout_s", "allow_private",
        "ca_file", "attempts_max", "wait_s", "wait_s_max", "start",
    }
)  # fmt: skip
_OF_A_URL = ("secrets", "allow_private", "ca_file")


USUAL_AREAS = (layout.MANIFESTS, layout.ALIASES)


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook: a command or an HTTP endpoint, and the events that it receives.

    states, actions, types: empty for all. areas: the areas whose events it receives; sessions contain personal answers, and
    deployments have many small steps, so both must be named explicitly. timeout_s: for one attempt as a whole. start: where a
    new hook begins, `now` or `start`. allow_private: whether the endpoint may be in a private network, and use plain HTTP there.
    secrets: ``env:NAME`` or ``file:PATH``; the event is signed with each. ca_file: trusted instead of the system's CAs.
    """

    name: str
    command: tuple[str, ...] = ()
    url: str = ""
    secrets: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    areas: tuple[str, ...] = USUAL_AREAS
    timeout_s: float = TIMEOUT_S
    allow_private: bool = False
    ca_file: str | None = None
    retry: RetryPolicy = DELIVERING
    start: str = "now"

    @property
    def consumer(self) -> str:
        """The name of its consumer."""
        return f"hook:{self.name}"

    def wants(self, entry: FeedEntry, chart: Chart) -> bool:
        """Whether it receives an event."""
        event = entry.event
        return (
            entry.area in self.areas
            and (not self.actions or event.action in self.actions)
            and (not self.types or any(fnmatchcase(event.type, pattern) for pattern in self.types))
            and (not self.states or not chart.active(event.to_state).isdisjoint(self.states))
        )


def read_hooks(store: Ledger, root: str | None, chart: Chart) -> tuple[Hook, ...]:
    """The hooks of a registry.

    root: the directory of its `hooks.toml`; None: it is a record of that name, as in a registry in memory.

    Raises:
        NotFound: when there is no such file, or no such record.
        InvalidHooks: when it is invalid; every problem is listed.
        StoreError: when it can't be read.
    """
    path = layout.HOOKS_FILE if root is None else os.path.join(root, layout.HOOKS_FILE)
    try:
        raw = store.records.read((layout.HOOKS_FILE,)) if root is None else _bytes_of(path)
    except OSError as error:
        raise StoreError(
            f"{path} can't be read: {error.strerror}.", "Check who owns it.", path=path
        ) from None
    if raw is None:
        raise NotFound(f"There is no {path}.", "Create one: README.md has an example.", path=path)
    try:
        data = tomllib.loads(raw.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidHooks(path, [f"it is not TOML: {error}"]) from None
    return parse_hooks(data, source=path, chart=chart)


def _bytes_of(path: str) -> bytes | None:
    """A file's bytes; None if it is missing. Users write this file, so a link is followed."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def parse_hooks(data: Mapping[str, Any], *, source: str, chart: Chart) -> tuple[Hook, ...]:
    """The hooks in a file.

    Raises:
        InvalidHooks: as `read_hooks`.
    """
    problems = [f"{name}: unknown member; expected `[[hooks]]`" for name in sorted(set(data) - {"hooks"})]
    listed = data.get("hooks", [])
    if type(listed) is not list or not all(type(one) is dict for one in listed):
        raise InvalidHooks(source, ["hooks: expected a list of tables: `[[hooks]]`"])
    hooks = []
    for number, members in enumerate(listed):
        parser = _Parser(members, f"hooks[{number}]", chart)
        hooks.append(parser.hook())
        problems += parser.problems
    names = [hook.name for hook in hooks if hook is not None]
    problems += [
        f"hooks: duplicate name {name!r}" for name in sorted({n for n in names if names.count(n) > 1})
    ]
    if problems:
        raise InvalidHooks(source, problems)
    return tuple(hook for hook in hooks if hook is not None)


class _Parser:
    """One hook's members, and their problems."""

    def __init__(self, members: Mapping[str, Any], place: str, chart: Chart) -> None:
        self.problems: list[str] = []
        self._members = members
        self._place = place
        self._chart = chart

    def hook(self) -> Hook | None:
        """The hook; None if it is invalid."""
        for name in sorted(set(self._members) - _MEMBERS):
            self._problem(name, "unknown member")
        hook = Hook(
            name=self._name(),
            command=self._command(),
            url=self._text("url", ""),
            secrets=self._texts("secrets", "`env:NAME` or `file:PATH`", _is_secret),
            states=self._texts("states", "a state of the lifecycle", self._chart.has_state),
            actions=self._texts("actions", "an action of the lifecycle", self._has_action),
            types=self._texts("types", "an event's type", bool),
            areas=self._texts("areas", f"one of {', '.join(layout.LOG_AREAS)}", layout.LOG_AREAS.__contains__)
            or USUAL_AREAS,
            timeout_s=self._number("timeout_s", TIMEOUT_S, TIMEOUT_S_MAX),
            allow_private=self._flag("allow_private"),
            ca_file=self._text("ca_file", None),
            retry=self._retry(),
            start=self._start(),
        )
        self._check_kind(hook)
        return None if self.problems else hook

    def _problem(self, member: str, what: str) -> None:
        self.problems.append(f"{self._place}.{member}: {what}")

    def _name(self) -> str:
        name = self._members.get("name")
        try:
            return check_name(name)
        except InvalidArgument:
            said = (
                "it is missing" if name is None else f"{name!r} is not a name of letters, digits and `._~@+-`"
            )
            self._problem("name", said)
            return ""

    def _command(self) -> tuple[str, ...]:
        value = self._members.get("command", [])
        if type(value) is not list or not all(type(word) is str and "\0" not in word for word in value):
            self._problem(
                "command", 'expected a list of words, such as ["./index.py", "--quiet"]: there is no shell'
            )
            return ()
        if "command" in self._members and not (value and value[0]):
            self._problem("command", "it is empty")
        return tuple(value)

    def _check_kind(self, hook: Hook) -> None:
        has_url = "url" in self._members
        if ("command" in self._members) is has_url:
            self.problems.append(f"{self._place}: expected either `command` or `url`")
        if not has_url:
            for member in _OF_A_URL:
                if member in self._members:
                    self._problem(member, "only hooks with a `url` have it")
            return
        for problem in url_problems(hook.url, allow_private=hook.allow_private):
            self._problem("url", problem)
        if not hook.secrets:
            self._problem(
                "secrets", "expected at least one, such as `env:CI_HOOK_SECRET`: every request is signed"
            )

    def _has_action(self, name: str) -> bool:
        return any(action.name == name for action in self._chart.actions)

    def _text(self, member: str, default: Any) -> Any:
        value = self._members.get(member, default)
        if value is not default and (type(value) is not str or not value):
            self._problem(member, "expected text")
            return default
        return value

    def _texts(self, member: str, what: str, is_one: Callable[[str], object]) -> tuple[str, ...]:
        value = self._members.get(member, [])
        if type(value) is not list:
            self._problem(member, "expected a list of texts")
            return ()
        for one in value:
            if type(one) is not str or not is_one(one):
                self._problem(member, f"{one!r} is not {what}")
        return tuple(one for one in value if type(one) is str)

    def _flag(self, member: str) -> bool:
        value = self._members.get(member, False)
        if type(value) is not bool:
            self._problem(member, "expected true or false")
        return value is True

    def _number(self, member: str, default: float, most: float, *, whole: bool = False) -> Any:
        value = self._members.get(member, default)
        if type(value) not in ((int,) if whole else (int, float)) or not 0 < value <= most:
            self._problem(
                member, f"expected {'an integer' if whole else 'a number'} above 0 and at most {most:,}"
            )
            return default
        return value

    def _retry(self) -> RetryPolicy:
        return RetryPolicy(
            attempts_max=self._number("attempts_max", DELIVERING.attempts_max, ATTEMPTS_MAX, whole=True),
            base_s=self._number("wait_s", DELIVERING.base_s, WAIT_S_MAX),
            cap_s=self._number("wait_s_max", DELIVERING.cap_s, WAIT_S_MAX),
        )

    def _start(self) -> str:
        value = self._members.get("start", "now")
        if value not in ("now", "start"):
            self._problem("start", "expected `now` or `start`")
            return "now"
        return str(value)


def url_problems(url: str, *, allow_private: bool) -> list[str]:
    """The problems of an endpoint's URL, as far as they show without a lookup."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return [
            "it has characters that are invalid in a URL; write international names in ASCII form (xn--…)"
        ]
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        return [f"invalid URL: {error}"]
    problems = []
    if parts.scheme not in ("https", "http") or not host:
        problems.append("expected an https URL")
    elif parts.scheme == "http" and not allow_private:
        problems.append("expected https; plain http requires `allow_private = true`")
    if parts.username is not None or parts.password is not None:
        problems.append("it contains a user name or password; requests are signed instead")
    if parts.fragment:
        problems.append("it has a fragment")
    if port == 0:
        problems.append("0 is not a valid port")
    return problems


def _is_secret(text: str) -> bool:
    kind, _, where = text.partition(":")
    return kind in ("env", "file") and bool(where)

"""Asking at a terminal: an answer by the shape of its form, field by field, each validated as soon as it is given.

At every question: ``?`` explains, ``<`` goes back a step, ``-`` skips an optional field, Enter accepts the value in
brackets. A text that is one of these, or empty, is typed in quotation marks: ``"-"``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import click
import orjson

from registration.cli.output import printable
from registration.onboarding.wizards.shapes import Shape, item_names, summary_of
from registration.onboarding.wizards.wizard import Option, Problem
from registration.values.pointers import ABSENT, pointer

Check = Callable[[dict[str, Any]], list[Problem]]
"""From a possibly incomplete answer to all its problems."""

Keep = Callable[[dict[str, Any]], None]
"""Store the answer so far."""

Path = tuple[str | int, ...]

Whole = Callable[[Any], dict[str, Any]]
"""From a value of the current field to the whole answer that contains it."""

HELP = "? explains, < goes back a step, - skips a field, Enter accepts the value in brackets, Ctrl-C leaves and keeps everything."


class WentBack(Exception):  # not an error: the user typed <
    """The user wants to go back a step."""


class Asker:
    """Asks for one answer. check: returns the problems so far. keep: called with the answer after each field."""

    def __init__(self, check: Check, keep: Keep) -> None:
        self._check = check
        self._keep = keep
        self._answer: dict[str, Any] = {}
        self._known: Mapping[str, Any] = {}
        self._kept: dict[str, Any] = {}

    def ask(
        self, shape: Shape, known: Mapping[str, Any], only: frozenset[str] | None = None
    ) -> dict[str, Any]:
        """A whole answer. known: the suggestions. only: ask no other fields, and keep their known values.

        Raises:
            WentBack: when the user typed ``<``.
            click.Abort: when the user typed Ctrl-C, or the input ends.
        """
        self._answer, self._known, self._kept = {}, known, dict(known)
        for name, member in (shape.members or {}).items():
            if only is not None and name not in only:
                if name in known:
                    self._answer[name] = known[name]
                continue
            value = self._value(
                member, (name,), known.get(name, ABSENT), partial(_within, _as_it_is, self._answer, name)
            )
            if value is not ABSENT:
                self._answer[name] = value
                self._keep_more(self._answer)
        return self._answer

    def _keep_more(self, answer: Mapping[str, Any]) -> None:
        """Store the answer so far, with known values for the rest."""
        so_far = deepcopy({**self._known, **answer})  # its contents keep changing
        if so_far != self._kept:
            self._keep(so_far)
            self._kept = so_far

    # -- one value -----------------------------------------------------------------------------------------

    def _value(self, shape: Shape, path: Path, known: Any, whole: Whole) -> Any:
        """Ask until the value has no problem, as far as that can be checked yet."""
        if shape.kind == "fixed":
            return shape.value
        while True:
            value = self._said(shape, path, known, whole)
            problems = self._problems(path, value, whole)
            if not problems:
                return value
            for problem in problems:
                tell(problem)
            known = known if shape.kind in _SINGLE else value

    def _said(self, shape: Shape, path: Path, known: Any, whole: Whole) -> Any:
        if shape.kind == "fixed":
            return shape.value
        ways = {"table": self._table, "object": self._object, "variants": self._variant, "list": self._items}
        way = ways.get(shape.kind, self._one)
        if shape.kind == "list" and shape.item is not None and shape.item.kind in _SINGLE:
            way = self._words
        return way(shape, path, known, whole)

    def _one(self, shape: Shape, path: Path, known: Any, _: Whole) -> Any:
        """A single value: text, a number, yes or no, a choice, or JSON."""
        default = known if known is not ABSENT else shape.default
        if shape.kind == "choice":
            show_options(shape.options)
        while True:
            typed = prompt(label(shape, path), shown(default), shape)
            if typed == "":
                if default is not ABSENT:
                    return default
                if not shape.required:
                    return ABSENT
                tell(Problem("", "a value is required; ? explains"))
            elif typed == "-" and not shape.required:
                return ABSENT
            else:
                value = read(shape, typed)
                if value is not ABSENT:
                    return value
                tell(Problem("", f"{typed!r} is not {_WANTED[shape.kind]}"))

    def _words(self, shape: Shape, path: Path, known: Any, _: Whole) -> Any:
        """A list of single values, on one line, with commas between them."""
        assert shape.item is not None
        default = known if known is not ABSENT else shape.default
        if shape.item.options:
            show_options(shape.item.options)
        while True:
            typed = prompt(f"{label(shape, path)} (separate several with commas)", shown(default), shape)
            if typed == "":
                if default is not ABSENT:
                    return default
                if not shape.required or not shape.at_least:
                    return [] if shape.required else ABSENT
                tell(Problem("", f"at least {shape.at_least} is required; ? explains"))
                continue
            if typed == "-":
                return [] if shape.required else ABSENT
            said = [(word, read(shape.item, word)) for word in map(str.strip, typed.split(",")) if word]
            wrong = [word for word, value in said if value is ABSENT]
            if not wrong:
                return [value for _, value in said]
            for word in wrong:
                tell(Problem("", f"{word!r} is not {_WANTED[shape.item.kind]}"))

    def _items(self, shape: Shape, path: Path, known: Any, whole: Whole) -> Any:
        """A list of objects: one after the other, or edited one by one if there are some."""
        items: list[Any] = list(known) if isinstance(known, list) else []
        item = partial(self._item, shape, path, whole, items)
        click.secho(f"{label(shape, path)}:", bold=True)
        if (
            not items
            and not shape.at_least
            and not confirm(f"Add {singular(shape.name)}?", shape, default=shape.required)
        ):
            return [] if shape.required else ABSENT
        for index, one in enumerate(items):
            if self._problems((*path, index), one, partial(_instead, whole, items, index)):
                click.echo(f"  {index + 1}  {printable(item_names([one])[0])}")
                items[index] = item(index, one)  # incomplete, or no longer valid
        if not items:
            items.append(item(0))
        while self._changed(items, item, shape):
            self._keep_more(whole(items))
        return items

    def _item(
        self, shape: Shape, path: Path, whole: Whole, items: list[Any], index: int, known: Any = ABSENT
    ) -> Any:
        """One of a list."""
        assert shape.item is not None
        one = self._value(shape.item, (*path, index), known, partial(_instead, whole, items, index))
        self._keep_more(_instead(whole, items, index, one))
        return one

    def _changed(self, items: list[Any], item: Callable[..., Any], shape: Shape) -> bool:
        """Show a list, and let the user edit it once; returns whether to continue."""
        for number, one in enumerate(item_names(items), 1):
            click.echo(f"  {number}  {printable(one)}")
        said = prompt("add, change N, remove N, or done", "done", shape)
        word, _, rest = said.partition(" ")
        index = int(rest) - 1 if rest.isascii() and rest.isdecimal() else -1
        if word in ("", "done", "no", "n"):
            return False
        if word == "add":
            items.append(item(len(items)))
        elif word == "change" and 0 <= index < len(items):
            items[index] = item(index, items[index])
        elif word == "remove" and 0 <= index < len(items):
            del items[index]
        else:
            tell(Problem("", "type `add`, `change 1`, `remove 1` or `done`"))
        return True

    def _table(self, shape: Shape, path: Path, known: Any, whole: Whole) -> Any:
        """An object with names of the user's choice, until an empty one is given."""
        assert shape.item is not None
        entries: dict[str, Any] = dict(known) if isinstance(known, Mapping) else {}
        click.secho(f"{label(shape, path)}:", bold=True)
        while True:
            for name, one in entries.items():
                click.echo(f"  {printable(name)}: {printable(summary_of(one))}")
            name = prompt("a name to add or change; -NAME removes it, Enter finishes", "", shape)
            if name == "":
                return entries if entries or shape.required else ABSENT
            if name.startswith("-"):
                entries.pop(name[1:], None)
            else:
                entries[name] = self._value(
                    shape.item,
                    (*path, name),
                    entries.get(name, ABSENT),
                    partial(_within, whole, entries, name),
                )
            self._keep_more(whole(entries))

    def _object(self, shape: Shape, path: Path, known: Any, whole: Whole) -> Any:
        there = isinstance(known, Mapping)
        if not shape.required and not confirm(f"{label(shape, path)}: fill it in?", shape, default=there):
            return ABSENT
        found: dict[str, Any] = {}
        for name, member in (shape.members or {}).items():
            value = self._value(
                member,
                (*path, name),
                known.get(name, ABSENT) if there else ABSENT,
                partial(_within, whole, found, name),
            )
            if value is not ABSENT:
                found[name] = value
            if value is not ABSENT and member.kind != "fixed":
                self._keep_more(whole({**(known if there else {}), **found}))
        return found

    def _variant(self, shape: Shape, path: Path, known: Any, whole: Whole) -> Any:
        names = [one.name or one.kind for one in shape.variants]
        click.echo(f"{label(shape, path)}, one of:")
        for number, name in enumerate(names, 1):
            click.echo(f"  {number}  {printable(name)}")
        default = next(
            (name for name, one in zip(names, shape.variants, strict=True) if fits(one, known)), ""
        )
        while True:
            typed = prompt("which", default, shape) or default
            if typed == "-" and not shape.required:
                return ABSENT
            index = int(typed) - 1 if typed.isascii() and typed.isdecimal() else -1
            if typed in names:
                index = names.index(typed)
            if 0 <= index < len(names):
                chosen = shape.variants[index]
                return self._said(chosen, path, known if fits(chosen, known) else ABSENT, whole)
            tell(Problem("", f"type a number from 1 to {len(names)}"))

    def _problems(self, path: Path, value: Any, whole: Whole) -> list[Problem]:
        """The problems of this field, and below it, with this value."""
        if value is ABSENT:
            return []
        at = pointer(path)
        return [one for one in self._check(whole(value)) if one.at == at or one.at.startswith(f"{at}/")]


def _within(whole: Whole, members: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    """The whole answer with a member of an object replaced."""
    return whole({**members, name: value})


def _instead(whole: Whole, items: Sequence[Any], index: int, one: Any) -> dict[str, Any]:
    """The whole answer with an item of a list replaced."""
    return whole([*items[:index], one, *items[index + 1 :]])


def _as_it_is(value: Any) -> dict[str, Any]:
    """The whole answer is the value itself."""
    found: dict[str, Any] = value
    return found


_YES_OR_NO = {"y": True, "yes": True, "true": True, "n": False, "no": False, "false": False}
_SINGLE = ("text", "integer", "number", "choice")
_WANTED = {
    "integer": "a whole number", "number": "a number", "boolean": "yes or no", "choice": "one of the choices", "json": "JSON",
    "text": "text",
}  # fmt: skip


def read(shape: Shape, typed: str) -> Any:
    """The typed text as a value of that shape; `ABSENT` if it is invalid."""
    if shape.kind == "choice":
        return chosen(shape.options, typed)
    if shape.kind == "boolean":
        return _YES_OR_NO.get(typed.lower(), ABSENT)
    value = _json(typed)
    if shape.kind == "text":
        return value if typed[:1] == '"' and isinstance(value, str) else typed
    kinds = {"integer": (int,), "number": (int, float)}.get(shape.kind)
    return value if kinds is None or type(value) in kinds else ABSENT


def chosen(options: Sequence[Option], typed: str) -> Any:
    """The chosen option, by its number, its value or its title."""
    for one in options:
        if typed == str(one.value):
            return one.value
    for number, one in enumerate(options, 1):
        if typed == str(number) or (one.title and typed.casefold() == one.title.casefold()):
            return one.value
    return ABSENT


def fits(shape: Shape, value: Any) -> bool:
    """Whether a value may belong to that variant."""
    if not isinstance(value, Mapping):
        return shape.kind not in ("object", "table", "list") and value is not ABSENT
    fixed = {name: one.value for name, one in (shape.members or {}).items() if one.kind == "fixed"}
    return shape.kind == "object" and all(value.get(name) == one for name, one in fixed.items())


def prompt(text: str, default: str, shape: Shape) -> str:
    """The typed text; ``?`` is answered here.

    Raises:
        WentBack: for ``<``.
    """
    while True:
        shown_default = f" [{printable(default)}]" if default else ""
        typed = click.prompt(f"{text}{shown_default}", default="", show_default=False, prompt_suffix=": ")
        typed = str(typed).strip()
        if typed == "<":
            raise WentBack
        if typed != "?":
            return typed
        click.echo(f"  {printable(shape.help or _asked_for(shape))}")
        for one in shape.options or (shape.item.options if shape.item else ()):
            if one.help:
                click.echo(f"  {printable(str(one.value))}: {printable(one.help)}")
        click.secho(f"  {HELP}", dim=True)


def _asked_for(shape: Shape) -> str:
    """The help of a field without one."""
    named = {
        "list": "several values, one after the other",
        "table": "names of your choice, each with a value",
    }
    what = named.get(shape.kind) or _WANTED.get(shape.kind) or "one of the choices above, by number or name"
    return f"Expected: {what}."


def confirm(text: str, shape: Shape, *, default: bool) -> bool:
    """Yes or no. Raises: as `prompt`."""
    while True:
        typed = prompt(f"{text} (yes or no)", "yes" if default else "no", shape).lower()
        if typed in _YES_OR_NO or typed == "":
            return _YES_OR_NO.get(typed, default)
        tell(Problem("", "type yes or no"))


def label(shape: Shape, path: tuple[str | int, ...]) -> str:
    """The label of a field: its name, and in a list the number before it."""
    words = [f"{step + 1}." if isinstance(step, int) else step.replace("_", " ") for step in path]
    needed = "" if shape.required or shape.default not in (ABSENT, None) else " (optional)"
    return printable(" ".join(words)) + needed


def singular(name: str) -> str:
    """The name of one item."""
    word = name.replace("_", " ")
    return f"one of the {printable(word)}" if word else "one"


def show_options(options: Sequence[Option]) -> None:
    """A numbered list."""
    for number, one in enumerate(options, 1):
        title = f"  {one.title}" if one.title and one.title != str(one.value) else ""
        click.echo(f"  {number}  {printable(str(one.value))}{printable(title)}")


def shown(value: Any) -> str:
    """A value as a default in brackets."""
    if value is ABSENT or value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def tell(problem: Problem) -> None:
    """Print a problem on stderr."""
    click.secho(f"  ! {printable(str(problem))}", fg="red", err=True)


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return ABSENT

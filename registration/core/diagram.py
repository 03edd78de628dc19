"""Diagrams of a chart as text: Mermaid (stateDiagram-v2) and DOT (Graphviz). No binary is needed.

The regions of a parallel state are drawn side by side; DOT gives them dashed lines, as UML does. A history state is an
``[H]``, with an arrow to its initial state. A time-out is an arrow ``after 14d``, and a `done` transition an arrow
``done``. Titles may contain any text: they are escaped, and can't end their label.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from registration.core.interpreter import entered

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from registration.core.chart import Chart, State


def mermaid(chart: Chart) -> str:
    """The chart for Mermaid, as GitHub, GitLab and most wikis draw it. Ends in a line feed."""
    ids = {state.name: _mermaid_id(number, state.name) for number, state in enumerate(chart.states)}
    lines = ["stateDiagram-v2"]
    for state in _held(chart, None):
        lines += _mermaid_state(chart, state, ids, "    ")
    for source, target, label in _edges(chart):
        told = f" : {label}" if label else ""
        lines.append(f"    {'[*]' if source is None else ids[source]} --> {ids[target]}{told}")
    lines += [f"    {ids[state.name]} --> [*]" for state in _held(chart, None) if state.final]
    return "\n".join(lines) + "\n"


def dot(chart: Chart) -> str:
    """The chart for Graphviz: `dot -Tsvg` draws it. Ends in a line feed."""
    lines = [f"digraph {_quoted(chart.name)} {{", "  compound=true;"]
    if chart.title:
        lines.append(f"  label={_quoted(chart.title)};")
    lines += ["  node [shape=box, style=rounded];", '  "" [shape=point];']
    for state in _held(chart, None):
        lines += _dot_state(chart, state, "  ")
    lines += [_dot_edge(chart, *edge) for edge in _edges(chart)]
    return "\n".join([*lines, "}"]) + "\n"


def _edges(chart: Chart) -> Iterator[tuple[str | None, str, str]]:
    """Every arrow: source (None: creation), target and label."""
    for move in chart.transitions:
        yield move.source, move.target, move.action
    for timeout in chart.timeouts:
        yield timeout.state, timeout.target, f"after {timeout.after}"
    for state in chart.states:
        if state.done is not None:
            yield state.name, state.done, "done"
        if state.history and state.initial is not None:
            yield state.name, state.initial, ""


def _held(chart: Chart, parent: str | None) -> list[State]:
    """The children of a state, including history states."""
    return [state for state in chart.states if state.parent == parent]


# -- Mermaid ---------------------------------------------------------------------------------------------

_MERMAID_ID = re.compile(r"(?!.*_(start|end)$)[A-Za-z][A-Za-z0-9_]*")
_MERMAID_WORDS = {
    "as", "acctitle", "accdescr", "choice", "class", "classdef", "click", "default", "direction", "end", "fork",
    "hide", "join", "note", "root", "scale", "state", "statediagram", "style",
}  # fmt: skip


def _mermaid_id(number: int, name: str) -> str:
    """The name if it is a valid Mermaid identifier, otherwise one that no state can have."""
    if _MERMAID_ID.fullmatch(name) and name.lower() not in _MERMAID_WORDS:
        return name
    return f"_{number}_{name.replace('-', '_')}_"


def _mermaid_state(chart: Chart, state: State, ids: Mapping[str, str], indent: str) -> Iterator[str]:
    id, inside = ids[state.name], _held(chart, state.name)
    title = "[H]" if state.history else state.title or (state.name if state.name != id else "")
    if title:
        yield f'{indent}state "{_mermaid_text(title)}" as {id}'
    elif not inside:
        yield f"{indent}{id}"
    if not inside:
        return
    yield f"{indent}state {id} {{"
    if state.initial is not None:
        yield f"{indent}    [*] --> {ids[state.initial]}"
    for number, child in enumerate(inside):
        if state.parallel and number:
            yield f"{indent}    --"
        yield from _mermaid_state(chart, child, ids, indent + "    ")
        if child.final:
            yield f"{indent}    {ids[child.name]} --> [*]"
    yield f"{indent}}}"


def _mermaid_text(text: str) -> str:
    """Letters, digits, spaces and a few harmless characters unchanged, everything else as a character reference."""
    return "".join(c if c.isalnum() or c in " ,.()[]-_/" else f"#{ord(c)};" for c in _printable(text))


# -- DOT -------------------------------------------------------------------------------------------------


def _dot_state(chart: Chart, state: State, indent: str) -> Iterator[str]:
    inside = _held(chart, state.name)
    is_region = state.parent is not None and chart.state(state.parent).parallel
    if not inside:
        yield f"{indent}{_quoted(state.name)}{_dot_node(state, is_region=is_region)};"
        return
    yield f"{indent}subgraph {_quoted(f'cluster_{state.name}')} {{"
    yield f"{indent}  label={_quoted(state.title or state.name)};"
    if is_region:
        yield f"{indent}  style=dashed;"
    for child in inside:
        yield from _dot_state(chart, child, indent + "  ")
    yield f"{indent}}}"


def _dot_node(state: State, *, is_region: bool) -> str:
    said = []
    if state.history:
        said += ['label="[H]"', "shape=circle"]
    elif state.title:
        said.append(f"label={_quoted(state.title)}")
    if state.final:
        said.append("peripheries=2")
    if is_region:
        said.append('style="rounded,dashed"')
    return f" [{', '.join(said)}]" if said else ""


def _dot_edge(chart: Chart, source: str | None, target: str, label: str) -> str:
    # An edge to or from a cluster is drawn to a state inside and clipped at the cluster's border. If both of its ends
    # are inside, there is no border to clip it at.
    tail, head = _dot_end(chart, source), _dot_end(chart, target)
    said = [f"label={_quoted(label)}"] if label else []
    if source is not None and tail != source and source not in chart.lineage(head):
        said.append(f"ltail={_quoted(f'cluster_{source}')}")
    if head != target and target not in chart.lineage(tail):
        said.append(f"lhead={_quoted(f'cluster_{target}')}")
    told = f" [{', '.join(said)}]" if said else ""
    return f"  {_quoted(tail)} -> {_quoted(head)}{told};"


def _dot_end(chart: Chart, name: str | None) -> str:
    if name is None:
        return ""
    return name if chart.state(name).history else entered(chart, name).split("+")[0]


def _quoted(text: str) -> str:
    escaped = _printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
    return f'"{escaped}"'


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)

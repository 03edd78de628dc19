"""Diagrams of a chart as text: Mermaid (stateDiagram-v2) and DOT (Graphviz). No binary is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registration.core.chart import Chart, State


def mermaid(chart: Chart) -> str:
    """The chart for Mermaid, as GitHub, GitLab and most wikis draw it. Ends in a line feed."""

    def inside(parent: str | None, indent: str) -> Iterator[str]:
        for state in _children(chart, parent):
            if state.initial is None:
                yield f"{indent}{state.name}"
                continue
            yield f"{indent}state {state.name} {{"
            yield f"{indent}    [*] --> {state.initial}"
            yield from inside(state.name, indent + "    ")
            yield f"{indent}}}"

    lines = ["stateDiagram-v2", *inside(None, "    ")]
    lines += [f"    {move.source or '[*]'} --> {move.target} : {move.action}" for move in chart.transitions]
    lines += [f"    {state.name} --> [*]" for state in chart.states if state.final]
    return "\n".join(lines) + "\n"


def dot(chart: Chart) -> str:
    """The chart for Graphviz: `dot -Tsvg` draws it. Ends in a line feed."""

    def inside(parent: str | None, indent: str) -> Iterator[str]:
        for state in _children(chart, parent):
            if state.initial is None:
                shape = " [peripheries=2]" if state.final else ""
                yield f'{indent}"{state.name}"{shape};'
                continue
            yield f'{indent}subgraph "cluster_{state.name}" {{'
            yield f'{indent}  label="{state.name}";'
            yield from inside(state.name, indent + "  ")
            yield f"{indent}}}"

    def edge(source: str | None, target: str, action: str) -> str:
        # An edge to or from a cluster is drawn to a state inside and clipped at the cluster's border.
        tail, head = chart.entered(source) if source else "", chart.entered(target)
        clipped = ([f'ltail="cluster_{source}"'] if source and tail != source else []) + (
            [f'lhead="cluster_{target}"'] if head != target else []
        )
        return f'  "{tail}" -> "{head}" [{", ".join([f"label={_quoted(action)}", *clipped])}];'

    lines = [
        f"digraph {_quoted(chart.name)} {{",
        "  compound=true;",
        "  node [shape=box, style=rounded];",
        '  "" [shape=point];',
        *inside(None, "  "),
        *(edge(move.source, move.target, move.action) for move in chart.transitions),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _children(chart: Chart, parent: str | None) -> list[State]:
    return [state for state in chart.states if state.parent == parent]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

"""Charts that are thrown together: small, of every kind of state, and most of them sound. A strategy for properties.

What is in them is left to chance; that nothing is out of reach and nothing is a trap is seen to by an action for each
state, which leads there from everywhere.
"""

from __future__ import annotations

from hypothesis import strategies as st


class Thrower:
    """Throws a chart together: a few trees of states, of every kind, and actions that lead about in them."""

    def __init__(self, draw):
        self.draw = draw
        self.states = []

    def pick(self, choices):
        return self.draw(st.sampled_from(choices))

    def chance(self, percent):
        return self.draw(st.integers(1, 100)) <= percent

    def add(self, **said):
        self.states.append({"name": f"S{len(self.states)}", **said})
        return self.states[-1]

    def grow(self, above, depth, *, ends, in_region):
        """A state with all that is inside. ends: it must have a final child, or final regions."""
        kinds = ["compound", "compound", "parallel"] if depth < 2 else ["compound"]
        kind = self.pick(kinds if ends else [*kinds, "atomic", "atomic"] if depth < 3 else ["atomic"])
        state = self.add(**above)
        if kind == "compound":
            self._compound(state, depth, ends=ends, in_region=in_region)
        elif kind == "parallel":
            done = self.chance(60)
            for _ in range(self.pick([2, 2, 3])):
                self.grow({"parent": state["name"]}, depth + 1, ends=done or ends, in_region=True)
            state |= {"parallel": True} | ({"done": ""} if done else {})
        return state

    def _compound(self, state, depth, *, ends, in_region):
        inside = {"parent": state["name"]}
        goes = self.chance(40)
        children = [
            self.grow(inside, depth + 1, ends=False, in_region=in_region)["name"]
            for _ in range(self.pick([1, 2, 2]))
        ]
        finals = [self.add(**inside, final=True)["name"] for _ in range(ends or goes or in_region)]
        if self.chance(40):
            back = self.add(**inside, history=True, initial=self.pick(children + finals))["name"]
            children += [back] if self.chance(30) else []
        state |= {"initial": self.pick(children * 3 + finals)} | ({"done": ""} if goes else {})

    def lifecycle(self):
        tops = [self.grow({}, 0, ends=False, in_region=False)["name"] for _ in range(self.pick([1, 2, 2]))]
        tops.append(self.add()["name"])
        names = [state["name"] for state in self.states]
        sources = [
            state["name"] for state in self.states if not state.get("history") and not state.get("final")
        ]
        for state in self.states:
            if "done" in state:
                ends = [
                    one["name"]
                    for one in self.states
                    if one.get("final") and one["parent"] == state.get("parent")
                ]
                state["done"] = self.pick(ends if ends and self.chance(60) else [tops[-1], self.pick(names)])
        if self.chance(30):
            self.states = self.draw(st.permutations(self.states))
        parents = {state.get("parent") for state in self.states}
        actions = [
            [
                {"from": source, "to": self._target(source, names)}
                for source in sources
                if self.chance(15 if source in parents else 75)
            ]
            for _ in range(3)
        ]
        # From everywhere to everywhere, so that nothing is out of reach and nothing is a trap.
        actions += [[{"from": source, "to": name} for source in tops] for name in names]
        timeouts = [
            {"name": f"t{n}", "past": f"u{n}", "state": self.pick(sources), "after": "1d", "to": tops[-1]}
            for n in range(self.pick([0, 0, 1, 2]))
        ]
        return {
            "name": "thrown",
            "version": 1,
            "states": list(self.states),
            "actions": [{"name": "create", "past": "p", "moves": [{"to": self.pick(names)}]}]
            + [
                {"name": f"a{n}", "past": f"p{n}", "moves": moves} for n, moves in enumerate(actions) if moves
            ],
            "timeouts": [one for one in timeouts if one["state"] != tops[-1]],
        }

    def _target(self, source, names):
        """Mostly beside the source, so that regions move on their own."""
        parent = {state["name"]: state.get("parent") for state in self.states}
        beside = [name for name in names if parent[name] == parent[source]]
        return self.pick(beside if self.chance(85) else names)


@st.composite
def thrown_lifecycles(draw):
    """The data form of a lifecycle. Few of them are refused, as for a circle of states that are done."""
    return Thrower(draw).lifecycle()

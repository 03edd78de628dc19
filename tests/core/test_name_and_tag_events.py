"""What events say of names and tags, and what is kept of it: the core, with no claim and no disk in sight."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.core.chart import Action, Chart, GuardUse, State, Timeout, Transition
from registration.core.chart_data import as_data, from_data
from registration.core.codec import decode_snapshot, encode_snapshot
from registration.core.decider import fold, is_same_request
from registration.core.definition import Definition
from registration.core.explanation import explain
from registration.core.policy import Policy, Verdict
from registration.errors import GuardRefused, InvalidArgument, InvalidDefinition, Next, NotFound, Rejected
from registration.evidence.policy_replay import replay_decisions
from registration.evidence.undoing import plan_undo
from registration.rules.guards.builtin import not_the_author, role
from registration.rules.lifecycles.facts import keep_facts
from registration.rules.lifecycles.files import check_lifecycle, parse_lifecycle
from registration.rules.lifecycles.loading import definition_of, shipped
from registration.rules.lifecycles.registration import REGISTRATION
from registration.rules.policy_file import parse_policy
from tests.kit.builders import WATCH, Log, asked, members_of, tries, weather

UPKEEP = definition_of(shipped("registration-upkeep"))

SHELF = Definition(
    Chart(
        "shelf",
        states=(State("OFF"), State("ON")),
        actions=(
            Action("create", "created", document=True),
            Action("put", "put_up", document=True, claims=True),
            Action("swap", "swapped", document=True),
            Action("take", "taken_down", releases=True),
            Action("register", "registered", claims=False),
        ),
        transitions=(
            Transition("create", None, "OFF"),
            Transition("put", "OFF", "ON"),
            Transition("put", "ON", "ON"),
            Transition("swap", "ON", "ON"),
            Transition("take", "ON", "OFF"),
            Transition("register", "ON", "ON"),
        ),
        timeouts=(Timeout("tire", "tired", "ON", "1d", "OFF", releases=True),),
    ),
    evolve=keep_facts,
)
"""A lifecycle in which names come and go by other words than the usual."""


def registered(**where) -> Log:
    log = Log(**where)
    for action in ("create", "submit_for_review", "approve", "register"):
        log.do(action)
    return log


# -- names -----------------------------------------------------------------------------------------------


def test_registering_claims_the_name_of_the_document():
    """The event says it, and the manifest holds it from then on, whatever its own id is."""
    log = registered(stream="of-my-own")

    assert log.events[-1].data["claimed"] == "io.github.acme/weather@1.2.0"
    assert log.state.name == "io.github.acme/weather@1.2.0"
    assert log.state.facts["named"] == {
        "version": 4,
        "time": log.events[-1].time,
        "digest": weather().digest,
    }
    assert not any("claimed" in event.data for event in log.events[:-1])


@pytest.mark.parametrize("document", [weather(name=7), weather(name="…"), weather(name="x" * 300)])
def test_a_document_without_a_usable_name_claims_nothing(document):
    """It is registered all the same."""
    log = Log()
    log.do("create", document=document)
    for action in ("submit_for_review", "approve", "register"):
        log.do(action)

    assert log.state.state == "REGISTERED"
    assert "claimed" not in log.events[-1].data
    assert log.state.name is None


def test_withdrawing_lets_go_of_the_name():
    """And of nothing where none is held; coming back as a draft claims nothing."""
    log = registered(definition=UPKEEP)

    log.do("withdraw", reason="a hole")
    assert log.events[-1].data["released"] == "io.github.acme/weather@1.2.0"
    assert log.state.name is None
    assert "named" not in log.state.facts
    log.do("reinstate")
    log.do("withdraw", reason="again")

    assert not any({"claimed", "released"} & event.data.keys() for event in log.events[-2:])


def test_what_comes_in_between_keeps_the_name():
    """Suspended, resumed, deprecated and restored: it is the same registration."""
    log = registered(definition=UPKEEP)

    for action in ("suspend", "resume", "deprecate", "restore"):
        assert log.do(action, reason="r").name == "io.github.acme/weather@1.2.0"


def test_a_lifecycle_says_which_actions_claim_and_release():
    """By members of its own, against the usual words as well; a time-out can let go."""
    log = Log(definition=SHELF)
    log.do("create", document=weather())
    log.do("put", document=weather())
    assert log.state.name == "io.github.acme/weather@1.2.0"
    log.do("swap", document=weather(version="2.0.0"))
    assert log.state.name == "io.github.acme/weather@1.2.0"
    log.do("put", document=weather(version="3.0.0"))
    assert log.events[-1].data["claimed"] == "io.github.acme/weather@3.0.0"
    assert log.events[-1].data["released"] == "io.github.acme/weather@1.2.0"
    assert log.state.name == "io.github.acme/weather@3.0.0"
    assert "claimed" not in log.do("register").facts
    log.do("put", document=weather(name=1))
    assert "claimed" not in log.events[-1].data
    assert log.state.name is None
    log.do("put", document=weather())
    log.fire("9999-01-01T00:00:00.000000Z")

    assert log.events[-1].data["released"] == "io.github.acme/weather@1.2.0"
    assert log.state.name is None


def test_claiming_the_same_name_for_another_document_says_so_again():
    """What the name was claimed for is the document that stands now."""
    log = Log(definition=SHELF)
    log.do("create", document=weather())
    log.do("put", document=weather())

    log.do("put", document=weather(title="W"))

    assert log.events[-1].data["claimed"] == "io.github.acme/weather@1.2.0"
    assert "released" not in log.events[-1].data
    assert log.state.facts["named"]["digest"] == weather(title="W").digest


def test_what_is_as_usual_changes_no_digest():
    """The digests of lifecycles stand in logs: what follows from the word of an event is not said."""
    plain = as_data(SHELF.chart, 1)
    actions = {action["name"]: action for action in plain["actions"]}

    assert actions["put"]["claims"] is True
    assert actions["take"]["releases"] is True
    assert actions["register"]["claims"] is False
    assert plain["timeouts"][0]["releases"] is True
    assert "claims" not in json.dumps(REGISTRATION.data)
    assert from_data(plain) == SHELF.chart
    assert check_lifecycle(plain, source="shelf") == plain
    for name in ("registration", "registration-upkeep"):
        said = copy.deepcopy(shipped(name))
        for action in said["actions"]:
            action["claims"] = action["past"] == "registered"
            action["releases"] = action["past"] == "withdrawn"
        assert check_lifecycle(said, source=name) == shipped(name)


def test_a_file_says_it():
    """As members of actions and time-outs."""
    raw = b"""
        name = "shelf"
        [states.ON]
        [states.OFF]
        [actions.create]
        past = "created"
        document = true
        claims = true
        to = "ON"
        [actions.take]
        past = "taken"
        releases = true
        from = "ON"
        to = "OFF"
        [actions.put]
        past = "registered"
        claims = false
        from = "OFF"
        to = "ON"
        [timeouts.tire]
        past = "withdrawn"
        releases = false
        state = "ON"
        after = "1d"
        to = "OFF"
    """

    chart = from_data(parse_lifecycle(raw, source="shelf.toml", form="toml"))

    assert [one.claims_name for one in chart.actions] == [True, False, False]
    assert [one.releases_name for one in chart.actions] == [False, True, False]
    assert not chart.timeouts[0].releases_name


@pytest.mark.parametrize(
    ("action", "problem"),
    [
        (Action("go", "gone", claims=True, releases=True), "actions.go.claims: it also releases the name"),
        (Action("go", "withdrawn", claims=True), "set `releases = false`"),
        (Action("tag", "gone"), "actions.tag: this name is reserved for tags"),
        (Action("untag", "gone"), "actions.untag: this name is reserved for tags"),
        (Action("go", "tagged"), "'tagged' is the event of a tag"),
        (Action("go", "untagged"), "'untagged' is the event of the removal of a tag"),
    ],
)
def test_what_a_lifecycle_can_not_mean_is_named(action, problem):
    """Both at once, and words that mean something in every lifecycle."""
    moves = (Transition("create", None, "A"), Transition(action.name, "A", "A"))

    with pytest.raises(InvalidDefinition) as refused:
        Chart("c", (State("A"),), (Action("create", "created"), action), moves)

    assert problem in str(refused.value)


# -- tags ------------------------------------------------------------------------------------------------


def test_a_tag_moves_nothing():
    """It is an event with all tags after it; state, approvals and history stay as they are."""
    log = registered(definition=UPKEEP)
    log.do("suspend", reason="r")
    before = log.state

    log.do("tag", tags=("b", "a"), actor="dan", reason="why", comment="well")
    log.do("tag", tags=("c", "a"))
    after = log.do("untag", tags=("b", "x"))

    assert [event.type for event in log.events[-3:]] == [
        "registration-upkeep.tagged.v1",
        "registration-upkeep.tagged.v1",
        "registration-upkeep.untagged.v1",
    ]
    assert [event.data.get("added", event.data.get("removed")) for event in log.events[-3:]] == [
        ["a", "b"],
        ["c"],
        ["b"],
    ]
    assert [event.data["tags"] for event in log.events[-3:]] == [["a", "b"], ["a", "b", "c"], ["a", "c"]]
    assert (after.state, after.digest, after.document) == (before.state, before.digest, before.document)
    assert {name: fact for name, fact in after.facts.items() if name != "tags"} == dict(before.facts)
    assert after.tags == ("a", "c")
    assert log.do("resume").state == "REGISTERED"


def test_the_last_tag_taken_away_leaves_no_trace_in_the_facts():
    """A snapshot says what there is."""
    log = Log()
    before = log.do("create")
    log.do("tag", tags=("a",))

    assert log.do("untag", tags=("a",)).facts == before.facts


def test_tags_are_kept_in_any_lifecycle():
    """Also where a definition keeps nothing else."""
    log = Log(definition=replace(REGISTRATION, evolve=lambda facts, _event: facts))
    log.do("create")
    log.do("tag", tags=("a",))

    assert log.do("tag", tags=("b",)).tags == ("a", "b")


@pytest.mark.parametrize(
    ("action", "tags", "said"),
    [
        ("tag", ("a",), "has 'a' already. It has 'a'."),
        ("untag", ("b",), "doesn't have 'b'. It has 'a'."),
        ("tag", tuple(f"t{n}" for n in range(64)), "would have 65 tags; a manifest has at most 64."),
    ],
)
def test_what_would_change_nothing_or_too_much_is_refused(action, tags, said):
    """Nothing is written."""
    log = Log()
    log.do("create")
    log.do("tag", tags=("a",))

    with pytest.raises(Rejected, match=said.replace(".", r"\.")):
        log.do(action, tags=tags)


def test_there_is_nothing_to_tag_without_a_manifest():
    """Tagging creates nothing, and brings no document."""
    with pytest.raises(NotFound):
        Log().do("tag", tags=("a",))
    log = Log()
    log.do("create")
    with pytest.raises(InvalidArgument, match="takes no document"):
        log.do("tag", tags=("a",), document=weather())


def test_a_tag_is_an_event_for_sliding_time_outs_and_for_no_others():
    """What is counted from the last event begins anew; what is counted from entering a state runs on."""
    log = Log(definition=WATCH)
    log.do("create")
    before = log.do("ask").facts["due"]

    after = log.do("tag", tags=("a",)).facts["due"]

    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {"abandon"}


def test_the_same_request_is_known_again():
    """What it found done already makes no difference; other tags, or the other action, do."""
    log = Log()
    log.do("create")
    log.do("tag", tags=("a",))
    log.do("tag", tags=("a", "b"))
    log.do("untag", tags=("b", "x"))
    tagged, untagged = log.events[-2:]

    assert is_same_request(REGISTRATION, asked("tag", tags=("a", "b")), tagged)
    assert not is_same_request(REGISTRATION, asked("tag", tags=("a",)), tagged)
    assert not is_same_request(REGISTRATION, asked("tag", tags=("a", "b", "c")), tagged)
    assert not is_same_request(REGISTRATION, asked("untag", tags=("a", "b")), tagged)
    assert is_same_request(REGISTRATION, asked("untag", tags=("b", "x")), untagged)
    assert not is_same_request(REGISTRATION, asked("untag", tags=("b", "a")), untagged)
    assert not is_same_request(REGISTRATION, asked("submit_for_review", tags=("a",)), untagged)


@tries(150)
@given(st.lists(st.tuples(st.sampled_from(["tag", "untag"]), st.sets(st.sampled_from("abcde"), min_size=1))))
def test_tags_are_a_set(steps):
    """Against Python's own, through the log and the bytes of a snapshot."""
    log, model = Log(), set()
    log.do("create")
    for action, tags in steps:
        after = model | tags if action == "tag" else model - tags
        if after == model:
            with pytest.raises(Rejected):
                log.do(action, tags=tuple(sorted(tags)))
        else:
            log.do(action, tags=tuple(sorted(tags)))
        model = after

        assert log.state.tags == tuple(sorted(model))
    raw = encode_snapshot(log.state)
    assert fold(REGISTRATION, None, log.scan().events) == log.state
    assert (
        decode_snapshot(raw, stream=log.stream, source=log.source, definition="registration").tags
        == log.state.tags
    )


# -- rules about tags ------------------------------------------------------------------------------------

LIBRARIANS = Policy(
    roles={"librarian": ("dan",)},
    uses={"tag": (GuardUse("role", {"any": ["librarian"]}),), "untag": (GuardUse("not_the_author"),)},
    guards={"role": role, "not_the_author": not_the_author},
)


def test_the_policy_may_say_who_gives_tags():
    """A refusal is explained like any other, with the step to take next."""
    log = Log(policy=LIBRARIANS)

    def doing(action, **said):
        return Next(operation="act", id=log.stream, action=action, **said)

    log.do("create", actor="ana")

    with pytest.raises(GuardRefused) as refused:
        log.do("tag", tags=("a",), actor="ana")
    assert refused.value.details["who"]["actors"] == ["dan"]
    assert refused.value.next == (doing("tag", actor="dan", given={"tags": ["a"]}),)
    log.do("tag", tags=("a",), actor="dan")
    with pytest.raises(GuardRefused) as refused:
        log.do("untag", tags=("a",), actor="ana")

    assert refused.value.next == (doing("untag", given={"tags": ["a"]}, missing=("actor",)),)
    why = explain(REGISTRATION, log.state, asked("untag", actor="dan"), policy=LIBRARIANS)
    assert why.allowed
    assert why.next == doing("untag", actor="dan", missing=("tags",))
    assert why.to == "DRAFT"


def test_a_guard_sees_the_tags_that_are_asked_for():
    """So a rule can be about certain tags only."""

    def no_prod(_state, command, _policy):
        return Verdict(agrees="prod" not in command.tags, reason="prod is not given by hand")

    policy = Policy(uses={"tag": (GuardUse("no_prod"),)}, guards={"no_prod": no_prod})
    log = Log(policy=policy)
    log.do("create")

    log.do("tag", tags=("test",))
    with pytest.raises(GuardRefused, match="prod is not given by hand"):
        log.do("tag", tags=("prod",))


def test_a_policy_file_may_name_them():
    """As actions of any lifecycle; a word near them is suggested."""

    def read(text):
        return parse_policy(text.encode(), source="p", chart=REGISTRATION.chart, read=lambda _: b"")

    policy = read('[[guards]]\nguard = "not_the_author"\nactions = ["tag", "untag"]\n')

    assert set(policy.uses) == {"tag", "untag"}
    with pytest.raises(InvalidArgument, match=r"no action 'untagg'\. Did you mean 'untag'"):
        read('[[guards]]\nguard = "not_the_author"\nactions = ["untagg"]\n')


def test_a_proposed_policy_is_tried_on_tags():
    """Whoever gave one without the role would be refused."""
    log = Log()
    log.do("create", actor="ana")
    log.do("tag", tags=("a",), actor="ana")
    log.do("untag", tags=("a",), actor="dan")

    decisions = list(replay_decisions(REGISTRATION, LIBRARIANS, log.events))

    assert [(one.version, one.would_be) for one in decisions] == [
        (1, "accepted"),
        (2, "refused"),
        (3, "accepted"),
    ]


def test_a_tag_is_not_undone():
    """`untag` is the way back, and says so itself."""
    log = Log()
    log.do("create")
    log.do("tag", tags=("a",))

    with pytest.raises(Rejected, match="no action of the lifecycle led to it"):
        plan_undo(REGISTRATION, log.events)


def test_events_are_in_the_order_of_the_format():
    """What follows from a decision stands behind what it was decided under, and before the document."""
    log = registered()
    log.do("tag", tags=("a",))

    registering, tagging = members_of(log)[-2:]

    assert list(registering["data"]) == [
        "action", "from", "to", "actor", "lifecycle", "release", "counted", "claimed", "digest",
    ]  # fmt: skip
    assert list(tagging["data"]) == [
        "action", "from", "to", "actor", "lifecycle", "release", "added", "tags", "digest",
    ]  # fmt: skip

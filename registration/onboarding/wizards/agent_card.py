"""The wizard ``agent-card``: questions for an A2A agent card of protocol version 0.3.0.

Each answer is checked against the rules for agent cards as it is given (`registration.rules.guards.a2a`), and all of them together at
the review. The form is that of the specification's ``AgentCard`` at tag v0.3.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from registration.onboarding.wizards.documents import problems_by, without_empty
from registration.onboarding.wizards.forms import form_of
from registration.onboarding.wizards.wizard import Answer, Answers, Option, Problem, Wizard, WizardStep
from registration.rules.guards.a2a import a2a_agent_card
from registration.rules.guards.urls import host_of

PROTOCOL_VERSION = "0.3.0"

_Text = Annotated[str, Field(min_length=1, max_length=200)]
_Long = Annotated[str, Field(min_length=1, max_length=2000)]
_Mode = Annotated[str, Field(pattern="^[a-z0-9.+-]+/[a-z0-9.+*-]+$")]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Identity(_Form):
    name: Annotated[_Text, Field(description="The agent's name for people.")]
    description: Annotated[_Long, Field(description="Its purpose and audience.")]
    version: Annotated[_Text, Field(description="The agent's own version.")] = "1.0.0"


class _Provider(_Form):
    organization: Annotated[_Text | None, Field(description="The provider.")] = None
    url: Annotated[str | None, Field(description="The provider's page: https://…")] = None


class _Endpoint(_Form):
    url: Annotated[str, Field(description="The agent's endpoint: https://…")]
    transport: Annotated[str, Field(description="The transport protocol of the endpoint.")] = "JSONRPC"


class _Abilities(_Form):
    streaming: Annotated[bool, Field(description="Whether it streams results.")] = False
    push_notifications: Annotated[
        bool, Field(description="Whether it sends push notifications to clients.")
    ] = False
    input_modes: Annotated[list[_Mode], Field(min_length=1, description="Accepted media types.")] = Field(
        default=["text/plain"]
    )
    output_modes: Annotated[list[_Mode], Field(min_length=1, description="Returned media types.")] = Field(
        default=["text/plain"]
    )


class _Skill(_Form):
    id: Annotated[
        str, Field(pattern="^[A-Za-z0-9._-]{1,64}$", description="A short name, such as plan-berth.")
    ]
    name: Annotated[_Text, Field(description="Its name for people.")]
    description: Annotated[_Long, Field(description="Its description.")]
    tags: Annotated[list[_Text], Field(min_length=1, description="Search keywords.")]
    examples: Annotated[list[_Long], Field(description="Example requests.")] = Field(default_factory=list)


class _Skills(_Form):
    skills: Annotated[list[_Skill], Field(min_length=1, description="The agent's skills.")]


class _Security(_Form):
    scheme: Annotated[
        Literal["none", "bearer", "api-key"], Field(description="How clients authenticate.")
    ] = "none"
    header: Annotated[str | None, Field(description="For an API key: the header that carries it.")] = None


def _endpoint(answer: Answer, _answers: Answers) -> Iterator[Problem]:
    if host_of(answer["url"]) is None:
        yield Problem("/url", f"it must be an http or https URL, not {answer['url'][:80]!r}")


def _provider(answer: Answer, _answers: Answers) -> Iterator[Problem]:
    if (answer["organization"] is None) is not (answer["url"] is None):
        yield Problem("", "an organization and its page go together")
    elif answer["url"] is not None and host_of(answer["url"]) is None:
        yield Problem("/url", f"it must be an http or https URL, not {answer['url'][:80]!r}")


def _skills(answer: Answer, _answers: Answers) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, one in enumerate(answer["skills"]):
        if one["id"] in seen:
            yield Problem(f"/skills/{index}/id", f"duplicate skill id {one['id']!r}")
        seen.add(one["id"])


def _security(answer: Answer, _answers: Answers) -> Iterator[Problem]:
    if (answer["scheme"] == "api-key") is (answer["header"] is None):
        yield Problem("/header", "a header is required for an API key, and not allowed otherwise")


def _result(answers: Answers) -> dict[str, Any]:
    identity, provider, endpoint, abilities = (
        answers[step] for step in ("IDENTITY", "PROVIDER", "ENDPOINT", "ABILITIES")
    )
    return without_empty(
        {
            "protocolVersion": PROTOCOL_VERSION,
            "name": identity["name"],
            "description": identity["description"],
            "url": endpoint["url"],
            "preferredTransport": endpoint["transport"],
            "provider": without_empty(provider),
            "version": identity["version"],
        }
    ) | {
        "capabilities": {
            "streaming": abilities["streaming"],
            "pushNotifications": abilities["push_notifications"],
        },
        "defaultInputModes": abilities["input_modes"],
        "defaultOutputModes": abilities["output_modes"],
        "skills": [without_empty(one) for one in answers["SKILLS"]["skills"]],
        **_schemes(answers["SECURITY"]),
    }


def _schemes(answer: Answer) -> dict[str, Any]:
    schemes = {
        "none": {},
        "bearer": {"bearer": {"type": "http", "scheme": "bearer"}},
        "api-key": {"api-key": {"type": "apiKey", "in": "header", "name": answer["header"]}},
    }
    found = schemes[answer["scheme"]]
    return {"securitySchemes": found, "security": [{name: [] for name in found}]} if found else {}


def _whole(_answer: Answer, answers: Answers) -> Iterator[Problem]:
    return problems_by(a2a_agent_card, _result(answers))


WIZARD = Wizard(
    name="agent-card",
    title="An A2A agent card",
    help="Questions for the card of an agent that speaks A2A, protocol version 0.3.0.",
    steps=(
        WizardStep("IDENTITY", "Identity", "The agent's name and description.", form=form_of(_Identity)),
        WizardStep(
            "PROVIDER",
            "Provider",
            "The organization behind the agent; optional.",
            form=form_of(_Provider),
            validate=_provider,
        ),
        WizardStep(
            "ENDPOINT",
            "Endpoint",
            "The address that clients connect to.",
            form=form_of(_Endpoint),
            options={"/transport": [Option("JSONRPC"), Option("HTTP+JSON"), Option("GRPC")]},
            validate=_endpoint,
        ),
        WizardStep(
            "ABILITIES",
            "Capabilities",
            "Streaming, notifications, media types.",
            form=form_of(_Abilities),
        ),
        WizardStep(
            "SKILLS", "Skills", "The agent's skills, one by one.", form=form_of(_Skills), validate=_skills
        ),
        WizardStep(
            "SECURITY",
            "Authentication",
            "How clients authenticate. No key is asked for.",
            form=form_of(_Security),
            validate=_security,
        ),
        WizardStep(
            "REVIEW",
            "Review",
            "Check everything before the draft is created.",
            kind="review",
            validate=_whole,
        ),
    ),
    result=_result,
)

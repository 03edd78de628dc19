"""The wizard ``mcp-server``: questions for a ``server.json`` of the Model Context Protocol, as the public registry takes one.

Each answer is looked at by the rules of that registry as it is given (`registration.rules.guards.mcp`), and all of them together
at the review. The form is that of the schema of 2025-12-11 (https://static.modelcontextprotocol.io/schemas/).

No secret is asked for: of an environment variable or a header it is asked whether it is one, and whoever runs the server
gives it there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from registration.onboarding.wizards.documents import problems_by, without_empty
from registration.onboarding.wizards.forms import form_of
from registration.onboarding.wizards.wizard import (
    Answer,
    Answers,
    Option,
    Options,
    Problem,
    Wizard,
    WizardStep,
)
from registration.rules.guards.mcp import SCHEMAS_KNOWN, mcp_server
from registration.rules.guards.mcp_packages import TYPES

_Text = Annotated[str, Field(min_length=1, max_length=100)]
_Long = Annotated[str, Field(min_length=1, max_length=1000)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Identity(_Form):
    name: Annotated[
        str, Field(description="namespace/name, such as io.github.acme/weather: a domain from its end.")
    ]
    title: Annotated[_Text | None, Field(description="How people call it; up to 100 characters.")] = None
    description: Annotated[_Text, Field(description="What it does, in up to 100 characters.")]
    version: Annotated[str, Field(description="One version, such as 1.0.0; no range.")] = "1.0.0"


class _Repository(_Form):
    url: Annotated[
        str, Field(description="Where its source can be read, such as https://github.com/acme/weather.")
    ]
    source: Annotated[Literal["github", "gitlab"], Field(description="Who hosts it.")] = "github"
    subfolder: Annotated[
        str | None, Field(description="Where in the repository it is, where not at its top.")
    ] = None


class _Links(_Form):
    repository: Annotated[_Repository | None, Field(description="The repository of its source.")] = None
    website: Annotated[str | None, Field(description="A page about it: https://…")] = None


class _Offer(_Form):
    offered: Annotated[str, Field(description="How it is reached.")] = "packages"


class _Package(_Form):
    type: Annotated[str, Field(description="Where it is packaged for.")]
    identifier: Annotated[
        str,
        Field(
            min_length=1, description="Its name there; of an image with its tag; of mcpb the URL of the file."
        ),
    ]
    version: Annotated[
        str | None, Field(description="Its version there, as usual that of the server; an image has none.")
    ] = None
    sha256: Annotated[str | None, Field(description="SHA-256 of the file, 64 hex digits; mcpb needs it.")] = (
        None
    )
    transport: Annotated[
        Literal["stdio", "streamable-http", "sse"], Field(description="How a client talks to it.")
    ] = "stdio"
    url: Annotated[
        str | None,
        Field(description="Where it listens, unless it talks by stdio: http://localhost:8080/mcp."),
    ] = None


class _Packages(_Form):
    packages: Annotated[list[_Package], Field(min_length=1, description="What can be installed and run.")]


class _Argument(_Form):
    package: Annotated[str, Field(description="Of which package.")]
    kind: Annotated[
        Literal["named", "positional"], Field(description="With a flag before it, or without.")
    ] = "named"
    name: Annotated[
        _Text, Field(description="The flag with its dashes (--port), or what stands there (file_path).")
    ]
    description: Annotated[_Long | None, Field(description="What it is for.")] = None
    required: bool = False
    secret: Annotated[bool, Field(description="Whether it is a password, a token or a key.")] = False
    default: Annotated[str | None, Field(description="What it is where nobody says.")] = None


class _Arguments(_Form):
    arguments: Annotated[list[_Argument], Field(description="Arguments on its command line.")] = Field(
        default_factory=list
    )


class _Variable(_Form):
    package: Annotated[str, Field(description="Of which package.")]
    name: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$", description="Such as WEATHER_API_KEY.")]
    description: Annotated[_Long | None, Field(description="What it is for.")] = None
    required: bool = True
    secret: Annotated[bool, Field(description="Whether it is a password, a token or a key.")] = False
    default: Annotated[str | None, Field(description="What it is where nobody says.")] = None


class _Environment(_Form):
    variables: Annotated[list[_Variable], Field(description="Environment variables.")] = Field(
        default_factory=list
    )


class _Header(_Form):
    name: Annotated[str, Field(min_length=1, description="Such as Authorization.")]
    description: Annotated[_Long | None, Field(description="What it is for.")] = None
    required: bool = True
    secret: Annotated[bool, Field(description="Whether it is a password, a token or a key.")] = False


class _Remote(_Form):
    type: Annotated[Literal["streamable-http", "sse"], Field(description="How a client talks to it.")] = (
        "streamable-http"
    )
    url: Annotated[str, Field(description="Where it is: https://weather.acme.example/mcp.")]
    headers: Annotated[list[_Header], Field(description="HTTP headers that it needs.")] = Field(
        default_factory=list
    )


class _Remotes(_Form):
    remotes: Annotated[list[_Remote], Field(min_length=1, description="Where it runs already.")]


def _identity(answer: Answer, _answers: Answers) -> Iterator[Problem]:
    return problems_by(
        mcp_server, _result({"IDENTITY": answer}), "/name", "/title", "/description", "/version"
    )


def _links(answer: Answer, _answers: Answers) -> Iterator[Problem]:
    for one in problems_by(mcp_server, _members_of_links(answer), "/repository", "/websiteUrl"):
        yield Problem(one.at.replace("/websiteUrl", "/website"), one.problem)


def _packages(answer: Answer, _answers: Answers) -> Iterator[Problem]:
    for index, one in enumerate(answer["packages"]):
        if (one["transport"] == "stdio") is (one["url"] is not None):
            yield Problem(f"/packages/{index}/url", "what talks by stdio has no url, and all else has one")
    found = problems_by(
        mcp_server, {"packages": [_package(one, {}) for one in answer["packages"]]}, "/packages"
    )
    for one in found:
        at = (
            one.at.replace("/registryType", "/type")
            .replace("/fileSha256", "/sha256")
            .replace("/transport/url", "/url")
        )
        yield Problem(at, one.problem)


def _no_secret_values(answer: Answer, _answers: Answers) -> Iterator[Problem]:
    """What is secret is only marked so: whoever runs the server says it, there."""
    for member, items in answer.items():
        for index, one in enumerate(items):
            if one["secret"] and one["default"] is not None:
                yield Problem(f"/{member}/{index}/default", "a secret has no default: leave it out")


def _remotes(answer: Answer, _answers: Answers) -> Iterator[Problem]:
    return problems_by(mcp_server, {"remotes": [_remote(one) for one in answer["remotes"]]}, "/remotes")


def _offers(_answers: Answers) -> Options:
    return {
        "/offered": (
            Option("packages", help="It is installed and run by whoever uses it."),
            Option("remotes", help="It runs somewhere already, and is reached there."),
            Option("both", help="Both."),
        )
    }


def _of_packages(member: str) -> Any:
    def options(answers: Answers) -> Options:
        known = [one["identifier"] for one in answers.get("PACKAGES", {}).get("packages", ())]
        return {f"/{member}/*/package": [Option(name) for name in known]}

    return options


def _result(answers: Answers) -> dict[str, Any]:
    """The ``server.json`` that answers come to, as far as they go."""
    identity = answers.get("IDENTITY", {})
    settings = {
        name: {
            "arguments": [
                one for one in answers.get("ARGUMENTS", {}).get("arguments", ()) if one["package"] == name
            ],
            "variables": [
                one for one in answers.get("ENVIRONMENT", {}).get("variables", ()) if one["package"] == name
            ],
        }
        for name in (one["identifier"] for one in answers.get("PACKAGES", {}).get("packages", ()))
    }
    return without_empty(
        {
            "$schema": SCHEMAS_KNOWN[-1],
            "name": identity.get("name"),
            "title": identity.get("title"),
            "description": identity.get("description"),
            "version": identity.get("version"),
            **_members_of_links(answers.get("LINKS", {})),
            "packages": [
                _package(one, settings[one["identifier"]])
                for one in answers.get("PACKAGES", {}).get("packages", ())
            ],
            "remotes": [_remote(one) for one in answers.get("REMOTES", {}).get("remotes", ())],
        }
    )


def _members_of_links(answer: Answer) -> dict[str, Any]:
    repository = answer.get("repository")
    return without_empty(
        {"repository": without_empty(repository) if repository else None, "websiteUrl": answer.get("website")}
    )


def _package(said: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    return without_empty(
        {
            "registryType": said["type"],
            "identifier": said["identifier"],
            "version": said["version"],
            "fileSha256": said["sha256"],
            "transport": without_empty({"type": said["transport"], "url": said["url"]}),
            "packageArguments": [_argument(one) for one in settings.get("arguments", ())],
            "environmentVariables": [
                {"name": one["name"], **_input(one)} for one in settings.get("variables", ())
            ],
        }
    )


def _argument(said: Mapping[str, Any]) -> dict[str, Any]:
    name = "name" if said["kind"] == "named" else "valueHint"
    return {"type": said["kind"], name: said["name"], **_input(said)}


def _remote(said: Mapping[str, Any]) -> dict[str, Any]:
    headers = [{"name": one["name"], **_input(one)} for one in said["headers"]]
    return without_empty({"type": said["type"], "url": said["url"], "headers": headers})


def _input(said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a value that somebody else gives later."""
    found = {"description": said["description"], "default": said.get("default")}
    found |= {"isRequired": said["required"] or None, "isSecret": said["secret"] or None}
    return without_empty(found)


def _whole(_answer: Answer, answers: Answers) -> Iterator[Problem]:
    return problems_by(mcp_server, _result(answers))


def _summary(answers: Answers) -> Iterator[tuple[str, str]]:
    document = _result(answers)
    yield "server", f"{document['name']} {document['version']}"
    for one in document.get("packages", ()):
        count = len(one.get("packageArguments", ())) + len(one.get("environmentVariables", ()))
        yield (
            "package",
            f"{one['registryType']} {one['identifier']}" + (f", {count} settings" if count else ""),
        )
    for one in document.get("remotes", ()):
        yield "remote", f"{one['type']} {one['url']}"


WIZARD = Wizard(
    name="mcp-server",
    title="An MCP server",
    help="Questions for a server.json of the Model Context Protocol, valid as the public registry takes one.",
    steps=(
        WizardStep(
            "IDENTITY",
            "What it is",
            "How the server is called, what it does, and in which version.",
            form=form_of(_Identity),
            validate=_identity,
            by_field=True,
        ),
        WizardStep(
            "LINKS",
            "Where to read about it",
            "Its repository and a page about it; both may be left out.",
            form=form_of(_Links),
            validate=_links,
            by_field=True,
        ),
        WizardStep(
            "OFFER",
            "How it is offered",
            "As packages that people run, as a remote server, or as both.",
            form=form_of(_Offer),
            options=_offers,
        ),
        WizardStep(
            "PACKAGES",
            "Packages",
            "What can be installed and run, and where it is published.",
            form=form_of(_Packages),
            options={"/packages/*/type": [Option(type) for type in TYPES]},
            validate=_packages,
            needs=("OFFER",),
            skip_if=lambda answers: answers["OFFER"]["offered"] == "remotes",
        ),
        WizardStep(
            "ARGUMENTS",
            "Arguments",
            "What can be said on the command lines of its packages.",
            form=form_of(_Arguments),
            options=_of_packages("arguments"),
            validate=_no_secret_values,
            needs=("OFFER", "PACKAGES"),
            skip_if=lambda answers: answers["OFFER"]["offered"] == "remotes",
        ),
        WizardStep(
            "ENVIRONMENT",
            "Environment variables",
            "What its packages read from the environment. Secrets are marked, and never given here.",
            form=form_of(_Environment),
            options=_of_packages("variables"),
            validate=_no_secret_values,
            needs=("OFFER", "PACKAGES"),
            skip_if=lambda answers: answers["OFFER"]["offered"] == "remotes",
        ),
        WizardStep(
            "REMOTES",
            "Remote servers",
            "Where it runs already.",
            form=form_of(_Remotes),
            validate=_remotes,
            needs=("OFFER",),
            skip_if=lambda answers: answers["OFFER"]["offered"] == "packages",
        ),
        WizardStep(
            "REVIEW", "Review", "All of it, before it becomes a draft.", kind="review", validate=_whole
        ),
    ),
    result=_result,
    summary=_summary,
)

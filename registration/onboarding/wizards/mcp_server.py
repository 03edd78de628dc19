"""The wizard ``mcp-server``: questions for a ``server.json`` of the Model Context Protocol, as accepted by the public registry.

Each answer is checked against the rules of that registry as it is given (`registration.rules.guards.mcp`), and all of them together
at the review. The form is that of the schema of 2025-12-11 (https://static.modelcontextprotocol.io/schemas/).

No secret is asked for: an environment variable or a header is only marked as secret, and the operator of the server
sets its value.
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
        str,
        Field(
            description="namespace/name, such as io.github.acme/weather: a reversed domain, a slash and a name."
        ),
    ]
    title: Annotated[_Text | None, Field(description="Its title for people, up to 100 characters.")] = None
    description: Annotated[_Text, Field(description="Its description, up to 100 characters.")]
    version: Annotated[str, Field(description="One version, such as 1.0.0, not a range.")] = "1.0.0"


class _Repository(_Form):
    url: Annotated[str, Field(description="The URL of its source, such as https://github.com/acme/weather.")]
    source: Annotated[Literal["github", "gitlab"], Field(description="The host of the repository.")] = (
        "github"
    )
    subfolder: Annotated[str | None, Field(description="Its path in the repository, if not the root.")] = None


class _Links(_Form):
    repository: Annotated[_Repository | None, Field(description="The repository of its source.")] = None
    website: Annotated[str | None, Field(description="Its website: https://…")] = None


class _Offer(_Form):
    offered: Annotated[str, Field(description="How it is offered.")] = "packages"


class _Package(_Form):
    type: Annotated[str, Field(description="The package registry.")]
    identifier: Annotated[
        str,
        Field(
            min_length=1,
            description="Its name there; for an image with its tag; for mcpb the URL of the file.",
        ),
    ]
    version: Annotated[
        str | None, Field(description="Its version there, by default that of the server; an image has none.")
    ] = None
    sha256: Annotated[
        str | None, Field(description="SHA-256 of the file, 64 hex digits; required for mcpb.")
    ] = None
    transport: Annotated[Literal["stdio", "streamable-http", "sse"], Field(description="The transport.")] = (
        "stdio"
    )
    url: Annotated[
        str | None,
        Field(description="Its URL, unless the transport is stdio: http://localhost:8080/mcp."),
    ] = None


class _Packages(_Form):
    packages: Annotated[list[_Package], Field(min_length=1, description="The packages.")]


class _Argument(_Form):
    package: Annotated[str, Field(description="The package.")]
    kind: Annotated[Literal["named", "positional"], Field(description="With or without a flag.")] = "named"
    name: Annotated[
        _Text, Field(description="The flag with its dashes (--port), or the name of the value (file_path).")
    ]
    description: Annotated[_Long | None, Field(description="The purpose.")] = None
    required: bool = False
    secret: Annotated[bool, Field(description="Whether it is secret: a password, token or key.")] = False
    default: Annotated[str | None, Field(description="The default value.")] = None


class _Arguments(_Form):
    arguments: Annotated[list[_Argument], Field(description="Command-line arguments.")] = Field(
        default_factory=list
    )


class _Variable(_Form):
    package: Annotated[str, Field(description="The package.")]
    name: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$", description="Such as WEATHER_API_KEY.")]
    description: Annotated[_Long | None, Field(description="The purpose.")] = None
    required: bool = True
    secret: Annotated[bool, Field(description="Whether it is secret: a password, token or key.")] = False
    default: Annotated[str | None, Field(description="The default value.")] = None


class _Environment(_Form):
    variables: Annotated[list[_Variable], Field(description="Environment variables.")] = Field(
        default_factory=list
    )


class _Header(_Form):
    name: Annotated[str, Field(min_length=1, description="Such as Authorization.")]
    description: Annotated[_Long | None, Field(description="The purpose.")] = None
    required: bool = True
    secret: Annotated[bool, Field(description="Whether it is secret: a password, token or key.")] = False


class _Remote(_Form):
    type: Annotated[Literal["streamable-http", "sse"], Field(description="The transport.")] = (
        "streamable-http"
    )
    url: Annotated[str, Field(description="Its URL: https://weather.acme.example/mcp.")]
    headers: Annotated[list[_Header], Field(description="Required HTTP headers.")] = Field(
        default_factory=list
    )


class _Remotes(_Form):
    remotes: Annotated[list[_Remote], Field(min_length=1, description="The URLs of running servers.")]


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
            yield Problem(
                f"/packages/{index}/url", "a url is required unless the transport is stdio, which has none"
            )
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
    """Secrets are only marked: the operator of the server sets them."""
    for member, items in answer.items():
        for index, one in enumerate(items):
            if one["secret"] and one["default"] is not None:
                yield Problem(f"/{member}/{index}/default", "a secret has no default: remove it")


def _remotes(answer: Answer, _answers: Answers) -> Iterator[Problem]:
    return problems_by(mcp_server, {"remotes": [_remote(one) for one in answer["remotes"]]}, "/remotes")


def _offers(_answers: Answers) -> Options:
    return {
        "/offered": (
            Option("packages", help="Users install and run it."),
            Option("remotes", help="It is already running, and is accessed remotely."),
            Option("both", help="Both."),
        )
    }


def _of_packages(member: str) -> Any:
    def options(answers: Answers) -> Options:
        known = [one["identifier"] for one in answers.get("PACKAGES", {}).get("packages", ())]
        return {f"/{member}/*/package": [Option(name) for name in known]}

    return options


def _result(answers: Answers) -> dict[str, Any]:
    """The ``server.json`` of possibly incomplete answers."""
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
    """The description of a value that is set later."""
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
    help="Questions for a server.json of the Model Context Protocol, valid for the public registry.",
    steps=(
        WizardStep(
            "IDENTITY",
            "Identity",
            "The server's name, description and version.",
            form=form_of(_Identity),
            validate=_identity,
            by_field=True,
        ),
        WizardStep(
            "LINKS",
            "Links",
            "Its repository and website; both are optional.",
            form=form_of(_Links),
            validate=_links,
            by_field=True,
        ),
        WizardStep(
            "OFFER",
            "Distribution",
            "As packages to run, as a remote server, or both.",
            form=form_of(_Offer),
            options=_offers,
        ),
        WizardStep(
            "PACKAGES",
            "Packages",
            "The packages to install, and where they are published.",
            form=form_of(_Packages),
            options={"/packages/*/type": [Option(type) for type in TYPES]},
            validate=_packages,
            needs=("OFFER",),
            skip_if=lambda answers: answers["OFFER"]["offered"] == "remotes",
        ),
        WizardStep(
            "ARGUMENTS",
            "Arguments",
            "The command-line arguments of its packages.",
            form=form_of(_Arguments),
            options=_of_packages("arguments"),
            validate=_no_secret_values,
            needs=("OFFER", "PACKAGES"),
            skip_if=lambda answers: answers["OFFER"]["offered"] == "remotes",
        ),
        WizardStep(
            "ENVIRONMENT",
            "Environment variables",
            "The environment variables of its packages. Secrets are marked, and never entered here.",
            form=form_of(_Environment),
            options=_of_packages("variables"),
            validate=_no_secret_values,
            needs=("OFFER", "PACKAGES"),
            skip_if=lambda answers: answers["OFFER"]["offered"] == "remotes",
        ),
        WizardStep(
            "REMOTES",
            "Remote servers",
            "The URLs of running servers.",
            form=form_of(_Remotes),
            validate=_remotes,
            needs=("OFFER",),
            skip_if=lambda answers: answers["OFFER"]["offered"] == "packages",
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
    summary=_summary,
)

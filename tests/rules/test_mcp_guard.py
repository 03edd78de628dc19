"""The guard on MCP servers: what it takes and what it names, rule by rule, and what it says of real servers."""

from __future__ import annotations

import pytest

from registration.core.policy import Policy
from registration.rules.guards import mcp, names
from registration.values.ids import id_from_document
from tests.kit.judging import bringing, needs_manifests, places, real

SERVER = {
    "$schema": mcp.SCHEMAS_KNOWN[-1],
    "name": "io.github.acme/weather",
    "version": "1.2.0",
    "description": "Tells the weather",
}
PUBLISHER = "/_meta/io.modelcontextprotocol.registry~1publisher-provided"
STDIO = {"type": "stdio"}
NPM = {"registryType": "npm", "identifier": "@acme/weather", "version": "1.2.0", "transport": STDIO}
IMAGE = {"registryType": "oci", "identifier": "ghcr.io/acme/weather:1.2.0", "transport": STDIO}
BUNDLE = {
    "registryType": "mcpb",
    "identifier": "https://github.com/acme/weather/releases/download/v1/weather.mcpb",
    "fileSha256": "a" * 64,
    "transport": STDIO,
}
REMOTE = {"type": "sse", "url": "https://acme.example/sse"}


def server(publish=False, hosts=None, **members):
    """The verdict on an MCP server; `members` go over those of a good one, and None takes one out."""
    document = {name: value for name, value in {**SERVER, **members}.items() if value is not None}
    parameters = {"publish": publish} | ({"hosts": hosts} if hosts is not None else {})
    return mcp.mcp_server(None, bringing(document), Policy(parameters=parameters))


def broken(publish=False, **members):
    """What is wrong with an MCP server: places and rules."""
    verdict = server(publish, **members)
    assert not verdict.agrees, members
    return places(verdict)


def package(base, **members):
    return {"packages": [{name: value for name, value in {**base, **members}.items() if value is not None}]}


@pytest.mark.parametrize("publish", [False, True])
@pytest.mark.parametrize(
    "members",
    [
        {},
        {
            "title": "Weather",
            "websiteUrl": "https://acme.example",
            "icons": [{"src": "https://acme.example/i.png"}],
        },
        {"repository": {}},
        {"repository": {"url": "", "source": ""}},
        {"repository": {"url": "https://github.com/acme/weather", "source": "github", "subfolder": "a/b.c"}},
        {"repository": {"url": "https://gitlab.com/acme/team/weather/", "source": "gitlab"}},
        {"_meta": {}},
        {"_meta": {mcp.PUBLISHER_KEY: {"tool": "x"}}},
        {"packages": [NPM, IMAGE, BUNDLE], "remotes": [REMOTE]},
        {"packages": []},
        package(NPM, registryBaseUrl="https://packages.example"),
        package(NPM, registryType="pypi"),
        package(NPM, registryType="cargo"),
        package(NPM, registryType="go", identifier="github.com/acme/weather"),
        package(NPM, registryType="nuget", registryBaseUrl="https://packages.example"),
        package(NPM, registryType="pypi", registryBaseUrl="https://packages.example"),
        package(NPM, registryType="cargo", registryBaseUrl="https://packages.example"),
        package(NPM, registryType="go", registryBaseUrl="https://packages.example"),
        package(IMAGE, identifier="weather:1.2.0"),
        package(IMAGE, identifier="acme/weather:latest"),
        package(IMAGE, identifier="mcr.microsoft.com/acme/weather:1"),
        package(IMAGE, identifier="index.docker.io/acme/weather:1"),
        package(IMAGE, identifier="registry-1.docker.io/acme/weather:1"),
        package(IMAGE, identifier="quay.io/acme/weather@sha256:" + "0" * 64),
        package(IMAGE, identifier="europe-docker.pkg.dev/a/b/c:1@sha256:" + "0" * 64),
        package(IMAGE, identifier="acme.azurecr.io/weather:1"),
        package(BUNDLE, version="1.2.0"),
        package(BUNDLE, identifier="https://gitlab.com/a/b/c/-/releases/v1/downloads/x.mcpb"),
        package(BUNDLE, identifier="https://www.gitlab.com/a/mcp/-/package_files/12/download"),
        package(
            NPM,
            transport={"type": "sse", "url": "{protocol}://localhost:{PORT}/{--path}/{hint}"},
            environmentVariables=[{"name": "PORT"}, {"name": "protocol"}, "odd"],
            packageArguments=[{"type": "named", "name": "--path"}, 7],
            runtimeArguments=[{"type": "positional", "valueHint": "hint"}],
        ),
        {
            "remotes": [
                {**REMOTE, "url": "https://{tenant}.acme.example/{tenant}", "variables": {"tenant": {}}}
            ]
        },
        {
            "remotes": [
                {"type": "streamable-http", "url": "https://acme.example:{port}/", "variables": {"port": {}}}
            ]
        },
        {"name": "com.example/" + "w" * 188},
        {"version": "2025.11"},
        {"description": "ü" * 100, "title": "ü" * 100},
    ],
    ids=str,
)
def test_a_good_server_is_taken(publish, members):
    """What the MCP registry takes is taken, also by the demands of the public one."""
    verdict = server(publish, **members)

    assert verdict.agrees, verdict
    assert verdict.reason == "the document complies with the rules for MCP servers"
    assert set(verdict.evidence) == {"digest", "publish"}
    assert verdict.evidence["publish"] is publish
    assert verdict.evidence["digest"].startswith("sha256:")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (None, "is required"),
        (7, "must be text"),
        ("a/", "3 to 200"),
        ("a/b", "the namespace"),
        ("com.example/" + "w" * 189, "3 to 200"),
        ("weather", "one slash"),
        ("io.github.acme/weather/more", "one slash"),
        (".io/weather", "the namespace"),
        ("io-/weather", "the namespace"),
        ("io_x/weather", "the namespace"),
        ("i/weather", "the namespace"),
        ("io.github.acme/_weather", "after the slash"),
        ("io.github.acme/weather.", "after the slash"),
        ("io.github.acme/wetter für", "after the slash"),
        ("io.github.acme/w", "after the slash"),
    ],
)
def test_the_name_of_a_server_has_a_namespace(name, said):
    """M1: namespace/name, of the characters that the registry takes."""
    verdict = server(name=name)

    assert places(verdict) == [("/name", "M1")]
    assert said in verdict.reason


@pytest.mark.parametrize("namespace", ["acme", "io..github", "io.-github", "io.github-"])
def test_a_published_namespace_could_be_proved(namespace):
    """M2: the public registry proves domains and accounts, so it takes no other namespaces."""
    rule = "M1" if namespace.endswith("-") else "M2"

    assert broken(publish=True, name=f"{namespace}/weather") == [("/name", rule)]
    assert server(name=f"{namespace}/weather").agrees is (rule == "M2")


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"version": None}, [("/version", "M4")]),
        ({"version": "1.x"}, [("/version", "M4")]),
        ({"$schema": 7}, [("/$schema", "M14")]),
        ({"$schema": "server.schema.json"}, [("/$schema", "M14")]),
        ({"description": None}, [("/description", "M10")]),
        ({"description": ""}, [("/description", "M10")]),
        ({"description": "x" * 101}, [("/description", "M10")]),
        ({"title": " "}, [("/title", "M10")]),
        ({"title": "x" * 101}, [("/title", "M10")]),
        ({"websiteUrl": "http://acme.example"}, [("/websiteUrl", "M10")]),
        ({"websiteUrl": "acme.example"}, [("/websiteUrl", "M10")]),
        ({"icons": {}}, [("/icons", "M10")]),
        (
            {"icons": [7, {"src": "http://a.example"}, {}]},
            [("/icons/0", "M10"), ("/icons/1/src", "M10"), ("/icons/2/src", "M10")],
        ),
        ({"repository": "https://github.com/a/b"}, [("/repository", "M10")]),
        ({"repository": {"url": "https://a.example"}}, [("/repository/source", "M10")]),
        ({"repository": {"source": "github"}}, [("/repository/url", "M10")]),
        ({"repository": {"source": "git", "url": "a/b"}}, [("/repository/url", "M10")]),
        ({"repository": {"source": "github", "url": "https://gitlab.com/a/b"}}, [("/repository/url", "M10")]),
        (
            {"repository": {"source": "github", "url": "https://github.com/a/b/c"}},
            [("/repository/url", "M10")],
        ),
        ({"repository": {"source": "gitlab", "url": "https://gitlab.com/a"}}, [("/repository/url", "M10")]),
        ({"_meta": []}, [("/_meta", "M11")]),
        ({"_meta": {mcp.PUBLISHER_KEY: []}}, [(PUBLISHER, "M11")]),
        ({"_meta": {mcp.PUBLISHER_KEY: {"a": "x" * 4089}}}, [(PUBLISHER, "M11")]),
        ({"packages": "npm"}, [("/packages", "M13")]),
        ({"packages": [None]}, [("/packages/0", "M13")]),
        ({"remotes": 7}, [("/remotes", "M15")]),
        ({"remotes": ["https://a.example"]}, [("/remotes/0", "M15")]),
    ],
    ids=str,
)
def test_a_bad_member_of_a_server_is_named(members, expected):
    """M4, M10, M11, M13, M14, M15: each problem with its pointer and its rule."""
    assert broken(**members) == expected


@pytest.mark.parametrize("subfolder", ["/a", "a/", "a//b", ".", "a/../b", "..", "a b", "a\\b", 7])
def test_a_subfolder_is_a_clean_path(subfolder):
    """M10: it can't lead out of the repository, and is written in one way only."""
    repository = {"url": "https://github.com/acme/weather", "source": "github", "subfolder": subfolder}

    assert broken(repository=repository) == [("/repository/subfolder", "M10")]


def test_4096_bytes_are_what_a_publisher_may_say():
    """M11: the bound itself is taken; bytes are counted, not characters."""
    assert server(_meta={mcp.PUBLISHER_KEY: {"a": "x" * 4088}}).agrees
    assert not server(_meta={mcp.PUBLISHER_KEY: {"a": "ü" * 2045}}).agrees


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (package(NPM, registryType="rubygems"), [("/packages/0/registryType", "M13")]),
        (package(NPM, registryType=None), [("/packages/0/registryType", "M13")]),
        (package(NPM, registryType=["npm"]), [("/packages/0/registryType", "M13")]),
        (package(NPM, identifier=None), [("/packages/0/identifier", "M13")]),
        (package(NPM, identifier=" "), [("/packages/0/identifier", "M13")]),
        (package(NPM, version=None), [("/packages/0/version", "M4")]),
        (package(NPM, version="^1"), [("/packages/0/version", "M4")]),
        (package(NPM, registryBaseUrl="http://packages.example"), [("/packages/0/registryBaseUrl", "M13")]),
        (package(NPM, registryBaseUrl="https://localhost"), [("/packages/0/registryBaseUrl", "M13")]),
        (package(NPM, registryBaseUrl=7), [("/packages/0/registryBaseUrl", "M13")]),
        (package(NPM, fileSha256="a" * 64), [("/packages/0/fileSha256", "M13")]),
        (package(IMAGE, version="1.2.0"), [("/packages/0/version", "M13")]),
        (package(IMAGE, registryBaseUrl="https://ghcr.io"), [("/packages/0/registryBaseUrl", "M13")]),
        (package(IMAGE, fileSha256="a" * 64), [("/packages/0/fileSha256", "M13")]),
        (package(IMAGE, identifier=None), [("/packages/0/identifier", "M13")]),
        (package(IMAGE, identifier="ghcr.io/acme/weather"), [("/packages/0/identifier", "M13")]),
        (package(IMAGE, identifier="localhost:5000/weather:1"), [("/packages/0/identifier", "M13")]),
        (package(IMAGE, identifier="localhost/weather:1"), [("/packages/0/identifier", "M13")]),
        (package(IMAGE, identifier=" "), [("/packages/0/identifier", "M13")]),
        (package(IMAGE, identifier="acme/Weather:1"), [("/packages/0/identifier", "M13")]),
        (package(IMAGE, identifier="acme//weather:1"), [("/packages/0/identifier", "M13")]),
        (package(IMAGE, identifier="acme/weather:"), [("/packages/0/identifier", "M13")]),
        (package(IMAGE, identifier="acme/weather:1@"), [("/packages/0/identifier", "M13")]),
        (package(IMAGE, identifier="acme/weather@md5:1"), [("/packages/0/identifier", "M13")]),
        (package(BUNDLE, fileSha256=None), [("/packages/0/fileSha256", "M12")]),
        (package(BUNDLE, fileSha256="A" * 64), [("/packages/0/fileSha256", "M12")]),
        (package(BUNDLE, registryBaseUrl="https://github.com"), [("/packages/0/registryBaseUrl", "M13")]),
        (package(BUNDLE, version="1.x"), [("/packages/0/version", "M4")]),
        (package(BUNDLE, identifier=None), [("/packages/0/identifier", "M13")]),
        (package(BUNDLE, identifier=" "), [("/packages/0/identifier", "M13")]),
        (
            package(BUNDLE, identifier="http://github.com/a/mcp/releases/download/v/x"),
            [("/packages/0/identifier", "M12")],
        ),
        (
            package(BUNDLE, identifier="https://a.example/a/mcp/releases/download/v/x"),
            [("/packages/0/identifier", "M12")],
        ),
        (
            package(BUNDLE, identifier="https://github.com/a/mcp/archive/v/x"),
            [("/packages/0/identifier", "M12")],
        ),
        (
            package(BUNDLE, identifier="https://github.com/a/b/releases/download/v/x"),
            [("/packages/0/identifier", "M12")],
        ),
        (package(NPM, transport=None), [("/packages/0/transport", "M15")]),
        (package(NPM, transport={}), [("/packages/0/transport/type", "M15")]),
        (package(NPM, transport={"type": "websocket"}), [("/packages/0/transport/type", "M15")]),
        (
            package(NPM, transport={"type": "stdio", "url": "https://a.example"}),
            [("/packages/0/transport/url", "M15")],
        ),
        (package(NPM, transport={"type": "sse"}), [("/packages/0/transport/url", "M15")]),
        (
            package(NPM, transport={"type": "sse", "url": "http://{host}/"}),
            [("/packages/0/transport/url", "M15")],
        ),
    ],
    ids=str,
)
def test_a_bad_package_is_named(members, expected):
    """M4, M12, M13, M15: each problem of a package with its pointer and its rule."""
    assert broken(**members) == expected


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ({"type": "stdio", "url": "https://a.example"}, ["/remotes/0/type"]),
        ({"url": "https://a.example"}, ["/remotes/0/type"]),
        ({"type": "sse"}, ["/remotes/0/url"]),
        ({"type": "sse", "url": 7}, ["/remotes/0/url"]),
        ({"type": "sse", "url": "wss://a.example"}, ["/remotes/0/url"]),
        ({"type": "sse", "url": "{base}/mcp", "variables": {"base": {}}}, ["/remotes/0/url"]),
        ({"type": "sse", "url": "http://localhost:8080/"}, ["/remotes/0/url"]),
        ({"type": "sse", "url": "http://LOCALHOST./"}, ["/remotes/0/url"]),
        ({"type": "sse", "url": "http://127.0.0.{x}/", "variables": {"x": {}}}, ["/remotes/0/url"]),
        ({"type": "sse", "url": "http://[::1]/"}, ["/remotes/0/url"]),
        ({"type": "sse", "url": "https://{a}.example/{b}/{a}"}, ["/remotes/0/url", "/remotes/0/url"]),
        ({"type": "sse", "url": "https://a.example/{b}", "variables": ["b"]}, ["/remotes/0/url"]),
    ],
    ids=str,
)
def test_a_remote_leads_to_another_machine_by_variables_that_are_declared(remote, expected):
    """M15: every remote has a type, a URL that leads elsewhere, and declares what stands in braces."""
    assert broken(remotes=[remote]) == [(at, "M15") for at in expected]


def test_the_public_registry_demands_more():
    """`publish`: what is taken here may be refused there, and every difference is named."""
    members = {
        "$schema": "https://acme.example/schemas/server.json",
        "repository": {"source": "git", "url": "https://acme.example/weather"},
        "_meta": {"com.acme/more": {}, "com.acme/most": {}},
        "remotes": [
            {"type": "sse", "url": "http://acme.example/"},
            {"type": "sse", "url": "https://10.0.0.7/"},
            {"type": "sse", "url": "{scheme}://acme.example/", "variables": {"scheme": {}}},
        ],
    }

    found = server(publish=True, **members)

    assert server(**members).agrees
    assert places(found) == [
        ("/$schema", "M14"),
        ("/repository/source", "M10"),
        ("/_meta", "M11"),
        ("/remotes/0/url", "M15"),
        ("/remotes/1/url", "M15"),
        ("/remotes/2/url", "M15"),
    ]
    assert "and 1 more" in found.evidence["problems"][2]["problem"]


def test_what_would_be_dropped_is_named_with_how_much_more():
    """M11: one member is named alone."""
    (problem,) = server(publish=True, _meta={"com.acme/more": {}}).evidence["problems"]

    assert problem["problem"].endswith("and would drop 'com.acme/more'")


def test_the_public_registry_requires_a_schema():
    """M14: without `publish` the `$schema` may be missing."""
    assert server(**{"$schema": None}).agrees
    assert broken(publish=True, **{"$schema": None}) == [("/$schema", "M14")]


@pytest.mark.parametrize(
    "date", ["2025-07-09", "2025-09-16", "2025-09-29", "2025-10-11", "2025-10-17", "2025-12-11"]
)
def test_a_schema_that_was_followed_by_another_is_warned_about(date):
    """M14: every schema that was published is taken, and the current one goes without a warning."""
    schema = f"https://static.modelcontextprotocol.io/schemas/{date}/server.schema.json"

    verdict = server(publish=True, **{"$schema": schema})

    assert verdict.agrees
    assert verdict.evidence.get("warnings", []) == (
        [] if date == "2025-12-11" else [f"`$schema` is not the current one, {mcp.SCHEMAS_KNOWN[-1]}"]
    )


@pytest.mark.parametrize(
    ("publish", "members", "text"),
    [
        (False, {"websiteUrl": "x"}, "`websiteUrl` must be an https URL, not 'x'"),
        (False, {"icons": [{}]}, "`src` must be an https URL, not nothing"),
        (
            False,
            {"repository": {"url": "https://a.example"}},
            "the source of a repository must be named, such as github, not nothing",
        ),
        (
            True,
            {"repository": {"url": "https://a.example", "source": "git"}},
            "the source of a repository must be github or gitlab, not 'git'",
        ),
        (
            False,
            package(IMAGE, identifier="localhost:5000/b/c:1"),
            "packages come from another machine, not from 'localhost:5000'",
        ),
        (
            False,
            package(IMAGE, version="1"),
            "`version` is not allowed in a package of the type oci, whose `identifier` says it all",
        ),
        (
            False,
            package(BUNDLE, registryBaseUrl="x"),
            "`registryBaseUrl` is not allowed in a package of the type mcpb",
        ),
        (
            False,
            package(NPM, transport={**STDIO, "url": "x"}),
            "`url` is not allowed in a transport of the type stdio",
        ),
        (
            False,
            {"remotes": [{**REMOTE, "url": "https://a.example/{b}"}]},
            "`url` has the variable {b}, which is not declared",
        ),
    ],
    ids=str,
)
def test_a_problem_says_what_was_expected_and_what_was_found(publish, members, text):
    """The words are those that people mend a document by."""
    (problem,) = server(publish, **members).evidence["problems"]

    assert problem["problem"] == text


@pytest.mark.parametrize(
    ("hosts", "members", "foreign"),
    [
        (["images.example"], package(IMAGE, identifier="images.example/acme/weather:1"), None),
        (["images.example"], package(IMAGE, identifier="evil.example/acme/weather:1"), "evil.example"),
        ([".images.example"], package(IMAGE, identifier="eu.images.example/acme/weather:1"), None),
        (
            [".images.example"],
            package(IMAGE, identifier="evilimages.example/acme/weather:1"),
            "evilimages.example",
        ),
        (
            ["images.example"],
            package(IMAGE, identifier="images.example:5000/weather:1"),
            "images.example:5000",
        ),
        (["packages.example"], package(NPM, registryBaseUrl="https://packages.example/v3"), None),
        (["packages.example"], package(NPM, registryBaseUrl="https://evil.example"), "evil.example"),
        (["packages.example"], package(NPM), None),
    ],
    ids=str,
)
def test_packages_come_from_the_hosts_that_the_policy_names(hosts, members, foreign):
    """M13: which registries are trusted is for the policy to say; one that begins with a dot stands for all below it."""
    verdict = server(hosts=hosts, **members)

    assert verdict.agrees is (foreign is None)
    if foreign is not None:
        (problem,) = verdict.evidence["problems"]
        assert problem["problem"] == f"packages may come from {hosts[0]}, not from {foreign!r}"


def test_a_hostile_url_takes_no_time():
    """Braces without end are read once: a megabyte of them is no matter of hours."""
    url = "https://a.example/" + "{" * 500_000

    assert server(remotes=[{"type": "sse", "url": url}]).agrees


@needs_manifests
def test_real_servers_are_taken_but_for_those_of_an_older_format():
    """Those that two registries have keep the rules; the seeds of September 2025 name images in the way of that time."""
    refused = {}
    for path, document in real("mcp-server-*"):
        command = bringing(document, stream=id_from_document(document))
        verdict = mcp.mcp_server(None, command, Policy())
        if not verdict.agrees:
            refused.setdefault(path.parent.name, []).append({rule for _, rule in places(verdict)})
        assert names.name_well_formed(None, command, Policy()).agrees
        assert names.version_well_formed(None, command, Policy(parameters={"semver": True})).agrees

    assert set(refused) == {"mcp-server-seed-20250929"}
    assert len(refused["mcp-server-seed-20250929"]) == 15
    assert sum(rules == {"M13"} for rules in refused["mcp-server-seed-20250929"]) == 6
    assert sum(rules == {"M10", "M13"} for rules in refused["mcp-server-seed-20250929"]) == 9

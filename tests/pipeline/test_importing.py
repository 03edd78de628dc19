"""Importing: each document told, nothing done twice, and the same registry however often it was killed."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from registration import InvalidArgument, RegistrationPipeline
from registration.cli.app import app
from registration.cli.output import Progress
from registration.pipeline.import_sources import WORDS_BYTES_MAX, open_source
from registration.pipeline.importing import Importer, Offer
from registration.pipeline.many import carry_out
from registration.values.documents import check_document
from tests.kit.policies import put_in_force

CARD = {"name": "card", "version": "1"}


@pytest.fixture
def typed(root):
    """Type `registration import …` at a registry; gives what came out."""
    with RegistrationPipeline(root):
        pass

    def typed(*words, input=None):
        return CliRunner().invoke(
            app, ["import", *map(str, words)], input=input, prog_name="registration",
            env={"REGISTRATION_ROOT": str(root), "REGISTRATION_ACTOR": "ada"},
        )  # fmt: skip

    return typed


@pytest.fixture
def folder(tmp_path):
    """A folder to put documents in."""
    folder = tmp_path / "documents"
    folder.mkdir()
    return folder


def put(path, value):
    """A file with a document, or with text as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def lines(folder, *values):
    """A file of lines, each a value, or text as it is."""
    told = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return put(folder / "lines.jsonl", "\n".join(told) + "\n")


def outcomes(result):
    """Outcome, manifest and state of each line of `--json`."""
    found = [json.loads(line) for line in result.stdout.splitlines()]
    return [(one["outcome"], one["manifest_id"], one["state"]) for one in found]


def actions(root):
    """What each log of a registry tells: its actions, and the digest after each."""
    with RegistrationPipeline(root) as pipeline:
        return {
            id: [(event.action, event.data["digest"], event.actor) for event in pipeline.history(id)]
            for id in pipeline.upkeep.manifest_ids()
            if pipeline.find_state(id) is not None
        }


def test_a_folder_is_imported_in_the_order_of_its_names(typed, folder, root):
    """The .json files of a folder and of those in it, each told on a line, and a sum at the end."""
    put(folder / "b.json", {"name": "b"})
    put(folder / "a" / "z.json", {"name": "z"})
    put(folder / "a" / "y" / "c.json", {"name": "c", "version": "2"})
    put(folder / "notes.txt", "not a document")
    put(folder / ".hidden" / "x.json", {"name": "x"})
    (folder / "link").symlink_to(folder / "a", target_is_directory=True)

    result = typed(folder)

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "created    c@2  DRAFT  (a/y/c.json)",
        "created    z  DRAFT  (a/z.json)",
        "created    b  DRAFT  (b.json)",
    ]
    assert result.stderr == "3 documents: 3 created.\n"
    assert {actor for log in actions(root).values() for _, _, actor in log} == {"ada"}


def test_a_second_time_nothing_is_written(typed, folder, root):
    """What is there with the same document is unchanged, in whatever order its members and its white space stand."""
    put(folder / "a.json", {"name": "a", "title": "A"})
    typed(folder)
    before = actions(root)
    put(folder / "a.json", '{"title": "A",\n\n "name": "a"}')

    again = typed(folder)

    assert again.stdout == "unchanged  a  DRAFT  (a.json)\n"
    assert again.stderr == "1 document: 1 unchanged.\n"
    assert actions(root) == before


def test_another_document_under_the_same_id_stays_out(typed, folder, root):
    """The one that is there stays, both digests are told, and the exit code is that of a taken id."""
    put(folder / "a.json", CARD)
    typed(folder)
    before = actions(root)
    put(folder / "a.json", CARD | {"title": "other"})

    result = typed(folder)

    assert result.exit_code == 4
    assert result.stdout == "different  a.json\n"
    assert (
        f"'card@1' exists with another document: {check_document(CARD).digest}, not sha256:" in result.stderr
    )
    assert "`registration revise card@1 FILE`" in result.stderr
    assert actions(root) == before


def test_trusted_lines_say_more_of_their_documents(typed, folder, root):
    """An id, who brings it, a remark, and whether to hand it in; the options count where a line doesn't say."""
    file = lines(
        folder,
        CARD,
        "",
        {"document": {"title": "no name"}, "id": "b", "actor": "zoe", "comment": "from the old registry", "submit": True},
        {"document": {"name": "c"}, "submit": False},
    )  # fmt: skip

    plain = typed(file, "--trust-lines", "--json")
    submitted = typed(file, "--trust-lines", "--json", "--submit", "--actor", "eve")

    assert outcomes(plain) == [
        ("created", "card@1", "DRAFT"),
        ("created", "b", "REVIEWED"),
        ("created", "c", "DRAFT"),
    ]
    assert outcomes(submitted) == [
        ("unchanged", "card@1", "REVIEWED"), ("unchanged", "b", "REVIEWED"), ("unchanged", "c", "DRAFT"),
    ]  # fmt: skip
    assert [line["line"] for line in map(json.loads, plain.stdout.splitlines())] == [1, 3, 4]
    assert [(a, who) for a, _, who in actions(root)["b"]] == [("create", "zoe"), ("submit_for_review", "zoe")]
    assert [(a, who) for a, _, who in actions(root)["card@1"]] == [
        ("create", "ada"),
        ("submit_for_review", "eve"),
    ]
    with RegistrationPipeline(root) as pipeline:
        assert next(pipeline.history("b")).data["comment"] == "from the old registry"


# -- on whose word ---------------------------------------------------------------------------------------------

FORGED = {
    "document": CARD,
    "actor": "bea",
    "id": "chosen",
    "comment": "reviewed by security",
    "submit": True,
}
"""A line that names its own author. Once, `import --actor importer` recorded bea as the actor, and the importer nowhere."""


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (FORGED, ["id", "actor", "submit"]),
        ({"document": CARD, "actor": "bea"}, ["actor"]),
        ({"document": CARD, "id": "card@1"}, ["id"]),
        ({"document": CARD, "submit": False}, ["submit"]),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_a_line_speaks_for_no_one(typed, folder, root, given, named, dry):
    """What names an actor, an id or a submission is refused and named; nothing of that line is imported, and all others are."""
    file = lines(
        folder, {"name": "a"}, given, {"document": {"name": "b"}, "comment": "from the old registry"}
    )

    result = typed(file, "--json", *(["--dry-run"] if dry else []))
    spoken = typed(file, "--dry-run")

    assert result.exit_code == spoken.exit_code == 2
    assert [one[0] for one in outcomes(result)] == ["created", "refused", "created"]
    problem = json.loads(result.stdout.splitlines()[1])["problem"]
    assert (problem["details"]["line"], problem["details"]["named"]) == (2, named)
    assert problem["next_step"].endswith("`registration import FILE --trust-lines`.")
    listed = " and ".join(filter(None, (", ".join(f"`{one}`" for one in named[:-1]), f"`{named[-1]}`")))
    assert f"lines.jsonl, line 2 names {listed}, and its source is not trusted." in spoken.stderr
    assert set(actions(root)) == (set() if dry else {"a", "b"})


def origins(root, id):
    """Of each event: its action, its actor, its origin, and its remarks."""
    with RegistrationPipeline(root) as pipeline:
        return [
            (event.action, event.actor, event.data.get("imported"), event.remarks)
            for event in pipeline.history(id)
        ]


def test_the_importer_is_the_actor_and_the_events_name_the_origin(typed, folder, root):
    """A comment is only words, and they are the importer's."""
    file = lines(folder, {"name": "a"}, {"document": CARD, "comment": "reviewed by security"})
    put(folder / "sub" / "c.json", {"name": "c"})

    typed(file, "--submit", "--actor", "importer")
    typed(folder, "--actor", "importer")
    typed("-", "--actor", "importer", input=b'{"name": "d"}\n')

    second = {"by": "importer", "source": "lines.jsonl", "line": 2}
    whence = "imported from lines.jsonl, line 2"
    assert origins(root, "card@1") == [
        ("create", "importer", second, f"reviewed by security; {whence}"),
        ("submit_for_review", "importer", second, whence),
    ]
    whole = {"by": "importer", "source": "sub/c.json", "line": 0}
    assert origins(root, "c") == [("create", "importer", whole, "imported from sub/c.json")]
    assert origins(root, "d")[0][3] == "imported from standard input, line 1"


def test_trusted_lines_name_the_importer_besides(typed, folder, root):
    """The actor is the line's, and who vouched for it is in the event, too."""
    typed(lines(folder, FORGED), "--trust-lines", "--actor", "importer")

    origin = {"by": "importer", "source": "lines.jsonl", "line": 1}
    assert origins(root, "chosen") == [
        (
            "create",
            "bea",
            origin,
            "reviewed by security; imported by importer from lines.jsonl, line 1",
        ),
        ("submit_for_review", "bea", origin, "imported by importer from lines.jsonl, line 1"),
    ]


def test_who_imports_again_changes_nothing(typed, folder, root):
    """What is there is left alone, whoever imports it, from whatever line, trusted or not."""
    typed(lines(folder, CARD), "--submit", "--actor", "ada")
    before = actions(root)

    again = typed(lines(folder, {"name": "a"}, CARD), "--submit", "--actor", "eve")
    trusted = typed(lines(folder, {"document": CARD, "actor": "eve"}), "--trust-lines", "--submit")

    assert again.exit_code == trusted.exit_code == 0
    assert actions(root)["card@1"] == before["card@1"]


def test_an_import_that_overtakes_itself_is_the_same_request(root):
    """The same document under the same key, from another line of the source: the first answer, and no mismatch."""
    document = check_document(CARD)
    with RegistrationPipeline(root, actor="ada") as pipeline:
        first, second = (
            Importer(pipeline._registry).prepare(Offer(source="x.jsonl", line=line, document=document))[1]
            for line in (1, 7)
        )
        first()
        words = {"idempotency_key": next(pipeline.history("card@1")).idempotency_key}
        repeated = pipeline._registry.carry_out(
            "card@1",
            words,
            action="create",
            document=document,
            imported={"by": "ada", "source": "y", "line": 9},
        )

        assert repeated.replayed
        assert second().outcome == "unchanged"


def test_the_name_of_a_file_need_not_be_text(typed, folder, root):
    """Once, a name of other bytes than UTF-8 ended the import with an error of ours. It is recorded as far as it is text."""
    put(folder / os.fsdecode(b"caf\xe9.json"), CARD)
    put(folder / os.fsdecode(b"t\xe9.jsonl"), {"name": "line"})

    as_json = typed(folder, "--json")
    lined = typed(folder / os.fsdecode(b"t\xe9.jsonl"))
    with RegistrationPipeline(root, actor="ada") as pipeline:
        offer = Offer(source=os.fsdecode(b"\xff"), document=check_document({"name": "made"}))
        with pipeline.import_many([offer]) as results:
            assert [one.error for one in results] == [None]

    assert json.loads(as_json.stdout)["source"] == "caf\ufffd.json"
    assert lined.stdout == "created    line  DRAFT  (t\ufffd.jsonl, line 1)\n"
    sources = [origins(root, id)[0][2]["source"] for id in ("card@1", "line", "made")]
    assert sources == ["caf\ufffd.json", "t\ufffd.jsonl", "\ufffd"]


def test_what_was_sent_back_is_not_handed_in_again(typed, folder, root):
    """A manifest that was handed in by an import and then rejected stays a DRAFT, whoever imports it again."""
    file = lines(folder, CARD)
    typed(file, "--submit")
    with RegistrationPipeline(root) as pipeline:
        pipeline.reject("card@1", reason="no licence", actor="bea")

    again, as_another = typed(file, "--submit"), typed(file, "--submit", "--actor", "eve")

    assert again.stdout == as_another.stdout == "unchanged  card@1  DRAFT  (lines.jsonl, line 1)\n"
    assert len(actions(root)["card@1"]) == 3


BAD = [
    ('{"name": "x",,}', "{place} is invalid: it is not JSON:", "column 14"),
    (
        '{"name": "x", "name": "y"}',
        "{place} is invalid: at the top: duplicate key 'name'",
        "",
    ),
    ("[1]", "{place} is invalid: it is an array", ""),
    (
        '{"title": "x"}',
        "Without an id, {place} is invalid: it has no `name`",
        "on a line of a .jsonl file",
    ),
    ('{"name": "x", "n": 1e999}', "{place} is invalid: at /n: it is not a finite number", ""),
]


@pytest.mark.parametrize(("text", "said", "more"), BAD)
def test_a_bad_file_is_named_and_stops_no_other(typed, folder, text, said, more):
    """Where it stands, what is wrong, and in which line and column."""
    put(folder / "a.json", {"name": "a"})
    put(folder / "bad.json", text)
    put(folder / "c.json", {"name": "c"})

    result = typed(folder)

    assert result.exit_code == 4
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["created", "refused", "created"]
    assert said.format(place="bad.json") in result.stderr
    assert more in result.stderr
    assert "3 documents: 2 created, 1 refused." in result.stderr


@pytest.mark.parametrize(("text", "said", "more"), BAD)
def test_a_bad_line_is_named_and_stops_no_other(typed, folder, text, said, more):
    """As of a file, and the line is the one in the file that it stands in."""
    result = typed(lines(folder, {"name": "a"}, text, {"name": "c"}))

    assert result.exit_code == 4
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["created", "refused", "created"]
    assert said.format(place="lines.jsonl, line 2") in result.stderr
    assert more in result.stderr
    assert "line 2, column 14" in result.stderr or "column" not in more


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"document": CARD, "auther": "zoe"}, "'auther' is not one of id, actor, comment, submit"),
        ({"document": CARD, "id": 7}, "'id' is 7; expected text"),
        ({"document": CARD, "submit": "yes"}, "'submit' is 'yes'; expected true or false"),
        ({"document": CARD, "id": "no id"}, "'no id'"),
        ({"document": CARD, "id": ""}, "''"),
        ({"document": CARD, "actor": " "}, "actor"),
    ],
)
def test_words_that_cannot_be_meant(typed, folder, line, said):
    """What a line says of its document is checked, so that a slip is no silent loss."""
    result = typed("--trust-lines", lines(folder, line))

    assert result.exit_code in (2, 4)
    assert result.stdout.startswith("refused")
    assert said in result.stderr


def test_large_documents_are_refused_and_long_lines_read_over(root, tmp_path):
    """A document beyond the registry's limit is refused by file and by line; the next line is found whatever its length."""
    with RegistrationPipeline(root, document_bytes_max=1000) as pipeline:
        long, fits = {"name": "long", "t": "x" * 1000}, {"name": "fits", "t": "x" * 960}
        file = lines(
            tmp_path, long, {"document": long, "comment": "c" * 2000}, {"document": fits, "comment": "c" * 2000},
            {"name": "longer", "t": "x" * (WORDS_BYTES_MAX * 3)}, {"name": "last"},
        )  # fmt: skip
        put(tmp_path / "long.json", long)
        importer = Importer(pipeline._registry)

        def told(place):
            found = open_source(str(place), stdin=io.BytesIO, document_bytes_max=pipeline.document_bytes_max)
            return [
                one.result.state.manifest_id if one.result else str(one.error)
                for one in carry_out(found.offers, importer.prepare, workers=2)
            ]

        by_line, by_file = told(file), told(tmp_path / "long.json")

    assert [said[:5] for said in by_line] == ["lines", "lines", "fits", "lines", "last"]
    assert "at most 1,000 are allowed" in by_line[0]
    assert "at most 1,000 are allowed" in by_line[1]
    assert "at most 1,000 are allowed" in by_file[0]


def test_standard_input_is_read_line_by_line(typed):
    """`-` takes lines; errors call it standard input."""
    result = typed("-", input='{"name": "a"}\n{"name": \n{"name": "b"}')

    assert result.stdout == (
        "created    a  DRAFT  (standard input, line 1)\n"
        "refused    standard input, line 2\n"
        "created    b  DRAFT  (standard input, line 3)\n"
    )
    assert "standard input, line 2 is invalid: it is not JSON" in result.stderr


def test_one_file_is_one_document(typed, folder):
    """A file that is no .jsonl holds one document, on as many lines as it likes."""
    file = put(folder / "card.json", json.dumps(CARD, indent=2))

    assert typed(file).stdout == "created    card@1  DRAFT  (card.json)\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere"], 3, "There is no file or directory nowhere."),
        (["empty"], 3, "There is no .json file in empty."),
        (["."], 2, ". is a registry."),
        (["one.json", "--continue-from", "2"], 2, "one.json is a single document"),
        (["many.jsonl", "--continue-from", "b.json"], 2, "'b.json' is not a line number of many.jsonl"),
        (["many.jsonl", "--continue-from", "0"], 2, "'0' is not a line number of many.jsonl"),
        (["folder", "--continue-from", "q.json"], 2, "There is no file q.json in folder"),
        (["many.jsonl", "--workers", "0"], 2, "--workers"),
    ],
)
def test_mistakes_are_named(typed, root, monkeypatch, words, code, said):
    """What can't be imported is said before anything is written."""
    monkeypatch.chdir(root)
    (root / "empty").mkdir()
    put(root / "folder" / "a.json", CARD)
    put(root / "one.json", CARD)
    put(root / "many.jsonl", CARD)

    result = typed(*words)

    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert actions(root) == {}


def test_a_file_that_cannot_be_read_stops_no_other(typed, folder):
    """A link that leads nowhere, and a folder that ends in .json, are told like any other problem."""
    (folder / "a.json").symlink_to(folder / "gone")
    put(folder / "b.json", CARD)

    result = typed(folder)

    assert result.exit_code == 3
    assert "There is no file a.json." in result.stderr
    assert "created    card@1" in result.stdout


def test_registries_inside_a_folder_are_passed_over(typed, root, tmp_path):
    """Whoever imports the folder that the registry is in imports none of the registry's own files."""
    put(tmp_path / "a.json", CARD)

    assert typed(tmp_path).stdout == "created    card@1  DRAFT  (a.json)\n"


def test_continuing_passes_over_what_stands_before(typed, folder):
    """From a line on, or from a file on, as they were told."""
    file = lines(folder, {"name": "l1"}, {"name": "l2"}, {"name": "l3"})
    for name in "abc":
        put(folder / "files" / name / "x.json", {"name": name})

    assert [id for _, id, _ in outcomes(typed(file, "--continue-from", "2", "--json"))] == ["l2", "l3"]
    folders = typed(folder / "files", "--continue-from", "b/x.json", "--json")
    assert [id for _, id, _ in outcomes(folders)] == ["b", "c"]


def test_a_guard_that_says_no_is_told_and_what_was_made_stays(typed, folder, root):
    """The policy refuses one creation and one submission: the first leaves nothing, the second a DRAFT."""
    policy = """
[roles]
author = ["ada"]

[[guards]]
guard = "role"
actions = ["create"]
any = ["author"]

[[guards]]
guard = "role"
actions = ["submit_for_review"]
any = ["nobody"]
"""
    put_in_force(root, policy.replace("[roles]", '[roles]\nnobody = ["zed"]'))
    file = lines(folder, {"document": CARD, "actor": "eve"}, {"name": "b"})

    tried = typed(file, "--trust-lines", "--submit", "--json", "--dry-run")
    result = typed(file, "--trust-lines", "--submit", "--json")

    assert tried.exit_code == result.exit_code == 4
    assert outcomes(tried) == outcomes(result) == [("refused", None, None), ("created", "b", "DRAFT")]
    problems = [json.loads(line)["problem"] for line in result.stdout.splitlines()]
    assert [problem["error"] for problem in problems] == ["guard_refused", "guard_refused"]
    assert set(actions(root)) == {"b"}


def test_a_dry_run_says_what_an_import_would_do(typed, folder, root):
    """Line by line the same outcomes as the import itself, and nothing is written."""
    there = lines(
        folder, {"name": "there"}, {"name": "changed"}, {"document": {"name": "in"}, "submit": True}
    )
    typed("--trust-lines", there)
    before = actions(root)
    file = lines(
        folder, {"name": "there"}, {"name": "changed", "v": 2}, {"name": "in"}, {"name": "new"}, {"name": "new"},
        {"name": "new", "v": 2}, "{", {"name": "late", "v": 1}, {"document": CARD, "actor": ""},
    )  # fmt: skip

    tried = typed(file, "--dry-run", "--submit", "--json")
    untouched = actions(root)
    done = typed(file, "--submit", "--json")
    spoken = typed(file, "--dry-run")

    assert untouched == before
    assert outcomes(tried) == outcomes(done)
    assert [o for o, _, _ in outcomes(done)] == [
        "unchanged", "different", "unchanged", "created", "unchanged", "different", "refused", "created", "refused",
    ]  # fmt: skip
    assert [json.loads(line)["submitted"] for line in tried.stdout.splitlines()] == [
        json.loads(line)["submitted"] for line in done.stdout.splitlines()
    ]
    assert spoken.stderr.endswith("This was a dry run: nothing was changed.\n")


def test_a_lifecycle_without_these_steps_is_refused(tmp_path, folder):
    """Where nothing is handed in for review, `--submit` is refused before anything is written."""
    lifecycle = {
        "format": 1, "name": "notes", "version": 1,
        "states": {"OPEN": {"title": "Open"}, "SHUT": {"final": True}},
        "actions": {
            "create": {"past": "created", "to": "OPEN", "document": True},
            "shut": {"past": "shut", "from": ["OPEN"], "to": "SHUT"},
        },
    }  # fmt: skip

    with RegistrationPipeline(tmp_path / "notes", lifecycle=lifecycle) as pipeline:
        with pytest.raises(InvalidArgument, match="has no `submit_for_review` from OPEN"):
            Importer(pipeline._registry, submit=True)
        offer = Offer(source="x", document=check_document(CARD), submit=True)
        with pytest.raises(InvalidArgument, match="has no `submit_for_review`"):
            Importer(pipeline._registry, trust_lines=True).prepare(offer)
        id, work = Importer(pipeline._registry).prepare(Offer(source="x", document=check_document(CARD)))

        assert (id, work().state.state) == ("card@1", "OPEN")


@pytest.mark.torture
def test_two_imports_at_once_make_each_manifest_once(root, folder):
    """Two processes with the same lines, at the same time: every log has one creation and one submission."""
    with RegistrationPipeline(root):
        pass
    file = lines(folder, *({"name": f"m{n}"} for n in range(150)))

    started = [importing(root, file) for _ in range(2)]
    told = [process.communicate()[0].splitlines() for process in started]

    assert [process.returncode for process in started] == [0, 0]
    outcomes = [[json.loads(line)["outcome"] for line in lines] for lines in told]
    assert all({a, b} <= {"created", "unchanged"} for a, b in zip(*outcomes, strict=True))
    assert all([a, b].count("created") == 1 for a, b in zip(*outcomes, strict=True))
    assert {tuple(a for a, _, _ in log) for log in actions(root).values()} == {
        ("create", "submit_for_review")
    }


def importing(root, file):
    """A process that imports a file, handing everything in."""
    return subprocess.Popen(
        [sys.executable, "-m", "registration", "import", file, "--submit", "--json", "--registry", root, "--actor", "ada"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(2))
def test_an_import_that_is_killed_and_begun_again_ends_in_the_same_registry(tmp_path, seed):
    """Killed with -9 at any moment, again and again: the logs tell what those of an import tell that was left alone."""
    file = lines(tmp_path, *({"name": f"m{n}", "text": "x" * (n * 37 % 5_000)} for n in range(120)))
    roots = tmp_path / "killed", tmp_path / "whole"
    for root in roots:
        with RegistrationPipeline(root):
            pass
    moments, kills = random.Random(seed), 0

    while True:
        process = importing(roots[0], file)
        for _ in range(moments.randrange(1, 60)):
            process.stdout.readline()
        time.sleep(moments.uniform(0, 0.01))
        if kills < 4:
            process.kill()
        output = process.communicate()[0]
        if process.returncode == 0 and kills:
            break
        if process.returncode == 0:  # it was done before the signal came
            shutil.rmtree(roots[0])
            RegistrationPipeline(roots[0]).close()
            continue
        assert process.returncode == -signal.SIGKILL
        kills += 1
    whole = importing(roots[1], file)
    assert whole.communicate()[1] == ""

    assert output.count("\n") <= 120
    assert actions(roots[0]) == actions(roots[1])
    for root in roots:
        with RegistrationPipeline(root) as pipeline:
            assert not any(pipeline.evidence.verify(id).findings for id in pipeline.upkeep.manifest_ids())
            assert len(list(pipeline.list("REVIEWED"))) == 120


def test_an_interrupted_import_tells_what_it_did(root, folder):
    """Ctrl-C: every manifest that was made is told, the summary counts them, and the next run skips them."""
    with RegistrationPipeline(root):
        pass
    file = lines(folder, *({"name": f"m{n}"} for n in range(5_000)))
    process = subprocess.Popen(
        [sys.executable, "-m", "registration", "import", file, "--registry", root],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    first = [process.stdout.readline() for _ in range(30)]
    process.send_signal(signal.SIGINT)
    output, said = process.stdout.read(), process.stderr.read()
    process.communicate()

    told = {line.split()[1] for line in [*first, *output.splitlines()]}
    assert process.returncode == 1
    assert "Traceback" not in said
    assert f"{len(told)} documents: {len(told)} created." in said
    assert "Interrupted. Run it again: existing manifests are skipped." in said
    assert told == set(actions(root))
    assert len(told) < 5_000


def test_progress_with_a_rate_and_the_time_that_is_left(monkeypatch, capsys):
    """On a terminal: how many of how many, how fast, how long still."""
    seconds = iter(range(0, 1000, 2))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))

    with Progress("imported", shown=True, rated=True, total=1_000) as progress:
        progress.step()
    with Progress("imported", shown=True, rated=True) as unknown:
        unknown.step()

    shown = capsys.readouterr().err.split("\r")
    assert shown[1] == "1 of 1,000 imported, 0/s, 99:54 left\x1b[K …"
    assert shown[3] == "1 imported, 0/s\x1b[K …"


def test_an_import_holds_a_window_of_documents(root):
    """Standard input may have no end: no more is read ahead than the window holds."""
    read = 0

    class Endless(io.RawIOBase):
        def readline(self, _size=-1):
            nonlocal read
            read += 1
            return json.dumps({"name": f"m{read}"}).encode() + b"\n"

    with RegistrationPipeline(root) as pipeline:
        found = open_source("-", stdin=Endless, document_bytes_max=1 << 20)
        with carry_out(found.offers, Importer(pipeline._registry).prepare, workers=2) as results:
            for _ in range(50):
                assert next(results).result.outcome == "created"

    assert read <= 50 + 2 * 8


def test_paths_are_shown_and_not_obeyed(typed, folder: Path):
    """A file's name may hold what a terminal would obey: it is shown as escapes."""
    put(folder / "a\x1b[2Jb.json", CARD)

    assert typed(folder).stdout == "created    card@1  DRAFT  (a\\x1b[2Jb.json)\n"


def test_a_folder_that_can_not_be_listed_is_named_and_the_others_go_on(tmp_path, monkeypatch):
    """It may be somebody else's; that is no reason to leave the rest undone."""
    for name in ("a", "closed", "z"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "one.json").write_text(json.dumps({"name": name}))
    listed = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)

    offers = list(
        open_source(str(tmp_path / "in"), stdin=io.BytesIO, document_bytes_max=1_000, counted=True).offers
    )

    assert [offer.source for offer in offers] == ["a/one.json", "closed/", "z/one.json"]
    assert "The directory closed/ can't be read" in str(offers[1].problem)

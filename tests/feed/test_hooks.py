"""Hooks: commands and real HTTP servers that are told of events; signatures, retries, dead letters, refused addresses."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import http.server
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from email.utils import format_datetime

import pytest

from registration import RegistrationPipeline, open_memory
from registration.errors import ConsumerBusy, InvalidHooks, NotFound, StoreError
from registration.feed.consumer_records import ConsumerRecords
from registration.feed.hooks.dead_letters import DeadLetter, DeadLetters
from registration.feed.hooks.hook_file import Hook, parse_hooks
from registration.feed.hooks.hooks import Hooks
from registration.feed.hooks.webhooks import Undeliverable, post, read_secret, sign, why_refused
from registration.rules.lifecycles.registration import CHART, REGISTRATION
from registration.storage.memory import MemoryRecords
from tests.kit.builders import SOURCE
from tests.kit.programs import needs_program

OLD = "whsec_" + base64.b64encode(b"o" * 24).decode()
NEW = "whsec_" + base64.b64encode(b"n" * 64).decode()


class Receiver:
    """A real HTTP server. answers: what it says, one after the other, the last for ever; requests: what it was sent."""

    def __init__(self, context=None):
        self.requests = []
        self.answers = [(200, {}, b"")]
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, dict(self.headers), body))
                answer = receiver.answers[0] if len(receiver.answers) == 1 else receiver.answers.pop(0)
                if callable(answer):
                    answer(self)
                    return
                status, headers, said = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def events(self):
        return [json.loads(body) for _, _, body in self.requests]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def pipeline(root):
    with RegistrationPipeline(root, actor="ada") as pipeline:
        yield pipeline


class Clock:
    """Time that goes as far as it is told to."""

    def __init__(self):
        self.now_ns = time.time_ns()

    def __call__(self):
        return self.now_ns

    def advance(self, seconds):
        self.now_ns += round(seconds * 1e9)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def told():
    return []


@pytest.fixture
def hooks(root, pipeline, clock, told):
    """Open the hooks of a text; what becomes of events is in `told`."""

    def hooks(text, **options):
        (root / "hooks.toml").write_text(text)
        options = {"tell": told.append, "clock": clock, "draw": lambda: 0.5} | options
        return Hooks(pipeline._registry.store, **options)

    return hooks


def endpoint(receiver, more="", *, host="127.0.0.1"):
    return f"""
[[hooks]]
name = "ci"
url = "http://{host}:{receiver.port}/hooks?x=1"
secrets = ["env:CI_SECRET"]
allow_private = true
start = "start"
wait_s = 10
attempts_max = 3
timeout_s = 5
{more}
"""


@pytest.fixture(autouse=True)
def _secret(monkeypatch):
    monkeypatch.setenv("CI_SECRET", NEW)


def whats(told):
    return [(one.what, one.attempts) for one in told]


# -- HTTP ------------------------------------------------------------------------------------------------------------


def test_an_event_is_posted_as_it_stands_in_the_log(pipeline, hooks, receiver, told, clock):
    """CloudEvents in structured mode, byte for byte, with the headers of Standard Webhooks."""
    created = pipeline.create_with_result("a", {"title": "ü"})

    assert hooks(endpoint(receiver)).run(once=True)

    ((path, headers, body),) = receiver.requests
    assert path == "/hooks?x=1"
    assert body + b"\n" == created.event.line
    assert headers["Content-Type"] == "application/cloudevents+json"
    assert headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert headers["webhook-id"] == created.event.id
    assert headers["webhook-timestamp"] == str(clock.now_ns // 10**9)
    assert whats(told) == [("delivered", 1)]


def test_the_signature_is_that_of_the_specification(pipeline, hooks, receiver, monkeypatch):
    """Computed a second time with nothing but hmac; while a secret is rotated out, by both, the new one first."""
    monkeypatch.setenv("OLD_SECRET", OLD)
    pipeline.create("a", {})

    hooks(endpoint(receiver).replace('["env:CI_SECRET"]', '["env:CI_SECRET", "env:OLD_SECRET"]')).run(
        once=True
    )

    ((_, headers, body),) = receiver.requests
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    expected = [
        "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
        for secret in (b"n" * 64, b"o" * 24)
    ]
    assert headers["webhook-signature"] == " ".join(expected)


def test_the_example_of_the_reference_implementation_is_signed_alike():
    """The vector that the reference libraries of Standard Webhooks are tested with."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    signature = sign([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_events_come_in_order_and_once(pipeline, hooks, receiver, told):
    """Over several runs, with what is committed in between."""
    pipeline.create("a", {})
    running = hooks(endpoint(receiver))
    assert running.run(once=True)
    pipeline.submit_for_review("a")
    pipeline.create("b", {})
    assert running.run(once=True)
    assert running.run(once=True)

    assert [(e["subject"], e["version"]) for e in receiver.events] == [("a", 1), ("a", 2), ("b", 1)]
    assert whats(told) == [("delivered", 1)] * 3


def test_filters_choose_what_is_told(pipeline, hooks, receiver):
    """By the state that an event leads to, by action, by type, by area; what is passed over is done with."""
    pipeline.create("a", {})
    pipeline.submit_for_review("a")
    pipeline.approve("a", actor="bea")
    pipeline.register("a")
    for filters, expected in (
        ('states = ["REGISTERED", "DRAFT"]', ["create", "register"]),
        ('actions = ["approve"]', ["approve"]),
        ('types = ["registration.*ed.v1"]', ["create", "register"]),
        ('areas = ["aliases", "sessions"]', []),
        ('states = ["APPROVED"]\nactions = ["register"]', []),
    ):
        receiver.requests.clear()
        running = hooks(endpoint(receiver, filters))
        pipeline.feed.consumer("hook:ci").reset("start")

        assert running.run(once=True)

        assert [event["data"]["action"] for event in receiver.events] == expected
        assert pipeline.feed.consumer("hook:ci").status().lag_events == 0


def test_a_new_hook_begins_with_what_comes(pipeline, hooks, receiver):
    """Unless it says otherwise: nobody wants a year of history by surprise."""
    pipeline.create("a", {})
    running = hooks(endpoint(receiver).replace('start = "start"', ""))
    running.run(once=True)
    pipeline.create("b", {})
    running.run(once=True)

    assert [event["subject"] for event in receiver.events] == ["b"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, {}, b"out of\n order"), "HTTP 500 Internal Server Error: out of order"),
        ((404, {}, b""), "HTTP 404 Not Found"),
        ((302, {"Location": "http://127.0.0.1:1/"}, b""), "HTTP 302 Found: redirects are not followed"),
        ((101, {}, b""), "HTTP 101"),
        (lambda handler: handler.wfile.write(b"nothing\r\n\r\n"), "BadStatusLine"),
        (lambda handler: handler.connection.close(), "RemoteDisconnected"),
    ],
    ids=["500", "404", "302", "101", "garbage", "reset"],
)
def test_whatever_is_not_2xx_is_tried_again(pipeline, hooks, receiver, told, clock, answer, said):
    """With the same id and another timestamp, after a wait; nothing else comes before it."""
    receiver.answers = [answer, (204, {}, b"")]
    pipeline.create("a", {})
    pipeline.create("b", {})
    running = hooks(endpoint(receiver))

    assert not running.run(once=True)
    assert not running.run(once=True)  # it is not due yet
    assert len(receiver.requests) == 1
    assert said in told[0].error
    clock.advance(60)
    assert running.run(once=True)

    ids = [headers["webhook-id"] for _, headers, _ in receiver.requests]
    times = [int(headers["webhook-timestamp"]) for _, headers, _ in receiver.requests]
    assert ids[0] == ids[1] != ids[2]
    assert times[1] == times[0] + 60
    assert whats(told) == [("failed", 1), ("delivered", 2), ("delivered", 1)]


def test_waits_grow_and_are_drawn(pipeline, hooks, receiver, told, clock):
    """Full jitter below a ceiling that doubles; how often it was tried outlives the runner."""
    receiver.answers = [(500, {}, b"")]
    pipeline.create("a", {})
    for draw, advance in ((0.5, 5), (1.0, 20)):
        before = clock.now_ns
        hooks(endpoint(receiver), draw=lambda draw=draw: draw).run(once=True)
        at = dt.datetime.fromisoformat(told[-1].next_at).timestamp()
        assert at == pytest.approx(before / 1e9 + advance, abs=0.001)
        clock.advance(advance)
    assert whats(told) == [("failed", 1), ("failed", 2)]


@pytest.mark.parametrize("form", ["seconds", "date", "nonsense", "past"])
def test_retry_after_is_kept_to(pipeline, hooks, receiver, told, clock, form):
    """In either of its forms; an invalid answer is ignored."""
    at = dt.datetime.fromtimestamp(clock.now_ns // 10**9 + 120, dt.UTC)
    value = {
        "seconds": "120",
        "date": format_datetime(at, usegmt=True),
        "nonsense": "soon",
        "past": "Wed, 21 Oct 2015 07:28:00 GMT",
    }[form]
    receiver.answers = [(503, {"Retry-After": value}, b""), (200, {}, b"")]
    pipeline.create("a", {})
    running = hooks(endpoint(receiver))
    running.run(once=True)

    clock.advance(100)
    early = running.run(once=True)
    clock.advance(21)

    assert running.run(once=True)
    assert early is (form in ("nonsense", "past"))


def test_after_the_last_attempt_it_is_a_dead_letter(pipeline, hooks, receiver, told, clock):
    """On the disk, with the event; the hook goes on, and the letter can be delivered later."""
    receiver.answers = [(500, {}, b"no")] * 3 + [(200, {}, b""), (500, {}, b"still no"), (200, {}, b"")]
    pipeline.create("a", {"n": 1})
    pipeline.create("b", {"n": 2})
    running = hooks(endpoint(receiver))
    for _ in range(3):
        assert not running.run(once=True)
        clock.advance(3_600)

    assert whats(told) == [("failed", 1), ("failed", 2), ("dead", 3), ("delivered", 1)]
    (letter,) = pipeline.feed.dead_letters().of("ci")
    assert (letter.what, letter.attempts, letter.error) == (
        "a version 1 (create)",
        3,
        "HTTP 500 Internal Server Error: no",
    )
    assert json.loads(letter.body)["data"]["document"] == {"n": 1}
    assert running.run(once=True)
    assert whats(list(running.redeliver("ci"))) == [("dead", 4)]
    assert pipeline.feed.dead_letters().of("ci")[0].error.endswith("still no")
    assert whats(list(running.redeliver("ci"))) == [("delivered", 5)]

    assert pipeline.feed.dead_letters().of("ci") == list(running.redeliver("ci")) == []
    assert pipeline.feed.dead_letters().hooks() == []
    ids = [headers["webhook-id"] for _, headers, _ in receiver.requests]
    assert ids[0] == ids[4] == ids[5]


def test_410_ends_it_until_a_person_says_otherwise(pipeline, hooks, receiver, told, clock):
    """The receiver wants nothing any more: nothing is sent, and nothing is lost."""
    receiver.answers = [(410, {}, b""), (200, {}, b"")]
    pipeline.create("a", {})
    pipeline.create("b", {})
    running = hooks(endpoint(receiver))

    assert not running.run(once=True)
    clock.advance(100_000)
    assert not running.run(once=True)
    assert len(receiver.requests) == 1
    assert [one.what for one in told] == ["blocked", "blocked"]
    assert "410 Gone" in told[0].error
    pipeline.feed.consumer("hook:ci").retry()

    assert running.run(once=True)
    assert [event["subject"] for event in receiver.events] == ["a", "a", "b"]


@pytest.mark.parametrize("slow", ["silent", "dripping"])
def test_an_answer_that_takes_too_long_is_a_failure(pipeline, hooks, receiver, told, slow):
    """The time-out is for the whole attempt: a byte now and then does not make it longer."""
    go_on = threading.Event()

    def answer(handler):
        with_bytes = slow == "dripping"
        while not go_on.wait(0.05):
            if with_bytes:
                handler.wfile.write(b"H")
                handler.wfile.flush()

    receiver.answers = [answer]
    pipeline.create("a", {})
    begun = time.monotonic()
    try:
        assert not hooks(endpoint(receiver).replace("timeout_s = 5", "timeout_s = 0.4")).run(once=True)
    finally:
        go_on.set()

    assert told[0].error == "timed out after 0.4 s"
    assert time.monotonic() - begun > 0.35


def test_an_endpoint_that_is_not_there_is_a_failure(pipeline, hooks, receiver, told):
    """Refused, or without a name."""
    pipeline.create("a", {})
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        receiver_of_nothing = type("Nothing", (), {"port": unused.getsockname()[1]})
        hooks(endpoint(receiver_of_nothing)).run(once=True)

    def nobody(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    hooks(
        endpoint(receiver, host="nowhere.invalid"), lookup=nobody, clock=lambda: time.time_ns() + 10**12
    ).run(once=True)

    assert "ConnectionRefusedError" in told[0].error
    assert "nowhere.invalid has no address" in told[1].error


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1", "is loopback"),
        ("127.8.9.1", "is loopback"),
        ("::1", "is loopback"),
        ("10.1.2.3", "is private"),
        ("172.16.0.1", "is private"),
        ("192.168.1.1", "is private"),
        ("169.254.169.254", "is link-local"),
        ("fe80::1%eth0", "is link-local"),
        ("fd00::1", "is private"),
        ("0.0.0.0", "is unspecified"),  # an address that is refused
        ("::", "is unspecified"),
        ("224.0.0.1", "is multicast"),
        ("ff02::1", "is multicast"),
        ("100.64.0.1", "is not a public address"),
        ("::ffff:10.0.0.1", "is private"),
        ("2002:a00:1::", "is private"),
        ("64:ff9b::a00:1", "is private"),
        ("8.8.8.8", None),
        ("2606:4700::1111", None),
        ("64:ff9b::808:808", None),
    ],
)
def test_addresses_that_are_no_bodys_to_call_from_here_are_refused(address, why):
    """Private, loopback, link-local, and whatever leads there by another way of writing it."""
    assert why_refused(address) == why


def test_a_private_address_is_refused_unless_allowed(pipeline, hooks, receiver, told):
    """Whatever the name says: what counts is the address that it stands for."""
    pipeline.create("a", {})
    text = (
        endpoint(receiver, host="ci.example.com")
        .replace("http:", "https:")
        .replace("allow_private = true", "")
    )

    hooks(text, lookup=lambda _host, _port: ["127.0.0.1", "10.0.0.1"]).run(once=True)

    assert (
        "the address of ci.example.com is refused (127.0.0.1 is loopback, 10.0.0.1 is private)"
        in told[0].error
    )
    assert receiver.requests == []


def test_the_address_that_was_checked_is_the_one_connected_to(pipeline, hooks, receiver, told):
    """The name is asked for once: one that answers differently the second time gets nowhere."""
    pipeline.create("a", {})
    asked = []

    def rebinding(host, port):
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.99"]

    assert hooks(endpoint(receiver, host="ci.example.com"), lookup=rebinding).run(once=True)

    assert asked == ["ci.example.com"]
    assert receiver.requests[0][1]["Host"] == f"ci.example.com:{receiver.port}"


def test_of_several_addresses_the_first_that_takes_it_is_used(pipeline, hooks, receiver, told):
    """As with any client."""
    pipeline.create("a", {})

    assert hooks(endpoint(receiver), lookup=lambda _h, _p: ["127.0.0.2", "127.0.0.1"]).run(once=True)


@pytest.fixture
def certificate(tmp_path):
    """A certificate for localhost that only its own file vouches for."""
    needs_program("openssl")
    key, file = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", file],
        check=True,
        capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return file, context


def test_https_is_verified(pipeline, hooks, told, certificate, clock):
    """Who answers must be who the name says, vouched for by somebody who is trusted."""
    file, context = certificate
    pipeline.create("a", {})
    receiver = Receiver(context)
    try:
        own = endpoint(receiver, host="localhost").replace("http:", "https:")
        for text, lookup in (
            (own, None),
            (
                own.replace("localhost", "other.example.com") + f'ca_file = "{file}"\n',
                lambda _h, _p: ["127.0.0.1"],
            ),
        ):
            hooks(text, **({"lookup": lookup} if lookup else {})).run(once=True)
            assert "its certificate is not trusted" in told[-1].error
            clock.advance(3_600)
        assert receiver.requests == []

        assert hooks(own + f'ca_file = "{file}"\n').run(once=True)
        assert len(receiver.requests) == 1
    finally:
        receiver.close()


def test_a_secret_that_is_not_there_sends_nothing(pipeline, hooks, receiver, told, monkeypatch):
    """Better late than unsigned; and it is looked for anew in each attempt."""
    monkeypatch.delenv("CI_SECRET")
    pipeline.create("a", {})
    running = hooks(endpoint(receiver))

    assert not running.run(once=True)
    assert "the environment variable CI_SECRET for the secret is not set" in told[0].error
    assert running.problems(running.hook("ci")) == [
        "the environment variable CI_SECRET for the secret is not set"
    ]
    assert receiver.requests == []


def test_secrets_in_files_are_for_their_owner_alone(tmp_path):
    """0600, `whsec_` and base64 of 24 to 64 bytes."""
    file = tmp_path / "secret"
    file.write_text(OLD + "\n")
    file.chmod(0o600)
    assert read_secret("file:secret", str(tmp_path)) == b"o" * 24
    file.chmod(0o640)
    with pytest.raises(Undeliverable, match="is readable by others: chmod 600"):
        read_secret("file:secret", str(tmp_path))
    file.chmod(0o600)
    for text in ("", "whsec_", OLD[6:], "whsec_!!!", "whsec_" + base64.b64encode(b"x" * 23).decode(),
                 "whsec_" + base64.b64encode(b"x" * 65).decode(), "whsec_é"):  # fmt: skip
        file.write_text(text, encoding="utf-8")
        with pytest.raises(Undeliverable, match="secret"):
            read_secret("file:secret", str(tmp_path))
    with pytest.raises(Undeliverable, match="No such file"):
        read_secret("file:other", str(tmp_path))


def test_a_test_event_is_sent_and_is_in_no_log(pipeline, hooks, receiver):
    """Signed as any other; the hook's place stays where it is."""
    pipeline.create("a", {})
    running = hooks(endpoint(receiver))

    assert running.test("ci").done
    receiver.answers = [(500, {}, b"")]
    assert running.test("ci").error == "HTTP 500 Internal Server Error"

    assert receiver.events[0]["type"] == "registration.hook_tested.v1"
    assert receiver.events[0]["source"] == f"urn:uuid:{pipeline.registry_id}"
    assert [entry.event.subject for entry in pipeline.feed.read()] == ["registry", "a"]
    assert pipeline.feed.consumer_names() == []
    with pytest.raises(NotFound, match="There is no hook 'cd'"):
        running.test("cd")


def test_hooks_do_not_wait_for_each_other(pipeline, hooks, receiver, told):
    """One that fails, or is slow, keeps no other from being told."""
    go_on = threading.Event()
    slow = Receiver()
    slow.answers = [lambda _handler: go_on.wait(30)]
    try:
        pipeline.create("a", {})
        second = endpoint(receiver).replace('"ci"', '"fast"')
        stop = threading.Event()
        running = hooks(endpoint(slow) + second)
        thread = threading.Thread(target=running.run, kwargs={"stop": stop})
        thread.start()
        while not receiver.requests:
            time.sleep(0.01)
        pipeline.create("b", {})
        while len(receiver.requests) < 2:
            time.sleep(0.01)
        stop.set()
        go_on.set()
        thread.join(60)
    finally:
        go_on.set()
        slow.close()

    assert [event["subject"] for event in receiver.events] == ["a", "b"]


def test_a_blocked_hook_is_helped_on_while_the_runner_runs(pipeline, hooks, receiver, told):
    """Its name is free while it is blocked, so that a person can say `retry`."""
    receiver.answers = [(410, {}, b""), (200, {}, b"")]
    stop = threading.Event()
    pipeline.create("a", {})
    thread = threading.Thread(target=hooks(endpoint(receiver)).run, kwargs={"stop": stop})
    thread.start()
    while not told:
        time.sleep(0.01)

    while True:
        try:
            pipeline.feed.consumer("hook:ci").retry()
        except ConsumerBusy:
            time.sleep(0.01)  # it looks whether it is free to go on
        else:
            break
    while len(receiver.requests) < 2:
        time.sleep(0.01)
    stop.set()
    thread.join(60)

    assert [one.what for one in told] == ["blocked", "delivered"]


def test_one_runner_works_for_a_hook(pipeline, hooks, receiver, told):
    """The second is told who, and its other hooks work."""
    pipeline.create("a", {})
    running = hooks(endpoint(receiver) + endpoint(receiver).replace('"ci"', '"other"'))
    with pipeline.feed.consumer("hook:ci"):
        assert not running.run(once=True)

    assert sorted((one.hook, one.what) for one in told) == [("ci", "busy"), ("other", "delivered")]
    assert f"process {os.getpid()}" in next(one.error for one in told if one.what == "busy")
    with (
        ConsumerRecords(pipeline._registry.store.records).at_work("redeliver:ci", {}),
        pytest.raises(ConsumerBusy),
    ):
        list(running.redeliver("ci"))


@pytest.mark.damaged
def test_damage_blocks_a_hook(root, pipeline, hooks, receiver, told):
    """It is not left out silently; what comes behind it waits for a person."""
    pipeline.create("a", {"n": 0})
    pipeline.create("b", {})
    pipeline.revise("a", {"n": 1})
    log = root / "manifests" / "a" / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"n":0', b'"n":9'))
    (root / "manifests" / "a" / "state.json").unlink()
    running = hooks(endpoint(receiver))

    assert not running.run(once=True)
    assert "unreadable event" in told[0].entry
    pipeline.feed.consumer("hook:ci").skip("damaged")
    running.run(once=True)

    assert [event["subject"] for event in receiver.events] == ["b"]


def test_a_defect_in_a_hooks_thread_is_not_swallowed(pipeline, hooks, receiver):
    """It ends the run, when the others have ended."""
    pipeline.create("a", {})

    def broken(_told):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        hooks(endpoint(receiver), tell=broken).run(once=True)


# -- commands ---------------------------------------------------------------------------------------------------------


def script(root, text, name="hook.sh"):
    path = root / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o700)
    return path


COMMAND = '[[hooks]]\nname = "index"\ncommand = ["./hook.sh", "a b", "$HOME"]\nstart = "start"\ntimeout_s = 5\nwait_s = 10\n'


def test_a_command_gets_the_event_on_stdin_and_ids_in_its_environment(root, pipeline, hooks, told):
    """Without a shell: its words are what the file says."""
    script(root, 'cat > got.json; echo "$@" > words; env | grep ^REGISTRATION_ | sort > told\n')
    pipeline.create("a", {})
    event = pipeline.submit_for_review("a").event

    assert hooks(COMMAND + 'actions = ["submit_for_review"]').run(once=True)

    assert (root / "got.json").read_bytes() + b"\n" == event.line
    assert (root / "words").read_text() == "a b $HOME\n"
    environment = dict(line.split("=", 1) for line in (root / "told").read_text().splitlines())
    assert environment == {
        "REGISTRATION_ACTION": "submit_for_review",
        "REGISTRATION_CURSOR": pipeline.feed.end(),
        "REGISTRATION_EVENT_ID": event.id,
        "REGISTRATION_FROM": "DRAFT",
        "REGISTRATION_HOOK": "index",
        "REGISTRATION_MANIFEST_ID": "a",
        "REGISTRATION_ROOT": str(root),
        "REGISTRATION_TO": "REVIEWED",
        "REGISTRATION_TYPE": event.type,
        "REGISTRATION_VERSION": "2",
    }


def test_a_command_that_fails_is_tried_again(root, pipeline, hooks, told, clock):
    """With the last line that it said on stderr."""
    script(root, "echo first >&2; echo 'no index' >&2; test -e ready\n")
    pipeline.create("a", {})
    running = hooks(COMMAND)

    assert not running.run(once=True)
    (root / "ready").touch()
    clock.advance(60)

    assert running.run(once=True)
    assert whats(told) == [("failed", 1), ("delivered", 2)]
    assert told[0].error == "./hook.sh exited with 1: no index"


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(root, pipeline, hooks, told, clock):
    """And one that doesn't read what it is given is none the worse."""
    script(root, "sleep 600 & echo $! > child; wait\n")
    pipeline.create("a", {"text": "x" * 500_000})

    timeout_s = 0.1
    while not (root / "child").exists():  # on a machine with much to do it doesn't come that far at once
        timeout_s *= 3
        clock.advance(10_000)
        assert not hooks(COMMAND.replace("timeout_s = 5", f"timeout_s = {timeout_s:g}")).run(once=True)

    assert told[-1].error == f"./hook.sh timed out after {timeout_s:g} s"
    child = int((root / "child").read_text())
    for _ in range(500):
        if not os.path.exists(f"/proc/{child}") or "\nState:\tZ" in _status(child):
            break
        time.sleep(0.01)
    else:
        pytest.fail("what it started goes on")
    script(root, "exit 0\n")
    clock.advance(10_000)
    assert hooks(COMMAND).run(once=True)


def _status(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            return file.read()
    except OSError:
        return "\nState:\tZ"


def test_a_command_that_was_ended_or_is_not_there_is_a_failure(root, pipeline, hooks, told):
    """Each says what is wrong."""
    pipeline.create("a", {})
    running = hooks(COMMAND)
    running.run(once=True)
    assert running.problems(running.hook("index")) == [
        "./hook.sh can't be started: it is missing or not executable"
    ]
    script(root, "kill -9 $$\n")
    hooks(COMMAND, clock=lambda: time.time_ns() + 10**12).run(once=True)

    assert told[0].error == "./hook.sh can't be started: No such file or directory"
    assert told[1].error == "./hook.sh was killed by signal 9"
    assert running.problems(running.hook("index")) == []


# -- dead letters --------------------------------------------------------------------------------------------------------


def letter(id, error="no"):
    return DeadLetter("ci", id, "a", 1, "create", "2026-01-01T00:00:00.000000Z", 3, error, "{}")


def test_a_letter_that_a_kill_cut_short_takes_no_other_along(root, pipeline):
    """What is left of it is passed over."""
    letters = pipeline.feed.dead_letters()
    letters.put(letter("1"))
    path = root / "feed" / "dead-letters" / "ci.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])

    letters.put(letter("2"))

    assert [one.event_id for one in letters.of("ci")] == ["1", "2"]
    letters.put(letter("2", "again"))
    assert [one.error for one in letters.of("ci")] == ["no", "again"]
    letters.take_out("ci", "1")
    letters.take_out("ci", "3")
    assert [one.event_id for one in letters.of("ci")] == ["2"]
    assert letters.of("other") == []


# -- the file ------------------------------------------------------------------------------------------------------------


def parsed(**members):
    plain = {"name": "ci", "url": "https://ci.example.com/x", "secrets": ["env:X"]}
    hook = {name: value for name, value in (plain | members).items() if value is not None}
    return parse_hooks({"hooks": [hook]}, source="hooks.toml", chart=CHART)


def test_a_hook_is_what_the_file_says():
    """With the defaults of what it doesn't say."""
    (hook,) = parsed()

    assert hook == Hook("ci", url="https://ci.example.com/x", secrets=("env:X",))
    assert hook.consumer == "hook:ci"
    (hook,) = parsed(
        wait_s=1, wait_s_max=2.5, attempts_max=4, timeout_s=1.5, start="start", allow_private=True
    )
    assert (hook.retry.base_s, hook.retry.cap_s, hook.retry.attempts_max) == (1, 2.5, 4)
    assert parse_hooks({}, source="hooks.toml", chart=CHART) == ()


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"name": None}, "hooks[0].name: it is missing"),
        ({"name": "a b"}, "hooks[0].name: 'a b' is not a name"),
        ({"name": 7}, "hooks[0].name: 7 is not a name"),
        ({"colour": 1}, "hooks[0].colour: unknown member"),
        ({"command": ["x"]}, "hooks[0]: expected either `command` or `url`"),
        ({"url": None, "secrets": None}, "hooks[0]: expected either `command` or `url`"),
        ({"url": None, "command": "ls -l"}, "hooks[0].command: expected a list of words"),
        ({"url": None, "command": []}, "hooks[0].command: it is empty"),
        ({"url": None, "command": ["x"]}, "hooks[0].secrets: only hooks with a `url` have it"),
        ({"secrets": None}, "hooks[0].secrets: expected at least one"),
        ({"secrets": ["whsec_x"]}, "hooks[0].secrets: 'whsec_x' is not `env:NAME` or `file:PATH`"),
        ({"secrets": "env:X"}, "hooks[0].secrets: expected a list of texts"),
        ({"url": "http://ci.example.com"}, "hooks[0].url: expected https"),
        ({"url": "ftp://ci.example.com"}, "hooks[0].url: expected an https URL"),
        ({"url": "https:///x"}, "hooks[0].url: expected an https URL"),
        ({"url": "https://a:b@ci.example.com"}, "hooks[0].url: it contains a user name or password"),
        ({"url": "https://ci.example.com/#x"}, "hooks[0].url: it has a fragment"),
        ({"url": "https://ci.example.com:0/"}, "hooks[0].url: 0 is not a valid port"),
        ({"url": "https://ci.example.com:x/"}, "hooks[0].url: invalid URL"),
        (
            {"url": "https://ci.example.com/a\r\nb"},
            "hooks[0].url: it has characters that are invalid in a URL",
        ),
        ({"url": "https://bücher.example"}, "hooks[0].url: it has characters that are invalid in a URL"),
        ({"url": 7}, "hooks[0].url: expected text"),
        ({"states": ["GONE"]}, "hooks[0].states: 'GONE' is not a state of the lifecycle"),
        ({"actions": ["go"]}, "hooks[0].actions: 'go' is not an action of the lifecycle"),
        ({"types": [""]}, "hooks[0].types: '' is not an event's type"),
        ({"timeout_s": 0}, "hooks[0].timeout_s: expected a number above 0"),
        ({"timeout_s": True}, "hooks[0].timeout_s: expected a number above 0"),
        ({"attempts_max": 1.5}, "hooks[0].attempts_max: expected an integer above 0"),
        ({"wait_s": float("nan")}, "hooks[0].wait_s: expected a number above 0"),
        ({"start": "yesterday"}, "hooks[0].start: expected `now` or `start`"),
        ({"allow_private": "yes"}, "hooks[0].allow_private: expected true or false"),
        ({"ca_file": ""}, "hooks[0].ca_file: expected text"),
    ],
    ids=str,
)
def test_what_can_not_be_meant_is_named_with_its_place(members, problem):
    """In the words of the file."""
    with pytest.raises(InvalidHooks) as caught:
        parsed(**members)

    assert any(one.startswith(problem) for one in caught.value.details["problems"]), caught.value.details


def test_every_problem_is_named_at_once(root, pipeline):
    """Also those of several hooks, and of the file itself."""
    one = {"name": "ci", "command": ["x"]}
    with pytest.raises(InvalidHooks) as caught:
        parse_hooks({"hooks": [one, one, {}], "hook": 1}, source="hooks.toml", chart=CHART)
    assert len(caught.value.details["problems"]) == 4
    for data in ({"hooks": {}}, {"hooks": ["x"]}):
        with pytest.raises(InvalidHooks, match="a list of tables"):
            parse_hooks(data, source="hooks.toml", chart=CHART)
    for raw in (b"[[hooks]\n", b"\xff"):
        (root / "hooks.toml").write_bytes(raw)
        with pytest.raises(InvalidHooks, match="it is not TOML"):
            pipeline.feed.hooks()


def test_where_there_are_no_hooks_that_is_said(root, pipeline):
    """No file, one that can't be read, a registry in memory without the record."""
    with pytest.raises(NotFound, match=r"There is no .*hooks\.toml"):
        pipeline.feed.hooks()
    (root / "hooks.toml").mkdir()
    with pytest.raises(StoreError, match="can't be read"):
        pipeline.feed.hooks()
    memory = RegistrationPipeline(store=open_memory(SOURCE, REGISTRATION))
    with pytest.raises(NotFound, match=r"There is no hooks\.toml"):
        memory.feed.hooks()


def test_a_registry_in_memory_has_hooks_and_dead_letters(tmp_path, monkeypatch):
    """Its `hooks.toml` is a record; commands run in the current directory."""
    monkeypatch.chdir(tmp_path)
    store = open_memory(SOURCE, REGISTRATION)
    with store.records.held(("hooks.toml",)) as cell:
        cell.write(b'[[hooks]]\nname = "ci"\ncommand = ["/bin/sh", "-c", "cat >> got"]\nstart = "start"\n')
    pipeline = RegistrationPipeline(store=store, actor="ada")
    pipeline.create("a", {})
    (event,) = pipeline.history("a")

    assert pipeline.feed.hooks().run(once=True)

    assert (tmp_path / "got").read_bytes() + b"\n" == event.line
    assert pipeline.feed.dead_letters().hooks() == []


def test_letters_are_kept_in_memory_as_on_files(pipeline):
    """They are a record, whatever keeps it."""
    for letters in (pipeline.feed.dead_letters(), DeadLetters(MemoryRecords())):
        letters.put(letter("1"))
        letters.put(letter("2"))
        letters.change(letter("1", "again"))
        letters.take_out("ci", "2")

        assert [(one.event_id, one.error) for one in letters.of("ci")] == [("1", "again")]
        assert letters.hooks() == ["ci"]
        letters.take_out("ci", "1")
        assert letters.of("ci") == letters.hooks() == []


def test_posting_never_raises_for_what_the_other_side_does(receiver, tmp_path):
    """An answer without an end is not read to its end."""

    def endless(handler):
        handler.send_response(500)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 10_000)

    receiver.answers = [endless]
    hook = Hook(
        "ci",
        url=f"http://127.0.0.1:{receiver.port}/",
        secrets=("env:CI_SECRET",),
        allow_private=True,
        timeout_s=5,
    )

    outcome = post(hook, "1", b"{}", root=str(tmp_path))

    assert outcome.error.startswith("HTTP 500 Internal Server Error: xxx")
    assert len(outcome.error) < 500

"""A process that works on a registry, and is made to meet failing system calls while it does.

    python -m tests.kit.fault_driver FD

It forks a child for each order that it gets over the socket FD: ``root manifests steps``. The child answers with its
process id, waits for a byte, and works; each acknowledged event is told as ``ack ID VERSION EVENT-ID`` before the next
step. Over a socket, since `send` is not among the system calls that fail here.
"""

from __future__ import annotations

import itertools
import os
import random
import socket
import sys

from registration import RegistrationPipeline
from registration.errors import RegistrationError


def work(channel: socket.socket, root: str, manifests: int, steps: int, actor: str = "ada") -> None:
    """Go round the manifests, doing whatever can be done to each, and telling what was acknowledged.

    actor: of processes that work at once, each has its own, since nobody approves the same document twice.
    """
    choose = random.Random(steps)
    for step in range(steps):
        id = f"m{step % manifests}"
        try:
            with RegistrationPipeline(root, actor=actor) as pipeline:
                event = _one(pipeline, id, step, choose)
        except RegistrationError as error:
            channel.send(f"err {type(error).__name__}\n".encode())
        else:
            channel.send(f"ack {id} {event.version} {event.id}\n".encode())
    channel.send(b"end\n")


def _one(pipeline: RegistrationPipeline, id: str, step: int, choose: random.Random):
    for state in pipeline._registry.store.load(id), None:
        if state is None:
            return pipeline.create_with_result(id, {"name": id, "step": step}).event
        if state.state == "DRAFT":
            if choose.random() < 0.5:
                return pipeline.revise(
                    id, {"name": id, "step": step, "pad": "x" * choose.randrange(3000)}
                ).event
            return pipeline.submit_for_review(id).event
        if state.state == "REVIEWED":
            return pipeline.approve(id).event
        return pipeline.reject(id, reason=f"step {step}").event
    raise AssertionError


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    # Once through everything, so that all is imported and no fault hits the interpreter itself.
    orders = channel.makefile("r")
    for number in itertools.count():
        order = orders.readline().split()
        if not order:
            return
        root, manifests, steps = order[0], int(order[1]), int(order[2])
        if number == 0:
            work(channel, root, 2, 12)
            continue
        child = os.fork()
        if child == 0:
            channel.send(f"pid {os.getpid()}\n".encode())
            orders.readline()
            work(channel, root, manifests, steps)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        channel.send(f"exit {status}\n".encode())


if __name__ == "__main__":
    main()

"""A flow with a step of its own: work is proofread by a program before a person sees it.

    python custom_flow.py [FOLDER]

With a folder, the queue is in it; otherwise it is on the server that OCTOPOID_SERVER_URL names. The program registers
the flow, has one task go through it, and does the step `proofread` itself.
"""

from __future__ import annotations

import sys

from octopoid import Octopoid, Task

STATES = ["incoming", "claimed", "proofread", "provisional", "done", "failed"]
TRANSITIONS = [
    {"from": "incoming", "to": "claimed"},
    {"from": "claimed", "to": "provisional"},
    {"from": "claimed", "to": "incoming"},
    {"from": "provisional", "to": "proofread"},
    {"from": "proofread", "to": "provisional"},
    {"from": "proofread", "to": "incoming"},
    {"from": "provisional", "to": "done"},
    {"from": "provisional", "to": "incoming"},
]


def proofread(octopoid: Octopoid, task: Task) -> Task:
    """The step: text with a tab in it goes back, everything else goes on to a person."""
    good = "\t" not in (task.content or "")
    octopoid.messages.create(task.id, "proofreader", "comment", "clean" if good else "there is a tab in the text")
    return octopoid.tasks.update(task.id, queue="provisional" if good else "incoming")


def main(arguments: list[str]) -> None:
    with Octopoid.local(arguments[0]) if arguments else Octopoid() as octopoid:
        octopoid.orchestrators.register(cluster="examples", machine_id="proofreader")
        flow = octopoid.flows.register(
            "proofread", STATES, TRANSITIONS, description="A program reads before a person does"
        )
        print(f"registered {flow.name}")
        task = octopoid.tasks.create(title="Write a page", content="One line.", role="docs", flow="proofread")
        claimed = octopoid.tasks.claim("examples-proofreader", "writer", role_filter="docs")
        if not claimed:
            sys.exit(f"nothing to claim: {claimed.reason}")
        octopoid.tasks.submit(task.id, commits_count=1, turns_used=1)
        octopoid.tasks.update(task.id, queue="proofread")
        for waiting in octopoid.tasks.list(queue="proofread", flow="proofread"):
            print(f"{waiting.id}: proofread, then {proofread(octopoid, waiting).queue}")
        print(f"{task.id} is {octopoid.tasks.accept(task.id, accepted_by='a person').queue}")


if __name__ == "__main__":
    main(sys.argv[1:])

"""The life of one task, from its creation to its acceptance.

    python quick_start.py [FOLDER]

With a folder, the queue is in it; otherwise it is on the server that OCTOPOID_SERVER_URL names.
"""

from __future__ import annotations

import sys

from octopoid import Octopoid


def main(arguments: list[str]) -> None:
    with Octopoid.local(arguments[0]) if arguments else Octopoid() as octopoid:
        octopoid.orchestrators.register(cluster="examples", machine_id="quick-start")
        task = octopoid.tasks.create(
            title="Greet the reader", content="Say hello in the README.", role="implement", priority="P1"
        )
        print(f"created {task.id} in {task.queue}")

        claimed = octopoid.tasks.claim("examples-quick-start", "me", role_filter="implement", wait_seconds=5)
        if not claimed:
            sys.exit(f"nothing to claim: {claimed.reason}")
        print(f"claimed {claimed.id}, the lease ends at {claimed.lease_expires_at}")

        octopoid.tasks.progress(claimed.id, "half of it is written")
        octopoid.tasks.submit(claimed.id, commits_count=1, turns_used=3, execution_notes="says hello")
        done = octopoid.tasks.accept(claimed.id, accepted_by="me")
        print(f"{done.id} is {done.queue}")
        for entry in octopoid.tasks.history(done.id):
            print(f"  {entry.timestamp}  {entry.event}")


if __name__ == "__main__":
    main(sys.argv[1:])

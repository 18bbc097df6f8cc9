"""Waits until a task is done or needs somebody; exit code 0 only when it is done.

    python poll_to_completion.py [--seconds N] TASK [FOLDER]

With a folder, the queue is in it; otherwise it is on the server that OCTOPOID_SERVER_URL names. The change feed wakes
it up: it looks when something happens, not every few seconds.
"""

from __future__ import annotations

import argparse
import sys
import time

from octopoid import Octopoid

ENDS = {"done", "failed", "cancelled", "needs_attention"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--seconds", type=float, default=3600, help="longest wait")
    parser.add_argument("folder", nargs="?")
    asked = parser.parse_args()
    until = time.monotonic() + asked.seconds
    with Octopoid.local(asked.folder) if asked.folder else Octopoid() as octopoid:
        cursor, queue = octopoid.status.get().cursor, ""
        while True:
            task = octopoid.tasks.get(asked.task)
            if task is None:
                print(f"there is no task {asked.task}", file=sys.stderr)
                return 3
            if task.queue != queue:
                queue = task.queue
                print(f"{task.id}: {queue}", flush=True)
            if queue in ENDS:
                return 0 if queue == "done" else 1
            left = until - time.monotonic()
            if left <= 0:
                print(f"{task.id} is still in {queue}", file=sys.stderr)
                return 1
            # Comes back as soon as something happens to the task.
            events = octopoid.events.list(after=cursor, task_id=task.id, wait_seconds=max(1, min(10, int(left))))
            cursor = events[-1].cursor if events else cursor


if __name__ == "__main__":
    sys.exit(main())

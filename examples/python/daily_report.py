"""What is in the queues, and what was done on a day.

    python daily_report.py [--day YYYY-MM-DD] [FOLDER]

With a folder, the queue is in it; otherwise it is on the server that OCTOPOID_SERVER_URL names.
"""

from __future__ import annotations

import argparse
from datetime import datetime, timezone

from octopoid import Octopoid

QUEUES = ("incoming", "claimed", "provisional", "needs_attention", "done")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--day", default=datetime.now(timezone.utc).date().isoformat())
    parser.add_argument("folder", nargs="?")
    asked = parser.parse_args()
    with Octopoid.local(asked.folder) if asked.folder else Octopoid() as octopoid:
        status = octopoid.status.get()
        print(f"Octopoid on {asked.day}")
        for queue in QUEUES:
            print(f"  {queue:16} {status.counts.get(queue, 0):4}")
        done = [t for t in octopoid.tasks.iterate("done") if (t.completed_at or "").startswith(asked.day)]
        print(f"done on this day: {len(done)}")
        for task in done:
            print(f"  {task.id}  {task.title} ({task.commits_count} commits, {task.turns_used or 0} turns)")
        for stuck in status.attention:
            print(f"needs a person: {stuck.id}  {stuck.title}")


if __name__ == "__main__":
    main()

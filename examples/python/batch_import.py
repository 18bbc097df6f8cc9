"""Creates tasks from a JSON file: a list of objects with the arguments of `tasks.create`. All are created, or none.

    python batch_import.py FILE [FOLDER]

With a folder, the queue is in it; otherwise it is on the server that OCTOPOID_SERVER_URL names.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from octopoid import Octopoid, OctopoidAPIError

AT_ONCE = 1000


def main(file: str, *folder: str) -> None:
    tasks = json.loads(Path(file).read_text(encoding="utf-8"))
    if not isinstance(tasks, list):
        sys.exit(f"{file} does not hold a list")
    with Octopoid.local(*folder) if folder else Octopoid() as octopoid:
        for start in range(0, len(tasks), AT_ONCE):
            try:
                created = octopoid.tasks.create_many(tasks[start : start + AT_ONCE])
            except OctopoidAPIError as error:
                sys.exit(f"{file}: nothing of this part was imported: {error}")
            for task in created:
                print(f"{task.id}  {task.priority}  {task.title}")
    print(f"imported {len(tasks)} tasks")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])

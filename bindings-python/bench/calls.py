"""What one call costs from Python, and with plain requests.

For each line that comes in: lines of name, get, create in microseconds a call, and an empty one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import requests

from octopoid import Octopoid


def each(calls: int, call: Callable[[], object]) -> float:
    """Microseconds a call."""
    begun = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - begun) / calls * 1e6


def main(url: str, calls: int) -> None:
    """Measures both ways against the server at `url`, as often as it is told to."""
    with Octopoid(url) as octopoid, requests.Session() as session:
        task = octopoid.tasks.create(title="bench")
        place = f"{url}/api/v1/tasks"
        for _ in sys.stdin:
            get = each(calls, lambda: octopoid.tasks.get(task.id))
            create = each(calls, lambda: octopoid.tasks.create(title="bench"))
            print("python", get, create)
            get = each(calls, lambda: session.get(f"{place}/{task.id}", timeout=30).json())
            create = each(calls, lambda: session.post(place, json={"title": "bench"}, timeout=30).json())
            print("requests", get, create)
            print(flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

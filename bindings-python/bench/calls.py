"""What one call costs from Python, and with plain requests: prints lines of name, get, create in microseconds a call."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import requests

from octopoid import Octopoid


def best(calls: int, rounds: int, call: Callable[[], object]) -> float:
    """The fastest round, in microseconds a call."""
    fastest = float("inf")
    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(calls):
            call()
        fastest = min(fastest, (time.perf_counter() - begun) / calls * 1e6)
    return fastest


def main(url: str, calls: int, rounds: int) -> None:
    """Measures both ways against the server at `url`."""
    with Octopoid(url) as octopoid:
        task = octopoid.tasks.create(title="bench")
        get = best(calls, rounds, lambda: octopoid.tasks.get(task.id))
        create = best(calls, rounds, lambda: octopoid.tasks.create(title="bench"))
    print("python", get, create)

    with requests.Session() as session:
        place = f"{url}/api/v1/tasks"
        get = best(calls, rounds, lambda: session.get(f"{place}/{task.id}", timeout=30).json())
        create = best(calls, rounds, lambda: session.post(place, json={"title": "bench"}, timeout=30).json())
    print("requests", get, create)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

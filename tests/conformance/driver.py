"""Plays the scenarios with the Python package: over a server, and over a store in a folder.

    python tests/conformance/driver.py [scenario ...]

Needs the package `octopoid` and PyYAML. Names of scenarios choose some of them. The exit code is 1 where one fails.
"""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from octopoid import Octopoid, OctopoidError

HERE = Path(__file__).resolve().parent
LANGUAGE = "python"
KEYS = {"call", "with", "save", "expect", "error", "languages"}
ABSENT = object()


class Mismatch(Exception):
    """A step whose result is not the expected one."""


@contextmanager
def server(folder: Path) -> Iterator[Octopoid]:
    """A client of a server that runs for as long as the block."""
    script = Path(sys.executable).parent / "octopoid"
    command = [script, "serve", "--listen", "127.0.0.1:0", "--default-scope", "conformance"]
    process = subprocess.Popen(
        [*command, "--database", f"sqlite:{folder / 'queue.db'}"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if match := re.match(r"listening on (\S+)", line):
                break
        else:
            raise Mismatch(f"the server did not start: {''.join(said)}")
        # What it says later is of no interest, but it must be able to say it.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        with Octopoid(match[1], scope="conformance") as client:
            yield client
    finally:
        process.terminate()
        process.wait()


@contextmanager
def embedded(folder: Path) -> Iterator[Octopoid]:
    """A client of a store in the folder."""
    with Octopoid.local(folder) as client:
        yield client


def resolve(value: Any, saved: dict[str, Any]) -> Any:
    """The value with each `$name.field` in it replaced by what it refers to."""
    if isinstance(value, dict):
        return {key: resolve(item, saved) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, saved) for item in value]
    if not isinstance(value, str) or not value.startswith("$") or value in ("$any", "$absent"):
        return value
    found: Any = saved
    for part in value[1:].split("."):
        try:
            found = found[int(part)] if isinstance(found, list) else found[part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise Mismatch(f"{value} refers to nothing that was saved") from None
    return found


def difference(at: str, expected: Any, actual: Any) -> str | None:
    """Where a result is not what was expected; `None` when it matches."""
    if expected == "$absent":
        return None if actual is ABSENT else f"{at}: expected nothing, got {actual!r}"
    if actual is ABSENT:
        return f"{at}: expected {expected!r}, but it is not there"
    differs = f"{at}: expected {expected!r}, got {actual!r}"
    if expected == "$any":
        return differs if actual is None else None
    if isinstance(expected, dict) and isinstance(actual, list):
        return None if expected == {"length": len(actual)} else differs
    if isinstance(expected, dict) and isinstance(actual, dict):
        fields = (difference(f"{at}.{key}", item, actual.get(key, ABSENT)) for key, item in expected.items())
        return next((found for found in fields if found), None)
    if isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            return differs
        items = (difference(f"{at}.{i}", *pair) for i, pair in enumerate(zip(expected, actual, strict=True)))
        return next((found for found in items if found), None)
    # True is 1 to Python, and to nobody else.
    same = expected == actual and isinstance(expected, bool) == isinstance(actual, bool)
    return None if same else differs


def perform(client: Octopoid, call: str, given: dict[str, Any]) -> Any:
    """Makes a call and gives its result in the form that all languages have in common."""
    namespace, method = call.split(".")
    if call == "tasks.claim_or_reason":
        task = client.tasks.claim(**given)
        return {"task": task, "reason": None} if task else {"task": None, "reason": task.reason}
    function = getattr(getattr(client, namespace), method)
    inspect.signature(function).bind(**given)
    result = function(**given)
    if method == "delete" or call == "tasks.claim" and not result:
        return None
    if isinstance(result, list):
        return {"rows": list(result), "total": result.total}
    return result


def once(client: Octopoid, step: dict[str, Any], saved: dict[str, Any]) -> None:
    """Plays one step; raises `Mismatch` where it comes out otherwise."""
    if unknown := set(step) - KEYS:
        raise Mismatch(f"a step has no {unknown}")
    try:
        result = perform(client, step["call"], resolve(step.get("with", {}), saved))
    except OctopoidError as error:
        got = {"code": error.code, "status": error.status_code}
        if got != step.get("error"):
            raise Mismatch(f"expected {step.get('error', 'success')}, got {got}: {error}") from None
        return
    # Through JSON: what is compared is data, not classes.
    result = json.loads(json.dumps(result))
    if "error" in step:
        raise Mismatch(f"expected {step['error']}, but it was done: {result}")
    if "expect" in step:
        found = difference("result", resolve(step["expect"], saved), result)
        if found:
            raise Mismatch(found)
    if "save" in step:
        saved[step["save"]] = result


def play(path: Path, world: Any) -> int:
    """Plays a scenario in a world of its own and gives how many steps were left out."""
    saved: dict[str, Any] = {}
    left_out = 0
    scenario = yaml.safe_load(path.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as client:
        for number, step in enumerate(scenario["steps"], 1):
            if LANGUAGE not in step.get("languages", [LANGUAGE]):
                left_out += 1
                continue
            try:
                once(client, step, saved)
            except (Mismatch, TypeError) as error:
                raise Mismatch(f"step {number} ({step['call']}): {error}") from error
    return left_out


def check_matching() -> None:
    """Compares as the other players do."""
    for case in yaml.safe_load((HERE / "matching.yaml").read_text(encoding="utf-8")):
        if (difference("it", case["expect"], case["actual"]) is None) != case["matches"]:
            raise Mismatch(f"the comparison of {case} comes out otherwise")


def main(names: list[str]) -> int:
    check_matching()
    files = sorted((HERE / "scenarios").glob("*.yaml"))
    known = {path.stem for path in files}
    if not known or not known.issuperset(names):
        print(f"no such scenario: {sorted(set(names) - known)}; there are {sorted(known)}", file=sys.stderr)
        return 2
    failures = 0
    for path in files:
        if names and path.stem not in names:
            continue
        for world in (server, embedded):
            try:
                left_out = play(path, world)
                print(f"ok     {path.stem} ({world.__name__}){f', {left_out} left out' if left_out else ''}")
            except (Mismatch, OctopoidError) as error:
                failures += 1
                print(f"FAILED {path.stem} ({world.__name__}): {error}")
    print(f"{LANGUAGE}: {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

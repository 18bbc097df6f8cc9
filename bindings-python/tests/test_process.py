"""The package as part of a process: threads, Ctrl-C, fork, exit, memory, start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conftest import Server, command, run_python
from octopoid import Octopoid, __version__


def test_calls_of_threads_overlap(remote: Octopoid) -> None:
    begun = time.monotonic()
    with ThreadPoolExecutor(50) as pool:
        claims = list(pool.map(lambda n: remote.tasks.claim("test-1", f"worker-{n}", wait_seconds=1), range(50)))
    assert all(not claim for claim in claims)
    assert time.monotonic() - begun < 15


def test_other_threads_run_on(client: Octopoid) -> None:
    steps = 0
    over = threading.Event()

    def count() -> None:
        nonlocal steps
        while not over.is_set():
            steps += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    before = steps
    assert not client.tasks.claim("test-1", "worker", wait_seconds=2)
    during = steps - before
    over.set()
    thread.join()
    assert during > 300


INTERRUPTED = """
import os, signal, sys, threading, time
from octopoid import Octopoid, AsyncOctopoid
client = Octopoid.local({folder!r}) if {local} else Octopoid({url!r}, scope="interrupted")
client.orchestrators.register("interrupted", "1")
def press():
    time.sleep(0.7)
    globals()["pressed"] = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=press).start()
try:
    {call}
except KeyboardInterrupt:
    print(f"{{time.monotonic() - pressed:.3f}}")
assert client.status.health().status == "healthy"
client.close()
"""


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize(
    "call",
    [
        "client.events.list(after=10**9, wait_seconds=30)",
        'client.tasks.claim("interrupted-1", "worker", wait_seconds=30)',
        "list(client.events.watch(after=10**9))",
    ],
)
def test_ctrl_c_ends_a_wait(server: Server, tmp_path: Path, local: bool, call: str) -> None:
    done = run_python(INTERRUPTED.format(folder=str(tmp_path), url=server.url, local=local, call=call), timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    # A tenth of a second is promised; a busy machine gets three.
    assert float(done.stdout) < 0.3


def test_ctrl_c_ends_asyncio(server: Server) -> None:
    program = f"""
import asyncio, os, signal, threading, time
from octopoid import AsyncOctopoid
def press():
    time.sleep(0.7)
    globals()["pressed"] = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=press).start()
async def wait():
    async with AsyncOctopoid({server.url!r}, scope="interrupted") as client:
        await client.events.list(after=10**9, wait_seconds=30)
try:
    asyncio.run(wait())
except KeyboardInterrupt:
    print(f"{{time.monotonic() - pressed:.3f}}")
"""
    done = run_python(program, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    assert float(done.stdout) < 0.5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork(server: Server, tmp_path: Path) -> None:
    program = f"""
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # newer interpreters warn of any fork beside threads
from octopoid import Octopoid, OctopoidError
parent = Octopoid({server.url!r}, scope="forked")
folder = Octopoid.local({str(tmp_path)!r})
before = parent.tasks.create(title="Before")
folder.tasks.create(title="Before")
for round in range(3):
    child = os.fork()
    if child == 0:
        for client in (parent, folder):
            try:
                client.tasks.list()
            except OctopoidError as error:
                assert error.code == "forked" and "fork" in str(error) and error.hint, error
            else:
                os._exit(2)
            client.close()
        with Octopoid({server.url!r}, scope="forked") as own:
            assert own.tasks.get(before.id) == before
            own.tasks.create(title=f"By child {{round}}")
        del parent, folder
        import gc; gc.collect()
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
    # What the child did with its copies took nothing from the parent.
    assert parent.tasks.get(before.id) == before
    assert folder.tasks.list().total == 1
print(parent.tasks.list().total)
"""
    done = run_python(program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")


def test_multiprocessing(server: Server) -> None:
    program = f"""
import multiprocessing, sys
from octopoid import Octopoid
def work(n):
    with Octopoid({server.url!r}, scope="pool") as client:
        return client.tasks.create(title=f"Task {{n}}").title
if __name__ == "__main__":
    with Octopoid({server.url!r}, scope="pool") as client:
        client.status.get()
        with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
            assert pool.map(work, range(8)) == [f"Task {{n}}" for n in range(8)]
        print(client.tasks.list().total)
"""
    for way in ("spawn", "forkserver"):
        file = Path(os.environ.get("TMPDIR", "/tmp")) / f"octopoid-pool-{os.getpid()}-{way}.py"
        file.write_text(program)
        try:
            done = subprocess.run([sys.executable, str(file), way], capture_output=True, text=True, timeout=60)
        finally:
            file.unlink()
        assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "16\n"


@pytest.mark.parametrize(
    "wait",
    [
        "list(client.events.watch(after=10**9))",
        "asyncio.run(forever())",
        "while True: client.tasks.list()",
    ],
)
def test_leaving_while_a_thread_waits(server: Server, wait: str) -> None:
    program = f"""
import asyncio, sys, threading, time
from octopoid import AsyncOctopoid, Octopoid
client = Octopoid({server.url!r}, scope="leaving")
async def forever():
    async with AsyncOctopoid({server.url!r}, scope="leaving") as other:
        async for event in other.events.watch(after=10**9):
            pass
def wait():
    {wait}
for _ in range(4):
    threading.Thread(target=wait, daemon=True).start()
time.sleep(0.5)
print("leaving")
"""
    for _ in range(3):
        begun = time.monotonic()
        done = run_python(program, timeout=20)
        assert (done.returncode, done.stdout, done.stderr) == (0, "leaving\n", "")
        assert time.monotonic() - begun < 10


MEMORY = """
import asyncio, resource, sys
from octopoid import AsyncOctopoid, Octopoid

def used():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20

client = Octopoid({url!r}, scope="memory")
task = client.tasks.create(title="x", content="y" * 2000)
def some(n):
    for _ in range(n):
        client.tasks.get(task.id)
async def some_async(n):
    async with AsyncOctopoid({url!r}, scope="memory") as other:
        for _ in range(n // 20):
            await asyncio.gather(*(other.tasks.get(task.id) for _ in range(20)))
def both(n):
    some(n // 2)
    asyncio.run(some_async(n // 2))
both(2000)
before = used()
both({calls})
print(used() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow(server: Server) -> None:
    done = run_python(MEMORY.format(url=server.url, calls=20_000), timeout=240)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 20


def test_importing_is_quick() -> None:
    def best(code: str) -> float:
        times = []
        for _ in range(7):
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append(time.perf_counter() - begun)
        return min(times)

    assert best("import octopoid") - best("pass") < 0.1
    # What few programs need is loaded when they need it.
    done = run_python(
        "import sys, octopoid; print([m for m in ('asyncio', 'urllib.request', 'inspect') if m in sys.modules])"
    )
    assert done.stdout == "[]\n"


def test_the_command() -> None:
    done = subprocess.run([*command(), "--version"], capture_output=True, text=True, check=True)
    assert __version__ in done.stdout
    module = subprocess.run([sys.executable, "-m", "octopoid", "--version"], capture_output=True, text=True, check=True)
    assert module.stdout == done.stdout
    wrong = subprocess.run([*command(), "no-such-command"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "no-such-command" in wrong.stderr


def test_the_demo(tmp_path: Path) -> None:
    # The scripts of this environment need not be on the PATH.
    path = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if not (Path(p) / "octopoid").exists())
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(
        [*command(), "demo"], capture_output=True, text=True, timeout=120, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_ctrl_c_ends_the_command(tmp_path: Path) -> None:
    arguments = [*command(), "serve", "--listen", "127.0.0.1:0", "--database", f"sqlite:{tmp_path}/s.db"]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "listening" in line:
            break
    process.send_signal(signal.SIGINT)
    process.stderr.close()
    assert process.wait(20) == 0

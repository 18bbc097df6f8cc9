"""The orchestrator inside a service of your own: every line that arrives on a TCP port becomes a task, and its result
is answered.

    python embedded_service.py REPOSITORY [PORT]

Ends in order at SIGTERM or Ctrl-C: no new claims, running roles are cancelled, their work is kept.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from octopoid import Assignment, AsyncOctopoid, Orchestrator, Outcome, Role

ENDS = {"done", "failed", "cancelled", "needs_attention"}


class Note(Role):
    """Writes the task's title into a file. A real service would call a model here."""

    name = "implement"

    async def run(self, cx: Assignment) -> Outcome:
        (cx.worktree / f"{cx.task.id}.txt").write_text(f"{cx.task.title}\n", encoding="utf-8")
        return Outcome.done("noted")


class Approve(Role):
    """Approves everything."""

    name = "gatekeeper"

    async def run(self, cx: Assignment) -> Outcome:
        return Outcome.approve("fine")


async def serve(repository: str, port: int) -> None:
    async with AsyncOctopoid.local(repository) as octopoid:

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            title = (await reader.readline()).decode().strip()
            task = await octopoid.tasks.create(title=title or "Untitled", role="implement")
            async for event in octopoid.events.watch(task_id=task.id):
                found = await octopoid.tasks.get(event.task_id)
                if found is None or found.queue in ENDS:
                    writer.write(f"{task.id} {found.queue if found else 'gone'}\n".encode())
                    break
            await writer.drain()
            writer.close()

        orchestrator = Orchestrator(octopoid=octopoid, repo=repository, roles=[Note(), Approve()], max_agents=2)
        working = asyncio.create_task(orchestrator.run_async())
        server = await asyncio.start_server(answer, "127.0.0.1", port)
        print(f"listening on {server.sockets[0].getsockname()[1]}", flush=True)

        over = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, over.set)
        await asyncio.wait([working, asyncio.create_task(over.wait())], return_when=asyncio.FIRST_COMPLETED)
        server.close()
        orchestrator.stop(now=True)
        print(f"orchestrator: {(await working).ended}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else 0))

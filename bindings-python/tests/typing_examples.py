"""What a type checker must understand; read by mypy, not run. Unused ignores are errors: a wrong type must be seen."""

from __future__ import annotations

from pathlib import Path

from octopoid import (
    Assignment,
    AsyncOctopoid,
    Octopoid,
    OctopoidClient,
    OctopoidSDK,
    Orchestrator,
    Outcome,
    Page,
    Record,
    Role,
    Task,
    git,
    queue,
)


def tasks(client: Octopoid) -> str:
    task: Task = client.tasks.create(title="x", blocked_by=["a"], checks=["true"])
    found: Task | None = client.tasks.get(task.id)
    maybe: str = found.title  # type: ignore[union-attr]
    page: Page[Task] = client.tasks.list(queue="incoming", limit=10)
    total: int = page.total
    claimed = client.tasks.claim("c-m", "agent", wait_seconds=1)
    if claimed:
        token: str = claimed.claim_token
        client.tasks.submit(claimed.id, commits_count=1, claim_token=token)
    client.tasks.claim("c-m")  # type: ignore[call-arg]
    client.tasks.claim("c-m", "agent", lease="x")  # type: ignore[call-arg]
    client.tasks.renew(task.id, "soon")  # type: ignore[arg-type]
    for event in client.events.watch(after=0):
        number: int = event.cursor
    return f"{task.id} {total} {number} {maybe}"


async def awaited(client: AsyncOctopoid) -> list[str]:
    task: Task = await client.tasks.create(title="x")
    wrong: Task = client.tasks.create(title="x")  # type: ignore[assignment]
    names = [t.title async for t in client.tasks.iterate("incoming")]
    async for event in client.events:
        names.append(event.type)
    return [*names, task.id, wrong.id]


class Write(Role):
    name = "implement"

    async def run(self, cx: Assignment) -> Outcome:
        tree: Path = cx.worktree
        if cx.attempt > 1 and cx.feedback:
            cx.log(cx.feedback[-1].content)
        return Outcome.done(str(tree))


def run(client: OctopoidSDK | OctopoidClient) -> Record:
    record = Orchestrator(octopoid=client, repo=Path("."), roles=[Write()], max_agents=2).run_once()
    Orchestrator(roles=[3])  # type: ignore[list-item]
    count: int = git.commit_count(".", "main")
    title: str | None = queue.read_task_file("x.md").title
    return Record(record, count=count, title=title)

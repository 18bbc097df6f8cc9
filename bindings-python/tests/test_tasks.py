"""Tasks, against a server and against a folder."""

from __future__ import annotations

import copy
import json
import pickle
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from octopoid import (
    NoTask,
    Octopoid,
    OctopoidAPIError,
    OctopoidConflictError,
    OctopoidNotFoundError,
    OctopoidValueError,
    Record,
    Task,
)


def fresh() -> str:
    return f"t-{uuid.uuid4().hex[:10]}"


def handed_in(client: Octopoid) -> Task:
    """A task in `provisional`."""
    client.tasks.create(title="Some work")
    claimed = client.tasks.claim("test-1", "worker")
    assert claimed
    return client.tasks.submit(claimed.id, commits_count=2, turns_used=5)


def test_a_title_is_enough(client: Octopoid) -> None:
    task = client.tasks.create(title="Fix the greeting")
    assert task.id.startswith("task-")
    assert (task.title, task["title"], task.get("title")) == ("Fix the greeting",) * 3
    assert (task.queue, task.priority) == ("incoming", "P2")
    assert isinstance(task, dict) and isinstance(task, Record)


def test_everything_that_a_task_has(client: Octopoid) -> None:
    first = client.tasks.create(title="First")
    task = client.tasks.create(
        fresh(),
        "tasks/some.md",
        priority="P0",
        role="docs",
        branch="trunk",
        title="Second",
        content="Body\n",
        complexity="S",
        blocked_by=[first.id],
        checks=["true"],
        paths=["docs/**"],
        metadata={"from": "here"},
        auto_accept=True,
    )
    read = client.tasks.get(task.id)
    assert read is not None
    assert (read.priority, read.role, read.branch, read.content) == ("P0", "docs", "trunk", "Body\n")
    assert (read.blocked, read.blocked_by, json.loads(read.checks)) == (True, first.id, ["true"])
    assert (read.paths, read.metadata, read.auto_accept, read.complexity) == (["docs/**"], {"from": "here"}, 1, "S")
    assert read.file_path == "tasks/some.md"


def test_what_is_not_there_is_none(client: Octopoid) -> None:
    assert client.tasks.get("nobody") is None
    assert client.projects.get("nobody") is None
    assert client.drafts.get(999_999) is None
    assert client.orchestrators.get("nobody") is None
    assert client.flows.get("nobody") is None
    # Ids that no task can have are not there either, and none of them reaches another route.
    for odd in ("a b", "a/b", "a?b", "a%2Fb", "é", "../status", "claim"):
        assert client.tasks.get(odd) is None, odd
    for impossible in ("", ".", ".."):
        with pytest.raises(OctopoidValueError):
            client.tasks.get(impossible)


def test_lists_know_how_many_there_are(client: Octopoid) -> None:
    created = client.tasks.create_many(
        [{"title": f"Task {n}", "priority": f"P{n % 4}", "role": "docs" if n % 2 else "test"} for n in range(25)]
    )
    assert len(created) == 25 and isinstance(created[0], Task)
    page = client.tasks.list(limit=10)
    assert (len(page), page.total, page.offset, page.limit) == (10, 25, 0, 10)
    assert len(client.tasks.list(limit=10, offset=20)) == 5
    assert client.tasks.list(priority="P0").total == 7
    assert client.tasks.list(priority=["P0", "P1"]).total == client.tasks.list(priority="P0,P1").total == 13
    assert {t.role for t in client.tasks.list("incoming", "P1", "docs")} == {"docs"}
    assert client.tasks.list(queue="done") == []
    seen = [task.id for task in client.tasks.iterate(page_size=7, sort="priority")]
    assert sorted(seen) == sorted(t.id for t in created)
    assert [t.id for t in client.tasks.iterate(role="test", page_size=3)] == [
        t.id for t in client.tasks.list(role="test")
    ]


def test_a_batch_is_all_or_nothing(client: Octopoid) -> None:
    name = fresh()
    with pytest.raises(OctopoidAPIError) as refused:
        client.tasks.create_many([{"id": name, "title": "Good"}, {"title": "Bad", "priority": "P9"}])
    assert "tasks[1]" in str(refused.value)
    assert client.tasks.get(name) is None


def test_changes(client: Octopoid) -> None:
    task = client.tasks.create(title="Old", priority="P3")
    changed = client.tasks.update(task.id, title="New", priority="P1")
    assert (changed.title, changed.priority) == ("New", "P1")
    assert changed.version > task.version
    with pytest.raises(OctopoidConflictError) as stale:
        client.tasks.update(task.id, title="Newer", version=task.version)
    assert stale.value.code == "version_conflict"
    with pytest.raises(OctopoidAPIError):
        client.tasks.update(task.id, queue="done")
    with pytest.raises(OctopoidNotFoundError):
        client.tasks.update("nobody", title="x")


def test_deletion(client: Octopoid) -> None:
    task = client.tasks.create(title="Gone soon")
    assert client.tasks.delete(task.id).task_id == task.id
    assert client.tasks.get(task.id) is None
    with pytest.raises(OctopoidNotFoundError):
        client.tasks.delete(task.id)


def test_the_same_key_creates_once(client: Octopoid) -> None:
    key = fresh()
    one = client.tasks.create(title="Once", idempotency_key=key)
    assert client.tasks.create(title="Once", idempotency_key=key).id == one.id
    with pytest.raises(OctopoidConflictError) as other:
        client.tasks.create(title="Twice", idempotency_key=key)
    assert other.value.code == "idempotency_conflict"


def test_from_claim_to_done(client: Octopoid) -> None:
    task = client.tasks.create(title="Work")
    claimed = client.tasks.claim("test-1", "worker", lease_duration_seconds=60)
    assert claimed
    assert (claimed.id, claimed.queue, claimed.claimed_by) == (task.id, "claimed", "worker")
    assert claimed.claim_token
    assert client.tasks.progress(task.id, "halfway").queue == "claimed"
    assert client.tasks.renew(task.id, 600).lease_expires_at > claimed.lease_expires_at
    assert client.tasks.submit(task.id, commits_count=3, turns_used=7).queue == "provisional"
    done = client.tasks.accept(task.id, accepted_by="me")
    assert (done.queue, done.commits_count, done.turns_used) == ("done", 3, 7)
    kinds = [entry.event for entry in client.tasks.history(task.id)]
    assert kinds[0] == "created" and kinds[-1] == "accepted" and "claimed" in kinds
    attempts = client.tasks.attempts(task.id)
    assert [a.number for a in attempts] == [1]


def test_an_empty_claim_tells_why(client: Octopoid) -> None:
    nothing = client.tasks.claim("test-1", "worker")
    assert not nothing
    assert isinstance(nothing, NoTask)
    assert nothing.reason == "empty"
    assert nothing.get("id") is None
    client.tasks.create(title="One")
    client.tasks.create(title="Two")
    assert client.tasks.claim("test-1", "worker", max_claimed=1)
    full = client.tasks.claim("test-1", "worker", max_claimed=1)
    assert not full and full.reason == "at_capacity"
    assert pickle.loads(pickle.dumps(full)).reason == "at_capacity"


def test_an_orchestrator_in_maintenance_is_paused(remote: Octopoid) -> None:
    remote.tasks.create(title="One")
    machine = fresh()
    remote.orchestrators.register("idle", machine)
    remote.orchestrators.set_status(f"idle-{machine}", "maintenance")
    nothing = remote.tasks.claim(f"idle-{machine}", "worker")
    assert not nothing and nothing.reason == "paused"
    remote.orchestrators.set_status(f"idle-{machine}", "active")
    assert remote.tasks.claim(f"idle-{machine}", "worker")


def test_several_claims_at_once(client: Octopoid) -> None:
    client.tasks.create_many([{"title": f"Task {n}"} for n in range(5)])
    claimed = client.tasks.claim_many("test-1", "worker", 3)
    assert len(claimed) == 3 and all(t.claim_token for t in claimed)
    assert len(client.tasks.claim_many("test-1", "worker", 10)) == 2
    assert client.tasks.claim_many("test-1", "worker", 10) == []
    for task in claimed:
        assert client.tasks.release(task.id, "not now").queue == "incoming"


def test_filters_of_a_claim(client: Octopoid) -> None:
    wanted = client.tasks.create(title="Docs", role="docs", type="chore", priority="P3")
    client.tasks.create(title="Other", role="test", priority="P0")
    assert client.tasks.claim("test-1", "worker", role_filter="docs").id == wanted.id
    other = client.tasks.create(title="More docs", role="docs", type="feature")
    assert client.tasks.claim("test-1", "worker", ["docs", "test"], type_filter=["feature"]).id == other.id


def test_a_fenced_claim_is_for_its_holder(client: Octopoid) -> None:
    client.tasks.create(title="Work")
    claimed = client.tasks.claim("test-1", "worker", fenced=True)
    assert claimed
    for call in (client.tasks.renew, client.tasks.release, client.tasks.submit):
        with pytest.raises(OctopoidConflictError) as stale:
            call(claimed.id, claim_token="not-the-one")
        assert stale.value.code == "stale_claim"
    # The client knows the secret of its own claim.
    assert client.tasks.submit(claimed.id, commits_count=1).queue == "provisional"


def test_another_client_has_not_the_secret(remote: Octopoid, server: object, scope: str) -> None:
    remote.tasks.create(title="Work")
    claimed = remote.tasks.claim("test-1", "worker", fenced=True)
    assert claimed and remote.server_url
    with Octopoid(remote.server_url, scope=scope) as other:
        with pytest.raises(OctopoidConflictError) as stale:
            other.tasks.progress(claimed.id, "mine now")
        assert stale.value.code == "stale_claim"
        assert other.tasks.progress(claimed.id, "ours", claim_token=claimed.claim_token).id == claimed.id


def test_submit_understands_both_orders(client: Octopoid) -> None:
    def claimed() -> str:
        task = client.tasks.create(title="Work")
        assert client.tasks.claim("test-1", "worker")
        return task.id

    first = client.tasks.submit(claimed(), "https://example.com/pull/7", 2, 9)
    assert (first.pr_url, first.commits_count, first.turns_used) == ("https://example.com/pull/7", 2, 9)
    second = client.tasks.submit(claimed(), 3, 11, {"tests": "passed"}, "all well")
    assert (second.commits_count, second.turns_used, second.execution_notes) == (3, 11, "all well")
    assert json.loads(second.check_results) == {"tests": "passed"}
    third = client.tasks.submit(claimed(), 4, turns_used=12)
    assert (third.commits_count, third.turns_used) == (4, 12)
    fourth = client.tasks.submit(claimed())
    assert (fourth.commits_count, fourth.queue) == (0, "provisional")


def test_decisions(client: Octopoid) -> None:
    task = handed_in(client)
    back = client.tasks.reject(task.id, "too short", rejected_by="me")
    assert (back.queue, back.rejection_count) == ("incoming", 1)
    assert "too short" in [m.content for m in client.tasks.thread(task.id)]
    assert client.tasks.approve(handed_in(client).id, by="me").queue == "done"
    with pytest.raises(OctopoidConflictError) as illegal:
        client.tasks.reject(task.id, "again")
    assert illegal.value.code == "illegal_transition" and illegal.value.status_code == 409


def test_hold_cancel_retry_recover_fail(client: Octopoid) -> None:
    task = client.tasks.create(title="Work")
    assert client.tasks.hold(task.id, "wait", by="me").hold
    assert not client.tasks.claim("test-1", "worker")
    assert not client.tasks.unhold(task.id).hold
    assert client.tasks.claim("test-1", "worker")
    assert client.tasks.requeue(task.id).queue == "incoming"
    assert client.tasks.cancel(task.id, "not needed").queue == "cancelled"
    assert client.tasks.retry(task.id).queue == "incoming"
    assert client.tasks.recover(task.id, "needs_attention", "look at it", by="me").queue == "needs_attention"
    failed = client.tasks.fail(task.id, "it cannot be done")
    assert (failed.queue, failed.execution_notes) == ("failed", "it cannot be done")
    assert "it cannot be done" in str(client.tasks.history(task.id))


def test_why(client: Octopoid) -> None:
    first = client.tasks.create(title="First")
    task = client.tasks.create(title="Second", blocked_by=first.id)
    why = client.tasks.why(task.id)
    assert why.queue == "incoming"
    assert first.id in why.held_by
    assert why.next and why.commands is not None
    with pytest.raises(OctopoidNotFoundError) as missing:
        client.tasks.why("nobody")
    assert missing.value.details["task_id"] == "nobody"


def test_bad_values_are_refused_with_what_is_right(client: Octopoid) -> None:
    with pytest.raises(OctopoidAPIError) as bad:
        client.tasks.create(title="x", priority="P7")
    assert bad.value.status_code == 400 and "P7" in str(bad.value)
    with pytest.raises(OctopoidAPIError, match="nobody"):
        client.tasks.create(title="x", blocked_by=["nobody"])
    with pytest.raises(OctopoidConflictError) as taken:
        client.tasks.create(client.tasks.create(title="x").id, title="x")
    assert taken.value.code == "already_exists" and taken.value.hint
    with pytest.raises(TypeError, match="lease_seconds"):
        client.tasks.claim("test-1", "worker", lease_seconds=3)  # type: ignore[call-arg]
    with pytest.raises(OctopoidValueError, match="JSON"):
        client.tasks.create(title="x", metadata={"bad": object()})
    with pytest.raises(OctopoidValueError, match="JSON"):
        client.tasks.create(title="x", metadata={"bad": float("nan")})
    with pytest.raises(OctopoidAPIError):
        client.tasks.claim("test-1", "worker", wait_seconds=3600)


def test_text_survives(client: Octopoid) -> None:
    text = 'Grüße, 世界, \U0001f419\n\ttab "quotes" \\ back\u2028line'
    task = client.tasks.create(title="ключ", content=text)
    assert client.tasks.get(task.id) == client.tasks.list()[0]
    assert task.content == text and task.title == "ключ"
    with pytest.raises(OctopoidValueError, match="JSON"):
        client.tasks.create(title="lone \ud800 half")


def test_records_are_copies(client: Octopoid) -> None:
    task = client.tasks.create(title="One")
    with pytest.raises(AttributeError, match="update"):
        task.title = "Two"
    with pytest.raises(AttributeError, match="colour"):
        _ = task.colour
    assert not hasattr(task, "colour") and hasattr(task, "title")
    assert pickle.loads(pickle.dumps(task)) == copy.deepcopy(task) == task
    assert json.loads(json.dumps(task)) == task
    assert "title" in dir(task) and repr(task).startswith("Task({")


def test_a_folder_keeps_its_tasks(tmp_path: Path) -> None:
    with Octopoid.local(tmp_path / "new" / "queue") as client:
        task = client.tasks.create(title="Kept")
    with Octopoid.local(str(tmp_path / "new" / "queue")) as again:
        assert again.tasks.get(task.id) == task


def test_what_opens_something_is_not_shown(client: Octopoid) -> None:
    client.tasks.create(title="secret")
    client.orchestrators.register("cl", "show")
    task = client.tasks.claim("cl-show", "a")
    assert task["claim_token"]
    assert task["claim_token"] not in repr(task)


def test_max_claimed_holds_for_claims_at_the_same_moment(client: Octopoid) -> None:
    for n in range(8):
        client.tasks.create(title=f"many {n}")
    client.orchestrators.register("cl", "many")

    def claim(n: int) -> object:
        return client.tasks.claim("cl-many", f"a{n}", max_claimed=2, idempotency_key=f"many-{n}")

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(claim, range(8)))
    assert sum(bool(task) for task in got) == 2
    assert {task.reason for task in got if not task} == {"at_capacity"}
    first = next(n for n, task in enumerate(got) if task)
    assert claim(first)["id"] == got[first]["id"], "the same key gives the same task, also at capacity"
    client.orchestrators.set_status("cl-many", "maintenance")
    assert claim(first)["id"] == got[first]["id"], "and in maintenance"

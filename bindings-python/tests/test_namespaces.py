"""Projects, drafts, orchestrators, flows, messages, actions, history, status; against a server and against a folder."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta, timezone

import pytest

from octopoid import Octopoid, OctopoidAPIError, OctopoidConflictError, OctopoidNotFoundError, Page


def fresh() -> str:
    return f"x-{uuid.uuid4().hex[:10]}"


def test_projects(client: Octopoid) -> None:
    name = fresh()
    project = client.projects.create(name, "Search", "Find things")
    assert (project.id, project.title, project.description) == (name, "Search", "Find things")
    assert project.branch and project.status == "draft"
    task = client.tasks.create(title="Index", project_id=name)
    assert task.branch == project.branch
    assert [t.id for t in client.projects.get_tasks(name)] == [task.id]
    assert client.projects.update(name, status="active").status == "active"
    assert [p.id for p in client.projects.list("active")] == [name]
    assert client.projects.list(status="completed") == []
    with pytest.raises(OctopoidConflictError) as full:
        client.projects.delete(name)
    assert full.value.hint
    client.tasks.delete(task.id)
    client.projects.delete(name)
    assert client.projects.get(name) is None
    generated = client.projects.create(title="No id", branch="feature/x")
    assert generated.id.startswith("project-") and generated.branch == "feature/x"


def test_drafts(client: Octopoid) -> None:
    draft = client.drafts.create("An idea", "me", content="In detail", tags=["a"])
    assert (draft.title, draft.author, draft.status) == ("An idea", "me", "idea")
    assert client.drafts.update(draft.id, status="partial").status == "partial"
    assert [d.id for d in client.drafts.list("partial")] == [draft.id]
    task = client.drafts.promote(draft.id, priority="P1", role="implement")
    assert (task.title, task.content, task.priority) == ("An idea", "In detail", "P1")
    promoted = client.drafts.get(draft.id)
    assert promoted is not None and promoted.linked_task_id == task.id
    assert client.drafts.promote(draft.id, priority="P1", role="implement").id == task.id
    client.drafts.delete(draft.id)
    assert client.drafts.get(draft.id) is None
    with pytest.raises(OctopoidNotFoundError):
        client.drafts.promote(draft.id)


def test_orchestrators(client: Octopoid) -> None:
    machine = fresh()
    registered = client.orchestrators.register("cluster", machine, "https://example.com/repo.git", hostname="host")
    name = f"cluster-{machine}"
    assert registered.orchestrator_id == name
    assert client.orchestrators.heartbeat(name).success is True
    found = client.orchestrators.get(name)
    assert found is not None and (found.hostname, found.status) == ("host", "active")
    assert name in [o.id for o in client.orchestrators.list(cluster="cluster")]
    assert client.orchestrators.set_status(name, "maintenance").status == "maintenance"
    poll = client.poll(name)
    assert poll.orchestrator_registered is True
    assert poll.queue_counts == {"incoming": 0, "claimed": 0, "provisional": 0}
    assert client.poll("nobody-1").orchestrator_registered is False


def test_flows(client: Octopoid) -> None:
    states = ["incoming", "claimed", "provisional", "proofread", "done", "failed"]
    transitions = [{"from": "provisional", "to": "proofread"}, {"from": "proofread", "to": "done"}]
    client.flows.register("careful", states, transitions, description="Twice")
    flow = client.flows.get("careful")
    assert flow is not None and json.loads(flow.states) == states and flow.description == "Twice"
    assert [f.name for f in client.flows.list()] == ["careful"]
    task = client.tasks.create(title="x", flow="careful", queue="provisional")
    assert client.tasks.update(task.id, queue="proofread").queue == "proofread"
    with pytest.raises(OctopoidAPIError):
        client.tasks.create(title="x", flow="careful", queue="nowhere")
    with pytest.raises(OctopoidAPIError, match="must include"):
        client.flows.register("bad", ["incoming"])
    assert client.flows.delete("careful").message == "Flow deleted"
    assert client.flows.get("careful") is None


def test_messages(client: Octopoid) -> None:
    task = client.tasks.create(title="x")
    question = client.messages.create(task.id, "worker", "question", "Which one?", to_actor="human")
    answer = client.messages.create(task.id, "human", "comment", "The first", parent_message_id=question.id)
    assert [m.content for m in client.messages.list(task_id=task.id)] == ["Which one?", "The first"]
    assert [m.id for m in client.messages.list_for_task(task.id)] == [question.id, answer.id]
    assert [m.id for m in client.tasks.messages(task.id)] == [question.id, answer.id]
    assert [m.id for m in client.messages.list(thread_id=question.id)] == [question.id, answer.id]
    assert client.messages.list(to_actor="human", unreplied=True) == []
    assert [m.id for m in client.messages.list(type="question")] == [question.id]
    with pytest.raises(OctopoidAPIError, match="Parent message not found"):
        client.messages.create(task.id, "a", "b", "c", parent_message_id="nobody")


def test_actions(client: Octopoid) -> None:
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    action = client.actions.create(
        "draft", "7", "Make it a task", action_data={"buttons": [1]}, proposed_by="agent", expires_at=later
    )
    assert json.loads(action.action_data) == {"buttons": [1]} and action.status == "proposed"
    assert [a.id for a in client.actions.list("draft", "7", "pending")] == [action.id]
    assert client.actions.execute(action.id).status == "execute_requested"
    with pytest.raises(OctopoidAPIError, match="execute_requested"):
        client.actions.execute(action.id)
    assert json.loads(client.actions.complete(action.id, {"ok": True}).result) == {"ok": True}
    other = client.actions.create("draft", "8", "Again", proposed_by="agent")
    assert client.actions.fail(other.id, "no").status == "failed"


def test_history_and_status(client: Octopoid) -> None:
    task = client.tasks.create(title="x")
    client.tasks.hold(task.id, "wait", by="me")
    history = client.history.list(task_id=task.id)
    assert [h.event for h in history] == ["created", "held"] and isinstance(history, Page)
    assert [h.event for h in client.history.list(after=history[0].id)] == ["held"]
    status = client.status.get()
    assert status.counts["incoming"] == 1 and status["queues"][0].queue == "incoming"
    health = client.status.health()
    assert health == {**client.system.health_check(), "timestamp": health.timestamp}
    assert (health.status, health.database, health.version) == ("healthy", "connected", "2.0.0")


def test_an_action_needs_no_proposer(client: Octopoid) -> None:
    assert client.actions.create("task", "t1", "Look at it").proposed_by == "api"


def test_a_draft_is_promoted_once(client: Octopoid) -> None:
    draft = client.drafts.create("A dark theme?", "ann")
    task = client.drafts.promote(draft.id, priority="P1")
    client.drafts.update(draft.id, title="Dark")
    assert client.drafts.promote(draft.id).id == task.id

"""`OctopoidClient`: the same queue with one method for each thing, as earlier guides showed it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ._calls.tasks import Words
from ._sync import Octopoid
from .records import NoTask, OrchestratorRecord, Page, Project, Record, Task

__all__ = ["OctopoidClient"]


class OctopoidClient(Octopoid):
    """An `Octopoid` with flat methods beside the groups; each gives over to the method of a group."""

    def list_tasks(
        self,
        queue: Words = None,
        priority: Words = None,
        role: Words = None,
        limit: int = 50,
        offset: int = 0,
        **filters: Any,
    ) -> Page[Task]:
        """See `tasks.list`."""
        return self.tasks.list(queue, priority, role, limit, offset, **filters)

    def get_task(self, task_id: str) -> Task | None:
        """See `tasks.get`."""
        return self.tasks.get(task_id)

    def create_task(self, id: str | None = None, file_path: str | None = None, **fields: Any) -> Task:
        """See `tasks.create`."""
        return self.tasks.create(id, file_path, **fields)

    def update_task(self, task_id: str, **changes: Any) -> Task:
        """See `tasks.update`."""
        return self.tasks.update(task_id, **changes)

    def delete_task(self, task_id: str) -> Record:
        """See `tasks.delete`."""
        return self.tasks.delete(task_id)

    def claim_task(
        self, orchestrator_id: str, agent_name: str, role_filter: str | Iterable[str] | None = None, **options: Any
    ) -> Task | NoTask:
        """See `tasks.claim`."""
        return self.tasks.claim(orchestrator_id, agent_name, role_filter, **options)

    def submit_completion(self, task_id: str, commits_count: int = 0, turns_used: int = 0, **fields: Any) -> Task:
        """See `tasks.submit`."""
        return self.tasks.submit(task_id, commits_count=commits_count, turns_used=turns_used, **fields)

    def accept_completion(self, task_id: str, accepted_by: str = "manual-review") -> Task:
        """See `tasks.accept`."""
        return self.tasks.accept(task_id, accepted_by)

    def reject_completion(self, task_id: str, reason: str, rejected_by: str = "manual-review") -> Task:
        """See `tasks.reject`."""
        return self.tasks.reject(task_id, reason, rejected_by)

    def create_project(self, id: str | None = None, name: str | None = None, **fields: Any) -> Project:
        """See `projects.create`."""
        return self.projects.create(id, name, **fields)

    def get_project(self, project_id: str) -> Project | None:
        """See `projects.get`."""
        return self.projects.get(project_id)

    def list_projects(self, status: str | None = None, **filters: Any) -> Page[Project]:
        """See `projects.list`."""
        return self.projects.list(status, **filters)

    def register_orchestrator(
        self, cluster: str, machine_id: str, repo_url: str | None = None, **fields: Any
    ) -> Record:
        """See `orchestrators.register`."""
        return self.orchestrators.register(cluster, machine_id, repo_url, **fields)

    def get_orchestrator(self, orchestrator_id: str) -> OrchestratorRecord | None:
        """See `orchestrators.get`."""
        return self.orchestrators.get(orchestrator_id)

    def send_heartbeat(self, orchestrator_id: str) -> Record:
        """See `orchestrators.heartbeat`."""
        return self.orchestrators.heartbeat(orchestrator_id)

    def health_check(self) -> Record:
        """See `status.health`."""
        return self.status.health()

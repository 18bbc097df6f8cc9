/** The flat client: one method for each thing that earlier guides show. */

import { Octopoid } from './client.js';
import type { CallOptions } from './transport.js';
import type {
  AcceptTaskRequest,
  ClaimTaskRequest,
  CreateProjectRequest,
  CreateTaskRequest,
  Page,
  Project,
  RegisterOrchestratorRequest,
  RegisterOrchestratorResponse,
  RejectTaskRequest,
  SubmitTaskRequest,
  Task,
  TaskFilters,
  UpdateTaskRequest,
} from './types.js';

/** `Octopoid` with flat methods beside the namespaces. */
export class OctopoidClient extends Octopoid {
  /** As `tasks.list`. */
  listTasks(filters?: TaskFilters, options?: CallOptions): Promise<Page<Task>> {
    return this.tasks.list(filters, options);
  }

  /** As `tasks.get`. */
  getTask(id: string, options?: CallOptions): Promise<Task | null> {
    return this.tasks.get(id, options);
  }

  /** As `tasks.create`. */
  createTask(request: CreateTaskRequest, options?: CallOptions): Promise<Task> {
    return this.tasks.create(request, options);
  }

  /** As `tasks.update`. */
  updateTask(id: string, changes: UpdateTaskRequest, options?: CallOptions): Promise<Task> {
    return this.tasks.update(id, changes, options);
  }

  /** As `tasks.claim`. */
  claimTask(request: ClaimTaskRequest, options?: CallOptions): Promise<Task | null> {
    return this.tasks.claim(request, options);
  }

  /** As `tasks.submit`. */
  submitCompletion(id: string, request: SubmitTaskRequest, options?: CallOptions): Promise<Task> {
    return this.tasks.submit(id, request, options);
  }

  /** As `tasks.accept`; a text is the name of who accepts. */
  acceptCompletion(id: string, request?: AcceptTaskRequest | string, options?: CallOptions): Promise<Task> {
    return this.tasks.accept(id, typeof request === 'string' ? { accepted_by: request } : request, options);
  }

  /** As `tasks.reject`; a text is the reason. */
  rejectCompletion(id: string, request: RejectTaskRequest | string, options?: CallOptions): Promise<Task> {
    return this.tasks.reject(id, request, options);
  }

  /** As `projects.create`. */
  createProject(request: CreateProjectRequest, options?: CallOptions): Promise<Project> {
    return this.projects.create(request, options);
  }

  /** As `projects.get`. */
  getProject(id: string, options?: CallOptions): Promise<Project | null> {
    return this.projects.get(id, options);
  }

  /** As `projects.list`. */
  listProjects(filters?: Parameters<Octopoid['projects']['list']>[0], options?: CallOptions): Promise<Page<Project>> {
    return this.projects.list(filters, options);
  }

  /** As `orchestrators.register`. */
  registerOrchestrator(
    request: RegisterOrchestratorRequest,
    options?: CallOptions,
  ): Promise<RegisterOrchestratorResponse> {
    return this.orchestrators.register(request, options);
  }

  /** As `orchestrators.heartbeat`. */
  sendHeartbeat(
    id: string,
    options?: CallOptions,
  ): Promise<{ success: boolean; last_heartbeat: string; status: string }> {
    return this.orchestrators.heartbeat(id, options);
  }
}

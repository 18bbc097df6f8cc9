/** What stands beside tasks: projects, drafts, orchestrators, flows, messages, actions. */

import { fields, segment } from './fields.js';
import { paged, type Numbered } from './page.js';
import type { CallOptions, Transport } from './transport.js';
import type {
  Action,
  CreateActionRequest,
  CreateDraftRequest,
  CreateMessageRequest,
  CreateProjectRequest,
  CreateTaskRequest,
  Draft,
  Flow,
  Message,
  Orchestrator,
  Page,
  Project,
  RegisterFlowRequest,
  RegisterOrchestratorRequest,
  RegisterOrchestratorResponse,
  Task,
  UpdateDraftRequest,
  UpdateProjectRequest,
} from './types.js';

class Namespace {
  /** @internal */
  protected readonly transport: Transport;

  /** @internal */
  constructor(transport: Transport) {
    this.transport = transport;
  }
}

const PROJECTS = '/api/v1/projects';
const projectPath = (id: string) => `${PROJECTS}/${segment(id, 'the id of a project')}`;

/** Projects: several tasks on one branch. */
export class Projects extends Namespace {
  /** Makes a project. Without `branch` its branch is `project/<id>`. */
  async create(request: CreateProjectRequest, options?: CallOptions): Promise<Project> {
    const given = fields(request, 'the project');
    const branch = typeof given['id'] === 'string' ? { branch: `project/${given['id']}` } : {};
    return this.transport.send('POST', PROJECTS, { body: { ...branch, ...given }, options });
  }

  /** The project of that id; null when there is none. */
  async get(id: string, options?: CallOptions): Promise<Project | null> {
    return this.transport.find(projectPath(id), { options });
  }

  /** One page of projects, the newest first. */
  async list(
    filters?: Numbered & { status?: string | string[]; created_by?: string; createdBy?: string },
    options?: CallOptions,
  ): Promise<Page<Project>> {
    const answer = await this.transport.send('GET', PROJECTS, { query: fields(filters, 'the filters'), options });
    return paged(answer, answer.projects);
  }

  /** Writes fields of a project. */
  async update(id: string, changes: UpdateProjectRequest, options?: CallOptions): Promise<Project> {
    return this.transport.send('PATCH', projectPath(id), { body: fields(changes, 'the changes'), options });
  }

  /** Deletes a project; a conflict while it has tasks. */
  async delete(id: string, options?: CallOptions): Promise<void> {
    await this.transport.send('DELETE', projectPath(id), { options });
  }

  /** All tasks of a project, the most urgent first. */
  async getTasks(id: string, options?: CallOptions): Promise<Page<Task>> {
    const answer = await this.transport.send('GET', `${projectPath(id)}/tasks`, { options });
    return paged(answer, answer.tasks);
  }
}

const DRAFTS = '/api/v1/drafts';
const draftPath = (id: number | string) => `${DRAFTS}/${segment(id, 'the number of a draft')}`;

/** Drafts: ideas kept before they are tasks. */
export class Drafts extends Namespace {
  /** Keeps an idea; its number is given by the server. */
  async create(request: CreateDraftRequest, options?: CallOptions): Promise<Draft> {
    return this.transport.send('POST', DRAFTS, { body: fields(request, 'the draft'), options });
  }

  /** The draft of that number; null when there is none. */
  async get(id: number | string, options?: CallOptions): Promise<Draft | null> {
    return this.transport.find(draftPath(id), { options });
  }

  /** One page of drafts, the newest first. */
  async list(
    filters?: Numbered & {
      status?: string | string[];
      author?: string;
      domain?: string;
      linked_task_id?: string;
      linkedTaskId?: string;
      linked_project_id?: string;
      linkedProjectId?: string;
    },
    options?: CallOptions,
  ): Promise<Page<Draft>> {
    const answer = await this.transport.send('GET', DRAFTS, { query: fields(filters, 'the filters'), options });
    return paged(answer, answer.drafts);
  }

  /**
   * Makes a draft a task and links the two; title and content are the draft's own unless the request has others. Twice gives the same
   * task.
   */
  async promote(id: number | string, request?: CreateTaskRequest, options?: CallOptions): Promise<Task> {
    const draft: Draft = await this.transport.send('GET', draftPath(id), { options });
    if (draft.linked_task_id) {
      return this.transport.send('GET', `/api/v1/tasks/${segment(draft.linked_task_id, 'the id of a task')}`, { options });
    }
    const body = { title: draft.title, content: draft.content ?? undefined, ...fields(request, 'the task') };
    const task: Task = await this.transport.send('POST', '/api/v1/tasks', { body, options: { idempotencyKey: `draft-${draft.id}`, ...options } });
    await this.transport.send('PATCH', draftPath(id), { body: { linked_task_id: task.id, status: 'complete' }, options });
    return task;
  }

  /** Writes fields of a draft. */
  async update(id: number | string, changes: UpdateDraftRequest, options?: CallOptions): Promise<Draft> {
    return this.transport.send('PATCH', draftPath(id), { body: fields(changes, 'the changes'), options });
  }

  /** Deletes a draft. */
  async delete(id: number | string, options?: CallOptions): Promise<void> {
    await this.transport.send('DELETE', draftPath(id), { options });
  }
}

const ORCHESTRATORS = '/api/v1/orchestrators';
const orchestratorPath = (id: string) => `${ORCHESTRATORS}/${segment(id, 'the id of an orchestrator')}`;

/** Orchestrators: the machines that claim tasks. */
export class Orchestrators extends Namespace {
  /** Makes an orchestrator known; again is safe. Its id is `<cluster>-<machine_id>`. */
  async register(request: RegisterOrchestratorRequest, options?: CallOptions): Promise<RegisterOrchestratorResponse> {
    const body = { repo_url: 'none', ...fields(request, 'the orchestrator') };
    return this.transport.send('POST', `${ORCHESTRATORS}/register`, { body, options });
  }

  /** The orchestrator of that id; null when there is none. */
  async get(id: string, options?: CallOptions): Promise<Orchestrator | null> {
    return this.transport.find(orchestratorPath(id), { options });
  }

  /** Orchestrators, the one heard of last first. */
  async list(
    filters?: { cluster?: string; status?: string | string[]; scope?: string },
    options?: CallOptions,
  ): Promise<Page<Orchestrator>> {
    const answer = await this.transport.send('GET', ORCHESTRATORS, { query: fields(filters, 'the filters'), options });
    return paged(answer, answer.orchestrators);
  }

  /** A sign of life. */
  async heartbeat(id: string, options?: CallOptions): Promise<{ success: boolean; last_heartbeat: string; status: string }> {
    return this.transport.send('POST', `${orchestratorPath(id)}/heartbeat`, { options });
  }

  /** Takes an orchestrator out of service (`maintenance`) or into it (`active`). */
  async update(id: string, changes: { status: string }, options?: CallOptions): Promise<Orchestrator> {
    return this.transport.send('PATCH', orchestratorPath(id), { body: fields(changes, 'the changes'), options });
  }
}

const FLOWS = '/api/v1/flows';
const flowPath = (name: string) => `${FLOWS}/${segment(name, 'the name of a flow')}`;

/** Flows that clients register. */
export class Flows extends Namespace {
  /** Flows by name. */
  async list(options?: CallOptions): Promise<Flow[]> {
    return (await this.transport.send('GET', FLOWS, { options })).flows;
  }

  /** The flow of that name; null when there is none. */
  async get(name: string, options?: CallOptions): Promise<Flow | null> {
    return this.transport.find(flowPath(name), { options });
  }

  /** Registers a flow, or replaces the one of that name. */
  async register(name: string, flow: RegisterFlowRequest, options?: CallOptions): Promise<Flow> {
    const body = { transitions: [], ...fields(flow, 'the flow') };
    return this.transport.send('PUT', flowPath(name), { body, options });
  }

  /** Deletes a flow. */
  async delete(name: string, options?: CallOptions): Promise<void> {
    await this.transport.send('DELETE', flowPath(name), { options });
  }
}

const MESSAGES = '/api/v1/messages';

/** Messages between agents, orchestrators and people. */
export class Messages extends Namespace {
  /** Keeps a message about a task. */
  async create(request: CreateMessageRequest, options?: CallOptions): Promise<Message> {
    return this.transport.send('POST', MESSAGES, { body: fields(request, 'the message'), options });
  }

  /** Messages that fit, oldest first; without a page the newest of them. */
  async list(
    filters?: Numbered & {
      task_id?: string;
      taskId?: string;
      to_actor?: string;
      toActor?: string;
      type?: string;
      unreplied?: boolean;
      thread_id?: string;
      threadId?: string;
    },
    options?: CallOptions,
  ): Promise<Page<Message>> {
    const answer = await this.transport.send('GET', MESSAGES, { query: fields(filters, 'the filters'), options });
    return paged(answer, answer.messages);
  }
}

const ACTIONS = '/api/v1/actions';
const actionPath = (id: string, what: string) => `${ACTIONS}/${segment(id, 'the id of an action')}/${what}`;

/** Actions: what an agent proposes and a person has executed. */
export class Actions extends Namespace {
  /** Proposes an action. */
  async create(request: CreateActionRequest, options?: CallOptions): Promise<Action> {
    const body = { action_type: 'proposal', proposed_by: 'api', ...fields(request, 'the action') };
    return this.transport.send('POST', ACTIONS, { body, options });
  }

  /** Actions that have not expired, the newest first. */
  async list(
    filters?: Numbered & {
      entity_type?: string;
      entityType?: string;
      entity_id?: string;
      entityId?: string;
      status?: string;
    },
    options?: CallOptions,
  ): Promise<Page<Action>> {
    const answer = await this.transport.send('GET', ACTIONS, { query: fields(filters, 'the filters'), options });
    return paged(answer, answer.actions);
  }

  /** Asks for an action to be executed. */
  async execute(id: string, options?: CallOptions): Promise<Action> {
    return this.transport.send('POST', actionPath(id, 'execute'), { options });
  }

  /** Reports that an action was executed, with any value as result. */
  async complete(id: string, result?: unknown, options?: CallOptions): Promise<Action> {
    return this.transport.send('POST', actionPath(id, 'complete'), { body: { result }, options });
  }

  /** Reports that an action failed, with any value as result. */
  async fail(id: string, result?: unknown, options?: CallOptions): Promise<Action> {
    return this.transport.send('POST', actionPath(id, 'fail'), { body: { result }, options });
  }
}

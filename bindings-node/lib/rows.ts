/** What stands beside tasks, as it is on the wire: fields in snake_case. Times are RFC 3339 texts in UTC. */

import type { AnyCase } from './fields.js';

/** Several tasks on one branch. */
export interface Project {
  id: string;
  title: string;
  description: string | null;
  status: string;
  branch: string;
  base_branch: string;
  auto_accept: boolean;
  created_at: string;
  updated_at: string;
  created_by: string | null;
  completed_at: string | null;
  scope: string;
}

interface CreateProjectFields {
  id: string;
  title?: string | undefined;
  /** Older spelling of `title`. */
  name?: string | undefined;
  description?: string | undefined;
  status?: string | undefined;
  /** `project/<id>` when it is left out. */
  branch?: string | undefined;
  base_branch?: string | undefined;
  auto_accept?: boolean | undefined;
  created_by?: string | undefined;
  scope?: string | undefined;
}
/** A project to be made. */
export type CreateProjectRequest = AnyCase<CreateProjectFields>;

interface UpdateProjectFields {
  title?: string | undefined;
  description?: string | null | undefined;
  status?: string | undefined;
  branch?: string | undefined;
  base_branch?: string | undefined;
  auto_accept?: boolean | undefined;
  completed_at?: string | null | undefined;
}
/** Fields of a project to write. */
export type UpdateProjectRequest = AnyCase<UpdateProjectFields>;

/** An idea kept before it is a task. */
export interface Draft {
  id: number;
  title: string;
  status: string;
  author: string;
  domain: string | null;
  file_path: string | null;
  content?: string | null;
  linked_task_id: string | null;
  linked_project_id: string | null;
  /** JSON array as text. */
  tags: string | null;
  created_at: string;
  updated_at: string;
}

interface DraftFields {
  title?: string | undefined;
  author?: string | undefined;
  status?: string | undefined;
  domain?: string | null | undefined;
  file_path?: string | null | undefined;
  content?: string | null | undefined;
  linked_task_id?: string | null | undefined;
  linked_project_id?: string | null | undefined;
  tags?: string[] | null | undefined;
}
/** A draft to be made. */
export type CreateDraftRequest = AnyCase<DraftFields & { title: string; author: string; scope?: string | undefined }>;
/** Fields of a draft to write. */
export type UpdateDraftRequest = AnyCase<DraftFields>;

/** A machine that claims tasks. */
export interface Orchestrator {
  id: string;
  cluster: string;
  machine_id: string;
  hostname: string | null;
  repo_url: string;
  registered_at: string;
  last_heartbeat: string;
  status: 'active' | 'offline' | 'maintenance';
  version: string | null;
  capabilities: unknown;
}

interface RegisterOrchestratorFields {
  cluster: string;
  machine_id: string;
  repo_url?: string | undefined;
  hostname?: string | undefined;
  version?: string | undefined;
  capabilities?: unknown;
  scope?: string | undefined;
}
/** An orchestrator to be made known. */
export type RegisterOrchestratorRequest = AnyCase<RegisterOrchestratorFields>;
/** Its id is `<cluster>-<machine_id>`. */
export interface RegisterOrchestratorResponse {
  orchestrator_id: string;
  registered_at: string;
  status: string;
  /** Only the first time that a scope registers without a key. */
  api_key?: string;
}

/** A registered flow; `states` and `transitions` are JSON as text. */
export interface Flow {
  name: string;
  states: string;
  transitions: string;
  description: string | null;
  [more: string]: unknown;
}
interface RegisterFlowFields {
  states: string[];
  transitions?: unknown[] | undefined;
  description?: string | undefined;
  child_flow?: unknown;
  scope?: string | undefined;
}
/** The states and transitions of a flow. */
export type RegisterFlowRequest = AnyCase<RegisterFlowFields>;

/** What an agent, an orchestrator or a person says about a task. */
export interface Message {
  id: string;
  task_id: string;
  from_actor: string;
  to_actor: string | null;
  type: string;
  content: string;
  parent_message_id: string | null;
  created_at: string;
}
interface CreateMessageFields {
  task_id: string;
  from_actor: string;
  type: string;
  content: string;
  to_actor?: string | undefined;
  parent_message_id?: string | undefined;
  scope?: string | undefined;
}
/** A message to be kept. */
export type CreateMessageRequest = AnyCase<CreateMessageFields>;

/** What an agent proposes and a person has executed. */
export interface Action {
  id: string;
  entity_type: string;
  entity_id: string;
  action_type: string;
  label: string;
  description: string | null;
  status: 'proposed' | 'execute_requested' | 'executing' | 'completed' | 'failed' | 'expired';
  proposed_by: string;
  proposed_at: string;
  executed_at: string | null;
  result: unknown;
  expires_at: string | null;
  action_data: unknown;
  metadata: unknown;
}
interface CreateActionFields {
  entity_type: string;
  entity_id: string;
  label: string;
  proposed_by?: string | undefined;
  action_type?: string | undefined;
  description?: string | undefined;
  expires_at?: string | undefined;
  action_data?: unknown;
  metadata?: unknown;
  scope?: string | undefined;
}
/** An action to be proposed; `action_type` is `proposal` and `proposed_by` is `api` when they are left out. */
export type CreateActionRequest = AnyCase<CreateActionFields>;

/** Whether the server and its database work. */
export interface Health {
  status: 'healthy' | 'degraded' | 'unhealthy';
  version: string;
  timestamp: string;
  database: string;
}

/** Counts, claims, and what needs a person. */
export interface Status {
  scope: string;
  /** Tasks per queue. */
  counts: Record<string, number>;
  queues: { queue: string; count: number }[];
  running: Record<string, unknown>[];
  attention: Record<string, unknown>[];
  review: Record<string, unknown>[];
  orchestrators: Orchestrator[];
  /** Cursor of the newest event. */
  cursor: number;
}

/** What a polling scheduler has to know. */
export interface Poll {
  queue_counts: { incoming: number; claimed: number; provisional: number };
  provisional_tasks: { id: string; hooks: string | null; pr_number: number | null; claimed_by: string | null }[];
  orchestrator_registered: boolean;
  scope: string;
  flows: Record<string, { states: string[] }>;
}

/** Tasks as they are on the wire: fields in snake_case. Times are RFC 3339 texts in UTC. */

import type { AnyCase } from './fields.js';

export type * from './rows.js';

/** From the most to the least urgent. */
export type Priority = 'P0' | 'P1' | 'P2' | 'P3';
/** From the smallest to the largest. */
export type Complexity = 'XS' | 'S' | 'M' | 'L' | 'XL';
/** A flag as a task's row has it: 0 or 1. */
export type Flag = 0 | 1 | boolean;

/** One unit of work. */
export interface Task {
  id: string;
  title: string;
  /** `incoming`, `claimed`, `provisional`, `needs_continuation`, `needs_attention`, `done`, `failed`, `cancelled`, or a state of its flow. */
  queue: string;
  priority: Priority;
  complexity: Complexity | null;
  /** What an agent does with it: `implement`, `review`, or any other word. */
  role: string | null;
  type: string | null;
  /** The branch that its work is for. */
  branch: string;
  /** Ids of unfinished tasks that it waits for, with commas between them. */
  blocked_by: string | null;
  blocked: boolean;
  /** The body, in Markdown. */
  content: string | null;
  file_path: string | null;
  project_id: string | null;
  flow: string;
  claimed_by: string | null;
  claimed_at: string | null;
  orchestrator_id: string | null;
  lease_expires_at: string | null;
  /** Number of the newest attempt. */
  attempt: number;
  /** Failed attempts. */
  attempt_count: number;
  rejection_count: number;
  review_round: number;
  commits_count: number;
  turns_used: number | null;
  /** Counts every change; a write that names an older one is refused. */
  version: number;
  epoch: number;
  auto_accept: Flag;
  has_plan: Flag;
  plan_id: string | null;
  needs_rebase: Flag;
  needs_breakdown: Flag;
  needs_intervention: Flag;
  pr_number: number | null;
  pr_url: string | null;
  checks: string | null;
  check_results: string | null;
  staging_url: string | null;
  execution_notes: string | null;
  base_sha: string | null;
  head_sha: string | null;
  /** The commit that brought its work into the branch; null until then. */
  merged_sha: string | null;
  work_branch: string;
  /** Reason of a hold; null when claims are allowed. */
  hold: string | null;
  /** Code of what a person has to look at. */
  attention: string | null;
  paths: string[];
  metadata: unknown;
  created_by: string | null;
  created_at: string;
  updated_at: string;
  submitted_at: string | null;
  completed_at: string | null;
  scope: string;
  /** The secret of the claim; only in the answer to `claim`. */
  claim_token?: string;
}

interface CreateTaskFields {
  /** Left out, one is made: `task-` and 8 hexadecimal digits. */
  id?: string | undefined;
  title?: string | undefined;
  /** The body, in Markdown. */
  content?: string | undefined;
  file_path?: string | undefined;
  queue?: string | undefined;
  priority?: Priority | undefined;
  complexity?: Complexity | undefined;
  role?: string | undefined;
  type?: string | undefined;
  branch?: string | undefined;
  /** Ids of tasks that must be done before. */
  blocked_by?: string | string[] | undefined;
  project_id?: string | undefined;
  flow?: string | undefined;
  flow_overrides?: unknown;
  hooks?: unknown;
  auto_accept?: boolean | undefined;
  /** Commands that must pass on the work. */
  checks?: string[] | undefined;
  /** Globs that the work must keep to. */
  paths?: string[] | undefined;
  created_by?: string | undefined;
  /** The same key with the same request gives the same task. */
  idempotency_key?: string | undefined;
  metadata?: unknown;
  scope?: string | undefined;
}
/** A task to be made; `title` alone is enough. */
export type CreateTaskRequest = AnyCase<CreateTaskFields>;

interface UpdateTaskFields {
  title?: string | undefined;
  content?: string | null | undefined;
  queue?: string | undefined;
  priority?: Priority | undefined;
  complexity?: Complexity | null | undefined;
  role?: string | null | undefined;
  type?: string | null | undefined;
  branch?: string | undefined;
  blocked_by?: string | string[] | undefined;
  project_id?: string | null | undefined;
  flow?: string | undefined;
  flow_overrides?: unknown;
  hooks?: unknown;
  auto_accept?: boolean | undefined;
  claimed_by?: string | null | undefined;
  claimed_at?: string | null | undefined;
  orchestrator_id?: string | null | undefined;
  lease_expires_at?: string | null | undefined;
  commits_count?: number | undefined;
  turns_used?: number | undefined;
  attempt_count?: number | undefined;
  rejection_count?: number | undefined;
  has_plan?: boolean | undefined;
  plan_id?: string | null | undefined;
  pr_number?: number | undefined;
  pr_url?: string | null | undefined;
  checks?: unknown;
  check_results?: unknown;
  needs_rebase?: boolean | undefined;
  needs_intervention?: boolean | undefined;
  execution_notes?: string | null | undefined;
  /** The version that was read; another one is a conflict. */
  version?: number | undefined;
  claim_token?: string | undefined;
}
/** Columns of a task to write; those that are left out stay. */
export type UpdateTaskRequest = AnyCase<UpdateTaskFields>;

interface ClaimTaskFields {
  /** `<cluster>-<machine_id>` of a registered orchestrator. */
  orchestrator_id: string;
  agent_name: string;
  role_filter?: string | string[] | undefined;
  type_filter?: string | string[] | undefined;
  /** Claim from this queue instead of `incoming`. */
  queue?: string | undefined;
  /** Default 300. */
  lease_duration_seconds?: number | undefined;
  /** How long to wait for a task, 0 to 60. */
  wait_seconds?: number | undefined;
  /** With it, each write of the claim must carry its token; this client sends it by itself. */
  fenced?: boolean | undefined;
  /** Claims of this orchestrator at most. */
  max_claimed?: number | undefined;
  scope?: string | undefined;
}
/** What to claim, and for whom. */
export type ClaimTaskRequest = AnyCase<ClaimTaskFields>;

/** What a claim brought: a task, or why there is none. */
export type Claim =
  | { task: Task; reason: null }
  | { task: null; reason: 'empty' | 'paused' | 'at_capacity' };

interface SubmitTaskFields {
  commits_count: number;
  turns_used: number;
  check_results?: unknown;
  execution_notes?: string | undefined;
  /** Token of the claim; the client's own when it is left out. */
  claim_token?: string | undefined;
  agent_name?: string | undefined;
  orchestrator_id?: string | undefined;
}
/** Work that is handed in. */
export type SubmitTaskRequest = AnyCase<SubmitTaskFields>;

/** Who accepts; `manual-review` when nobody is named. */
export type AcceptTaskRequest = AnyCase<{ accepted_by?: string | undefined; completed_at?: string | undefined }>;
/** Why work goes back; `rejected_by` is `manual-review` when nobody is named. */
export type RejectTaskRequest = AnyCase<{ reason: string; rejected_by?: string | undefined }>;

/** Who decides, and why; both for the audit trail. */
export interface Decision {
  by?: string | undefined;
  reason?: string | undefined;
}

interface TaskFilterFields {
  queue?: string | string[] | undefined;
  priority?: Priority | Priority[] | undefined;
  role?: string | string[] | undefined;
  type?: string | string[] | undefined;
  flow?: string | undefined;
  claimed_by?: string | undefined;
  orchestrator_id?: string | undefined;
  project_id?: string | undefined;
  blocked_by?: string | undefined;
  pr_number?: number | undefined;
  has_plan?: boolean | undefined;
  auto_accept?: boolean | undefined;
  needs_rebase?: boolean | undefined;
  needs_intervention?: boolean | undefined;
  /** Only tasks that are not over. */
  open?: boolean | undefined;
  sort?: 'priority' | 'urgency' | 'newest' | undefined;
  /** Rows of a page; the server's default is 50, its maximum 500. */
  limit?: number | undefined;
  offset?: number | undefined;
  scope?: string | undefined;
}
/** Which tasks; several values of one filter are alternatives. */
export type TaskFilters = AnyCase<TaskFilterFields>;

/** Rows of one page; `total` counts those of all pages. */
export type Page<T> = T[] & { readonly total: number; readonly offset: number; readonly limit: number };

/** One claim of a task by one agent, and what came of it. */
export interface Attempt {
  task_id: string;
  number: number;
  kind: 'work' | 'review' | 'land';
  role: string;
  agent: string;
  orchestrator_id: string;
  epoch: number;
  claimed_from: string;
  body_revision: number;
  base_sha: string | null;
  started_at: string;
  ended_at: string | null;
  outcome: string | null;
  /** Code of the failure. */
  failure: string | null;
  reason: string | null;
  evidence: Record<string, unknown>;
  usage: { input_tokens: number; output_tokens: number; cost_usd: number; turns: number };
}

/** Why a task is where it is. */
export interface Why {
  id: string;
  title: string;
  queue: string;
  awaiting: string | null;
  held_by: string | null;
  tried: string[];
  last_error: string | null;
  last_output: string | null;
  next: string;
  commands: string[];
}

/** One line of the audit trail. */
export interface HistoryEntry {
  id: number;
  task_id: string;
  event: string;
  agent: string | null;
  /** JSON. */
  details: string | null;
  timestamp: string;
}

/** One change, in the order of changes. */
export interface Event {
  /** Position in the feed; larger than that of every event before. */
  cursor: number;
  task_id: string;
  type: string;
  at: string;
  by: string | null;
  /** The task's version after the change. */
  version: number;
  details: Record<string, unknown>;
}

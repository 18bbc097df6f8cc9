/** Octopoid: a queue of tasks for coding agents, and the orchestrator that works it off. */

import { Octopoid } from './client.js';

export { Octopoid, type OctopoidOptions } from './client.js';
export { OctopoidClient } from './flat.js';
export { Orchestrator, type Ended, type OrchestratorOptions } from './orchestrator.js';
export {
  AbortError,
  OctopoidAPIError,
  OctopoidArgumentError,
  OctopoidAuthenticationError,
  OctopoidConflictError,
  OctopoidError,
  OctopoidNotFoundError,
  OctopoidOfflineError,
  OctopoidTimeoutError,
  type ErrorFacts,
} from './errors.js';
export * as git from './git.js';
export * as queue from './queue.js';
export type { AnyCase, CamelCase } from './fields.js';
export type { EventFilters, Events, History, StatusNow, System } from './feeds.js';
export type { DiffStat, WorktreeInfo } from './git.js';
export type { Numbered } from './page.js';
export type { TaskFile } from './queue.js';
export type { Actions, Drafts, Flows, Messages, Orchestrators, Projects } from './records.js';
export type { Assignment, Outcome, Role, Signal } from './role.js';
export type { Tasks } from './tasks.js';
export type { AbortSignalLike, CallOptions } from './transport.js';
export type {
  AcceptTaskRequest,
  Action,
  Attempt,
  Claim,
  ClaimTaskRequest,
  Complexity,
  CreateActionRequest,
  CreateDraftRequest,
  CreateMessageRequest,
  CreateProjectRequest,
  CreateTaskRequest,
  Decision,
  Draft,
  Event,
  Flag,
  Flow,
  Health,
  HistoryEntry,
  Message,
  Orchestrator as OrchestratorRow,
  Page,
  Poll,
  Priority,
  Project,
  RegisterFlowRequest,
  RegisterOrchestratorRequest,
  RegisterOrchestratorResponse,
  RejectTaskRequest,
  Status,
  SubmitTaskRequest,
  Task,
  TaskFilters,
  UpdateDraftRequest,
  UpdateProjectRequest,
  UpdateTaskRequest,
  Why,
} from './types.js';

/** The name that earlier versions gave to `Octopoid`. */
export const OctopoidSDK = Octopoid;
export type OctopoidSDK = Octopoid;

export default Octopoid;

/** Tasks: make, find, claim, hand in, review, decide. */

import { OctopoidArgumentError, OctopoidConflictError } from './errors.js';
import { describe, fields, seconds, segment, text } from './fields.js';
import { paged, type Numbered } from './page.js';
import type { CallOptions, Transport } from './transport.js';
import type {
  AcceptTaskRequest,
  Attempt,
  Claim,
  ClaimTaskRequest,
  CreateTaskRequest,
  Decision,
  HistoryEntry,
  Message,
  Page,
  RejectTaskRequest,
  SubmitTaskRequest,
  Task,
  TaskFilters,
  UpdateTaskRequest,
  Why,
} from './types.js';

const TASKS = '/api/v1/tasks';
/** Tokens that are remembered at most; the oldest claims are forgotten first. */
const MOST_TOKENS = 10_000;

/** Tasks of the queue. */
export class Tasks {
  private readonly tokens = new Map<string, string>();
  private readonly transport: Transport;

  /** @internal */
  constructor(transport: Transport) {
    this.transport = transport;
  }

  /** Makes a task and gives it as it is stored; `title` alone is enough. A duplicate id is a conflict. */
  async create(request: CreateTaskRequest, options?: CallOptions): Promise<Task> {
    return this.transport.send('POST', TASKS, { body: fields(request, 'the task'), options });
  }

  /** Makes up to 1,000 tasks, all or none. */
  async createMany(requests: CreateTaskRequest[], options?: CallOptions): Promise<Task[]> {
    if (!Array.isArray(requests)) {
      throw new OctopoidArgumentError(`createMany takes an array of tasks, not ${describe(requests)}`);
    }
    const tasks = requests.map((request, i) => fields(request, `task ${i}`));
    return (await this.transport.send('POST', `${TASKS}/batch`, { body: { tasks }, options })).tasks;
  }

  /** The task of that id; null when there is none. */
  async get(id: string, options?: CallOptions): Promise<Task | null> {
    return this.transport.find(path(id), { options });
  }

  /** One page of the tasks that fit, 50 when no `limit` is given; `total` of the array counts all of them. */
  async list(filters?: TaskFilters, options?: CallOptions): Promise<Page<Task>> {
    const answer = await this.transport.send('GET', TASKS, { query: fields(filters, 'the filters'), options });
    return paged(answer, answer.tasks);
  }

  /**
   * All tasks that fit, page by page; `limit` is the size of a page (default 200). Each task comes once; tasks that are
   * moved while this goes on may be missing.
   */
  async *iterate(filters?: TaskFilters, options?: CallOptions): AsyncGenerator<Task, void, undefined> {
    const { limit = 200, offset = 0, ...others } = fields(filters, 'the filters');
    const seen = new Set<string>();
    for (let at = Number(offset); ; ) {
      const query = { ...others, limit, offset: at };
      const { tasks, total } = await this.transport.send('GET', TASKS, { query, options });
      for (const task of tasks as Task[]) {
        if (seen.has(task.id)) continue;
        seen.add(task.id);
        yield task;
      }
      at += tasks.length;
      if (tasks.length === 0 || at >= total) return;
    }
  }

  /** Writes columns of a task. With `version`, only if nobody changed the task since. */
  async update(id: string, changes: UpdateTaskRequest, options?: CallOptions): Promise<Task> {
    return this.transport.send('PATCH', path(id), { body: fields(changes, 'the changes'), options });
  }

  /** Deletes a task; its history stays. */
  async delete(id: string, options?: CallOptions): Promise<void> {
    await this.transport.send('DELETE', path(id), { options });
    this.tokens.delete(id);
  }

  /**
   * Claims the most urgent task that fits; null when there is none. With `wait_seconds`, waits for one. The claim's token
   * is remembered and sent with `submit`, `renew`, `release`, `progress` and `fail`.
   */
  async claim(request: ClaimTaskRequest, options?: CallOptions): Promise<Task | null> {
    return (await this.claimOrReason(request, options)).task;
  }

  /** The same, telling why there is no task: `empty`, `paused` or `at_capacity`. */
  async claimOrReason(request: ClaimTaskRequest, options?: CallOptions): Promise<Claim> {
    const body = fields(request, 'the claim');
    if ('max' in body) throw new OctopoidArgumentError('claim takes one task', 'use claimMany for several');
    const wait = seconds(body['wait_seconds'], 'wait_seconds');
    const { value, reason } = await this.transport.reply('POST', `${TASKS}/claim`, { body, wait, options });
    if (value === null) return { task: null, reason: (reason as 'empty' | undefined) ?? 'empty' };
    this.remember(value);
    return { task: value, reason: null };
  }

  /** Claims up to `max` tasks (1 to 100); an empty array when there is none. */
  async claimMany(request: ClaimTaskRequest & { max: number }, options?: CallOptions): Promise<Task[]> {
    const body = fields(request, 'the claim');
    if (typeof body['max'] !== 'number') throw new OctopoidArgumentError(`max must be a number, not ${describe(body['max'])}`);
    const wait = seconds(body['wait_seconds'], 'wait_seconds');
    const { value } = await this.transport.reply('POST', `${TASKS}/claim`, { body, wait, options });
    const tasks: Task[] = value?.tasks ?? [];
    for (const task of tasks) this.remember(task);
    return tasks;
  }

  /** Hands in the work of a claim. */
  async submit(id: string, request: SubmitTaskRequest, options?: CallOptions): Promise<Task> {
    return this.own(id, 'submit', fields(request, 'the submission'), true, options);
  }

  /** Makes the lease of a claim longer, counted from now; 300 seconds when nothing else is asked for. */
  async renew(
    id: string,
    request?: { lease_duration_seconds?: number; leaseDurationSeconds?: number; claim_token?: string; claimToken?: string },
    options?: CallOptions,
  ): Promise<Task> {
    return this.own(id, 'renew', fields(request, 'the renewal'), false, options);
  }

  /** Gives a claim back without blame. */
  async release(
    id: string,
    request?: { reason?: string; claim_token?: string; claimToken?: string },
    options?: CallOptions,
  ): Promise<Task> {
    return this.own(id, 'release', fields(request, 'the release'), true, options);
  }

  /** Tells how far the work of a claim is. */
  async progress(
    id: string,
    note: string | { note: string; claim_token?: string; claimToken?: string },
    options?: CallOptions,
  ): Promise<Task> {
    const body = typeof note === 'string' ? { note } : fields(note, 'the progress');
    return this.own(id, 'progress', body, false, options);
  }

  /** Moves a task to `failed`, from any queue but `done`; the reason is kept in its `execution_notes` and its history. */
  async fail(
    id: string,
    reason: string | { reason: string; by?: string; claim_token?: string; claimToken?: string },
    options?: CallOptions,
  ): Promise<Task> {
    const body = typeof reason === 'string' ? { reason } : fields(reason, 'the failure');
    return this.own(id, 'fail', body, true, options);
  }

  /** Accepts handed-in work: the task is `done`. */
  async accept(id: string, request?: AcceptTaskRequest, options?: CallOptions): Promise<Task> {
    const body = { accepted_by: 'manual-review', ...fields(request, 'the acceptance') };
    return this.transport.send('POST', path(id, 'accept'), { body, options });
  }

  /** The same as `accept`: a person's yes. Work that an orchestrator handed in is approved and then merged; other work is done. */
  async approve(id: string, decision?: { by?: string }, options?: CallOptions): Promise<Task> {
    const { by, ...rest } = fields(decision, 'the decision');
    const body = { accepted_by: by ?? 'manual-review', ...rest };
    return this.transport.send('POST', path(id, 'accept'), { body, options });
  }

  /** Sends handed-in work back; the next attempt gets the reason. */
  async reject(id: string, request: RejectTaskRequest | string, options?: CallOptions): Promise<Task> {
    const given = typeof request === 'string' ? { reason: request } : fields(request, 'the rejection');
    return this.transport.send('POST', path(id, 'reject'), { body: { rejected_by: 'manual-review', ...given }, options });
  }

  /** Puts a task back to `incoming`; a claim on it ends. */
  async requeue(id: string, decision?: Decision, options?: CallOptions): Promise<Task> {
    return this.decide(id, 'requeue', decision, options);
  }

  /** Starts a stuck task again with fresh limits; its work is kept. */
  async retry(id: string, decision?: Decision, options?: CallOptions): Promise<Task> {
    return this.decide(id, 'retry', decision, options);
  }

  /** Calls a task off; a running agent is stopped, its work is kept. */
  async cancel(id: string, decision?: Decision, options?: CallOptions): Promise<Task> {
    return this.decide(id, 'cancel', decision, options);
  }

  /** No claims of this task until `unhold`. */
  async hold(id: string, decision?: Decision, options?: CallOptions): Promise<Task> {
    return this.decide(id, 'hold', decision, options);
  }

  /** Allows claims again. */
  async unhold(id: string, decision?: Decision, options?: CallOptions): Promise<Task> {
    return this.decide(id, 'unhold', decision, options);
  }

  /** Moves a task to a queue by decision of a person. */
  async recover(id: string, request: { to: string; reason: string; by?: string }, options?: CallOptions): Promise<Task> {
    return this.transport.send('POST', path(id, 'recover'), { body: fields(request, 'the decision'), options });
  }

  /** Why a task is where it is, what was tried, and what helps. */
  async why(id: string, options?: CallOptions): Promise<Why> {
    return this.transport.send('GET', path(id, 'why'), { options });
  }

  /** Claims of a task, oldest first. */
  async attempts(id: string, options?: CallOptions): Promise<Attempt[]> {
    return (await this.transport.send('GET', path(id, 'attempts'), { options })).attempts;
  }

  /** What happened to a task, oldest first. */
  async history(id: string, page?: Numbered, options?: CallOptions): Promise<Page<HistoryEntry>> {
    const query = fields(page, 'the page');
    const answer = await this.transport.send('GET', path(id, 'history'), { query, options });
    return paged(answer, answer.history);
  }

  /** Messages about a task, oldest first. */
  async messages(id: string, page?: Numbered, options?: CallOptions): Promise<Page<Message>> {
    const query = fields(page, 'the page');
    const answer = await this.transport.send('GET', path(id, 'messages'), { query, options });
    return paged(answer, answer.messages);
  }

  private async decide(id: string, what: string, decision: Decision | undefined, options?: CallOptions): Promise<Task> {
    const task = await this.transport.send('POST', path(id, what), { body: fields(decision, 'the decision'), options });
    if (task.queue !== 'claimed') this.tokens.delete(id);
    return task;
  }

  /** A write of the claim's holder: carries its token, unless another one is given. */
  private async own(
    id: string,
    what: string,
    given: Record<string, unknown>,
    ends: boolean,
    options?: CallOptions,
  ): Promise<Task> {
    const token = this.tokens.get(text(id, 'the id of a task'));
    const body = token === undefined ? given : { claim_token: token, ...given };
    try {
      const task = await this.transport.send('POST', path(id, what), { body, options });
      if (ends) this.tokens.delete(id);
      return task;
    } catch (error) {
      const isStale = error instanceof OctopoidConflictError && error.code === 'stale_claim';
      // The claim may have been replaced by a newer one of this client meanwhile.
      if (isStale && body['claim_token'] === this.tokens.get(id)) this.tokens.delete(id);
      throw error;
    }
  }

  private remember(task: Task): void {
    if (typeof task.claim_token !== 'string') return;
    this.tokens.delete(task.id);
    this.tokens.set(task.id, task.claim_token);
    if (this.tokens.size <= MOST_TOKENS) return;
    const [oldest] = this.tokens.keys();
    if (oldest !== undefined) this.tokens.delete(oldest);
  }
}

function path(id: string, what?: string): string {
  const task = `${TASKS}/${segment(id, 'the id of a task')}`;
  return what === undefined ? task : `${task}/${what}`;
}

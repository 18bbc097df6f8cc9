/** Roles: what is done with a claimed task, as the user's own code. */

import { inspect } from 'node:util';

import { Run } from '../native.js';
import { AbortError, OctopoidArgumentError, fromNative } from './errors.js';
import { describe } from './fields.js';
import type { AbortSignalLike } from './transport.js';
import type { Message } from './rows.js';
import type { Attempt, Task } from './types.js';

/** The global `AbortSignal` where its type is known. */
export type Signal = typeof globalThis extends { AbortSignal: { prototype: infer S } } ? S : AbortSignalLike;

/** One claimed task in the hands of a role. */
export interface Assignment {
  /** The task as it was when it was claimed. */
  readonly task: Task;
  /** Path of the checkout: on `agent/<id>` for work, exactly at `headSha` for a review. */
  readonly worktree: string;
  /** The attempt; `attempt.number` counts from 1. */
  readonly attempt: Attempt;
  /** Rejections, failures and answers so far, oldest first. */
  readonly feedback: Message[];
  /** Whether a commit is to be judged. */
  readonly isReview: boolean;
  /** Commit on which the work stands. */
  readonly baseSha: string;
  /** Commit that is judged, or from which work goes on. */
  readonly headSha: string;
  /** Whether nobody needs the result any more: called off, out of time, or the orchestrator stops. */
  readonly cancelled: boolean;
  /** Aborted when nobody needs the result any more. */
  readonly signal: Signal;
  /** Writes a line to the attempt's log, which `octopoid logs` shows. */
  log(text: string): void;
}

/** What came of an assignment: at least `outcome`, or `verdict` from a reviewer. */
export interface Outcome {
  outcome?: 'done' | 'failed' | 'needs_continuation' | 'question' | 'no_change';
  verdict?: 'approve' | 'reject';
  /** What was done, or why not; the reason of a rejection. */
  summary?: string;
  reason?: string;
  /** What has to change before approval. */
  blocking?: string[];
  /** What could be better. */
  advice?: string[];
  usage?: { input_tokens?: number; output_tokens?: number; cost_usd?: number; turns?: number };
  session_id?: string;
}

/** Something that is done with tasks of one role. A run that throws or rejects is a failed attempt. */
export interface Role {
  /** Tasks with this role are given to it; `gatekeeper` and other reviewing roles judge handed-in work. */
  name: string;
  run(cx: Assignment): Outcome | Promise<Outcome>;
}

/**
 * Roles as an orchestrator needs them.
 * @internal
 */
export function checkedRoles(roles: unknown): Role[] {
  if (!Array.isArray(roles)) throw new OctopoidArgumentError(`roles must be an array, not ${describe(roles)}`);
  for (const role of roles as Partial<Role>[]) {
    if (typeof role?.name !== 'string' || role.name === '' || typeof role.run !== 'function') {
      throw new OctopoidArgumentError('a role must be an object { name, run } with a name and a function');
    }
  }
  return roles as Role[];
}

/**
 * Plays roles: called from the orchestrator's threads, one call for each run.
 * @internal
 */
export class Stage {
  private readonly running = new Map<number, AbortController>();
  private readonly roles: Role[];

  constructor(roles: Role[]) {
    this.roles = roles;
  }

  /** Runs a role and tells what came of it, whatever that is. Never rejects. */
  play = async (run: Run): Promise<string> => {
    const controller = new AbortController();
    this.running.set(run.number, controller);
    try {
      if (run.cancelled) throw new AbortError();
      const role = this.roles[run.role] as Role;
      return said((await role.run(assignment(run, controller.signal))) as unknown);
    } catch (error) {
      return JSON.stringify(failure(error));
    } finally {
      this.running.delete(run.number);
      run.ended();
    }
  };

  /** Nobody needs the result of a run any more. */
  tell = (number: number): void => {
    this.running.get(number)?.abort(new AbortError());
  };
}

function assignment(run: Run, signal: AbortSignal): Assignment {
  const facts = JSON.parse(run.facts) as Omit<Assignment, 'cancelled' | 'signal' | 'log'>;
  return {
    ...facts,
    signal: signal as Signal,
    get cancelled() {
      return run.cancelled;
    },
    log(text: string) {
      try {
        run.log(typeof text === 'string' ? text : describe(text));
      } catch (error) {
        throw fromNative(error);
      }
    },
  };
}

/** What a role returned, for the orchestrator to judge. */
function said(outcome: unknown): string {
  try {
    return JSON.stringify({ outcome: outcome === undefined ? null : outcome });
  } catch (error) {
    return JSON.stringify(failure(new TypeError(`the outcome cannot be written as JSON: ${(error as Error).message}`)));
  }
}

function failure(error: unknown): { error: string; stack: string } {
  if (!(error instanceof Error)) {
    const thrown = inspect(error, { breakLength: 120 });
    const message = (error as { message?: unknown } | null | undefined)?.message;
    return { error: `it threw ${typeof message === 'string' ? message : describe(error)}`, stack: `thrown: ${thrown}` };
  }
  const causes: string[] = [];
  for (let cause: unknown = error.cause; cause instanceof Error && causes.length < 8; cause = cause.cause) {
    causes.push(`caused by: ${cause.stack ?? cause.message}`);
  }
  return { error: `${error.name}: ${error.message}`, stack: [error.stack ?? error.message, ...causes].join('\n') };
}

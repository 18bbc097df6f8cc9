/** The orchestrator: claims tasks, gives them to roles and agents in worktrees, checks, reviews and merges. */

import { resolve } from 'node:path';

import { Orchestrator as Native } from '../native.js';
import { type Octopoid, transportOf } from './client.js';
import { AbortError, OctopoidArgumentError, fromNative } from './errors.js';
import { describe, options as settings, text } from './fields.js';
import { type Role, Stage, checkedRoles } from './role.js';
import type { AbortSignalLike } from './transport.js';

/** What an orchestrator is made of. */
export interface OrchestratorOptions {
  /** The queue. */
  octopoid: Octopoid;
  /** Path of the git repository; it need not have `.octopoid/`. */
  repo: string;
  /** Roles of the program's own, beside the blueprints of the repository. */
  roles?: Role[] | undefined;
  /** Assignments at the same time, instead of the configured number. */
  maxAgents?: number | undefined;
  max_agents?: number | undefined;
  /** Longest time between two looks at the queue, in seconds, from 1, instead of the configured one. */
  tickSeconds?: number | undefined;
  tick_seconds?: number | undefined;
}

/** How a run ended: nothing left to do, something needs a person, or told to stop. */
export type Ended = 'clean' | 'needs_attention' | 'stopped';

/** An orchestrator for one repository. Only one at a time runs in a repository. */
export class Orchestrator {
  private readonly native: Native;

  /** Nothing is started or locked yet. */
  constructor(options: OrchestratorOptions) {
    const given = settings(options, ['octopoid', 'repo', 'roles', 'maxAgents', 'tickSeconds']) as unknown as OrchestratorOptions;
    const roles = checkedRoles(given.roles ?? []);
    const repo = resolve(text(given.repo, 'repo'));
    const max = given.max_agents;
    if (max !== undefined && !(Number.isInteger(max) && max >= 1)) {
      throw new OctopoidArgumentError(`maxAgents must be a whole number from 1, not ${describe(max)}`);
    }
    const tick = given.tick_seconds;
    if (tick !== undefined && !(Number.isFinite(tick) && tick >= 1)) {
      throw new OctopoidArgumentError(`tickSeconds must be a number from 1, not ${describe(tick)}`);
    }
    const stage = new Stage(roles);
    const names = roles.map((role) => role.name);
    try {
      const { connection } = transportOf(given.octopoid);
      this.native = new Native(connection, repo, names, max, tick, stage.play, stage.tell);
    } catch (error) {
      throw error instanceof OctopoidArgumentError ? error : fromNative(error);
    }
  }

  /**
   * Does all work that is ready, from claim to merge, waits for the roles and agents that it starts, and ends. Aborting
   * `signal` stops it as `stop` does.
   */
  async runOnce(options?: { signal?: AbortSignalLike }): Promise<Ended> {
    return this.start(true, options?.signal);
  }

  /** Runs until it is told to stop, by `stop()` or by aborting `signal`. */
  async run(options?: { signal?: AbortSignalLike }): Promise<Ended> {
    return this.start(false, options?.signal);
  }

  /**
   * Tells the run that is under way to stop: no new claims, steps are finished, roles are cancelled and their work kept.
   * The promise of the run then settles. False when nothing runs.
   */
  stop(): boolean {
    // Roles live in this process: unlike agent programs they cannot be taken up by the next orchestrator.
    return this.native.stop(true);
  }

  private async start(once: boolean, signal?: AbortSignalLike): Promise<Ended> {
    if (signal?.aborted) throw new AbortError(signal.reason);
    const stop = () => void this.stop();
    try {
      const ended = this.native.run(once);
      signal?.addEventListener('abort', stop);
      return (await ended) as Ended;
    } catch (error) {
      throw fromNative(error);
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }
}

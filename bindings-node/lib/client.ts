/** The client: one connection to a queue and the namespaces over it. */

import { resolve } from 'node:path';

import { Connection } from '../native.js';
import { OctopoidArgumentError, fromNative } from './errors.js';
import { describe, options as settings, text } from './fields.js';
import { Events, History, StatusNow, System } from './feeds.js';
import { Actions, Drafts, Flows, Messages, Orchestrators, Projects } from './records.js';
import { Tasks } from './tasks.js';
import { type CallOptions, Transport, duration } from './transport.js';
import type { Poll } from './types.js';

declare global {
  // Declared here too so that the types can be read without those of Node.
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol;
  }
}

/** Milliseconds to wait for an answer when nothing else is asked for. */
const TIMEOUT = 30_000;

/** How a server is reached. */
export interface OctopoidOptions {
  /** Address of the server; `OCTOPOID_SERVER_URL` when it is left out. */
  serverUrl?: string | undefined;
  server_url?: string | undefined;
  /** Key for the server; `OCTOPOID_API_KEY` when it is left out. */
  apiKey?: string | undefined;
  api_key?: string | undefined;
  /** Milliseconds to wait for an answer; default 30,000. */
  timeout?: number | undefined;
  /** Tenant; the key's or the server's own when it is left out. */
  scope?: string | undefined;
}

const transports = new WeakMap<Octopoid, Transport>();

/**
 * The transport of a client.
 * @internal
 */
export function transportOf(octopoid: Octopoid): Transport {
  const transport = transports.get(octopoid);
  if (transport === undefined) throw new OctopoidArgumentError(`an Octopoid client is needed, not ${describe(octopoid)}`);
  return transport;
}

/** A queue of tasks, on a server or in a folder of this machine. */
export class Octopoid {
  readonly tasks: Tasks;
  readonly projects: Projects;
  readonly drafts: Drafts;
  readonly orchestrators: Orchestrators;
  readonly flows: Flows;
  readonly messages: Messages;
  readonly actions: Actions;
  readonly history: History;
  readonly events: Events;
  readonly status: StatusNow;
  readonly system: System;
  /** The server's address; null for a queue in a folder. */
  readonly serverUrl: string | null;

  /** A client of a server; nothing is sent yet. Throws a `TypeError` with code `invalid_argument` when no server is named. */
  constructor(options?: OctopoidOptions | string) {
    const transport = options instanceof Transport ? options : connect(options);
    transports.set(this, transport);
    this.serverUrl = transport.url;
    this.tasks = new Tasks(transport);
    this.projects = new Projects(transport);
    this.drafts = new Drafts(transport);
    this.orchestrators = new Orchestrators(transport);
    this.flows = new Flows(transport);
    this.messages = new Messages(transport);
    this.actions = new Actions(transport);
    this.history = new History(transport);
    this.events = new Events(transport);
    this.status = new StatusNow(transport);
    this.system = new System(transport);
  }

  /** The queue in a folder of this machine, made when it is not there; no server is needed. */
  static local<T extends Octopoid>(
    this: new (options?: OctopoidOptions | string) => T,
    folder: string,
    options?: { timeout?: number },
  ): T {
    const path = resolve(text(folder, 'the folder'));
    const given = settings(options, ['timeout']);
    const timeout = given['timeout'] === undefined ? TIMEOUT : duration(given['timeout'], 'timeout');
    let connection: Connection;
    try {
      connection = Connection.local(path);
    } catch (error) {
      throw fromNative(error);
    }
    return new this(new Transport(connection, timeout) as OctopoidOptions);
  }

  /** What a polling scheduler has to know, in one request. */
  async poll(orchestratorId?: string, options?: CallOptions): Promise<Poll> {
    const query = { orchestrator_id: orchestratorId };
    return transportOf(this).send('GET', '/api/v1/scheduler/poll', { query, options });
  }

  /** Ends calls that are under way and lets go of the queue; later calls are refused. Twice is safe. */
  async close(): Promise<void> {
    transportOf(this).close();
  }

  /** The same as `close`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function connect(options: OctopoidOptions | string | undefined): Transport {
  const given = settings(typeof options === 'string' ? { serverUrl: options } : options, ['serverUrl', 'apiKey', 'timeout', 'scope']);
  const env = (name: string) => process.env[name] || undefined;
  const url = setting(given, 'server_url') ?? env('OCTOPOID_SERVER_URL');
  if (url === undefined) {
    throw new OctopoidArgumentError(
      'no server is named',
      'give { serverUrl }, set OCTOPOID_SERVER_URL, or use Octopoid.local(folder) for a queue without a server',
    );
  }
  const timeout = given['timeout'] === undefined ? TIMEOUT : duration(given['timeout'], 'timeout');
  const key = setting(given, 'api_key') ?? env('OCTOPOID_API_KEY');
  const scope = setting(given, 'scope') ?? env('OCTOPOID_SCOPE');
  try {
    return new Transport(Connection.remote(url, key, scope, timeout), timeout);
  } catch (error) {
    // Nothing was sent, so what is refused here is one of the settings.
    const { message, hint } = fromNative(error);
    throw new OctopoidArgumentError(message, hint);
  }
}

function setting(given: Record<string, unknown>, name: string): string | undefined {
  const value = given[name];
  if (value === undefined || value === null || value === '') return undefined;
  return text(value, name);
}

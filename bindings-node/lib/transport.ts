/** One client's way to its queue: sends requests, turns answers into values and refusals into errors. */

import { Cancel, Connection, type Reply as Told, type Request as Sent } from '../native.js';
import {
  AbortError,
  OctopoidAPIError,
  OctopoidArgumentError,
  OctopoidTimeoutError,
  fromNative,
  refused,
} from './errors.js';
import { describe, query } from './fields.js';

/** The part of an `AbortSignal` that is used; the global class fits. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** The last argument of every call. */
export interface CallOptions {
  /** Ends the call at once when it is aborted; the call then rejects with an `AbortError`. */
  signal?: AbortSignalLike | undefined;
  /** Milliseconds to wait for the answer, instead of the client's. Time that the server was asked to wait comes on top. */
  timeout?: number | undefined;
  /** Sent again with the same key, a write is done once. */
  idempotencyKey?: string | undefined;
}

/** @internal */
export interface Request {
  query?: Record<string, unknown> | undefined;
  body?: unknown;
  /** Seconds that the server is asked to wait. */
  wait?: number;
  options?: CallOptions | undefined;
}

/** @internal */
export interface Reply {
  /** The answer's body; null when it is empty. */
  value: any;
  /** Why a claim found nothing. */
  reason: string | undefined;
}

const METHODS_WITH_BODY = new Set(['POST', 'PUT', 'PATCH']);

/**
 * A duration in milliseconds that was given.
 * @internal
 */
export function duration(value: unknown, what: string): number {
  if (typeof value === 'number' && value > 0 && Number.isFinite(value)) return value;
  throw new OctopoidArgumentError(`${what} must be a positive number of milliseconds, not ${describe(value)}`);
}

/** @internal */
export class Transport {
  readonly connection: Connection;
  readonly timeout: number;
  /** The server's address; null for a queue in a folder. */
  readonly url: string | null;

  constructor(connection: Connection, timeout: number) {
    this.connection = connection;
    this.timeout = timeout;
    this.url = connection.url ?? null;
  }

  /** Sends a request; rejects for anything but success. */
  async send(method: string, path: string, request: Request = {}): Promise<any> {
    return (await this.reply(method, path, request)).value;
  }

  /** The same, null for what does not exist. */
  async find(path: string, request: Request = {}): Promise<any> {
    return (await this.reply('GET', path, request, 404)).value;
  }

  /** Sends a request; an answer with the status `empty` counts as one without a body. */
  async reply(method: string, path: string, request: Request, empty?: number): Promise<Reply> {
    const options = checked(request.options);
    const limit = options.timeout ?? this.timeout;
    const sent = {
      method,
      path,
      query: query(request.query ?? {}),
      ...(METHODS_WITH_BODY.has(method) ? { body: toJson(request.body ?? {}) } : {}),
      ...(options.idempotencyKey === undefined ? {} : { idempotencyKey: options.idempotencyKey }),
      wait: (request.wait ?? 0) * 1000,
      timeout: limit,
    };
    const told = await this.ask(sent, limit, options.signal);
    const reason = told.reason ?? undefined;
    if (reason !== undefined || told.status === empty) return { value: null, reason };
    if (told.status >= 400) throw refused(told.status, told.body);
    return { value: told.body === '' ? null : parsed(told, `${method} ${path}`), reason };
  }

  /** The native call, which an aborted signal ends. */
  private async ask(sent: Sent, limit: number, signal?: AbortSignalLike): Promise<Told> {
    if (signal === undefined) {
      try {
        return await this.connection.ask(sent);
      } catch (error) {
        throw late(fromNative(error), limit);
      }
    }
    if (signal.aborted) throw new AbortError(signal.reason);
    const cancel = new Cancel();
    const abort = () => cancel.cancel();
    signal.addEventListener('abort', abort);
    try {
      return await this.connection.ask(sent, cancel);
    } catch (error) {
      throw signal.aborted ? new AbortError(signal.reason) : late(fromNative(error), limit);
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  close(): void {
    this.connection.close();
  }
}

/** Timeouts begin as they did in earlier versions. */
function late(error: Error, limit: number): Error {
  if (!(error instanceof OctopoidTimeoutError)) return error;
  return new OctopoidTimeoutError(`Request timeout after ${limit}ms: ${error.message}`, { code: 'timeout', hint: error.hint });
}

function parsed(told: Told, what: string): unknown {
  try {
    return JSON.parse(told.body);
  } catch {
    throw new OctopoidAPIError(`API error (${told.status}): the answer to ${what} is not JSON`, {
      code: 'invalid_json',
      status: told.status,
      hint: 'look whether serverUrl is the address of an Octopoid server',
      body: told.body,
    });
  }
}

function toJson(body: unknown): string {
  try {
    return JSON.stringify(body);
  } catch (error) {
    throw new OctopoidArgumentError(`the request cannot be written as JSON: ${(error as Error).message}`);
  }
}

function checked(options: CallOptions | undefined): CallOptions {
  if (options === undefined || options === null) return {};
  if (typeof options !== 'object') {
    throw new OctopoidArgumentError(`the last argument must be { signal, timeout }, not ${describe(options)}`);
  }
  const { signal, timeout, idempotencyKey } = options;
  if (signal !== undefined && typeof (signal as Partial<AbortSignalLike>)?.addEventListener !== 'function') {
    throw new OctopoidArgumentError(`signal must be an AbortSignal, not ${describe(signal)}`);
  }
  if (timeout !== undefined) duration(timeout, 'timeout');
  if (idempotencyKey !== undefined && (typeof idempotencyKey !== 'string' || idempotencyKey === '')) {
    throw new OctopoidArgumentError(`idempotencyKey must be a non-empty string, not ${describe(idempotencyKey)}`);
  }
  return options;
}

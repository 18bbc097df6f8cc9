/** What happens and how things are: events, history, status, health. */

import { fields, seconds } from './fields.js';
import { paged, type Numbered } from './page.js';
import type { CallOptions, Transport } from './transport.js';
import type { Event, Health, HistoryEntry, Page, Status } from './types.js';

/** How long a server is asked to hold back an empty answer, in seconds. */
const PATIENCE = 25;
/** The same for a queue in a folder: what other processes write there wakes nobody up. */
const GLANCE = 1;

/** Which events. */
export interface EventFilters {
  /** Only those after this cursor; 0, the default, is the beginning. */
  after?: number | undefined;
  task_id?: string | undefined;
  taskId?: string | undefined;
  /** Events of one answer at most. */
  limit?: number | undefined;
  /** How long the server may wait for an event, 0 to 60. */
  wait_seconds?: number | undefined;
  waitSeconds?: number | undefined;
}

/** The change feed. */
export class Events {
  private readonly transport: Transport;

  /** @internal */
  constructor(transport: Transport) {
    this.transport = transport;
  }

  /** Events in the order in which they happened; with `wait_seconds`, waits for the first when there is none. */
  async list(filters?: EventFilters, options?: CallOptions): Promise<Event[]> {
    const query = fields(filters, 'the filters');
    const wait = seconds(query['wait_seconds'], 'wait_seconds');
    return (await this.transport.send('GET', '/api/v1/events', { query, wait, options })).events;
  }

  /**
   * All events from a cursor on, and then each new one as it happens; without `after`, from the beginning. Goes on until
   * the loop is left; ends with an `AbortError` when `signal` is aborted. Nothing is left out or comes twice: to go on
   * later, give the `cursor` of the last event as `after`.
   */
  async *watch(
    filters?: Omit<EventFilters, 'wait_seconds' | 'waitSeconds'> & Pick<CallOptions, 'signal'>,
    options?: CallOptions,
  ): AsyncGenerator<Event, void, undefined> {
    const { signal, ...given } = filters ?? {};
    let after = given.after ?? 0;
    const call = signal === undefined ? options : { ...options, signal };
    const waitSeconds = this.transport.url === null ? GLANCE : PATIENCE;
    for (;;) {
      for (const event of await this.list({ ...given, after, waitSeconds }, call)) {
        after = event.cursor;
        yield event;
      }
    }
  }
}

/** The audit trail. */
export class History {
  private readonly transport: Transport;

  /** @internal */
  constructor(transport: Transport) {
    this.transport = transport;
  }

  /** What happened, oldest first; `after` is the id of an entry. */
  async list(
    filters?: Numbered & { task_id?: string; taskId?: string; after?: number },
    options?: CallOptions,
  ): Promise<Page<HistoryEntry>> {
    const answer = await this.transport.send('GET', '/api/v1/history', { query: fields(filters, 'the filters'), options });
    return paged(answer, answer.history);
  }
}

/** How things are. */
export class StatusNow {
  private readonly transport: Transport;

  /** @internal */
  constructor(transport: Transport) {
    this.transport = transport;
  }

  /** Counts per queue, claims, orchestrators, and what needs a person. */
  async get(options?: CallOptions): Promise<Status> {
    return this.transport.send('GET', '/api/v1/status', { options });
  }

  /** Whether the server and its database work. */
  async health(options?: CallOptions): Promise<Health> {
    return this.transport.send('GET', '/api/health', { options });
  }
}

/** The server itself. */
export class System {
  private readonly transport: Transport;

  /** @internal */
  constructor(transport: Transport) {
    this.transport = transport;
  }

  /** Whether the server and its database work. */
  async healthCheck(options?: CallOptions): Promise<Health> {
    return this.transport.send('GET', '/api/health', { options });
  }
}

/** The errors that calls of this package end with. */

/** What an error carries beside its message. */
export interface ErrorFacts {
  /** Code from the list in `docs/errors.md`, for example `not_found`, `stale_claim`, `offline`. */
  code: string;
  /** The next step, where there is one to name. */
  hint?: string | undefined;
  /** HTTP status of the answer; none where nothing was answered. */
  status?: number | undefined;
  /** Body of the answer that says more, as it came. */
  body?: unknown;
}

/** A call that failed; the root of all errors that the package makes for reasons outside the program. */
export class OctopoidError extends Error {
  /** Code from the list in `docs/errors.md`. */
  readonly code: string;
  /** The next step, where there is one to name. */
  readonly hint: string | undefined;
  /** HTTP status of the answer; undefined where nothing was answered. */
  readonly status: number | undefined;

  constructor(message: string, facts: ErrorFacts) {
    super(message);
    this.name = new.target.name;
    this.code = facts.code;
    this.hint = facts.hint;
    this.status = facts.status;
  }
}

/** A request that the server refused, or that brought no answer. */
export class OctopoidAPIError extends OctopoidError {
  /** Body of the answer, parsed; undefined where nothing was answered. */
  readonly body: unknown;

  constructor(message: string, facts: ErrorFacts) {
    super(message, facts);
    this.body = facts.body;
  }
}

/** What was named does not exist (404). */
export class OctopoidNotFoundError extends OctopoidAPIError {}
/** No key, a wrong one, or one for something else (401, 403). */
export class OctopoidAuthenticationError extends OctopoidAPIError {}
/** The state of things does not allow it: illegal transition, stale claim, duplicate id, old version (409). */
export class OctopoidConflictError extends OctopoidAPIError {}
/** No answer came in time. Code `timeout`, no status. Whether the request was carried out is not known. */
export class OctopoidTimeoutError extends OctopoidAPIError {}
/** The server cannot be reached. Code `offline`, no status. */
export class OctopoidOfflineError extends OctopoidAPIError {}

/** An argument that cannot be used; code `invalid_argument`. Nothing was sent. */
export class OctopoidArgumentError extends TypeError {
  /** `invalid_argument`. */
  readonly code: string = 'invalid_argument';
  /** What to do instead. */
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(hint === undefined ? message : `${message}; ${hint}`);
    this.name = 'TypeError';
    this.hint = hint;
  }
}

/** A call whose `signal` was aborted; code `ABORT_ERR`, the signal's reason as `cause`. */
export class AbortError extends Error {
  /** `ABORT_ERR`, as in Node's own. */
  readonly code: string = 'ABORT_ERR';

  constructor(reason?: unknown) {
    super('The operation was aborted', reason === undefined ? undefined : { cause: reason });
    this.name = 'AbortError';
  }
}

type ErrorClass = new (message: string, facts: ErrorFacts) => OctopoidError;

const BY_STATUS: Record<number, ErrorClass> = {
  401: OctopoidAuthenticationError,
  403: OctopoidAuthenticationError,
  404: OctopoidNotFoundError,
  409: OctopoidConflictError,
};

const BY_CODE: Record<string, ErrorClass> = {
  not_found: OctopoidNotFoundError,
  unauthorized: OctopoidAuthenticationError,
  forbidden: OctopoidAuthenticationError,
  already_exists: OctopoidConflictError,
  already_running: OctopoidConflictError,
  idempotency_conflict: OctopoidConflictError,
  illegal_transition: OctopoidConflictError,
  merge_conflict: OctopoidConflictError,
  stale_claim: OctopoidConflictError,
  version_conflict: OctopoidConflictError,
  timeout: OctopoidTimeoutError,
  offline: OctopoidOfflineError,
};

/**
 * The error for an answer that is a refusal.
 * @internal
 */
export function refused(status: number, text: string): OctopoidAPIError {
  let body: unknown = text;
  try {
    body = JSON.parse(text);
  } catch {
    // Proxies answer in HTML; the text itself is then the message.
  }
  const said = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const message = [said['error'], said['message'], text.slice(0, 200)].find((t) => typeof t === 'string' && t !== '');
  const facts: ErrorFacts = {
    code: typeof said['code'] === 'string' ? said['code'] : codeOf(status),
    hint: typeof said['hint'] === 'string' ? said['hint'] : undefined,
    status,
    body,
  };
  const sentence = `API error (${status}): ${String(message ?? 'no reason given')}`;
  return new (BY_STATUS[status] ?? OctopoidAPIError)(sentence, facts) as OctopoidAPIError;
}

/** The code for a status whose body names none: the answer of a proxy, for example. */
function codeOf(status: number): string {
  const codes: Record<number, string> = {
    400: 'invalid_argument',
    401: 'unauthorized',
    403: 'forbidden',
    404: 'not_found',
    409: 'version_conflict',
    413: 'too_large',
    429: 'too_many_requests',
    503: 'store_unavailable',
  };
  return codes[status] ?? 'internal';
}

/**
 * The error for what the native part threw: its message is JSON with `code`, `message` and `hint`.
 * @internal
 */
export function fromNative(thrown: unknown): OctopoidError {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  let facts: { code: string; message: string; hint?: string | null };
  try {
    facts = JSON.parse(text) as typeof facts;
  } catch {
    return new OctopoidError(text, { code: 'internal' });
  }
  const hint = facts.hint ?? undefined;
  return new (BY_CODE[facts.code] ?? OctopoidError)(facts.message, { code: facts.code, hint });
}

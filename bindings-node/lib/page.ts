/** Pages of rows. */

import type { Page } from './types.js';

/** Which page. */
export interface Numbered {
  /** Rows at most. */
  limit?: number | undefined;
  /** Rows to leave out. */
  offset?: number | undefined;
}

/**
 * Rows as an array that knows how many there are in all. The numbers do not show when the array is printed or compared.
 * @internal
 */
export function paged<T>(answer: { total?: number; offset?: number; limit?: number }, rows: T[]): Page<T> {
  return Object.defineProperties(rows, {
    total: { value: answer.total ?? rows.length },
    offset: { value: answer.offset ?? 0 },
    limit: { value: answer.limit ?? rows.length },
  }) as Page<T>;
}

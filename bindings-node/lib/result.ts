/** Results of native calls, which come as JSON. */

import { fromNative } from './errors.js';

/**
 * The value of a native call; what it throws as an error of this package.
 * @internal
 */
export async function result<T>(json: Promise<string>): Promise<T> {
  try {
    return JSON.parse(await json) as T;
  } catch (error) {
    throw fromNative(error);
  }
}

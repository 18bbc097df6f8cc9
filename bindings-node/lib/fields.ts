/** Arguments: what may be given, in which spelling, and what of it is sent. */

import { OctopoidArgumentError } from './errors.js';

/** `orchestrator_id` as `orchestratorId`. */
export type CamelCase<K extends string> = K extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : K;

/** An object whose keys are in snake_case or in camelCase. */
export type AnyCase<T> = T | { [K in keyof T as K extends string ? CamelCase<K> : K]: T[K] };

/**
 * An object as it is sent: its keys in snake_case, without those that are undefined. Values stay as they are.
 * @internal
 */
export function fields(value: unknown, what: string): Record<string, unknown> {
  if (value === undefined || value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new OctopoidArgumentError(`${what} must be an object, not ${describe(value)}`);
  }
  const sent: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    if (item === undefined) continue;
    const name = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (name in sent) throw new OctopoidArgumentError(`${what} has ${name} in two spellings`, 'give one of them');
    sent[name] = item;
  }
  return sent;
}

/**
 * An object of options as `fields` gives it; one that is not known is refused by its name. `known` is in camelCase.
 * @internal
 */
export function options(value: unknown, known: string[]): Record<string, unknown> {
  const given = fields(value, 'the options');
  const names = Object.keys(fields(Object.fromEntries(known.map((name) => [name, true])), 'the options'));
  const other = Object.keys(given).find((name) => !names.includes(name));
  if (other !== undefined) throw new OctopoidArgumentError(`the options have no ${other}`, `they are ${known.join(', ')}`);
  return given;
}

/**
 * A value for a message: its kind, and the value itself where it is short.
 * @internal
 */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'string') return value === '' ? 'an empty string' : JSON.stringify(value.slice(0, 60));
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`;
}

/**
 * A part of a path: the name of one thing, encoded.
 * @internal
 */
export function segment(value: unknown, what: string): string {
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  if (typeof value !== 'string' || value === '') {
    throw new OctopoidArgumentError(`${what} must be a non-empty string, not ${describe(value)}`);
  }
  // As a part of a path these two mean another place.
  if (value === '.' || value === '..') throw new OctopoidArgumentError(`${what} cannot be ${JSON.stringify(value)}`);
  try {
    return encodeURIComponent(value);
  } catch {
    throw new OctopoidArgumentError(`${what} is not valid Unicode`);
  }
}

/**
 * A text that must be given.
 * @internal
 */
export function text(value: unknown, what: string): string {
  if (typeof value === 'string' && value !== '') return value;
  throw new OctopoidArgumentError(`${what} must be a non-empty string, not ${describe(value)}`);
}

/**
 * Filters as parameters of a query; lists with commas between their items.
 * @internal
 */
export function query(filters: Record<string, unknown>): string[] {
  const pairs: string[] = [];
  for (const [name, value] of Object.entries(filters)) {
    if (value === null || value === undefined) continue;
    const items = Array.isArray(value) ? value : [value];
    for (const item of items) {
      if (!['string', 'number', 'boolean'].includes(typeof item)) {
        throw new OctopoidArgumentError(`the filter ${name} takes text, a number or a boolean, not ${describe(item)}`);
      }
    }
    pairs.push(name, items.join(','));
  }
  return pairs;
}

/**
 * A number of seconds that a server may wait, as it is given in a request.
 * @internal
 */
export function seconds(value: unknown, what: string): number {
  if (value === undefined || value === null) return 0;
  if (typeof value !== 'number' || !(value >= 0 && value <= 60)) {
    throw new OctopoidArgumentError(`${what} must be a number from 0 to 60, not ${describe(value)}`);
  }
  return value;
}

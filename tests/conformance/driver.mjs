// Plays the scenarios with the Node package: over a server, and over a store in a folder.
//
//     node tests/conformance/driver.mjs [scenario ...]
//
// Needs bindings-node to be built and its development dependencies to be installed. Names of scenarios choose some of
// them. The exit code is 1 where one fails.

import { spawn } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const bindings = join(here, '../../bindings-node');
const require = createRequire(join(bindings, 'package.json'));
const { Octopoid, OctopoidError } = require(bindings);
const yaml = require('js-yaml');

const LANGUAGE = 'node';
const KEYS = ['call', 'with', 'save', 'expect', 'error', 'languages'];

/** The argument that names what a call is about; it comes first, and the others are fields of one object. */
const SUBJECT = {
  tasks: 'task_id',
  projects: 'project_id',
  drafts: 'draft_id',
  orchestrators: 'orchestrator_id',
  flows: 'name',
  actions: 'action_id',
};
/** Calls that are about nothing that exists already. */
const WITHOUT_SUBJECT = new Set([
  ...['tasks', 'projects', 'drafts', 'actions'].map((namespace) => `${namespace}.create`),
  ...Object.keys(SUBJECT).map((namespace) => `${namespace}.list`),
  ...['tasks.claim', 'tasks.claim_or_reason', 'tasks.claim_many', 'orchestrators.register'],
]);

/** A step whose result is not the expected one. */
class Mismatch extends Error {}

const worlds = {
  /** A client of a server that runs for as long as `use` does. */
  async server(folder, use) {
    const script = join(bindings, 'bin/octopoid.js');
    const flags = ['--listen', '127.0.0.1:0', '--default-scope', 'conformance', '--database', `sqlite:${join(folder, 'queue.db')}`];
    const server = spawn(process.execPath, [script, 'serve', ...flags], { stdio: ['ignore', 'ignore', 'pipe'] });
    const ended = new Promise((resolve) => server.once('exit', resolve));
    try {
      const url = await new Promise((resolve, reject) => {
        const said = [];
        createInterface({ input: server.stderr }).on('line', (line) => {
          said.push(line);
          const match = /^listening on (\S+)/.exec(line);
          if (match) resolve(match[1]);
        });
        ended.then(() => reject(new Mismatch(`the server did not start: ${said.join('\n')}`)));
      });
      const client = new Octopoid({ serverUrl: url, scope: 'conformance' });
      await use(client);
      await client.close();
    } finally {
      server.kill();
      await ended;
    }
  },
  /** A client of a store in the folder. */
  async embedded(folder, use) {
    const client = Octopoid.local(folder);
    try {
      await use(client);
    } finally {
      await client.close();
    }
  },
};

const isMap = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const shown = (value) => JSON.stringify(value);

/** The value with each `$name.field` in it replaced by what it refers to. */
function resolve(value, saved) {
  if (Array.isArray(value)) return value.map((item) => resolve(item, saved));
  if (isMap(value)) return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item, saved)]));
  if (typeof value !== 'string' || !value.startsWith('$') || value === '$any' || value === '$absent') return value;
  let found = saved;
  for (const part of value.slice(1).split('.')) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, part)) {
      throw new Mismatch(`${value} refers to nothing that was saved`);
    }
    found = found[part];
  }
  return found;
}

/** Where a result is not what was expected; undefined when it matches. */
function difference(at, expected, actual) {
  if (expected === '$absent') return actual === undefined ? undefined : `${at}: expected nothing, got ${shown(actual)}`;
  if (actual === undefined) return `${at}: expected ${shown(expected)}, but it is not there`;
  const differs = `${at}: expected ${shown(expected)}, got ${shown(actual)}`;
  if (expected === '$any') return actual === null ? differs : undefined;
  if (isMap(expected) && Array.isArray(actual)) {
    const fits = Object.keys(expected).length === 1 && expected.length === actual.length;
    return fits ? undefined : differs;
  }
  if (isMap(expected) && isMap(actual)) {
    const fields = Object.entries(expected).map(([key, item]) => difference(`${at}.${key}`, item, actual[key]));
    return fields.find((found) => found !== undefined);
  }
  if (Array.isArray(expected) && Array.isArray(actual)) {
    if (expected.length !== actual.length) return differs;
    return expected.map((item, i) => difference(`${at}.${i}`, item, actual[i])).find((found) => found !== undefined);
  }
  return expected === actual ? undefined : differs;
}

/** Makes a call and gives its result in the form that all languages have in common. */
async function perform(client, call, given) {
  const [namespace, name] = call.split('.');
  const { idempotency_key: key, ...others } = given;
  let method = name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
  const args = [];
  const options = [];
  if (call === 'tasks.claim' && key !== undefined) {
    // A claim is no object that keeps its key; it goes with the call.
    options.push({ idempotencyKey: key });
    given = others;
  }
  const subject = SUBJECT[namespace];
  if (subject !== undefined && !WITHOUT_SUBJECT.has(call)) {
    const { [subject]: id, ...rest } = given;
    if (id === undefined) throw new Mismatch(`${call} needs ${subject}`);
    args.push(id);
    given = rest;
  }
  if (call === 'orchestrators.set_status') method = 'update';
  if (namespace === 'actions' && (name === 'complete' || name === 'fail')) args.push(given.result);
  else if (Object.keys(given).length > 0) args.push(given);
  if (typeof client[namespace]?.[method] !== 'function') throw new Mismatch(`there is no ${namespace}.${method}`);
  const result = await client[namespace][method](...args, ...options);
  if (name === 'delete') return null;
  return Array.isArray(result) ? { rows: result, ...(result.total === undefined ? {} : { total: result.total }) } : result;
}

/** Plays one step; throws `Mismatch` where it comes out otherwise. */
async function once(client, step, saved) {
  const unknown = Object.keys(step).filter((key) => !KEYS.includes(key));
  if (unknown.length > 0) throw new Mismatch(`a step has no ${unknown}`);
  let result;
  try {
    result = await perform(client, step.call, resolve(step.with ?? {}, saved));
  } catch (error) {
    if (!(error instanceof OctopoidError)) throw error;
    const isExpected = step.error?.code === error.code && step.error?.status === error.status;
    if (!isExpected) throw new Mismatch(`expected ${shown(step.error ?? 'success')}, got ${error.code} (${error.status}): ${error.message}`);
    return;
  }
  // Through JSON: what is compared is data.
  result = JSON.parse(JSON.stringify(result ?? null));
  if ('error' in step) throw new Mismatch(`expected ${shown(step.error)}, but it was done: ${shown(result)}`);
  if ('expect' in step) {
    const found = difference('result', resolve(step.expect, saved), result);
    if (found !== undefined) throw new Mismatch(found);
  }
  if (step.save !== undefined) saved[step.save] = result;
}

/** Plays a scenario in a world of its own and gives how many steps were left out. */
async function play(path, world) {
  const scenario = yaml.load(await readFile(path, 'utf8'));
  const folder = await mkdtemp(join(tmpdir(), 'octopoid-conformance-'));
  const saved = {};
  let leftOut = 0;
  try {
    await world(folder, async (client) => {
      for (const [i, step] of scenario.steps.entries()) {
        if (step.languages !== undefined && !step.languages.includes(LANGUAGE)) {
          leftOut += 1;
          continue;
        }
        try {
          await once(client, step, saved);
        } catch (error) {
          throw new Mismatch(`step ${i + 1} (${step.call}): ${error.message}`, { cause: error });
        }
      }
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return leftOut;
}

/** Compares as the other players do. */
async function checkMatching() {
  for (const { expect, actual, matches } of yaml.load(await readFile(join(here, 'matching.yaml'), 'utf8'))) {
    if ((difference('it', expect, actual) === undefined) !== matches) {
      throw new Mismatch(`the comparison of ${shown(expect)} and ${shown(actual)} comes out otherwise`);
    }
  }
}

async function main(names) {
  await checkMatching();
  const files = (await readdir(join(here, 'scenarios'))).filter((name) => name.endsWith('.yaml')).sort();
  const known = files.map((file) => basename(file, '.yaml'));
  const unknown = names.filter((name) => !known.includes(name));
  if (known.length === 0 || unknown.length > 0) {
    console.error(`no such scenario: ${unknown}; there are ${known.join(', ')}`);
    return 2;
  }
  let failures = 0;
  for (const name of known.filter((name) => names.length === 0 || names.includes(name))) {
    for (const [where, world] of Object.entries(worlds)) {
      try {
        const leftOut = await play(join(here, 'scenarios', `${name}.yaml`), world);
        console.log(`ok     ${name} (${where})${leftOut > 0 ? `, ${leftOut} left out` : ''}`);
      } catch (error) {
        failures += 1;
        console.log(`FAILED ${name} (${where}): ${error.message}`);
      }
    }
  }
  console.log(`${LANGUAGE}: ${failures} failed`);
  return failures > 0 ? 1 : 0;
}

process.exitCode = await main(process.argv.slice(2));

// The client itself: settings, errors, time limits, abortion, closing.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';

import * as octopoid from 'octopoid';
import {
  Octopoid,
  OctopoidAPIError,
  OctopoidAuthenticationError,
  OctopoidClient,
  OctopoidError,
  OctopoidOfflineError,
  OctopoidSDK,
  OctopoidTimeoutError,
} from 'octopoid';
import { folder, nobody, serve, silence, suite } from './help.mjs';

const NAMES = ['OCTOPOID_SERVER_URL', 'OCTOPOID_API_KEY', 'OCTOPOID_SCOPE'];

/** Answers every request in one way, and keeps what was asked. */
async function echo(t, status = 200, body = '{"ok":true}', headers = {}) {
  const seen = [];
  const server = createServer((request, response) => {
    seen.push({ method: request.method, url: request.url, headers: request.headers });
    request.resume().on('end', () => response.writeHead(status, headers).end(body));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, seen };
}

describe('settings', () => {
  const before = {};
  beforeEach(() => {
    for (const name of NAMES) {
      before[name] = process.env[name];
      delete process.env[name];
    }
  });
  afterEach(() => {
    for (const name of NAMES) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  });

  it('says what to do when no server is named', () => {
    for (const make of [() => new Octopoid(), () => new OctopoidSDK({}), () => new OctopoidClient({ serverUrl: '' })]) {
      assert.throws(make, (error) => {
        assert.ok(error instanceof TypeError);
        assert.equal(error.code, 'invalid_argument');
        assert.match(error.message, /serverUrl.*OCTOPOID_SERVER_URL.*Octopoid\.local/);
        return true;
      });
    }
  });

  it('takes the environment where nothing is given, and empty counts as nothing', async (t) => {
    const { url, seen } = await echo(t);
    process.env.OCTOPOID_SERVER_URL = url;
    process.env.OCTOPOID_API_KEY = 'oct_from_environment';
    const client = new OctopoidSDK();
    assert.equal(client.serverUrl, url);
    await client.system.healthCheck();
    assert.equal(seen.at(-1).headers.authorization, 'Bearer oct_from_environment');
    await new OctopoidSDK({ api_key: 'oct_given' }).system.healthCheck();
    assert.equal(seen.at(-1).headers.authorization, 'Bearer oct_given');
    process.env.OCTOPOID_SERVER_URL = '';
    assert.throws(() => new OctopoidSDK(), { code: 'invalid_argument' });
  });

  it('takes both spellings, a slash at the end, and a scope', async (t) => {
    const { url, seen } = await echo(t);
    await new Octopoid({ server_url: `${url}/`, scope: 'tenant-1' }).status.get();
    assert.match(seen.at(-1).url, /^\/api\/v1\/status\?/);
    assert.match(seen.at(-1).url, /scope=tenant-1/);
  });

  it('refuses settings that cannot be', () => {
    const bad = [
      { serverUrl: 5 },
      { serverUrl: 'not a url' },
      { serverUrl: 'ftp://example.invalid' },
      { serverUrl: 'http://localhost:1', timeout: 0 },
      { serverUrl: 'http://localhost:1', timeout: '5' },
      { serverUrl: 'http://localhost:1', apikey: 'x' },
      { serverUrl: 'http://localhost:1', server_url: 'http://localhost:2' },
      [],
    ];
    for (const options of bad) {
      assert.throws(() => new Octopoid(options), { name: 'TypeError', code: 'invalid_argument' }, JSON.stringify(options));
    }
    assert.throws(() => Octopoid.local(''), { code: 'invalid_argument' });
    assert.throws(() => Octopoid.local('/dev/null/nowhere'), (error) => error instanceof OctopoidError);
  });
});

describe('errors', () => {
  it('are one family', () => {
    const { OctopoidNotFoundError, OctopoidConflictError } = octopoid;
    for (const kind of [
      OctopoidNotFoundError,
      OctopoidConflictError,
      OctopoidAuthenticationError,
      OctopoidTimeoutError,
      OctopoidOfflineError,
    ]) {
      const error = new kind('message', { code: 'x' });
      assert.ok(error instanceof OctopoidAPIError && error instanceof OctopoidError && error instanceof Error);
      assert.equal(error.name, kind.name);
    }
  });

  it('tell that the server cannot be reached', async () => {
    const client = new Octopoid(await nobody());
    await assert.rejects(client.tasks.list(), (error) => {
      assert.ok(error instanceof OctopoidOfflineError);
      assert.equal(error.code, 'offline');
      assert.equal(error.status, undefined);
      return true;
    });
    await assert.rejects(client.tasks.get('a-task'), { code: 'offline' });
  });

  it('tell that no answer came in time', async (t) => {
    const client = new Octopoid({ serverUrl: await silence(t), timeout: 200 });
    const begun = Date.now();
    await assert.rejects(client.tasks.list(), (error) => {
      assert.ok(error instanceof OctopoidTimeoutError);
      assert.equal(error.code, 'timeout');
      assert.equal(error.status, undefined);
      assert.match(error.message, /^Request timeout after 200ms/);
      return true;
    });
    await assert.rejects(client.tasks.list({}, { timeout: 50 }), /^OctopoidTimeoutError: Request timeout after 50ms/);
    assert.ok(Date.now() - begun < 2_000);
    const patient = Date.now();
    await assert.rejects(client.tasks.list({}, { timeout: 700 }), { code: 'timeout' });
    assert.ok(Date.now() - patient >= 650, 'a call may be given more time than its client');
  });

  it('tell a wrong key', async (t) => {
    const { url } = await serve(t, '--auth', 'required');
    for (const client of [new Octopoid(url), new Octopoid({ serverUrl: url, apiKey: 'oct_wrong' })]) {
      await assert.rejects(client.tasks.list(), (error) => {
        assert.ok(error instanceof OctopoidAuthenticationError);
        assert.deepEqual([error.status, error.code], [401, 'unauthorized']);
        return true;
      });
      await assert.rejects(client.tasks.get('a-task'), { status: 401 });
    }
  });

  it('pass on what something else than Octopoid says', async (t) => {
    const html = await echo(t, 502, '<html>Bad Gateway</html>');
    await assert.rejects(new Octopoid(html.url).tasks.list(), {
      name: 'OctopoidAPIError',
      status: 502,
      message: 'API error (502): <html>Bad Gateway</html>',
    });
    const page = await echo(t, 200, '<html>Hello</html>');
    await assert.rejects(new Octopoid(page.url).tasks.list(), { code: 'invalid_json', hint: /serverUrl/ });
  });

  it('carry the hint of the server', async (t) => {
    const client = Octopoid.local(folder(t));
    await client.tasks.create({ id: 'same', title: 'One' });
    await assert.rejects(client.tasks.create({ id: 'same', title: 'Two' }), (error) => {
      assert.equal(error.code, 'already_exists');
      assert.match(error.hint, /another id/);
      assert.equal(error.body.code, 'already_exists');
      return true;
    });
    await client.close();
  });
});

describe('signals', () => {
  it('end a call at once', async (t) => {
    const client = new Octopoid(await silence(t));
    const controller = new AbortController();
    const begun = Date.now();
    setTimeout(() => controller.abort(new Error('enough')), 50);
    await assert.rejects(client.tasks.list({}, { signal: controller.signal }), (error) => {
      assert.equal(error.name, 'AbortError');
      assert.equal(error.code, 'ABORT_ERR');
      assert.equal(error.cause.message, 'enough');
      return true;
    });
    assert.ok(Date.now() - begun < 1_000);
    await assert.rejects(client.tasks.get('x', { signal: controller.signal }), { name: 'AbortError' });
    await assert.rejects(client.tasks.get('x', { signal: AbortSignal.timeout(30) }), { name: 'AbortError' });
  });

  it('leave no listener behind', async (t) => {
    const client = Octopoid.local(folder(t));
    const { signal } = new AbortController();
    let listeners = 0;
    const counted = {
      aborted: false,
      addEventListener: (...args) => (listeners++, signal.addEventListener(...args)),
      removeEventListener: (...args) => (listeners--, signal.removeEventListener(...args)),
    };
    for (let i = 0; i < 20; i++) await client.tasks.list({}, { signal: counted });
    assert.equal(listeners, 0);
    await client.close();
  });

  it('of an aborted claim let no task go away', async (t) => {
    const { url } = await serve(t);
    const client = new Octopoid(url);
    await client.orchestrators.register({ cluster: 'a', machine_id: 'b' });
    const owner = { orchestrator_id: 'a-b', agent_name: 'x' };
    await assert.rejects(client.tasks.claim({ ...owner, wait_seconds: 30 }, { signal: AbortSignal.timeout(200) }), {
      name: 'AbortError',
    });
    // The server sees that the connection is gone before it finds the task for it.
    await new Promise((resolve) => setTimeout(resolve, 300));
    const { id } = await client.tasks.create({ title: 'Still there' });
    assert.equal((await client.tasks.claim(owner))?.id, id);
  });
});

describe('closing', () => {
  it('ends calls that wait, refuses later ones, and is safe twice', async (t) => {
    const path = folder(t);
    const client = Octopoid.local(path);
    await client.tasks.create({ title: 'Stays' });
    const waiting = client.events.list({ after: 1_000_000, wait_seconds: 30 });
    setTimeout(() => client.close(), 50);
    await assert.rejects(waiting, { name: 'OctopoidError', code: 'closed' });
    await client.close();
    await assert.rejects(client.tasks.list(), { code: 'closed', hint: /new one/ });
    const again = Octopoid.local(path);
    assert.equal((await again.tasks.list())[0].title, 'Stays');
    await again[Symbol.asyncDispose]();
    await assert.rejects(again.tasks.list(), { message: /closed/ });
  });

  it('of one client leaves others alone', async (t) => {
    const { url } = await serve(t);
    const [one, two] = [new Octopoid(url), new Octopoid(url)];
    await one.close();
    assert.equal((await two.tasks.list()).total, 0);
  });
});

describe('the flat client', () => {
  it('has a method for each thing', async (t) => {
    const { url } = await serve(t);
    const client = new OctopoidClient({ serverUrl: url, apiKey: undefined });
    assert.ok(client instanceof Octopoid);
    assert.equal((await client.registerOrchestrator({ cluster: 'c', machine_id: 'm' })).orchestrator_id, 'c-m');
    assert.equal((await client.sendHeartbeat('c-m')).success, true);
    const project = await client.createProject({ id: 'p1', title: 'Project' });
    assert.equal((await client.getProject('p1')).id, project.id);
    assert.equal((await client.listProjects()).length, 1);
    const task = await client.createTask({ id: 't1', file_path: 'tasks/t1.md', title: 'One' });
    assert.equal((await client.getTask('t1')).id, task.id);
    assert.equal((await client.updateTask('t1', { priority: 'P0' })).priority, 'P0');
    assert.equal((await client.listTasks({ queue: 'incoming' })).length, 1);
    const claim = { orchestrator_id: 'c-m', agent_name: 'a' };
    const work = { commits_count: 1, turns_used: 1 };
    assert.equal((await client.claimTask(claim)).id, 't1');
    assert.equal((await client.submitCompletion('t1', work)).queue, 'provisional');
    assert.equal((await client.rejectCompletion('t1', 'more tests')).queue, 'incoming');
    await client.claimTask(claim);
    await client.submitCompletion('t1', work);
    assert.equal((await client.acceptCompletion('t1', 'ann')).queue, 'done');
    assert.equal(await client.claimTask(claim), null);
  });

  it('can be local too', async (t) => {
    const client = OctopoidClient.local(join(folder(t), 'deep', 'down'));
    assert.ok(client instanceof OctopoidClient);
    await client.createTask({ title: 'Here' });
    assert.equal((await client.listTasks()).total, 1);
    await client.close();
  });
});

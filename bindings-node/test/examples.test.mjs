// Each program of examples/node, run as its head says in a project that installed the packed package, with a look at what it printed and what it changed.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { Octopoid } from 'octopoid';
import { PACKAGE, cleanEnv, git, project, repository, run, serve, suite } from './help.mjs';

const EXAMPLES = join(PACKAGE, '..', 'examples', 'node');

describe('examples', () => {
  const whole = suite();
  const ran = new Set();
  let dir, url, octopoid;

  before(async () => {
    ({ url } = await serve(whole));
    dir = await project(whole);
    cpSync(EXAMPLES, dir, { recursive: true, filter: (path) => !path.includes('node_modules') });
    octopoid = new Octopoid(url);
    await octopoid.orchestrators.register({ cluster: 'c', machine_id: 'm' });
  });
  after(() => octopoid.close());

  const example = (name, ...args) => {
    ran.add(name.replace(/\.js$/, '.ts'));
    return run([name, ...args], { cwd: dir, env: { OCTOPOID_SERVER_URL: url } });
  };
  const succeeds = async (...args) => {
    const { code, stdout, stderr } = await example(...args);
    assert.equal(code, 0, stderr + stdout);
    return stdout;
  };
  const handIn = async (request, commits = 1) => {
    const { id } = await octopoid.tasks.create({ priority: 'P1', ...request });
    const task = await octopoid.tasks.claim({ orchestrator_id: 'c-m', agent_name: 'a', role_filter: request.role });
    assert.equal(task.id, id);
    await octopoid.tasks.submit(id, { commits_count: commits, turns_used: 1 });
    return id;
  };

  it('quick-start', async () => {
    const said = await succeeds('quick-start.mjs', 'first');
    const [, id] = /^enqueued (task-\w+)\nclaimed \1: Explain the settings\n\1 is done\n$/.exec(said);
    const queue = Octopoid.local(join(dir, 'first'));
    assert.equal((await queue.tasks.get(id)).queue, 'done');
    await queue.close();
  });

  it('batch-import', async () => {
    const features = [
      { id: 'index', title: 'Index', priority: 'P1' },
      { id: 'search', title: 'Search', body: 'Find it', after: ['index'] },
    ];
    writeFileSync(join(dir, 'features.json'), JSON.stringify(features));
    assert.match(await succeeds('batch-import.mjs', 'features.json'), /^feature-index  P1  Index\n.*\n2 tasks were added\n$/s);
    assert.equal((await octopoid.tasks.get('feature-search')).blocked_by, 'feature-index');
    assert.match(await succeeds('batch-import.mjs', 'features.json'), /nothing was added/);
    assert.equal((await octopoid.tasks.list({ role: 'implement' })).total, 2);
    assert.equal((await example('batch-import.mjs')).code, 2);
  });

  it('auto-approve', async () => {
    const good = await handIn({ title: 'Docs', role: 'docs' });
    const empty = await handIn({ title: 'Nothing', role: 'docs' }, 0);
    const code = await handIn({ title: 'Code', role: 'fix' });
    const said = await succeeds('auto-approve.mjs');
    assert.match(said, new RegExp(`accepted ${good}`));
    assert.match(said, new RegExp(`left ${empty} \\(no commits\\)`));
    assert.match(said, new RegExp(`left ${code} \\(role fix\\)`));
    const queues = await Promise.all([good, empty, code].map(async (id) => (await octopoid.tasks.get(id)).queue));
    assert.deepEqual(queues, ['done', 'provisional', 'provisional']);
  });

  it('daily-report', async () => {
    const today = await succeeds('daily-report.mjs');
    assert.match(today, /^ +2 {2}provisional$/m);
    assert.match(today, /Docs\n {2}1 in all/);
    assert.match(await succeeds('daily-report.mjs', '2001-01-01'), /Finished on 2001-01-01:\n {2}0 in all/);
  });

  it('poll-to-completion', async () => {
    const { id } = await octopoid.tasks.create({ title: 'Awaited', role: 'wait' });
    const waiting = example('poll-to-completion.mjs', id, '30');
    await new Promise((resolve) => setTimeout(resolve, 500));
    await octopoid.tasks.claim({ orchestrator_id: 'c-m', agent_name: 'a', role_filter: 'wait' });
    await octopoid.tasks.submit(id, { commits_count: 1, turns_used: 1 });
    await octopoid.tasks.accept(id, { accepted_by: 'ann' });
    const { code, stdout } = await waiting;
    assert.equal(code, 0);
    assert.match(stdout, /is in incoming\n.* created.*\n.* claimed.*\n.* submitted.*\n.* accepted by ann\n.* is in done\n$/s);
    assert.equal((await example('poll-to-completion.mjs', 'no-task')).code, 3);
    const late = await example('poll-to-completion.mjs', 'feature-index', '0.5');
    assert.deepEqual([late.code, /was not over after 0\.5 s/.test(late.stdout)], [1, true]);
  });

  it('custom-role', async (t) => {
    const repo = repository(t);
    const said = await succeeds('custom-role.mjs', repo);
    assert.match(said, /^done {2}[0-9a-f]{7} {2}Faster start$/m);
    assert.match(said, /^done {2}[0-9a-f]{7} {2}Smaller downloads$/m);
    assert.match(said, /^clean$/m);
    assert.equal(git(repo, 'show', 'trunk:CHANGELOG.md'), '- Faster start\n- Smaller downloads');
  });

  it('custom-flow', async (t) => {
    const repo = repository(t);
    const said = await succeeds('custom-flow.mjs', repo);
    assert.match(said, /^provisional: .+\ndone\n$/);
    assert.equal(git(repo, 'show', 'trunk:PRICES.md'), '# Prices');
  });

  it('embedded-service', { timeout: 60_000 }, async () => {
    ran.add('embedded-service.mjs');
    const service = spawn(process.execPath, ['embedded-service.mjs', 'service'], { cwd: dir, env: cleanEnv() });
    let said = '';
    service.stdout.setEncoding('utf8').on('data', (text) => (said += text));
    while (!said.includes('\n')) await once(service.stdout, 'data');
    const [, address] = /listening on (\S+)/.exec(said);
    const task = await (await fetch(address, { method: 'POST', body: '{"title": "Over HTTP"}' })).json();
    let seen = task;
    while (seen.queue !== 'done') seen = await (await fetch(`${address}/${task.id}`)).json();
    assert.match(seen.execution_notes, /^done by (one|two)$/);
    assert.equal((await fetch(`${address}/no-task`)).status, 404);
    assert.equal((await fetch(address, { method: 'POST', body: '{"title": "x", "priority": "P9"}' })).status, 400);
    const ended = once(service, 'close');
    service.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null]);
    assert.match(said, /stopped\n$/);
  });

  it('create-task and list-tasks, compiled with strict types', async () => {
    const tsc = join(PACKAGE, 'node_modules', 'typescript', 'bin', 'tsc');
    const strict = ['--strict', '--skipLibCheck', 'false', '--target', 'es2022', '--module', 'nodenext', '--types', 'node'];
    const { code, stdout } = await run([tsc, ...strict, '--noUncheckedIndexedAccess', 'create-task.ts', 'list-tasks.ts'], { cwd: dir });
    assert.equal(code, 0, stdout);
    assert.equal(await succeeds('create-task.js', 'from-types', 'With types'), 'created from-types in incoming\n');
    assert.match(await succeeds('list-tasks.js'), /^P1 {2}from-types {2}With types\n(.*\n)*3 of 3\n$/m);
    assert.notEqual((await example('create-task.js')).code, 0);
  });

  it('are all run here', () => {
    const programs = readdirSync(EXAMPLES).filter((name) => /\.(mjs|ts)$/.test(name));
    assert.deepEqual([...ran].sort(), programs.sort());
  });
});

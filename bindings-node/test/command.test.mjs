// The `octopoid` command of the package.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';

import { Octopoid } from 'octopoid';
import { COMMAND, cleanEnv, git, repository, run, serve } from './help.mjs';

const octopoid = (cwd, ...args) => run([COMMAND, ...args], { cwd });

describe('the command', () => {
  it('is the whole command line, with its exit codes', async (t) => {
    const repo = repository(t);
    assert.equal((await octopoid(repo, '--version')).stdout.trim(), 'octopoid 2.0.0');
    assert.equal((await octopoid(repo, 'list')).code, 1);
    assert.equal((await octopoid(repo, 'init', '--local', '--agent', 'command')).code, 0);
    const made = await octopoid(repo, '--json', 'enqueue', 'From the command');
    assert.equal(made.code, 0, made.stderr);
    const { id } = JSON.parse(made.stdout);
    assert.match((await octopoid(repo, 'list')).stdout, /^INCOMING \(1\):/m);
    assert.equal((await octopoid(repo, 'show', 'no-task')).code, 3);
    assert.equal((await octopoid(repo, 'approve', id)).code, 4);
    assert.equal((await octopoid(repo, 'enqueue', 'x', '--priority', 'P9')).code, 2);
    assert.equal((await octopoid(repo, '--no-such-flag')).code, 2);
    const error = JSON.parse((await octopoid(repo, '--json', 'show', 'no-task')).stdout).error;
    assert.equal(error.code, 'not_found');
  });

  it('and the library see the same queue', async (t) => {
    const repo = repository(t);
    await octopoid(repo, 'init', '--local', '--agent', 'command');
    const queue = Octopoid.local(repo);
    const { id } = await queue.tasks.create({ title: 'From the library' });
    assert.match((await octopoid(repo, 'show', id)).stdout, /From the library/);
    await octopoid(repo, 'cancel', id);
    assert.equal((await queue.tasks.get(id)).queue, 'cancelled');
    await queue.close();
  });

  it('serves until it is told to stop', async (t) => {
    for (const signal of ['SIGTERM', 'SIGINT']) {
      const { url, child } = await serve(t);
      await new Octopoid(url).tasks.create({ title: 'x' });
      const ended = once(child, 'exit');
      child.kill(signal);
      assert.deepEqual(await ended, [0, null], signal);
    }
  });

  it('runs the orchestrator until it is told to stop', { timeout: 180_000 }, async (t) => {
    const repo = repository(t);
    await octopoid(repo, 'init', '--local', '--agent', 'command');
    writeFileSync(
      join(repo, '.octopoid', 'agents', 'implementer.yaml'),
      'role: implement\nagent: command\ncommand: [sh, -c, "echo made > made.txt"]\n',
    );
    git(repo, 'add', '.');
    git(repo, 'commit', '--quiet', '-m', 'settings');
    const child = spawn(process.execPath, [COMMAND, 'start'], { cwd: repo, env: cleanEnv(), stdio: 'ignore' });
    t.after(() => child.kill('SIGKILL'));
    const ended = once(child, 'exit');
    const wrong = new AbortController();
    ended.then(([code]) => wrong.abort(new Error(`it ended too early, with ${code}`)));
    const enqueued = await octopoid(repo, 'enqueue', 'Make it', '--id', 'made');
    assert.equal(enqueued.code, 0, enqueued.stderr);
    const queue = Octopoid.local(repo);
    const signal = AbortSignal.any([t.signal, wrong.signal]);
    for await (const event of queue.events.watch({ taskId: 'made', signal })) if (event.type === 'submitted') break;
    await queue.close();
    child.kill('SIGINT');
    assert.deepEqual(await ended, [0, null]);
    assert.equal(existsSync(join(repo, '.octopoid', 'runtime', 'daemon.json')), false);
    assert.equal(git(repo, 'show', 'agent/made:made.txt'), 'made');
  });

  it('starts itself again as a daemon', { timeout: 60_000 }, async (t) => {
    const repo = repository(t);
    await octopoid(repo, 'init', '--local', '--agent', 'command');
    const started = await octopoid(repo, '--json', 'start', '--daemon');
    try {
      assert.equal(started.code, 0, started.stderr + started.stdout);
      assert.ok(JSON.parse(started.stdout).pid > 0);
      assert.equal((await octopoid(repo, 'start', '--daemon')).code, 4);
    } finally {
      assert.equal((await octopoid(repo, 'stop')).code, 0);
    }
  });

  it('has its scripted agent without being on the PATH', { timeout: 60_000 }, async () => {
    const { code, stderr, stdout } = await run([COMMAND, 'demo'], { env: { PATH: '/usr/bin:/bin' } });
    assert.equal(code, 0, stderr);
    assert.match(stdout + stderr, /Both tasks are done/);
  });

  it('reads a closed pipe as the end of its work', async () => {
    const child = spawn('sh', ['-c', `"${process.execPath}" "${COMMAND}" --help | head -1`], { env: cleanEnv() });
    let said = '';
    child.stdout.on('data', (text) => (said += text));
    const [code] = await once(child, 'close');
    assert.equal(code, 0);
    assert.match(said, /\S/);
  });
});

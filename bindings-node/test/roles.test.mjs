// Roles in JavaScript inside the orchestrator: real repositories, real worktrees, real merges.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';

import { Octopoid, Orchestrator } from 'octopoid';
import { folder, git, repository, serve } from './help.mjs';

/** A repository and a queue in a folder of its own. */
function place(t, config) {
  const repo = repository(t);
  if (config) {
    mkdirSync(join(repo, '.octopoid'));
    writeFileSync(join(repo, '.octopoid', 'config.yaml'), config);
    writeFileSync(join(repo, '.octopoid', '.gitignore'), '*\n');
  }
  const octopoid = Octopoid.local(config ? repo : folder(t));
  t.after(() => octopoid.close());
  return { repo, octopoid };
}

const settled = (limits) => `mode: local\nrepo: {base_branch: trunk}\nlimits: {${limits}}\n`;

const writes = (name, text) => ({
  name: 'implement',
  run: async (cx) => {
    writeFileSync(join(cx.worktree, name), text);
    return { outcome: 'done', summary: `wrote ${name}` };
  },
});
const approves = { name: 'gatekeeper', run: () => ({ verdict: 'approve', summary: 'fine' }) };

/** The last attempt of a task, which a run of the orchestrator made. */
async function attemptOf(octopoid, id) {
  return (await octopoid.tasks.attempts(id)).filter((a) => a.kind === 'work').at(-1);
}

describe('roles', () => {
  it('carry a task from claim to merge, in a repository without .octopoid', async (t) => {
    const { repo, octopoid } = place(t);
    const { id } = await octopoid.tasks.create({ title: 'Say hello', role: 'implement', branch: 'trunk' });
    const orchestrator = new Orchestrator({ octopoid, repo, roles: [writes('hello.txt', 'hello\n'), approves] });
    assert.equal(await orchestrator.runOnce(), 'clean');
    const task = await octopoid.tasks.get(id);
    assert.equal(task.queue, 'done');
    assert.equal(task.merged_sha, git(repo, 'rev-parse', 'trunk'));
    assert.equal(git(repo, 'show', 'trunk:hello.txt'), 'hello');
    assert.equal(await orchestrator.runOnce(), 'clean', 'it can be run again');
  });

  it('do the same with a queue on a server', async (t) => {
    const { url } = await serve(t);
    const octopoid = new Octopoid(url);
    const repo = repository(t);
    const { id } = await octopoid.tasks.create({ title: 'Say hello', role: 'implement', branch: 'trunk' });
    const orchestrator = new Orchestrator({ octopoid, repo, roles: [writes('hello.txt', 'hello\n'), approves] });
    assert.equal(await orchestrator.runOnce(), 'clean');
    assert.equal((await octopoid.tasks.get(id)).queue, 'done');
    assert.equal(git(repo, 'show', 'trunk:hello.txt'), 'hello');
  });

  it('get what they need, and can use the queue meanwhile', async (t) => {
    const { repo, octopoid } = place(t);
    const { id } = await octopoid.tasks.create({ title: 'Look', content: 'The body', role: 'implement', branch: 'trunk' });
    const seen = [];
    const look = async (cx) => {
      cx.log(`look ${seen.length}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
      seen.push({ ...cx, branch: git(cx.worktree, 'branch', '--show-current'), head: git(cx.worktree, 'rev-parse', 'HEAD') });
      assert.equal((await octopoid.tasks.get(id)).queue, cx.isReview ? 'provisional' : 'claimed');
    };
    const work_on = {
      name: 'implement',
      run: async (cx) => {
        await look(cx);
        writeFileSync(join(cx.worktree, 'seen.txt'), `${seen.length}\n`);
        return { outcome: 'done', summary: 'looked' };
      },
    };
    const judge = {
      name: 'gatekeeper',
      run: async (cx) => {
        await look(cx);
        const isFirst = seen.length === 2;
        return isFirst ? { verdict: 'reject', summary: 'once more', blocking: ['write more'] } : { verdict: 'approve' };
      },
    };
    assert.equal(await new Orchestrator({ octopoid, repo, roles: [work_on, judge] }).runOnce(), 'clean');
    const [work, review, again] = seen;
    assert.equal(work.task.id, id);
    assert.equal(work.task.title, 'Look');
    assert.equal(work.task.content, 'The body');
    assert.equal(work.branch, `agent/${id}`);
    assert.equal(work.isReview, false);
    assert.equal(work.attempt.number, 1);
    assert.equal(work.attempt.role, 'implement');
    assert.deepEqual(work.feedback, []);
    assert.equal(work.cancelled, false);
    assert.ok(work.signal instanceof AbortSignal && !work.signal.aborted);
    assert.equal(work.baseSha, git(repo, 'rev-parse', 'trunk~1'));
    assert.equal(review.isReview, true);
    assert.equal(review.head, review.headSha);
    assert.notEqual(review.worktree, work.worktree);
    assert.equal(again.isReview, false);
    assert.match(again.feedback.map((f) => f.content).join('\n'), /once more/);
    assert.equal((await octopoid.tasks.get(id)).queue, 'done');
    const log = join(repo, '.octopoid', 'runtime', 'attempts', id, '1', 'stdout.jsonl');
    assert.match(readFileSync(log, 'utf8'), /^look 0$/m);
  });

  it('may be plain functions, and several run at the same time', async (t) => {
    const { repo, octopoid } = place(t);
    for (let i = 0; i < 3; i++) await octopoid.tasks.create({ title: `Task ${i}`, role: 'implement', branch: 'trunk' });
    let [now, most] = [0, 0];
    const role = {
      name: 'implement',
      async run(cx) {
        most = Math.max(most, ++now);
        while (most < 3 && !cx.cancelled) await new Promise((resolve) => setTimeout(resolve, 10));
        now--;
        return { outcome: 'no_change', summary: 'nothing to do' };
      },
    };
    const orchestrator = new Orchestrator({ octopoid, repo, roles: [role, approves], maxAgents: 3 });
    const stopped = setTimeout(() => orchestrator.stop(), 20_000);
    await orchestrator.runOnce();
    clearTimeout(stopped);
    assert.equal(most, 3);
  });

  it('that throw make a failed attempt with the stack as evidence', async (t) => {
    for (const run of [
      function throwsAtOnce() {
        throw new RangeError('out of paper', { cause: new Error('the printer') });
      },
      async function rejectsLater() {
        await new Promise((resolve) => setTimeout(resolve, 5));
        throw new RangeError('out of paper', { cause: new Error('the printer') });
      },
    ]) {
      const { repo, octopoid } = place(t, settled('attempts: 1'));
      const { id } = await octopoid.tasks.create({ title: 'Print', role: 'implement' });
      const ended = await new Orchestrator({ octopoid, repo, roles: [{ name: 'implement', run }] }).runOnce();
      assert.equal(ended, 'needs_attention');
      assert.equal((await octopoid.tasks.get(id)).queue, 'needs_attention');
      const attempt = await attemptOf(octopoid, id);
      assert.equal(attempt.outcome, 'failed');
      assert.match(attempt.reason, /RangeError: out of paper/);
      const evidence = JSON.stringify(attempt.evidence);
      assert.match(evidence, new RegExp(run.name));
      assert.match(evidence, /roles\.test\.mjs/);
      assert.match(evidence, /the printer/);
    }
  });

  it('that throw what is no error are quoted as far as that goes', async (t) => {
    const { repo, octopoid } = place(t, settled('attempts: 1'));
    const { id } = await octopoid.tasks.create({ title: 'Print', role: 'implement' });
    const run = () => Promise.reject({ message: 'out of paper', tray: { number: 2 } });
    await new Orchestrator({ octopoid, repo, roles: [{ name: 'implement', run }] }).runOnce();
    const attempt = await attemptOf(octopoid, id);
    assert.match(attempt.reason, /it threw out of paper/);
    assert.match(JSON.stringify(attempt.evidence), /tray: \{ number: 2 \}/);
  });

  it('that return nonsense make a failed attempt that says what is legal', async (t) => {
    const circular = {};
    circular.self = circular;
    const cases = [
      [undefined, /nothing/],
      [42, /a number/],
      ['done', /a text/],
      [{}, /neither outcome nor verdict/],
      [{ outcome: 'finished' }, /finished/],
      [{ outcome: 'done', sumary: 'x' }, /sumary/],
      [{ outcome: 'done', summary: 1n }, /JSON/],
      [circular, /JSON/],
    ];
    const { repo, octopoid } = place(t, settled('attempts: 1'));
    const answers = new Map();
    for (const [answer, expected] of cases) {
      const { id } = await octopoid.tasks.create({ title: 'Nonsense', role: 'implement' });
      answers.set(id, { answer, expected });
    }
    const role = { name: 'implement', run: async (cx) => answers.get(cx.task.id).answer };
    await new Orchestrator({ octopoid, repo, roles: [role] }).runOnce();
    for (const [id, { expected }] of answers) {
      const attempt = await attemptOf(octopoid, id);
      assert.equal(attempt.outcome, 'failed');
      assert.match(attempt.reason, expected);
      if (!String(expected).includes('JSON')) assert.match(attempt.reason, /outcome \(done, failed/);
    }
  });

  it('that never end are ended by the time limit, and told', { timeout: 60_000 }, async (t) => {
    const { repo, octopoid } = place(t, settled('attempts: 1, wall_minutes: 0.02'));
    const { id } = await octopoid.tasks.create({ title: 'Forever', role: 'implement' });
    let cx;
    const told = [];
    const role = {
      name: 'implement',
      run: (given) => {
        cx = given;
        cx.signal.addEventListener('abort', () => told.push(cx.signal.reason.name));
        return new Promise(() => {});
      },
    };
    const begun = Date.now();
    await new Orchestrator({ octopoid, repo, roles: [role] }).runOnce();
    assert.ok(Date.now() - begun < 30_000);
    const attempt = await attemptOf(octopoid, id);
    assert.deepEqual([attempt.outcome, attempt.failure], ['failed', 'timeout_wall']);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(cx.cancelled, true);
    assert.equal(cx.signal.aborted, true);
    assert.deepEqual(told, ['AbortError']);
  });

  it('are not begun again in a worktree while the one before them is still there', { timeout: 60_000 }, async (t) => {
    const { repo, octopoid } = place(t, settled('attempts: 2, wall_minutes: 0.01'));
    const { id } = await octopoid.tasks.create({ title: 'Deaf', role: 'implement' });
    const seen = [];
    const run = async (cx) => {
      const first = seen.length === 0;
      seen.push('begun');
      if (first) await new Promise((resolve) => setTimeout(resolve, 9000));
      seen.push('gone');
      writeFileSync(join(cx.worktree, 'a.txt'), 'a\n');
      return { outcome: 'done' };
    };
    await new Orchestrator({ octopoid, repo, roles: [{ name: 'implement', run }] }).runOnce();
    assert.deepEqual(seen, ['begun', 'gone', 'begun', 'gone']);
    const failures = (await octopoid.tasks.attempts(id)).map((attempt) => attempt.failure ?? null);
    assert.deepEqual(failures.slice(0, 2), ['timeout_wall', 'repository_busy']);
    assert.equal(failures.at(-1), null);
  });

  it('learn that their task was called off', { timeout: 60_000 }, async (t) => {
    const { repo, octopoid } = place(t);
    const { id } = await octopoid.tasks.create({ title: 'Called off', role: 'implement', branch: 'trunk' });
    let aborted = false;
    const role = {
      name: 'implement',
      run: async (cx) => {
        await octopoid.tasks.cancel(id, { by: 'ann' });
        // The word may be faster than the answer to our own request.
        if (!cx.signal.aborted) await new Promise((resolve) => cx.signal.addEventListener('abort', resolve));
        aborted = cx.cancelled;
        return { outcome: 'done' };
      },
    };
    await new Orchestrator({ octopoid, repo, roles: [role] }).runOnce();
    assert.equal(aborted, true);
    assert.equal((await octopoid.tasks.get(id)).queue, 'cancelled');
  });

  it('are refused when they are none', (t) => {
    const { repo, octopoid } = place(t);
    const bad = [
      { octopoid, repo, roles: {} },
      { octopoid, repo, roles: [{ name: 'implement' }] },
      { octopoid, repo, roles: [{ name: '', run() {} }] },
      { octopoid, repo, roles: [null] },
      { octopoid, repo: '', roles: [] },
      { octopoid: {}, repo, roles: [] },
      { octopoid, repo, roles: [], maxAgents: 0 },
      { octopoid, repo, roles: [], maxAgents: 1.5 },
      { octopoid, repo, roles: [], tickSeconds: 0.5 },
      { octopoid, repo, roles: [], tickSeconds: 'soon' },
      { octopoid, repo, role: [] },
    ];
    for (const options of bad) assert.throws(() => new Orchestrator(options), { code: 'invalid_argument' });
  });
});

describe('the orchestrator', () => {
  it('runs until it is told to stop, and takes tasks as they come', { timeout: 60_000 }, async (t) => {
    const { repo, octopoid } = place(t);
    const orchestrator = new Orchestrator({ octopoid, repo, roles: [writes('a.txt', 'a\n'), approves] });
    assert.equal(orchestrator.stop(), false);
    const run = orchestrator.run();
    await assert.rejects(orchestrator.runOnce(), { code: 'already_running' });
    const { id } = await octopoid.tasks.create({ title: 'Comes later', role: 'implement', branch: 'trunk' });
    for await (const event of octopoid.events.watch({ taskId: id, signal: t.signal })) {
      if (event.type === 'merged' || (await octopoid.tasks.get(id)).queue === 'done') break;
    }
    assert.equal(orchestrator.stop(), true);
    assert.equal(await run, 'stopped');
    assert.equal((await octopoid.tasks.get(id)).queue, 'done');
  });

  it('stops by a signal, and roles learn of it', { timeout: 60_000 }, async (t) => {
    const { repo, octopoid } = place(t);
    const { id } = await octopoid.tasks.create({ title: 'Long', role: 'implement', branch: 'trunk' });
    const controller = new AbortController();
    const role = {
      name: 'implement',
      run: async (cx) => {
        writeFileSync(join(cx.worktree, 'half.txt'), 'half\n');
        setTimeout(() => controller.abort(), 20);
        await new Promise((resolve) => cx.signal.addEventListener('abort', resolve));
        return { outcome: 'needs_continuation', summary: 'half of it' };
      },
    };
    const orchestrator = new Orchestrator({ octopoid, repo, roles: [role] });
    assert.equal(await orchestrator.run({ signal: controller.signal }), 'stopped');
    assert.notEqual((await octopoid.tasks.get(id)).queue, 'claimed');
    assert.equal(git(repo, 'show', `agent/${id}:half.txt`), 'half');
    await assert.rejects(orchestrator.run({ signal: controller.signal }), { name: 'AbortError' });
  });

  it('says what is wrong with the repository', async (t) => {
    const octopoid = Octopoid.local(folder(t));
    t.after(() => octopoid.close());
    const none = new Orchestrator({ octopoid, repo: folder(t), roles: [approves] });
    await assert.rejects(none.runOnce(), { name: 'OctopoidError', code: 'not_a_repository' });
    const repo = repository(t);
    await assert.rejects(new Orchestrator({ octopoid, repo }).runOnce(), { code: 'invalid_config' });
    await assert.rejects(
      new Orchestrator({ octopoid, repo, roles: [{ name: 'no such/name', run() {} }] }).runOnce(),
      { code: 'invalid_argument' },
    );
    assert.equal(existsSync(join(repo, '.octopoid', 'config.yaml')), false);
  });
});

// Tasks: against a server and against a queue in a folder, the same calls with the same answers.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { Octopoid, OctopoidConflictError, OctopoidNotFoundError } from 'octopoid';
import { folder, serve, suite } from './help.mjs';

for (const place of ['a server', 'a folder']) {
  describe(`tasks on ${place}`, () => {
    const whole = suite();
    let octopoid, another;
    const owner = { orchestrator_id: 'test-one', agent_name: 'tester' };

    before(async () => {
      const [url, path] = place === 'a server' ? [(await serve(whole)).url] : [undefined, folder(whole)];
      another = () => (url ? new Octopoid({ serverUrl: url }) : Octopoid.local(path));
      octopoid = another();
      await octopoid.orchestrators.register({ cluster: 'test', machineId: 'one', repo_url: 'https://example.invalid/r.git' });
    });
    after(() => octopoid.close());

    it('makes a task from a title alone', async () => {
      const task = await octopoid.tasks.create({ title: 'Only a title' });
      assert.match(task.id, /^task-[0-9a-f]{8}$/);
      assert.equal(task.queue, 'incoming');
      assert.equal(task.priority, 'P2');
      assert.equal((await octopoid.tasks.get(task.id)).title, 'Only a title');
      await octopoid.tasks.cancel(task.id);
    });

    it('takes fields in both spellings, and refuses both at once', async () => {
      const first = await octopoid.tasks.create({ id: 'spelled-1', file_path: 'tasks/one.md', auto_accept: true });
      const second = await octopoid.tasks.create({ id: 'spelled-2', filePath: 'tasks/two.md', blockedBy: ['spelled-1'] });
      assert.equal(first.file_path, 'tasks/one.md');
      assert.equal(first.auto_accept, 1);
      assert.equal(second.file_path, 'tasks/two.md');
      assert.equal(second.blocked_by, 'spelled-1');
      await assert.rejects(octopoid.tasks.create({ title: 'x', file_path: 'a', filePath: 'b' }), {
        name: 'TypeError',
        code: 'invalid_argument',
        message: /file_path in two spellings/,
      });
      await octopoid.tasks.delete('spelled-2');
      await octopoid.tasks.delete('spelled-1');
      assert.equal(await octopoid.tasks.get('spelled-1'), null);
    });

    it('gives null for a task that is not there, and a typed error for a write to it', async () => {
      assert.equal(await octopoid.tasks.get('no-such-task'), null);
      await assert.rejects(octopoid.tasks.update('no-such-task', { priority: 'P1' }), (error) => {
        assert.ok(error instanceof OctopoidNotFoundError);
        assert.equal(error.status, 404);
        assert.equal(error.code, 'not_found');
        assert.match(error.message, /^API error \(404\): /);
        return true;
      });
    });

    it('does a write with a key once', async () => {
      const options = { idempotencyKey: `once-${place}` };
      const first = await octopoid.tasks.create({ title: 'Once' }, options);
      const again = await octopoid.tasks.create({ title: 'Once' }, options);
      assert.equal(again.id, first.id);
      await assert.rejects(octopoid.tasks.create({ title: 'Another' }, options), { code: 'idempotency_conflict', status: 409 });
      await octopoid.tasks.delete(first.id);
    });

    it('makes many, all or none', async () => {
      const tasks = await octopoid.tasks.createMany([
        { id: 'many-1', title: 'One', priority: 'P0', type: 'many' },
        { id: 'many-2', title: 'Two', blockedBy: ['many-1'], type: 'many' },
        { id: 'many-3', title: 'Three', type: 'many' },
      ]);
      assert.deepEqual(tasks.map((task) => task.id), ['many-1', 'many-2', 'many-3']);
      await assert.rejects(octopoid.tasks.createMany([{ id: 'many-4', title: 'Four' }, { id: 'many-1', title: 'Again' }]), {
        code: 'already_exists',
      });
      assert.equal(await octopoid.tasks.get('many-4'), null);
    });

    it('lists pages that know the total, filters, and goes through all of them', async () => {
      const page = await octopoid.tasks.list({ type: 'many', limit: 2 });
      assert.ok(Array.isArray(page));
      assert.deepEqual([page.length, page.total, page.offset, page.limit], [2, 3, 0, 2]);
      assert.deepEqual((await octopoid.tasks.list({ type: 'many', priority: ['P0', 'P1'] })).map((t) => t.id), ['many-1']);
      assert.deepEqual([...(await octopoid.tasks.list({ queue: 'no-such-queue' }))], []);
      const seen = [];
      for await (const task of octopoid.tasks.iterate({ type: 'many', limit: 2 })) seen.push(task.id);
      assert.deepEqual(seen.sort(), ['many-1', 'many-2', 'many-3']);
      for (const id of ['many-2', 'many-3', 'many-1']) await octopoid.tasks.delete(id);
    });

    it('updates, with a version where nobody else may have written', async () => {
      const task = await octopoid.tasks.create({ title: 'To be changed' });
      const changed = await octopoid.tasks.update(task.id, { priority: 'P1', version: task.version });
      assert.equal(changed.priority, 'P1');
      await assert.rejects(octopoid.tasks.update(task.id, { priority: 'P3', version: task.version }), (error) => {
        assert.ok(error instanceof OctopoidConflictError);
        return error.code === 'version_conflict';
      });
      await octopoid.tasks.delete(task.id);
    });

    it('claims, and says why where there is nothing', async () => {
      assert.equal(await octopoid.tasks.claim(owner), null);
      assert.deepEqual(await octopoid.tasks.claimOrReason(owner), { task: null, reason: 'empty' });
      const task = await octopoid.tasks.create({ title: 'To be claimed', role: 'docs' });
      assert.equal(await octopoid.tasks.claim({ ...owner, role_filter: 'review' }), null);
      const claimed = await octopoid.tasks.claim({ orchestratorId: 'test-one', agentName: 'tester', roleFilter: ['docs'] });
      assert.equal(claimed.id, task.id);
      assert.equal(claimed.queue, 'claimed');
      assert.ok(claimed.claim_token);
      const before = Date.parse(claimed.lease_expires_at);
      const renewed = await octopoid.tasks.renew(task.id, { leaseDurationSeconds: 900 });
      assert.ok(Date.parse(renewed.lease_expires_at) > before + 500_000);
      await octopoid.tasks.progress(task.id, 'half way');
      assert.ok((await octopoid.tasks.history(task.id)).some((entry) => `${entry.details}`.includes('half way')));
      const back = await octopoid.tasks.release(task.id, { reason: 'something else came up' });
      assert.equal(back.queue, 'incoming');
      await octopoid.tasks.delete(task.id);
    });

    it('sends the token of a fenced claim by itself, and takes another one that is given', async () => {
      const task = await octopoid.tasks.create({ title: 'Fenced' });
      await octopoid.tasks.claim({ ...owner, fenced: true });
      const work = { commits_count: 1, turns_used: 3 };
      await assert.rejects(octopoid.tasks.submit(task.id, { ...work, claim_token: 'a-wrong-one' }), {
        code: 'stale_claim',
        status: 409,
      });
      const submitted = await octopoid.tasks.submit(task.id, { ...work, executionNotes: 'all of it' });
      assert.equal(submitted.queue, 'provisional');
      assert.equal(submitted.execution_notes, 'all of it');
      await octopoid.tasks.accept(task.id, { accepted_by: 'reviewer' });
    });

    it('refuses what a claim that is over writes', async () => {
      const task = await octopoid.tasks.create({ title: 'Lost' });
      await octopoid.tasks.claim({ ...owner, fenced: true });
      assert.equal((await octopoid.tasks.get(task.id)).claim_token, undefined, 'only a claim tells the token');
      // The claim ends by somebody else's decision, and another one takes its place.
      const other = another();
      await other.tasks.requeue(task.id);
      assert.equal((await other.tasks.claim({ ...owner, fenced: true })).id, task.id);
      const work = { commits_count: 1, turns_used: 1 };
      await assert.rejects(octopoid.tasks.submit(task.id, work), { code: 'stale_claim' });
      assert.equal((await other.tasks.submit(task.id, work)).queue, 'provisional');
      await other.tasks.accept(task.id);
      await other.close();
    });

    it('claims several at once', async () => {
      await octopoid.tasks.createMany([{ title: 'a' }, { title: 'b' }, { title: 'c' }]);
      const two = await octopoid.tasks.claimMany({ ...owner, max: 2 });
      assert.equal(two.length, 2);
      const rest = await octopoid.tasks.claimMany({ ...owner, max: 10 });
      assert.equal(rest.length, 1);
      assert.deepEqual(await octopoid.tasks.claimMany({ ...owner, max: 10 }), []);
      for (const task of [...two, ...rest]) await octopoid.tasks.fail(task.id, 'only a test');
      assert.equal((await octopoid.tasks.get(two[0].id)).queue, 'failed');
      assert.equal((await octopoid.tasks.get(two[0].id)).execution_notes, 'only a test');
    });

    it('goes back and forth with a reviewer', async () => {
      const task = await octopoid.tasks.create({ title: 'Reviewed' });
      await octopoid.tasks.claim(owner);
      await octopoid.tasks.submit(task.id, { commits_count: 2, turns_used: 9 });
      const rejected = await octopoid.tasks.reject(task.id, { reason: 'no tests', rejected_by: 'ann' });
      assert.equal(rejected.queue, 'incoming');
      assert.equal(rejected.rejection_count, 1);
      await octopoid.tasks.claim(owner);
      await octopoid.tasks.submit(task.id, { commits_count: 3, turns_used: 9 });
      const done = await octopoid.tasks.accept(task.id);
      assert.equal(done.queue, 'done');
      assert.ok(done.completed_at);
      await assert.rejects(octopoid.tasks.accept(task.id), { code: 'illegal_transition', status: 409 });
      const events = (await octopoid.tasks.history(task.id)).map((entry) => entry.event);
      for (const event of ['created', 'claimed', 'submitted', 'rejected', 'accepted']) assert.ok(events.includes(event), event);
      assert.equal((await octopoid.tasks.attempts(task.id)).length, 2);
      assert.equal((await octopoid.tasks.why(task.id)).queue, 'done');
    });

    it('decides as a person does', async () => {
      const { id } = await octopoid.tasks.create({ title: 'Decided' });
      await octopoid.tasks.hold(id, { by: 'ann', reason: 'wait for the release' });
      assert.equal(await octopoid.tasks.claim(owner), null);
      assert.match((await octopoid.tasks.why(id)).held_by, /wait for the release/);
      await octopoid.tasks.unhold(id, { by: 'ann' });
      assert.equal((await octopoid.tasks.claim(owner)).id, id);
      assert.equal((await octopoid.tasks.requeue(id)).queue, 'incoming');
      assert.equal((await octopoid.tasks.cancel(id, { by: 'ann', reason: 'not needed' })).queue, 'cancelled');
      assert.equal((await octopoid.tasks.recover(id, { to: 'incoming', reason: 'needed after all' })).queue, 'incoming');
      await octopoid.tasks.fail(id, 'no luck');
      assert.equal((await octopoid.tasks.retry(id)).queue, 'incoming');
      await octopoid.tasks.delete(id);
    });

    it('approves with the word by which earlier clients accept', async () => {
      const { id } = await octopoid.tasks.create({ title: 'Approved' });
      await assert.rejects(octopoid.tasks.approve(id), { status: 409 });
      await octopoid.tasks.claim(owner);
      await octopoid.tasks.submit(id, { commits_count: 1, turns_used: 1 });
      const approved = await octopoid.tasks.approve(id, { by: 'ann' });
      assert.equal(approved.queue, 'done', 'nobody saw a commit: it rests on the word');
      assert.ok((await octopoid.tasks.history(id)).some((entry) => entry.event === 'accepted' && entry.agent === 'ann'));
    });

    it('refuses what cannot be an argument, before anything is sent', async () => {
      const bad = [
        () => octopoid.tasks.get(''),
        () => octopoid.tasks.get(undefined),
        () => octopoid.tasks.get('..'),
        () => octopoid.tasks.get('\ud800'),
        () => octopoid.tasks.create('a title'),
        () => octopoid.tasks.create({ title: 1n }),
        () => octopoid.tasks.createMany({ title: 'x' }),
        () => octopoid.tasks.list({ queue: { name: 'incoming' } }),
        () => octopoid.tasks.claim({ ...owner, wait_seconds: 61 }),
        () => octopoid.tasks.claim({ ...owner, wait_seconds: '1' }),
        () => octopoid.tasks.claim({ ...owner, max: 3 }),
        () => octopoid.tasks.list({}, { timeout: -1 }),
        () => octopoid.tasks.list({}, { timeout: '1' }),
        () => octopoid.tasks.list({}, { signal: {} }),
        () => octopoid.tasks.list({}, 'now'),
      ];
      for (const call of bad) await assert.rejects(call, { name: 'TypeError', code: 'invalid_argument' }, `${call}`);
      await assert.rejects(octopoid.tasks.create({ title: 'x', priority: 'P9' }), { status: 400, code: 'invalid_argument' });
      await assert.rejects(octopoid.tasks.claim({ agent_name: 'x' }), { status: 400 });
      await assert.rejects(octopoid.tasks.submit('x', {}), { name: 'OctopoidAPIError', status: 400 });
    });

    it('passes every character of an id and a text on as it is', async () => {
      assert.equal(await octopoid.tasks.get('a/b?c#d%2F é'), null);
      const content = 'Line 1\nLine 2 "quoted" \\ \u0000 é 😀'.replace('\u0000', '');
      const task = await octopoid.tasks.create({ title: 'Ünï — 😀', content });
      const read = await octopoid.tasks.get(task.id);
      assert.deepEqual([read.title, read.content], ['Ünï — 😀', content]);
      await octopoid.tasks.delete(task.id);
    });
  });
}

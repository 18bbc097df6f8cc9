// What stands beside tasks, and what happens: every other namespace.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { Octopoid } from 'octopoid';
import { folder, serve, suite } from './help.mjs';

for (const place of ['a server', 'a folder']) {
  describe(`records on ${place}`, () => {
    const whole = suite();
    let octopoid;

    before(async () => {
      octopoid = place === 'a server' ? new Octopoid((await serve(whole)).url) : Octopoid.local(folder(whole));
    });
    after(() => octopoid.close());

    it('keeps projects, with their tasks on one branch', async () => {
      const project = await octopoid.projects.create({ id: 'auth', name: 'Authentication', description: 'Sign in' });
      assert.deepEqual([project.title, project.branch], ['Authentication', 'project/auth']);
      assert.equal((await octopoid.projects.create({ id: 'ui', title: 'Screens', branch: 'ui' })).branch, 'ui');
      assert.equal((await octopoid.projects.get('auth')).description, 'Sign in');
      assert.equal(await octopoid.projects.get('none'), null);
      const list = await octopoid.projects.list({ limit: 1 });
      assert.deepEqual([list.length, list.total], [1, 2]);
      const task = await octopoid.tasks.create({ title: 'Log in', projectId: 'auth' });
      assert.equal(task.branch, 'project/auth');
      assert.deepEqual((await octopoid.projects.getTasks('auth')).map((t) => t.id), [task.id]);
      assert.equal((await octopoid.projects.update('auth', { status: 'active' })).status, 'active');
      await assert.rejects(octopoid.projects.delete('auth'), { status: 409 });
      await octopoid.projects.delete('ui');
      assert.equal((await octopoid.projects.list()).total, 1);
      await assert.rejects(octopoid.projects.create({ id: 'auth', title: 'Again' }), { code: 'already_exists' });
    });

    it('makes a draft a task once', async () => {
      const draft = await octopoid.drafts.create({ title: 'A dark theme?', author: 'ann' });
      const task = await octopoid.drafts.promote(draft.id, { priority: 'P1' });
      assert.deepEqual([task.title, task.priority], ['A dark theme?', 'P1']);
      await octopoid.drafts.update(draft.id, { title: 'Dark' });
      assert.equal((await octopoid.drafts.promote(draft.id)).id, task.id);
      await octopoid.drafts.delete(draft.id);
      await octopoid.tasks.delete(task.id);
    });

    it('keeps drafts', async () => {
      const draft = await octopoid.drafts.create({ title: 'Dark mode', author: 'ann', tags: ['ui'] });
      assert.deepEqual(JSON.parse(draft.tags), ['ui']);
      const { id: task } = await octopoid.tasks.create({ title: draft.title });
      const changed = await octopoid.drafts.update(draft.id, { status: 'approved', linkedTaskId: task });
      assert.deepEqual([changed.status, changed.linked_task_id], ['approved', task]);
      assert.equal((await octopoid.drafts.list({ status: 'approved' })).total, 1);
      assert.equal((await octopoid.drafts.get(draft.id)).title, 'Dark mode');
      await octopoid.drafts.delete(draft.id);
      assert.equal(await octopoid.drafts.get(draft.id), null);
    });

    it('knows orchestrators', async () => {
      const made = await octopoid.orchestrators.register({ cluster: 'prod', machine_id: 'vm-1', repo_url: 'https://example.invalid/r' });
      assert.equal(made.orchestrator_id, 'prod-vm-1');
      assert.equal((await octopoid.orchestrators.heartbeat('prod-vm-1')).success, true);
      assert.equal((await octopoid.orchestrators.get('prod-vm-1')).machine_id, 'vm-1');
      assert.equal(await octopoid.orchestrators.get('prod-none'), null);
      assert.deepEqual((await octopoid.orchestrators.list({ cluster: 'prod' })).map((o) => o.id), ['prod-vm-1']);
      assert.equal((await octopoid.orchestrators.update('prod-vm-1', { status: 'maintenance' })).status, 'maintenance');
      await octopoid.tasks.create({ title: 'Waits' });
      const claim = await octopoid.tasks.claimOrReason({ orchestrator_id: 'prod-vm-1', agent_name: 'a' });
      assert.deepEqual(claim, { task: null, reason: 'paused' });
      await octopoid.orchestrators.update('prod-vm-1', { status: 'active' });
    });

    it('tells a claim that is at its limit', async () => {
      const owner = { orchestrator_id: 'prod-vm-1', agent_name: 'a', max_claimed: 1 };
      await octopoid.tasks.createMany([{ title: 'One' }, { title: 'Two' }]);
      const task = await octopoid.tasks.claim(owner);
      assert.ok(task);
      assert.deepEqual(await octopoid.tasks.claimOrReason(owner), { task: null, reason: 'at_capacity' });
      assert.equal(await octopoid.tasks.claim(owner), null);
      await octopoid.tasks.release(task.id);
    });

    it('registers flows', async () => {
      const flow = {
        states: ['incoming', 'claimed', 'qa', 'done', 'failed'],
        transitions: [{ from: 'claimed', to: 'qa' }],
        description: 'With QA',
      };
      assert.equal((await octopoid.flows.register('careful', flow)).name, 'careful');
      assert.equal((await octopoid.flows.get('careful')).description, 'With QA');
      assert.ok((await octopoid.flows.list()).some((f) => f.name === 'careful'));
      await octopoid.flows.delete('careful');
      assert.equal(await octopoid.flows.get('careful'), null);
    });

    it('keeps messages', async () => {
      const { id } = await octopoid.tasks.create({ title: 'Discussed' });
      const question = await octopoid.messages.create({ task_id: id, from_actor: 'agent', type: 'question', content: 'Which port?' });
      await octopoid.messages.create({
        taskId: id,
        fromActor: 'ann',
        toActor: 'agent',
        type: 'reply',
        content: '8080',
        parentMessageId: question.id,
      });
      assert.deepEqual((await octopoid.messages.list({ taskId: id })).map((m) => m.content), ['Which port?', '8080']);
      assert.deepEqual((await octopoid.messages.list({ to_actor: 'agent' })).map((m) => m.content), ['8080']);
      assert.equal((await octopoid.messages.list({ threadId: question.id })).length, 2);
      assert.equal((await octopoid.tasks.messages(id)).total, 2);
    });

    it('keeps actions', async () => {
      const facts = { entity_type: 'draft', entity_id: '7' };
      const action = await octopoid.actions.create({ ...facts, label: 'Make tasks of it', proposedBy: 'planner' });
      assert.deepEqual([action.status, action.action_type, action.proposed_by], ['proposed', 'proposal', 'planner']);
      assert.equal((await octopoid.actions.execute(action.id)).status, 'execute_requested');
      assert.equal((await octopoid.actions.complete(action.id, { made: 3 })).status, 'completed');
      const other = await octopoid.actions.create({ ...facts, label: 'Drop it' });
      await octopoid.actions.execute(other.id);
      assert.equal((await octopoid.actions.fail(other.id, 'not allowed')).status, 'failed');
      assert.equal((await octopoid.actions.list({ entityType: 'draft', entityId: '7' })).total, 2);
    });

    it('feeds every change once, from a cursor on and as it happens', async (t) => {
      const seen = [];
      const { id } = await octopoid.tasks.create({ title: 'Watched' });
      const first = (await octopoid.events.list({ taskId: id }))[0];
      assert.deepEqual([first.type, first.task_id], ['created', id]);
      setTimeout(() => octopoid.tasks.update(id, { priority: 'P0' }).then(() => octopoid.tasks.cancel(id)), 100);
      for await (const event of octopoid.events.watch({ after: first.cursor, taskId: id, signal: t.signal })) {
        seen.push(event.type);
        if (event.type === 'cancelled') break;
      }
      assert.deepEqual(seen, ['edited', 'cancelled']);
      const whole = await octopoid.events.list({ limit: 3 });
      assert.equal(whole.length, 3);
      const history = await octopoid.history.list({ taskId: id, limit: 10 });
      assert.equal(history[0].event, 'created');
    });

    it('ends a watch when its signal is aborted', async () => {
      const controller = new AbortController();
      const { cursor } = await octopoid.status.get();
      const begun = Date.now();
      setTimeout(() => controller.abort(), 150);
      await assert.rejects(
        async () => {
          for await (const event of octopoid.events.watch({ after: cursor, signal: controller.signal })) assert.fail(event.type);
        },
        { name: 'AbortError', code: 'ABORT_ERR' },
      );
      assert.ok(Date.now() - begun < 2_000);
    });

    it('tells how things are', async () => {
      assert.equal((await octopoid.system.healthCheck()).status, 'healthy');
      assert.equal((await octopoid.status.health()).version, '2.0.0');
      const status = await octopoid.status.get();
      assert.equal(status.counts.incoming, (await octopoid.tasks.list({ queue: 'incoming' })).total);
      const poll = await octopoid.poll('prod-vm-1');
      assert.equal(poll.orchestrator_registered, true);
      assert.equal(poll.queue_counts.incoming, status.counts.incoming);
    });
  });
}

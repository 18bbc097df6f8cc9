// Programs in the form that the earlier SDK's readers wrote them: same names, same arguments, settings from the environment.

import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';

import { Octopoid } from 'octopoid';
import { PACKAGE, folder, run, serve, suite } from './help.mjs';

describe('earlier programs', () => {
  const whole = suite();
  let dir, url, octopoid;

  before(async () => {
    ({ url } = await serve(whole));
    dir = folder(whole);
    mkdirSync(join(dir, 'node_modules'));
    symlinkSync(PACKAGE, join(dir, 'node_modules', 'octopoid'));
    // The earlier package had another name; a project that maps it to this one needs no change at all.
    symlinkSync(PACKAGE, join(dir, 'node_modules', 'octopoid-sdk'));
    octopoid = new Octopoid(url);
    await octopoid.orchestrators.register({ cluster: 'c', machine_id: 'm' });
  });

  const program = async (text) => {
    const path = join(dir, `program-${Math.random().toString(36).slice(2)}.mjs`);
    writeFileSync(path, text);
    const { code, stdout, stderr } = await run([path], { cwd: dir, env: { OCTOPOID_SERVER_URL: url } });
    assert.equal(code, 0, stderr);
    return stdout;
  };

  const work = async (id) => {
    await octopoid.tasks.claim({ orchestrator_id: 'c-m', agent_name: 'a' });
    await octopoid.tasks.submit(id, { commits_count: 2, turns_used: 5 });
  };

  it('make a task', async () => {
    const said = await program(`
      import { OctopoidSDK } from 'octopoid-sdk'
      const sdk = new OctopoidSDK({ serverUrl: '${url}', apiKey: process.env.OCTOPOID_API_KEY, timeout: 30000 })
      const task = await sdk.tasks.create({
        id: 'add-search',
        file_path: 'tasks/incoming/TASK-add-search.md',
        queue: 'incoming',
        priority: 'P1',
        role: 'docs',
        branch: 'trunk',
      })
      console.log(task.id, task.queue)
    `);
    assert.equal(said, 'add-search incoming\n');
    assert.equal((await octopoid.tasks.get('add-search')).file_path, 'tasks/incoming/TASK-add-search.md');
  });

  it('read, change, reject and accept it', async () => {
    await work('add-search');
    const said = await program(`
      import OctopoidSDK from 'octopoid'
      const sdk = new OctopoidSDK()
      const task = await sdk.tasks.get('add-search')
      console.log(task.queue, await sdk.tasks.get('not-there'))
      await sdk.tasks.update('add-search', { priority: 'P0', branch: 'feature/search' })
      console.log((await sdk.tasks.list({ priority: 'P0' })).length, (await sdk.tasks.list({ role: 'docs', limit: 10 })).length)
      await sdk.tasks.reject('add-search', { reason: 'No tests', rejected_by: 'code-review' })
      console.log((await sdk.tasks.get('add-search')).rejection_count)
    `);
    assert.equal(said, 'provisional null\n1 1\n1\n');
  });

  it('approve documentation with commits', async () => {
    await work('add-search');
    const said = await program(`
      import { OctopoidSDK } from 'octopoid-sdk'
      const sdk = new OctopoidSDK()
      for (const task of await sdk.tasks.list({ queue: 'provisional' })) {
        if (task.role === 'docs' && task.commits_count > 0) {
          await sdk.tasks.accept(task.id, { accepted_by: 'auto-approve-script' })
          console.log('approved', task.id)
        }
      }
    `);
    assert.equal(said, 'approved add-search\n');
    assert.equal((await octopoid.tasks.get('add-search')).queue, 'done');
  });

  it('import tasks from a file', async () => {
    writeFileSync(
      join(dir, 'features.json'),
      JSON.stringify([{ id: 1, title: 'One', priority: 'P1' }, { id: 2, title: 'Two', priority: 'P2', project: 'web-app' }]),
    );
    const said = await program(`
      import { OctopoidSDK } from 'octopoid-sdk'
      import { readFileSync } from 'fs'
      const sdk = new OctopoidSDK()
      const project = await sdk.projects.create({ id: 'web-app', name: 'Web application', description: 'The main one' })
      for (const feature of JSON.parse(readFileSync('features.json', 'utf-8'))) {
        const taskId = \`feature-\${feature.id}\`
        await sdk.tasks.create({
          id: taskId,
          file_path: \`tasks/incoming/TASK-\${taskId}.md\`,
          queue: 'incoming',
          priority: feature.priority,
          role: 'implement',
          project_id: feature.project,
        })
        console.log(feature.title)
      }
      console.log(project.title, (await sdk.projects.get('web-app')).id, (await sdk.projects.list()).length)
    `);
    assert.equal(said, 'One\nTwo\nWeb application web-app 1\n');
  });

  it('poll one task until it is over', async () => {
    const said = await program(`
      import { OctopoidSDK } from 'octopoid-sdk'
      const sdk = new OctopoidSDK()
      const taskId = 'add-search'
      while (true) {
        const task = await sdk.tasks.get(taskId)
        if (!task) break
        console.log(task.queue)
        if (task.queue === 'done' || task.queue === 'provisional') break
        await new Promise(resolve => setTimeout(resolve, 10000))
      }
    `);
    assert.equal(said, 'done\n');
  });

  it('report the day', async () => {
    const said = await program(`
      import { OctopoidSDK } from 'octopoid-sdk'
      const sdk = new OctopoidSDK()
      const [incoming, claimed, provisional, done] = await Promise.all(
        ['incoming', 'claimed', 'provisional', 'done'].map((queue) => sdk.tasks.list({ queue })))
      console.log(incoming.length, claimed.length, provisional.length, done.length)
      const today = new Date().toISOString().split('T')[0]
      const todays = done.filter(t => t.completed_at && t.completed_at.startsWith(today))
      todays.forEach(t => console.log(t.id, t.role))
      console.log((await sdk.system.healthCheck()).status)
    `);
    assert.equal(said, '2 0 0 1\nadd-search docs\nhealthy\n');
  });

  it('of the flat client list and finish tasks', async () => {
    const said = await program(`
      import { OctopoidClient } from 'octopoid/sdk'
      const client = new OctopoidClient({ serverUrl: '${url}', apiKey: '' })
      const tasks = await client.listTasks({ queue: 'incoming' })
      console.log(tasks.map((task) => task.id).sort().join(' '))
    `);
    assert.equal(said, 'feature-1 feature-2\n');
  });
});

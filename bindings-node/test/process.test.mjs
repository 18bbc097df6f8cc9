// What the package does to its process: nothing is blocked, nothing is leaked, nothing keeps it alive.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';

import { Octopoid } from 'octopoid';
import { PACKAGE, folder, run, serve, silence } from './help.mjs';

const IMPORT = `import { Octopoid, Orchestrator } from ${JSON.stringify(join(PACKAGE, 'dist', 'index.mjs'))};\n`;

/** Runs lines of a module in a process of their own. */
const program = (lines, ...args) => run(['--input-type=module', '-', ...args], { input: IMPORT + lines });

describe('the event loop', () => {
  it('goes on during a long poll', async (t) => {
    const { url } = await serve(t);
    const client = new Octopoid(url);
    let longest = 0;
    let last = performance.now();
    const timer = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 20);
    const begun = Date.now();
    assert.deepEqual(await client.events.list({ wait_seconds: 2 }), []);
    clearInterval(timer);
    assert.ok(Date.now() - begun >= 1_900, 'the server waited');
    assert.ok(longest < 500, `the longest pause was ${longest} ms`);
  });

  for (const place of ['a server', 'a folder']) {
    it(`has 50 claims that wait at the same time on ${place}`, async (t) => {
      const client = place === 'a server' ? new Octopoid((await serve(t)).url) : Octopoid.local(folder(t));
      await client.orchestrators.register({ cluster: 'a', machine_id: 'b' });
      const claim = { orchestrator_id: 'a-b', agent_name: 'x', wait_seconds: 1 };
      const begun = Date.now();
      const claims = await Promise.all(Array.from({ length: 50 }, () => client.tasks.claim(claim)));
      const millis = Date.now() - begun;
      assert.ok(claims.every((task) => task === null));
      assert.ok(millis >= 900 && millis < 10_000, `50 claims took ${millis} ms`);
      await client.close();
    });
  }

  it('gives each of 50 waiting claims another task', async (t) => {
    const { url } = await serve(t);
    const client = new Octopoid(url);
    await client.orchestrators.register({ cluster: 'a', machine_id: 'b' });
    const claim = { orchestrator_id: 'a-b', agent_name: 'x', wait_seconds: 30 };
    const waiting = Array.from({ length: 50 }, () => client.tasks.claim(claim));
    await client.tasks.createMany(Array.from({ length: 50 }, (_, i) => ({ title: `Task ${i}` })));
    const ids = (await Promise.all(waiting)).map((task) => task.id);
    assert.equal(new Set(ids).size, 50);
  });
});

describe('memory', () => {
  it('does not grow with 20,000 calls', { timeout: 300_000 }, async (t) => {
    const lines = `
      const client = Octopoid.local(process.argv[2]);
      await client.tasks.createMany(Array.from({ length: 20 }, (_, i) => ({ title: 'Task ' + i })));
      const calls = async (count) => {
        for (let done = 0; done < count; done += 20) {
          await Promise.all(Array.from({ length: 20 }, (_, i) =>
            i % 2 ? client.tasks.get('no-task', { signal: new AbortController().signal }) : client.tasks.list({ limit: 2 })));
        }
        global.gc();
        return process.memoryUsage().rss;
      };
      const before = await calls(4000);
      const after = await calls(20000);
      console.log((after - before) / 1e6);
      await client.close();
    `;
    const { code, stdout, stderr } = await run(['--expose-gc', '--input-type=module', '-', folder(t)], {
      input: IMPORT + lines,
      timeout: 240_000,
    });
    assert.equal(code, 0, stderr);
    assert.ok(Number(stdout) < 20, `20,000 calls took ${stdout.trim()} MB`);
  });
});

describe('a process', () => {
  it('ends by itself once nothing is left to do, its clients open', async (t) => {
    const { url } = await serve(t);
    const ended = await program(
      `const near = Octopoid.local(process.argv[2]);
       const far = new Octopoid(process.argv[3]);
       await near.tasks.create({ title: 'x' });
       await far.tasks.create({ title: 'y' });
       const idle = new Orchestrator({ octopoid: near, repo: '.', roles: [{ name: 'implement', run: () => ({ outcome: 'done' }) }] });
       console.log('made', idle instanceof Orchestrator);`,
      folder(t),
      url,
    );
    assert.deepEqual([ended.code, ended.stdout], [0, 'made true\n'], ended.stderr);
    assert.ok(ended.millis < 10_000, `it took ${ended.millis} ms`);
  });

  it('stays for a call that is under way', async (t) => {
    const { code, stdout, millis } = await program(
      `Octopoid.local(process.argv[2]).events.list({ wait_seconds: 1 }).then((events) => console.log(events.length));`,
      folder(t),
    );
    assert.deepEqual([code, stdout], [0, '0\n']);
    assert.ok(millis >= 900);
  });

  it('can be ended during long polls', async (t) => {
    const { url } = await serve(t);
    for (let i = 0; i < 3; i++) {
      const { code, signal, stderr, millis } = await program(
        `const near = Octopoid.local(process.argv[2]);
         const far = new Octopoid(process.argv[3]);
         for (let i = 0; i < 20; i++) for (const client of [near, far]) client.events.list({ after: 99999, wait_seconds: 30 }).catch(() => {});
         setTimeout(() => process.exit(7), 200);`,
        folder(t),
        url,
      );
      assert.deepEqual([code, signal, stderr], [7, null, '']);
      assert.ok(millis < 10_000, `it took ${millis} ms`);
    }
  });

  it('that ends with an error says so', async () => {
    const { code, stderr } = await program(`await new Octopoid('http://127.0.0.1:9').tasks.list();`);
    assert.equal(code, 1);
    assert.match(stderr, /OctopoidOfflineError/);
  });
});

describe('threads', () => {
  it('each load the package and use it at the same time', async (t) => {
    const { url } = await serve(t);
    const path = join(folder(t), 'worker.mjs');
    writeFileSync(
      path,
      `${IMPORT}import { parentPort, workerData } from 'node:worker_threads';
       const client = new Octopoid(workerData.url);
       const tasks = await Promise.all(Array.from({ length: 10 }, (_, i) => client.tasks.create({ title: 'From a thread ' + i })));
       parentPort.postMessage(tasks.length);`,
    );
    for (let round = 0; round < 3; round++) {
      const counts = await Promise.all(
        Array.from({ length: 4 }, async () => {
          const worker = new Worker(path, { workerData: { url } });
          // A thread may end in the same moment in which its message arrives.
          const exit = once(worker, 'exit');
          const [count] = await once(worker, 'message');
          const [code] = await exit;
          return [count, code];
        }),
      );
      assert.deepEqual(counts, Array(4).fill([10, 0]));
    }
    // The main thread's own client is not touched by the end of the others.
    assert.equal((await new Octopoid(url).tasks.list({ limit: 1 })).total, 120);
  });

  it('can be terminated during a call', async (t) => {
    const url = await silence(t);
    const path = join(folder(t), 'worker.mjs');
    writeFileSync(
      path,
      `${IMPORT}import { parentPort, workerData } from 'node:worker_threads';
       for (let i = 0; i < 20; i++) new Octopoid(workerData.url).tasks.list().catch(() => {});
       parentPort.postMessage('waiting');`,
    );
    for (let i = 0; i < 5; i++) {
      const worker = new Worker(path, { workerData: { url } });
      await once(worker, 'message');
      await worker.terminate();
    }
    const client = Octopoid.local(folder(t));
    assert.equal((await client.tasks.list()).total, 0);
    await client.close();
  });
});

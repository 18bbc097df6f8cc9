// The life of one task, without a server: enqueue, claim, submit, accept.
//
//   node quick-start.mjs [FOLDER]        the queue's folder, ./queue when none is named

import { Octopoid } from 'octopoid';

const octopoid = Octopoid.local(process.argv[2] ?? 'queue');

await octopoid.orchestrators.register({ cluster: 'desk', machine_id: 'one' });
const { id } = await octopoid.tasks.create({ title: 'Explain the settings', role: 'docs', priority: 'P1' });
console.log(`enqueued ${id}`);

const task = await octopoid.tasks.claim({ orchestrator_id: 'desk-one', agent_name: 'quick-start' });
console.log(`claimed ${task.id}: ${task.title}`);

await octopoid.tasks.progress(task.id, 'first draft is written');
await octopoid.tasks.submit(task.id, { commits_count: 1, turns_used: 4 });
const done = await octopoid.tasks.accept(task.id, { accepted_by: 'you' });
console.log(`${done.id} is ${done.queue}`);

await octopoid.close();

// Waits until a task is over and tells each step. The exit code is 0 only when it is done.
//
//   OCTOPOID_SERVER_URL=http://localhost:8787 node poll-to-completion.mjs TASK [SECONDS]

import { Octopoid } from 'octopoid';

const [id, seconds = '3600'] = process.argv.slice(2);
const octopoid = new Octopoid();
const over = new Set(['done', 'failed', 'cancelled', 'needs_attention']);

async function wait() {
  let task = await octopoid.tasks.get(id);
  if (task === null) {
    console.log(`there is no task ${id}`);
    return 3;
  }
  console.log(`${id} is in ${task.queue}`);
  if (!over.has(task.queue)) {
    // The server answers as soon as something happens; nothing is asked in between.
    for await (const event of octopoid.events.watch({ taskId: id, signal: AbortSignal.timeout(seconds * 1000) })) {
      console.log(`${event.at}  ${event.type}${event.by ? ` by ${event.by}` : ''}`);
      task = await octopoid.tasks.get(id);
      // The task may be further than this event; every step up to its end is told.
      if (task === null || (over.has(task.queue) && event.version >= task.version)) break;
    }
    console.log(`${id} is in ${task?.queue}`);
  }
  return task?.queue === 'done' ? 0 : 1;
}

process.exitCode = await wait().catch((error) => {
  if (error.name !== 'AbortError') throw error;
  console.log(`${id} was not over after ${seconds} s`);
  return 1;
});

// What is where, what was finished today, and what needs a person.
//
//   OCTOPOID_SERVER_URL=http://localhost:8787 node daily-report.mjs [DAY]        DAY as 2026-11-23, today (UTC) when left out

import { Octopoid } from 'octopoid';

const day = process.argv[2] ?? new Date().toISOString().slice(0, 10);
const octopoid = new Octopoid();

const { counts, attention } = await octopoid.status.get();
console.log(`Report for ${day}`);
for (const [queue, count] of Object.entries(counts)) console.log(`${String(count).padStart(6)}  ${queue}`);

console.log(`\nFinished on ${day}:`);
let finished = 0;
for await (const task of octopoid.tasks.iterate({ queue: 'done' })) {
  if (!task.completed_at?.startsWith(day)) continue;
  finished++;
  console.log(`  ${task.id}  ${task.title}`);
}
console.log(`  ${finished} in all`);

if (attention.length > 0) console.log('\nNeeds a person:');
for (const task of attention) console.log(`  ${task.id}  ${task.title}: ${task.attention}`);

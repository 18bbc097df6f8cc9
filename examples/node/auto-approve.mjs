// Accepts handed-in work of low risk by rule; leaves the rest to people.
//
//   OCTOPOID_SERVER_URL=http://localhost:8787 node auto-approve.mjs [ROLE…]        docs and test when none is named

import { Octopoid } from 'octopoid';

const roles = process.argv.length > 2 ? process.argv.slice(2) : ['docs', 'test'];
const octopoid = new Octopoid();

/** Why a person has to look; undefined when nobody has to. */
function objection(task) {
  if (!roles.includes(task.role)) return `role ${task.role}`;
  if (task.commits_count === 0) return 'no commits';
  if (task.rejection_count > 0) return 'was rejected before';
  if (task.priority === 'P0') return 'too important';
  return undefined;
}

for await (const task of octopoid.tasks.iterate({ queue: 'provisional' })) {
  const reason = objection(task);
  if (reason === undefined) {
    await octopoid.tasks.accept(task.id, { accepted_by: 'auto-approve' });
    console.log(`accepted ${task.id}`);
  } else {
    console.log(`left ${task.id} (${reason})`);
  }
}

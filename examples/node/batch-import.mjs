// Makes a task of each entry of a JSON file, all or none. Running it again adds nothing.
//
//   OCTOPOID_SERVER_URL=http://localhost:8787 node batch-import.mjs features.json
//
// The file: [{"id": "search", "title": "Search", "body": "…", "priority": "P1", "after": ["index"]}, …]

import { readFile } from 'node:fs/promises';

import { Octopoid, OctopoidConflictError } from 'octopoid';

const [file] = process.argv.slice(2);
if (file === undefined) {
  console.error('usage: node batch-import.mjs FILE.json');
  process.exit(2);
}

const octopoid = new Octopoid();
const entries = JSON.parse(await readFile(file, 'utf8'));
const requests = entries.map(({ id, title, body, priority, after }) => ({
  id: `feature-${id}`,
  title,
  content: body,
  priority,
  role: 'implement',
  blocked_by: after?.map((other) => `feature-${other}`),
}));

try {
  const tasks = await octopoid.tasks.createMany(requests);
  for (const task of tasks) console.log(`${task.id}  ${task.priority}  ${task.title}`);
  console.log(`${tasks.length} tasks were added`);
} catch (error) {
  if (!(error instanceof OctopoidConflictError)) throw error;
  console.log(`nothing was added: ${error.message}`);
}

// Lists the tasks of a queue, with the types of the package.
//
//   OCTOPOID_SERVER_URL=http://localhost:8787 node list-tasks.js [QUEUE]

import { OctopoidSDK, type Task, type TaskFilters } from 'octopoid';

const filters: TaskFilters = { queue: process.argv[2] ?? 'incoming', limit: 20 };
const sdk = new OctopoidSDK();
const tasks = await sdk.tasks.list(filters);

const line = (task: Task): string => `${task.priority}  ${task.id}  ${task.title}`;
for (const task of tasks) console.log(line(task));
console.log(`${tasks.length} of ${tasks.total}`);

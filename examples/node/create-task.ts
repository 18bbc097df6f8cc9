// Makes a task from the command line, with the types of the package.
//
//   OCTOPOID_SERVER_URL=http://localhost:8787 node create-task.js ID TITLE

import { OctopoidSDK, type CreateTaskRequest, type Task } from 'octopoid';

const [id, title] = process.argv.slice(2);
if (id === undefined || title === undefined) throw new Error('usage: create-task ID TITLE');

const sdk = new OctopoidSDK();
const request: CreateTaskRequest = {
  id,
  title,
  file_path: `tasks/incoming/TASK-${id}.md`,
  queue: 'incoming',
  priority: 'P1',
  role: 'implement',
};
const task: Task = await sdk.tasks.create(request);
console.log(`created ${task.id} in ${task.queue}`);

// A queue inside a service of one's own: HTTP in front, the store in a folder, workers in the same process, no other server.
//
//   node embedded-service.mjs FOLDER [PORT]        POST / with a JSON task, GET /<id>; ends with SIGTERM or Ctrl-C

import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';

import { Octopoid } from 'octopoid';

const [folder, port = '0'] = process.argv.slice(2);
const octopoid = Octopoid.local(folder);
await octopoid.orchestrators.register({ cluster: 'service', machine_id: 'one' });

const server = createServer(async (request, response) => {
  try {
    const task =
      request.method === 'POST'
        ? await octopoid.tasks.create(await json(request))
        : await octopoid.tasks.get(decodeURIComponent(request.url.slice(1)));
    response.writeHead(task ? 200 : 404, { 'content-type': 'application/json' }).end(JSON.stringify(task));
  } catch (error) {
    response.writeHead(error.status ?? 400).end(`${error.message}\n`);
  }
});

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort());

/** Takes tasks one after the other and waits where there is none. */
async function work(name) {
  const claim = { orchestrator_id: 'service-one', agent_name: name, wait_seconds: 20, fenced: true };
  while (!stop.signal.aborted) {
    const task = await octopoid.tasks.claim(claim, { signal: stop.signal });
    if (task === null) continue;
    await octopoid.tasks.progress(task.id, `${name} has it`);
    await octopoid.tasks.submit(task.id, { commits_count: 1, turns_used: 1, execution_notes: `done by ${name}` });
    await octopoid.tasks.accept(task.id, { accepted_by: name });
  }
}

server.listen(Number(port), '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
const workers = ['one', 'two'].map((name) => work(name));
await Promise.allSettled(workers);
server.close();
server.closeAllConnections();
await octopoid.close();
console.log('stopped');

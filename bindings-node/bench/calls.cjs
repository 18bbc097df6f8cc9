// What one call costs from Node, and with plain fetch.
// For each line that comes in: lines of name, get, create in microseconds a call, and an empty one.
'use strict';

const { createInterface } = require('node:readline');
const { Octopoid } = require('octopoid');

async function each(calls, call) {
  const begun = process.hrtime.bigint();
  for (let n = 0; n < calls; n += 1) {
    await call();
  }
  return Number(process.hrtime.bigint() - begun) / calls / 1e3;
}

async function main(url, calls) {
  const octopoid = new Octopoid({ serverUrl: url });
  const task = await octopoid.tasks.create({ title: 'bench' });
  const place = `${url}/api/v1/tasks`;
  const json = async (answer) => (await answer).json();
  const post = { method: 'POST', body: '{"title":"bench"}', headers: { 'content-type': 'application/json' } };
  for await (const _ of createInterface({ input: process.stdin })) {
    const get = await each(calls, () => octopoid.tasks.get(task.id));
    const create = await each(calls, () => octopoid.tasks.create({ title: 'bench' }));
    const fetched = await each(calls, () => json(fetch(`${place}/${task.id}`)));
    const posted = await each(calls, () => json(fetch(place, post)));
    console.log(`node ${get} ${create}\nfetch ${fetched} ${posted}\n`);
  }
  await octopoid.close();
}

const [url, calls] = process.argv.slice(2);
main(url, Number(calls)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});

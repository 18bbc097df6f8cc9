// What one call costs from Node, and with plain fetch: prints lines of name, get, create in microseconds a call.
'use strict';

const { Octopoid } = require('octopoid');

async function best(calls, rounds, call) {
  let fastest = Infinity;
  for (let round = 0; round < rounds; round += 1) {
    const begun = process.hrtime.bigint();
    for (let n = 0; n < calls; n += 1) {
      await call();
    }
    fastest = Math.min(fastest, Number(process.hrtime.bigint() - begun) / calls / 1e3);
  }
  return fastest;
}

async function main(url, calls, rounds) {
  const octopoid = new Octopoid({ serverUrl: url });
  const task = await octopoid.tasks.create({ title: 'bench' });
  const get = await best(calls, rounds, () => octopoid.tasks.get(task.id));
  const create = await best(calls, rounds, () => octopoid.tasks.create({ title: 'bench' }));
  console.log('node', get, create);
  await octopoid.close();

  const place = `${url}/api/v1/tasks`;
  const json = async (answer) => (await answer).json();
  const fetched = await best(calls, rounds, () => json(fetch(`${place}/${task.id}`)));
  const posted = await best(calls, rounds, () =>
    json(fetch(place, { method: 'POST', body: '{"title":"bench"}', headers: { 'content-type': 'application/json' } })),
  );
  console.log('fetch', fetched, posted);
}

const [url, calls, rounds] = process.argv.slice(2);
main(url, Number(calls), Number(rounds)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});

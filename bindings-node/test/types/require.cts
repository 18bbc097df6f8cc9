// The same from CommonJS.

import octopoid = require('octopoid');

const client: octopoid.Octopoid = new octopoid.OctopoidSDK('http://localhost:8787');
const created: Promise<octopoid.Task> = client.tasks.create({ title: 'x' });
const same: typeof octopoid.Octopoid = octopoid.default;

void created;
void same;

// Compiled without the types of Node and of browsers: the package's own must do.

import { Octopoid, Orchestrator, type Assignment } from 'octopoid';

const octopoid = Octopoid.local('queue');
const run = async (cx: Assignment) => (cx.signal.aborted ? { outcome: 'failed' as const } : { outcome: 'done' as const });

export const orchestrator = new Orchestrator({ octopoid, repo: '.', roles: [{ name: 'implement', run }] });
export const closed: Promise<void> = octopoid[Symbol.asyncDispose]();

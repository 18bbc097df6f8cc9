// Compiled with `tsc --strict`, never run: what programs may write, and what they may not.

import Default, {
  Octopoid,
  OctopoidAPIError,
  OctopoidClient,
  OctopoidNotFoundError,
  OctopoidSDK,
  Orchestrator,
  git,
  queue,
  type Assignment,
  type CreateTaskRequest,
  type Event,
  type Outcome,
  type Page,
  type Role,
  type Task,
  type TaskFilters,
} from 'octopoid';
import { Octopoid as FromSdk } from 'octopoid/sdk';

const sdk: OctopoidSDK = new OctopoidSDK({ serverUrl: 'http://localhost:8787', apiKey: 'oct_x', timeout: 5_000 });
const local: Octopoid = Octopoid.local('queue');
const flat: OctopoidClient = OctopoidClient.local('queue');
const same: typeof Octopoid = Default;
const also: typeof Octopoid = FromSdk;

async function tasks(): Promise<void> {
  const snake: CreateTaskRequest = { id: 'a', file_path: 'a.md', blocked_by: ['b'], priority: 'P1' };
  const camel: CreateTaskRequest = { title: 'x', filePath: 'a.md', blockedBy: 'b', autoAccept: true };
  const made: Task = await sdk.tasks.create(snake);
  await sdk.tasks.createMany([snake, camel], { timeout: 1_000 });
  const found: Task | null = await sdk.tasks.get(made.id, { signal: new AbortController().signal });
  const title: string | undefined = found?.title;
  const filters: TaskFilters = { queue: ['incoming', 'claimed'], projectId: 'p' };
  const page: Page<Task> = await sdk.tasks.list(filters);
  const total: number = page.total;
  for await (const task of sdk.tasks.iterate({ role: 'docs' })) console.log(task.queue, title, total);
  const claim = await sdk.tasks.claimOrReason({ orchestratorId: 'a-b', agentName: 'x', waitSeconds: 1 });
  if (claim.task) await sdk.tasks.submit(claim.task.id, { commits_count: 1, turnsUsed: 2, commitsCount: 1, turns_used: 2 });
  else console.log(claim.reason satisfies 'empty' | 'paused' | 'at_capacity');
  const one: Task | null = await flat.claimTask({ orchestrator_id: 'a-b', agent_name: 'x', role_filter: 'docs' });
  console.log(one, same, also);

  // @ts-expect-error: a task has no such field
  console.log(made.colour);
  // @ts-expect-error: P9 is no priority
  await sdk.tasks.create({ title: 'x', priority: 'P9' });
  // @ts-expect-error: who claims must be said
  await sdk.tasks.claim({ agent_name: 'x' });
  // @ts-expect-error: an id is a text
  await sdk.tasks.get(5);
  // @ts-expect-error: a misspelled field
  await sdk.tasks.create({ title: 'x', blockdBy: 'y' });
}

async function feeds(): Promise<void> {
  for await (const event of local.events.watch({ after: 5, signal: AbortSignal.timeout(10) })) {
    const { cursor, type }: Event = event;
    console.log(cursor + 1, type.toUpperCase());
  }
  const counts: Record<string, number> = (await local.status.get()).counts;
  const polled: number = (await local.poll('a-b')).queue_counts.incoming;
  console.log(counts, polled, (await local.system.healthCheck()).status);
}

const typed: Role = {
  name: 'implement',
  run: async (cx: Assignment): Promise<Outcome> => {
    cx.log(`${cx.task.title} in ${cx.worktree}, attempt ${cx.attempt.number}`);
    cx.signal.addEventListener('abort', () => console.log(cx.cancelled));
    await fetch('http://localhost', { signal: cx.signal });
    return { outcome: 'done', summary: cx.feedback.map((f) => f.content).join() };
  },
};

async function run(): Promise<void> {
  const orchestrator = new Orchestrator({
    octopoid: local,
    repo: '.',
    roles: [typed, { name: 'gatekeeper', run: (cx) => ({ verdict: cx.isReview ? 'approve' : 'reject' }) }],
    maxAgents: 2,
  });
  const ended: 'clean' | 'needs_attention' | 'stopped' = await orchestrator.runOnce();
  console.log(ended, orchestrator.stop());
  // @ts-expect-error: approved is no verdict
  new Orchestrator({ octopoid: local, repo: '.', roles: [{ name: 'x', run: () => ({ verdict: 'approved' }) }] });
  const path: string = await git.ensureWorktree('.', 'task-1', 'trunk');
  const sha: string | null = await git.commitChanges(path, 'message');
  const { insertions } = await git.diffStat(path, 'trunk');
  const [file] = await queue.listTaskFiles('tasks');
  console.log(sha, insertions, file?.title);
  try {
    await local.tasks.accept('x');
  } catch (error) {
    if (error instanceof OctopoidNotFoundError) console.log(error.code, error.hint);
    if (error instanceof OctopoidAPIError) console.log(error.status, error.body);
  }
  await local.close();
  await local[Symbol.asyncDispose]();
}

void tasks;
void feeds;
void run;

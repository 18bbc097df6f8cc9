// A role of one's own inside the orchestrator: claim, worktree, commit, check, review and merge are done for it.
//
//   node custom-role.mjs REPOSITORY        a git repository with a commit; it needs no .octopoid/

import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';

import { Octopoid, Orchestrator, git } from 'octopoid';

const [repo] = process.argv.slice(2);
const base = await git.currentBranch(repo);
const octopoid = Octopoid.local(repo);

/** Does the work: here, a line in the changelog. */
const changelog = {
  name: 'implement',
  run: async (cx) => {
    cx.log(`attempt ${cx.attempt.number} in ${cx.worktree}`);
    for (const note of cx.feedback) cx.log(`to heed: ${note.content}`);
    await appendFile(join(cx.worktree, 'CHANGELOG.md'), `- ${cx.task.title}\n`);
    return { outcome: 'done', summary: `noted "${cx.task.title}"` };
  },
};

/** Judges the commit: here, it must be small. */
const gatekeeper = {
  name: 'gatekeeper',
  run: async (cx) => {
    const { insertions, deletions } = await git.diffStat(cx.worktree, cx.baseSha);
    if (insertions + deletions > 20) return { verdict: 'reject', summary: 'too large', blocking: ['split it'] };
    return { verdict: 'approve', summary: `${insertions} lines` };
  },
};

const first = await octopoid.tasks.create({ title: 'Faster start', role: 'implement', branch: base });
await octopoid.tasks.create({ title: 'Smaller downloads', role: 'implement', branch: base, blocked_by: [first.id] });

const ended = await new Orchestrator({ octopoid, repo, roles: [changelog, gatekeeper] }).runOnce();
for (const task of await octopoid.tasks.list({ sort: 'priority' })) {
  console.log(`${task.queue}  ${task.merged_sha?.slice(0, 7)}  ${task.title}`);
}
console.log(ended);
await octopoid.close();

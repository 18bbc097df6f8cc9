// A flow of one's own: after the reviewing role, a person has to sign off before anything is merged.
//
//   node custom-flow.mjs REPOSITORY        a git repository with a commit

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { Octopoid, Orchestrator, git } from 'octopoid';

const FLOW = `\
name: signed-off
transitions:
  "incoming -> claimed": {agent: implement}
  "claimed -> provisional": {runs: [run_tests]}
  "provisional -> done":
    conditions:
      - {name: review, type: agent, agent: gatekeeper}
      - {name: sign_off, type: manual}
    runs: [rebase_on_base, run_tests, merge]
`;

const [repo] = process.argv.slice(2);
const base = await git.currentBranch(repo);
await mkdir(join(repo, '.octopoid', 'flows'), { recursive: true });
await writeFile(join(repo, '.octopoid', 'flows', 'signed-off.yaml'), FLOW);

const octopoid = Octopoid.local(repo);
const roles = [
  {
    name: 'implement',
    run: async (cx) => {
      await writeFile(join(cx.worktree, 'PRICES.md'), '# Prices\n');
      return { outcome: 'done' };
    },
  },
  { name: 'gatekeeper', run: () => ({ verdict: 'approve', summary: 'reads well' }) },
];
const orchestrator = new Orchestrator({ octopoid, repo, roles });

const { id } = await octopoid.tasks.create({ title: 'New prices', role: 'implement', branch: base, flow: 'signed-off' });
await orchestrator.runOnce();
console.log(`${(await octopoid.tasks.get(id)).queue}: ${(await octopoid.tasks.why(id)).held_by}`);

await octopoid.tasks.approve(id, { by: 'the boss' });
await orchestrator.runOnce();
console.log((await octopoid.tasks.get(id)).queue);
await octopoid.close();

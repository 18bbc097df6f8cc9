// The page about this package: its headings, and its program, which is all of its blocks one after the other.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';

import { PACKAGE, folder, git, repository, run, serve } from './help.mjs';

const page = readFileSync(join(PACKAGE, '..', 'docs', 'sdk-node.md'), 'utf8');

const HEADINGS = [
  'Install',
  'Connect',
  'Tasks',
  'Claims',
  'Reviews',
  'Events',
  'Projects and drafts',
  'Messages and actions',
  'Flows',
  'Errors',
  'Write a role',
  'Run the orchestrator',
  'Git and task files',
  'Coming from earlier versions',
];

describe('docs/sdk-node.md', () => {
  it('has the headings that the pages of all languages have', () => {
    assert.deepEqual([...page.matchAll(/^## (.*)$/gm)].map((match) => match[1]), HEADINGS);
  });

  it('is a program that runs', { timeout: 120_000 }, async (t) => {
    const { url } = await serve(t);
    const [dir, repo] = [folder(t), repository(t)];
    mkdirSync(join(dir, 'node_modules'));
    symlinkSync(PACKAGE, join(dir, 'node_modules', 'octopoid'));
    const blocks = [...page.matchAll(/^```js\n(.*?)^```$/gms)].map((match) => match[1]);
    assert.ok(blocks.length >= 20, `only ${blocks.length} blocks were found`);
    writeFileSync(join(dir, 'page.mjs'), blocks.join('\n').replaceAll('http://localhost:8787', url));
    const { code, stdout, stderr } = await run(['page.mjs', repo], { cwd: dir });
    assert.equal(code, 0, stderr + stdout);
    assert.match(stdout, /^true\nhealthy\n/);
    assert.match(stdout, /^409 illegal_transition API error \(409\): /m);
    assert.match(stdout, /^clean\n1$/m);
    assert.match(stdout, /^stopped$/m);
    assert.equal(git(repo, 'show', 'trunk:NOTES.md'), '- First note\n- Second note');
  });

  it('names every class and every method of the package', async (t) => {
    const all = await import('octopoid');
    const errors = Object.keys(all).filter((name) => name.startsWith('Octopoid') && name.endsWith('Error'));
    for (const name of errors.filter((name) => name !== 'OctopoidArgumentError')) assert.ok(page.includes(name), name);
    const client = all.Octopoid.local(folder(t));
    for (const [name, part] of Object.entries(client)) {
      const methods = part === null ? [] : Object.getOwnPropertyNames(Object.getPrototypeOf(part));
      assert.ok(part === null || page.includes(`.${name}.`), name);
      if (name !== 'tasks') continue;
      const hidden = ['constructor', 'own', 'decide', 'remember'];
      for (const method of methods.filter((m) => !hidden.includes(m))) assert.match(page, new RegExp(`\\b${method}\\b`), method);
    }
    await client.close();
  });
});

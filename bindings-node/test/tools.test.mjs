// Git and task files for scripts, on real repositories and folders.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';

import { Octopoid, git as tools, queue } from 'octopoid';
import { folder, git, repository } from './help.mjs';

describe('git', () => {
  it('makes a worktree for a task, commits in it, and tells what changed', async (t) => {
    const repo = repository(t);
    const path = await tools.ensureWorktree(repo, 'task-1', 'trunk');
    assert.equal(await tools.ensureWorktree(repo, 'task-1', 'trunk'), path);
    assert.equal(await tools.currentBranch(path), 'agent/task-1');
    assert.equal(await tools.currentBranch(repo), 'trunk');
    assert.equal(await tools.hasUncommittedChanges(path), false);
    assert.equal(await tools.commitChanges(path, 'nothing'), null);
    writeFileSync(join(path, 'one.txt'), '1\n2\n3\n');
    assert.equal(await tools.hasUncommittedChanges(path), true);
    const sha = await tools.commitChanges(path, 'three lines');
    assert.equal(sha, git(path, 'rev-parse', 'HEAD'));
    assert.equal(git(path, 'log', '-1', '--format=%s'), 'three lines');
    assert.equal(await tools.commitCount(path, 'trunk'), 1);
    assert.deepEqual(await tools.diffStat(path, 'trunk'), { files: 1, insertions: 3, deletions: 0 });
    const list = await tools.listWorktrees(repo);
    assert.deepEqual(list.map((w) => w.branch), ['trunk', 'agent/task-1']);
    assert.equal(list[1].head, sha);
    await tools.removeWorktree(path);
    assert.equal(existsSync(path), false);
    assert.equal((await tools.listWorktrees(repo)).length, 1);
    assert.equal(git(repo, 'rev-parse', 'agent/task-1'), sha, 'the work is kept');
  });

  it('pushes, but never by force', async (t) => {
    const [repo, remote] = [repository(t), folder(t)];
    git(remote, 'init', '--quiet', '--bare');
    git(repo, 'remote', 'add', 'origin', remote);
    await tools.push(repo, 'origin', 'work');
    assert.equal(git(remote, 'rev-parse', 'work'), git(repo, 'rev-parse', 'HEAD'));
    writeFileSync(join(repo, 'README.md'), 'other\n');
    git(repo, 'commit', '--quiet', '--all', '--amend', '-m', 'rewritten');
    await assert.rejects(tools.push(repo, 'origin', 'work'), { name: 'OctopoidConflictError', code: 'version_conflict' });
  });

  it('says what is wrong', async (t) => {
    const repo = repository(t);
    await assert.rejects(tools.currentBranch(folder(t)), { name: 'OctopoidError', code: 'not_a_repository' });
    await assert.rejects(tools.ensureWorktree(repo, 'task-1', 'nowhere'), { name: 'OctopoidNotFoundError', hint: /branch/ });
    await assert.rejects(tools.ensureWorktree(repo, '../up', 'trunk'), { code: 'invalid_argument' });
    await assert.rejects(tools.removeWorktree(repo), { code: 'invalid_argument', message: /main checkout/ });
    await assert.rejects(tools.commitChanges(repo, ''), { name: 'TypeError', code: 'invalid_argument' });
    await assert.rejects(tools.commitCount(undefined, 'trunk'), { name: 'TypeError', code: 'invalid_argument' });
  });
});

describe('task files', () => {
  it('are written, read, listed and moved', async (t) => {
    const dir = folder(t);
    const task = { id: 'file-1', title: 'In a file', content: 'Body\n\nwith two parts', role: 'implement', blockedBy: ['file-0'] };
    const path = await queue.writeTaskFile(dir, task);
    assert.equal(path, join(dir, 'TASK-file-1.md'));
    const read = await queue.readTaskFile(path);
    assert.deepEqual([read.id, read.title, read.role, read.priority], ['file-1', 'In a file', 'implement', 'P2']);
    assert.equal(read.content.trim(), task.content);
    assert.deepEqual(read.blocked_by, ['file-0']);
    await queue.writeTaskFile(dir, { id: 'file-2', title: 'More urgent', priority: 'P0' });
    assert.deepEqual((await queue.listTaskFiles(dir)).map((f) => f.id), ['file-2', 'file-1']);
    assert.deepEqual(await queue.listTaskFiles(join(dir, 'none')), []);
    const moved = await queue.moveTaskFile(path, join(dir, 'done'));
    assert.equal(moved, join(dir, 'done', 'TASK-file-1.md'));
    assert.equal(existsSync(path), false);
    await queue.writeTaskFile(dir, task);
    await assert.rejects(queue.moveTaskFile(path, join(dir, 'done')), { message: /nothing was moved/ });
    await queue.writeTaskFile(moved, { ...read, path: undefined, title: 'Written again' });
    assert.match(readFileSync(moved, 'utf8'), /Written again/);
  });

  it('in the older form are read too, and can be enqueued', async (t) => {
    const dir = folder(t);
    const path = join(dir, 'TASK-9f1b7c2a.md');
    writeFileSync(path, '# [TASK-9f1b7c2a] Sort the list\n\nROLE: implement\nPRIORITY: P1\nBRANCH: trunk\n\n## Context\nIt is not sorted.\n');
    const { path: _, ...file } = await queue.readTaskFile(path);
    assert.deepEqual([file.role, file.priority, file.branch], ['implement', 'P1', 'trunk']);
    const octopoid = Octopoid.local(folder(t));
    assert.equal((await octopoid.tasks.create(file)).priority, 'P1');
    await octopoid.close();
  });

  it('say what is wrong', async (t) => {
    await assert.rejects(queue.readTaskFile(join(folder(t), 'none.md')), { code: 'io' });
    await assert.rejects(queue.writeTaskFile(folder(t), { title: 'x', colour: 'red' }), { code: 'invalid_argument', message: /colour/ });
    await assert.rejects(queue.writeTaskFile(folder(t), 'x'), { name: 'TypeError', code: 'invalid_argument' });
    await assert.rejects(queue.moveTaskFile(join(folder(t), 'none.md'), folder(t)), { code: 'not_found' });
  });

  it('have ids that do not repeat', async () => {
    const ids = await Promise.all(Array.from({ length: 1000 }, () => queue.generateTaskId()));
    assert.match(ids[0], /^task-[0-9a-f]{8}$/);
    assert.equal(new Set(ids).size, 1000);
  });
});

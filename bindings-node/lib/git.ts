/** Git for scripts: worktrees of tasks, commits in them, what changed, and pushing. Paths are of this machine. */

import { resolve } from 'node:path';

import * as native from '../native.js';
import { text } from './fields.js';
import { result } from './result.js';

/** One checkout of a repository. */
export interface WorktreeInfo {
  path: string;
  /** Branch that is checked out; null on a detached HEAD. */
  branch: string | null;
  /** Its tip; null while it has no commit. */
  head: string | null;
}

/** How much differs: files, and lines that were added and removed. */
export interface DiffStat {
  files: number;
  insertions: number;
  deletions: number;
}

const folder = (path: unknown, what = 'the path') => resolve(text(path, what));

/** Makes sure that the task has a worktree with `agent/<taskId>` checked out, begun at `base` when it is new; gives its path. */
export async function ensureWorktree(repo: string, taskId: string, base: string): Promise<string> {
  return result(native.ensureWorktree(folder(repo, 'repo'), text(taskId, 'taskId'), text(base, 'base')));
}

/** Removes a linked worktree; what it holds is committed and kept under `refs/octopoid/keep/` first. */
export async function removeWorktree(path: string): Promise<void> {
  await result(native.removeWorktree(folder(path)));
}

/** The main checkout and all linked worktrees. */
export async function listWorktrees(repo: string): Promise<WorktreeInfo[]> {
  return result(native.listWorktrees(folder(repo, 'repo')));
}

/** The branch that is checked out at `path`; null on a detached HEAD. */
export async function currentBranch(path: string): Promise<string | null> {
  return result(native.currentBranch(folder(path)));
}

/** Whether files at `path` differ from its tip, ignored ones aside. */
export async function hasUncommittedChanges(path: string): Promise<boolean> {
  return result(native.hasUncommittedChanges(folder(path)));
}

/** Commits every changed and new file; gives the commit's id, or null when there was nothing to commit. */
export async function commitChanges(path: string, message: string): Promise<string | null> {
  return result(native.commitChanges(folder(path), text(message, 'message')));
}

/** How many commits the tip of `path` has that `base` has not. */
export async function commitCount(path: string, base: string): Promise<number> {
  return result(native.commitCount(folder(path), text(base, 'base')));
}

/** What the files at `path` differ in from where the work left `base`. */
export async function diffStat(path: string, base: string): Promise<DiffStat> {
  return result(native.diffStat(folder(path), text(base, 'base')));
}

/** Pushes the tip of `path` as `branch` to `remote`; never by force. */
export async function push(path: string, remote: string, branch: string): Promise<void> {
  await result(native.push(folder(path), text(remote, 'remote'), text(branch, 'branch')));
}

/** Folders of task files for scripts: Markdown with front matter, or the older `KEY: value` header. */

import { resolve } from 'node:path';

import * as native from '../native.js';
import { fromNative } from './errors.js';
import { fields, text } from './fields.js';
import { result } from './result.js';
import type { CreateTaskRequest, Priority } from './types.js';

/** A task as its file has it; `tasks.create` takes it without `path`. */
export interface TaskFile {
  id: string;
  title: string | null;
  content: string | null;
  role: string | null;
  priority: Priority;
  complexity: string | null;
  branch: string | null;
  flow: string | null;
  project_id: string | null;
  blocked_by: string[];
  checks: string[];
  paths: string[];
  created_by: string | null;
  /** Path of the file. */
  path: string;
}

/** Reads one task file. */
export async function readTaskFile(path: string): Promise<TaskFile> {
  return result(native.readTaskFile(resolve(text(path, 'the path'))));
}

/** Writes a task into a folder as `TASK-<id>.md`, or into exactly the `.md` file that is named; gives the file's path. */
export async function writeTaskFile(folder: string, task: CreateTaskRequest | Partial<TaskFile>): Promise<string> {
  return result(native.writeTaskFile(resolve(text(folder, 'the folder')), JSON.stringify(fields(task, 'the task'))));
}

/** The task files of a folder, by priority, then by name; none when the folder is not there. */
export async function listTaskFiles(folder: string): Promise<TaskFile[]> {
  return result(native.listTaskFiles(resolve(text(folder, 'the folder'))));
}

/** Moves a task file into another folder; gives its new path. A file that is there is not overwritten. */
export async function moveTaskFile(path: string, folder: string): Promise<string> {
  return result(native.moveTaskFile(resolve(text(path, 'the path')), resolve(text(folder, 'the folder'))));
}

/** A fresh id: `task-` and 8 hexadecimal digits. */
export async function generateTaskId(): Promise<string> {
  try {
    return native.generateTaskId();
  } catch (error) {
    throw fromNative(error);
  }
}

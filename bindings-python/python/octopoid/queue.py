"""Task files for scripts: markdown with YAML front matter, read, written, listed and moved.

Every function raises `OctopoidError` with the code `io` for a file that cannot be read or written, and
`invalid_argument` or `unknown_field` for one that does not say what it must.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from . import _native
from .records import Record

__all__ = [
    "TaskFile",
    "generate_task_id",
    "list_task_files",
    "move_task_file",
    "read_task_file",
    "write_task_file",
]

AnyPath = str | PathLike[str]


class TaskFile(Record):
    """A task as its file says it; without `path`, these are arguments of `tasks.create`."""

    __slots__ = ()

    id: str
    title: str | None
    content: str | None
    role: str | None
    priority: str
    complexity: str | None
    branch: str | None
    flow: str | None
    project_id: str | None
    blocked_by: list[str]
    checks: list[str]
    paths: list[str]
    created_by: str | None
    path: str


def generate_task_id() -> str:
    """A fresh id: `task-` and 8 hexadecimal digits."""
    return _native.generate_task_id()


def read_task_file(path: AnyPath) -> TaskFile:
    """Reads one file, older `KEY: value` header lines too; a file without an id has that of its name."""
    return TaskFile(json.loads(_native.read_task_file(path)))


def write_task_file(folder: AnyPath, task: Mapping[str, Any] | None = None, **fields: Any) -> Path:
    """Writes a task into a folder as `TASK-<id>.md`, or into exactly the `.md` file that is named; gives the file.

    The task is a mapping, keywords, or both. It needs a `title` or a `content`; without an `id` it gets one. The file
    is there as a whole or not at all.
    """
    values = {**(task or {}), **fields}
    text = json.dumps({name: value for name, value in values.items() if value is not None}, default=list)
    return Path(_native.write_task_file(folder, text))


def list_task_files(folder: AnyPath) -> list[TaskFile]:
    """The task files of a folder, by priority, then by name; none when the folder is not there."""
    return [TaskFile(row) for row in json.loads(_native.list_task_files(folder))]


def move_task_file(path: AnyPath, folder: AnyPath) -> Path:
    """Moves a task file into another folder; gives its new place. A file that is there is not overwritten."""
    return Path(_native.move_task_file(path, folder))

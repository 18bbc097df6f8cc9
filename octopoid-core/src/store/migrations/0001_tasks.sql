-- Tasks, their attempts, blockers, verdicts, threads and history.
-- The long CHECK of `tasks` is the column matrix of the lifecycle; a test compares the two.

CREATE TABLE tasks (
  scope TEXT NOT NULL,
  id TEXT NOT NULL,
  title TEXT NOT NULL,
  content TEXT NOT NULL,
  body_revision INTEGER NOT NULL,
  queue TEXT NOT NULL,
  kind TEXT NOT NULL,
  priority TEXT NOT NULL CHECK (priority IN ('P0', 'P1', 'P2', 'P3')),
  complexity TEXT,
  role TEXT NOT NULL,
  branch TEXT NOT NULL,
  flow TEXT NOT NULL,
  project_id TEXT,
  checks TEXT NOT NULL,
  paths TEXT NOT NULL,
  created_by TEXT,
  awaiting TEXT,
  open_blockers INTEGER NOT NULL CHECK (open_blockers >= 0),
  claimed_by TEXT,
  orchestrator_id TEXT,
  claim_kind TEXT,
  claimed_from TEXT,
  claimed_at INTEGER,
  lease_expires_at INTEGER,
  claim_token TEXT,
  epoch INTEGER NOT NULL,
  version INTEGER NOT NULL CHECK (version >= 1),
  attempt_count INTEGER NOT NULL,
  failure_count INTEGER NOT NULL,
  transient_count INTEGER NOT NULL,
  rejection_count INTEGER NOT NULL,
  continuation_count INTEGER NOT NULL,
  unclear_reviews INTEGER NOT NULL,
  commits_count INTEGER NOT NULL,
  turns_used INTEGER NOT NULL,
  base_sha TEXT,
  head_sha TEXT,
  merged_sha TEXT,
  pr_number INTEGER,
  pr_url TEXT,
  hold TEXT,
  not_before INTEGER,
  attention TEXT,
  execution_notes TEXT,
  submitted_at INTEGER,
  completed_at INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (scope, id),
  CHECK (
    --matrix
  )
);

CREATE INDEX tasks_claimable ON tasks (scope, queue, awaiting, priority, created_at)
  WHERE claim_token IS NULL AND hold IS NULL AND open_blockers = 0 AND awaiting IS NOT NULL;
CREATE INDEX tasks_listed ON tasks (scope, (kind IN ('done', 'failed', 'cancelled')), priority, created_at);
CREATE INDEX tasks_counted ON tasks (scope, queue);
CREATE INDEX tasks_claimed ON tasks (scope, lease_expires_at) WHERE claim_token IS NOT NULL;
CREATE INDEX tasks_delayed ON tasks (scope, not_before) WHERE not_before IS NOT NULL;
CREATE INDEX tasks_project ON tasks (scope, project_id) WHERE project_id IS NOT NULL;

CREATE TABLE blockers (
  scope TEXT NOT NULL,
  task_id TEXT NOT NULL,
  blocker_id TEXT NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (scope, task_id, blocker_id),
  CHECK (task_id <> blocker_id),
  FOREIGN KEY (scope, task_id) REFERENCES tasks (scope, id) ON DELETE CASCADE,
  FOREIGN KEY (scope, blocker_id) REFERENCES tasks (scope, id)
) WITHOUT ROWID;
CREATE INDEX blockers_reverse ON blockers (scope, blocker_id);

CREATE TABLE attempts (
  scope TEXT NOT NULL,
  task_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  kind TEXT NOT NULL,
  role TEXT NOT NULL,
  agent TEXT NOT NULL,
  orchestrator_id TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  token TEXT NOT NULL,
  claimed_from TEXT NOT NULL,
  body_revision INTEGER NOT NULL,
  base_sha TEXT,
  started_at INTEGER NOT NULL,
  ended_at INTEGER,
  outcome TEXT,
  failure TEXT,
  reason TEXT,
  evidence TEXT NOT NULL,
  usage TEXT NOT NULL,
  tokens INTEGER NOT NULL,
  usd REAL NOT NULL,
  PRIMARY KEY (scope, task_id, number),
  CHECK ((ended_at IS NULL) = (outcome IS NULL)),
  FOREIGN KEY (scope, task_id) REFERENCES tasks (scope, id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE UNIQUE INDEX attempts_one_live ON attempts (scope, task_id) WHERE ended_at IS NULL;
CREATE INDEX attempts_ended ON attempts (scope, ended_at);

CREATE TABLE reviews (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  scope TEXT NOT NULL,
  task_id TEXT NOT NULL,
  queue TEXT NOT NULL,
  by TEXT NOT NULL,
  condition TEXT,
  sha TEXT NOT NULL,
  verdict TEXT NOT NULL CHECK (verdict IN ('approve', 'reject')),
  reason TEXT NOT NULL,
  at INTEGER NOT NULL,
  FOREIGN KEY (scope, task_id) REFERENCES tasks (scope, id) ON DELETE CASCADE
);
CREATE INDEX reviews_task ON reviews (scope, task_id);

CREATE TABLE messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  scope TEXT NOT NULL,
  task_id TEXT NOT NULL,
  author TEXT NOT NULL,
  kind TEXT NOT NULL,
  content TEXT NOT NULL,
  at INTEGER NOT NULL
);
CREATE INDEX messages_task ON messages (scope, task_id);

-- No foreign key: the history of a deleted task stays.
CREATE TABLE events (
  cursor INTEGER PRIMARY KEY AUTOINCREMENT,
  scope TEXT NOT NULL,
  task_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  at INTEGER NOT NULL,
  by TEXT,
  version INTEGER NOT NULL,
  details TEXT NOT NULL
);
CREATE INDEX events_scope ON events (scope, cursor);
CREATE UNIQUE INDEX events_task ON events (scope, task_id, version, cursor);

CREATE TABLE idempotency (
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  task_id TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (scope, key)
) WITHOUT ROWID;

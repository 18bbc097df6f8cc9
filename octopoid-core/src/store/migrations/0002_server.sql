-- Tasks that clients drive on their own word, what clients keep on a task, and the small documents beside them.
-- The table is made anew because its CHECK changes; foreign keys are off while this runs and are checked after it.

CREATE TABLE tasks_2 (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
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
  external INTEGER NOT NULL DEFAULT 0,
  annotations TEXT NOT NULL DEFAULT '{}',
  type TEXT,
  role_given INTEGER NOT NULL DEFAULT 1,
  needs_intervention INTEGER NOT NULL DEFAULT 0,
  has_plan INTEGER NOT NULL DEFAULT 0,
  auto_accept INTEGER NOT NULL DEFAULT 0,
  needs_rebase INTEGER NOT NULL DEFAULT 0,
  UNIQUE (id, scope),
  CHECK (
    --matrix
  )
);

INSERT INTO tasks_2 (scope, id, title, content, body_revision, queue, kind, priority, complexity, role, branch, flow,
  project_id, checks, paths, created_by, awaiting, open_blockers, claimed_by, orchestrator_id, claim_kind, claimed_from,
  claimed_at, lease_expires_at, claim_token, epoch, version, attempt_count, failure_count, transient_count,
  rejection_count, continuation_count, unclear_reviews, commits_count, turns_used, base_sha, head_sha, merged_sha,
  pr_number, pr_url, hold, not_before, attention, execution_notes, submitted_at, completed_at, created_at, updated_at)
SELECT scope, id, title, content, body_revision, queue, kind, priority, complexity, role, branch, flow,
  project_id, checks, paths, created_by, awaiting, open_blockers, claimed_by, orchestrator_id, claim_kind, claimed_from,
  claimed_at, lease_expires_at, claim_token, epoch, version, attempt_count, failure_count, transient_count,
  rejection_count, continuation_count, unclear_reviews, commits_count, turns_used, base_sha, head_sha, merged_sha,
  pr_number, pr_url, hold, not_before, attention, execution_notes, submitted_at, completed_at, created_at, updated_at
FROM tasks ORDER BY rowid;

DROP TABLE tasks;
ALTER TABLE tasks_2 RENAME TO tasks;

CREATE INDEX tasks_claimable ON tasks (scope, queue, awaiting, priority, created_at, seq)
  WHERE claim_token IS NULL AND hold IS NULL AND open_blockers = 0 AND awaiting IS NOT NULL;
CREATE INDEX tasks_listed ON tasks (scope, (CASE WHEN kind IN ('done', 'failed', 'cancelled') THEN 1 ELSE 0 END), priority, created_at, seq);
CREATE INDEX tasks_open ON tasks (scope, queue, priority, created_at, seq);
CREATE INDEX tasks_newest ON tasks (scope, created_at, seq);
CREATE INDEX tasks_claimed ON tasks (lease_expires_at) WHERE claim_token IS NOT NULL;
CREATE INDEX tasks_token ON tasks (claim_token) WHERE claim_token IS NOT NULL;
CREATE INDEX tasks_delayed ON tasks (scope, not_before) WHERE not_before IS NOT NULL;
CREATE INDEX tasks_project ON tasks (scope, project_id) WHERE project_id IS NOT NULL;

ALTER TABLE messages ADD COLUMN uid TEXT;
ALTER TABLE messages ADD COLUMN reader TEXT;
ALTER TABLE messages ADD COLUMN parent TEXT;
UPDATE messages SET uid = 'msg-' || at || '-' || id;
CREATE UNIQUE INDEX messages_uid ON messages (scope, uid);
CREATE INDEX messages_parent ON messages (scope, parent) WHERE parent IS NOT NULL;

CREATE TABLE records (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  place TEXT NOT NULL,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  body TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (place, kind, id)
);
CREATE INDEX records_kind ON records (kind, id);

CREATE TABLE counters (
  place TEXT NOT NULL,
  kind TEXT NOT NULL,
  n INTEGER NOT NULL,
  PRIMARY KEY (place, kind)
) WITHOUT ROWID;

-- The whole schema for PostgreSQL; the same tables and columns as in SQLite.

CREATE TABLE tasks (
  seq BIGSERIAL PRIMARY KEY,
  scope TEXT NOT NULL,
  id TEXT NOT NULL,
  title TEXT NOT NULL,
  content TEXT NOT NULL,
  body_revision BIGINT NOT NULL,
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
  open_blockers BIGINT NOT NULL CHECK (open_blockers >= 0),
  claimed_by TEXT,
  orchestrator_id TEXT,
  claim_kind TEXT,
  claimed_from TEXT,
  claimed_at BIGINT,
  lease_expires_at BIGINT,
  claim_token TEXT,
  epoch BIGINT NOT NULL,
  version BIGINT NOT NULL CHECK (version >= 1),
  attempt_count BIGINT NOT NULL,
  failure_count BIGINT NOT NULL,
  transient_count BIGINT NOT NULL,
  rejection_count BIGINT NOT NULL,
  continuation_count BIGINT NOT NULL,
  unclear_reviews BIGINT NOT NULL,
  commits_count BIGINT NOT NULL,
  turns_used BIGINT NOT NULL,
  base_sha TEXT,
  head_sha TEXT,
  merged_sha TEXT,
  pr_number BIGINT,
  pr_url TEXT,
  hold TEXT,
  not_before BIGINT,
  attention TEXT,
  execution_notes TEXT,
  submitted_at BIGINT,
  completed_at BIGINT,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  external BIGINT NOT NULL DEFAULT 0,
  annotations TEXT NOT NULL DEFAULT '{}',
  type TEXT,
  role_given BIGINT NOT NULL DEFAULT 1,
  needs_intervention BIGINT NOT NULL DEFAULT 0,
  has_plan BIGINT NOT NULL DEFAULT 0,
  auto_accept BIGINT NOT NULL DEFAULT 0,
  needs_rebase BIGINT NOT NULL DEFAULT 0,
  UNIQUE (id, scope),
  CHECK (
    --matrix
  )
);

CREATE INDEX tasks_claimable ON tasks (scope, queue, awaiting, priority, created_at, seq)
  WHERE claim_token IS NULL AND hold IS NULL AND open_blockers = 0 AND awaiting IS NOT NULL;
CREATE INDEX tasks_listed ON tasks (scope, (CASE WHEN kind IN ('done', 'failed', 'cancelled') THEN 1 ELSE 0 END), priority, created_at, seq);
CREATE INDEX tasks_open ON tasks (scope, queue, priority, created_at, seq);
CREATE INDEX tasks_newest ON tasks (scope, created_at, seq);
CREATE INDEX tasks_claimed ON tasks (lease_expires_at) WHERE claim_token IS NOT NULL;
CREATE INDEX tasks_token ON tasks (claim_token) WHERE claim_token IS NOT NULL;
CREATE INDEX tasks_delayed ON tasks (scope, not_before) WHERE not_before IS NOT NULL;
CREATE INDEX tasks_project ON tasks (scope, project_id) WHERE project_id IS NOT NULL;


CREATE TABLE blockers (
  scope TEXT NOT NULL,
  task_id TEXT NOT NULL,
  blocker_id TEXT NOT NULL,
  position BIGINT NOT NULL,
  PRIMARY KEY (scope, task_id, blocker_id),
  CHECK (task_id <> blocker_id),
  FOREIGN KEY (scope, task_id) REFERENCES tasks (scope, id) ON DELETE CASCADE,
  FOREIGN KEY (scope, blocker_id) REFERENCES tasks (scope, id)
);
CREATE INDEX blockers_reverse ON blockers (scope, blocker_id);

CREATE TABLE attempts (
  scope TEXT NOT NULL,
  task_id TEXT NOT NULL,
  number BIGINT NOT NULL,
  kind TEXT NOT NULL,
  role TEXT NOT NULL,
  agent TEXT NOT NULL,
  orchestrator_id TEXT NOT NULL,
  epoch BIGINT NOT NULL,
  token TEXT NOT NULL,
  claimed_from TEXT NOT NULL,
  body_revision BIGINT NOT NULL,
  base_sha TEXT,
  started_at BIGINT NOT NULL,
  ended_at BIGINT,
  outcome TEXT,
  failure TEXT,
  reason TEXT,
  evidence TEXT NOT NULL,
  usage TEXT NOT NULL,
  tokens BIGINT NOT NULL,
  usd DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (scope, task_id, number),
  CHECK ((ended_at IS NULL) = (outcome IS NULL)),
  FOREIGN KEY (scope, task_id) REFERENCES tasks (scope, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX attempts_one_live ON attempts (scope, task_id) WHERE ended_at IS NULL;
CREATE INDEX attempts_ended ON attempts (scope, ended_at);

CREATE TABLE reviews (
  id BIGSERIAL PRIMARY KEY,
  scope TEXT NOT NULL,
  task_id TEXT NOT NULL,
  queue TEXT NOT NULL,
  by TEXT NOT NULL,
  condition TEXT,
  sha TEXT NOT NULL,
  verdict TEXT NOT NULL CHECK (verdict IN ('approve', 'reject')),
  reason TEXT NOT NULL,
  at BIGINT NOT NULL,
  FOREIGN KEY (scope, task_id) REFERENCES tasks (scope, id) ON DELETE CASCADE
);
CREATE INDEX reviews_task ON reviews (scope, task_id);

CREATE TABLE messages (
  id BIGSERIAL PRIMARY KEY,
  scope TEXT NOT NULL,
  task_id TEXT NOT NULL,
  author TEXT NOT NULL,
  kind TEXT NOT NULL,
  content TEXT NOT NULL,
  at BIGINT NOT NULL,
  uid TEXT NOT NULL,
  reader TEXT,
  parent TEXT
);
CREATE INDEX messages_task ON messages (scope, task_id);
CREATE UNIQUE INDEX messages_uid ON messages (scope, uid);
CREATE INDEX messages_parent ON messages (scope, parent) WHERE parent IS NOT NULL;

-- No foreign key: the history of a deleted task stays.
CREATE TABLE events (
  cursor BIGSERIAL PRIMARY KEY,
  scope TEXT NOT NULL,
  task_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  at BIGINT NOT NULL,
  by TEXT,
  version BIGINT NOT NULL,
  details TEXT NOT NULL
);
CREATE INDEX events_scope ON events (scope, cursor);
CREATE UNIQUE INDEX events_task ON events (scope, task_id, version, cursor);

CREATE TABLE idempotency (
  scope TEXT NOT NULL,
  key TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  task_id TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (scope, key)
);


CREATE TABLE records (
  seq BIGSERIAL PRIMARY KEY,
  place TEXT NOT NULL,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  body TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  UNIQUE (place, kind, id)
);
CREATE INDEX records_kind ON records (kind, id);

CREATE TABLE counters (
  place TEXT NOT NULL,
  kind TEXT NOT NULL,
  n BIGINT NOT NULL,
  PRIMARY KEY (place, kind)
);

-- The whole schema for PostgreSQL; the same tables and columns as in SQLite.
-- Texts are ordered by their bytes, whatever the database was made with.

CREATE TABLE tasks (
  seq BIGSERIAL PRIMARY KEY,
  scope TEXT COLLATE "C" NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  title TEXT COLLATE "C" NOT NULL,
  content TEXT COLLATE "C" NOT NULL,
  body_revision BIGINT NOT NULL,
  queue TEXT COLLATE "C" NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  priority TEXT COLLATE "C" NOT NULL CHECK (priority IN ('P0', 'P1', 'P2', 'P3')),
  complexity TEXT COLLATE "C",
  role TEXT COLLATE "C" NOT NULL,
  branch TEXT COLLATE "C" NOT NULL,
  flow TEXT COLLATE "C" NOT NULL,
  project_id TEXT COLLATE "C",
  checks TEXT COLLATE "C" NOT NULL,
  paths TEXT COLLATE "C" NOT NULL,
  created_by TEXT COLLATE "C",
  awaiting TEXT COLLATE "C",
  open_blockers BIGINT NOT NULL CHECK (open_blockers >= 0),
  claimed_by TEXT COLLATE "C",
  orchestrator_id TEXT COLLATE "C",
  claim_kind TEXT COLLATE "C",
  claimed_from TEXT COLLATE "C",
  claimed_at BIGINT,
  lease_expires_at BIGINT,
  claim_token TEXT COLLATE "C",
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
  base_sha TEXT COLLATE "C",
  head_sha TEXT COLLATE "C",
  merged_sha TEXT COLLATE "C",
  pr_number BIGINT,
  pr_url TEXT COLLATE "C",
  hold TEXT COLLATE "C",
  not_before BIGINT,
  attention TEXT COLLATE "C",
  execution_notes TEXT COLLATE "C",
  submitted_at BIGINT,
  completed_at BIGINT,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  external BIGINT NOT NULL DEFAULT 0,
  annotations TEXT COLLATE "C" NOT NULL DEFAULT '{}',
  type TEXT COLLATE "C",
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
  scope TEXT COLLATE "C" NOT NULL,
  task_id TEXT COLLATE "C" NOT NULL,
  blocker_id TEXT COLLATE "C" NOT NULL,
  position BIGINT NOT NULL,
  PRIMARY KEY (scope, task_id, blocker_id),
  CHECK (task_id <> blocker_id),
  FOREIGN KEY (scope, task_id) REFERENCES tasks (scope, id) ON DELETE CASCADE,
  FOREIGN KEY (scope, blocker_id) REFERENCES tasks (scope, id)
);
CREATE INDEX blockers_reverse ON blockers (scope, blocker_id);

CREATE TABLE attempts (
  scope TEXT COLLATE "C" NOT NULL,
  task_id TEXT COLLATE "C" NOT NULL,
  number BIGINT NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  role TEXT COLLATE "C" NOT NULL,
  agent TEXT COLLATE "C" NOT NULL,
  orchestrator_id TEXT COLLATE "C" NOT NULL,
  epoch BIGINT NOT NULL,
  token TEXT COLLATE "C" NOT NULL,
  claimed_from TEXT COLLATE "C" NOT NULL,
  body_revision BIGINT NOT NULL,
  base_sha TEXT COLLATE "C",
  started_at BIGINT NOT NULL,
  ended_at BIGINT,
  outcome TEXT COLLATE "C",
  failure TEXT COLLATE "C",
  reason TEXT COLLATE "C",
  evidence TEXT COLLATE "C" NOT NULL,
  usage TEXT COLLATE "C" NOT NULL,
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
  scope TEXT COLLATE "C" NOT NULL,
  task_id TEXT COLLATE "C" NOT NULL,
  queue TEXT COLLATE "C" NOT NULL,
  by TEXT COLLATE "C" NOT NULL,
  condition TEXT COLLATE "C",
  sha TEXT COLLATE "C" NOT NULL,
  verdict TEXT COLLATE "C" NOT NULL CHECK (verdict IN ('approve', 'reject')),
  reason TEXT COLLATE "C" NOT NULL,
  at BIGINT NOT NULL,
  FOREIGN KEY (scope, task_id) REFERENCES tasks (scope, id) ON DELETE CASCADE
);
CREATE INDEX reviews_task ON reviews (scope, task_id);

CREATE TABLE messages (
  id BIGSERIAL PRIMARY KEY,
  scope TEXT COLLATE "C" NOT NULL,
  task_id TEXT COLLATE "C" NOT NULL,
  author TEXT COLLATE "C" NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  content TEXT COLLATE "C" NOT NULL,
  at BIGINT NOT NULL,
  uid TEXT COLLATE "C" NOT NULL,
  reader TEXT COLLATE "C",
  parent TEXT COLLATE "C"
);
CREATE INDEX messages_task ON messages (scope, task_id);
CREATE UNIQUE INDEX messages_uid ON messages (scope, uid);
CREATE INDEX messages_parent ON messages (scope, parent) WHERE parent IS NOT NULL;

-- No foreign key: the history of a deleted task stays.
CREATE TABLE events (
  cursor BIGSERIAL PRIMARY KEY,
  scope TEXT COLLATE "C" NOT NULL,
  task_id TEXT COLLATE "C" NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  at BIGINT NOT NULL,
  by TEXT COLLATE "C",
  version BIGINT NOT NULL,
  details TEXT COLLATE "C" NOT NULL
);
CREATE INDEX events_scope ON events (scope, cursor);
CREATE UNIQUE INDEX events_task ON events (scope, task_id, version, cursor);

CREATE TABLE idempotency (
  scope TEXT COLLATE "C" NOT NULL,
  key TEXT COLLATE "C" NOT NULL,
  fingerprint TEXT COLLATE "C" NOT NULL,
  task_id TEXT COLLATE "C" NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (scope, key)
);


CREATE TABLE records (
  seq BIGSERIAL PRIMARY KEY,
  place TEXT COLLATE "C" NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  UNIQUE (place, kind, id)
);
CREATE INDEX records_kind ON records (kind, id);

CREATE TABLE counters (
  place TEXT COLLATE "C" NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  n BIGINT NOT NULL,
  PRIMARY KEY (place, kind)
);

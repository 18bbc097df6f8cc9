-- How many tasks each queue holds, so that counting a million of them does not mean reading a million rows.
CREATE TABLE queue_counts (
  scope TEXT NOT NULL,
  queue TEXT NOT NULL,
  n INTEGER NOT NULL,
  PRIMARY KEY (scope, queue)
) WITHOUT ROWID;
INSERT INTO queue_counts SELECT scope, queue, count(*) FROM tasks GROUP BY scope, queue;

CREATE TRIGGER tasks_count_in AFTER INSERT ON tasks BEGIN
  INSERT INTO queue_counts VALUES (new.scope, new.queue, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER tasks_count_out AFTER DELETE ON tasks BEGIN
  UPDATE queue_counts SET n = n - 1 WHERE scope = old.scope AND queue = old.queue;
END;
CREATE TRIGGER tasks_count_over AFTER UPDATE OF scope, queue ON tasks
  WHEN old.queue <> new.queue OR old.scope <> new.scope BEGIN
  UPDATE queue_counts SET n = n - 1 WHERE scope = old.scope AND queue = old.queue;
  INSERT INTO queue_counts VALUES (new.scope, new.queue, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;

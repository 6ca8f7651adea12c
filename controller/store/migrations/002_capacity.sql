-- Capacity: how slots are shared, how fast runs start, and when a run may be tried again.

ALTER TABLE platform ADD COLUMN start_rate jsonb;

ALTER TABLE tenants
  ADD COLUMN when_full  text NOT NULL DEFAULT 'reject' CHECK (when_full IN ('reject', 'wait')),
  ADD COLUMN weight     integer NOT NULL DEFAULT 1 CHECK (weight > 0),
  ADD COLUMN priority   text NOT NULL DEFAULT 'normal' CHECK (priority IN ('high', 'normal', 'low')),
  ADD COLUMN start_rate jsonb,
  -- Set by an operator at runtime, and by nothing that is declared.
  ADD COLUMN paused_at  timestamptz;

ALTER TABLE workflow_runs
  -- A QUEUED run is not started before; null: at once.
  ADD COLUMN due_at      timestamptz,
  -- The W3C trace context that it was submitted with.
  ADD COLUMN traceparent text;

-- Starts of the last minutes: a new leader goes on counting them.
CREATE INDEX run_attempts_recent ON run_attempts (created_at);
-- In the order in which they are started. By `id` alone the planner may walk the primary key through all that have ended.
DROP INDEX workflow_runs_queued;
CREATE INDEX workflow_runs_queued ON workflow_runs (tenant_id, queued_at, id) WHERE status = 'QUEUED';

-- Runs whose next attempt has to wait.
CREATE INDEX workflow_runs_postponed ON workflow_runs (tenant_id, due_at) WHERE status = 'QUEUED' AND due_at IS NOT NULL;

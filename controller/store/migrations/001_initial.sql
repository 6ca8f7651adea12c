-- The record: tenants, workflow versions, connections, runs, attempts, steps, logs.

CREATE TABLE platform (
  singleton      boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  max_concurrent integer NOT NULL DEFAULT 50 CHECK (max_concurrent > 0)
);
INSERT INTO platform DEFAULT VALUES;

CREATE TABLE tenants (
  tenant_id      text PRIMARY KEY,
  max_concurrent integer NOT NULL CHECK (max_concurrent > 0),
  max_queued     integer NOT NULL CHECK (max_queued >= 0),
  max_timeout_ms integer NOT NULL CHECK (max_timeout_ms > 0),
  limits         jsonb NOT NULL,
  egress         jsonb NOT NULL,
  created_at     timestamptz NOT NULL DEFAULT now(),
  updated_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE workflow_versions (
  id         uuid PRIMARY KEY,
  tenant_id  text NOT NULL REFERENCES tenants,
  name       text NOT NULL,
  version    integer NOT NULL,
  definition jsonb NOT NULL,
  digest     bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (tenant_id, name, version),
  UNIQUE (tenant_id, digest)
);

CREATE TABLE connections (
  tenant_id  text NOT NULL REFERENCES tenants,
  key        text NOT NULL,
  kind       text NOT NULL CHECK (kind IN ('API_KEY', 'BASIC', 'OAUTH2', 'CUSTOM_HEADER')),
  sealed     bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, key)
);

CREATE TABLE workflow_runs (
  id                  uuid PRIMARY KEY,
  tenant_id           text NOT NULL REFERENCES tenants,
  -- No foreign key: a run of an unknown version is recorded too, as FAILED with WORKFLOW_NOT_FOUND.
  workflow_version_id uuid NOT NULL,
  status              text NOT NULL DEFAULT 'QUEUED'
    CHECK (status IN ('QUEUED', 'STARTING', 'RUNNING', 'SUCCESS', 'FAILED', 'TIMEOUT', 'CANCELED')),
  reason              text,
  message             text,
  input               jsonb NOT NULL,
  output              jsonb,
  error               jsonb,
  attempt             integer NOT NULL DEFAULT 0,
  idempotency_key     text,
  request_digest      bytea NOT NULL,
  rerun_of            uuid,
  timeout_ms          integer NOT NULL,
  limits              jsonb NOT NULL,
  retry_after_claim   boolean NOT NULL DEFAULT false,
  queued_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
  starting_at         timestamptz,
  running_at          timestamptz,
  finished_at         timestamptz,
  deadline_at         timestamptz,
  cancel_requested_at timestamptz,
  UNIQUE (tenant_id, idempotency_key),
  -- Every terminal status has its reason, and SUCCESS has none.
  CHECK (CASE WHEN status IN ('FAILED', 'TIMEOUT', 'CANCELED') THEN reason IS NOT NULL ELSE reason IS NULL END),
  CHECK ((status IN ('SUCCESS', 'FAILED', 'TIMEOUT', 'CANCELED')) = (finished_at IS NOT NULL))
);
CREATE INDEX workflow_runs_slots ON workflow_runs (tenant_id) WHERE status IN ('STARTING', 'RUNNING');
CREATE INDEX workflow_runs_queued ON workflow_runs (tenant_id, id) WHERE status = 'QUEUED';
CREATE INDEX workflow_runs_recent ON workflow_runs (tenant_id, id DESC);

CREATE TABLE run_attempts (
  run_id            uuid NOT NULL REFERENCES workflow_runs ON DELETE CASCADE,
  number            integer NOT NULL CHECK (number > 0),
  backend           text NOT NULL,
  container_id      text,
  -- Null: claimed by a pod's own identity only.
  claim_token_hash  bytea,
  report_token_hash bytea,
  report_sequence   integer NOT NULL DEFAULT 0,
  -- What its runner sent, of which the first LIMITS.logBytesPerRun were kept.
  log_bytes         bigint NOT NULL DEFAULT 0,
  created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  claimed_at        timestamptz,
  -- The uid of the pod that claimed it.
  claimed_by        text,
  -- Why we ended the container, written before we do; the first cause stays.
  stop_cause        text CHECK (stop_cause IN ('CANCELED', 'DEADLINE_EXCEEDED', 'CLAIM_TIMEOUT')),
  -- The runner's last word.
  result            jsonb,
  result_at         timestamptz,
  ended_at          timestamptz,
  exit_code         integer,
  oom_killed        boolean,
  reason            text,
  message           text,
  PRIMARY KEY (run_id, number),
  CHECK ((claimed_by IS NOT NULL) = (claimed_at IS NOT NULL AND claim_token_hash IS NULL))
);

CREATE TABLE step_runs (
  run_id      uuid NOT NULL,
  attempt     integer NOT NULL,
  step_key    text NOT NULL,
  position    integer NOT NULL,
  status      text NOT NULL CHECK (status IN ('RUNNING', 'SUCCESS', 'FAILED', 'SKIPPED', 'TIMEOUT', 'CANCELED')),
  tries       integer NOT NULL DEFAULT 0,
  output      jsonb,
  error       jsonb,
  started_at  timestamptz,
  finished_at timestamptz,
  PRIMARY KEY (run_id, attempt, step_key),
  FOREIGN KEY (run_id, attempt) REFERENCES run_attempts ON DELETE CASCADE
);

CREATE TABLE execution_logs (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  timestamp timestamptz NOT NULL,
  tenant_id text NOT NULL,
  run_id    uuid NOT NULL,
  attempt   integer NOT NULL,
  source    text NOT NULL CHECK (source IN ('runner', 'egress', 'platform')),
  sequence  bigint NOT NULL,
  step_key  text,
  level     text NOT NULL CHECK (level IN ('DEBUG', 'INFO', 'WARN', 'ERROR')),
  message   text NOT NULL,
  fields    jsonb,
  UNIQUE (run_id, attempt, source, sequence)
);
CREATE INDEX execution_logs_timestamp ON execution_logs (timestamp);

-- What changed about a run, for everybody who waits for it: never a payload.
CREATE FUNCTION notify_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('wormhole_runs', json_build_object(
    'runId', NEW.id, 'tenantId', NEW.tenant_id, 'attempt', NEW.attempt, 'status', NEW.status,
    'cancelRequested', NEW.cancel_requested_at IS NOT NULL)::text);
  RETURN NULL;
END $$;
CREATE TRIGGER notify_run_created AFTER INSERT ON workflow_runs FOR EACH ROW EXECUTE FUNCTION notify_run();
CREATE TRIGGER notify_run_changed AFTER UPDATE OF status, cancel_requested_at ON workflow_runs
  FOR EACH ROW EXECUTE FUNCTION notify_run();

CREATE FUNCTION notify_result() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('wormhole_results', json_build_object('runId', NEW.run_id, 'attempt', NEW.number)::text);
  RETURN NULL;
END $$;
CREATE TRIGGER notify_result AFTER UPDATE OF result_at ON run_attempts
  FOR EACH ROW WHEN (OLD.result_at IS NULL AND NEW.result_at IS NOT NULL) EXECUTE FUNCTION notify_result();

-- A tenant's limits, or the platform's, changed: controllers read them again.
CREATE FUNCTION notify_limits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('wormhole_limits', '');
  RETURN NULL;
END $$;
CREATE TRIGGER notify_tenants AFTER INSERT OR UPDATE ON tenants FOR EACH STATEMENT EXECUTE FUNCTION notify_limits();
CREATE TRIGGER notify_platform AFTER UPDATE ON platform FOR EACH STATEMENT EXECUTE FUNCTION notify_limits();

-- How many more runs a tenant may queue before they are counted again: never more than there is room for, because runs
-- that leave the queue are only seen by the next count. Several rows for each tenant, so that its submitters seldom wait
-- for each other.
CREATE TABLE queue_room (
  tenant_id     text NOT NULL REFERENCES tenants,
  shard         smallint NOT NULL,
  room          integer NOT NULL DEFAULT 0 CHECK (room >= 0),
  -- The limit that the room was counted for; another one voids it.
  max_queued    integer NOT NULL DEFAULT 0,
  -- A full queue is not counted again before.
  next_count_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, shard)
) WITH (fillfactor = 50);

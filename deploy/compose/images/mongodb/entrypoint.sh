#!/bin/sh
# Makes the user at the first start, and becomes the server.
set -eu
FERRETDB_SETUP_USERNAME="$MONGO_INITDB_ROOT_USERNAME"
FERRETDB_SETUP_PASSWORD="$(cat "$MONGO_INITDB_ROOT_PASSWORD_FILE")"
export FERRETDB_SETUP_USERNAME FERRETDB_SETUP_PASSWORD
exec ferretdb --handler=sqlite --sqlite-url=file:/data/db/ --state-dir=/data/db --listen-addr=:27017 --debug-addr=- \
  --log-level=warn --telemetry=disable --test-enable-new-auth --setup-database=admin

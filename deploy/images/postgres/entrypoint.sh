#!/bin/sh
# Makes the cluster at the first start, as the official image does: POSTGRES_USER, POSTGRES_PASSWORD (needed),
# POSTGRES_DB; then becomes the server. Words given to the container are the server's.
set -eu
: "${POSTGRES_PASSWORD:?is needed: there is no server without a password}"
user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  secret=$(mktemp)
  printf '%s\n' "$POSTGRES_PASSWORD" >"$secret"
  initdb --pgdata "$PGDATA" --username "$user" --pwfile "$secret" --auth scram-sha-256 \
    --encoding UTF8 --locale-provider builtin --locale C.UTF-8
  rm "$secret"
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  if [ "$database" != postgres ]; then
    printf 'CREATE DATABASE "%s"\n' "$database" | postgres --single -D "$PGDATA" postgres
  fi
fi
unset POSTGRES_PASSWORD
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"

#!/bin/sh
# Create Temporal's two databases or bring their tables up to date; safe to run again.
# The connection comes from the SQL_* variables.
set -eu

prepare() {
    export SQL_DATABASE="$1"
    temporal-sql-tool create
    temporal-sql-tool setup-schema -v 0.0
    temporal-sql-tool update-schema -d "/etc/temporal/schema/postgresql/v12/$2/versioned"
}

prepare temporal temporal
prepare temporal_visibility visibility

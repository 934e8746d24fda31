#!/bin/sh
# scripts/upload_csv.sh rows.csv [--wait]
exec "$(dirname "$0")/ogiri" upload "$@"

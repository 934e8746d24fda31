#!/bin/sh
# scripts/forget.sh --url https://example.com/cat.jpg [--line TEXT] [--yes]
exec "$(dirname "$0")/ogiri" forget "$@"

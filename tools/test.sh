#!/usr/bin/env bash
# Installs what is missing, then checks everything: format, lint, types, documentation, tests. See --help.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
# Asking for help installs nothing.
case "${1:-}" in -h | --help) exec python3 "$root/tools/run_checks.py" --help ;; esac
prepare_environment images
cd "$root"
exec "$python" tools/run_checks.py "$@"

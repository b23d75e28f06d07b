#!/usr/bin/env bash
# Installs what is missing, then shows Nodepool at work on real parts on this machine. See --help.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
case " $* " in
    # These need nothing but Python, so they install nothing.
    *" -h "* | *" --help "* | *" --status "* | *" --stop "* | *" --clean "*)
        python=$(find_python) || fail "Python 3.11 or newer is needed; there is none in PATH"
        ;;
    *) prepare_environment ;;
esac
PYTHONPATH=$root exec "$python" -m tools.quickstart "$@"

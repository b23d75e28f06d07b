#!/usr/bin/env bash
# Installs what is missing, then shows Nodepool at work on real parts on this machine. See --help.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
any_python=$python
[ -x "$python" ] || any_python=$(find_python) || fail "Python 3.11 or newer is needed; there is none in PATH"
case " $* " in
    # These need nothing but Python and what is installed already, so they install nothing.
    *" -h "* | *" --help "* | *" --status "* | *" --stop "* | *" --clean "*) python=$any_python ;;
    *)
        trap 'say "Interrupted: start it again, and it goes on" >&2; exit 130' INT TERM HUP
        what=$(PYTHONPATH=$root "$any_python" -P -m tools.quickstart.conditions "$@") || exit
        prepare_environment "$what"
        export QUICKSTART_PREPARED=$SECONDS
        ;;
esac
# Not what is called tools in the current directory (-P).
PYTHONPATH=$root exec "$python" -P -m tools.quickstart "$@"

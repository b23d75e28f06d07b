#!/usr/bin/env bash
# Installs what is missing, then shows Nodepool at work on real parts on this machine. See --help.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
kind=qemu
previous=
for word in "$@"; do
    case "$previous$word" in
        --kind=*) kind=${word#--kind=} ;;
        --kind*) kind=$word ;;
    esac
    previous=
    [ "$word" != --kind ] || previous=--kind
done
case " $* " in
    # These need nothing but Python and what is installed already, so they install nothing.
    *" -h "* | *" --help "* | *" --status "* | *" --stop "* | *" --clean "*)
        [ -x "$python" ] || python=$(find_python) || fail "Python 3.11 or newer is needed; there is none in PATH"
        ;;
    *) prepare_environment "$kind" ;;
esac
PYTHONPATH=$root exec "$python" -m tools.quickstart "$@"

#!/bin/sh
# Runs test programs and adds up their lines "name: N passed, M failed, K skipped".
# Usage: tools/run_tests.sh PROGRAM...
# Environment: RUNNER in front of each program (valgrind, an emulator; scripts put it in front of
# what they run themselves), TEST_JOBS at once (1), TEST_TIMEOUT seconds for each (600).
# Exit 1 when anything failed.
set -u

# Runs one program; its counts go to $dir/NAME.counts, its output to stdout in one piece.
run_one()
{
    program=$1
    name=${program##*/}
    log=$dir/$name.log
    runner=${RUNNER:-}
    [ "$(head -c 2 "$program")" = '#!' ] && runner=
    limit=
    command -v timeout >/dev/null 2>&1 && limit="timeout ${TEST_TIMEOUT:-600}"
    $limit $runner "$program" >"$log" 2>&1 </dev/null
    code=$?
    counts=$(sed -n "s/^$name: \([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped\$/\1 \2 \3/p" \
        "$log" | tail -n 1)
    # The word list "passed failed skipped"; a crash before the last line is one failure.
    set -- ${counts:-0 1 0}
    if [ -z "$counts" ]; then
        echo "  FAILED $name: it ended with code $code before its last line" >>"$log"
        [ $code -eq 124 ] && echo "  (that is the limit of ${TEST_TIMEOUT:-600} s)" >>"$log"
    elif [ $code -ne 0 ] && [ "$2" -eq 0 ]; then
        echo "  FAILED $name: every test passed, but it ended with code $code" >>"$log"
        set -- "$1" 1 "$3"
    fi
    echo "$*" >"$dir/$name.counts"
    tail -n 60 "$log"
}

if [ "${1:-}" = --one ]; then
    dir=$2
    run_one "$3"
    exit 0
fi

[ $# -gt 0 ] || { echo "run_tests: there are no test programs" >&2; exit 1; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
printf '%s\n' "$@" | xargs -n 1 -P "${TEST_JOBS:-1}" "$0" --one "$dir"

cat "$dir"/*.counts | awk '{ p += $1; f += $2; s += $3 }
    END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 || p == 0 }'

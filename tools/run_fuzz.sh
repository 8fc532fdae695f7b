#!/bin/sh
# Runs libFuzzer programs for FUZZ_SECONDS each, FUZZ_JOBS (1) at once. Seeds come from
# tests/corpus/NAME; what is found goes to build/fuzz/NAME and is kept for the next run.
# Usage: tools/run_fuzz.sh PROGRAM...     Environment: also FUZZ_FLAGS for libFuzzer.
set -u

fuzz_one()
{
    program=$1
    name=${program##*/fuzz_}
    work=build/fuzz/$name
    mkdir -p "$work/corpus"
    seeds=tests/corpus/$name
    [ -d "$seeds" ] || seeds=
    if "$program" -max_total_time="${FUZZ_SECONDS:-60}" ${FUZZ_FLAGS:-} -print_final_stats=1 \
        -artifact_prefix="$work/" "$work/corpus" $seeds >"$work/log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
        echo "fuzz_$name: no finding in $runs runs"
        echo "1 0" >"$work/counts"
    else
        grep -v '^#' "$work/log" | tail -n 60
        echo "  FAILED fuzz_$name: see $work/log; the input is beside it"
        echo "0 1" >"$work/counts"
    fi
}

if [ "${1:-}" = --one ]; then
    fuzz_one "$2"
    exit 0
fi

[ $# -gt 0 ] || { echo "run_fuzz: there are no fuzz programs"; exit 0; }
rm -f build/fuzz/*/counts
printf '%s\n' "$@" | xargs -n 1 -P "${FUZZ_JOBS:-1}" "$0" --one
cat build/fuzz/*/counts | awk '{ p += $1; f += $2 }
    END { printf "%d passed, %d failed\n", p, f; exit f > 0 || p == 0 }'

#!/usr/bin/env bash
# Proves with nm what the compiled header brings into a program: no writable global, no exported
# name but interp_*, and from outside only names on the list tools/allowed_symbols.txt; with
# INTERP_NO_STDIO, _MALLOC, _THREADS none of the names those switch off; and limits the size of a
# program that loads and infers. CC=gcc.
# Usage: tools/check_symbols.sh [--sizes]   --sizes: only a table of what each INTERP_NO_* switch saves
set -u
export LC_ALL=C
cc=${CC:-gcc}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0
SMALL_PROGRAM_LIMIT=300000

fail()
{
    echo "check_symbols: $*" >&2
    bad=1
}

# compile NAME FLAGS...: NAME.o from the header alone.
compile()
{
    local name=$1
    shift
    printf '#define INTERP_IMPLEMENTATION\n#include "interp.h"\n' >"$work/$name.c"
    "$cc" -I. "$@" -c "$work/$name.c" -o "$work/$name.o" >"$work/$name.log" 2>&1 && return
    fail "the header does not compile with: $*"
    head -n 5 "$work/$name.log" >&2
    return 1
}

undefined()
{
    nm -u "$work/$1.o" | awk '{ print $NF }' | sort -u
}

# Symbols in sections that can be written to; constant tables of pointers are in .data.rel.ro.
check_globals()
{
    objdump -t "$work/$1.o" | awk -v build="$2" '
        NF > 3 {
            section = $(NF - 2)
            if ($NF != section && section ~ /^(\.t?data|\.t?bss|\*COM\*|\.sdata|\.sbss)/ &&
                section !~ /^\.data\.rel\.ro/) {
                print "check_symbols: " build ": writable global " $NF " in " section
                found = 1
            }
        }
        END { exit found }' || bad=1
}

check_exports()
{
    local name
    while read -r name; do
        fail "$name is exported, but only interp_ names may be: declare it ITP_FN"
    done < <(nm -g --defined-only "$work/$1.o" | awk 'NF == 3 && $3 !~ /^interp_/ { print $3 }')
}

check_undefined()
{
    local names
    names=$(undefined "$1" | grep -vxFf <(sed 's/ *#.*//; /^$/d' tools/allowed_symbols.txt))
    [ -z "$names" ] || fail "used but not on tools/allowed_symbols.txt: ${names//$'\n'/ }" \
        "(add to the group it belongs to if every libc has it, else do without it)"
}

# check_absent NAME MACRO PATTERN: what MACRO switches off is not used.
check_absent()
{
    local name
    while read -r name; do
        fail "$name is used in spite of $2"
    done < <(undefined "$1" | grep -xE "$3")
}

bytes()
{
    size "$work/$1.o" | awk 'NR == 2 { print $1 + $2 }'
}

switches()
{
    grep -hE '^ *# *(if|ifdef|ifndef|elif)' src/*.c src/*/*.[ch] |
        grep -oE 'INTERP_NO_[A-Z0-9_]+' | sort -u
}

# What each switch saves, two compilations at a time.
sizes()
{
    local all='' name
    for name in $(switches); do
        all="$all -D$name"
        compile "$name" -Os "-D$name" &
        [ "$(jobs -r | wc -l)" -lt 2 ] || wait -n
    done
    # shellcheck disable=SC2086
    compile all_of_them -Os $all &
    compile small -Os
    wait
    printf '%-32s %9s %9s\n' 'code and constants at -Os, gcc' bytes saves
    for name in small $(switches) all_of_them; do
        [ -f "$work/$name.o" ] || bad=1
        printf '%-32s %9d %9d\n' "${name/small/everything}" "$(bytes "$name")" \
            $(($(bytes small) - $(bytes "$name")))
    done
}
[ "${1:-}" != --sizes ] || { sizes; exit $bad; }

# A program that loads a network of the usual ops and uses it, and nothing else, stays small.
compile_small_program()
{
    "$cc" -Os -I. -DINTERP_STATIC -DINTERP_NO_RARE_OPS tests/compile/infer.c \
        -o "$work/small_program" -lm -pthread 2>"$work/small_program.log" &&
        strip "$work/small_program"
}

compile full -O2 &
{ compile plain -O0 && compile_small_program; } &
wait -n
compile embedded -O2 -DINTERP_NO_STDIO -DINTERP_NO_MALLOC -DINTERP_NO_THREADS
wait
for name in full plain embedded; do
    [ -f "$work/$name.o" ] || exit 1
    check_globals $name $name
done
check_exports full
check_undefined full
check_absent embedded INTERP_NO_STDIO \
    'f?printf|puts|putchar|f(open|close|read|write|seek|tell|gets|puts|putc|getc|flush)64?|fseeko(64)?|ftello(64)?|rename|remove|unlink|stat(64)?|opendir|readdir(64)?|mkdir|std(in|out|err)'
check_absent embedded INTERP_NO_MALLOC 'malloc|calloc|realloc|free|aligned_alloc|posix_memalign'
check_absent embedded INTERP_NO_THREADS 'pthread_.*|sched_yield|sem_.*'

[ -x "$work/small_program" ] || { fail "the program that loads and infers does not compile"; exit 1; }
small_program=$(stat -c %s "$work/small_program")
[ "$small_program" -lt $SMALL_PROGRAM_LIMIT ] ||
    fail "a program that loads and infers has $small_program bytes: limit $SMALL_PROGRAM_LIMIT"

[ $bad = 0 ] && echo "exports only interp_*, no writable globals, $(undefined full | wc -l) names" \
    "from libc; $(bytes full) bytes at -O2, load and infer $small_program"
exit $bad

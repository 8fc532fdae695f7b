#!/usr/bin/env bash
# The compile matrix: interp.h without a warning under both compilers, as C11, C17 and C++17, at
# three levels, for 32 bits and for aarch64, with every INTERP_NO_* switch. Programs that link here
# are also run. Prints one line for each failing cell with its log, then a total.
# Usage: tools/check_compile.sh [-l] [PATTERN]   -l lists the cells; PATTERN picks among them.
# Environment: JOBS (2), FULL_MATRIX: not empty for the cells that rarely differ from others too.
set -u
export LC_ALL=C
COMPILE_LIMIT=5.7 # stb_images: what compiling a program that loads a model and infers may cost, gcc -O2
strict='-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wdouble-promotion -Werror -I.'
strict_c="$strict -Wstrict-prototypes"
pair='tests/compile/one.c tests/compile/two.c'
embedded='tests/compile/embedded.c'
# The 32-bit headers, without the package that would remove the cross compiler.
m32='-m32 -idirafter /usr/include/x86_64-linux-gnu'

switches()
{
    grep -hE '^ *# *(if|ifdef|ifndef|elif)' src/*.c src/*/*.[ch] |
        grep -oE 'INTERP_NO_[A-Z0-9_]+' | sort -u
}

# One cell a line: NAME, then the command line without "-o PROGRAM". Cells named *-run are run,
# *-link are only linked, others only compiled to nothing.
cells()
{
    local cc level switch all=
    for cc in gcc clang; do
        for level in ${FULL_MATRIX:+0 s 2}; do
            echo "$cc-c11-O$level-run $cc -std=c11 -O$level $strict_c $pair"
        done
        [ -z "${FULL_MATRIX:-}" ] ||
            echo "$cc-c++17-O2-run ${cc/gcc/g++} -std=c++17 -O2 $strict -x c++ $pair"
        echo "$cc-c17 $cc -std=c17 -fsyntax-only $strict_c $pair"
        [ -z "${FULL_MATRIX:-}" ] || echo "$cc-user-run $cc -O1 -Wall -Wextra -Werror -I. $pair"
        echo "$cc-embedded-c11-Os-run $cc -std=c11 -Os $strict_c $embedded"
        echo "$cc-static-c11-run $cc -std=c11 -O0 $strict_c -DINTERP_STATIC $pair"
    done
    if [ -z "${FULL_MATRIX:-}" ]; then
        echo "gcc-c11-O2-run gcc -std=c11 -O2 $strict_c $pair"
        echo "clang++-c++17-run clang++ -std=c++17 -O0 $strict -x c++ $pair"
        echo "aarch64-c11 aarch64-linux-gnu-gcc -std=c11 -fsyntax-only $strict_c $pair"
    else
        echo "aarch64-c11-O2-link aarch64-linux-gnu-gcc -std=c11 -O2 $strict_c $pair"
    fi
    [ -z "${FULL_MATRIX:-}" ] ||
        echo "clang++-embedded-run clang++ -std=c++17 -O0 $strict -x c++ $embedded"
    echo "g++-static-run g++ -std=c++17 -O0 $strict -DINTERP_STATIC -x c++ $pair"
    for switch in $(switches); do
        all="$all -D$switch"
        echo "gcc-$switch-run gcc -std=c11 -O0 $strict_c -D$switch $pair"
        [ -z "${FULL_MATRIX:-}" ] ||
            echo "clang++-$switch clang++ -std=c++17 -fsyntax-only $strict -D$switch -x c++ $pair"
    done
    echo "gcc-all-switches-O0-run gcc -std=c11 -O0 $strict_c $all $pair"
    echo "clang-all-switches-O0-run clang -std=c11 -O0 $strict_c $all $pair"
    echo "gcc-m32-c11-O0-run gcc $m32 -std=c11 -O0 $strict_c $pair"
    echo "gcc-m32-embedded-run gcc $m32 -std=c11 -O0 $strict_c $embedded"
    echo "g++-m32 g++ $m32 -std=c++17 -fsyntax-only $strict -x c++ $pair"
    echo "clang-m32 clang $m32 -std=c11 -fsyntax-only $strict_c $pair"
    echo "aarch64-embedded-link aarch64-linux-gnu-gcc -std=c11 -O0 $strict_c $embedded"
    echo "aarch64-c++17 aarch64-linux-gnu-g++ -std=c++17 -fsyntax-only $strict -x c++ $pair"
}

# Runs one cell; says so only when it fails.
run_cell()
{
    local name=$1 program="$work/$1" log="$work/$1.log"
    shift
    case $name in
    *-run) "$@" -o "$program" -lm -pthread >"$log" 2>&1 && "$program" >>"$log" 2>&1 ;;
    *-link) "$@" -o "$program" -lm -pthread >"$log" 2>&1 ;;
    *) "$@" >"$log" 2>&1 ;;
    esac
    local code=$?
    rm -f "$program"
    [ $code = 0 ] && return
    echo "FAILED $name (code $code): $*"
    head -n 8 "$log" | sed 's/^/    /'
    touch "$work/failed.$name"
}

if [ "${1:-}" = --cell ]; then
    work=$2
    shift 2
    run_cell "$@"
    exit 0
fi

[ "${1:-}" = -l ] && shift && { cells | grep -E -e "${1:-.}" | cut -d ' ' -f 1; exit; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cells | grep -E -e "${1:-.}" >"$work/cells"
xargs -r -L 1 -P "${JOBS:-2}" "$0" --cell "$work" <"$work/cells"
total=$(wc -l <"$work/cells")
failed=$(find "$work" -name 'failed.*' | wc -l)

# What compiling costs: the memory that gcc takes for all it reads, makes and turns over. In every run
# that is the same, where seconds of the same sources differ by a quarter. The limit is for a program that
# loads a model and infers.
compiling() # NAME ARGUMENT...: "SECONDS MEGABYTES" into $work/NAME.cost
{
    local name=$1
    shift
    gcc -O2 -ftime-report -I. -I/usr/include/stb "$@" -c -o "$work/$name.o" 2>&1 |
        awk '$1 == "TOTAL" && $NF ~ /M$/ { print $3, $NF + 0 }' >"$work/$name.cost"
}
printf '#define STB_IMAGE%s_IMPLEMENTATION\n#include <stb_image%s.h>\n' '' '' _WRITE _write >"$work/stb.c"
compiling stb "$work/stb.c" &
compiling core -DINTERP_STATIC tests/compile/infer.c
wait
cat "$work/stb.cost" "$work/core.cost" | awk -v limit=$COMPILE_LIMIT '
    { seconds[NR] = $1; size[NR] = $2 }
    END {
        if (NR < 2) { print "gcc gave no report"; exit 1 }
        cost = size[2] / size[1]
        printf "compiling with gcc -O2: %.2f times the memory of stb_image to load and infer with", cost
        printf " INTERP_STATIC (limit %g), %.1f s\n", limit, seconds[2]
        exit cost > limit
    }' || {
    echo "FAILED cost of compiling"
    failed=$((failed + 1))
}
echo "$((total + 1 - failed)) passed, $failed failed"
[ "$failed" = 0 ]

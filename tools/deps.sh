#!/bin/sh
# Installs what building the tool and the examples needs beyond a C compiler and make: the stb
# headers. Does nothing when they are there. With --flags prints the compiler flags that find them.
set -u

has_stb()
{
    [ -f "$1/stb_image.h" ] && [ -f "$1/stb_image_write.h" ]
}

# The folder of the headers: STB_DIR, else what pkg-config says, else the usual place.
find_stb()
{
    if [ -n "${STB_DIR:-}" ]; then
        has_stb "$STB_DIR" && echo "$STB_DIR"
        return
    fi
    for dir in $(pkg-config --cflags-only-I stb 2>/dev/null | sed 's/-I//g') /usr/include/stb; do
        has_stb "$dir" && echo "$dir" && return
    done
    return 1
}

say()
{
    echo "deps: $*" >&2
}

by_hand()
{
    say "stb_image.h and stb_image_write.h are missing: $1"
    say "install them (Debian and Ubuntu: libstb-dev; Fedora: stb-devel; Arch: stb)," \
        "or put the two files of https://github.com/nothings/stb into a folder" \
        "and give it: make STB_DIR=FOLDER"
    exit 1
}

dir=$(find_stb) && found=yes || found=no

if [ "${1:-}" = --flags ]; then
    [ $found = yes ] && echo "-isystem $dir" && exit 0
    say "the stb headers are missing: run 'make deps', or give their folder with STB_DIR="
    exit 1
fi

[ $found = yes ] && exit 0
[ -n "${STB_DIR:-}" ] && by_hand "STB_DIR=$STB_DIR does not hold them"

root=
if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null 2>&1; then root='sudo -n'; else root=false; fi
fi

# install WHAT COMMAND...: as root, showing the output only when it fails.
install()
{
    what=$1
    shift
    [ "$root" = false ] && by_hand "installing needs root, and there is no sudo"
    say "installing $what"
    log=$($root "$@" 2>&1) && return
    printf '%s\n' "$log" | tail -n 5 >&2
    return 1
}

if command -v apt-get >/dev/null 2>&1; then
    apt='env DEBIAN_FRONTEND=noninteractive apt-get -q -y'
    # A new machine has no package lists, and an old list may name what is gone.
    apt-cache show libstb-dev >/dev/null 2>&1 || install 'package lists' $apt update
    install libstb-dev $apt install --no-install-recommends libstb-dev ||
        { install 'package lists' $apt update &&
            install libstb-dev $apt install --no-install-recommends libstb-dev; }
elif command -v dnf >/dev/null 2>&1; then
    install stb-devel dnf -q -y install stb-devel
elif command -v pacman >/dev/null 2>&1; then
    install stb pacman -S --noconfirm --needed stb
elif command -v brew >/dev/null 2>&1; then
    root= # brew refuses to run as root
    install stb brew install stb
else
    by_hand "no package manager known here (apt-get, dnf, pacman, brew)"
fi || by_hand "the package could not be installed"

find_stb >/dev/null || by_hand "the package was installed, but they are not in /usr/include/stb"

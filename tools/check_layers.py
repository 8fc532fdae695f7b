#!/usr/bin/python3
"""Proves the direction of the layers: each room of src/ compiles and links with only the rooms it
may use. Parts and their order come from the spine src/interp.c.

Usage: tools/check_layers.py [SRC_DIR]        CC=gcc. Exit 1 when a room reaches too far.
"""
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

# What each room may use. Methods (attr, lca, mode) never call each other; view draws plain arrays.
MAY_USE = {
    'base': '',
    'simd': 'base',
    'math': 'base simd',
    'data': 'base',
    'net': 'base simd math data',
    'onnx': 'base simd math data net',
    'attr': 'base simd math data net',
    'lca': 'base simd math data net',
    'mode': 'base simd math data net',
    'embed': 'base simd math',
    'dynamics': 'base simd math',
    'view': 'base',
}

# The one call upwards: opening a context asks simd for the best kernels of this CPU.
KERNELS_OF_SIMD = 'extern const itp_kernels *itp_kernels_choose(const char *isa);\n'
ALLOWED_UPWARDS = {'itp_kernels_choose'}

# What gcc says of a name of ours that stands in a room left out.
UNKNOWN = re.compile(r"error: (?:implicit declaration of function|unknown type name) "
                     r"'((?:itp|interp)_\w+)'|error: '((?:itp|interp)_\w+)' undeclared", re.I)


def spine_parts(src):
    """Public headers and implementation parts in the spine's order."""
    text = open(os.path.join(src, 'interp.c')).read()
    public = text.index('#ifndef INTERP_H')
    implementation = text.index('#define ITP_IMPLEMENTED')
    include = re.compile(r'^#include "([^"]+)"', re.M)
    return include.findall(text[public:implementation]), include.findall(text[implementation:])


def room_of(part):
    return part.split('/')[0]


def has_code(src, part):
    path = os.path.join(src, part)
    return os.path.exists(path) and os.path.getsize(path) > 0


def translation_unit(rooms, headers, parts):
    lines = ['#define INTERP_IMPLEMENTATION\n']
    for part in headers + parts:
        if room_of(part) not in rooms:
            continue
        if part == 'base/open.c' and 'simd' not in rooms:
            lines.append(KERNELS_OF_SIMD)
        lines.append('#include "%s"\n' % part)
    return ''.join(lines)


def missing_names(src, room, headers, parts):
    """(names used but not there, other lines of errors)"""
    rooms = set(MAY_USE[room].split()) | {room}
    with tempfile.TemporaryDirectory() as work:
        unit, obj = os.path.join(work, 'unit.c'), os.path.join(work, 'unit.o')
        open(unit, 'w').write(translation_unit(rooms, headers, parts))
        compiler = os.environ.get('CC', 'gcc')
        run = subprocess.run(
            [compiler, '-O0', '-w', '-I' + src, '-DINTERP_SELF="interp.c"',
             '-Werror=implicit-function-declaration', '-c', unit, '-o', obj],
            capture_output=True, text=True, env=dict(os.environ, LC_ALL='C'))
        if run.returncode:
            names, others = set(), []
            for line in (x for x in run.stderr.splitlines() if 'error:' in x):
                match = UNKNOWN.search(line)
                if match:
                    names.add(match.group(1) or match.group(2))
                else:
                    others.append(line)
            return names, others or ([] if names else run.stderr.splitlines()[:3])
        listing = subprocess.run(['nm', '-u', obj], capture_output=True, text=True).stdout
        names = {line.split()[-1] for line in listing.splitlines()}
        return {n for n in names if re.match('(interp|itp)_', n)} - ALLOWED_UPWARDS, []


def home_of(src, name, parts):
    """The room that defines a name, for the message."""
    define = re.compile(r'^(?:#define\s+|(?:ITP_FN|ITP_INLINE|INTERP_API|typedef|struct)\b.*?)\b%s\b'
                        % re.escape(name), re.M)
    for part in parts:
        if has_code(src, part) and define.search(open(os.path.join(src, part)).read()):
            return room_of(part)
    return 'nowhere'


def main():
    src = sys.argv[1] if len(sys.argv) > 1 else 'src'
    headers, parts = spine_parts(src)
    headers = [p for p in headers if has_code(src, p)]
    parts = [p for p in parts if has_code(src, p)]
    bad = 0
    for room in sorted({room_of(p) for p in headers + parts} - set(MAY_USE)):
        print('%-9s not in the table of %s: add what it may use' % (room, sys.argv[0]))
        bad += 1
    rooms = [room for room in MAY_USE if any(room_of(p) == room for p in parts)]
    with ThreadPoolExecutor(2) as pool:  # the compilers run beside each other
        found = list(pool.map(lambda room: missing_names(src, room, headers, parts), rooms))
    for room, (names, errors) in zip(rooms, found):
        if not names and not errors:
            print('%-9s ok (uses %s)' % (room, MAY_USE[room] or 'nothing'))
            continue
        bad += 1
        told = ['%s (%s)' % (n, home_of(src, n, headers + parts)) for n in sorted(names)]
        print('%-9s may use %s, but reaches for: %s'
              % (room, MAY_USE[room] or 'nothing', ', '.join(told) or 'see below'))
        for line in errors[:5]:
            print('          ' + line)
    print('%d rooms reach too far or do not compile' % bad if bad else 'no room reaches too far')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())

#!/usr/bin/python3
"""Fails when the documentation in the public headers or the README has gone stale.

- every public function, struct, enum, type and macro has a comment directly above it
- every field of a struct named ..._desc states its default ("0: ...", "NULL: ...") or that it is
  "required"
- every test a header names ("Test: NAME", "Tests: NAME, NAME") is in tests/
- every ```c block of README.md stands word for word in an example

Usage: tools/check_docs.py [ROOT]       Exit 1 and FILE:LINE messages when something is missing.
"""
import glob
import os
import re
import sys

# "0: none", "NULL, 0: all", "channels 0: 1", "equal: ..."; or that there is none: "required",
# "needed but for ...", a range that leaves 0 out ("1..1000").
VALUE = r'(?:-?\d[\w.]*|NULL|false|true|zero|none|empty|equal|""|INTERP_\w+)'
DEFAULT = re.compile(r'(?:^|[;,(.] ?)(?:\w+ )?%s(?:(?:,| or) %s)*:|(?:^|; )(?:required|needed)\b'
                     r'|(?:^|; )[1-9]\d*\.\.' % (VALUE, VALUE))
TESTS = re.compile(r'\b[Tt]ests?:? ((?:[a-z0-9]+_[a-z0-9_]+)(?:(?:, | and )[a-z0-9]+_[a-z0-9_]+)*)')
COMMENT = re.compile(r'/\*.*?\*/', re.S)


class Report:
    def __init__(self):
        self.problems = []
        self.checked = 0

    def need(self, ok, path, line, text):
        self.checked += 1
        if not ok:
            self.problems.append('%s:%d: %s' % (path, line, text))


def line_of(text, at):
    return text.count('\n', 0, at) + 1


def words(comment):
    """The text of a comment on one line, without its frame."""
    return ' '.join(comment.strip()[2:-2].split()).strip('* ')


def blank_comments(text):
    """The same text with comments (and what they hold) as spaces, line breaks kept."""
    return COMMENT.sub(lambda m: re.sub(r'[^\n]', ' ', m.group()), text)


def has_comment_above(lines, index):
    """Whether a comment ends on the line above."""
    return index > 0 and lines[index - 1].rstrip().endswith('*/')


def block_has_comment(lines, index):
    """Whether a comment stands above the unbroken run of lines that this one belongs to."""
    while index > 0 and lines[index - 1].strip():
        index -= 1
        if lines[index].rstrip().endswith('*/'):
            return True
    return False


def check_names(path, text, report):
    lines, code = text.split('\n'), blank_comments(text).split('\n')
    undefined = set(re.findall(r'^#undef (\w+)', text, re.M))
    depth = 0
    for i, line in enumerate(code):
        if line.startswith('#'):
            macro = re.match(r'#define (INTERP_\w+)', line)
            if macro and macro.group(1) not in undefined:
                report.need(block_has_comment(lines, i), path, i + 1,
                            'macro %s has no comment above it' % macro.group(1))
            continue
        if depth == 0 and line.startswith('INTERP_API'):
            name = re.search(r'\b(interp_\w+)\(', ' '.join(code[i:i + 3]))
            report.need(has_comment_above(lines, i), path, i + 1,
                        '%s has no comment directly above it' % (name.group(1) if name else line))
        elif depth == 0 and re.match(r'(typedef|struct|enum|union)\b', line):
            name = re.search(r'\b(interp_\w+)', line)
            report.need(has_comment_above(lines, i), path, i + 1,
                        '%s has no comment directly above it' % (name.group(1) if name else line))
        if 'extern "C"' not in line and (depth or line.strip() != '}'):
            depth = max(0, depth + line.count('{') - line.count('}'))


def fields(body):
    """(offset, declaration, comments beside or above it) for each field of a struct body."""
    found, above = [], []
    for token in re.finditer(r'/\*.*?\*/|[^;/]+?;|\s+', body, re.S):
        piece = token.group()
        if piece.startswith('/*'):
            beside = found and '\n' not in body[found[-1][3]:token.start()]
            (found[-1][2] if beside else above).append(words(piece))
        elif piece.strip():
            start = token.start() + len(piece) - len(piece.lstrip())
            found.append([start, ' '.join(piece.split()), above, token.end()])
            above = []
    return found


def check_defaults(path, text, report):
    for struct in re.finditer(r'typedef struct (interp_(?:\w+_)?desc) \{(.*?)^\} \1;', text,
                              re.S | re.M):
        for at, declaration, comments, _ in fields(struct.group(2)):
            report.need(any(DEFAULT.search(c) for c in comments), path,
                        line_of(text, struct.start(2) + at),
                        '%s: "%s" states neither a default ("0: ...") nor "required"'
                        % (struct.group(1), declaration))


def check_tests(path, text, known, report):
    for comment in COMMENT.finditer(text):
        for match in TESTS.finditer(words(comment.group())):
            for name in re.split(r', | and ', match.group(1)):
                report.need(name in known, path, line_of(text, comment.start()),
                            'test %s is named here, but tests/ has none of that name' % name)


def dedented(lines):
    """Lines without their common indentation and trailing blanks."""
    inner = [len(l) - len(l.lstrip()) for l in lines if l.strip()]
    cut = min(inner) if inner else 0
    return [l[cut:].rstrip() for l in lines]


def check_readme(root, report):
    path = os.path.join(root, 'README.md')
    if not os.path.exists(path):
        return
    examples = [open(p).read().split('\n') for p in glob.glob(os.path.join(root, 'examples/*.c'))]
    text = open(path).read()
    for block in re.finditer(r'^```c\n(.*?)\n```$', text, re.S | re.M):
        want = dedented(block.group(1).split('\n'))
        n = len(want)
        found = any(dedented(e[i:i + n]) == want for e in examples for i in range(len(e) - n + 1))
        report.need(found, 'README.md', line_of(text, block.start()),
                    'this code block is in no example word for word')


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else '.'
    os.chdir(root)
    report = Report()
    known = set()
    for path in glob.glob('tests/*.c'):
        known |= set(re.findall(r'\bTEST\((\w+)\)', open(path).read()))
    for path in sorted(glob.glob('src/*/*.h')):
        text = open(path).read()
        check_names(path, text, report)
        check_defaults(path, text, report)
        check_tests(path, text, known, report)
    check_readme('.', report)
    for problem in report.problems:
        print(problem)
    print('%d of %d documented names, defaults, tests and code blocks hold'
          % (report.checked - len(report.problems), report.checked))
    return 1 if report.problems else 0


if __name__ == '__main__':
    sys.exit(main())

#!/usr/bin/env python3
"""Whole networks: interp.h beside PyTorch, ONNX Runtime and a loop by hand on OpenBLAS.

    bench_nets.py [--quick] [--only TEXT] [--threads N] [--isa NAME] [--csv FILE] [--worker PROGRAM]

Rows attr.METHOD are attributions, those of PyTorch by captum; rows lca the allocation of a step's loss
change, two gradients of all samples; those ending in .mnist take images of MNIST (DIR), most of whose
pixels are 0, all others made numbers. Each side is a process that stays; they take turns, a sample each, and
the medians are compared. All begin from the weights interp.h drew, and their first results are compared
before anything is timed. Where the operations of a step are counted, ours are given as a share of
what multiply-adds in registers reach.
How to install the rivals: bench/README.md.
"""
import argparse
import csv
import gzip
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS = [(net, task, batch)
        for net in ('resnet18', 'efficientnet-b0')
        for task, batch in (('forward', 1), ('saliency', 1), ('train', 8))]
ROWS += [('lenet5', 'train', 64), ('mlp:784-100-50-10', 'train', 64),
         ('mlp:784-100-50-10', 'train.mnist', 64), ('mlp:784-100-50-10', 'lca', 60000),
         ('mlp:784-100-50-10', 'lca.mnist', 60000)]
ROWS += [('resnet18', 'attr.' + method, 1)
         for method in ('saliency', 'integrated_gradients', 'deep_lift', 'guided_backprop',
                        'occlusion', 'feature_ablation', 'shapley_value_sampling', 'kernel_shap')]
# Each library draws other numbers for dropout, permutations and coalitions.
RANDOM = {('efficientnet-b0', 'train'), ('resnet18', 'attr.shapley_value_sampling'),
          ('resnet18', 'attr.kernel_shap')}
# What an environment may say that would hold a rival back.
LIMITS = {'OPENBLAS_CORETYPE', 'OPENBLAS_L2_SIZE', 'ONEDNN_MAX_CPU_ISA', 'DNNL_MAX_CPU_ISA',
          'ATEN_CPU_CAPABILITY'}
TOLERANCE = 2e-3  # of the largest result: float32 sums in another order through up to 80 layers


class Side:
    """A process that answers a line with a line."""

    def __init__(self, name, command, missing, **environment):
        self.name, self.missing, self.process = name, missing, None
        if not command[0]: return
        try:
            inherited = {name: os.environ[name] for name in os.environ if name not in LIMITS}
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            text=True, bufsize=1, env=dict(inherited, **environment))
            self.ask('nothing')  # whatever it says: it has started
        except (OSError, EOFError):
            self.process = None

    def ask(self, line):
        """The words of the answer; None when it was an error."""
        self.process.stdin.write(line + '\n')
        reply = self.process.stdout.readline()
        if not reply: raise EOFError(self.name + ' ended')
        words = reply.split()
        self.error = '' if words[0] != 'error' else ' '.join(words[1:])
        return None if self.error else words


def sides(options):
    """Ours, and all rivals whether they are there or not."""
    threads = str(options.threads)
    count = {'OMP_NUM_THREADS': threads, 'OPENBLAS_NUM_THREADS': threads}
    avx512 = options.isa in (None, 'avx512') and 'avx512bw' in open('/proc/cpuinfo').read()
    if avx512: count['OPENBLAS_CORETYPE'] = 'SkylakeX'
    if options.isa == 'avx2':
        count.update(OPENBLAS_CORETYPE='Haswell', ONEDNN_MAX_CPU_ISA='AVX2', DNNL_MAX_CPU_ISA='AVX2',
                     ATEN_CPU_CAPABILITY='avx2')
    ours = [options.worker, '--threads', threads] + (['--isa', options.isa] if options.isa else [])
    modules = os.environ.get('ORT_NODE_MODULES', os.path.join(HERE, 'node_modules'))
    node = shutil.which('node') if options.isa != 'avx2' else None
    return [
        Side('interp.h', ours, 'not built: run make bench'),
        Side('PyTorch', [options.python, os.path.join(HERE, 'worker_torch.py'), threads],
             'apt install python3-torch', **count),
        Side('ONNX Runtime', [node, os.path.join(HERE, 'worker_ort.js'), modules, threads],
             'cannot be held to AVX2' if options.isa == 'avx2' else
             'npm install --prefix bench onnxruntime-node'),
        Side('by hand', ours + ['--by-hand'], 'apt install libopenblas0-pthread', **count)]


def agree(ours, theirs):
    a, b = [[float(v) for v in words[1:]] for words in (ours, theirs)]
    most = max(map(abs, a))
    return len(a) == len(b) and max(abs(x - y) for x, y in zip(a, b)) <= TOLERANCE * most


def measure(row, present, rounds, folder):
    """Seconds of each side that can do this row, and our share of the peak."""
    net, task, batch = row
    made = not task.endswith('.mnist')
    question = 'prepare %s %s %d' % (net, task.removesuffix('.mnist'), batch)
    files = {'PyTorch': 'weights ' + os.path.join(folder, 'w.safetensors'),
             'ONNX Runtime': 'onnx ' + os.path.join(folder, 'net.onnx')}
    ours = present[0]
    images = 'images ' + ('-' if made else os.path.join(folder, 'images'))
    for side in present: side.ask(images)
    for line in ('prepare %s forward 1' % net, *files.values(), question):
        first = ours.ask(line)
        if not first: sys.exit('interp.h: ' + ours.error)
    able = [ours]
    for side in present[1:]:
        if side.name in files: side.ask(files[side.name])
        reply = side.ask(question)
        if not reply: continue
        able.append(side)
        if side.name != 'by hand' and row[:2] not in RANDOM and not agree(first, reply):
            print('DIFFERS: %s says %s, interp.h %s' % (side.name, reply[1:], first[1:]))
    seconds, shares = {side.name: [] for side in able}, []
    for r in range(rounds):
        for i in range(len(able)):
            side = able[(i + r) % len(able)]
            seconds[side.name].append(float(side.ask('run')[0]))
            if side is ours: shares.append(float(ours.ask('share')[0]))
    return seconds, statistics.median(shares)


def unpack(folder, path):
    """Pixels of the training images of MNIST; whether they are there."""
    name = os.path.join(folder, 'train-images-idx3-ubyte.gz')
    if not os.path.exists(name): return False
    with gzip.open(name) as f, open(path, 'wb') as out: out.write(f.read()[16:])
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--quick', action='store_true', help='3 rounds instead of 7')
    parser.add_argument('--only', default='', metavar='TEXT', help='rows whose name has this in it')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--isa', help='avx2 holds PyTorch to AVX2 as well')
    parser.add_argument('--csv', metavar='FILE')
    parser.add_argument('--data', metavar='DIR', help='MNIST',
                        default=os.path.join(HERE, '..', '..', 'shared', 'data', 'mnist'))
    parser.add_argument('--worker', default=os.path.join(HERE, '..', 'build', 'bench_nets'))
    parser.add_argument('--python', default='/usr/bin/python3', help='the one that has torch')
    options = parser.parse_args()
    all_sides = sides(options)
    if not all_sides[0].process: sys.exit('%s: %s' % (options.worker, all_sides[0].missing))
    for side in all_sides[1:]:
        if not side.process: print('%-12s missing: %s' % (side.name, side.missing))
    present = [side for side in all_sides if side.process]
    table = []
    print('\n%-30s %10s' % ('milliseconds, %d thread%s' % (options.threads, 's'[:options.threads > 1]),
                            'interp.h'), ''.join('%24s' % side.name for side in all_sides[1:]))
    with tempfile.TemporaryDirectory() as folder:
        there = unpack(options.data, os.path.join(folder, 'images'))
        for row in ROWS:
            name = '%s %s b%d' % row
            if options.only not in name: continue
            if row[1].endswith('.mnist') and not there:
                print('%-30s skipped: no MNIST at %s' % (name, options.data))
                continue
            seconds, share = measure(row, present, 3 if options.quick else 7, folder)
            ours = seconds['interp.h']
            line = '%-30s %10.3f ' % (name, 1e3 * statistics.median(ours))
            for side in all_sides[1:]:
                times = seconds.get(side.name)
                if not times:
                    line += '%24s' % '-'
                    continue
                ratios = [b / a for a, b in zip(ours, times)]
                ratio = statistics.median(ratios)
                line += '%10.3f %5.2fx +-%4.1f%%' % (1e3 * statistics.median(times), ratio,
                                                    50 * (max(ratios) - min(ratios)) / ratio)
                table.append((name, options.threads, side.name, statistics.median(ours),
                              statistics.median(times), ratio))
            print(line + (' %15.2f of the peak' % share if share > 0 else ''), flush=True)
    if options.csv:
        with open(options.csv, 'w', newline='') as f:
            out = csv.writer(f)
            out.writerow(('row', 'threads', 'rival', 'interp_seconds', 'rival_seconds', 'ratio'))
            out.writerows(table)


main()

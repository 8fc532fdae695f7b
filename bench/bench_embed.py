#!/usr/bin/python3
"""Neighbours and embeddings: interp.h beside FIt-SNE, umappp, its VP-tree, and umap-learn.

    bench_embed.py [--n 10000] [--only TEXT] [--rounds 3] [--threads 2] [--data DIR]

Images of MNIST (DIR; default ../shared/data/mnist) as their 50 principal components, from memory to
memory or as the rival's own program does it, neighbours included. Seconds of the processor on all
threads, the median of rounds that take turns. Each embedding is judged by the same measures; t-SNE's KL is
what each side says of its own neighbours. How to install the rivals: bench/README.md.
"""
import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
D = 50


class Side:
    """A process that answers a line with a line."""

    def __init__(self, command, **environment):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, bufsize=1,
                                        env=dict(os.environ, **environment))

    def ask(self, line):
        self.process.stdin.write(line + '\n')
        reply = self.process.stdout.readline().split()
        if not reply or reply[0] == 'error': raise RuntimeError(' '.join(reply) or 'it ended')
        return reply


def fit_sne(folder, rows, n, threads):
    """Runs its own program by its own wrapper; seconds, and what KL it reports at last."""
    import numpy as np
    sys.path.insert(0, os.environ['FITSNE'])
    from fast_tsne import fast_tsne
    x = np.fromfile(rows, np.float32).reshape(n, D).astype(float)

    def run(result):
        here, begin = os.getcwd(), resource.getrusage(resource.RUSAGE_CHILDREN)
        os.chdir(folder)
        said = os.dup(1)
        with open(os.devnull, 'w') as nothing: os.dup2(nothing.fileno(), 1)
        try:
            y, loss = fast_tsne(x, nthreads=threads, seed=1, return_loss=True)
        finally:
            os.dup2(said, 1)
            os.close(said)
            os.chdir(here)
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        y.astype(np.float32).tofile(result)
        return end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime, loss[-1]
    return run


def rivals(options, folder, rows):
    """name of ours -> [(rival, function of a result's path -> (seconds, KL or None))], and who is missing."""
    n, threads, found, missing = options.n, options.threads, {}, []

    def add(ours, name, run): found.setdefault(ours, []).append((name, run))
    if os.path.exists(os.path.join(os.environ.get('FITSNE', '/nowhere'), 'fast_tsne.py')):
        add('tsne', 'FIt-SNE', fit_sne(folder, rows, n, threads))
    else:
        missing.append('FIt-SNE: FITSNE= a checkout with bin/fast_tsne')
    program = os.path.join(HERE, '..', 'build', 'rival_umappp')
    if os.path.exists(program):
        def umappp(result): return float(subprocess.check_output(
            [program, rows, str(n), str(D), str(threads), result]).split()[0]), None
        add('umap', 'umappp', umappp)
        add('exact', 'VP-tree', lambda result: umappp('NEIGHBOURS'))
    else:
        missing.append('umappp: make build/rival_umappp UMAPPP=, see bench/README.md')
    if subprocess.run([options.python, '-c', 'import umap'], stderr=subprocess.DEVNULL).returncode == 0:
        count = str(threads)
        side = Side([options.python, os.path.join(HERE, 'worker_umap.py')], NUMBA_NUM_THREADS=count,
                    OMP_NUM_THREADS=count, OPENBLAS_NUM_THREADS=count)
        add('umap', 'umap-learn', lambda result: (
            float(side.ask('%s %d %d %s' % (rows, n, D, result))[0]), None))
    else:
        missing.append('umap-learn: apt install umap-learn')
    return found, missing


def show(name, seconds, ours, judged, detail):
    quality = '' if not judged else '  T %s  kept %s  1-NN %s  rank %s' % tuple(v[:6] for v in judged)
    ratio = statistics.median(b / a for a, b in zip(ours, seconds))
    print('%-12s %8.3f s  %6s%s%s' % (name, statistics.median(seconds),
                                      '' if seconds is ours else '%.2fx' % ratio, quality, detail))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--n', type=int, default=10000)
    parser.add_argument('--only', default='', help='exact, tree, descent, tsne or umap')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--data', default=os.path.join(HERE, '..', '..', 'shared', 'data', 'mnist'))
    parser.add_argument('--python', default='/usr/bin/python3', help='the one that has umap')
    options = parser.parse_args()
    if not os.path.isdir(options.data): sys.exit('skipped: no MNIST at ' + options.data)
    ours = Side([os.path.join(HERE, '..', 'build', 'bench_embed'), '--threads', str(options.threads)])
    with tempfile.TemporaryDirectory() as folder:
        rows, result = os.path.join(folder, 'rows'), os.path.join(folder, 'result')
        ours.ask('mnist %s %d %d %s' % (os.path.abspath(options.data), options.n, D, rows))
        found, missing = rivals(options, folder, rows)
        for line in missing: print('missing', line)
        print('%d x %d, %d threads, seconds of the processor; times as long as ours' %
              (options.n, D, options.threads))
        for what in ('exact', 'tree', 'descent', 'tsne', 'umap'):
            if options.only and what != options.only: continue
            seconds = {'interp.h': []}
            judged, detail = {}, {}
            for _ in range(options.rounds):
                reply = ours.ask('run ' + what)
                seconds['interp.h'].append(float(reply[0]))
                detail['interp.h'] = '  %s, %.0f MB' % (
                    {'tsne': 'KL '}.get(what, 'found ') + reply[3], float(reply[2]) / 1e6)
                if what in ('tsne', 'umap'): judged['interp.h'] = ours.ask('judge')
                for name, run in found.get(what, []):
                    taken, kl = run(result)
                    seconds.setdefault(name, []).append(taken)
                    detail[name] = '' if kl is None else '  KL %.5f' % kl
                    if what in ('tsne', 'umap'): judged[name] = ours.ask('judge ' + result)
            print(what)
            for name in seconds:
                show(name, seconds[name], seconds['interp.h'], judged.get(name), detail[name])


main()

#!/usr/bin/python3
"""The networks of bench_train.c in PyTorch (Debian: python3-torch), the two in turn, and their ratio.

    make bench && bench/bench_torch.py [ROUNDS]

Both use one thread and batch 64 with SGD. PyTorch's BLAS is OpenBLAS, which misjudges newer chips, so
it is run twice: as it comes, and with OPENBLAS_CORETYPE=SkylakeX where the CPU has AVX-512.
"""
import os
import re
import statistics
import subprocess
import sys

LOOP = r'''
import time, torch, torch.nn as nn
torch.set_num_threads(1)
x = torch.rand(64, 1, 28, 28); y = torch.arange(64) % 10
nets = {
 'mlp:784-100-50-10': (200, nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(),
     nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))),
 'lenet': (10, nn.Sequential(nn.Conv2d(1, 20, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
     nn.Conv2d(20, 40, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(.25),
     nn.Linear(1960, 400), nn.ReLU(), nn.Dropout(.5), nn.Linear(400, 10)))}
for name, (steps, net) in nets.items():
    opt = torch.optim.SGD(net.parameters(), lr=0.01); loss = nn.CrossEntropyLoss(); times = []
    for r in range(4):
        start = time.perf_counter()
        for _ in range(steps):
            opt.zero_grad(); loss(net(x), y).backward(); opt.step()
        if r: times.append((time.perf_counter() - start) / steps)
    print(name, 1e3 * sorted(times)[1])
'''


def ours():
    text = subprocess.run(['build/bench_train', '1', '3'], capture_output=True, text=True, check=True).stdout
    return {m[1]: float(m[2]) for m in re.finditer(r'^(\S+) .*median +([\d.]+) ms', text, re.M)}


def torch(core):
    env = dict(os.environ, OMP_NUM_THREADS='1')
    if core: env['OPENBLAS_CORETYPE'] = core
    text = subprocess.run(['/usr/bin/python3', '-c', LOOP], capture_output=True, text=True, env=env).stdout
    return {line.split()[0]: float(line.split()[1]) for line in text.splitlines()}


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    avx512 = 'avx512bw' in open('/proc/cpuinfo').read()
    runs = {'interp.h': ours, 'PyTorch': lambda: torch(None)}
    if avx512: runs['PyTorch, SkylakeX'] = lambda: torch('SkylakeX')
    seen = {k: {} for k in runs}
    for _ in range(rounds):                       # interleaved, so that drift hits all alike
        for who, run in runs.items():
            for net, ms in run().items(): seen[who].setdefault(net, []).append(ms)
    if not seen['PyTorch']: sys.exit('skipped: python3-torch is not installed')
    for net in seen['interp.h']:
        base = statistics.median(seen['interp.h'][net])
        print(net)
        for who in runs:
            t = seen[who][net]
            print('  %-18s median %8.3f ms (%.3f .. %.3f)  %9.0f samples/s  interp.h is %.2f times as fast'
                  % (who, statistics.median(t), min(t), max(t), 64e3 / statistics.median(t),
                     statistics.median(t) / base))


main()

#!/usr/bin/python3
"""Numbers of tests/test_mode.c by SciPy: distances, earth mover's distances, paired tests.

Usage: tools/golden/mode_scipy.py > FILE      prints the arrays that the test has in it.
"""
import itertools

import numpy as np
from scipy import optimize, stats
from scipy.spatial import distance

D = 12


def rows():
    """a, b and a with zeros where b has them: 0/0 in Canberra."""
    i = np.arange(D)
    a = (((i * 37 + 11) % 23) / 8).astype(np.float32)
    b = (((i * 53 + 5) % 19) / 8).astype(np.float32)
    c, d = a.copy(), b.copy()
    c[::3] = 0
    d[::3] = 0
    return [(a, b), (c, d), (a - np.float32(1), b - np.float32(1.25))]


def mover(a, b, height, width):
    """Linear programme of mass between all pairs of cells, distances along the axes."""
    n = height * width
    y, x = np.divmod(np.arange(n), width)
    cost = np.abs(y[:, None] - y[None]) + np.abs(x[:, None] - x[None])
    rows_, columns = np.zeros((n, n * n)), np.zeros((n, n * n))
    for k in range(n):
        rows_[k, k * n:(k + 1) * n] = 1
        columns[k, k::n] = 1
    result = optimize.linprog(cost.ravel(), A_eq=np.vstack([rows_, columns])[:-1],
                              b_eq=np.concatenate([a / a.sum(), b / b.sum()])[:-1], method='highs')
    return result.fun


def pairs(n, ties):
    i = np.arange(n)
    a = ((i * 29 + 3) % 31) / 10 + 0.4
    b = ((i * 17 + 9) % 31) / 10
    return (np.round(a), np.round(b)) if ties else (a + i * 1e-3, b)


def enumerated(d):
    """p of the signed ranks over all 2^n signs."""
    d = d[d != 0]
    rank = stats.rankdata(np.abs(d))
    low = min(rank[d > 0].sum(), rank[d < 0].sum())
    sums = [sum(r for r, s in zip(rank, signs) if s) for signs in itertools.product((0, 1), repeat=len(d))]
    return low, min(1, 2 * np.mean(np.array(sums) <= low + 1e-9))


def main():
    for a, b in rows():
        a, b = a.astype(np.float64), b.astype(np.float64)
        print('{%s},' % ', '.join('%.17g' % v for v in (
            a @ b, distance.cosine(a, b), distance.cityblock(a, b), distance.euclidean(a, b),
            distance.minkowski(a, b, 3), distance.chebyshev(a, b), stats.wasserstein_distance(a, b),
            distance.canberra(a, b), distance.braycurtis(a, b))))
    for height, width in ((3, 4), (5, 5)):
        i = np.arange(height * width)
        a, b = ((i * 37 + 11) % 23) / 8, ((i * 53 + 5) % 19) / 8
        print('mover %d %d %.17g' % (height, width, mover(a, b, height, width)))
    for n, ties in ((10, False), (10, True), (30, False), (80, True)):
        a, b = pairs(n, ties)
        d = a - b
        t = stats.ttest_rel(a, b)
        error = d.std(ddof=1) / np.sqrt(n)
        low, high = stats.t.interval(0.95, n - 1, d.mean(), error)
        if ties and n <= 20:
            w, p = enumerated(np.round(d, 9))
        else:
            r = stats.wilcoxon(np.round(d, 9), mode='approx' if n > 50 else 'exact')
            w, p = r.statistic, r.pvalue
        print('{%d, %d, %s},' % (n, ties, ', '.join('%.17g' % v for v in (
            d.mean(), d.std(ddof=1), low, high, t.statistic, t.pvalue, w, p))))
    print('student %.17g %.17g' % (2 * stats.t.sf(2.5, 3), 2 * stats.t.sf(0.1, 40)))


main()

"""umap-learn, for bench_embed.py: a line 'FILE N D RESULT' is answered by seconds of the processor, once it
has compiled itself in a first run that is not timed."""
import sys
import time

import numpy as np
import umap


def rows(path, n, d): return np.fromfile(path, np.float32, n * d).reshape(n, d)


def main():
    for line in sys.stdin:
        path, n, d, result = line.split()
        x = rows(path, int(n), int(d))
        if not getattr(main, 'warm', False): umap.UMAP(n_epochs=10).fit_transform(x[:5000])
        main.warm = True
        begin = time.process_time()
        y = umap.UMAP().fit_transform(x)
        seconds = time.process_time() - begin
        y.astype(np.float32).tofile(result)
        print('%.6f' % seconds, flush=True)


main()

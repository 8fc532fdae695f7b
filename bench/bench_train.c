/* Training steps of small networks, batch 64, as samples a second; tools of the trade for comparing
   with PyTorch are in bench_torch.py, which runs this program in turn with its own loops.

     build/bench_train [THREADS] [ROUNDS]

   Prints: name, threads, instruction set, median and best milliseconds a step, samples a second. */
#define INTERP_IMPLEMENTATION
#include "interp.h"

enum { BATCH = 64, PIXELS = 784 };

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Times `rounds` runs of a few steps each. */
static int run(int threads, const char *arch, int steps, int rounds)
{
    static float x[BATCH * PIXELS];
    static int32_t y[BATCH];
    double seconds[64];
    interp_desc desc;
    interp_train_desc how;
    interp_net *net;
    interp_trainer *trainer;
    const interp_shape image = {3, {1, 28, 28, 1, 1, 1, 1, 1}};
    memset(&desc, 0, sizeof desc);
    memset(&how, 0, sizeof how);
    desc.threads = threads;
    how.optimizer = INTERP_SGD;
    interp_ctx *ctx = interp_open(&desc);
    for (int i = 0; i < BATCH * PIXELS; i++) x[i] = interp_random_uniform(1, 1, (uint64_t)i);
    for (int i = 0; i < BATCH; i++) y[i] = i % 10;
    if (!ctx || interp_net_arch(ctx, arch, &image, 10, 0, &net) ||
        interp_trainer_new(net, &how, 0, &trainer)) {
        fprintf(stderr, "%s\n", interp_error(ctx));
        return 1;
    }
    for (int r = -1; r < rounds; r++) { /* round -1 warms up */
        const double start = itp_seconds();
        for (int s = 0; s < steps; s++)
            if (interp_trainer_step(trainer, x, y, NULL, BATCH, NULL, NULL)) return 1;
        if (r >= 0) seconds[r] = (itp_seconds() - start) / steps;
    }
    qsort(seconds, (size_t)rounds, sizeof *seconds, compare);
    printf("%-20s %d thread%s %-7s median %8.3f ms, best %8.3f ms, %9.0f samples/s\n", arch,
           interp_threads(ctx), interp_threads(ctx) > 1 ? "s" : " ", interp_isa(ctx),
           1e3 * seconds[rounds / 2], 1e3 * seconds[0], BATCH / seconds[rounds / 2]);
    interp_close(ctx);
    return 0;
}

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? atoi(argv[1]) : 1, rounds = argc > 2 ? atoi(argv[2]) : 5;
    if (threads < 0 || threads > 256 || rounds < 1 || rounds > 64) {
        fprintf(stderr, "usage: bench_train [THREADS] [ROUNDS]\n");
        return 2;
    }
    return run(threads, "mlp:784-100-50-10", 200, rounds) || run(threads, "lenet", 10, rounds);
}

/* interp_sgemm over square and skinny shapes, in GFLOP/s, beside the machine's peak as measured by a
   product that stays in the first-level cache.

     build/bench_gemm [THREADS] */
#define INTERP_IMPLEMENTATION
#include "interp.h"

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median GFLOP/s of seven rounds. */
static double speed(interp_ctx *ctx, int m, int n, int k, bool ta, bool tb)
{
    enum { rounds = 7 };
    double gflops[rounds];
    const double work = 2.0 * m * n * k;
    const int repeats = 1 + (int)(2e8 / work);
    float *a = (float *)calloc((size_t)m * (size_t)k, sizeof *a);
    float *b = (float *)calloc((size_t)k * (size_t)n, sizeof *b);
    float *c = (float *)calloc((size_t)m * (size_t)n, sizeof *c);
    for (int r = -1; r < rounds && a && b && c; r++) {
        const double start = itp_seconds();
        for (int i = 0; i < repeats; i++)
            interp_sgemm(ctx, ta, tb, m, n, k, 1, a, ta ? m : k, b, tb ? k : n, 0, c, n);
        if (r >= 0) gflops[r] = work * repeats / (itp_seconds() - start) * 1e-9;
    }
    free(a);
    free(b);
    free(c);
    qsort(gflops, rounds, sizeof *gflops, compare);
    return gflops[rounds / 2];
}

int main(int argc, char **argv)
{
    static const struct {
        int m, n, k;
        bool ta, tb;
    } rows[] = {{64, 64, 64, false, false},      {256, 256, 256, false, false},
                {512, 512, 512, false, false},   {1024, 1024, 1024, false, false},
                {1024, 1024, 1024, false, true}, {1024, 1024, 1024, true, false},
                {64, 100, 784, false, true},     {64, 100, 784, false, false},
                {784, 100, 64, true, false},     {64, 10, 50, false, false}};
    interp_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.threads = argc > 1 ? atoi(argv[1]) : 1;
    interp_ctx *ctx = interp_open(&desc);
    if (!ctx) return 1;
    printf("interp_sgemm, %s, %d thread%s, GFLOP/s (median of 7)\n", interp_isa(ctx),
           interp_threads(ctx), interp_threads(ctx) > 1 ? "s" : "");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        printf("%5d x %5d x %5d %c%c %8.1f\n", rows[i].m, rows[i].n, rows[i].k,
               rows[i].ta ? 'T' : 'N', rows[i].tb ? 'T' : 'N',
               speed(ctx, rows[i].m, rows[i].n, rows[i].k, rows[i].ta, rows[i].tb));
    interp_close(ctx);
    return 0;
}

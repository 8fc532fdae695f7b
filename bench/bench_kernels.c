/* Matrix products and convolutions beside the libraries people would link instead, in one process,
   taking turns. What the figures mean and how to install the rivals: bench/README.md.

     build/bench_kernels [--quick] [--only TEXT] [--isa NAME] [--threads N] [--csv FILE] [--png FILE]
 */
#include "measure.h"

#include "rivals.h"
#include "rivals_conv.h"
#include "rivals_onednn.h"
#include "report.h"

#define SAMPLE_SECONDS 5e-3

typedef struct bench {
    interp_ctx *ctx;
    const char *only, *csv, *png; /* NULL: all rows; no file */
    int threads, rounds;
    peak peak;
    rivals rivals;
#if defined(BENCH_ONEDNN)
    onednn onednn;
    bool has_onednn;
#endif
    row rows[MOST_ROWS];
    int n_rows;
} bench;

/* ---- one row */

static double sample(const bench *b, const side *s, long repeats)
{
    const double start = bench_seconds(b->threads);
    for (long i = 0; i < repeats; i++) s->run(s->state);
    return (bench_seconds(b->threads) - start) / (double)repeats;
}

/* Calls that fill one sample. */
static long calibrate(const bench *b, const side *s)
{
    long repeats = 1;
    for (;;) {
        const double seconds = sample(b, s, repeats) * (double)repeats;
        if (seconds >= SAMPLE_SECONDS) return repeats;
        const double more = seconds > SAMPLE_SECONDS / 64 ? 1.1 * SAMPLE_SECONDS / seconds : 16;
        repeats = (long)ceil((double)repeats * more);
    }
}

/* Runs every side once and notes how far each is from ours. */
static void compare(const bench *b, row *r, const side *sides, size_t count)
{
    float *ours = (float *)bench_need(b->ctx, interp_alloc(b->ctx, count * sizeof *ours));
    float *theirs = (float *)bench_need(b->ctx, interp_alloc(b->ctx, count * sizeof *theirs));
    float largest = 0;
    sides[0].run(sides[0].state);
    sides[0].result(sides[0].state, ours);
    for (size_t i = 0; i < count; i++) largest = fmaxf(largest, fabsf(ours[i]));
    for (int j = 1; j < r->n_sides; j++) {
        double worst = 0;
        memset(theirs, 0, count * sizeof *theirs);
        sides[j].run(sides[j].state);
        sides[j].result(sides[j].state, theirs);
        for (size_t i = 0; i < count; i++) {
            const double error = fabs((double)theirs[i] - (double)ours[i]);
            if (!(error <= worst)) worst = error;
        }
        r->error[j] = worst / (double)largest;
    }
    interp_free(b->ctx, ours);
    interp_free(b->ctx, theirs);
}

/* Measures all sides in turn and releases them. Which one begins changes from round to round. */
static void measure(bench *b, const char *name, section section, double flops, double bytes,
                    side *sides, int n_sides, size_t result_count, const char *const *columns)
{
    static double seconds[MOST_SIDES][MOST_ROUNDS], peaks[MOST_ROUNDS], ratios[MOST_ROUNDS];
    long repeats[MOST_SIDES];
    row *r = &b->rows[b->n_rows++];
    memset(r, 0, sizeof *r);
    snprintf(r->name, sizeof r->name, "%s", name);
    r->section = section, r->flops = flops, r->bytes = bytes, r->n_sides = n_sides;
    compare(b, r, sides, result_count);
    for (int j = 0; j < n_sides; j++) repeats[j] = calibrate(b, &sides[j]);
    for (int round = 0; round < b->rounds; round++) {
        peaks[round] = peak_gflops(b->ctx, &b->peak);
        for (int i = 0; i < n_sides; i++) {
            const int j = (i + round) % n_sides;
            /* Threads of the last side may still spin, waiting for work. */
            if (b->threads > 1) usleep(20000);
            sides[j].run(sides[j].state);
            seconds[j][round] = sample(b, &sides[j], repeats[j]);
        }
    }
    r->peak = bench_quantile(peaks, b->rounds, 0.5);
    for (int j = 0; j < n_sides; j++) {
        r->names[j] = sides[j].name;
        r->gflops[j] = flops / bench_quantile(seconds[j], b->rounds, 0.5) * 1e-9;
        if (j && (!r->best || r->gflops[j] > r->gflops[r->best])) r->best = j;
        sides[j].release(sides[j].state);
    }
    for (int i = 0; i < b->rounds; i++) ratios[i] = seconds[r->best][i] / seconds[0][i];
    r->ratio = bench_quantile(ratios, b->rounds, 0.5);
    r->spread =
        (bench_quantile(ratios, b->rounds, 0.75) - bench_quantile(ratios, b->rounds, 0.25)) / 2;
    report_row(r, columns);
}

/* ---- matrix products: mlp rows are batch 64 through 784-100, 100-50 and 100-10; rn18 rows are the
   layers of ResNet-18 at 224 as products */

static void run_gemms(bench *b)
{
    static const struct {
        const char *name;
        int m, n, k;
        bool ta, tb;
    } shapes[] = {{"sq32", 32, 32, 32, false, false},
                  {"sq64", 64, 64, 64, false, false},
                  {"sq128", 128, 128, 128, false, false},
                  {"sq256", 256, 256, 256, false, false},
                  {"sq512", 512, 512, 512, false, false},
                  {"sq1024", 1024, 1024, 1024, false, false},
                  {"sq2048", 2048, 2048, 2048, false, false},
                  {"sq64_NT", 64, 64, 64, false, true},
                  {"sq64_TN", 64, 64, 64, true, false},
                  {"sq256_NT", 256, 256, 256, false, true},
                  {"sq256_TN", 256, 256, 256, true, false},
                  {"sq1024_NT", 1024, 1024, 1024, false, true},
                  {"sq1024_TN", 1024, 1024, 1024, true, false},
                  {"mlp1_fwd_NT", 64, 100, 784, false, true},
                  {"mlp1_fwd_NN", 64, 100, 784, false, false},
                  {"mlp1_dW_TN", 100, 784, 64, true, false},
                  {"mlp1_dX_NN", 64, 784, 100, false, false},
                  {"mlp2_fwd_NT", 64, 50, 100, false, true},
                  {"mlp2_dW_TN", 50, 100, 64, true, false},
                  {"mlp3_fwd_NT", 64, 10, 100, false, true},
                  {"mlp3_fwd_NN", 64, 10, 100, false, false},
                  {"mlp3_dW_TN", 10, 100, 64, true, false},
                  {"mlp3_dX_NN", 64, 100, 10, false, false},
                  {"rn18_stem", 64, 12544, 147, false, false},
                  {"rn18_l1_3x3", 64, 3136, 576, false, false},
                  {"rn18_l2_3x3s2", 128, 784, 576, false, false},
                  {"rn18_l2_3x3", 128, 784, 1152, false, false},
                  {"rn18_l2_ds", 128, 784, 64, false, false},
                  {"rn18_l3_3x3", 256, 196, 2304, false, false},
                  {"rn18_l4_3x3", 512, 49, 4608, false, false},
                  {"rn18_l4_ds", 512, 49, 256, false, false},
                  {"rn18_l1_dW_NT", 64, 576, 3136, false, true},
                  {"rn18_l1_dX_TN", 576, 3136, 64, true, false},
                  {"rn18_l4_dW_NT", 512, 4608, 49, false, true},
                  {"rn18_l4_dX_TN", 4608, 49, 512, true, false},
                  {"fc1000_gemv", 1, 1000, 512, false, true}};
    bool headed = false;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int m = shapes[i].m, n = shapes[i].n, k = shapes[i].k;
        const double size_a = (double)m * k, size_b = (double)k * n, size_c = (double)m * n;
        side sides[MOST_SIDES];
        gemm_state g;
        if (b->only && !strstr(shapes[i].name, b->only)) continue;
        if (!headed) report_head(gemm_rivals);
        headed = true;
        memset(&g, 0, sizeof g);
        g.ctx = b->ctx, g.m = m, g.n = n, g.k = k, g.ta = shapes[i].ta, g.tb = shapes[i].tb;
        g.lda = g.ta ? m : k, g.ldb = g.tb ? k : n;
        float *a = bench_random(b->ctx, (size_t)size_a, 1);
        float *x = bench_random(b->ctx, (size_t)size_b, 2);
        g.a = a, g.b = x;
        const int n_sides = gemm_sides(&b->rivals, g, sides);
        measure(b, shapes[i].name, GEMM, 2 * size_a * n, 4 * (size_a + size_b + size_c), sides,
                n_sides, (size_t)size_c, gemm_rivals);
        interp_free(b->ctx, a);
        interp_free(b->ctx, x);
    }
}

/* ---- convolutions: layers of ResNet-18, ResNet-50, EfficientNet-B0 and LeNet-5 */

/* Without Winograd on any side, or with it on all. */
static int conv_sides(bench *b, const conv_data *d, direction way, bool winograd, side *out)
{
    int n = 0;
    out[n++] = conv_side_interp(d, way, winograd);
#if defined(BENCH_ONEDNN)
    if (b->has_onednn && !winograd) {
        n += conv_side_dnnl(&b->onednn, "oneDNN", d, way, false, false, &out[n]);
        n += conv_side_dnnl(&b->onednn, "oneDNN nchw", d, way, true, false, &out[n]);
    } else if (b->has_onednn) {
        n += conv_side_dnnl(&b->onednn, "oneDNN Wino", d, way, false, true, &out[n]);
    }
#endif
    if (way == FORWARD && !winograd && b->rivals.onnxruntime)
        n += conv_side_ort(b->rivals.onnxruntime, d, &out[n]);
    return n;
}

static void run_convolutions(bench *b, bool winograd)
{
    /* name, batch, in, out, size, kernel, stride, pad, groups */
    static const layer layers[] = {{"3x3_56x64", 1, 64, 64, 56, 3, 1, 1, 1},
                                   {"3x3_28x128", 1, 128, 128, 28, 3, 1, 1, 1},
                                   {"3x3_14x256", 1, 256, 256, 14, 3, 1, 1, 1},
                                   {"3x3_7x512", 1, 512, 512, 7, 3, 1, 1, 1},
                                   {"3x3s2_56_64-128", 1, 64, 128, 56, 3, 2, 1, 1},
                                   {"1x1_56_64-256", 1, 64, 256, 56, 1, 1, 0, 1},
                                   {"1x1_14_256-1024", 1, 256, 1024, 14, 1, 1, 0, 1},
                                   {"1x1_14_112-672", 1, 112, 672, 14, 1, 1, 0, 1},
                                   {"stem7x7s2_224", 1, 3, 64, 224, 7, 2, 3, 1},
                                   {"dw3x3_112x32", 1, 32, 32, 112, 3, 1, 1, 32},
                                   {"dw3x3s2_112x96", 1, 96, 96, 112, 3, 2, 1, 96},
                                   {"dw5x5_28x240", 1, 240, 240, 28, 5, 1, 2, 240},
                                   {"dw5x5_14x672", 1, 672, 672, 14, 5, 1, 2, 672},
                                   {"dw3x3_14x480", 1, 480, 480, 14, 3, 1, 1, 480},
                                   {"lenet1_b64", 64, 1, 6, 28, 5, 1, 2, 1},
                                   {"lenet2_b64", 64, 6, 16, 14, 5, 1, 0, 1},
                                   {"3x3_56x64_b8", 8, 64, 64, 56, 3, 1, 1, 1},
                                   {"3x3_14x256_b8", 8, 256, 256, 14, 3, 1, 1, 1}};
    bool headed = false;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const layer *l = &layers[i];
        if (winograd && (l->kernel != 3 || l->stride != 1 || l->groups != 1)) continue;
        conv_data d = conv_data_new(b->ctx, l);
        for (direction way = FORWARD; way < DIRECTIONS; way++) {
            char name[64];
            side sides[MOST_SIDES];
            snprintf(name, sizeof name, "%s %s%s", l->name, direction_names[way],
                     winograd ? " wino" : "");
            if (b->only && !strstr(name, b->only)) continue;
            if (!headed) report_head(conv_rivals);
            headed = true;
            const int n_sides = conv_sides(b, &d, way, winograd, sides);
            measure(b, name, winograd ? WINOGRAD : (section)((int)CONV_FORWARD + (int)way),
                    conv_flops(&d), 4.0 * (double)(d.x_count + d.w_count + d.y_count), sides,
                    n_sides, conv_result_count(&d, way), conv_rivals);
        }
        conv_data_free(&d);
    }
}

/* ---- the program */

static int usage(void)
{
    fprintf(stderr, "usage: bench_kernels [--quick] [--only TEXT] [--isa NAME] [--threads N] "
                    "[--csv FILE] [--png FILE]\n");
    return 2;
}

/* FILE.png shows the ratios, FILE_roofline.png the roofline. */
static interp_status write_pictures(bench *b, double peak, double l2, double dram)
{
    char path[4096], title[128];
    const char *isa = interp_isa(b->ctx);
    const size_t n = strlen(b->png);
    const int stem = (int)(n > 4 && !strcmp(b->png + n - 4, ".png") ? n - 4 : n);
    snprintf(title, sizeof title, "interp.h and the best rival, %s, %d thread%s", isa, b->threads,
             b->threads > 1 ? "s" : "");
    snprintf(path, sizeof path, "%.*s.png", stem, b->png);
    ITP_TRY(report_bars(b->ctx, path, title, b->rows, b->n_rows));
    if (!(peak > 0)) return INTERP_OK;
    snprintf(title, sizeof title, "Roofline, %s, %d thread%s", isa, b->threads,
             b->threads > 1 ? "s" : "");
    snprintf(path, sizeof path, "%.*s_roofline.png", stem, b->png);
    return report_roofline(b->ctx, path, title, b->rows, b->n_rows, peak, l2, dram);
}

static int run(bench *b)
{
    const char *isa = interp_isa(b->ctx);
    printf("interp.h %s, %s, %d thread%s, median of %d rounds, GFLOP/s\n\n", interp_version(), isa,
           b->threads, b->threads > 1 ? "s" : "", b->rounds);
    b->peak = peak_find(isa);
    b->rivals = rivals_open(isa, b->threads);
#if defined(BENCH_ONEDNN)
    b->has_onednn = onednn_open(b->rivals.onednn, &b->onednn);
#else
    printf(
        "oneDNN        convolutions left out: dnnl.h of version 2 was not there when building\n");
#endif
    double load = 0;
    if (b->threads > 1 && getloadavg(&load, 1) == 1 && load > 0.5)
        printf("\nThe load is %.1f: other programs run, and wall times are not to be trusted.\n",
               load);
    const double peak = peak_gflops(b->ctx, &b->peak);
    const double l2 = peak_bandwidth(b->ctx, &b->peak, (size_t)512 << 10);
    const double dram = peak_bandwidth(b->ctx, &b->peak, (size_t)512 << 20);
    printf("\nmultiply-adds %.1f GFLOP/s, reads from L2 %.0f GB/s, from memory %.0f GB/s\n", peak,
           l2, dram);
    run_gemms(b);
    run_convolutions(b, false);
    run_convolutions(b, true);
    if (!b->n_rows) {
        fprintf(stderr, "no row is called *%s*\n", b->only);
        return 1;
    }
    report_summary(b->rows, b->n_rows);
    if (b->csv && report_csv(b->csv, isa, b->threads, b->rows, b->n_rows)) {
        fprintf(stderr, "%s: cannot be written\n", b->csv);
        return 1;
    }
    if (b->png && write_pictures(b, peak, l2, dram)) {
        fprintf(stderr, "%s\n", interp_error(b->ctx));
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static bench b;
    interp_desc desc;
    memset(&desc, 0, sizeof desc);
    b.threads = 1, b.rounds = 9;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(argv[i], "--quick")) {
            b.rounds = 3;
            continue;
        }
        if (!value) return usage();
        if (!strcmp(argv[i], "--only")) b.only = value;
        else if (!strcmp(argv[i], "--isa")) desc.isa = value;
        else if (!strcmp(argv[i], "--threads")) b.threads = atoi(value);
        else if (!strcmp(argv[i], "--csv")) b.csv = value;
        else if (!strcmp(argv[i], "--png")) b.png = value;
        else return usage();
        i++;
    }
    if (b.threads < 1 || b.threads > 256) return usage();
    desc.threads = b.threads;
    b.ctx = interp_open(&desc);
    bench_need(NULL, b.ctx);
    const int failed = run(&b);
    interp_close(b.ctx);
    return failed;
}

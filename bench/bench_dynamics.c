/* Morse graphs and Conley indices beside CMGDB: maps with the box images of their corners, one thread of
   each, taking turns; seconds of the processor, the median of rounds; rows `index_` are of the indices
   alone, after the graph. CMGDB is build/rival_cmgdb
   (bench/README.md) beside this program, or missing.

     build/bench_dynamics [--only TEXT] [--rounds 5] */
#include "measure.h"

#include "../tests/maps.h"

typedef struct task {
    const char *name, *map;
    int d, min, max, init;
    bool padding, indices;
} task;

static const task tasks[] = {
    {"leslie2d_u18", "leslie", 2, 18, 0, 0, false, false},
    {"leslie2d_u20", "leslie", 2, 20, 0, 0, false, false},
    {"leslie2d_u14_pad", "leslie", 2, 14, 0, 0, true, false},
    {"leslie3d_u18", "leslie", 3, 18, 0, 0, false, false},
    {"henon2d_u16_pad", "henon", 2, 16, 0, 0, true, false},
    {"product3d_u15", "product", 3, 15, 0, 0, false, false},
    {"logistic_u12_pad", "logistic", 1, 12, 0, 0, true, false},
    {"leslie2d_a20_24", "leslie", 2, 20, 24, 0, false, false},
    {"leslie2d_a20_30_pad", "leslie", 2, 20, 30, 0, true, false},
    {"leslie2d_a24_28", "leslie", 2, 24, 28, 0, false, false},
    {"leslie3d_a21_24", "leslie", 3, 21, 24, 0, false, false},
    {"leslie4d_a22_26", "leslie", 4, 22, 26, 0, false, false},
    {"leslie3d_a15_18_pad", "leslie", 3, 15, 18, 0, true, false},
    {"product2d_i4_a6_10", "product", 2, 6, 10, 4, false, false},
    {"index_leslie2d_a20_22", "leslie", 2, 20, 22, 0, false, true},
    {"index_leslie2d_a20_30_pad", "leslie", 2, 20, 30, 0, true, true},
    {"index_henon2d_u12_pad", "henon", 2, 12, 0, 0, true, true},
    {"index_leslie3d_a15_18_pad", "leslie", 3, 15, 18, 0, true, true},
    {"index_leslie3d_a18_21", "leslie", 3, 18, 21, 0, false, true},
    {"index_leslie4d_a18_21", "leslie", 4, 18, 21, 0, false, true},
};

/* What one side says of a task. */
typedef struct answer {
    double seconds, mib;
    unsigned long boxes, sets;
} answer;

/* ---- the sides */

static answer run_ours(const task *t)
{
    static const double boxes[][2][4] = {{{-0.001, -0.001, -0.001, -0.001}, {90, 65, 45, 32}},
                                         {{-0.001, -0.001}, {90, 70}},
                                         {{-1.5, -0.5}, {1.5, 0.5}},
                                         {{-0.1}, {1.1}},
                                         {{0}, {1.2, 1.2, 1.2, 1.2}}};
    answer a;
    interp_ctx *ctx = interp_open(NULL);
    interp_map map;
    interp_morse_desc desc;
    interp_morse *m = NULL;
    interp_conley index;
    settings how = {t->d, 3.5};
    bench_need(NULL, ctx);
    memset(&map, 0, sizeof map);
    memset(&desc, 0, sizeof desc);
    const bool is_leslie = !strcmp(t->map, "leslie"), is_henon = !strcmp(t->map, "henon");
    const bool is_logistic = !strcmp(t->map, "logistic");
    map.points = is_leslie ? leslie : is_henon ? henon : is_logistic ? logistic : product;
    map.dims = t->d, map.user = &how, map.padding = t->padding;
    const int domain = is_leslie ? t->d == 2 : is_henon ? 2 : is_logistic ? 3 : 4;
    desc.lower = boxes[domain][0], desc.upper = boxes[domain][1];
    desc.min = t->min, desc.max = t->max, desc.init = t->init;
    double begin = bench_seconds(1);
    interp_status status = interp_morse_new(ctx, &map, &desc, &m);
    if (t->indices) begin = bench_seconds(1);
    for (int s = 0; t->indices && !status && s < interp_morse_count(m); s++) {
        status = interp_morse_conley(m, s, 5, &index);
        if (!status) interp_free(ctx, index.text[0]);
    }
    a.seconds = bench_seconds(1) - begin;
    bench_need(ctx, status ? NULL : m);
    a.boxes = interp_morse_boxes(m), a.sets = (unsigned long)interp_morse_count(m);
    interp_morse_free(m);
    a.mib = (double)interp_memory_read(ctx).peak / (1 << 20);
    interp_close(ctx);
    return a;
}

/* Its last line is the answer; false when it has none. */
static bool run_rival(const char *program, const task *t, answer *a)
{
    char line[1000];
    bool good = false;
    snprintf(line, sizeof line, "'%s' %s %d %d %d %d %d %d", program, t->map, t->d, t->min, t->max,
             t->init, t->padding, t->indices);
    FILE *f = popen(line, "r");
    while (f && fgets(line, sizeof line, f))
        good = sscanf(line, "%lf %lu %lu %lf", &a->seconds, &a->boxes, &a->sets, &a->mib) == 4;
    return f && pclose(f) == 0 && good;
}

int main(int argc, char **argv)
{
    const char *only = "";
    int rounds = 5;
    char program[900];
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--only")) only = argv[i + 1];
        if (!strcmp(argv[i], "--rounds")) rounds = atoi(argv[i + 1]);
    }
    rounds = rounds < 1 ? 1 : rounds > MOST_ROUNDS ? MOST_ROUNDS : rounds;
    const char *slash = strrchr(argv[0], '/');
    snprintf(program, sizeof program, "%.*s/rival_cmgdb", slash ? (int)(slash - argv[0]) : 1,
             slash ? argv[0] : ".");
    const bool there = access(program, X_OK) == 0;
    if (!there) printf("missing: %s\n", program);
    printf("%-28s %9s %5s %11s %9s %11s %9s %7s\n", "row", "boxes", "sets", "interp.h ms", "MiB",
           "CMGDB ms", "MiB", "ratio");
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        const task *t = &tasks[i];
        double seconds[2][MOST_ROUNDS], ratio[MOST_ROUNDS];
        answer ours, rival = {0, 0, 0, 0};
        bool both = there;
        if (!strstr(t->name, only)) continue;
        for (int r = 0; r < rounds; r++) {
            ours = run_ours(t);
            if (both) both = run_rival(program, t, &rival);
            seconds[0][r] = 1e3 * ours.seconds, seconds[1][r] = 1e3 * rival.seconds;
            ratio[r] = rival.seconds / ours.seconds;
        }
        printf("%-28s %9lu %5lu %11.3f %9.1f", t->name, ours.boxes, ours.sets,
               bench_quantile(seconds[0], rounds, 0.5), ours.mib);
        if (both)
            printf(" %11.2f %9.1f %7.1f", bench_quantile(seconds[1], rounds, 0.5), rival.mib,
                   bench_quantile(ratio, rounds, 0.5));
        printf("%s\n",
               both && (rival.boxes != ours.boxes || rival.sets != ours.sets) ? "  DIFFERS" : "");
        fflush(stdout);
    }
    return 0;
}

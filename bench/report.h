/* What the rows came to: a table as they are measured, summaries, CSV and pictures. Needs rivals.h. */

enum { MOST_ROWS = 160 };

typedef enum section { GEMM, CONV_FORWARD, CONV_DATA, CONV_WEIGHTS, WINOGRAD, SECTIONS } section;

static const char *const section_names[SECTIONS] = {
    "sgemm", "convolution forward", "convolution backward data", "convolution backward weights",
    "convolution by Winograd"};

/* Columns of the two tables. */
static const char *const gemm_rivals[] = {"OpenBLAS", "BLIS", "oneDNN", "libxsmm", NULL};
static const char *const conv_rivals[] = {"oneDNN", "oneDNN nchw", "ONNX Runtime", "oneDNN Wino",
                                          NULL};

/* One line. Side 0 is ours. */
typedef struct row {
    char name[64];
    section section;
    double flops, bytes; /* bytes: every operand once */
    double peak;         /* GFLOP/s of multiply-adds measured beside this row; 0: unknown */
    int n_sides, best;   /* best: index of the fastest rival, 0: there is none */
    const char *names[MOST_SIDES];
    double gflops[MOST_SIDES]; /* medians */
    double ratio;              /* median of ours / best rival, round by round */
    double spread;             /* half of the range in which the middle half of these ratios lies */
    double error[MOST_SIDES];  /* largest difference to ours over the largest number of ours */
} row;

static void report_head(const char *const *columns)
{
    printf("\n%-24s %9s %6s", "row", "interp.h", "peak");
    for (int i = 0; columns[i]; i++) printf(" %12s", columns[i]);
    printf(" %7s %6s\n", "ratio", "+-");
}

static void report_row(const row *r, const char *const *columns)
{
    printf("%-24s %9.1f", r->name, r->gflops[0]);
    if (r->peak > 0) printf(" %5.0f%%", 100 * r->gflops[0] / r->peak);
    else printf(" %6s", "-");
    for (int i = 0; columns[i]; i++) {
        int found = 0;
        for (int j = 1; j < r->n_sides; j++)
            if (!strcmp(r->names[j], columns[i])) found = j;
        if (found) printf(" %12.1f", r->gflops[found]);
        else printf(" %12s", "-");
    }
    if (r->best) printf(" %7.3f %5.1f%%\n", r->ratio, 100 * r->spread);
    else printf(" %7s %6s\n", "-", "-");
    for (int j = 1; j < r->n_sides; j++)
        if (!(r->error[j] < 1e-3))
            printf("    DIFFERS: %s is %.2g away from ours\n", r->names[j], r->error[j]);
    fflush(stdout);
}

/* Geometric means by section, then the rows that are furthest behind. */
static void report_summary(const row *rows, int n)
{
    enum { worst = 10 };
    bool shown[MOST_ROWS] = {false};
    printf(
        "\nRatio to the best rival of each row (geometric mean, lowest) and share of peak (mean):\n");
    for (int s = 0; s < SECTIONS; s++) {
        double log_sum = 0, lowest = 1e30, share = 0;
        int count = 0, all = 0;
        for (int i = 0; i < n; i++) {
            if ((int)rows[i].section != s) continue;
            all++;
            if (rows[i].peak > 0) share += rows[i].gflops[0] / rows[i].peak;
            if (!rows[i].best) continue;
            count++;
            log_sum += log(rows[i].ratio);
            if (rows[i].ratio < lowest) lowest = rows[i].ratio;
        }
        if (!all) continue;
        printf("  %-30s %3d rows", section_names[s], all);
        if (count) printf("   %.3f   lowest %.3f", exp(log_sum / count), lowest);
        printf("   peak %.0f%%\n", 100 * share / all);
    }
    printf("\nFurthest behind:\n");
    for (int w = 0; w < worst; w++) {
        int at = -1;
        for (int i = 0; i < n; i++)
            if (rows[i].best && !shown[i] && rows[i].ratio < 1 &&
                (at < 0 || rows[i].ratio < rows[at].ratio))
                at = i;
        if (at < 0) break;
        shown[at] = true;
        printf("  %-24s %.3f of %s\n", rows[at].name, rows[at].ratio,
               rows[at].names[rows[at].best]);
    }
}

/* One line for each row and side. */
static int report_csv(const char *path, const char *isa, int threads, const row *rows, int n)
{
    FILE *f = fopen(path, "w");
    if (!f) return 1;
    fprintf(f, "row,section,isa,threads,side,gflops,peak_gflops,ratio_to_best,spread,difference\n");
    for (int i = 0; i < n; i++)
        for (int j = 0; j < rows[i].n_sides; j++) {
            const row *r = &rows[i];
            fprintf(f, "%s,%s,%s,%d,%s,%.2f,%.2f,", r->name, section_names[r->section], isa,
                    threads, r->names[j], r->gflops[j], r->peak);
            if (j == 0 && r->best) fprintf(f, "%.4f,%.4f,", r->ratio, r->spread);
            else fprintf(f, ",,");
            fprintf(f, "%.2g\n", r->error[j]);
        }
    return fclose(f) != 0;
}

/* A bar for each row, from 0 to `most` times the best rival. */
static interp_status report_bars(interp_ctx *ctx, const char *path, const char *title,
                                 const row *rows, int n)
{
    const float most = 3;
    const char *names[MOST_ROWS];
    float ratios[MOST_ROWS];
    const float even = 1;
    int count = 0;
    interp_chart chart;
    interp_bars bars;
    interp_image image;
    for (int i = 0; i < n; i++)
        if (rows[i].best) {
            names[count] = rows[i].name;
            ratios[count++] = (float)rows[i].ratio;
        }
    if (!count) return INTERP_OK;
    memset(&chart, 0, sizeof chart);
    memset(&bars, 0, sizeof bars);
    chart.title = title;
    chart.y_label = "times the best rival of the row";
    chart.height = 120 + 18 * count;
    chart.y_max = most, chart.y_min = 0;
    chart.v_lines = &even, chart.n_v_lines = 1;
    bars.values = ratios, bars.n_groups = count, bars.group_names = names;
    bars.horizontal = bars.show_values = true;
    ITP_TRY(interp_chart_bars(ctx, &chart, &bars, &image));
    const interp_status status = interp_image_write(ctx, &image, path);
    interp_image_free(ctx, &image);
    return status;
}

/* Roofline: GFLOP/s over FLOP per byte, both logarithmic. Rows above a memory's roof found their
   operands in a cache nearer by. */
static interp_status report_roofline(interp_ctx *ctx, const char *path, const char *title,
                                     const row *rows, int n, double peak, double l2, double dram)
{
    enum { points = 64 };
    static const char *const kinds[] = {"sgemm", "convolution", "best rival"};
    float x[points], roof[2][points], row_x[3][MOST_ROWS], row_y[3][MOST_ROWS];
    int counts[3] = {0, 0, 0};
    interp_series series[5];
    interp_chart chart;
    interp_image image;
    memset(series, 0, sizeof series);
    memset(&chart, 0, sizeof chart);
    for (int i = 0; i < points; i++) {
        const double log2_intensity = -2 + 12.0 * i / (points - 1);
        x[i] = (float)log2_intensity;
        roof[0][i] = (float)fmin(peak, dram * exp2(log2_intensity));
        roof[1][i] = (float)fmin(peak, l2 * exp2(log2_intensity));
    }
    for (int i = 0; i < n; i++)
        for (int pass = 0; pass < 2; pass++) {
            const int kind = pass ? 2 : rows[i].section == GEMM ? 0 : 1;
            if (pass && !rows[i].best) continue;
            row_x[kind][counts[kind]] = (float)log2(rows[i].flops / rows[i].bytes);
            row_y[kind][counts[kind]++] = (float)rows[i].gflops[pass ? rows[i].best : 0];
        }
    series[0].name = "memory", series[1].name = "L2 cache";
    for (int i = 0; i < 2; i++) {
        series[i].x = x, series[i].y = roof[i], series[i].n = points;
        series[i].rgb = i ? 0x888888 : 1;
    }
    for (int i = 0; i < 3; i++) { /* rivals first, ours over them */
        interp_series *s = &series[i == 2 ? 2 : 3 + i];
        s->name = kinds[i], s->x = row_x[i], s->y = row_y[i], s->n = counts[i];
        s->style = INTERP_SERIES_POINTS;
    }
    chart.title = title;
    chart.x_label = "log2 of FLOP per byte, every operand once";
    chart.y_label = "GFLOP/s";
    chart.log_y = true;
    ITP_TRY(interp_chart_lines(ctx, &chart, series, 5, &image));
    const interp_status status = interp_image_write(ctx, &image, path);
    interp_image_free(ctx, &image);
    return status;
}

/* Options, errors, progress, memory, text: what every command needs. */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- errors */

static void print_error(const char *format, va_list args)
{
    fputs("interp: error: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

int cli_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_error(format, args);
    va_end(args);
    return CLI_FAILED;
}

int cli_usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_error(format, args);
    va_end(args);
    return CLI_USAGE;
}

int cli_fail_ctx(const cli *c)
{
    return cli_fail("%s", interp_error(c->ctx));
}

void cli_say(const cli *c, const char *format, ...)
{
    if (c->quiet) return;
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* ---- progress and Ctrl-C */

static volatile sig_atomic_t interrupted;
static bool probing; /* see cli_work */

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* The bar on a terminal; `user` is the cli. */
typedef struct bar {
    const char *stage;
    double start, drawn;
    bool shown;
} bar;

double cli_now(void)
{
    struct timespec t;
    return timespec_get(&t, TIME_UTC) ? (double)t.tv_sec + 1e-9 * (double)t.tv_nsec : 0;
}

static void bar_end(bar *b)
{
    if (b->shown) fputs("\r\033[K", stderr);
    b->shown = false;
}

static bar progress_bar;

static int on_progress(const interp_progress *p, void *user)
{
    const cli *c = (const cli *)user;
    bar *b = &progress_bar;
    if (probing) return 1;
    if (interrupted) {
        bar_end(b);
        return 1;
    }
    if (c->quiet || !isatty(2)) return 0;
    const double t = cli_now();
    if (b->stage != p->stage || p->done < 1) b->stage = p->stage, b->start = t, b->drawn = 0;
    if (p->done >= p->total) {
        bar_end(b);
        return 0;
    }
    if (t - b->drawn < 0.1) return 0;
    b->drawn = t;
    b->shown = true;
    const double rate = p->done / (t - b->start + 1e-9),
                 left = (p->total - p->done) / (rate + 1e-9);
    const int width = 30, full = p->total > 0 ? (int)(width * p->done / p->total) : 0;
    fprintf(stderr, "\r%-18s [", p->stage);
    for (int i = 0; i < width; i++) fputc(i < full ? '#' : '.', stderr);
    fprintf(stderr, "] %3.0f%%  %.0f/s  %.0f s left", 100 * p->done / p->total, rate, left);
    if (!isnan(p->value)) fprintf(stderr, "  loss %.4f", p->value);
    fputs("\033[K", stderr);
    return 0;
}

interp_status cli_progress(cli *c, const char *stage, double done, double total)
{
    const interp_progress p = {stage, done, total, (double)NAN};
    if (!on_progress(&p, c)) return INTERP_OK;
    return interp_fail(c->ctx, INTERP_CANCELLED, "%s was cancelled", stage);
}

static void on_log(interp_status level, const char *text, void *user)
{
    (void)level;
    bar_end(&progress_bar);
    cli_say((const cli *)user, "interp: %s", text);
}

/* ---- options */

static const cli_option common[] = {
    {"-o", "PATH", "where results go"},
    {"--threads", "N", "threads to use (0: all cores)"},
    {"--isa", "NAME", "auto, scalar, avx2, avx512 or neon"},
    {"--no-winograd", NULL, "3x3 convolutions by plain sums: slower, half the rounding"},
    {"--seed", "N", "seed of every random choice (0)"},
    {"--memory", "SIZE", "most bytes of workspace, like 64M (no limit)"},
    {"--quiet", NULL, "say nothing but errors"},
    {"--json", NULL, "a machine-readable summary on stdout"},
    {"--help", NULL, "this text"},
    {NULL, NULL, NULL}};

static const cli_option *find_option(const cli_command *command, const char *name)
{
    for (int pass = 0; pass < 2; pass++)
        for (const cli_option *o = pass ? common : command->options; o->name; o++)
            if (!strcmp(o->name, name)) return o;
    return NULL;
}

static void print_options(const cli_option *o)
{
    for (; o->name; o++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        printf("  %-28s %s\n", left, o->help);
    }
}

void cli_help(const cli_command *command)
{
    printf("interp %s %s\n%s\n\n", command->name, command->arguments, command->summary);
    print_options(command->options);
    puts("");
    print_options(common);
}

static int parse_size(const char *text, size_t *out)
{
    char *end;
    errno = 0;
    const double n = strtod(text, &end);
    double unit = 1;
    switch (*end) {
    case 'k':
    case 'K': unit = 1024, end++; break;
    case 'm':
    case 'M': unit = 1024.0 * 1024, end++; break;
    case 'g':
    case 'G': unit = 1024.0 * 1024 * 1024, end++; break;
    default: break;
    }
    if (*end == 'B' || *end == 'b') end++;
    if (end == text || *end || !(n * unit >= 1) || n * unit > 1e18) return CLI_USAGE;
    *out = (size_t)(n * unit);
    return CLI_DONE;
}

static int parse_arguments(cli *c, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        char *a = argv[i];
        if (a[0] != '-' || !a[1]) {
            if (c->n_positional == CLI_MOST) return cli_usage("too many arguments");
            c->positional[c->n_positional++] = a;
            continue;
        }
        char *equals = a[1] == '-' ? strchr(a, '=') : NULL;
        if (equals) *equals = 0;
        const cli_option *o = find_option(c->command, a);
        if (!o) return cli_usage("%s: unknown option; see `interp help %s`", a, c->command->name);
        if (c->n_options == CLI_MOST) return cli_usage("too many options");
        const char *value = "";
        if (o->value) {
            if (equals) value = equals + 1;
            else if (i + 1 < argc) value = argv[++i];
            else return cli_usage("%s: its value %s is missing", a, o->value);
        } else if (equals) {
            return cli_usage("%s takes no value", a);
        }
        c->names[c->n_options] = o->name;
        c->values[c->n_options++] = value;
    }
    const int want = abs(c->command->positionals);
    if (c->n_positional > want || c->n_positional < c->command->positionals)
        return cli_usage("%s: %d argument%s instead of %d; usage: interp %s %s", c->command->name,
                         c->n_positional, c->n_positional == 1 ? "" : "s", want, c->command->name,
                         c->command->arguments);
    return CLI_DONE;
}

const char *cli_get_nth(const cli *c, const char *name, int i)
{
    for (int k = 0; k < c->n_options; k++)
        if (!strcmp(c->names[k], name) && i-- == 0) return c->values[k];
    return NULL;
}

const char *cli_get(const cli *c, const char *name)
{
    const char *last = NULL;
    for (int k = 0; k < c->n_options; k++)
        if (!strcmp(c->names[k], name)) last = c->values[k];
    return last;
}

bool cli_has(const cli *c, const char *name)
{
    return cli_get(c, name) != NULL;
}

bool cli_parse_double(const char *text, double *out)
{
    char *end;
    const double v = strtod(text, &end);
    if (end == text || *end) return false;
    *out = v;
    return true;
}

int cli_float(const cli *c, const char *name, double low, double high, float *out)
{
    const char *text = cli_get(c, name);
    double v;
    if (!text) return CLI_DONE;
    if (!cli_parse_double(text, &v) || !(v >= low && v <= high))
        return cli_usage("%s %s: give a number from %g to %g", name, text, low, high);
    *out = (float)v;
    return CLI_DONE;
}

int cli_int(const cli *c, const char *name, int low, int high, int *out)
{
    const char *text = cli_get(c, name);
    double v;
    if (!text) return CLI_DONE;
    if (!cli_parse_double(text, &v) || v != floor(v) || !(v >= low && v <= high))
        return cli_usage("%s %s: give a whole number from %d to %d", name, text, low, high);
    *out = (int)v;
    return CLI_DONE;
}

int cli_choice(const cli *c, const char *name, const char *const *names, int n, int *out)
{
    const char *text = cli_get(c, name);
    cli_text list = {NULL, 0, 0, false};
    if (!text) return CLI_DONE;
    for (int i = 0; i < n; i++) {
        cli_add(&list, "%s%s", i ? ", " : "", names[i]);
        if (strcmp(text, names[i])) continue;
        *out = i;
        free(list.data);
        return CLI_DONE;
    }
    cli_usage("%s %s: give one of %s", name, text, list.failed ? "those in the help" : list.data);
    free(list.data);
    return CLI_USAGE;
}

static int open_context(cli *c, interp_desc *d)
{
    static const char *const names[] = {"auto", "scalar", "avx2", "avx512", "neon"};
    int unused;
    const int code = cli_choice(c, "--isa", names, 5, &unused);
    if (code) return code;
    d->seed = c->seed;
    d->isa = cli_get(c, "--isa");
    d->no_winograd = cli_has(c, "--no-winograd");
    d->progress = on_progress;
    d->log = on_log;
    d->user = c;
    signal(SIGINT, on_interrupt);
    c->ctx = interp_open(d);
    if (c->ctx) return CLI_DONE;
    if (d->isa) return cli_usage("--isa %s: this machine and build do not have it", d->isa);
    return cli_fail("the context could not be opened: out of memory, or INTERP_ISA names an "
                    "instruction set this machine does not have");
}

int cli_open(cli *c, const cli_command *command, int argc, char **argv)
{
    interp_desc d;
    memset(&d, 0, sizeof d);
    memset(c, 0, sizeof *c);
    c->command = command;
    int code = parse_arguments(c, argc, argv);
    if (!code) code = cli_int(c, "--threads", 0, 256, &d.threads);
    if (code) return code;
    if (cli_has(c, "--seed")) {
        char *end;
        const char *text = cli_get(c, "--seed");
        errno = 0;
        c->seed = strtoull(text, &end, 10);
        if (end == text || *end || errno || *text == '-')
            return cli_usage("--seed %s: give a whole number from 0", text);
    }
    c->memory_text = cli_get(c, "--memory");
    if (c->memory_text && parse_size(c->memory_text, &c->memory))
        return cli_usage("--memory %s: give a size like 512K, 64M or 2G", c->memory_text);
    c->quiet = cli_has(c, "--quiet");
    c->json = cli_has(c, "--json");
    return open_context(c, &d);
}

void cli_close(cli *c)
{
    bar_end(&progress_bar);
    cli_discard(c);
    interp_close(c->ctx);
    c->ctx = NULL;
}

/* ---- memory */

/* Runs a stage with `limit` bytes on top of what is held. */
static interp_status limited(cli *c, cli_stage stage, void *job, size_t limit)
{
    interp_memory_set_limit(c->ctx, limit ? interp_memory_read(c->ctx).used + limit : 0);
    const interp_status status = stage(c, job);
    interp_memory_set_limit(c->ctx, 0);
    return status;
}

/* Whether a stage gets as far as telling of progress with so many KB. */
static bool fits(cli *c, cli_stage stage, void *job, size_t kb)
{
    probing = true;
    const interp_status status = limited(c, stage, job, kb * 1024);
    probing = false;
    return status != INTERP_NO_MEMORY;
}

/* The least KB that do for a stage, looked for from `kb` on; 0 when none do. */
static size_t least_kb(cli *c, cli_stage stage, void *job, size_t kb)
{
    size_t low = 0, high = kb;
    while (!fits(c, stage, job, high)) {
        low = high;
        if (high > SIZE_MAX / 4096) return 0;
        high *= 2;
    }
    while (low && high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        *(fits(c, stage, job, middle) ? &high : &low) = middle;
    }
    return high;
}

interp_status cli_work(cli *c, const cli_stage *stages, int n, void *job, const char *otherwise)
{
    interp_status status = INTERP_OK;
    if (c->memory) {
        size_t need = c->memory < 1024 ? 1 : c->memory / 1024;
        const size_t given = need;
        for (int i = 0; i < n && need; i++) need = least_kb(c, stages[i], job, need);
        interp_clear_error(c->ctx);
        if (need > given || c->memory < 1024)
            return interp_fail(c->ctx, INTERP_NO_MEMORY,
                               "--memory %s: the work does not fit; give --memory %zuK or more%s",
                               c->memory_text, need, otherwise);
    }
    for (int i = 0; i < n && !status; i++) status = limited(c, stages[i], job, c->memory);
    return status;
}

/* ---- text */

void cli_add(cli_text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) t->failed = true;
    if (t->failed) return;
    if (t->n + (size_t)n + 1 > t->capacity) {
        const size_t want = (t->n + (size_t)n + 1) * 2;
        char *p = (char *)realloc(t->data, want);
        if (!p) {
            t->failed = true;
            return;
        }
        t->data = p;
        t->capacity = want;
    }
    va_start(args, format);
    vsnprintf(t->data + t->n, (size_t)n + 1, format, args);
    va_end(args);
    t->n += (size_t)n;
}

void cli_add_json(cli_text *t, const char *s)
{
    cli_add(t, "\"");
    for (; *s; s++) {
        const unsigned char ch = (unsigned char)*s;
        if (ch == '"' || ch == '\\') cli_add(t, "\\%c", ch);
        else if (ch < 32) cli_add(t, "\\u%04x", ch);
        else cli_add(t, "%c", ch);
    }
    cli_add(t, "\"");
}

void cli_add_json_list(cli_text *t, char *const *list, int n)
{
    cli_add(t, "[");
    for (int i = 0; i < n; i++) {
        if (i) cli_add(t, ",");
        cli_add_json(t, list[i]);
    }
    cli_add(t, "]");
}

void cli_add_csv(cli_text *t, const char *s)
{
    const bool plain = !s[strcspn(s, ",;\"\r\n")];
    if (!plain) cli_add(t, "\"");
    for (; *s; s++) cli_add(t, *s == '"' ? "\"\"" : "%c", *s);
    if (!plain) cli_add(t, "\"");
}

void cli_add_number(cli_text *t, double x, bool json)
{
    if (json && !isfinite(x)) cli_add(t, "null");
    else if (isnan(x)) cli_add(t, "nan");
    else cli_add(t, "%.9g", x);
}

int cli_text_write(cli_text *t, const char *path)
{
    const int code = t->failed ? cli_fail("%s: out of memory", path)
                               : cli_write(path, t->data ? t->data : "", t->n);
    free(t->data);
    memset(t, 0, sizeof *t);
    return code;
}

int cli_text_print(cli_text *t)
{
    int code = CLI_DONE;
    if (t->failed) code = cli_fail("out of memory");
    else if (fwrite(t->data, 1, t->n, stdout) != t->n || fflush(stdout))
        code = cli_fail("standard output could not be written: %s", strerror(errno));
    free(t->data);
    memset(t, 0, sizeof *t);
    return code;
}

bool cli_is_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    return f != NULL;
}

/* Maps between boxes as commands make, look at and show them. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PICTURE_BOXES = 4000000 }; /* more are not drawn, nor retracted unless asked for */

/* ---- settings */

int cli_numbers(const char *text, double *out, int most)
{
    int n = 0;
    while (n < most) {
        char part[64];
        const size_t length = strcspn(text, ",:");
        snprintf(part, sizeof part, "%.*s", length < 63 ? (int)length : 63, text);
        if (!cli_parse_double(part, &out[n++])) return -1;
        if (!text[length]) return n;
        text += length + 1;
    }
    return -1;
}

/* One number for each axis; those of a domain are left alone when the option is absent. */
static int read_axes(const cli *c, const char *name, int d, double *out)
{
    const char *text = cli_get(c, name);
    if (text && cli_numbers(text, out, d) != d)
        return cli_usage("%s %s: give %d numbers with commas, one for each axis", name, text, d);
    return CLI_DONE;
}

static int read_depths(const cli *c, cli_dynamics *y)
{
    const char *text = cli_get(c, "--subdivide");
    double v[4] = {0, 0, 0, 0};
    interp_morse_desc *g = &y->grid;
    const int n = text ? cli_numbers(text, v, 4) : 0;
    for (int i = 0; i < 4; i++)
        if (n < 0 || v[i] != floor(v[i]) || v[i] < 0 || v[i] > (i < 3 ? 52 : 1e9))
            return cli_usage("--subdivide %s: give MIN[:MAX[:INIT[:LIMIT]]], halvings up to 52",
                             text);
    g->min = n ? (int)v[0] : y->map.dims < 3 ? 12 + 3 * (y->map.dims - 1) : 18;
    g->max = (int)v[1], g->init = (int)v[2], g->limit = (int)v[3];
    if (n > 0 && (!g->min || (n > 1 && g->max < g->min) || g->init > g->min))
        return cli_usage("--subdivide %s: INIT <= MIN <= MAX is needed, and MIN from 1", text);
    if ((n == 1 || n == 0 ? g->min : g->init) > 30)
        return cli_usage("--subdivide %s: 2^%d boxes at once are too many; give MIN:MAX, which "
                         "halves only what is recurrent",
                         text, n == 1 ? g->min : g->init);
    return CLI_DONE;
}

int cli_dynamics_options(const cli *c, int d, cli_dynamics *y)
{
    static const char *const modes[] = {"corners", "centre", "random"};
    double flags[INTERP_MAP_DIMS] = {0};
    float wide = 0;
    int mode = 0;
    y->map.dims = d;
    y->grid.lower = y->lower, y->grid.upper = y->upper, y->grid.periodic = y->periodic;
    int code = read_depths(c, y);
    if (!code) code = read_axes(c, "--lower", d, y->lower);
    if (!code) code = read_axes(c, "--upper", d, y->upper);
    if (!code) code = read_axes(c, "--periodic", d, flags);
    if (!code) code = cli_choice(c, "--mode", modes, 3, &mode);
    if (!code) code = cli_int(c, "--samples", 1, 1 << 20, &y->map.samples);
    if (!code) code = cli_float(c, "--lipschitz", 0, 1e12, &wide);
    if (!code) code = cli_float(c, "--deviations", 0, 1000, &y->deviations);
    if (!code) code = cli_int(c, "--prime", 2, 251, &y->prime);
    if (code) return code;
    for (int j = 0; j < d; j++) {
        if (flags[j] != 0 && flags[j] != 1)
            return cli_usage("--periodic: give 0 or 1 for each axis");
        y->periodic[j] = flags[j] == 1;
        if (!(y->upper[j] > y->lower[j]))
            return cli_usage(
                "axis %d goes from %g to %g: the domain needs a width; see --lower and "
                "--upper",
                j, y->lower[j], y->upper[j]);
    }
    for (int i = 0; i < d * d; i++) y->slopes[i] = (double)wide;
    if (wide > 0) y->map.lipschitz = y->slopes;
    y->map.mode = (interp_box_mode)mode;
    y->map.seed = c->seed;
    y->map.padding |= cli_has(c, "--padding");
    y->grid.exact_edges = cli_has(c, "--exact-edges");
    y->conley = cli_has(c, "--conley");
    y->interchange = cli_has(c, "--cmgdb");
    return CLI_DONE;
}

/* ---- the surrogate */

static interp_status wide_deviation(const double *x, double *out, size_t n, void *user)
{
    cli_dynamics *y = (cli_dynamics *)user;
    const interp_status status = interp_gp_deviation(x, out, n, y->gp);
    for (size_t i = 0; i < n * (size_t)y->map.dims; i++) out[i] *= (double)y->deviations;
    return status;
}

static interp_status gp_mean(const double *x, double *out, size_t n, void *user)
{
    return interp_gp_mean(x, out, n, ((cli_dynamics *)user)->gp);
}

interp_status cli_dynamics_gp(cli *c, cli_dynamics *y, const double *from, const double *to, int n,
                              const interp_gp_desc *desc)
{
    const int d = y->map.dims;
    const interp_status status = interp_gp_new(c->ctx, from, to, n, d, d, desc, &y->gp, &y->fitted);
    y->map.points = gp_mean;
    y->map.user = y;
    y->map.concurrent = !(y->deviations > 0);
    y->map.spread = y->deviations > 0 ? wide_deviation : NULL;
    return status;
}

/* ---- the work */

/* Bytes for the grid that is looked at first, its tiles and basins among them; 0: not known. */
static size_t grid_bytes(const cli_dynamics *y)
{
    const int depth = y->grid.max ? y->grid.init : y->grid.min;
    if (!depth) return 0;
    const size_t bytes = interp_morse_bytes(&y->map, &y->grid);
    return depth > 22 ? bytes : bytes + ((size_t)64 << depth);
}

int cli_dynamics_check(const cli_dynamics *y)
{
    const double need = (double)grid_bytes(y);
    const double have = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    if (have > 0 && need > have)
        return cli_fail(
            "--subdivide: 2^%d boxes need %.1f GB of memory, but this machine has %.1f; "
            "give less, or MIN:MAX, which halves only what is recurrent",
            y->grid.max ? y->grid.init : y->grid.min, need * 1e-9, have * 1e-9);
    return CLI_DONE;
}

interp_status cli_dynamics_stage(cli *c, cli_dynamics *y)
{
    const size_t uniform = grid_bytes(y);
    void *most = uniform ? interp_alloc(c->ctx, uniform) : NULL; /* asked for first */
    interp_free(c->ctx, most);
    if (uniform && !most) return INTERP_NO_MEMORY;
    interp_status status = cli_progress(c, "dynamics", 0, 1);
    const double begin = cli_now();
    if (!status) status = interp_morse_new(c->ctx, &y->map, &y->grid, &y->morse);
    y->seconds = cli_now() - begin;
    if (status) return status;
    const int sets = interp_morse_count(y->morse);
    if (sets > 50 && y->gp && !(y->deviations > 0))
        cli_say(
            c,
            "%d Morse sets: the process moves points by about a box; a coarser --subdivide joins "
            "them, or --deviations, by which images are wider where it is not sure",
            sets);
    if (y->conley) {
        y->index = (interp_conley *)interp_alloc(c->ctx, ((size_t)sets + 1) * sizeof *y->index);
        if (!y->index) return INTERP_NO_MEMORY;
    }
    for (int s = 0; y->conley && s < sets && !status; s++)
        status = interp_morse_conley(y->morse, s, y->prime, &y->index[s]);
    y->retracted = interp_morse_boxes(y->morse) <= PICTURE_BOXES;
    if (!status && y->retracted) status = interp_morse_retract(y->morse, &y->tiles);
    if (!status && y->retracted) status = interp_morse_basins(y->morse, &y->basins);
    return status;
}

void cli_dynamics_free(cli *c, cli_dynamics *y)
{
    for (int s = 0; y->index && s < interp_morse_count(y->morse); s++)
        interp_free(c->ctx, y->index[s].text[0]);
    interp_free(c->ctx, y->index);
    interp_free(c->ctx, y->tiles.tile);
    interp_free(c->ctx, y->tiles.size);
    interp_free(c->ctx, y->basins.attractor);
    interp_morse_free(y->morse);
    interp_gp_free(y->gp);
    interp_pairs_free(y->pairs);
    memset(y, 0, sizeof *y);
}

/* ---- tables */

static void add_index(cli_text *t, const cli_dynamics *y, int set)
{
    const interp_conley *i = y->index ? &y->index[set] : NULL;
    if (!i) {
        cli_add(t, "null");
        return;
    }
    cli_add_json_list(t, i->text, i->defined ? y->map.dims + 1 : 0);
}

static void add_edges(cli_text *t, const cli_dynamics *y, bool reduced)
{
    const int sets = interp_morse_count(y->morse);
    const char *comma = "";
    for (int i = 0; i < sets; i++)
        for (int j = 0; j < i; j++) {
            if (!(reduced ? interp_morse_edge(y->morse, i, j)
                          : interp_morse_reaches(y->morse, i, j)))
                continue;
            cli_add(t, "%s[%d,%d]", comma, i, j);
            comma = ",";
        }
}

void cli_dynamics_json(cli_text *t, const cli_dynamics *y)
{
    const int sets = interp_morse_count(y->morse);
    cli_add(t, "{\"boxes\":%u,\"nodes\":[", (unsigned)interp_morse_boxes(y->morse));
    for (int s = 0; s < sets; s++) {
        uint32_t n;
        interp_morse_set(y->morse, s, &n);
        cli_add(t, "%s{\"id\":%d,\"boxes\":%u,\"conley\":", s ? "," : "", s, (unsigned)n);
        add_index(t, y, s);
        if (y->retracted)
            cli_add(t, ",\"tile\":%u", (unsigned)(s < y->tiles.sets ? y->tiles.size[s] : 0));
        cli_add(t, "}");
    }
    cli_add(t, "],\"edges\":[");
    add_edges(t, y, true);
    cli_add(t, "],\"edges_raw\":[");
    add_edges(t, y, false);
    cli_add(t, "]");
    if (y->retracted) {
        const interp_retraction *r = &y->tiles;
        cli_add(t,
                ",\"retraction\":{\"components\":%u,\"succ\":%u,\"pred\":%u,\"parallel\":%u,"
                "\"empty\":%u,\"trimmed\":%u,\"failed\":%u,\"violated\":%u},\"basins\":{"
                "\"none\":%u,\"several\":%u}",
                r->components, r->succ, r->pred, r->parallel, r->empty, r->trimmed, r->failed,
                r->violated, y->basins.none, y->basins.several);
    }
    if (y->gp) {
        cli_add(t, ",\"gp\":{\"length\":%.17g,\"noise\":%.17g,\"lml\":%.17g}", y->fitted.length,
                y->fitted.noise, y->fitted.lml);
    }
    cli_add(t, ",\"seconds\":");
    cli_add_number(t, y->seconds, true);
    cli_add(t, "}");
}

static void node_label(const cli_dynamics *y, int set, char *out, size_t size)
{
    const interp_conley *i = y->index ? &y->index[set] : NULL;
    size_t at = (size_t)snprintf(out, size, "%d", set);
    for (int k = 0; i && i->defined && k <= y->map.dims && at + 2 < size; k++)
        at += (size_t)snprintf(out + at, size - at, "%s%s", k ? ", " : " : (", i->text[k]);
    if (i && at + 2 < size) snprintf(out + at, size - at, "%s", i->defined ? ")" : " : undefined");
}

/* The graph for Graphviz, attractors and repellers on a level each. */
static int write_dot(const cli_dynamics *y, const char *path)
{
    cli_text t = {NULL, 0, 0, false};
    const int sets = interp_morse_count(y->morse);
    char label[400];
    cli_add(&t, "digraph {\n");
    for (int s = 0; s < sets; s++) {
        node_label(y, s, label, sizeof label);
        cli_add(&t,
                "  %d [label=\"%s\", shape=ellipse, style=filled, fillcolor=\"#%06x\", "
                "margin=\"0.11, 0.055\"];\n",
                s, label, (unsigned)interp_category_rgb(s));
    }
    for (int below = 1; below >= 0; below--) {
        cli_add(&t, "  {rank=same;");
        for (int s = 0; s < sets; s++) {
            bool last = true;
            for (int o = 0; o < sets; o++)
                last &= !(below ? interp_morse_reaches(y->morse, s, o)
                                : interp_morse_reaches(y->morse, o, s));
            if (last) cli_add(&t, " %d;", s);
        }
        cli_add(&t, "}\n");
    }
    for (int i = 0; i < sets; i++)
        for (int j = 0; j < i; j++)
            if (interp_morse_edge(y->morse, i, j)) cli_add(&t, "  %d -> %d;\n", i, j);
    cli_add(&t, "}\n");
    return cli_text_write(&t, path);
}

static int write_sets(const cli_dynamics *y, bool header, const char *path)
{
    cli_text t = {NULL, 0, 0, false};
    const int d = y->map.dims;
    for (int k = 0; header && k < 2 * d; k++) cli_add(&t, "%c%d,", k < d ? 'l' : 'u', k % d);
    if (header) cli_add(&t, "node\n");
    for (int s = 0; s < interp_morse_count(y->morse); s++) {
        uint32_t n;
        const uint32_t *box = interp_morse_set(y->morse, s, &n);
        for (uint32_t i = 0; i < n; i++) {
            double lower[INTERP_MAP_DIMS], upper[INTERP_MAP_DIMS];
            interp_morse_box(y->morse, box[i], lower, upper);
            for (int k = 0; k < 2 * d; k++) cli_add(&t, "%.17g,", k < d ? lower[k] : upper[k - d]);
            cli_add(&t, "%d\n", s);
        }
    }
    return cli_text_write(&t, path);
}

/* Texts that the original programs read and write. */
static int write_interchange(cli *c, const cli_dynamics *y, const char *folder)
{
    cli_text t = {NULL, 0, 0, false};
    char path[CLI_PATH];
    const uint32_t n = interp_morse_boxes(y->morse);
    uint32_t k, *to = (uint32_t *)interp_alloc(c->ctx, (size_t)n * sizeof *to);
    if (!to) return cli_fail_ctx(c);
    cli_add(&t, "%u\n", (unsigned)n);
    for (uint32_t b = 0; b < n; b++) {
        if (interp_morse_image(y->morse, b, to, &k)) return cli_fail_ctx(c);
        cli_add(&t, "%u %u ", (unsigned)b, (unsigned)k);
        for (uint32_t i = 0; i < k; i++) cli_add(&t, "%u ", (unsigned)to[i]);
        cli_add(&t, "\n");
    }
    interp_free(c->ctx, to);
    int code = cli_text_write(&t, cli_path(path, folder, "CMGDB_mvmap.txt"));
    for (uint32_t b = 0; b < n && y->retracted; b++)
        cli_add(&t, "%u %d\n", (unsigned)b, (int)y->tiles.tile[b]);
    if (!code && y->retracted)
        code = cli_text_write(&t, cli_path(path, folder, "CMGDB_retract.txt"));
    if (!code) code = write_sets(y, false, cli_path(path, folder, "CMGDB_morse_sets.csv"));
    return code;
}

static int write_tiles(cli *c, const cli_dynamics *y, const char *path)
{
    const interp_shape shape = {1, {(int)interp_morse_boxes(y->morse), 1, 1, 1, 1, 1, 1, 1}};
    float *v = (float *)interp_alloc(c->ctx, (size_t)shape.dim[0] * sizeof *v);
    if (!v) return cli_fail_ctx(c);
    for (int i = 0; i < shape.dim[0]; i++) v[i] = (float)y->tiles.tile[i];
    const interp_status status = interp_npy_write_f32(c->ctx, path, v, &shape);
    interp_free(c->ctx, v);
    return status ? cli_fail_ctx(c) : CLI_DONE;
}

/* ---- pictures */

static int draw_graph(cli *c, const cli_dynamics *y, const char *path)
{
    const int sets = interp_morse_count(y->morse);
    const size_t room = (size_t)sets + 1;
    int n_edges = 0, code = CLI_DONE;
    for (int i = 0; i < sets; i++)
        for (int j = 0; j < i; j++) n_edges += interp_morse_edge(y->morse, i, j);
    interp_graph g;
    interp_image image;
    memset(&g, 0, sizeof g);
    interp_graph_node *nodes = (interp_graph_node *)calloc(room, sizeof *nodes);
    interp_graph_edge *edges = (interp_graph_edge *)calloc((size_t)n_edges + 1, sizeof *edges);
    char(*text)[2][400] = (char(*)[2][400])calloc(room, sizeof *text);
    if (!nodes || !edges || !text) code = cli_fail("memory ran out");
    for (int i = 0; i < sets && !code; i++) { /* drawn from above: highest number first */
        const int s = sets - 1 - i;
        uint32_t n;
        interp_morse_set(y->morse, s, &n);
        node_label(y, s, text[i][0], sizeof text[i][0]);
        snprintf(text[i][1], sizeof text[i][1], "%u box%s", (unsigned)n, n == 1 ? "" : "es");
        nodes[i].title = text[i][0], nodes[i].note = text[i][1];
        nodes[i].rgb = cli_light(interp_category_rgb(s));
    }
    n_edges = 0;
    for (int i = sets - 1; i >= 0 && !code; i--)
        for (int j = i - 1; j >= 0; j--)
            if (interp_morse_edge(y->morse, i, j)) {
                edges[n_edges].from = sets - 1 - i;
                edges[n_edges++].to = sets - 1 - j;
            }
    g.nodes = nodes, g.n_nodes = sets, g.edges = edges, g.n_edges = n_edges;
    g.title = "Morse graph", g.fold_above = -1, g.scale = 1.5f;
    if (!code && sets && interp_graph_draw(c->ctx, &g, &image)) code = cli_fail_ctx(c);
    else if (!code && sets) code = cli_write_image(c, &image, path);
    free(nodes), free(edges), free(text);
    return code;
}

uint32_t cli_light(uint32_t rgb)
{
    uint32_t out = 0;
    for (int k = 0; k < 24; k += 8) out |= (((rgb >> k & 255) + 255) / 2) << k;
    return out;
}

/* The middle of a box of the largest Morse set; what is drawn of more than two axes is cut there. */
static void slice_of(const cli_dynamics *y, double *at)
{
    double upper[INTERP_MAP_DIMS];
    uint32_t most = 0;
    for (int k = 0; k < y->map.dims; k++) at[k] = (y->lower[k] + y->upper[k]) / 2;
    for (int s = 0; s < interp_morse_count(y->morse); s++) {
        uint32_t n;
        const uint32_t *box = interp_morse_set(y->morse, s, &n);
        if (n <= most) continue;
        most = n;
        interp_morse_box(y->morse, box[n / 2], at, upper);
        for (int k = 0; k < y->map.dims; k++) at[k] = (at[k] + upper[k]) / 2;
    }
}

/* Whether a box is there on the plane of the first two axes through a point. */
static bool on_slice(int d, const double *lower, const double *upper, const double *at)
{
    bool there = true;
    for (int k = 2; k < d; k++) there &= lower[k] <= at[k] && at[k] < upper[k];
    return there;
}

/* "title at AXIS = VALUE, ...": of the axes that are not drawn. */
static void slice_title(const cli_dynamics *y, const char *title, const double *at, char *out,
                        size_t size)
{
    size_t n = (size_t)snprintf(out, size, "%s", title);
    for (int k = 2; k < y->map.dims && n < size; k++)
        n += (size_t)snprintf(out + n, size - n, "%s%s = %.4g", k == 2 ? " at " : ", ", y->axis[k],
                              at[k]);
}

/* Morse sets, over their tiles when `tiles`. One axis becomes bands; of more than two, sets are projected
   and tiles are cut. */
static int draw_boxes(cli *c, const cli_dynamics *y, bool tiles, const char *title,
                      const interp_series *over, int n_over, const char *path)
{
    double slice[INTERP_MAP_DIMS];
    char heading[200];
    slice_of(y, slice);
    if (tiles) slice_title(y, title, slice, heading, sizeof heading), title = heading;
    const int sets = interp_morse_count(y->morse), d = y->map.dims;
    const uint32_t n = interp_morse_boxes(y->morse);
    size_t room = tiles ? n : 0, at = 0;
    for (int s = 0; s < sets; s++) {
        uint32_t k;
        interp_morse_set(y->morse, s, &k);
        room += k;
    }
    float *ends = (float *)interp_alloc(c->ctx, (room + 1) * 4 * sizeof *ends);
    int32_t *classes = (int32_t *)interp_alloc(c->ctx, (room + 1) * sizeof *classes);
    uint8_t *faint = (uint8_t *)interp_alloc(c->ctx, room + 1);
    if (!ends || !classes || !faint) return cli_fail_ctx(c);
    for (int pass = tiles ? 0 : 1; pass < 2; pass++)
        for (int s = 0; s < (pass ? sets : 1); s++) {
            uint32_t k = n;
            const uint32_t *box = pass ? interp_morse_set(y->morse, s, &k) : NULL;
            for (uint32_t i = 0; i < k; i++) {
                double lower[INTERP_MAP_DIMS], upper[INTERP_MAP_DIMS];
                interp_morse_box(y->morse, box ? box[i] : i, lower, upper);
                ends[4 * at] = (float)lower[0], ends[4 * at + 2] = (float)upper[0];
                ends[4 * at + 1] = d > 1 ? (float)lower[1] : 0;
                ends[4 * at + 3] = d > 1 ? (float)upper[1] : 1;
                classes[at] = pass ? s : y->tiles.tile[i];
                faint[at] = pass == 0;
                at += !tiles || on_slice(d, lower, upper, slice);
            }
        }
    interp_boxes b;
    interp_chart chart;
    interp_image image;
    char names[12][16];
    const char *name[12];
    memset(&b, 0, sizeof b);
    memset(&chart, 0, sizeof chart);
    for (int s = 0; s < 12; s++) {
        snprintf(names[s], sizeof names[s], "%d", s);
        name[s] = names[s];
    }
    b.ends = ends, b.classes = classes, b.faint = faint, b.n = (int)at;
    b.class_names = name, b.n_classes = sets < 12 ? sets : 12;
    b.over = over, b.n_over = tiles && d > 2 ? 0 : n_over; /* points are hardly ever on the cut */
    chart.title = title, chart.width = 860, chart.height = d > 1 ? 800 : 320;
    chart.x_label = y->axis[0], chart.y_label = d > 1 ? y->axis[1] : NULL;
    chart.x_min = (float)y->lower[0], chart.x_max = (float)y->upper[0];
    if (d > 1) chart.y_min = (float)y->lower[1], chart.y_max = (float)y->upper[1];
    else chart.y_min = 0, chart.y_max = 1;
    const interp_status status = interp_chart_boxes(c->ctx, &chart, &b, &image);
    interp_free(c->ctx, ends);
    interp_free(c->ctx, classes);
    interp_free(c->ctx, faint);
    return status ? cli_fail_ctx(c) : cli_write_image(c, &image, path);
}

int cli_dynamics_write(cli *c, const cli_dynamics *y, const char *folder, const interp_series *over,
                       int n_over)
{
    cli_text t = {NULL, 0, 0, false};
    char path[CLI_PATH];
    const bool drawn = interp_morse_boxes(y->morse) <= PICTURE_BOXES;
    int code = write_sets(y, true, cli_path(path, folder, "morse_sets.csv"));
    cli_dynamics_json(&t, y);
    cli_add(&t, "\n");
    if (!code) code = cli_text_write(&t, cli_path(path, folder, "morse_graph.json"));
    if (!code) code = write_dot(y, cli_path(path, folder, "morse_graph.dot"));
    if (!code && interp_morse_count(y->morse) <= 200)
        code = draw_graph(c, y, cli_path(path, folder, "morse_graph.png"));
    if (!code && drawn)
        code = draw_boxes(c, y, false, "Morse sets", NULL, 0,
                          cli_path(path, folder, "morse_sets.png"));
    if (!code && y->retracted) code = write_tiles(c, y, cli_path(path, folder, "retraction.npy"));
    if (!code && y->retracted && drawn)
        code = draw_boxes(c, y, true, "Order retraction", over, n_over,
                          cli_path(path, folder, "retraction.png"));
    if (!code && y->interchange) code = write_interchange(c, y, folder);
    return code;
}

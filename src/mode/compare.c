/* ---- mode/compare.c: how alike samples and heat maps are ------------------------------------ */

#define ITP_MODE_NAMES(name, text, alias) {text, alias},
static const char *const itp_mode_metric_names[INTERP_MODE_METRIC_COUNT][2] = {
    INTERP_MODE_METRIC_LIST(ITP_MODE_NAMES)};
#undef ITP_MODE_NAMES

INTERP_API const char *interp_mode_metric_name(interp_mode_metric metric)
{
    return (unsigned)metric < INTERP_MODE_METRIC_COUNT ? itp_mode_metric_names[metric][0] : NULL;
}

INTERP_API interp_mode_metric interp_mode_metric_find(const char *name)
{
    int i = 0;
    while (i < INTERP_MODE_METRIC_COUNT && strcmp(name, itp_mode_metric_names[i][0]) &&
           strcmp(name, itp_mode_metric_names[i][1]))
        i++;
    return (interp_mode_metric)i;
}

enum { ITP_MODE_GRID = 8 }; /* most cells a side of pictures whose earth is moved */

/* Samples against a map, a piece of them at a time. */
typedef struct itp_mode_compare {
    const float *x, *map;
    interp_shape shape;
    size_t d;
    int n, height, width; /* of the grid */
    interp_mode_metric metric;
    float p;
    float *sorted;                              /* EARTH_MOVER: [slots + 1, d], the map's first */
    float *grid;                                /* EARTH_MOVER_2D: [slots, C, height, width] */
    float cells[ITP_MODE_GRID * ITP_MODE_GRID]; /* of the map */
    double *out;
} itp_mode_compare;

ITP_FN interp_metric itp_mode_metric(interp_mode_metric metric)
{
    switch (metric) {
    case INTERP_MODE_COSINE: return INTERP_METRIC_COSINE;
    case INTERP_MODE_MANHATTAN: return INTERP_METRIC_MANHATTAN;
    case INTERP_MODE_MINKOWSKI: return INTERP_METRIC_MINKOWSKI;
    case INTERP_MODE_CHEBYSHEV: return INTERP_METRIC_CHEBYSHEV;
    case INTERP_MODE_CANBERRA: return INTERP_METRIC_CANBERRA;
    case INTERP_MODE_BRAY_CURTIS: return INTERP_METRIC_BRAY_CURTIS;
    default: return INTERP_METRIC_EUCLIDEAN;
    }
}

/* Sorts finite numbers by the bytes of their bits, the lowest first. out, spare: [d] each. */
ITP_FN void itp_mode_sort(const float *x, size_t d, float *out, float *spare)
{
    size_t count[4][256];
    const float *from = x;
    memset(count, 0, sizeof count);
    for (int pass = -1; pass < 4; pass++) {
        float *to = pass % 2 ? out : spare;
        for (size_t i = 0; i < d; i++) {
            uint32_t bits;
            memcpy(&bits, &from[i], sizeof bits);
            bits ^= bits >> 31 ? 0xFFFFFFFFu : 0x80000000u; /* in the order of the numbers */
            if (pass >= 0) to[count[pass][bits >> 8 * pass & 255]++] = from[i];
            for (int k = 0; k < 4 && pass < 0; k++) count[k][bits >> 8 * k & 255]++;
        }
        for (int k = 0; k < 4 && pass < 0; k++) /* from counts to places */
            for (size_t b = 0, at = 0; b < 256; b++) {
                const size_t n = count[k][b];
                count[k][b] = at;
                at += n;
            }
        if (pass >= 0) from = to;
    }
}

/* The sum of a picture's planes, on the grid. */
ITP_FN void itp_mode_cells(const itp_mode_compare *c, const float *x, float *planes, float *out)
{
    const int channels = c->shape.dim[0], area = c->height * c->width;
    interp_planes_resize(x, channels, c->shape.dim[1], c->shape.dim[2], planes, c->height,
                         c->width);
    for (int i = 0; i < area; i++) {
        out[i] = 0;
        for (int k = 0; k < channels; k++) out[i] += planes[k * area + i];
    }
}

enum { ITP_MODE_PIECE = 64 };

ITP_FN void itp_mode_compare_task(void *arg, int task, int slot)
{
    const itp_mode_compare *c = (const itp_mode_compare *)arg;
    const int end = itp_min(c->n, (task + 1) * ITP_MODE_PIECE);
    float cells[ITP_MODE_GRID * ITP_MODE_GRID];
    for (int i = task * ITP_MODE_PIECE; i < end; i++) {
        const float *x = c->x + (size_t)i * c->d;
        double s = 0;
        if (c->metric == INTERP_MODE_DOT) {
            s = itp_double_dot(x, c->map, (int)c->d);
        } else if (c->metric == INTERP_MODE_EARTH_MOVER) {
            float *own = c->sorted + (2 * (size_t)slot + 1) * c->d;
            itp_mode_sort(x, c->d, own, own + c->d);
            for (size_t k = 0; k < c->d; k++) s += fabs((double)own[k] - (double)c->sorted[k]);
            s /= (double)c->d;
        } else if (c->metric == INTERP_MODE_EARTH_MOVER_2D) {
            const size_t planes = (size_t)(c->shape.dim[0] * c->height * c->width);
            itp_mode_cells(c, x, c->grid + (size_t)slot * planes, cells);
            s = interp_earth_mover_2d(cells, c->cells, c->height, c->width) * c->shape.dim[1] /
                c->height;
        } else {
            s = interp_distance(x, c->map, (int)c->d, itp_mode_metric(c->metric), c->p);
        }
        c->out[i] = s;
    }
}

INTERP_API interp_status interp_mode_compare(interp_ctx *ctx, const float *x, int n,
                                             const interp_shape *shape, const float *map,
                                             interp_mode_metric metric, float p, double *out)
{
    itp_mode_compare c;
    memset(&c, 0, sizeof c);
    if (n < 0 || (unsigned)metric >= INTERP_MODE_RANDOM || (p != 0 && !(p >= 1)))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "mode: %d samples cannot be compared by metric %d with p %g", n,
                        (int)metric, (double)p);
    if (metric == INTERP_MODE_EARTH_MOVER_2D && shape->rank != 3)
        return itp_fail(ctx, INTERP_BAD_SHAPE,
                        "mode: earthmover2d is for pictures [C,H,W], but these have %d dimensions",
                        shape->rank);
    c.x = x, c.n = n, c.map = map, c.shape = *shape, c.d = interp_shape_size(shape);
    c.metric = metric, c.p = p, c.out = out;
    c.height = itp_min(shape->dim[1], ITP_MODE_GRID),
    c.width = itp_min(shape->dim[2], ITP_MODE_GRID);
    const size_t slots = (size_t)ctx->slots;
    float *scratch = NULL;
    if (metric == INTERP_MODE_EARTH_MOVER) {
        c.sorted = scratch =
            (float *)interp_alloc(ctx, itp_mul_size((2 * slots + 1) * sizeof(float), c.d));
        if (!scratch) return INTERP_NO_MEMORY;
        itp_mode_sort(map, c.d, c.sorted, c.sorted + c.d);
    } else if (metric == INTERP_MODE_EARTH_MOVER_2D) {
        const size_t planes = (size_t)shape->dim[0] * (size_t)(c.height * c.width);
        c.grid = scratch = (float *)interp_alloc(ctx, slots * planes * sizeof(float));
        if (!scratch) return INTERP_NO_MEMORY;
        itp_mode_cells(&c, map, c.grid, c.cells);
    }
    const double work = metric == INTERP_MODE_EARTH_MOVER_2D ? 1e5 : 4 * (double)c.d;
    itp_parallel(ctx, itp_div_up(n, ITP_MODE_PIECE), work * n, itp_mode_compare_task, &c);
    interp_free(ctx, scratch);
    return INTERP_OK;
}

/* A value and where it stands. */
typedef struct itp_mode_place {
    double value; /* less is more alike */
    int at;
} itp_mode_place;

ITP_FN int itp_mode_place_order(const void *a, const void *b)
{
    const itp_mode_place *x = (const itp_mode_place *)a, *y = (const itp_mode_place *)b;
    if (x->value != x->value || y->value != y->value) { /* NaN last */
        const int order = (x->value != x->value) - (y->value != y->value);
        return order ? order : (x->at > y->at) - (x->at < y->at);
    }
    if (x->value < y->value) return -1;
    return x->value > y->value ? 1 : (x->at > y->at) - (x->at < y->at);
}

INTERP_API interp_status interp_mode_order(interp_ctx *ctx, interp_mode_metric metric,
                                           const double *values, int n, int *order)
{
    itp_mode_place *place =
        (itp_mode_place *)interp_alloc(ctx, itp_mul_size((size_t)n, sizeof *place));
    if (!place) return INTERP_NO_MEMORY;
    for (int i = 0; i < n; i++) {
        place[i].value = metric == INTERP_MODE_DOT ? -values[i] : values[i];
        place[i].at = i;
    }
    qsort(place, (size_t)n, sizeof *place, itp_mode_place_order);
    for (int i = 0; i < n; i++) order[i] = place[i].at;
    interp_free(ctx, place);
    return INTERP_OK;
}

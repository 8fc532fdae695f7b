/* ---- embed/grid.c: the repulsion of all pairs in the plane as a potential on a grid ------------- */

/* With phi(y) = sum over j of k(|y - y_j|), k(d) = (1 + d^2 / dof)^(-(dof+1)/2), t-SNE's normalisation
   is the sum of phi over the points, less each one's own 1, and its repulsion -dof / (dof+1) times the
   slope of phi. phi is a convolution: points are spread onto a grid by quintic B-splines, convolved with
   k by a Fourier transform of twice the size, and read back by the same splines, which interpolate once
   their transform is divided out twice (Essmann et al. 1995, Hockney and Eastwood 1988). */

#define ITP_MESH_LEAST 32   /* points along a side */
#define ITP_MESH_MOST  2048 /* likewise */
#define ITP_MESH_EDGE  8    /* of them beyond the outermost points */

typedef struct itp_mesh {
    int most;          /* points along a side at most */
    float step, taken; /* asked for; of the kernel at hand */
    float origin[2];
    double dof;
    itp_fft fft;
    itp_grid grid;
    int *place, *frequency; /* [2 most] */
    float *twiddle, *scratch;
    size_t slot_floats;
    bool ready;
} itp_mesh;

/* The smallest product of 2s, 3s and 5s from n on. */
ITP_FN int itp_smooth(int n)
{
    for (;; n++) {
        int m = n;
        while (m % 2 == 0) m /= 2;
        while (m % 3 == 0) m /= 3;
        while (m % 5 == 0) m /= 5;
        if (m == 1) return n;
    }
}

ITP_FN int itp_mesh_width(int m)
{
    return (int)itp_round_up((size_t)m + 1, 32);
}

/* A side's largest number of grid points grows with the root of n, so that memory is linear. */
ITP_FN void itp_mesh_layout(itp_arena *arena, itp_mesh *mesh, const interp_ctx *ctx, int n,
                            float step, double dof)
{
    const double side = 10 * sqrt((double)n);
    memset(mesh, 0, sizeof *mesh);
    mesh->most = itp_smooth(side < 400 ? 400 : side > ITP_MESH_MOST ? ITP_MESH_MOST : (int)side);
    mesh->step = step;
    mesh->dof = dof;
    const size_t m = (size_t)mesh->most, width = (size_t)itp_mesh_width(mesh->most);
    const size_t rows = itp_round_up(m + 1, ITP_MOST_LANES), lanes = (size_t)ctx->k->width;
    mesh->place = (int *)itp_arena_alloc(arena, 2 * m * sizeof(int));
    mesh->frequency = (int *)itp_arena_alloc(arena, 2 * m * sizeof(int));
    mesh->twiddle = itp_arena_floats(arena, 2 * 2 * m * 2);
    mesh->grid.grid = itp_arena_floats(arena, (m + 1) * width + ITP_MOST_LANES);
    mesh->grid.re = itp_arena_floats(arena, rows * width);
    mesh->grid.im = itp_arena_floats(arena, rows * width);
    mesh->grid.kernel = itp_arena_floats(arena, rows * 2 * m);
    mesh->slot_floats = 2 * 2 * m * lanes;
    mesh->scratch = itp_arena_floats(arena, mesh->slot_floats * (size_t)ctx->slots);
}

/* Factors, twiddles and where frequencies end up, for the length 2m. */
ITP_FN void itp_mesh_transform(itp_mesh *mesh, int m)
{
    const int n = 2 * m;
    itp_fft *f = &mesh->fft;
    int rest = n;
    f->n = n;
    f->stages = 0;
    for (int p = 5; p > 1; p--)
        while (rest % p == 0 && !(p == 2 && rest % 4 == 0)) f->factor[f->stages++] = p, rest /= p;
    float *w = mesh->twiddle;
    for (int t = 0, length = n; t < f->stages; t++) {
        const int part = length / f->factor[t];
        for (int j = 0; j < part; j++)
            for (int p = 1; p < f->factor[t]; p++) {
                const double angle = 6.283185307179586 * ((double)j * p / length);
                *w++ = (float)cos(angle);
                *w++ = (float)-sin(angle);
            }
        length = part;
    }
    f->twiddle = mesh->twiddle;
    for (int k = 0; k < n; k++) {
        int at = 0, left = k, length = n;
        for (int t = 0; t < f->stages; t++) {
            length /= f->factor[t];
            at += left % f->factor[t] * length;
            left /= f->factor[t];
        }
        mesh->place[k] = at;
        mesh->frequency[at] = k;
    }
}

typedef struct itp_mesh_job {
    const interp_ctx *ctx;
    itp_mesh *mesh;
    bool inverse;
    int n, bands;
    const float *x, *y;
    float *values; /* NULL: not wanted; [n] */
    float *fx, *fy;
    double *sums; /* [blocks] */
} itp_mesh_job;

ITP_FN void itp_mesh_along_task(void *arg, int task, int slot)
{
    const itp_mesh_job *job = (const itp_mesh_job *)arg;
    const itp_mesh *mesh = job->mesh;
    itp_embeds(job->ctx->k)
        ->grid_along(&mesh->grid, task, job->inverse,
                     mesh->scratch + mesh->slot_floats * (size_t)slot);
}

ITP_FN void itp_mesh_across_task(void *arg, int task, int slot)
{
    const itp_mesh_job *job = (const itp_mesh_job *)arg;
    const itp_mesh *mesh = job->mesh;
    itp_embeds(job->ctx->k)
        ->grid_across(&mesh->grid, task, mesh->scratch + mesh->slot_floats * (size_t)slot);
}

ITP_FN void itp_mesh_convolve(interp_ctx *ctx, itp_mesh_job *job)
{
    const itp_grid *g = &job->mesh->grid;
    const int lanes = ctx->k->width;
    const double work = 10.0 * g->m * g->m;
    job->inverse = false;
    itp_parallel(ctx, g->width / 2 / lanes, work, itp_mesh_along_task, job);
    itp_parallel(ctx, g->rows / lanes, work, itp_mesh_across_task, job);
    if (g->mirror) return;
    job->inverse = true;
    itp_parallel(ctx, g->width / 2 / lanes, work, itp_mesh_along_task, job);
}

/* The transform of a spline at whole numbers, at frequency k of 2m. */
ITP_FN double itp_mesh_spline(int k, int m)
{
    const double angle = 3.141592653589793 * k / m;
    return (66 + 52 * cos(angle) + 2 * cos(2 * angle)) / 120;
}

/* The six splines over a cell at t. */
ITP_FN void itp_mesh_weights(float t, float *w)
{
    for (int side = 0; side < 2; side++) {
        const float x = side ? 1 - t : t, y = 1 - x, x2 = x * x;
        w[side ? 5 : 0] = y * y * y * y * y / 120;
        w[side ? 4 : 1] = (26 + x * (-50 + x * (20 + x * (20 + x * (-20 + x * 5))))) / 120;
        w[side ? 3 : 2] = (66 + x2 * (-60 + x2 * (30 - 10 * x))) / 120;
    }
}

/* The transform of k on the grid, the splines divided out twice. */
ITP_FN void itp_mesh_kernel(interp_ctx *ctx, itp_mesh *mesh, int m, float step)
{
    itp_grid *g = &mesh->grid;
    itp_mesh_job job;
    const int lanes = ctx->k->width;
    memset(&job, 0, sizeof job);
    job.ctx = ctx;
    job.mesh = mesh;
    itp_mesh_transform(mesh, m);
    g->fft = &mesh->fft;
    g->place = mesh->place;
    g->m = m;
    g->width = itp_mesh_width(m);
    g->rows = (int)itp_round_up((size_t)m + 1, (size_t)lanes);
    mesh->taken = step;
    memset(g->re, 0, (size_t)g->rows * (size_t)g->width * sizeof(float));
    memset(g->im, 0, (size_t)g->rows * (size_t)g->width * sizeof(float));
    for (int i = 0; i <= m; i++)
        for (int j = 0; j < g->width; j++) {
            const double h = (double)step, d2 = h * h * ((double)i * i + (double)j * j);
            const double q = 1 / (1 + d2 / mesh->dof);
            g->grid[(size_t)i * (size_t)g->width + (size_t)j] =
                (float)(j > m            ? 0
                        : mesh->dof == 1 ? q
                                         : pow(q, (mesh->dof + 1) / 2));
        }
    g->mirror = true;
    itp_mesh_convolve(ctx, &job);
    g->mirror = false;
    for (int block = 0; block < g->rows / lanes; block++)
        for (int at = 0; at < 2 * m; at++)
            for (int l = 0; l < lanes; l++) {
                const int kx = block * lanes + l, ky = mesh->frequency[at];
                const double bx = itp_mesh_spline(kx, m), by = itp_mesh_spline(ky, m);
                float *to =
                    g->kernel + ((size_t)block * 2 * (size_t)m + (size_t)at) * (size_t)lanes + l;
                *to = kx > m ? 0 : (float)((double)*to / (bx * bx * by * by * 4.0 * m * m));
            }
    mesh->ready = true;
}

/* Makes the grid hold what lies between low and high. It is changed only when it has to be. */
ITP_FN void itp_mesh_fit(interp_ctx *ctx, itp_mesh *mesh, const float *low, const float *high)
{
    const double span = fmax((double)high[0] - (double)low[0], (double)high[1] - (double)low[1]);
    const double room = span / (double)mesh->step + ITP_MESH_EDGE;
    if (room <= mesh->most) {
        const bool fits = mesh->ready && mesh->taken == mesh->step && room <= mesh->grid.m &&
                          (room > 0.7 * mesh->grid.m || mesh->grid.m == ITP_MESH_LEAST);
        if (!fits) {
            const int want = (int)itp_min_double(room * 1.06 + 1, mesh->most);
            itp_mesh_kernel(ctx, mesh, itp_smooth(itp_max(ITP_MESH_LEAST, want)), mesh->step);
        }
    } else { /* as fine as memory allows */
        const double least = span / (mesh->most - ITP_MESH_EDGE);
        if (!mesh->ready || mesh->grid.m != mesh->most || (double)mesh->taken < least ||
            (double)mesh->taken > 1.1 * least)
            itp_mesh_kernel(ctx, mesh, mesh->most, (float)(1.04 * least));
    }
    for (int k = 0; k < 2; k++) { /* the middle of the grid over the middle of the points */
        const double middle = ((double)high[k] + (double)low[k]) / 2;
        mesh->origin[k] = (float)(middle - (double)mesh->taken * (mesh->grid.m - 2) / 2);
    }
}

/* Spreads all points onto the rows of one band; each number gets its points in their order, however
   many bands there are. */
ITP_FN void itp_mesh_spread_task(void *arg, int task, int slot)
{
    const itp_mesh_job *job = (const itp_mesh_job *)arg;
    const itp_mesh *mesh = job->mesh;
    const int m = mesh->grid.m, width = mesh->grid.width;
    const int first = (int)((int64_t)m * task / job->bands);
    const int end = (int)((int64_t)m * (task + 1) / job->bands);
    const float per_cell = 1 / mesh->taken;
    (void)slot;
    memset(mesh->grid.grid + (size_t)first * (size_t)width, 0,
           (size_t)(end - first) * (size_t)width * sizeof(float));
    for (int i = 0; i < job->n; i++) {
        const float u = per_cell * (job->x[i] - mesh->origin[0]);
        const int row = u > 2 ? (int)u : 2;
        if (row + 3 < first || row - 2 >= end) continue;
        const float v = per_cell * (job->y[i] - mesh->origin[1]);
        const int column = v > 2 ? (int)v : 2;
        float wx[6], wy[6];
        itp_mesh_weights(u - (float)row, wx);
        itp_mesh_weights(v - (float)column, wy);
        for (int r = 0; r < 6; r++) {
            if (row - 2 + r < first || row - 2 + r >= end) continue;
            float *to = mesh->grid.grid + (size_t)(row - 2 + r) * (size_t)width + column - 2;
            for (int c = 0; c < 6; c++) to[c] += wx[r] * wy[c];
        }
    }
}

ITP_FN void itp_mesh_read_task(void *arg, int task, int slot)
{
    const itp_mesh_job *job = (const itp_mesh_job *)arg;
    const itp_mesh *mesh = job->mesh;
    const double dof = mesh->dof;
    const int from = task * ITP_POINTS, to = itp_min(job->n, from + ITP_POINTS);
    (void)slot;
    job->sums[task] =
        itp_embeds(job->ctx->k)
            ->mesh_read(from, to, job->x, job->y, mesh->origin, 1 / mesh->taken, mesh->grid.grid,
                        mesh->grid.width, (float)(-dof / (dof + 1)), job->values, job->fx, job->fy);
}

/* Makes the grid phi of n points within low..high. */
ITP_FN void itp_mesh_potential(interp_ctx *ctx, itp_mesh_job *job, const float *low,
                               const float *high)
{
    itp_mesh_fit(ctx, job->mesh, low, high);
    job->bands = ctx->slots < 2 ? 1 : itp_min(2 * ctx->slots, job->mesh->grid.m / 16);
    itp_parallel(ctx, job->bands, 50.0 * job->n, itp_mesh_spread_task, job);
    itp_mesh_convolve(ctx, job);
}

/* Forces on n points within low..high; returns the sum of k over all pairs of different points. */
ITP_FN double itp_mesh_repel(interp_ctx *ctx, itp_mesh *mesh, int n, const float *x, const float *y,
                             const float *low, const float *high, float *fx, float *fy,
                             double *sums)
{
    itp_mesh_job job;
    memset(&job, 0, sizeof job);
    job.ctx = ctx;
    job.mesh = mesh;
    job.n = n;
    job.x = x, job.y = y;
    job.fx = fx, job.fy = fy;
    job.sums = sums;
    itp_mesh_potential(ctx, &job, low, high);
    itp_parallel(ctx, itp_point_blocks(n), 100.0 * n, itp_mesh_read_task, &job);
    double total = -n;
    for (int b = 0; b < itp_point_blocks(n); b++) total += sums[b];
    return total;
}

/* ---- data/shapes.c: pictures in which the pixels that decide are known ------------------------- */

#define ITP_STREAM_SHAPES 0x53484150u /* "SHAP": random numbers no one else uses */

enum { ITP_SHAPE_KINDS = 4, ITP_SHAPE_OTHERS = 3, ITP_SHAPE_LEAST = 16 };

/* A shape in a picture. */
typedef struct itp_figure {
    int kind;
    double x, y, radius, across, down; /* centre and size in pixels; cosine and sine of its turn */
} itp_figure;

/* Draws of one sample, in order. */
typedef struct itp_dice {
    uint64_t seed, stream, at;
} itp_dice;

ITP_FN double itp_dice_between(itp_dice *d, double low, double high)
{
    return low + (high - low) * (double)interp_random_uniform(d->seed, d->stream, d->at++);
}

/* Whether a point lies in a shape of half width 1 around 0; the classes, then the distractors. */
ITP_FN bool itp_figure_holds(int kind, double x, double y)
{
    const double ax = fabs(x), ay = fabs(y), r = x * x + y * y;
    switch (kind) {
    case 0: return r <= 1;                                                          /* disc */
    case 1: return ax <= 0.88 && ay <= 0.88;                                        /* square */
    case 2: return y <= 0.85 && ax <= (y + 1) * 0.54;                               /* triangle */
    case 3: return (ax <= 0.32 && ay <= 1) || (ay <= 0.32 && ax <= 1);              /* cross */
    case 4: return r <= 1 && r >= 0.36;                                             /* ring */
    case 5: return ax <= 1 && ay <= 0.9 && ay >= 0.36;                              /* two bars */
    default: return fmin(fabs(x - y), fabs(x + y)) <= 0.42 && fmax(ax, ay) <= 0.85; /* an x */
    }
}

/* Share of pixel (x,y) that a shape covers, from 16 points. */
ITP_FN double itp_figure_cover(const itp_figure *f, int x, int y)
{
    int inside = 0;
    if (fabs(x - f->x) + fabs(y - f->y) > 2 * f->radius + 2) return 0;
    for (int k = 0; k < 16; k++) {
        const double px = (x + (k % 4 - 1.5) / 4 - f->x) / f->radius;
        const double py = (y + ((k >> 2) - 1.5) / 4 - f->y) / f->radius;
        inside +=
            itp_figure_holds(f->kind, px * f->across + py * f->down, py * f->across - px * f->down);
    }
    return inside / 16.0;
}

ITP_FN void itp_figure_draw(itp_dice *dice, int kind, int height, int width, itp_figure *f)
{
    const double side = itp_min(height, width), turn = itp_dice_between(dice, -0.25, 0.25);
    f->kind = kind;
    f->radius = side * itp_dice_between(dice, 0.15, 0.19);
    f->across = cos(turn), f->down = sin(turn);
    const double edge = 1.2 * f->radius;
    f->x = itp_dice_between(dice, edge, width - 1 - edge);
    f->y = itp_dice_between(dice, edge, height - 1 - edge);
}

/* Two shapes that do not touch: drawn again until they are apart, at last in opposite corners. */
ITP_FN void itp_figures_place(itp_dice *dice, int height, int width, itp_figure f[2])
{
    const int kinds[2] = {f[0].kind, f[1].kind};
    for (int attempt = 0; attempt < 64; attempt++) {
        for (int k = 0; k < 2; k++) itp_figure_draw(dice, kinds[k], height, width, &f[k]);
        const double apart = fmax(fabs(f[0].x - f[1].x), fabs(f[0].y - f[1].y));
        if (apart >= 1.2 * (f[0].radius + f[1].radius) + 2) return;
    }
    for (int k = 0; k < 2; k++) {
        const double edge = 1.2 * f[k].radius;
        f[k].x = k ? width - 1 - edge : edge;
        f[k].y = k ? height - 1 - edge : edge;
    }
}

/* Smooth noise: random numbers at the points of a grid `step` pixels apart, and between them. */
ITP_FN double itp_texture(const itp_dice *dice, uint64_t first, int step, int x, int y)
{
    double sum = 0;
    const double fx = (double)(x % step) / step, fy = (double)(y % step) / step;
    for (int k = 0; k < 4; k++) {
        const uint64_t gx = (uint64_t)(x / step + (k & 1)), gy = (uint64_t)(y / step + (k >> 1));
        const double w = (k & 1 ? fx : 1 - fx) * (k >> 1 ? fy : 1 - fy);
        if (w > 0)
            sum += w * (2 * (double)interp_random_uniform(dice->seed, dice->stream,
                                                          first + (gy << 24) + gx) -
                        1);
    }
    return sum;
}

/* One picture and the pixels that decide, which are those of its shape and their neighbours. */
ITP_FN void itp_shapes_sample(const interp_shape *s, itp_dice *dice, int label, float *x,
                              unsigned char *mask)
{
    const int channels = s->dim[0], height = s->dim[1], width = s->dim[2];
    const size_t area = (size_t)height * (size_t)width;
    const int other = (int)itp_dice_between(dice, 0, ITP_SHAPE_OTHERS);
    itp_figure f[2];
    double sign[2];
    f[0].kind = label;
    f[1].kind = ITP_SHAPE_KINDS + itp_min(other, ITP_SHAPE_OTHERS - 1);
    for (int k = 0; k < 2; k++) sign[k] = itp_dice_between(dice, -1, 1) < 0 ? -1 : 1;
    itp_figures_place(dice, height, width, f);
    const int step = itp_max(2, itp_min(height, width) / 6);
    for (int c = 0; c < channels; c++) {
        const uint64_t first = (uint64_t)(c + 1) << 50;
        const double tone[2] = {sign[0] * itp_dice_between(dice, 0.55, 1),
                                sign[1] * itp_dice_between(dice, 0.55, 1)};
        for (int y = 0; y < height; y++)
            for (int k = 0; k < width; k++) {
                double v = 0.25 * itp_texture(dice, first, step, k, y) +
                           0.12 * itp_texture(dice, first + ((uint64_t)1 << 49), 1, k, y);
                for (int i = 0; i < 2; i++) {
                    const double cover = itp_figure_cover(&f[i], k, y);
                    v += cover * (tone[i] - v * 0.7);
                }
                x[(size_t)c * area + (size_t)y * (size_t)width + (size_t)k] =
                    (float)fmin(fmax(v, -1), 1);
            }
    }
    for (int y = 0; y < height && mask; y++)
        for (int k = 0; k < width; k++) {
            bool near = false;
            for (int i = 0; i < 9 && !near; i++)
                near = itp_figure_cover(&f[0], k + i % 3 - 1, y + i / 3 - 1) > 0;
            mask[(size_t)y * (size_t)width + (size_t)k] = near;
        }
}

INTERP_API interp_status interp_dataset_shapes(interp_ctx *ctx, const interp_shapes_desc *desc,
                                               interp_dataset *dataset, unsigned char *masks)
{
    static const char *const names[ITP_SHAPE_KINDS] = {"disc", "square", "triangle", "cross"};
    interp_shapes_desc d;
    interp_dataset out;
    memset(&d, 0, sizeof d);
    if (desc) d = *desc;
    if (!d.n) d.n = 1000;
    if (!d.channels) d.channels = 1;
    if (!d.height) d.height = 32;
    if (!d.width) d.width = 32;
    if (d.n < 1 || d.channels < 1 || d.channels > 64 || d.height < ITP_SHAPE_LEAST ||
        d.width < ITP_SHAPE_LEAST || d.height > 4096 || d.width > 4096)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "shapes: %d pictures of [%d,%d,%d]; there must be one or more, of 1 to 64 "
                        "channels and sides of %d to 4096 pixels",
                        d.n, d.channels, d.height, d.width, ITP_SHAPE_LEAST);
    const interp_shape shape = itp_shape_3(d.channels, d.height, d.width);
    const size_t area = (size_t)d.height * (size_t)d.width;
    ITP_TRY(itp_dataset_new(ctx, d.n, &shape, ITP_SHAPE_KINDS, names, &out));
    for (int i = 0; i < d.n; i++) {
        itp_dice dice = {d.seed, ((uint64_t)ITP_STREAM_SHAPES << 32) + (uint64_t)i, 0};
        out.y[i] = i % ITP_SHAPE_KINDS;
        itp_shapes_sample(&shape, &dice, (int)out.y[i],
                          out.x + (size_t)i * area * (size_t)d.channels,
                          masks ? masks + (size_t)i * area : NULL);
    }
    *dataset = out;
    return INTERP_OK;
}

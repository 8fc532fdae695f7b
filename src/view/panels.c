/* ---- view/panels.c: attributions over pictures, grids of pictures, confusion matrices -------- */

ITP_FN int itp_view_compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* captum's _cumulative_sum_threshold; 0 percent takes the largest where captum can fail. */
ITP_FN double itp_cumulative_threshold(double *magnitudes, size_t n, double outlier_percent)
{
    qsort(magnitudes, n, sizeof(double), itp_view_compare_doubles);
    double total = 0, sum = 0;
    for (size_t i = 0; i < n; i++) total += magnitudes[i];
    const double limit = total * .01 * (100 - outlier_percent);
    for (size_t i = 0; i < n; i++) {
        sum += magnitudes[i];
        if (sum >= limit) return magnitudes[i];
    }
    return n ? magnitudes[n - 1] : 0;
}

ITP_FN interp_status itp_attribution_check(interp_ctx *ctx, int channels, int height, int width,
                                           interp_attribution_sign sign, float outlier_percent)
{
    if (channels < 1 || height < 1 || width < 1 || height > ITP_IMAGE_SIDE ||
        width > ITP_IMAGE_SIDE)
        return itp_fail(
            ctx, INTERP_BAD_ARGUMENT,
            "attribution: its shape is [%d,%d,%d]; all must be at least 1 and a side at "
            "most %d",
            channels, height, width, ITP_IMAGE_SIDE);
    if ((unsigned)sign > INTERP_SIGN_ABSOLUTE || !(outlier_percent < 100))
        return itp_fail(
            ctx, INTERP_BAD_ARGUMENT,
            "attribution: sign is %d and outlier_percent %g; take one of interp_attribution_"
            "sign and less than 100",
            (int)sign, (double)outlier_percent);
    return INTERP_OK;
}

INTERP_API interp_status interp_attribution_normalize(interp_ctx *ctx, const float *attr,
                                                      int channels, int height, int width,
                                                      interp_attribution_sign sign,
                                                      float outlier_percent, float *out)
{
    ITP_TRY(itp_attribution_check(ctx, channels, height, width, sign, outlier_percent));
    const size_t n = (size_t)height * (size_t)width;
    const double percent = outlier_percent == 0  ? 2
                           : outlier_percent < 0 ? 0
                                                 : (double)outlier_percent;
    if (!attr) return itp_fail(ctx, INTERP_BAD_ARGUMENT, "attribution: attr is NULL");
    double *value = (double *)interp_alloc(ctx, itp_mul_size(n, 2 * sizeof(double)));
    if (!value) return INTERP_NO_MEMORY;
    double *magnitude = value + n;
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (int c = 0; c < channels; c++) sum += (double)attr[(size_t)c * n + i];
        if (!(fabs(sum) <= DBL_MAX)) sum = 0;
        if (sign == INTERP_SIGN_NEGATIVE) sum = -sum;
        if (sign == INTERP_SIGN_ABSOLUTE) sum = fabs(sum);
        if (sign != INTERP_SIGN_ALL && sum < 0) sum = 0;
        value[i] = sum;
        magnitude[i] = fabs(sum);
    }
    const double threshold = itp_cumulative_threshold(magnitude, n, percent);
    for (size_t i = 0; i < n; i++)
        out[i] = threshold > 0 ? (float)fmin(fmax(value[i] / threshold, -1), 1) : 0;
    interp_free(ctx, value);
    return INTERP_OK;
}

/* The range from black to white: 0..1 or 0..255 when the values lie so, else their own. */
ITP_FN itp_view_range itp_picture_range(const float *v, size_t n, float low, float high)
{
    itp_view_range r = itp_view_range_new();
    if (low < high) {
        r.low = (double)low, r.high = (double)high;
        return r;
    }
    itp_view_range_add_all(&r, v, n, false);
    const bool positive = r.low <= r.high && r.low >= 0;
    if (positive && r.high <= 1) r.low = 0, r.high = 1;
    else if (positive && r.high > 16 && r.high <= 255) r.low = 0, r.high = 255;
    return r;
}

/* Where a value lies in a range, 0..1; NaN stays NaN, an empty range gives 0. */
ITP_FN double itp_view_range_at(const itp_view_range *r, double v)
{
    if (v != v || !(r->high > r->low)) return v != v ? v : 0;
    return fmin(fmax((v - r->low) / (r->high - r->low), 0), 1);
}

/* A picture [C,H,W] as three planes of 0..1. */
ITP_FN void itp_picture_planes(const float *v, int channels, size_t n, const itp_view_range *r,
                               float *planes)
{
    for (size_t i = 0; i < n; i++) {
        double mean = 0;
        for (int c = 0; c < channels; c++) mean += (double)v[(size_t)c * n + i] / channels;
        for (int k = 0; k < 3; k++) {
            const double t =
                itp_view_range_at(r, channels == 3 ? (double)v[(size_t)k * n + i] : mean);
            planes[(size_t)k * n + i] = (float)(t == t ? t : 0);
        }
    }
}

/* Three planes to their mean, stretched from its smallest to its largest value. */
ITP_FN void itp_planes_to_grey(float *planes, size_t n)
{
    itp_view_range r = itp_view_range_new();
    for (size_t i = 0; i < n; i++) {
        planes[i] = (planes[i] + planes[n + i] + planes[2 * n + i]) / 3;
        itp_view_range_add(&r, (double)planes[i], false);
    }
    for (size_t i = 0; i < n; i++) {
        planes[i] = (float)itp_view_range_at(&r, (double)planes[i]);
        planes[n + i] = planes[2 * n + i] = planes[i];
    }
}

/* Value of a plane [h,w] at pixel i, j of the plane enlarged `scale` times. */
ITP_FN double itp_plane_at(const float *plane, int h, int w, int i, int j, int scale, bool smooth)
{
    int x, x2, y, y2;
    double fx, fy;
    if (!smooth) return (double)plane[(size_t)(j / scale) * (size_t)w + (size_t)(i / scale)];
    itp_blit_between(i, w, w * scale, &x, &x2, &fx);
    itp_blit_between(j, h, h * scale, &y, &y2, &fy);
    const float *top = plane + (size_t)y * (size_t)w, *low = plane + (size_t)y2 * (size_t)w;
    const double a = (double)top[x] * (1 - fx) + (double)top[x2] * fx;
    const double b = (double)low[x] * (1 - fx) + (double)low[x2] * fx;
    return a * (1 - fy) + b * fy;
}

ITP_FN interp_colormap itp_sign_map(interp_attribution_sign sign)
{
    switch (sign) {
    case INTERP_SIGN_POSITIVE: return INTERP_COLORMAP_GREENS;
    case INTERP_SIGN_NEGATIVE: return INTERP_COLORMAP_REDS;
    case INTERP_SIGN_ABSOLUTE: return INTERP_COLORMAP_BLUES;
    default: return INTERP_COLORMAP_RD_WH_GN;
    }
}

/* One pixel: attribution v, picture c of 0..1. */
ITP_FN uint32_t itp_attribution_pixel(const interp_attribution_draw_desc *d, double v,
                                      const double c[3])
{
    const double t = d->sign == INTERP_SIGN_ALL ? (v + 1) / 2 : v;
    const uint32_t picture = itp_rgb(255 * c[0], 255 * c[1], 255 * c[2]);
    switch (d->method) {
    case INTERP_DRAW_BLENDED:
    case INTERP_DRAW_OVERLAY:
        return itp_rgb_mix(picture, itp_map_rgb(d->colormap, t), (double)d->alpha);
    case INTERP_DRAW_MASKED: return itp_rgb_mix(0x000000, picture, v);
    case INTERP_DRAW_ALPHA: return itp_rgb_mix(0xffffff, picture, v);
    case INTERP_DRAW_ORIGINAL: return picture;
    default: return itp_map_rgb(d->colormap, t);
    }
}

ITP_FN interp_status itp_attribution_desc(interp_ctx *ctx, interp_attribution_draw_desc *d)
{
    if (d->channels == 0) d->channels = 1;
    if (d->image_channels == 0) d->image_channels = d->channels;
    if (d->alpha == 0) d->alpha = .5f;
    if (d->method > INTERP_DRAW_OVERLAY) d->colour_bar = false;
    if (d->colormap == INTERP_COLORMAP_AUTO) d->colormap = itp_sign_map(d->sign);
    ITP_TRY(
        itp_attribution_check(ctx, d->channels, d->height, d->width, d->sign, d->outlier_percent));
    if (d->scale == 0) d->scale = itp_max(1, itp_div_up(256, itp_max(d->height, d->width)));
    const bool one_sign = d->method == INTERP_DRAW_MASKED || d->method == INTERP_DRAW_ALPHA;
    if (!d->attr && d->method != INTERP_DRAW_ORIGINAL)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "attribution: attr is NULL; only ORIGINAL goes without");
    if (!d->image && d->method != INTERP_DRAW_HEAT_MAP)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "attribution: image is NULL; only HEAT_MAP goes without");
    if (one_sign && d->sign == INTERP_SIGN_ALL)
        return itp_fail(
            ctx, INTERP_BAD_ARGUMENT,
            "attribution: MASKED and ALPHA show magnitudes; take a sign other than ALL");
    if (d->scale < 1 || d->scale > ITP_IMAGE_SIDE / itp_max(d->height, d->width) ||
        d->image_channels < 1 || !(d->alpha >= 0 && d->alpha <= 1))
        return itp_fail(
            ctx, INTERP_BAD_ARGUMENT,
            "attribution: scale is %d, image_channels %d, alpha %g; the picture may have %d "
            "pixels a side, alpha is 0..1",
            d->scale, d->image_channels, (double)d->alpha, ITP_IMAGE_SIDE);
    return INTERP_OK;
}

#define ITP_BAR_GAP   12
#define ITP_BAR_WIDTH 14

/* An upright bar of the colours with a text at top, middle and bottom. */
ITP_FN void itp_draw_bar(const itp_canvas *c, int x, int y, int height, interp_colormap map,
                         int size, const char *const text[3])
{
    const int inset = size * 36 / 100 + 1;
    const int at[3] = {y + inset, y + height / 2, y + height - 1 - inset};
    for (int j = 0; j < height; j++)
        itp_draw_rect(c, x, y + j, x + ITP_BAR_WIDTH, y + j + 1,
                      itp_map_rgb(map, (height - 1 - j) / (double)itp_max(1, height - 1)), 1);
    itp_draw_frame(c, x, y, x + ITP_BAR_WIDTH, y + height, ITP_RGB_AXIS);
    for (int i = 0; i < 3; i++)
        if (text[i]) itp_draw_text(c, x + ITP_BAR_WIDTH + 6, at[i], size, 0, ITP_RGB_TEXT, text[i]);
}

/* `planes` is [4,H,W]: the attributions, then the picture. */
ITP_FN void itp_attribution_paint(const interp_attribution_draw_desc *d, const float *planes,
                                  interp_image *image)
{
    const itp_canvas c = itp_canvas_of(image);
    const size_t n = (size_t)d->height * (size_t)d->width;
    const int w = d->width * d->scale, h = d->height * d->scale;
    for (int j = 0; j < h; j++)
        for (int i = 0; i < w; i++) {
            double v[4];
            for (size_t k = 0; k < 4; k++)
                v[k] = itp_plane_at(planes + k * n, d->height, d->width, i, j, d->scale, d->smooth);
            itp_draw_blend(&c, i, j, itp_attribution_pixel(d, v[0], v + 1), 1);
        }
    if (!d->colour_bar) return;
    static const char *const all[3] = {"1", "0", "-1"}, *const half[3] = {"1", "0.5", "0"};
    itp_draw_bar(&c, w + ITP_BAR_GAP, 0, h, d->colormap, 13,
                 d->sign == INTERP_SIGN_ALL ? all : half);
}

INTERP_API interp_status interp_attribution_draw(interp_ctx *ctx,
                                                 const interp_attribution_draw_desc *desc,
                                                 interp_image *out)
{
    interp_attribution_draw_desc d;
    interp_image image = {0, 0, NULL};
    if (!desc) return itp_fail(ctx, INTERP_BAD_ARGUMENT, "attribution: the description is NULL");
    d = *desc;
    ITP_TRY(itp_attribution_desc(ctx, &d));
    const size_t n = (size_t)d.height * (size_t)d.width;
    float *planes = (float *)itp_calloc(ctx, itp_mul_size(n, 4), sizeof(float));
    if (!planes) return INTERP_NO_MEMORY;
    interp_status status = INTERP_OK;
    if (d.attr)
        status = interp_attribution_normalize(ctx, d.attr, d.channels, d.height, d.width, d.sign,
                                              d.outlier_percent, planes);
    if (d.image) {
        const itp_view_range r =
            itp_picture_range(d.image, n * (size_t)d.image_channels, d.image_min, d.image_max);
        itp_picture_planes(d.image, d.image_channels, n, &r, planes + n);
        if (d.method == INTERP_DRAW_BLENDED) itp_planes_to_grey(planes + n, n);
    }
    const int bar = d.colour_bar ? ITP_BAR_GAP + ITP_BAR_WIDTH + 36 : 0;
    if (!status)
        status = interp_image_new(ctx, d.width * d.scale + bar, d.height * d.scale, ITP_RGB_PAPER,
                                  &image);
    if (!status) {
        itp_attribution_paint(&d, planes, &image);
        *out = image;
    }
    interp_free(ctx, planes);
    return status;
}

/* ---- grids of pictures */

#define ITP_PANEL_PAD     18
#define ITP_PANEL_GAP     6
#define ITP_PANEL_CAPTION 18
#define ITP_PANEL_SIDE    240 /* most pixels of a row label */
#define ITP_SIZE_CAPTION  12

typedef struct itp_panel {
    const interp_panel_desc *d;
    int cell_w, cell_h, left, top, bar;
    itp_view_range *ranges; /* [rows,cols] */
} itp_panel;

ITP_FN const interp_panel_cell *itp_panel_cell(const interp_panel_desc *d, int row, int col)
{
    return &d->cells[(size_t)row * (size_t)d->cols + (size_t)col];
}

ITP_FN int itp_cell_channels(const interp_panel_cell *cell)
{
    return cell->channels > 0 ? cell->channels : 1;
}

/* Drawn as it is, so that no range of other cells touches it. */
ITP_FN bool itp_cell_is_colour(const interp_panel_cell *cell)
{
    return cell->channels == 3 && cell->colormap == INTERP_COLORMAP_AUTO;
}

ITP_FN void itp_cell_size(const interp_panel_cell *cell, int *w, int *h)
{
    const bool image = !cell->values && cell->image && cell->image->rgb;
    *w = image ? cell->image->width : cell->values ? cell->width : 0;
    *h = image ? cell->image->height : cell->values ? cell->height : 0;
}

ITP_FN double itp_cell_mean(const interp_panel_cell *cell, size_t i)
{
    const int channels = itp_cell_channels(cell);
    const size_t n = (size_t)cell->height * (size_t)cell->width;
    double sum = 0;
    for (int c = 0; c < channels; c++) sum += (double)cell->values[(size_t)c * n + i];
    return sum / channels;
}

ITP_FN itp_view_range itp_cell_range(const interp_panel_cell *cell)
{
    itp_view_range r = itp_view_range_new();
    const size_t n = cell->values ? (size_t)cell->height * (size_t)cell->width : 0;
    if (cell->values && itp_cell_is_colour(cell))
        return itp_picture_range(cell->values, 3 * n, cell->min, cell->max);
    if (cell->min < cell->max) {
        r.low = (double)cell->min, r.high = (double)cell->max;
        return r;
    }
    for (size_t i = 0; i < n; i++) itp_view_range_add(&r, itp_cell_mean(cell, i), false);
    if (itp_map_diverges(cell->colormap) && r.low <= r.high) {
        r.high = fmax(fabs(r.low), fabs(r.high));
        r.low = -r.high;
    }
    return r;
}

/* Ranges of all cells, joined as the description says. */
ITP_FN void itp_panel_ranges(itp_panel *p)
{
    const interp_panel_desc *d = p->d;
    itp_view_range all = itp_view_range_new();
    for (int r = 0; r < d->rows; r++) {
        itp_view_range row = itp_view_range_new(), *to = d->range == INTERP_RANGE_ALL ? &all : &row;
        itp_view_range *own = p->ranges + (size_t)r * (size_t)d->cols;
        for (int c = 0; c < d->cols; c++) {
            const interp_panel_cell *cell = itp_panel_cell(d, r, c);
            own[c] = itp_cell_range(cell);
            if (itp_cell_is_colour(cell) || own[c].low > own[c].high) continue;
            itp_view_range_add(to, own[c].low, false);
            itp_view_range_add(to, own[c].high, false);
        }
        for (int c = 0; c < d->cols && d->range == INTERP_RANGE_ROW; c++) {
            const interp_panel_cell *cell = itp_panel_cell(d, r, c);
            if (!itp_cell_is_colour(cell) && !(cell->min < cell->max)) own[c] = row;
        }
    }
    const size_t n = (size_t)d->rows * (size_t)d->cols;
    for (size_t i = 0; i < n && d->range == INTERP_RANGE_ALL; i++)
        if (!itp_cell_is_colour(&d->cells[i]) && !(d->cells[i].min < d->cells[i].max))
            p->ranges[i] = all;
}

ITP_FN interp_status itp_cell_image(interp_ctx *ctx, const interp_panel_cell *cell,
                                    const itp_view_range *range, interp_image *out)
{
    const size_t n = (size_t)cell->height * (size_t)cell->width;
    const interp_colormap map =
        cell->colormap == INTERP_COLORMAP_AUTO ? INTERP_COLORMAP_GRAY : cell->colormap;
    ITP_TRY(interp_image_new(ctx, cell->width, cell->height, 0, out));
    for (size_t i = 0; i < n; i++) {
        uint32_t rgb;
        if (itp_cell_is_colour(cell)) {
            double c[3];
            for (size_t k = 0; k < 3; k++) {
                c[k] = 255 * itp_view_range_at(range, (double)cell->values[k * n + i]);
                if (c[k] != c[k]) c[k] = 0;
            }
            rgb = itp_rgb(c[0], c[1], c[2]);
        } else if (range->low == range->high && itp_map_diverges(map)) {
            rgb = itp_map_rgb(map, .5); /* nothing but zeros */
        } else {
            rgb = itp_map_rgb(map, itp_view_range_at(range, itp_cell_mean(cell, i)));
        }
        itp_rgb_put(out->rgb + 3 * i, rgb);
    }
    return INTERP_OK;
}

/* Draws a cell's picture into its place, as large as fits. */
ITP_FN interp_status itp_cell_draw(interp_ctx *ctx, const itp_panel *p, int row, int col, int x,
                                   int y, interp_image *image)
{
    const interp_panel_cell *cell = itp_panel_cell(p->d, row, col);
    const itp_view_range *range = &p->ranges[(size_t)row * (size_t)p->d->cols + (size_t)col];
    interp_image own = {0, 0, NULL};
    int w, h;
    itp_cell_size(cell, &w, &h);
    if (w < 1 || h < 1) return INTERP_OK;
    if (cell->values) ITP_TRY(itp_cell_image(ctx, cell, range, &own));
    const double fit = fmin((double)p->cell_w / w, (double)p->cell_h / h);
    const int to_w = itp_max(1, (int)(w * fit + .5)), to_h = itp_max(1, (int)(h * fit + .5));
    const itp_canvas c = itp_canvas_of(image);
    x += (p->cell_w - to_w) / 2, y += (p->cell_h - to_h) / 2;
    interp_image_blit(image, x, y, to_w, to_h, cell->values ? &own : cell->image,
                      INTERP_RESAMPLE_PIXELS);
    itp_draw_frame(&c, x - 1, y - 1, x + to_w + 1, y + to_h + 1, ITP_RGB_GRID);
    if (cell->values) interp_image_free(ctx, &own);
    return INTERP_OK;
}

/* Height of a row, with its captions when it has any. */
ITP_FN int itp_row_height(const itp_panel *p, int row)
{
    for (int c = 0; c < p->d->cols; c++)
        if (itp_panel_cell(p->d, row, c)->caption) return p->cell_h + ITP_PANEL_CAPTION;
    return p->cell_h;
}

/* The range and map that all cells of a row share, if they do. */
ITP_FN bool itp_row_shares(const itp_panel *p, int row, itp_view_range *range, interp_colormap *map)
{
    bool any = false;
    for (int c = 0; c < p->d->cols; c++) {
        const interp_panel_cell *cell = itp_panel_cell(p->d, row, c);
        const itp_view_range *r = &p->ranges[(size_t)row * (size_t)p->d->cols + (size_t)c];
        if (!cell->values) continue;
        if (itp_cell_is_colour(cell) || !(r->low < r->high)) return false;
        if (any && (r->low != range->low || r->high != range->high || cell->colormap != *map))
            return false;
        *range = *r;
        *map = cell->colormap;
        any = true;
    }
    if (*map == INTERP_COLORMAP_AUTO) *map = INTERP_COLORMAP_GRAY;
    return any;
}

ITP_FN void itp_row_bar(const itp_panel *p, const itp_canvas *c, int row, int x, int y)
{
    char low[ITP_TICK_TEXT], high[ITP_TICK_TEXT];
    itp_view_range r = itp_view_range_new();
    interp_colormap map = INTERP_COLORMAP_AUTO;
    if (!itp_row_shares(p, row, &r, &map)) return;
    if (fabs(r.low) < 1e-3 * fabs(r.high)) r.low = 0; /* as near to it as three digits tell */
    const char *text[3];
    text[0] = itp_value_text(high, r.high), text[1] = NULL, text[2] = itp_value_text(low, r.low);
    itp_draw_bar(c, x, y, p->cell_h, map, ITP_SIZE_CAPTION, text);
}

/* Sizes of cells and margins; returns false when the whole would be too large to count. */
ITP_FN bool itp_panel_layout(itp_panel *p, int *width, int *height)
{
    const interp_panel_desc *d = p->d;
    const int n = d->rows * d->cols;
    int w = 0, h = 0;
    for (int i = 0; i < n && (w < 1 || h < 1); i++) itp_cell_size(&d->cells[i], &w, &h);
    w = itp_max(w, 1), h = itp_max(h, 1);
    p->cell_w = d->cell_size > 0 ? d->cell_size : itp_max(32, itp_min(1100 / d->cols, 160));
    if (d->cell_size < 1 && w <= p->cell_w) p->cell_w = p->cell_w / w * w;
    p->cell_h = (int)fmin(fmax((double)p->cell_w * h / w + .5, 8), 4. * p->cell_w);
    p->left = ITP_PANEL_PAD;
    int label = 0;
    for (int r = 0; d->row_labels && r < d->rows; r++)
        label =
            itp_max(label, interp_text_width(d->row_labels[r], ITP_SIZE_TICK, INTERP_TEXT_BOLD));
    if (label) p->left += itp_min(label, ITP_PANEL_SIDE) + 12;
    p->top = ITP_PANEL_PAD + (d->title ? 34 : 0) + (d->col_labels ? 24 : 0);
    itp_view_range r = itp_view_range_new();
    interp_colormap map = INTERP_COLORMAP_AUTO;
    for (int i = 0; d->colour_bars && i < d->rows; i++)
        if (itp_row_shares(p, i, &r, &map)) p->bar = ITP_BAR_GAP + ITP_BAR_WIDTH + 66;
    const int64_t W = p->left + (int64_t)d->cols * (p->cell_w + ITP_PANEL_GAP) - ITP_PANEL_GAP +
                      p->bar + ITP_PANEL_PAD;
    int64_t H = p->top - ITP_PANEL_GAP + ITP_PANEL_PAD;
    for (int i = 0; i < d->rows; i++) H += itp_row_height(p, i) + ITP_PANEL_GAP;
    if (W > ITP_IMAGE_SIDE || H > ITP_IMAGE_SIDE) return false;
    const int title = d->title ? interp_text_width(d->title, ITP_SIZE_TITLE, INTERP_TEXT_BOLD) : 0;
    *width = itp_max((int)W, itp_min(title + 2 * ITP_PANEL_PAD, 900));
    *height = (int)H;
    return true;
}

ITP_FN interp_status itp_panel_paint(interp_ctx *ctx, const itp_panel *p, interp_image *image)
{
    const interp_panel_desc *d = p->d;
    const itp_canvas c = itp_canvas_of(image);
    const int step_x = p->cell_w + ITP_PANEL_GAP;
    int y = p->top;
    char cut[ITP_LABEL_BYTES];
    if (d->title)
        itp_draw_text(&c, ITP_PANEL_PAD, ITP_PANEL_PAD + 8, ITP_SIZE_TITLE, INTERP_TEXT_BOLD,
                      ITP_RGB_TITLE,
                      itp_text_fit(cut, d->title, ITP_SIZE_TITLE, INTERP_TEXT_BOLD,
                                   image->width - 2 * ITP_PANEL_PAD));
    for (int col = 0; d->col_labels && col < d->cols; col++)
        itp_draw_text(&c, p->left + col * step_x + p->cell_w / 2, p->top - 14, ITP_SIZE_TICK,
                      INTERP_TEXT_CENTRE, ITP_RGB_TEXT,
                      itp_text_fit(cut, d->col_labels[col], ITP_SIZE_TICK, 0, step_x - 4));
    for (int row = 0; row < d->rows; row++) {
        if (d->row_labels)
            itp_draw_text(&c, p->left - 12, y + p->cell_h / 2, ITP_SIZE_TICK,
                          INTERP_TEXT_RIGHT | INTERP_TEXT_BOLD, ITP_RGB_TEXT,
                          itp_text_fit(cut, d->row_labels[row], ITP_SIZE_TICK, INTERP_TEXT_BOLD,
                                       ITP_PANEL_SIDE));
        for (int col = 0; col < d->cols; col++) {
            const int x = p->left + col * step_x;
            ITP_TRY(itp_cell_draw(ctx, p, row, col, x, y, image));
            itp_draw_text(&c, x + p->cell_w / 2, y + p->cell_h + 9, ITP_SIZE_CAPTION,
                          INTERP_TEXT_CENTRE, ITP_RGB_TEXT,
                          itp_text_fit(cut, itp_panel_cell(d, row, col)->caption, ITP_SIZE_CAPTION,
                                       0, step_x - 2));
        }
        if (p->bar)
            itp_row_bar(p, &c, row, p->left + d->cols * step_x - ITP_PANEL_GAP + ITP_BAR_GAP, y);
        y += itp_row_height(p, row) + ITP_PANEL_GAP;
    }
    return INTERP_OK;
}

INTERP_API interp_status interp_panel_draw(interp_ctx *ctx, const interp_panel_desc *desc,
                                           interp_image *out)
{
    itp_panel p;
    interp_image image = {0, 0, NULL};
    int width = 0, height = 0;
    if (!desc || !desc->cells || desc->rows < 1 || desc->cols < 1 || desc->rows > 1000 ||
        desc->cols > 1000 || desc->cell_size < 0 || desc->cell_size > ITP_IMAGE_SIDE)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "panel: it needs 1..1000 rows and columns of cells");
    const size_t n = (size_t)desc->rows * (size_t)desc->cols;
    for (size_t i = 0; i < n; i++) {
        const interp_panel_cell *c = &desc->cells[i];
        if (c->values && (c->channels < 0 || c->height < 1 || c->width < 1 ||
                          c->height > ITP_IMAGE_SIDE || c->width > ITP_IMAGE_SIDE))
            return itp_fail(ctx, INTERP_BAD_ARGUMENT, "panel: cell %zu has shape [%d,%d,%d]", i,
                            c->channels, c->height, c->width);
    }
    memset(&p, 0, sizeof p);
    p.d = desc;
    p.ranges = (itp_view_range *)interp_alloc(ctx, itp_mul_size(n, sizeof(itp_view_range)));
    if (!p.ranges) return INTERP_NO_MEMORY;
    itp_panel_ranges(&p);
    interp_status status = INTERP_OK;
    if (!itp_panel_layout(&p, &width, &height))
        status = itp_fail(ctx, INTERP_BAD_ARGUMENT,
                          "panel: %d x %d cells of %d pixels are too large for one picture",
                          desc->rows, desc->cols, p.cell_w);
    if (!status) status = interp_image_new(ctx, width, height, ITP_RGB_PAPER, &image);
    if (!status) status = itp_panel_paint(ctx, &p, &image);
    interp_free(ctx, p.ranges);
    if (status) interp_image_free(ctx, &image);
    else *out = image;
    return status;
}

/* ---- confusion matrix */

typedef struct itp_confusion {
    const interp_confusion_draw_desc *d;
    interp_colormap map;
    int k, cell, text, count_text; /* classes; pixels; sizes of names and counts, 0: none */
    int x, y;                      /* corner of the cells */
    bool upright;                  /* names of columns stand upright */
    double *truth, *predicted;     /* [k] sums of rows and columns */
    double total, hits, macro_f1;
} itp_confusion;

#define ITP_CONFUSION_COLUMN 70
#define ITP_CONFUSION_LEFT   122 /* room for the words "precision %" */

ITP_FN double itp_confusion_count(const itp_confusion *m, int row, int col)
{
    return (double)m->d->counts[(size_t)row * (size_t)m->k + (size_t)col];
}

ITP_FN const char *itp_confusion_name(const itp_confusion *m, int i, char buf[ITP_TICK_TEXT])
{
    if (m->d->class_names && m->d->class_names[i]) return m->d->class_names[i];
    snprintf(buf, ITP_TICK_TEXT, "%d", i);
    return buf;
}

/* F1 of a class, NaN when it is neither in the truth nor predicted. */
ITP_FN double itp_confusion_f1(const itp_confusion *m, int i)
{
    const double both = m->truth[i] + m->predicted[i];
    return both > 0 ? 2 * itp_confusion_count(m, i, i) / both : (double)NAN;
}

ITP_FN void itp_confusion_sums(itp_confusion *m)
{
    double classes = 0;
    for (int i = 0; i < m->k; i++)
        for (int j = 0; j < m->k; j++) {
            const double n = itp_confusion_count(m, i, j);
            m->truth[i] += n;
            m->predicted[j] += n;
            m->total += n;
            if (i == j) m->hits += n;
        }
    for (int i = 0; i < m->k; i++) {
        const double f1 = itp_confusion_f1(m, i);
        if (f1 == f1) m->macro_f1 += f1, classes++;
    }
    m->macro_f1 = classes > 0 ? m->macro_f1 / classes : (double)NAN;
}

ITP_FN const char *itp_percent_text(char out[ITP_TICK_TEXT], double part, double whole)
{
    if (!(whole > 0) || part != part) return "-";
    snprintf(out, ITP_TICK_TEXT, "%.1f", 100 * part / whole);
    itp_number_tidy(out);
    return out;
}

/* Sizes of cells and text, and the corner of the cells. */
ITP_FN void itp_confusion_layout(itp_confusion *m)
{
    static const int most[7] = {2, 5, 10, 16, 25, 50, 100}, size[7] = {110, 84, 58, 44, 32, 20, 13};
    char buf[ITP_TICK_TEXT];
    int names = 0;
    m->cell = itp_max(3, 1300 / m->k);
    for (int i = 6; i >= 0; i--)
        if (m->k <= most[i]) m->cell = size[i];
    if (m->d->cell_size > 0) m->cell = itp_min(m->d->cell_size, 400);
    m->text = itp_max(8, itp_min(m->cell - 2, ITP_SIZE_TICK));
    double widest = 0;
    for (size_t i = 0; i < (size_t)m->k * (size_t)m->k; i++)
        widest = fmax(widest, (double)m->d->counts[i]);
    snprintf(buf, sizeof buf, "%.0f", widest);
    for (int s = 8; s <= 15; s++)
        if (interp_text_width(buf, s, 0) <= m->cell - 5 && s <= m->cell - 3) m->count_text = s;
    for (int i = 0; i < m->k; i++)
        names = itp_max(names, interp_text_width(itp_confusion_name(m, i, buf), m->text, 0));
    m->upright = names > m->cell - 4;
    names = itp_min(names, 200);
    m->x = 18 + 24 + names + 12;
    m->y = 86 + 26 + (m->upright ? names : m->text) + 12;
}

/* Class names, every so many that they do not run into each other. */
ITP_FN void itp_confusion_names(const itp_confusion *m, const itp_canvas *c)
{
    const int every = itp_div_up(m->text, m->cell), side = m->k * m->cell;
    char buf[ITP_TICK_TEXT], cut[ITP_LABEL_BYTES];
    for (int i = 0; i < m->k; i += every) {
        const int middle = i * m->cell + m->cell / 2;
        const char *name = itp_text_fit(cut, itp_confusion_name(m, i, buf), m->text, 0, 200);
        itp_draw_text(c, m->x - 9, m->y + middle, m->text, INTERP_TEXT_RIGHT, ITP_RGB_TEXT, name);
        if (m->upright)
            itp_draw_text(c, m->x + middle, m->y - 9, m->text, INTERP_TEXT_UP, ITP_RGB_TEXT, name);
        else
            itp_draw_text(c, m->x + middle, m->y - 9 - m->text / 3, m->text, INTERP_TEXT_CENTRE,
                          ITP_RGB_TEXT, name);
    }
    itp_draw_text(c, 22, m->y + side / 2, ITP_SIZE_LABEL,
                  INTERP_TEXT_UP | INTERP_TEXT_CENTRE | INTERP_TEXT_BOLD, ITP_RGB_TEXT,
                  "true class");
    itp_draw_text(c, m->x + side / 2, 96, ITP_SIZE_LABEL, INTERP_TEXT_CENTRE | INTERP_TEXT_BOLD,
                  ITP_RGB_TEXT,
                  itp_text_fit(cut, "predicted class", ITP_SIZE_LABEL, INTERP_TEXT_BOLD,
                               side + 2 * ITP_CONFUSION_COLUMN));
}

ITP_FN void itp_confusion_cells(const itp_confusion *m, const itp_canvas *c)
{
    const int gap = m->cell >= 12 ? 1 : 0;
    for (int i = 0; i < m->k; i++)
        for (int j = 0; j < m->k; j++) {
            char text[ITP_TICK_TEXT];
            const int x = m->x + j * m->cell, y = m->y + i * m->cell;
            const double n = itp_confusion_count(m, i, j),
                         share = m->truth[i] > 0 ? n / m->truth[i] : 0;
            const uint32_t rgb = itp_map_rgb(m->map, share);
            itp_draw_rect(c, x, y, x + m->cell - gap, y + m->cell - gap, rgb, 1);
            if (!m->count_text) continue;
            snprintf(text, sizeof text, "%.0f", n);
            const uint32_t ink = n > 0 ? itp_rgb_ink(rgb) : itp_rgb_mix(rgb, itp_rgb_ink(rgb), .35);
            itp_draw_text(c, x + m->cell / 2, y + m->cell / 2, m->count_text, INTERP_TEXT_CENTRE,
                          ink, text);
        }
    itp_draw_frame(c, m->x - 1, m->y - 1, m->x + m->k * m->cell + 1 - gap,
                   m->y + m->k * m->cell + 1 - gap, ITP_RGB_AXIS);
}

/* Recall, F1 and support at the right of each row, precision below each column. */
ITP_FN void itp_confusion_margins(const itp_confusion *m, const itp_canvas *c)
{
    static const char *const heads[3] = {"recall %", "F1 %", "support"};
    const int right = m->x + m->k * m->cell, bottom = m->y + m->k * m->cell;
    const int every = itp_div_up(m->text, m->cell), size = itp_min(m->text, 13);
    for (int i = 0; i < 3; i++)
        itp_draw_text(c, right + (i + 1) * ITP_CONFUSION_COLUMN - 4, m->y - 9 - m->text / 3, 13,
                      INTERP_TEXT_RIGHT, ITP_RGB_AXIS, heads[i]);
    itp_draw_text(c, m->x - 9, bottom + 18, 13, INTERP_TEXT_RIGHT, ITP_RGB_AXIS, "precision %");
    for (int i = 0; i < m->k; i += every) {
        char text[3][ITP_TICK_TEXT], below[ITP_TICK_TEXT];
        const char *show[3];
        const double hit = itp_confusion_count(m, i, i);
        const int middle = i * m->cell + m->cell / 2;
        snprintf(text[2], ITP_TICK_TEXT, "%.0f", m->truth[i]);
        show[0] = itp_percent_text(text[0], hit, m->truth[i]);
        show[1] = itp_percent_text(text[1], itp_confusion_f1(m, i), 1);
        show[2] = text[2];
        for (int s = 0; s < 3; s++)
            itp_draw_text(c, right + (s + 1) * ITP_CONFUSION_COLUMN - 4, m->y + middle, size,
                          INTERP_TEXT_RIGHT, ITP_RGB_TEXT, show[s]);
        const char *precision = itp_percent_text(below, hit, m->predicted[i]);
        const bool up = interp_text_width("100.0", size, 0) > m->cell - 4;
        itp_draw_text(c, m->x + middle, bottom + (up ? 10 : 18), size,
                      up ? INTERP_TEXT_UP | INTERP_TEXT_RIGHT : INTERP_TEXT_CENTRE, ITP_RGB_TEXT,
                      precision);
    }
}

ITP_FN interp_status itp_confusion_paint(interp_ctx *ctx, const itp_confusion *m,
                                         interp_image *image)
{
    char text[160], accuracy[ITP_TICK_TEXT], f1[ITP_TICK_TEXT], cut[ITP_LABEL_BYTES];
    const char *title = m->d->title ? m->d->title : "Confusion matrix";
    const int right = 3 * ITP_CONFUSION_COLUMN + 18, left = itp_max(m->x, ITP_CONFUSION_LEFT);
    snprintf(text, sizeof text, "accuracy %s %% of %.0f samples \xc2\xb7 macro F1 %s %%",
             itp_percent_text(accuracy, m->hits, m->total), m->total,
             itp_percent_text(f1, m->macro_f1, 1));
    const int need = interp_text_width(text, ITP_SIZE_TICK, 0) + 36;
    const int64_t side = (int64_t)m->k * m->cell;
    if (side > ITP_IMAGE_SIDE - 1000)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "confusion: %d cells of %d pixels are too large",
                        m->k, m->cell);
    itp_confusion at = *m;
    at.x = left;
    ITP_TRY(interp_image_new(ctx, itp_max(left + (int)side + right, need), m->y + (int)side + 62,
                             ITP_RGB_PAPER, image));
    const itp_canvas c = itp_canvas_of(image);
    itp_draw_text(&c, 18, 26, ITP_SIZE_TITLE, INTERP_TEXT_BOLD, ITP_RGB_TITLE,
                  itp_text_fit(cut, title, ITP_SIZE_TITLE, INTERP_TEXT_BOLD, image->width - 36));
    itp_draw_text(&c, 18, 56, ITP_SIZE_TICK, 0, ITP_RGB_TEXT, text);
    itp_confusion_names(&at, &c);
    itp_confusion_cells(&at, &c);
    itp_confusion_margins(&at, &c);
    return INTERP_OK;
}

INTERP_API interp_status interp_confusion_draw(interp_ctx *ctx,
                                               const interp_confusion_draw_desc *desc,
                                               interp_image *out)
{
    itp_confusion m;
    interp_image image = {0, 0, NULL};
    if (!desc || !desc->counts || desc->n_classes < 1 || desc->n_classes > 1000 ||
        desc->cell_size < 0)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "confusion: it needs counts of 1..1000 classes");
    const size_t k = (size_t)desc->n_classes;
    for (size_t i = 0; i < k * k; i++)
        if (desc->counts[i] < 0)
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "confusion: the count at [%zu,%zu] is negative", i / k, i % k);
    memset(&m, 0, sizeof m);
    m.d = desc;
    m.k = desc->n_classes;
    m.map = desc->colormap == INTERP_COLORMAP_AUTO ? INTERP_COLORMAP_BLUES : desc->colormap;
    m.truth = (double *)itp_calloc(ctx, 2 * k, sizeof(double));
    if (!m.truth) return INTERP_NO_MEMORY;
    m.predicted = m.truth + k;
    itp_confusion_sums(&m);
    itp_confusion_layout(&m);
    const interp_status status = itp_confusion_paint(ctx, &m, &image);
    interp_free(ctx, m.truth);
    if (!status) *out = image;
    return status;
}

/* ---- sprites */

/* A square mosaic of n pictures images[n,channels,height,width], `columns` a row, each shrunk to
   wide x high. */
ITP_FN interp_status itp_sprite_draw(interp_ctx *ctx, const float *images, int n, int channels,
                                     int height, int width, interp_colormap colormap, float min,
                                     float max, int columns, int wide, int high, interp_image *out)
{
    interp_panel_cell cell;
    memset(&cell, 0, sizeof cell);
    cell.channels = channels, cell.height = height, cell.width = width;
    cell.colormap = colormap;
    const size_t size = (size_t)itp_cell_channels(&cell) * (size_t)height * (size_t)width;
    const itp_view_range range = itp_picture_range(images, (size_t)n * size, min, max);
    ITP_TRY(interp_image_new(ctx, columns * wide, columns * high, 0xffffff, out));
    for (int i = 0; i < n; i++) {
        interp_image one;
        cell.values = images + (size_t)i * size;
        const interp_status status = itp_cell_image(ctx, &cell, &range, &one);
        if (status) {
            interp_image_free(ctx, out);
            return status;
        }
        interp_image_blit(out, i % columns * wide, i / columns * high, wide, high, &one,
                          INTERP_RESAMPLE_PIXELS);
        interp_image_free(ctx, &one);
    }
    return INTERP_OK;
}

/* ---- view/chart.c: axes, legends and the charts made of them --------------------------------- */

#define ITP_RGB_PAPER 0xffffffu
#define ITP_RGB_TITLE 0x1f1f1fu
#define ITP_RGB_TEXT  0x404040u
#define ITP_RGB_AXIS  0x8c8c8cu
#define ITP_RGB_GRID  0xe8e8e8u
#define ITP_RGB_LINE  0x6e6e6eu

#define ITP_TICKS     40
#define ITP_TICK_TEXT 24

/* One axis: numbers, or names at 0, 1, 2, ... High may be below low: then it runs the other way. */
typedef struct itp_chart_axis {
    double low, high;
    bool log, whole; /* whole: ticks at whole numbers only */
    const char *const *names;
    int n_names;
    int n;
    double tick[ITP_TICKS];
    char text[ITP_TICKS][ITP_TICK_TEXT];
} itp_chart_axis;

/* Points to a decimal point in any locale, and 1e-07 to 1e-7. */
ITP_FN void itp_number_tidy(char *text)
{
    char *to = text;
    bool exponent = false, digits = false;
    for (const char *s = text; *s; s++) {
        if (exponent && !digits && (*s == '+' || (*s == '0' && s[1]))) continue;
        if (exponent && *s != '-') digits = true;
        if (*s == 'e') exponent = true;
        *to++ = *s == ',' ? '.' : *s;
    }
    *to = 0;
}

ITP_FN void itp_tick_text(char out[ITP_TICK_TEXT], double v, double step, double largest)
{
    const int place = (int)floor(log10(step) + 1e-9);
    if (fabs(v) < step * 1e-6) {
        snprintf(out, ITP_TICK_TEXT, "0");
    } else if (largest >= 1e6 || place < -5) {
        const int digits = (int)floor(log10(fabs(v)) + 1e-9) - place;
        snprintf(out, ITP_TICK_TEXT, "%.*e", itp_max(0, itp_min(digits, 8)), v);
    } else {
        snprintf(out, ITP_TICK_TEXT, "%.*f", itp_max(0, -place), v);
    }
    itp_number_tidy(out);
}

/* A number beside a bar or in a cell: three digits, whole numbers in full. */
ITP_FN const char *itp_value_text(char out[ITP_TICK_TEXT], double v)
{
    const bool whole = fabs(v) < 1e6 && (fabs(v) >= 1000 || v == floor(v));
    snprintf(out, ITP_TICK_TEXT, whole ? "%.0f" : "%.3g", v);
    itp_number_tidy(out);
    return out;
}

/* The step of 1, 2 or 5 times a power of ten that gives about `want` ticks, at most half more. */
ITP_FN double itp_nice_step(double range, int want)
{
    const double raw = range / itp_max(want, 1), power = pow(10, floor(log10(raw)));
    const double f = raw / power;
    return power * (f <= 1.4 ? 1 : f <= 2.8 ? 2 : f <= 7 ? 5 : 10);
}

ITP_FN void itp_axis_add(itp_chart_axis *a, double v, double step, double largest)
{
    if (a->n == ITP_TICKS) return;
    a->tick[a->n] = v;
    itp_tick_text(a->text[a->n], v, step, largest);
    a->n++;
}

ITP_FN void itp_axis_log_ticks(itp_chart_axis *a, int want)
{
    const int from = (int)floor(log10(a->low) - 1e-9), to = (int)ceil(log10(a->high) + 1e-9);
    const int every = itp_max(1, itp_div_up(to - from, itp_max(want, 1)));
    const int few = to - from <= 3 ? 3 : 1; /* ticks of a decade: 1, 2, 5 or 1 */
    static const int at[3] = {1, 2, 5};
    for (int k = from; k <= to; k += every)
        for (int i = 0; i < few; i++) {
            const double v = at[i] * pow(10, k);
            if (v < a->low * (1 - 1e-9) || v > a->high * (1 + 1e-9)) continue;
            const bool plain = k >= -4 && k <= 5;
            itp_axis_add(a, v, pow(10, k), plain ? 1 : 1e9);
        }
}

ITP_FN void itp_axis_ticks(itp_chart_axis *a, int want)
{
    a->n = 0;
    if (a->n_names > 0) return;
    if (a->log) {
        itp_axis_log_ticks(a, want);
        return;
    }
    const double low = fmin(a->low, a->high), high = fmax(a->low, a->high);
    const double largest = fmax(fabs(low), fabs(high));
    double step = itp_nice_step(high - low, itp_max(2, itp_min(want, ITP_TICKS / 2)));
    if (a->whole) step = fmax(step, 1);
    if (!(step > largest * 1e-12)) return; /* the range is below the precision of the numbers */
    const double first = ceil(low / step - 1e-9), last = floor(high / step + 1e-9);
    for (double k = first; k <= last && a->n < ITP_TICKS; k++)
        itp_axis_add(a, k * step, step, largest);
}

/* 0 at the low end, 1 at the high end; NaN when the value is not on the axis at all. */
ITP_FN double itp_axis_at(const itp_chart_axis *a, double v)
{
    if (a->log) return v > 0 ? log10(v / a->low) / log10(a->high / a->low) : (double)NAN;
    return (v - a->low) / (a->high - a->low);
}

ITP_FN const char *itp_axis_name(const itp_chart_axis *a, int i, char buf[ITP_TICK_TEXT])
{
    if (a->names && a->names[i]) return a->names[i];
    snprintf(buf, ITP_TICK_TEXT, "%d", i);
    return buf;
}

ITP_FN int itp_names_width(const itp_chart_axis *a, int size)
{
    char buf[ITP_TICK_TEXT];
    int width = 0;
    for (int i = 0; i < a->n_names; i++)
        width = itp_max(width, interp_text_width(itp_axis_name(a, i, buf), size, 0));
    return width;
}

ITP_FN int itp_ticks_width(const itp_chart_axis *a, int size)
{
    int width = 0;
    for (int i = 0; i < a->n; i++) width = itp_max(width, interp_text_width(a->text[i], size, 0));
    return width;
}

/* ---- ranges of data */

typedef struct itp_view_range {
    double low, high; /* low > high: nothing yet */
} itp_view_range;

ITP_FN itp_view_range itp_view_range_new(void)
{
    itp_view_range r;
    r.low = 1, r.high = 0;
    return r;
}

ITP_FN void itp_view_range_add(itp_view_range *r, double v, bool log)
{
    if (!(fabs(v) <= DBL_MAX) || (log && v <= 0)) return;
    const bool empty = r->low > r->high;
    if (empty || v < r->low) r->low = v;
    if (empty || v > r->high) r->high = v;
}

ITP_FN void itp_view_range_add_all(itp_view_range *r, const float *v, size_t n, bool log)
{
    for (size_t i = 0; v && i < n; i++) itp_view_range_add(r, (double)v[i], log);
}

/* Sets an axis to the data, with some air at each end and a width that is never 0. */
ITP_FN void itp_axis_fit(itp_chart_axis *a, itp_view_range r, double air, float fixed_low,
                         float fixed_high)
{
    const double f0 = (double)fixed_low, f1 = (double)fixed_high;
    if (fabs(f0) <= DBL_MAX && fabs(f1) <= DBL_MAX && f0 < f1 && (!a->log || f0 > 0)) {
        a->low = f0, a->high = f1;
        return;
    }
    if (r.low > r.high) r.low = a->log ? .1 : 0, r.high = 1;
    if (a->log) {
        const double span = pow(r.high / r.low, air), wide = r.high / r.low < 1.5 ? 2 : 1;
        a->low = r.low / span / wide, a->high = r.high * span * wide;
        return;
    }
    double width = r.high - r.low;
    const double least = fmax(fabs(r.low), fabs(r.high)) * 1e-6;
    if (!(width > least))
        width = least > 0 ? fabs(r.high) * .2 : 1, r.low -= width / 2, r.high += width / 2;
    const bool from_zero = r.low >= 0 && r.low < .35 * r.high && air > 0;
    a->low = from_zero ? 0 : r.low - air * width;
    a->high = r.high <= 0 && r.high > .35 * r.low && air > 0 ? 0 : r.high + air * width;
}

ITP_FN int itp_view_compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Range of the finite values between two percentiles, of the magnitudes when asked for. */
ITP_FN interp_status itp_view_range_percentile(interp_ctx *ctx, const float *v, size_t n,
                                               double from, double to, bool magnitude,
                                               itp_view_range *out)
{
    float *sorted = (float *)interp_alloc(ctx, itp_mul_size(n, sizeof(float)));
    size_t m = 0;
    if (!sorted) return INTERP_NO_MEMORY;
    for (size_t i = 0; i < n; i++)
        if (fabs((double)v[i]) <= (double)FLT_MAX)
            sorted[m++] = magnitude ? (float)fabs((double)v[i]) : v[i];
    *out = itp_view_range_new();
    if (m > 0) {
        qsort(sorted, m, sizeof(float), itp_view_compare_floats);
        itp_view_range_add(out, (double)sorted[(size_t)((double)(m - 1) * from / 100 + .5)], false);
        itp_view_range_add(out, (double)sorted[(size_t)((double)(m - 1) * to / 100 + .5)], false);
    }
    interp_free(ctx, sorted);
    return INTERP_OK;
}

/* ---- the plot: picture, margins, axes */

enum { ITP_KEY_LINE, ITP_KEY_BOX, ITP_KEY_DOT };

typedef struct itp_chart_key {
    const char *name;
    uint32_t rgb;
    int kind;
} itp_chart_key;

typedef struct itp_plot {
    interp_ctx *ctx;
    interp_chart d; /* with defaults filled in */
    double s;       /* pixels of a unit of layout */
    interp_image image;
    itp_canvas all, area; /* area: the inside of the axes */
    int x0, y0, x1, y1;   /* corners of the area, both ends within */
    itp_chart_axis x, y, right, bar;
    bool has_right, has_bar, equal, no_grid, names_up;
    interp_colormap map;
    const char *bar_label;
    itp_chart_key *keys; /* legend; freed with the plot */
    int n_keys;
} itp_plot;

ITP_FN int itp_units(const itp_plot *p, double v)
{
    return (int)(v * p->s + .5);
}

#define ITP_SIZE_TITLE 19
#define ITP_SIZE_LABEL 15
#define ITP_SIZE_TICK  14

ITP_FN void itp_plot_init(itp_plot *p, interp_ctx *ctx, const interp_chart *chart)
{
    memset(p, 0, sizeof *p);
    p->ctx = ctx;
    if (chart) p->d = *chart;
    if (p->d.width < 1) p->d.width = 900;
    if (p->d.height < 1) p->d.height = 560;
    p->s = (double)p->d.scale;
    if (!(p->s > 0)) p->s = 1;
    p->s = fmin(fmax(p->s, .1), 16);
    if (p->d.x_names && p->d.n_x_names > 0)
        p->x.names = p->d.x_names, p->x.n_names = p->d.n_x_names;
    p->y.log = p->d.log_y;
    if (!p->d.h_lines) p->d.n_h_lines = 0;
    if (!p->d.v_lines) p->d.n_v_lines = 0;
}

/* Frees what the plot holds; hands the picture over when all went well. */
ITP_FN interp_status itp_plot_close(itp_plot *p, interp_status status, interp_image *out)
{
    interp_free(p->ctx, p->keys);
    if (status) interp_image_free(p->ctx, &p->image);
    else *out = p->image;
    return status;
}

ITP_FN interp_status itp_plot_keys(itp_plot *p, int n)
{
    p->keys = (itp_chart_key *)itp_calloc(p->ctx, (size_t)itp_max(n, 1), sizeof *p->keys);
    return p->keys ? INTERP_OK : INTERP_NO_MEMORY;
}

ITP_FN void itp_plot_key(itp_plot *p, const char *name, uint32_t rgb, int kind)
{
    if (!name || !*name) return;
    itp_chart_key *key = &p->keys[p->n_keys++];
    key->name = name, key->rgb = rgb, key->kind = kind;
}

#define ITP_LEGEND_ROWS 3

/* Draws the sign of a legend entry, its left end at x. */
ITP_FN void itp_plot_sign(const itp_plot *p, const itp_chart_key *key, int x, int y, int width)
{
    if (key->kind == ITP_KEY_LINE)
        itp_draw_line(&p->all, x + 2, y, x + width - 3, y, 3 * p->s, key->rgb, 1);
    else if (key->kind == ITP_KEY_DOT)
        itp_draw_disc(&p->all, x + width / 2, y, 5 * p->s, key->rgb, 1);
    else itp_draw_rect(&p->all, x, y - width / 2, x + width, y + width - width / 2, key->rgb, 1);
}

/* Draws the legend in rows from `top`; returns its height. */
ITP_FN int itp_plot_legend(const itp_plot *p, int top)
{
    if (p->d.no_legend || p->n_keys == 0) return 0;
    const int size = itp_units(p, ITP_SIZE_TICK), gap = itp_units(p, 7), step = itp_units(p, 22);
    const int left = itp_units(p, 24), room = p->image.width - 2 * left;
    int x = 0, row = 0;
    for (int i = 0; i < p->n_keys; i++) {
        char cut[ITP_LABEL_BYTES], rest[ITP_TICK_TEXT];
        const int sign = itp_units(p, p->keys[i].kind == ITP_KEY_LINE ? 24 : 13);
        const char *name = itp_text_fit(cut, p->keys[i].name, size, 0, room - sign - gap);
        const int width = sign + gap + interp_text_width(name, size, 0);
        const bool last_row = row == ITP_LEGEND_ROWS - 1;
        const int spare = last_row && i + 1 < p->n_keys ? itp_units(p, 90) : 0;
        if (x > 0 && x + width + spare > room) {
            if (last_row) {
                snprintf(rest, sizeof rest, "+ %d more", p->n_keys - i);
                itp_draw_text(&p->all, left + x, top + row * step + step / 2, size, 0, ITP_RGB_AXIS,
                              rest);
                break;
            }
            x = 0, row++;
        }
        const int y = top + row * step + step / 2;
        itp_plot_sign(p, &p->keys[i], left + x, y, sign);
        itp_draw_text(&p->all, left + x + sign + gap, y, size, 0, ITP_RGB_TEXT, name);
        x += width + itp_units(p, 22);
    }
    return (row + 1) * step + itp_units(p, 12);
}

/* Room below the plot for the labels of x; decides whether names are turned. */
ITP_FN int itp_plot_bottom(itp_plot *p, int width)
{
    const int size = itp_units(p, ITP_SIZE_TICK);
    int room = itp_units(p, 16) + size;
    if (p->x.n_names > 0) {
        const int longest = itp_names_width(&p->x, size);
        p->names_up = longest + itp_units(p, 4) > width / p->x.n_names && longest > 3 * size;
        if (p->names_up) room = itp_min(longest, p->image.height * 3 / 10) + itp_units(p, 18);
    }
    return room + (p->d.x_label ? itp_units(p, 26) : itp_units(p, 6));
}

/* Room beside the plot for the labels of an upright axis. */
ITP_FN int itp_plot_side(const itp_plot *p, const itp_chart_axis *a, const char *label)
{
    const int size = itp_units(p, ITP_SIZE_TICK);
    int width = a->n_names > 0 ? itp_names_width(a, size) : itp_ticks_width(a, size);
    width = itp_min(width, p->image.width * 35 / 100);
    return width + itp_units(p, 22) + (label ? itp_units(p, 28) : 0);
}

/* Same units both ways: widens the range of one axis. */
ITP_FN void itp_plot_equalise(itp_plot *p)
{
    const double w = itp_max(1, p->x1 - p->x0), h = itp_max(1, p->y1 - p->y0);
    const double ux = (p->x.high - p->x.low) / w, uy = (p->y.high - p->y.low) / h;
    itp_chart_axis *a = ux < uy ? &p->x : &p->y;
    const double more = ux < uy ? (uy - ux) * w : (ux - uy) * h;
    a->low -= more / 2, a->high += more / 2;
}

/* Ticks for the room there is, the corners of the area, and the ticks once more for these. */
ITP_FN void itp_plot_layout(itp_plot *p, int top)
{
    const int W = p->image.width, H = p->image.height;
    const int every_y = itp_max(1, itp_units(p, 48)), every_x = itp_max(1, itp_units(p, 90));
    const int bar = p->has_bar ? itp_units(p, 34) : 0;
    int bottom = itp_plot_bottom(p, W - itp_units(p, 110) - bar), left = 0, right = 0;
    p->y0 = top;
    p->y1 = itp_max(p->y0 + 1, H - 1 - bottom);
    for (int pass = 0; pass < 2; pass++) {
        const int want = (p->y1 - p->y0) / every_y;
        itp_axis_ticks(&p->y, want);
        itp_axis_ticks(&p->right, want);
        itp_axis_ticks(&p->bar, want);
        left = itp_plot_side(p, &p->y, p->d.y_label);
        right = itp_units(p, 26);
        if (p->has_right) right = itp_plot_side(p, &p->right, p->d.right_label);
        if (p->has_bar) right = itp_plot_side(p, &p->bar, p->bar_label) + bar;
        p->x0 = left;
        p->x1 = itp_max(p->x0 + 1, W - 1 - right);
        if (pass == 1 && p->equal) itp_plot_equalise(p);
        itp_axis_ticks(&p->x, (p->x1 - p->x0) / every_x);
        if (p->equal) itp_axis_ticks(&p->y, want);
        const int longest = itp_ticks_width(&p->x, itp_units(p, ITP_SIZE_TICK));
        p->x1 = itp_max(p->x0 + 1, itp_min(p->x1, W - 1 - longest / 2 - itp_units(p, 4)));
    }
    p->area = itp_canvas_clip(&p->all, p->x0, p->y0, p->x1 + 1, p->y1 + 1);
}

ITP_FN double itp_plot_x(const itp_plot *p, double v)
{
    return p->x0 + itp_axis_at(&p->x, v) * (p->x1 - p->x0);
}

ITP_FN double itp_plot_y(const itp_plot *p, const itp_chart_axis *a, double v)
{
    return p->y1 - itp_axis_at(a, v) * (p->y1 - p->y0);
}

ITP_FN void itp_plot_grid(const itp_plot *p)
{
    for (int i = 0; i < p->y.n; i++) {
        const int y = itp_draw_px(itp_plot_y(p, &p->y, p->y.tick[i]));
        itp_draw_rect(&p->area, p->x0, y, p->x1 + 1, y + 1, ITP_RGB_GRID, 1);
    }
    for (int i = 0; i < p->x.n; i++) {
        const int x = itp_draw_px(itp_plot_x(p, p->x.tick[i]));
        itp_draw_rect(&p->area, x, p->y0, x + 1, p->y1 + 1, ITP_RGB_GRID, 1);
    }
}

ITP_FN void itp_plot_x_names(const itp_plot *p)
{
    const int size = itp_units(p, ITP_SIZE_TICK), n = p->x.n_names;
    const double slot = fabs(itp_plot_x(p, 1) - itp_plot_x(p, 0));
    const int longest = itp_names_width(&p->x, size);
    const int need = p->names_up ? size + itp_units(p, 3) : longest + itp_units(p, 4);
    const int every = itp_max(1, (int)fmin(ceil(need / fmax(slot, 1e-3)), 1e6));
    const int room = p->names_up ? p->image.height * 3 / 10 : itp_max((int)slot * every, size);
    for (int i = 0; i < n; i += every) {
        char buf[ITP_TICK_TEXT], cut[ITP_LABEL_BYTES];
        const char *name = itp_text_fit(cut, itp_axis_name(&p->x, i, buf), size, 0, room);
        const int x = itp_draw_px(itp_plot_x(p, i));
        if (x < p->x0 - 1 || x > p->x1 + 1) continue;
        if (p->names_up)
            itp_draw_text(&p->all, x, p->y1 + itp_units(p, 9), size,
                          INTERP_TEXT_UP | INTERP_TEXT_RIGHT, ITP_RGB_TEXT, name);
        else
            itp_draw_text(&p->all, x, p->y1 + itp_units(p, 16), size, INTERP_TEXT_CENTRE,
                          ITP_RGB_TEXT, name);
    }
}

/* Labels of an upright axis: left of x when `flags` says right, else right of it. */
ITP_FN void itp_plot_y_text(const itp_plot *p, const itp_chart_axis *a, int x, int flags)
{
    const int size = itp_units(p, ITP_SIZE_TICK), width = p->image.width * 35 / 100;
    for (int i = 0; i < a->n; i++) {
        const int y = itp_draw_px(itp_plot_y(p, a, a->tick[i]));
        itp_draw_text(&p->all, x, y, size, flags, ITP_RGB_TEXT, a->text[i]);
    }
    const double slot = fabs(itp_plot_y(p, a, 1) - itp_plot_y(p, a, 0));
    const int every = itp_max(1, (int)fmin(ceil((size + 1) / fmax(slot, 1e-3)), 1e6));
    for (int i = 0; i < a->n_names; i += every) {
        char buf[ITP_TICK_TEXT], cut[ITP_LABEL_BYTES];
        const char *name = itp_text_fit(cut, itp_axis_name(a, i, buf), size, 0, width);
        itp_draw_text(&p->all, x, itp_draw_px(itp_plot_y(p, a, i)), size, flags, ITP_RGB_TEXT,
                      name);
    }
}

ITP_FN void itp_draw_label(const itp_plot *p, int x, int y, int flags, int room, const char *text)
{
    char cut[ITP_LABEL_BYTES];
    const int size = itp_units(p, ITP_SIZE_LABEL);
    if (!text) return;
    itp_draw_text(&p->all, x, y, size, flags | INTERP_TEXT_CENTRE, ITP_RGB_TEXT,
                  itp_text_fit(cut, text, size, flags, room));
}

ITP_FN void itp_plot_bar(itp_plot *p)
{
    const int x0 = p->x1 + 1 + itp_units(p, 16), x1 = x0 + itp_units(p, 16);
    for (int y = p->y0; y <= p->y1; y++) {
        const double t = (double)(p->y1 - y) / itp_max(1, p->y1 - p->y0);
        itp_draw_rect(&p->all, x0, y, x1, y + 1, itp_map_rgb(p->map, t), 1);
    }
    itp_draw_frame(&p->all, x0, p->y0, x1, p->y1 + 1, ITP_RGB_AXIS);
    itp_plot_y_text(p, &p->bar, x1 + itp_units(p, 8), INTERP_TEXT_LEFT);
    itp_draw_label(p, p->image.width - itp_units(p, 16), (p->y0 + p->y1) / 2, INTERP_TEXT_UP,
                   p->image.height - itp_units(p, 8), p->bar_label);
}

/* Everything but the data. The ranges of the axes must be set. */
ITP_FN interp_status itp_plot_open(itp_plot *p)
{
    const double w = p->d.width * p->s + .5, h = p->d.height * p->s + .5;
    ITP_TRY(interp_image_new(p->ctx, (int)fmax(1, fmin(w, 1e9)), (int)fmax(1, fmin(h, 1e9)),
                             ITP_RGB_PAPER, &p->image));
    p->all = itp_canvas_of(&p->image);
    int top = itp_units(p, 18);
    if (p->d.title) {
        char cut[ITP_LABEL_BYTES];
        const int size = itp_units(p, ITP_SIZE_TITLE), side = itp_units(p, 24);
        itp_draw_text(
            &p->all, side, itp_units(p, 26), size, INTERP_TEXT_BOLD, ITP_RGB_TITLE,
            itp_text_fit(cut, p->d.title, size, INTERP_TEXT_BOLD, p->image.width - 2 * side));
        top = itp_units(p, p->n_keys > 0 && !p->d.no_legend ? 48 : 56);
    }
    top += itp_plot_legend(p, top);
    itp_plot_layout(p, top);
    if (!p->no_grid) itp_plot_grid(p);
    return INTERP_OK;
}

/* Reference lines, axes and labels, over the data. */
ITP_FN void itp_plot_finish(itp_plot *p)
{
    const int tick = itp_units(p, ITP_SIZE_TICK), H = p->image.height, mid = (p->y0 + p->y1) / 2;
    for (int i = 0; i < p->d.n_h_lines; i++) {
        const double y = itp_plot_y(p, &p->y, (double)p->d.h_lines[i]);
        itp_draw_line(&p->area, p->x0, y, p->x1, y, p->s, ITP_RGB_LINE, 1);
    }
    for (int i = 0; i < p->d.n_v_lines; i++) {
        const double x = itp_plot_x(p, (double)p->d.v_lines[i]);
        itp_draw_line(&p->area, x, p->y0, x, p->y1, p->s, ITP_RGB_LINE, 1);
    }
    itp_draw_rect(&p->all, p->x0 - 1, p->y1 + 1, p->x1 + 2, p->y1 + 2, ITP_RGB_AXIS, 1);
    itp_draw_rect(&p->all, p->x0 - 1, p->y0, p->x0, p->y1 + 1, ITP_RGB_AXIS, 1);
    if (p->has_right)
        itp_draw_rect(&p->all, p->x1 + 1, p->y0, p->x1 + 2, p->y1 + 1, ITP_RGB_AXIS, 1);
    for (int i = 0; i < p->x.n; i++)
        itp_draw_text(&p->all, itp_draw_px(itp_plot_x(p, p->x.tick[i])), p->y1 + itp_units(p, 16),
                      tick, INTERP_TEXT_CENTRE, ITP_RGB_TEXT, p->x.text[i]);
    if (p->x.n_names > 0) itp_plot_x_names(p);
    itp_plot_y_text(p, &p->y, p->x0 - itp_units(p, 9), INTERP_TEXT_RIGHT);
    if (p->has_right) itp_plot_y_text(p, &p->right, p->x1 + itp_units(p, 9), INTERP_TEXT_LEFT);
    if (p->has_bar) itp_plot_bar(p);
    itp_draw_label(p, (p->x0 + p->x1) / 2, H - itp_units(p, 15), 0,
                   p->image.width - itp_units(p, 16), p->d.x_label);
    itp_draw_label(p, itp_units(p, 17), mid, INTERP_TEXT_UP, H - itp_units(p, 8), p->d.y_label);
    if (p->has_right)
        itp_draw_label(p, p->image.width - itp_units(p, 16), mid, INTERP_TEXT_UP,
                       H - itp_units(p, 8), p->d.right_label);
}

ITP_FN interp_status itp_chart_bad(interp_ctx *ctx, const char *what)
{
    return itp_fail(ctx, INTERP_BAD_ARGUMENT, "chart: %s", what);
}

/* ---- lines and areas */

ITP_FN double itp_series_x(const interp_series *s, int i)
{
    return s->x ? (double)s->x[i] : i;
}

ITP_FN uint32_t itp_series_rgb(const interp_series *s, int i)
{
    return s->rgb ? s->rgb : interp_category_rgb(i);
}

/* A line with gaps; `at` is how far along the pattern of on and off pixels the last one ended. */
ITP_FN void itp_draw_dashes(const itp_canvas *c, const double from[4], double width, uint32_t rgb,
                            double on, double off, double *at)
{
    double p[4] = {from[0], from[1], from[2], from[3]};
    if (!itp_draw_clip(c, width, p)) return;
    const double dx = p[2] - p[0], dy = p[3] - p[1], length = sqrt(dx * dx + dy * dy);
    for (double done = 0; done < length;) {
        const bool ink = *at < on;
        const double step = fmin((ink ? on : on + off) - *at, length - done), t = done / length;
        const double u = (done + step) / length;
        if (ink)
            itp_draw_line(c, p[0] + dx * t, p[1] + dy * t, p[0] + dx * u, p[1] + dy * u, width, rgb,
                          1);
        done += fmax(step, 1e-3);
        *at += fmax(step, 1e-3);
        if (*at >= on + off - 1e-6) *at = 0;
    }
}

ITP_FN void itp_series_draw(const itp_plot *p, const interp_series *s, uint32_t rgb)
{
    const itp_chart_axis *axis = s->right ? &p->right : &p->y;
    const double width = fmin(fmax(s->line_width > 0 ? (double)s->line_width : 2, .2), 100) * p->s;
    const bool dots = s->style == INTERP_SERIES_POINTS || s->style == INTERP_SERIES_LINE_POINTS;
    const bool lines = s->style != INTERP_SERIES_POINTS;
    const double on = s->style == INTERP_SERIES_DASHED ? 4 * width : .1, off = 2.4 * width;
    const bool dashes = s->style == INTERP_SERIES_DASHED || s->style == INTERP_SERIES_DOTTED;
    double at[4] = {0, 0, 0, 0}, pattern = 0;
    bool had = false, joined = false; /* a point before this one; a line drawn to it */
    for (int i = 0; i <= s->n; i++) {
        bool have = false;
        if (i < s->n) {
            at[2] = itp_plot_x(p, itp_series_x(s, i));
            at[3] = itp_plot_y(p, axis, (double)s->y[i]);
            have = fabs(at[2]) <= DBL_MAX && fabs(at[3]) <= DBL_MAX;
        }
        if (lines && had && !have && !joined) itp_draw_disc(&p->area, at[0], at[1], width, rgb, 1);
        if (have && had && dashes) itp_draw_dashes(&p->area, at, width, rgb, on, off, &pattern);
        else if (have && had && lines)
            itp_draw_line(&p->area, at[0], at[1], at[2], at[3], width, rgb, 1);
        if (have && dots) itp_draw_disc(&p->area, at[2], at[3], 1.2 * width + p->s, rgb, 1);
        joined = have && had;
        had = have;
        if (have) at[0] = at[2], at[1] = at[3];
    }
}

ITP_FN interp_status itp_series_check(interp_ctx *ctx, const interp_series *series, int n)
{
    if (n < 0 || (n > 0 && !series))
        return itp_chart_bad(ctx, "there are no series; give an array of them");
    for (int i = 0; i < n; i++)
        if (series[i].n < 0 || (series[i].n > 0 && !series[i].y))
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "chart: series %d has n = %d and %s y; give n values in y", i,
                            series[i].n, series[i].y ? "a" : "no");
    return INTERP_OK;
}

/* Axes and legend for series; stacked ones have put their totals into `y` before. */
ITP_FN interp_status itp_series_axes(itp_plot *p, const interp_series *series, int n, bool stacked,
                                     itp_view_range y)
{
    itp_view_range x = itp_view_range_new(), right = itp_view_range_new();
    ITP_TRY(itp_plot_keys(p, n));
    for (int i = 0; i < n; i++) {
        const interp_series *s = &series[i];
        if (s->right) p->has_right = true;
        for (int k = 0; k < s->n; k++) {
            const bool seen = s->right || fabs((double)s->y[k]) <= DBL_MAX;
            if (seen || stacked) itp_view_range_add(&x, itp_series_x(s, k), false);
        }
        if (s->right) itp_view_range_add_all(&right, s->y, (size_t)s->n, false);
        else if (!stacked) itp_view_range_add_all(&y, s->y, (size_t)s->n, p->y.log);
        itp_plot_key(p, s->name, itp_series_rgb(s, i),
                     stacked && !s->right ? ITP_KEY_BOX : ITP_KEY_LINE);
    }
    itp_view_range_add_all(&y, p->d.h_lines, (size_t)itp_max(0, p->d.n_h_lines), p->y.log);
    itp_view_range_add_all(&x, p->d.v_lines, (size_t)itp_max(0, p->d.n_v_lines), false);
    if (p->x.n_names > 0)
        itp_view_range_add(&x, -.4, false), itp_view_range_add(&x, p->x.n_names - .6, false);
    itp_axis_fit(&p->x, x, 0, p->d.x_min, p->d.x_max);
    itp_axis_fit(&p->y, y, .05, p->d.y_min, p->d.y_max);
    itp_axis_fit(&p->right, right, .05, p->d.right_min, p->d.right_max);
    return INTERP_OK;
}

INTERP_API interp_status interp_chart_lines(interp_ctx *ctx, const interp_chart *chart,
                                            const interp_series *series, int n_series,
                                            interp_image *out)
{
    itp_plot p;
    ITP_TRY(itp_series_check(ctx, series, n_series));
    itp_plot_init(&p, ctx, chart);
    interp_status status = itp_series_axes(&p, series, n_series, false, itp_view_range_new());
    if (!status) status = itp_plot_open(&p);
    if (!status) {
        for (int i = 0; i < n_series; i++)
            itp_series_draw(&p, &series[i], itp_series_rgb(&series[i], i));
        itp_plot_finish(&p);
    }
    return itp_plot_close(&p, status, out);
}

/* What a stacked series adds at point k. */
ITP_FN double itp_area_value(const interp_series *s, int k)
{
    const double v = (double)s->y[k];
    return v > 0 && v <= DBL_MAX ? v : 0;
}

/* Fills one column of pixels from y = a down to y = b with soft ends. */
ITP_FN void itp_area_column(const itp_plot *p, int x, double a, double b, uint32_t rgb)
{
    const int from = itp_max(p->area.y0, itp_draw_px(a)),
              to = itp_min(p->area.y1 - 1, itp_draw_px(b));
    for (int y = from; y <= to; y++) {
        const double cover = fmin(b, y + .5) - fmax(a, y - .5);
        if (cover > 0) itp_draw_blend(&p->area, x, y, rgb, fmin(cover, 1));
    }
}

ITP_FN void itp_areas_draw(const itp_plot *p, const interp_series *series, int n, int first)
{
    const interp_series *base = &series[first];
    int k = 0;
    for (int x = p->area.x0; x < p->area.x1 && base->n > 0; x++) {
        const double at =
            p->x.low + (p->x.high - p->x.low) * (x - p->x0) / itp_max(1, p->x1 - p->x0);
        while (k + 2 < base->n && itp_series_x(base, k + 1) < at) k++;
        const int next = itp_min(k + 1, base->n - 1);
        const double x0 = itp_series_x(base, k), x1 = itp_series_x(base, next);
        if (!(at >= x0 - 1e-9 * fabs(x0)) || !(at <= x1 + 1e-9 * fabs(x1))) continue;
        const double t = x1 > x0 ? (at - x0) / (x1 - x0) : 0;
        double sum = 0;
        for (int i = 0; i < n; i++) {
            if (series[i].right) continue;
            const double v =
                itp_area_value(&series[i], k) * (1 - t) + itp_area_value(&series[i], next) * t;
            const double low = p->y.log && sum <= 0 ? p->y.low : sum;
            if (v > 0)
                itp_area_column(p, x, itp_plot_y(p, &p->y, sum + v), itp_plot_y(p, &p->y, low),
                                itp_series_rgb(&series[i], i));
            sum += v;
        }
    }
}

INTERP_API interp_status interp_chart_areas(interp_ctx *ctx, const interp_chart *chart,
                                            const interp_series *series, int n_series,
                                            interp_image *out)
{
    itp_plot p;
    itp_view_range y = itp_view_range_new();
    int first = -1;
    ITP_TRY(itp_series_check(ctx, series, n_series));
    for (int i = 0; i < n_series; i++) {
        if (series[i].right) continue;
        if (first < 0) first = i;
        if (series[i].n != series[first].n)
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "chart: stacked series %d has %d points but series %d has %d", i,
                            series[i].n, first, series[first].n);
    }
    itp_plot_init(&p, ctx, chart);
    for (int k = 0; first >= 0 && k < series[first].n; k++) {
        double sum = 0;
        for (int i = first; i < n_series; i++)
            if (!series[i].right) sum += itp_area_value(&series[i], k);
        itp_view_range_add(&y, sum, p.y.log);
        if (!p.y.log) itp_view_range_add(&y, 0, false);
    }
    interp_status status = itp_series_axes(&p, series, n_series, true, y);
    if (!status) status = itp_plot_open(&p);
    if (!status) {
        if (first >= 0) itp_areas_draw(&p, series, n_series, first);
        for (int i = 0; i < n_series; i++)
            if (series[i].right) itp_series_draw(&p, &series[i], itp_series_rgb(&series[i], i));
        itp_plot_finish(&p);
    }
    return itp_plot_close(&p, status, out);
}

/* ---- bars */

/* One bar; box: first and second edge across, base and end along. */
ITP_FN void itp_chart_bar(const itp_plot *p, bool horizontal, const double box[4], uint32_t rgb)
{
    const double a = horizontal ? box[2] : box[0], b = horizontal ? box[3] : box[1];
    const double c = horizontal ? box[0] : box[2], d = horizontal ? box[1] : box[3];
    if (a != a || b != b || c != c || d != d) return;
    const int x0 = itp_draw_px(fmin(a, b)), x1 = itp_draw_px(fmax(a, b));
    const int y0 = itp_draw_px(fmin(c, d)), y1 = itp_draw_px(fmax(c, d));
    itp_draw_rect(&p->area, x0, y0, itp_max(x1, x0 + 1), itp_max(y1, y0 + 1), rgb, 1);
}

/* Whether the widest number of a chart needs more room than a bar is thick. */
ITP_FN bool itp_bars_turn(const itp_plot *p, const interp_bars *b, int n_series, double thick)
{
    const size_t n = (size_t)n_series * (size_t)b->n_groups;
    const int size = itp_units(p, 12);
    for (size_t i = 0; i < n; i++) {
        char text[ITP_TICK_TEXT];
        const double v = (double)b->values[i];
        if (fabs(v) <= DBL_MAX && interp_text_width(itp_value_text(text, v), size, 0) + 2 > thick)
            return true;
    }
    return false;
}

/* The number at the end of a bar. */
ITP_FN void itp_bar_text(const itp_plot *p, bool horizontal, bool turn, const double box[4],
                         double v)
{
    char text[ITP_TICK_TEXT];
    const int size = itp_units(p, 12), gap = itp_units(p, 5);
    const int end = itp_draw_px(box[3]), middle = itp_draw_px((box[0] + box[1]) / 2);
    if (fabs(box[1] - box[0]) < size - 2 || box[3] != box[3]) return;
    const int back = v < 0 ? INTERP_TEXT_RIGHT : INTERP_TEXT_LEFT;
    itp_value_text(text, v);
    if (horizontal)
        itp_draw_text(&p->all, v < 0 ? end - gap : end + gap, middle, size, back, ITP_RGB_TEXT,
                      text);
    else if (turn)
        itp_draw_text(&p->all, middle, v < 0 ? end + gap : end - gap, size, INTERP_TEXT_UP | back,
                      ITP_RGB_TEXT, text);
    else
        itp_draw_text(&p->all, middle, v < 0 ? end + gap + size / 3 : end - gap - size / 3, size,
                      INTERP_TEXT_CENTRE, ITP_RGB_TEXT, text);
}

ITP_FN void itp_bars_draw(const itp_plot *p, const interp_bars *b, int n_series)
{
    const itp_chart_axis *axis = b->horizontal ? &p->x : &p->y;
    const double base = axis->log ? axis->low : fmin(fmax(0, axis->low), axis->high);
    const double wide = .8 / n_series;
    const double thick = fabs(itp_plot_x(p, wide) - itp_plot_x(p, 0));
    const bool turn = b->show_values && !b->horizontal && itp_bars_turn(p, b, n_series, thick);
    for (int g = 0; g < b->n_groups; g++)
        for (int s = 0; s < n_series; s++) {
            const double v = (double)b->values[(size_t)s * (size_t)b->n_groups + (size_t)g];
            const double from = g - .4 + wide * s, to = from + wide * (n_series > 1 ? .92 : 1);
            double box[4]; /* first and second edge across, base and end along */
            if (!(fabs(v) <= DBL_MAX)) continue;
            if (b->horizontal) {
                box[0] = itp_plot_y(p, &p->y, from), box[1] = itp_plot_y(p, &p->y, to);
                box[2] = itp_plot_x(p, base), box[3] = itp_plot_x(p, v);
            } else {
                box[0] = itp_plot_x(p, from), box[1] = itp_plot_x(p, to);
                box[2] = itp_plot_y(p, &p->y, base), box[3] = itp_plot_y(p, &p->y, v);
            }
            itp_chart_bar(p, b->horizontal, box,
                          b->colours ? b->colours[s] : interp_category_rgb(s));
            if (b->show_values) itp_bar_text(p, b->horizontal, turn, box, v);
        }
}

INTERP_API interp_status interp_chart_bars(interp_ctx *ctx, const interp_chart *chart,
                                           const interp_bars *bars, interp_image *out)
{
    itp_plot p;
    const int n_series = bars && bars->n_series > 0 ? bars->n_series : 1;
    if (!bars || bars->n_groups < 0 || bars->n_series < 0 || (bars->n_groups > 0 && !bars->values))
        return itp_chart_bad(ctx, "bars need values of [n_series, n_groups]");
    itp_plot_init(&p, ctx, chart);
    itp_chart_axis *value = bars->horizontal ? &p.x : &p.y, *group = bars->horizontal ? &p.y : &p.x;
    itp_view_range r = itp_view_range_new();
    value->log = p.d.log_y;
    group->log = false;
    if (bars->horizontal) {
        const char *label = p.d.x_label; /* y_label names the values either way */
        p.d.x_label = p.d.y_label, p.d.y_label = label;
        p.x.names = NULL, p.x.n_names = 0;
    }
    if (!value->log) itp_view_range_add(&r, 0, false);
    itp_view_range_add_all(&r, bars->values, (size_t)n_series * (size_t)bars->n_groups, value->log);
    itp_axis_fit(value, r, bars->show_values ? .12 : .05, p.d.y_min, p.d.y_max);
    group->names = bars->group_names;
    group->n_names = bars->n_groups;
    group->low = bars->horizontal ? bars->n_groups - .5 : -.5;
    group->high = bars->horizontal ? -.5 : bars->n_groups - .5;
    if (bars->n_groups == 0) group->low = 0, group->high = 1;
    interp_status status = itp_plot_keys(&p, n_series);
    for (int s = 0; !status && bars->series_names && s < n_series; s++)
        itp_plot_key(&p, bars->series_names[s],
                     bars->colours ? bars->colours[s] : interp_category_rgb(s), ITP_KEY_BOX);
    if (!status) status = itp_plot_open(&p);
    if (!status) {
        itp_bars_draw(&p, bars, n_series);
        if (!value->log && bars->horizontal) {
            const double x = itp_plot_x(&p, 0);
            itp_draw_line(&p.area, x, p.y0, x, p.y1, p.s, ITP_RGB_LINE, 1);
        } else if (!value->log) {
            const double y = itp_plot_y(&p, &p.y, 0);
            itp_draw_line(&p.area, p.x0, y, p.x1, y, p.s, ITP_RGB_LINE, 1);
        }
        itp_plot_finish(&p);
    }
    return itp_plot_close(&p, status, out);
}

/* ---- histogram */

#define ITP_BINS_MOST 4096

ITP_FN int itp_histogram_bins(const interp_histogram *h)
{
    return h->bins > 0 ? h->bins : 40;
}

INTERP_API interp_status interp_histogram_count(interp_ctx *ctx, const interp_histogram *h,
                                                double *edges, size_t *counts)
{
    if (!h || (h->n > 0 && !h->values) || h->bins < 0 || h->bins > ITP_BINS_MOST)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "histogram: it needs values, and at most %d bins",
                        ITP_BINS_MOST);
    const int bins = itp_histogram_bins(h);
    itp_view_range r = itp_view_range_new();
    const double cut = (double)h->percentile;
    if (cut > 0 && cut < 100)
        ITP_TRY(itp_view_range_percentile(ctx, h->values, h->n, (100 - cut) / 2, (100 + cut) / 2,
                                          false, &r));
    else itp_view_range_add_all(&r, h->values, h->n, false);
    if (r.low > r.high) r.low = 0, r.high = 1;
    if (!(r.high - r.low > fabs(r.high) * 1e-7)) {
        const double air = r.high != 0 ? fabs(r.high) * .05 : .5;
        r.low -= air, r.high += air;
    }
    double width = (r.high - r.low) / bins, low = r.low;
    if (h->align_zero && bins > 1) {
        width = (r.high - r.low) / (bins - 1);
        low = floor(r.low / width) * width; /* high still fits: it is bins-1 widths above r.low */
    }
    for (int i = 0; i <= bins; i++) edges[i] = low + width * i;
    memset(counts, 0, (size_t)bins * sizeof *counts);
    for (size_t i = 0; i < h->n; i++) {
        const double v = (double)h->values[i];
        if (v >= r.low && v <= r.high)
            counts[itp_min(bins - 1, (int)((v - low) / width))] +=
                h->weights ? (size_t)h->weights[i] : 1;
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_histogram_plot(itp_plot *p, const interp_histogram *h, const double *edges,
                                        const size_t *counts, char mean_text[64])
{
    const int bins = itp_histogram_bins(h);
    const uint32_t rgb = h->rgb ? h->rgb : interp_category_rgb(0);
    itp_view_range r = itp_view_range_new();
    double sum = 0, n = 0;
    for (int i = 0; i < bins; i++) itp_view_range_add(&r, (double)counts[i], p->y.log);
    if (!p->y.log) itp_view_range_add(&r, 0, false);
    else itp_view_range_add(&r, .8, true);
    p->x.names = NULL, p->x.n_names = 0;
    p->x.low = edges[0], p->x.high = edges[bins];
    if (p->d.x_min < p->d.x_max) itp_axis_fit(&p->x, r, 0, p->d.x_min, p->d.x_max);
    itp_axis_fit(&p->y, r, .05, p->d.y_min, p->d.y_max);
    ITP_TRY(itp_plot_keys(p, 1));
    for (size_t i = 0; h->mean_line && i < h->n; i++)
        if (fabs((double)h->values[i]) <= DBL_MAX) {
            const double weight = h->weights ? h->weights[i] : 1;
            sum += weight * (double)h->values[i], n += weight;
        }
    if (n > 0) {
        char text[ITP_TICK_TEXT];
        snprintf(mean_text, 64, "mean %s", itp_value_text(text, sum / n));
        itp_plot_key(p, mean_text, interp_category_rgb(3), ITP_KEY_LINE);
    }
    ITP_TRY(itp_plot_open(p));
    const double base = p->y.log ? p->y.low : 0;
    for (int i = 0; i < bins; i++) {
        const double a = itp_plot_x(p, edges[i]), b = itp_plot_x(p, edges[i + 1]);
        const double gap = b - a > 5 ? 1 : 0;
        const double box[4] = {a + gap, b, itp_plot_y(p, &p->y, base),
                               itp_plot_y(p, &p->y, (double)counts[i])};
        if (counts[i]) itp_chart_bar(p, false, box, rgb);
    }
    if (n > 0) {
        const double x = itp_plot_x(p, sum / n);
        itp_draw_line(&p->area, x, p->y0, x, p->y1, 2 * p->s, interp_category_rgb(3), 1);
    }
    itp_plot_finish(p);
    return INTERP_OK;
}

INTERP_API interp_status interp_chart_histogram(interp_ctx *ctx, const interp_chart *chart,
                                                const interp_histogram *histogram,
                                                interp_image *out)
{
    itp_plot p;
    char mean_text[64];
    if (!histogram || histogram->bins > ITP_BINS_MOST || histogram->bins < 0)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "histogram: it needs values, and at most %d bins",
                        ITP_BINS_MOST);
    const size_t bins = (size_t)itp_histogram_bins(histogram);
    double *edges = (double *)interp_alloc(ctx, (bins + 1) * sizeof *edges);
    size_t *counts = (size_t *)interp_alloc(ctx, bins * sizeof *counts);
    interp_status status = edges && counts ? INTERP_OK : INTERP_NO_MEMORY;
    if (!status) status = interp_histogram_count(ctx, histogram, edges, counts);
    if (!status) {
        itp_plot_init(&p, ctx, chart);
        status = itp_histogram_plot(&p, histogram, edges, counts, mean_text);
        status = itp_plot_close(&p, status, out);
    }
    interp_free(ctx, counts);
    interp_free(ctx, edges);
    return status;
}

/* ---- matrix */

/* Mean of the finite cells of a block, NaN when there are none. */
ITP_FN double itp_block_mean(const interp_matrix *m, double xa, double xb, double ya, double yb)
{
    double sum = 0, n = 0;
    for (int y = (int)ya; y < yb; y++)
        for (int x = (int)xa; x < xb; x++) {
            const double v = (double)m->values[(size_t)y * (size_t)m->cols + (size_t)x];
            if (fabs(v) <= DBL_MAX) sum += v, n++;
        }
    return n > 0 ? sum / n : (double)NAN;
}

ITP_FN interp_status itp_matrix_range(interp_ctx *ctx, const interp_matrix *m, itp_chart_axis *bar)
{
    const size_t n = (size_t)m->rows * (size_t)m->cols;
    const double cut = (double)m->percentile;
    itp_view_range r = itp_view_range_new();
    if (cut > 0 && cut < 100) {
        ITP_TRY(itp_view_range_percentile(ctx, m->values, n, m->symmetric ? cut : 100 - cut, cut,
                                          m->symmetric, &r));
        if (m->symmetric && r.high <= 0)
            r.low = 1, r.high = 0; /* nearly all zeros: take them all */
    }
    if (r.low > r.high) itp_view_range_add_all(&r, m->values, n, false);
    if (m->symmetric && r.low <= r.high) {
        r.high = fmax(fabs(r.low), fabs(r.high));
        r.low = -r.high;
    }
    itp_axis_fit(bar, r, 0, m->min, m->max);
    return INTERP_OK;
}

ITP_FN void itp_matrix_draw(const itp_plot *p, const interp_matrix *m)
{
    const int w = p->x1 - p->x0 + 1, h = p->y1 - p->y0 + 1, size = itp_units(p, 12);
    for (int y = p->area.y0; y < p->area.y1; y++)
        for (int x = p->area.x0; x < p->area.x1; x++) {
            double xa, xb, ya, yb;
            itp_blit_span(x - p->x0, m->cols, w, &xa, &xb);
            itp_blit_span(y - p->y0, m->rows, h, &ya, &yb);
            const double t = itp_axis_at(&p->bar, itp_block_mean(m, xa, xb, ya, yb));
            itp_draw_blend(&p->area, x, y, itp_map_rgb(p->map, t), 1);
        }
    if (!m->show_values || (size_t)m->rows * (size_t)m->cols > (size_t)w * (size_t)h / 64) return;
    for (int j = 0; j < m->rows; j++)
        for (int i = 0; i < m->cols; i++) {
            char text[ITP_TICK_TEXT];
            const double v = (double)m->values[(size_t)j * (size_t)m->cols + (size_t)i];
            if (!(fabs(v) <= DBL_MAX) || h / m->rows < size + 2) continue;
            if (interp_text_width(itp_value_text(text, v), size, 0) > w / m->cols - 4) continue;
            const uint32_t ink = itp_rgb_ink(itp_map_rgb(p->map, itp_axis_at(&p->bar, v)));
            itp_draw_text(&p->area, p->x0 + (int)((i + .5) * w / m->cols),
                          p->y0 + (int)((j + .5) * h / m->rows), size, INTERP_TEXT_CENTRE, ink,
                          text);
        }
}

INTERP_API interp_status interp_chart_matrix(interp_ctx *ctx, const interp_chart *chart,
                                             const interp_matrix *matrix, interp_image *out)
{
    itp_plot p;
    if (!matrix || !matrix->values || matrix->rows < 1 || matrix->cols < 1)
        return itp_chart_bad(ctx, "a matrix needs values of [rows, cols] with at least one cell");
    itp_plot_init(&p, ctx, chart);
    interp_status status = itp_matrix_range(ctx, matrix, &p.bar);
    p.has_bar = p.no_grid = true;
    p.map = matrix->colormap;
    if (p.map == INTERP_COLORMAP_AUTO)
        p.map = matrix->symmetric ? INTERP_COLORMAP_RD_WH_GN : INTERP_COLORMAP_VIRIDIS;
    p.bar_label = matrix->bar_label;
    p.y.log = false;
    p.y.names = matrix->row_names, p.y.n_names = matrix->row_names ? matrix->rows : 0;
    p.x.names = matrix->col_names, p.x.n_names = matrix->col_names ? matrix->cols : 0;
    p.x.whole = p.y.whole = true;
    p.x.low = -.5, p.x.high = matrix->cols - .5;
    p.y.low = matrix->rows - .5, p.y.high = -.5;
    if (!matrix->col_names && p.d.x_min < p.d.x_max) {
        itp_axis_fit(&p.x, itp_view_range_new(), 0, p.d.x_min, p.d.x_max);
        p.x.whole = false;
    }
    if (!status) status = itp_plot_open(&p);
    if (!status) {
        itp_matrix_draw(&p, matrix);
        itp_plot_finish(&p);
    }
    return itp_plot_close(&p, status, out);
}

/* ---- scatter */

ITP_FN interp_status itp_scatter_check(interp_ctx *ctx, const interp_scatter *s)
{
    if (!s || s->n < 0 || (s->n > 0 && !s->points))
        return itp_chart_bad(ctx, "a scatter plot needs points of [n, 2]");
    if (s->stride < 0 || s->stride == 1 || s->n_classes < 0)
        return itp_chart_bad(ctx,
                             "a scatter plot needs a stride of at least 2, and n_classes >= 0");
    return INTERP_OK;
}

ITP_FN int itp_scatter_classes(const interp_scatter *s)
{
    int n = s->n_classes;
    if (n > 0 || !s->classes) return s->classes ? n : 0;
    for (int i = 0; i < s->n; i++)
        if (s->classes[i] >= n && s->classes[i] < 1000000) n = s->classes[i] + 1;
    return n;
}

ITP_FN void itp_scatter_draw(const itp_plot *p, const interp_scatter *s)
{
    const size_t stride = (size_t)(s->stride ? s->stride : 2);
    const double many = s->n < 300 ? 4 : s->n < 1500 ? 3.2 : s->n < 6000 ? 2.4 : 1.6;
    const double radius = (s->radius > 0 ? fmin((double)s->radius, 1000) : many) * p->s;
    for (int i = 0; i < s->n; i++) {
        const float *at = s->points + (size_t)i * stride;
        uint32_t rgb = interp_category_rgb(0);
        if (p->has_bar) rgb = itp_map_rgb(p->map, itp_axis_at(&p->bar, (double)s->values[i]));
        else if (s->classes)
            rgb = s->classes[i] < 0 ? ITP_RGB_NAN : interp_category_rgb(s->classes[i]);
        itp_draw_disc(&p->area, itp_plot_x(p, (double)at[0]), itp_plot_y(p, &p->y, (double)at[1]),
                      radius, rgb, .8);
    }
}

INTERP_API interp_status interp_chart_scatter(interp_ctx *ctx, const interp_chart *chart,
                                              const interp_scatter *scatter, interp_image *out)
{
    itp_plot p;
    ITP_TRY(itp_scatter_check(ctx, scatter));
    itp_plot_init(&p, ctx, chart);
    const int n = scatter->n, n_classes = itp_scatter_classes(scatter);
    const size_t stride = (size_t)(scatter->stride ? scatter->stride : 2);
    itp_view_range x = itp_view_range_new(), y = itp_view_range_new(), bar = itp_view_range_new();
    for (int i = 0; i < n; i++) {
        itp_view_range_add(&x, (double)scatter->points[(size_t)i * stride], false);
        itp_view_range_add(&y, (double)scatter->points[(size_t)i * stride + 1], p.y.log);
    }
    const double air_x = (x.high - x.low) * .04, air_y = (y.high - y.low) * .04;
    if (air_x > 0) x.low -= air_x, x.high += air_x;
    if (air_y > 0 && !p.y.log) y.low -= air_y, y.high += air_y;
    itp_axis_fit(&p.x, x, 0, p.d.x_min, p.d.x_max);
    itp_axis_fit(&p.y, y, 0, p.d.y_min, p.d.y_max);
    p.x.names = NULL, p.x.n_names = 0;
    p.equal = scatter->equal && !p.y.log;
    p.has_bar = scatter->values != NULL;
    p.bar_label = scatter->bar_label;
    p.map = scatter->colormap;
    itp_view_range_add_all(&bar, scatter->values, (size_t)n, false);
    itp_axis_fit(&p.bar, bar, 0, 0, 0);
    interp_status status = itp_plot_keys(&p, n_classes);
    char(*numbers)[ITP_TICK_TEXT] = NULL;
    if (!status && !scatter->class_names && n_classes > 0) {
        numbers = (char(*)[ITP_TICK_TEXT])itp_calloc(ctx, (size_t)n_classes, sizeof *numbers);
        if (!numbers) status = INTERP_NO_MEMORY;
    }
    for (int i = 0; !status && !p.has_bar && i < n_classes; i++) {
        if (numbers) snprintf(numbers[i], ITP_TICK_TEXT, "%d", i);
        itp_plot_key(&p, numbers ? numbers[i] : scatter->class_names[i], interp_category_rgb(i),
                     ITP_KEY_DOT);
    }
    if (!status) status = itp_plot_open(&p);
    if (!status) {
        itp_scatter_draw(&p, scatter);
        itp_plot_finish(&p);
    }
    interp_free(ctx, numbers);
    return itp_plot_close(&p, status, out);
}

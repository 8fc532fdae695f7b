/* ---- view/boxes.c: boxes in the plane, violins --------------------------------------------------- */

ITP_FN interp_status itp_boxes_check(interp_ctx *ctx, const interp_boxes *b)
{
    if (!b || b->n < 0 || (b->n && (!b->ends || !b->classes)) || b->n_classes < 0)
        return itp_chart_bad(ctx, "boxes need their ends, [n,4], and their classes, [n]");
    return itp_series_check(ctx, b->over, b->n_over);
}

INTERP_API interp_status interp_chart_boxes(interp_ctx *ctx, const interp_chart *chart,
                                            const interp_boxes *b, interp_image *out)
{
    itp_plot p;
    ITP_TRY(itp_boxes_check(ctx, b));
    itp_plot_init(&p, ctx, chart);
    itp_view_range x = itp_view_range_new(), y = itp_view_range_new();
    for (int i = 0; i < b->n; i++)
        for (int end = 0; end < 4; end += 2) {
            itp_view_range_add(&x, (double)b->ends[(size_t)i * 4 + (size_t)end], false);
            itp_view_range_add(&y, (double)b->ends[(size_t)i * 4 + (size_t)end + 1], false);
        }
    for (int s = 0; s < b->n_over; s++) {
        itp_view_range_add_all(&x, b->over[s].x, b->over[s].x ? (size_t)b->over[s].n : 0, false);
        itp_view_range_add_all(&y, b->over[s].y, (size_t)b->over[s].n, false);
    }
    p.y.log = false;
    itp_axis_fit(&p.x, x, 0, p.d.x_min, p.d.x_max);
    itp_axis_fit(&p.y, y, 0, p.d.y_min, p.d.y_max);
    p.x.names = NULL, p.x.n_names = 0;
    p.no_grid = true;
    interp_status status = itp_plot_keys(&p, b->n_classes + b->n_over);
    for (int i = 0; !status && b->class_names && i < b->n_classes; i++)
        itp_plot_key(&p, b->class_names[i], interp_category_rgb(i), ITP_KEY_BOX);
    for (int s = 0; !status && s < b->n_over; s++)
        itp_plot_key(&p, b->over[s].name, itp_series_rgb(&b->over[s], s), ITP_KEY_DOT);
    if (!status) status = itp_plot_open(&p);
    for (int i = 0; !status && i < b->n; i++) {
        const float *e = b->ends + (size_t)i * 4;
        if (b->classes[i] < 0) continue;
        const int x0 = itp_draw_px(itp_plot_x(&p, (double)e[0]));
        const int x1 = itp_draw_px(itp_plot_x(&p, (double)e[2]));
        const int y0 = itp_draw_px(itp_plot_y(&p, &p.y, (double)e[3]));
        const int y1 = itp_draw_px(itp_plot_y(&p, &p.y, (double)e[1]));
        const bool faint = b->faint && b->faint[i];
        itp_draw_rect(&p.area, x0, y0, itp_max(x1, faint ? x0 : x0 + 1),
                      itp_max(y1, faint ? y0 : y0 + 1), interp_category_rgb(b->classes[i]),
                      faint ? .3 : 1);
    }
    if (!status) {
        for (int s = 0; s < b->n_over; s++)
            itp_series_draw(&p, &b->over[s], itp_series_rgb(&b->over[s], s));
        itp_plot_finish(&p);
    }
    return itp_plot_close(&p, status, out);
}

/* ---- violins */

/* A quantile of sorted values, between neighbours as numpy does. */
ITP_FN double itp_quantile(const float *v, int n, double q)
{
    const double at = q * (n - 1);
    const int i = itp_min((int)at, n - 1), j = itp_min(i + 1, n - 1);
    return (double)v[i] + (at - i) * ((double)v[j] - (double)v[i]);
}

/* Width of the normal kernels by Scott's rule; 0 when all of the sorted values are equal. */
ITP_FN double itp_kde_width(const float *v, int n)
{
    double mean = 0, square = 0;
    for (int i = 0; i < n; i++) mean += (double)v[i] / n;
    for (int i = 0; i < n; i++) square += ((double)v[i] - mean) * ((double)v[i] - mean);
    return v[n - 1] > v[0] ? sqrt(square / (n - 1)) * pow(n, -.2) : 0;
}

ITP_FN double itp_kde_at(const float *v, int n, double width, double x)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        const double z = (x - (double)v[i]) / width;
        sum += z * z < 100 ? exp(-z * z / 2) : 0;
    }
    return sum / (n * width * 2.5066282746310002); /* sqrt(2 pi) */
}

#define ITP_VIOLIN_STEPS 160

/* One violin: its outline, as wide as the others', a box from quartile to quartile, whiskers to the last
   value within 1.5 boxes, and the median. */
ITP_FN void itp_violin_draw(const itp_plot *p, const float *v, int n, int at, uint32_t rgb)
{
    const double width = itp_kde_width(v, n), half = .4 * (itp_plot_x(p, 1) - itp_plot_x(p, 0));
    const double x = itp_plot_x(p, at), low = (double)v[0] - 2 * width;
    const double step = ((double)v[n - 1] + 2 * width - low) / ITP_VIOLIN_STEPS;
    double density[ITP_VIOLIN_STEPS], widest = 0;
    for (int i = 0; width > 0 && i < ITP_VIOLIN_STEPS; i++) {
        density[i] = itp_kde_at(v, n, width, low + step * (i + .5));
        widest = fmax(widest, density[i]);
    }
    for (int i = 0; width > 0 && i < ITP_VIOLIN_STEPS; i++) {
        const double w = half * density[i] / widest;
        itp_draw_rect(
            &p->area, itp_draw_px(x - w), itp_draw_px(itp_plot_y(p, &p->y, low + step * (i + 1))),
            itp_draw_px(x + w) + 1, itp_draw_px(itp_plot_y(p, &p->y, low + step * i)), rgb, .75);
    }
    const double q1 = itp_quantile(v, n, .25), q2 = itp_quantile(v, n, .5);
    const double q3 = itp_quantile(v, n, .75), reach = 1.5 * (q3 - q1);
    double from = q1, to = q3;
    for (int i = n - 1; i >= 0; i--)
        if ((double)v[i] >= q1 - reach) from = fmin(from, (double)v[i]);
    for (int i = 0; i < n; i++)
        if ((double)v[i] <= q3 + reach) to = fmax(to, (double)v[i]);
    itp_draw_line(&p->area, x, itp_plot_y(p, &p->y, from), x, itp_plot_y(p, &p->y, to), 1.5 * p->s,
                  0x303030u, 1);
    itp_draw_line(&p->area, x, itp_plot_y(p, &p->y, q1), x, itp_plot_y(p, &p->y, q3), 7 * p->s,
                  0x303030u, 1);
    itp_draw_disc(&p->area, x, itp_plot_y(p, &p->y, q2), 3 * p->s, 0xffffffu, 1);
}

/* Copies of all groups, sorted, without what is not finite; n: how many of each are left. */
ITP_FN float *itp_violin_values(interp_ctx *ctx, const interp_violins *v, int *n)
{
    size_t all = 0, at = 0;
    for (int g = 0; g < v->n_groups; g++) all += (size_t)v->counts[g];
    float *sorted = (float *)interp_alloc(ctx, itp_max_size(1, all) * sizeof *sorted);
    const float *from = v->values;
    for (int g = 0; sorted && g < v->n_groups; g++) {
        const size_t first = at;
        for (int i = 0; i < v->counts[g]; i++, from++)
            if (fabs((double)*from) <= (double)FLT_MAX) sorted[at++] = *from;
        n[g] = (int)(at - first);
        if (n[g]) qsort(sorted + first, (size_t)n[g], sizeof *sorted, itp_view_compare_floats);
    }
    return sorted;
}

ITP_FN uint32_t itp_violin_rgb(const interp_violins *v, int g)
{
    return v->colours ? v->colours[g] : interp_category_rgb(g);
}

INTERP_API interp_status interp_chart_violins(interp_ctx *ctx, const interp_chart *chart,
                                              const interp_violins *v, interp_image *out)
{
    if (!v || v->n_groups < 1 || !v->values || !v->counts)
        return itp_chart_bad(ctx, "violins need groups of values and their counts");
    for (int g = 0; g < v->n_groups; g++)
        if (v->counts[g] < 0) return itp_chart_bad(ctx, "a group has fewer than no values");
    itp_plot p;
    itp_plot_init(&p, ctx, chart);
    int *n = (int *)interp_alloc(ctx, (size_t)v->n_groups * sizeof *n);
    float *sorted = n ? itp_violin_values(ctx, v, n) : NULL;
    interp_status status = sorted ? itp_plot_keys(&p, v->n_groups) : INTERP_NO_MEMORY;
    itp_view_range x = itp_view_range_new(), y = itp_view_range_new();
    const float *at = sorted;
    itp_view_range_add(&x, -.5, false);
    itp_view_range_add(&x, v->n_groups - .5, false);
    for (int g = 0; !status && g < v->n_groups; at += n[g++]) {
        if (!n[g]) continue;
        const double width = itp_kde_width(at, n[g]);
        itp_view_range_add(&y, (double)at[0] - 2 * width, false);
        itp_view_range_add(&y, (double)at[n[g] - 1] + 2 * width, false);
        itp_plot_key(&p, v->legend ? v->legend[g] : NULL, itp_violin_rgb(v, g), ITP_KEY_BOX);
    }
    p.y.log = false;
    itp_axis_fit(&p.x, x, 0, 0, 0);
    itp_axis_fit(&p.y, y, .04, p.d.y_min, p.d.y_max);
    if (!status) status = itp_plot_open(&p);
    at = sorted;
    for (int g = 0; !status && g < v->n_groups; at += n[g++])
        if (n[g]) itp_violin_draw(&p, at, n[g], g, itp_violin_rgb(v, g));
    if (!status) itp_plot_finish(&p);
    interp_free(ctx, n);
    interp_free(ctx, sorted);
    return itp_plot_close(&p, status, out);
}

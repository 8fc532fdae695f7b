/* ---- view/image.c: pixels, lines, text and PNG files ----------------------------------------- */

#define ITP_IMAGE_SIDE   32768
#define ITP_IMAGE_PIXELS ((size_t)1 << 27)

INTERP_API interp_status interp_image_new(interp_ctx *ctx, int width, int height, uint32_t rgb,
                                          interp_image *out)
{
    if (width < 1 || height < 1 || width > ITP_IMAGE_SIDE || height > ITP_IMAGE_SIDE ||
        (size_t)width * (size_t)height > ITP_IMAGE_PIXELS)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "picture: %d x %d pixels were asked for; a side is 1..%d, and at most 2^27 "
                        "pixels fit",
                        width, height, ITP_IMAGE_SIDE);
    const size_t n = (size_t)width * (size_t)height;
    uint8_t *p = (uint8_t *)interp_alloc(ctx, n * 3);
    if (!p) return INTERP_NO_MEMORY;
    for (size_t i = 0; i < n; i++) itp_rgb_put(p + 3 * i, rgb);
    out->width = width;
    out->height = height;
    out->rgb = p;
    return INTERP_OK;
}

INTERP_API void interp_image_free(interp_ctx *ctx, interp_image *image)
{
    interp_free(ctx, image->rgb);
    memset(image, 0, sizeof *image);
}

/* A picture and the part of it that may be drawn on: x0 <= x < x1, y0 <= y < y1. */
typedef struct itp_canvas {
    interp_image *image;
    int x0, y0, x1, y1;
} itp_canvas;

ITP_FN itp_canvas itp_canvas_of(interp_image *image)
{
    itp_canvas c;
    c.image = image;
    c.x0 = c.y0 = 0;
    c.x1 = image->rgb ? image->width : 0;
    c.y1 = image->rgb ? image->height : 0;
    return c;
}

ITP_FN itp_canvas itp_canvas_clip(const itp_canvas *of, int x0, int y0, int x1, int y1)
{
    itp_canvas c = *of;
    c.x0 = itp_max(c.x0, x0), c.y0 = itp_max(c.y0, y0);
    c.x1 = itp_min(c.x1, x1), c.y1 = itp_min(c.y1, y1);
    return c;
}

/* To the next pixel, far outside the picture when there is none. */
ITP_FN int itp_draw_px(double v)
{
    if (!(v > -1e6)) return -1000000;
    return v < 1e6 ? (int)floor(v + .5) : 1000000;
}

/* Mixes a colour in; cover 0..1. The pixel must be on the canvas. */
ITP_FN void itp_draw_blend(const itp_canvas *c, int x, int y, uint32_t rgb, double cover)
{
    uint8_t *p = c->image->rgb + ((size_t)y * (size_t)c->image->width + (size_t)x) * 3;
    const int a = (int)(cover * 256 + .5);
    for (int i = 0; i < 3; i++) {
        const int to = (int)(rgb >> (16 - 8 * i) & 255);
        p[i] = (uint8_t)((p[i] * (256 - a) + to * a + 128) >> 8);
    }
}

/* Fills x0 <= x < x1, y0 <= y < y1. */
ITP_FN void itp_draw_rect(const itp_canvas *c, int x0, int y0, int x1, int y1, uint32_t rgb,
                          double cover)
{
    x0 = itp_max(x0, c->x0), x1 = itp_min(x1, c->x1);
    y0 = itp_max(y0, c->y0), y1 = itp_min(y1, c->y1);
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) itp_draw_blend(c, x, y, rgb, cover);
}

ITP_FN void itp_draw_frame(const itp_canvas *c, int x0, int y0, int x1, int y1, uint32_t rgb)
{
    itp_draw_rect(c, x0, y0, x1, y0 + 1, rgb, 1);
    itp_draw_rect(c, x0, y1 - 1, x1, y1, rgb, 1);
    itp_draw_rect(c, x0, y0 + 1, x0 + 1, y1 - 1, rgb, 1);
    itp_draw_rect(c, x1 - 1, y0 + 1, x1, y1 - 1, rgb, 1);
}

/* Cuts p = x0, y0, x1, y1 down to the canvas and a margin (Liang and Barsky 1984). */
ITP_FN bool itp_draw_clip(const itp_canvas *c, double margin, double p[4])
{
    const double low[2] = {c->x0 - margin, c->y0 - margin};
    const double high[2] = {c->x1 - 1 + margin, c->y1 - 1 + margin};
    double from = 0, to = 1;
    for (int i = 0; i < 4; i++)
        if (!(fabs(p[i]) <= DBL_MAX / 4)) return false;
    for (int i = 0; i < 2; i++) {
        const double d = p[i + 2] - p[i];
        if (d == 0 && (p[i] < low[i] || p[i] > high[i])) return false;
        if (d == 0) continue;
        const double a = (low[i] - p[i]) / d, b = (high[i] - p[i]) / d;
        from = fmax(from, fmin(a, b));
        to = fmin(to, fmax(a, b));
    }
    if (from > to) return false;
    for (int i = 0; i < 2; i++) {
        const double at = p[i], d = p[i + 2] - p[i];
        p[i] = fmin(fmax(at + from * d, low[i]), high[i]);
        p[i + 2] = fmin(fmax(at + to * d, low[i]), high[i]);
    }
    return true;
}

/* Squared distance of a point to a segment. */
ITP_FN double itp_draw_d2(const double p[4], double x, double y)
{
    const double dx = p[2] - p[0], dy = p[3] - p[1], length2 = dx * dx + dy * dy;
    double t = length2 > 0 ? ((x - p[0]) * dx + (y - p[1]) * dy) / length2 : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    const double ex = x - p[0] - t * dx, ey = y - p[1] - t * dy;
    return ex * ex + ey * ey;
}

/* How much of a pixel a stroke covers whose middle is sqrt(d2) away. */
ITP_FN double itp_draw_cover(double d2, double half_width)
{
    const double c = half_width + .5 - sqrt(d2);
    return c < 0 ? 0 : c > 1 ? 1 : c;
}

ITP_FN void itp_draw_line(const itp_canvas *c, double x0, double y0, double x1, double y1,
                          double width, uint32_t rgb, double alpha)
{
    double p[4] = {x0, y0, x1, y1};
    const double half = fmin(fmax(width, .2), 1000) / 2, reach = half + .5;
    if (c->x0 >= c->x1 || c->y0 >= c->y1 || !itp_draw_clip(c, reach, p)) return;
    const int major = fabs(p[2] - p[0]) >= fabs(p[3] - p[1]) ? 0 : 1, minor = 1 - major;
    const double run = p[major + 2] - p[major];
    const double slope = run != 0 ? (p[minor + 2] - p[minor]) / run : 0;
    const double band = reach * sqrt(1 + slope * slope) + 1;
    const double first = fmin(p[major], p[major + 2]), last = fmax(p[major], p[major + 2]);
    const int low = major ? c->y0 : c->x0, high = (major ? c->y1 : c->x1) - 1;
    const int minor_low = major ? c->x0 : c->y0, minor_high = (major ? c->x1 : c->y1) - 1;
    for (int i = itp_max(low, itp_draw_px(first - reach));
         i <= itp_min(high, itp_draw_px(last + reach)); i++) {
        const double middle = p[minor] + slope * (fmin(fmax(i, first), last) - p[major]);
        const int from = itp_max(minor_low, itp_draw_px(middle - band));
        const int to = itp_min(minor_high, itp_draw_px(middle + band));
        for (int j = from; j <= to; j++) {
            const int x = major ? j : i, y = major ? i : j;
            const double cover = itp_draw_cover(itp_draw_d2(p, x, y), half);
            if (cover > 0) itp_draw_blend(c, x, y, rgb, cover * fmin(1, width) * alpha);
        }
    }
}

ITP_FN void itp_draw_disc(const itp_canvas *c, double x, double y, double radius, uint32_t rgb,
                          double alpha)
{
    const double p[4] = {x, y, x, y};
    if (!(fabs(x) < 1e6 && fabs(y) < 1e6 && radius > 0)) return;
    radius = fmin(radius, 1e5);
    const int x0 = itp_max(c->x0, itp_draw_px(x - radius - 1)), x1 = itp_draw_px(x + radius + 1);
    const int y0 = itp_max(c->y0, itp_draw_px(y - radius - 1)), y1 = itp_draw_px(y + radius + 1);
    for (int j = y0; j <= itp_min(c->y1 - 1, y1); j++)
        for (int i = x0; i <= itp_min(c->x1 - 1, x1); i++) {
            const double cover = itp_draw_cover(itp_draw_d2(p, i, j), radius);
            if (cover > 0) itp_draw_blend(c, i, j, rgb, cover * alpha);
        }
}

/* ---- text */

ITP_FN void itp_outline_draw(const itp_canvas *c, const itp_outline *o, double pen, uint32_t rgb)
{
    double box[4] = {1e9, 1e9, -1e9, -1e9};
    for (int i = 0; i < o->n; i++)
        for (int k = 0; k < 4; k++) {
            box[k & 1] = fmin(box[k & 1], o->at[i][k]);
            box[2 + (k & 1)] = fmax(box[2 + (k & 1)], o->at[i][k]);
        }
    const int x1 = itp_min(c->x1 - 1, itp_draw_px(box[2] + pen)),
              y1 = itp_min(c->y1 - 1, itp_draw_px(box[3] + pen));
    for (int y = itp_max(c->y0, itp_draw_px(box[1] - pen)); y <= y1; y++)
        for (int x = itp_max(c->x0, itp_draw_px(box[0] - pen)); x <= x1; x++) {
            double d2 = 1e9;
            for (int i = 0; i < o->n; i++) d2 = fmin(d2, itp_draw_d2(o->at[i], x, y));
            const double cover = itp_draw_cover(d2, pen / 2);
            if (cover > 0) itp_draw_blend(c, x, y, rgb, cover);
        }
}

ITP_FN void itp_draw_text(const itp_canvas *c, int x, int y, int size, int flags, uint32_t rgb,
                          const char *text)
{
    if (!text || !*text) return;
    const itp_face f = itp_face_of(size, flags);
    const int width = interp_text_width(text, size, flags), up = flags & INTERP_TEXT_UP;
    const int back = flags & INTERP_TEXT_RIGHT    ? width - 1
                     : flags & INTERP_TEXT_CENTRE ? width / 2
                                                  : 0;
    int at = -back;
    for (const char *s = text; *s && at < ITP_IMAGE_SIDE * 2;) {
        const char *glyph = itp_glyph_of(itp_utf8_next(&s));
        itp_outline o;
        itp_glyph_outline(&f, glyph, &o);
        for (int i = 0; i < o.n; i++)
            for (int k = 0; k < 4; k += 2) {
                const double along = at + o.at[i][k], rise = o.at[i][k + 1] - f.cap / 2;
                o.at[i][k] = up ? x - rise : x + along;
                o.at[i][k + 1] = up ? y - along : y - rise;
            }
        itp_outline_draw(c, &o, f.pen, rgb);
        at += itp_glyph_width(&f, glyph) + f.gap;
    }
}

INTERP_API void interp_image_rect(interp_image *image, int x, int y, int width, int height,
                                  uint32_t rgb)
{
    const itp_canvas c = itp_canvas_of(image);
    const int64_t x1 = (int64_t)x + itp_max(width, 0), y1 = (int64_t)y + itp_max(height, 0);
    if (x1 > 0 && y1 > 0)
        itp_draw_rect(&c, x, y, x1 < c.x1 ? (int)x1 : c.x1, y1 < c.y1 ? (int)y1 : c.y1, rgb, 1);
}

INTERP_API void interp_image_line(interp_image *image, double x0, double y0, double x1, double y1,
                                  double width, uint32_t rgb)
{
    const itp_canvas c = itp_canvas_of(image);
    if (width > 0) itp_draw_line(&c, x0, y0, x1, y1, width, rgb, 1);
}

INTERP_API void interp_image_disc(interp_image *image, double x, double y, double radius,
                                  uint32_t rgb)
{
    const itp_canvas c = itp_canvas_of(image);
    itp_draw_disc(&c, x, y, radius, rgb, 1);
}

INTERP_API void interp_image_text(interp_image *image, int x, int y, int size, int flags,
                                  uint32_t rgb, const char *text)
{
    const itp_canvas c = itp_canvas_of(image);
    if (abs(x / 2) > 500000 || abs(y / 2) > 500000) return;
    itp_draw_text(&c, x, y, size, flags, rgb, text);
}

/* ---- scaling */

/* Where pixel i of `to` lies among `from` pixels: a range to take the mean over. */
ITP_FN void itp_blit_span(int i, int from, int to, double *a, double *b)
{
    if (to >= from) {
        *a = itp_min((int)((i + .5) * from / to), from - 1);
        *b = *a + 1;
    } else {
        *a = (double)i * from / to;
        *b = fmin((i + 1.) * from / to, from);
    }
}

ITP_FN uint32_t itp_mean_rgb(const interp_image *s, double xa, double xb, double ya, double yb)
{
    double sum[3] = {0, 0, 0}, weight = 0;
    for (int y = (int)ya; y < yb; y++)
        for (int x = (int)xa; x < xb; x++) {
            const double w = (fmin(xb, x + 1) - fmax(xa, x)) * (fmin(yb, y + 1) - fmax(ya, y));
            const uint8_t *p = s->rgb + ((size_t)y * (size_t)s->width + (size_t)x) * 3;
            for (int i = 0; i < 3; i++) sum[i] += w * p[i];
            weight += w;
        }
    return weight > 0 ? itp_rgb(sum[0] / weight, sum[1] / weight, sum[2] / weight) : 0;
}

/* Bilinear weights along one axis: pixels *k and *k2, the latter with weight *f. */
ITP_FN void itp_blit_between(int i, int from, int to, int *k, int *k2, double *f)
{
    const double at = fmin(fmax((i + .5) * from / to - .5, 0), from - 1);
    *k = itp_min((int)at, from - 1);
    *k2 = itp_min(*k + 1, from - 1);
    *f = at - *k;
}

ITP_FN uint32_t itp_bilinear_rgb(const interp_image *s, int i, int j, int width, int height)
{
    int x, x2, y, y2;
    double fx, fy, c[3];
    itp_blit_between(i, s->width, width, &x, &x2, &fx);
    itp_blit_between(j, s->height, height, &y, &y2, &fy);
    const uint8_t *top = s->rgb + (size_t)y * (size_t)s->width * 3;
    const uint8_t *low = s->rgb + (size_t)y2 * (size_t)s->width * 3;
    for (int k = 0; k < 3; k++) {
        const double a = top[3 * x + k] * (1 - fx) + top[3 * x2 + k] * fx;
        const double b = low[3 * x + k] * (1 - fx) + low[3 * x2 + k] * fx;
        c[k] = a * (1 - fy) + b * fy;
    }
    return itp_rgb(c[0], c[1], c[2]);
}

INTERP_API void interp_image_blit(interp_image *image, int x, int y, int width, int height,
                                  const interp_image *source, interp_resample how)
{
    const itp_canvas c = itp_canvas_of(image);
    const int64_t x1 = (int64_t)x + itp_max(width, 0), y1 = (int64_t)y + itp_max(height, 0);
    if (x1 <= 0 || y1 <= 0 || !source->rgb) return;
    for (int py = itp_max(0, y); py < c.y1 && py < y1; py++)
        for (int px = itp_max(0, x); px < c.x1 && px < x1; px++) {
            const int i = px - x, j = py - y;
            uint32_t rgb;
            if (how == INTERP_RESAMPLE_BILINEAR) {
                rgb = itp_bilinear_rgb(source, i, j, width, height);
            } else {
                double xa, xb, ya, yb;
                itp_blit_span(i, source->width, width, &xa, &xb);
                itp_blit_span(j, source->height, height, &ya, &yb);
                rgb = itp_mean_rgb(source, xa, xb, ya, yb);
            }
            itp_rgb_put(image->rgb + ((size_t)py * (size_t)image->width + (size_t)px) * 3, rgb);
        }
}

/* ---- PNG */

/* Our own encoder: deflate with the fixed codes, looking for repeats one pixel to the left and
   one row above. Flat areas, of which charts are made, shrink to almost nothing. */
typedef struct itp_png_bits {
    itp_buf *b;
    uint32_t hold;
    int n;
} itp_png_bits;

ITP_FN void itp_png_bits_put(itp_png_bits *w, uint32_t value, int n)
{
    w->hold |= value << w->n;
    for (w->n += n; w->n >= 8; w->n -= 8, w->hold >>= 8) itp_buf_byte(w->b, (int)(w->hold & 255));
}

/* Huffman codes start with their highest bit (RFC 1951, 3.1.1). */
ITP_FN void itp_png_bits_code(itp_png_bits *w, uint32_t code, int n)
{
    uint32_t turned = 0;
    for (int i = 0; i < n; i++) turned |= (code >> i & 1) << (n - 1 - i);
    itp_png_bits_put(w, turned, n);
}

/* RFC 1951, 3.2.6 */
ITP_FN void itp_png_symbol(itp_png_bits *w, uint32_t s)
{
    if (s < 144) itp_png_bits_code(w, 0x30 + s, 8);
    else if (s < 256) itp_png_bits_code(w, 0x190 + s - 144, 9);
    else if (s < 280) itp_png_bits_code(w, s - 256, 7);
    else itp_png_bits_code(w, 0xc0 + s - 280, 8);
}

/* RFC 1951, 3.2.5: `length` 3..258 bytes again from `distance` back. */
ITP_FN void itp_png_match(itp_png_bits *w, uint32_t length, uint32_t distance)
{
    const uint32_t l = length - 3, d = distance - 1;
    uint32_t extra = 0;
    if (length == 258) {
        itp_png_symbol(w, 285);
    } else if (l < 8) {
        itp_png_symbol(w, 257 + l);
    } else {
        while (l >> (extra + 3)) extra++; /* l has extra + 3 bits: 1, two of the symbol, the rest */
        itp_png_symbol(w, 257 + 4 * extra + (l >> extra));
        itp_png_bits_put(w, l & ((1u << extra) - 1), (int)extra);
    }
    if (d < 4) {
        itp_png_bits_code(w, d, 5);
        return;
    }
    extra = 0;
    while (d >> (extra + 2)) extra++;
    itp_png_bits_code(w, 2 * extra + (d >> extra), 5);
    itp_png_bits_put(w, d & ((1u << extra) - 1), (int)extra);
}

ITP_FN size_t itp_png_repeats(const uint8_t *p, size_t i, size_t n, size_t distance)
{
    size_t k = 0;
    if (distance > i || distance > 32768) return 0;
    while (k < 258 && i + k < n && p[i + k] == p[i + k - distance]) k++;
    return k;
}

ITP_FN void itp_png_zlib(itp_buf *b, const uint8_t *p, size_t n, size_t stride)
{
    itp_png_bits w;
    uint32_t s1 = 1, s2 = 0; /* Adler-32 */
    w.b = b, w.hold = 0, w.n = 0;
    itp_buf_add(b, "\x78\x01", 2);
    itp_png_bits_put(&w, 3, 3); /* last block, fixed codes */
    for (size_t i = 0; i < n && !b->status;) {
        const size_t left = itp_png_repeats(p, i, n, 3), above = itp_png_repeats(p, i, n, stride);
        const size_t best = itp_max_size(left, above);
        if (best >= 4) itp_png_match(&w, (uint32_t)best, (uint32_t)(left >= above ? 3 : stride));
        else itp_png_symbol(&w, p[i]);
        for (size_t k = best >= 4 ? best : 1; k > 0; k--, i++) {
            s1 = (s1 + p[i]) % 65521;
            s2 = (s2 + s1) % 65521;
        }
    }
    itp_png_symbol(&w, 256);
    itp_png_bits_put(&w, 0, 7); /* to the next byte */
    for (int i = 24; i >= 0; i -= 8) itp_buf_byte(b, (int)((s2 << 16 | s1) >> i & 255));
}

ITP_FN void itp_png_be32(uint8_t *to, uint32_t v)
{
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(v >> (24 - 8 * i));
}

ITP_FN void itp_png_chunk(itp_buf *b, const char *type, const void *data, size_t n)
{
    uint8_t head[8], tail[4];
    uint32_t crc = 0xffffffffu;
    itp_png_be32(head, (uint32_t)n);
    memcpy(head + 4, type, 4);
    for (size_t i = 0; i < n + 4; i++) {
        crc ^= i < 4 ? head[4 + i] : ((const uint8_t *)data)[i - 4];
        for (int k = 0; k < 8; k++) crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
    }
    itp_png_be32(tail, ~crc);
    itp_buf_add(b, head, 8);
    if (n) itp_buf_add(b, data, n);
    itp_buf_add(b, tail, 4);
}

ITP_FN void itp_png_pack_own(itp_buf *b, const interp_image *image)
{
    const size_t row = (size_t)image->width * 3, rows = (size_t)image->height;
    uint8_t *raw = (uint8_t *)interp_alloc(b->ctx, (row + 1) * rows);
    if (!raw) {
        b->status = INTERP_NO_MEMORY;
        return;
    }
    for (size_t y = 0; y < rows; y++) {
        raw[y * (row + 1)] = 0; /* no filter: rows that are the same stay the same */
        memcpy(raw + y * (row + 1) + 1, image->rgb + y * row, row);
    }
    itp_buf z = itp_buf_new(b->ctx);
    itp_png_zlib(&z, raw, (row + 1) * rows, row + 1);
    interp_free(b->ctx, raw);
    uint8_t head[13] = {0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0};
    itp_png_be32(head, (uint32_t)image->width);
    itp_png_be32(head + 4, (uint32_t)image->height);
    itp_buf_add(b, "\x89PNG\r\n\x1a\n", 8);
    itp_png_chunk(b, "IHDR", head, sizeof head);
    if (z.status) b->status = z.status;
    else itp_png_chunk(b, "IDAT", z.data, z.n);
    itp_png_chunk(b, "IEND", NULL, 0);
    itp_buf_free(&z);
}

#if defined(INCLUDE_STB_IMAGE_WRITE_H)

ITP_FN void itp_png_take(void *user, void *data, int n)
{
    itp_buf_add((itp_buf *)user, data, (size_t)n);
}

ITP_FN void itp_png_pack(itp_buf *b, const interp_image *image)
{
    if (!stbi_write_png_to_func(itp_png_take, b, image->width, image->height, 3, image->rgb,
                                image->width * 3) &&
        !b->status)
        b->status = itp_fail(b->ctx, INTERP_NO_MEMORY, "PNG: stb_image_write ran out of memory");
}

#else
#define itp_png_pack itp_png_pack_own
#endif

ITP_FN interp_status itp_image_check(interp_ctx *ctx, const interp_image *image)
{
    if (image && image->rgb && image->width > 0 && image->height > 0) return INTERP_OK;
    return itp_fail(ctx, INTERP_BAD_ARGUMENT, "picture: it is empty; draw one first");
}

INTERP_API interp_status interp_image_png(interp_ctx *ctx, const interp_image *image, uint8_t **png,
                                          size_t *bytes)
{
    ITP_TRY(itp_image_check(ctx, image));
    itp_buf b = itp_buf_new(ctx);
    itp_png_pack(&b, image);
    if (b.status) {
        itp_buf_free(&b);
        return b.status;
    }
    *png = (uint8_t *)b.data;
    *bytes = b.n;
    return INTERP_OK;
}

#ifndef INTERP_NO_STDIO

ITP_FN bool itp_view_path_ends(const char *path, const char *ending)
{
    const size_t n = strlen(path), e = strlen(ending);
    if (n < e) return false;
    for (size_t i = 0; i < e; i++)
        if (itp_view_lower(path[n - e + i]) != ending[i]) return false;
    return true;
}

INTERP_API interp_status interp_image_write(interp_ctx *ctx, const interp_image *image,
                                            const char *path)
{
    ITP_TRY(itp_image_check(ctx, image));
    const bool png = path && itp_view_path_ends(path, ".png");
    if (!png && !(path && itp_view_path_ends(path, ".ppm")))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "%s: pictures are written as .png or .ppm; end the name with one of them",
                        path ? path : "(no path)");
    itp_buf b = itp_buf_new(ctx);
    if (png) {
        itp_png_pack(&b, image);
    } else {
        itp_buf_printf(&b, "P6\n%d %d\n255\n", image->width, image->height);
        itp_buf_add(&b, image->rgb, (size_t)image->width * (size_t)image->height * 3);
    }
    return itp_buf_write(&b, path);
}

#endif

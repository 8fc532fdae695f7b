/* ---- view/font.c: a stroke font, ASCII and a few signs more ---------------------------------- */

/* A glyph is its width and the way of a pen. Baseline at y = 0, small letters reach 14, capitals
   and digits 20, descenders -6. M moves, L draws a line, Q a quadratic curve (control point, end),
   h and v a quarter of an ellipse that sets out horizontally or vertically. The pen is round, so a
   glyph is all points within half a stroke of its lines: sharp at any size, weight and turn. */
#define ITP_CAP_UNITS     20
#define ITP_SMALL_UNITS   14
#define ITP_DESCENT_UNITS 6

/* clang-format off */
static const char *const itp_glyphs[95] = {
    /*   */ "2",
    /* ! */ "0 M0,20L0,7M0,1L0,0",
    /* " */ "5 M0,20L0,14M5,20L5,14",
    /* # */ "14 M5,20L2,0M12,20L9,0M0,13L14,13M0,7L14,7",
    /* $ */ "12 M12,15v6,18h0,14v6,10h12,6v6,2h0,5M6,22L6,-2",
    /* % */ "18 M4,20h8,16v4,12h0,16v4,20M15,20L3,0M14,8h18,4v14,0h10,4v14,8",
    /* & */ "14 M14,0L3,14v6,20h10,16v4,10h0,5v5,0h14,8",
    /* ' */ "0 M0,20L0,14",
    /* ( */ "4 M4,23Q-3,9,4,-5",
    /* ) */ "4 M0,23Q7,9,0,-5",
    /* * */ "10 M5,20L5,10M1,18L9,12M9,18L1,12",
    /* + */ "12 M6,15L6,3M0,9L12,9",
    /* , */ "2 M2,1L0,-4",
    /* - */ "7 M0,8L7,8",
    /* . */ "0 M0,1L0,0",
    /* / */ "9 M9,22L0,-3",
    /* 0 */ "12 M6,20h12,12L12,8v6,0h0,8L0,12v6,20",
    /* 1 */ "12 M2,16L7,20L7,0",
    /* 2 */ "12 M0,15v6,20h12,15Q12,11,8,8L0,0L12,0",
    /* 3 */ "12 M1,17v6,20h11,15v6,11L4,11M6,11h12,5v6,0h0,4",
    /* 4 */ "12 M9,0L9,20L0,6L12,6",
    /* 5 */ "12 M11,20L2,20L1,11Q3,13,6,13h12,7v6,0h0,4",
    /* 6 */ "12 M11,18Q9,20,6,20h0,10L0,6v6,0h12,6v6,12h0,6",
    /* 7 */ "12 M0,20L12,20L4,0",
    /* 8 */ "12 M6,20h11,15v6,11h1,15v6,20M6,11h12,5v6,0h0,5v6,11",
    /* 9 */ "12 M1,2Q3,0,6,0h12,10L12,14v6,20h0,14v6,8h12,14",
    /* : */ "0 M0,12L0,11M0,1L0,0",
    /* ; */ "2 M2,12L2,11M2,1L0,-4",
    /* < */ "11 M11,16L0,9L11,2",
    /* = */ "12 M0,12L12,12M0,6L12,6",
    /* > */ "11 M0,16L11,9L0,2",
    /* ? */ "10 M0,16v5,20h10,15Q10,12,7,10Q5,8,5,6M5,1L5,0",
    /* @ */ "20 M10,13h14,9v10,5h6,9v10,13M14,13L14,8v17,5h20,10v10,20h0,9v10,-3Q14,-3,17,-1",
    /* A */ "14 M0,0L7,20L14,0M3,7L11,7",
    /* B */ "12 M0,0L0,20L6,20h11,15v6,11L0,11M6,11h12,5v6,0L0,0",
    /* C */ "13 M13,16v7,20h0,10v7,0h13,4",
    /* D */ "13 M0,0L0,20L5,20h13,10v5,0L0,0",
    /* E */ "10 M10,20L0,20L0,0L10,0M0,10L8,10",
    /* F */ "10 M10,20L0,20L0,0M0,10L8,10",
    /* G */ "14 M13,16v7,20h0,10v7,0h14,7L14,9L8,9",
    /* H */ "12 M0,0L0,20M12,0L12,20M0,10L12,10",
    /* I */ "0 M0,0L0,20",
    /* J */ "8 M8,20L8,5v4,0h0,4",
    /* K */ "12 M0,0L0,20M12,20L0,8M4,12L12,0",
    /* L */ "9 M0,20L0,0L9,0",
    /* M */ "14 M0,0L0,20L7,5L14,20L14,0",
    /* N */ "12 M0,0L0,20L12,0L12,20",
    /* O */ "14 M7,20h14,10v7,0h0,10v7,20",
    /* P */ "11 M0,0L0,20L6,20h11,15v6,9L0,9",
    /* Q */ "14 M7,20h14,10v7,0h0,10v7,20M9,5L14,-1",
    /* R */ "12 M0,0L0,20L6,20h11,15v6,10L0,10M6,10L12,0",
    /* S */ "12 M12,16v6,20h0,15v6,10h12,5v6,0h0,4",
    /* T */ "12 M0,20L12,20M6,20L6,0",
    /* U */ "12 M0,20L0,6v6,0h12,6L12,20",
    /* V */ "14 M0,20L7,0L14,20",
    /* W */ "20 M0,20L5,0L10,18L15,0L20,20",
    /* X */ "12 M0,0L12,20M0,20L12,0",
    /* Y */ "12 M0,20L6,10L12,20M6,10L6,0",
    /* Z */ "12 M0,20L12,20L0,0L12,0",
    /* [ */ "4 M4,22L0,22L0,-4L4,-4",
    /* \ */ "9 M0,22L9,-3",
    /* ] */ "4 M0,22L4,22L4,-4L0,-4",
    /* ^ */ "10 M0,13L5,20L10,13",
    /* _ */ "12 M0,-3L12,-3",
    /* ` */ "3 M0,20L3,16",
    /* a */ "10 M1,12v5,14h10,9L10,0M10,8L4,8h0,4v4,0Q8,0,10,3",
    /* b */ "10 M0,20L0,0M0,7v5,14h10,7v5,0h0,7",
    /* c */ "9 M9,11v5,14h0,7v5,0h9,3",
    /* d */ "10 M10,20L10,0M10,7v5,14h0,7v5,0h10,7",
    /* e */ "10 M0,7L10,7L10,8v5,14h0,7v5,0Q8,0,10,3",
    /* f */ "7 M7,20Q3,20,3,16L3,0M0,14L7,14",
    /* g */ "10 M10,14L10,-1v5,-6Q2,-6,0,-4M10,7v5,14h0,7v5,0h10,7",
    /* h */ "10 M0,20L0,0M0,8v5,14h10,8L10,0",
    /* i */ "0 M0,14L0,0M0,20L0,19",
    /* j */ "3 M3,14L3,-3Q3,-6,0,-6M3,20L3,19",
    /* k */ "9 M0,20L0,0M9,14L0,5M4,9L9,0",
    /* l */ "3 M0,20L0,3Q0,0,3,0",
    /* m */ "16 M0,14L0,0M0,9v4,14h8,9L8,0M8,9v12,14h16,9L16,0",
    /* n */ "10 M0,14L0,0M0,8v5,14h10,8L10,0",
    /* o */ "10 M5,14h10,7v5,0h0,7v5,14",
    /* p */ "10 M0,14L0,-6M0,7v5,14h10,7v5,0h0,7",
    /* q */ "10 M10,14L10,-6M10,7v5,14h0,7v5,0h10,7",
    /* r */ "6 M0,14L0,0M0,8v6,14",
    /* s */ "9 M9,12Q8,14,5,14h0,11v5,7h9,3v4,0Q1,0,0,2",
    /* t */ "7 M3,19L3,4Q3,0,7,0M0,14L7,14",
    /* u */ "10 M0,14L0,6v5,0h10,6M10,14L10,0",
    /* v */ "10 M0,14L5,0L10,14",
    /* w */ "16 M0,14L4,0L8,13L12,0L16,14",
    /* x */ "10 M0,0L10,14M0,14L10,0",
    /* y */ "10 M0,14L5,0M10,14L5,0L4,-3Q3,-6,0,-6",
    /* z */ "10 M0,14L10,14L0,0L10,0",
    /* { */ "5 M5,22Q2,22,2,18L2,12Q2,9,0,9Q2,9,2,6L2,0Q2,-4,5,-4",
    /* | */ "0 M0,22L0,-4",
    /* } */ "5 M0,22Q3,22,3,18L3,12Q3,9,5,9Q3,9,3,6L3,0Q3,-4,0,-4",
    /* ~ */ "12 M0,8Q3,12,6,9Q9,6,12,10",
};

static const struct { uint32_t code; const char *path; } itp_signs[] = {
    {0x00b0, "6 M3,20h6,17v3,14h0,17v3,20"},               /* degree */
    {0x00b1, "12 M6,17L6,5M0,11L12,11M0,0L12,0"},          /* plus-minus */
    {0x00b2, "6 M0,17v3,20h6,17L0,10L6,10"},               /* squared */
    {0x00b5, "10 M0,14L0,-6M0,6v5,0h10,6M10,14L10,0"},     /* micro */
    {0x00b7, "0 M0,9L0,8"},                                /* middle dot */
    {0x00d7, "10 M0,4L10,14M0,14L10,4"},                   /* times */
    {0x0394, "14 M0,0L7,20L14,0L0,0"},                     /* Delta */
    {0x03c3, "11 M11,14L5,14h0,7v5,0h10,7Q10,11,7,14"},    /* sigma */
    {0x2013, "10 M0,8L10,8"},                              /* en dash */
    {0x2014, "18 M0,8L18,8"},                              /* em dash */
    {0x2026, "12 M0,1L0,0M6,1L6,0M12,1L12,0"},             /* ellipsis */
    {0x2190, "16 M16,9L0,9M5,14L0,9L5,4"},                 /* left arrow */
    {0x2192, "16 M0,9L16,9M11,14L16,9L11,4"},              /* right arrow */
    {0x2212, "12 M0,9L12,9"},                              /* minus */
    {0x2264, "11 M11,18L0,12L11,6M0,1L11,1"},              /* at most */
    {0x2265, "11 M0,18L11,12L0,6M0,1L11,1"},               /* at least */
};

/* U+00C0..U+00FF without their accents. */
static const char itp_latin1[] = "AAAAAAACEEEEIIIIDNOOOOOxOUUUUYPsaaaaaaaceeeeiiiidnooooo/ouuuuypy";
/* clang-format on */

static const char itp_glyph_missing[] = "10 M0,0L10,0L10,20L0,20L0,0";

/* Reads one character of UTF-8 and moves on; a stray byte is U+FFFD. */
ITP_FN uint32_t itp_utf8_next(const char **text)
{
    const unsigned char *p = (const unsigned char *)*text;
    const int more = p[0] < 0x80 ? 0 : p[0] >= 0xf0 ? 3 : p[0] >= 0xe0 ? 2 : p[0] >= 0xc0 ? 1 : -1;
    if (more < 1) {
        *text += 1;
        return more ? 0xfffd : p[0];
    }
    uint32_t code = p[0] & (0x3fu >> more);
    for (int i = 1; i <= more; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            *text += i;
            return 0xfffd;
        }
        code = code << 6 | (p[i] & 0x3fu);
    }
    *text += more + 1;
    return code;
}

ITP_FN const char *itp_glyph_of(uint32_t code)
{
    if (code < 32 || code == 0xa0) code = ' ';
    if (code >= 0xc0 && code <= 0xff && code != 0xd7) code = (uint32_t)itp_latin1[code - 0xc0];
    if (code < 127) return itp_glyphs[code - 32];
    for (size_t i = 0; i < sizeof itp_signs / sizeof itp_signs[0]; i++)
        if (itp_signs[i].code == code) return itp_signs[i].path;
    return itp_glyph_missing;
}

/* The font at one size: heights and gaps in whole pixels, so that stems and bars sit on pixels. */
typedef struct itp_face {
    double unit; /* pixels of a font unit */
    double pen;  /* width of a stroke */
    int cap, small, descent, gap;
} itp_face;

ITP_FN itp_face itp_face_of(int size, int flags)
{
    itp_face f;
    const bool bold = (flags & INTERP_TEXT_BOLD) != 0;
    size = itp_max(4, itp_min(size, 400));
    f.unit = size * .72 / ITP_CAP_UNITS;
    f.pen = itp_max(size, 10) * (bold ? .15 : .1);
    f.cap = itp_max(3, (int)(f.unit * ITP_CAP_UNITS + .5));
    f.small = itp_max(2, (int)(f.unit * ITP_SMALL_UNITS + .5));
    f.descent = itp_max(1, (int)(f.unit * ITP_DESCENT_UNITS + .5));
    f.gap = itp_max(2, (int)(f.unit * (bold ? 7 : 6) + .5));
    return f;
}

ITP_FN const char *itp_glyph_number(const char *s, int *value)
{
    while (*s == ',' || *s == ' ') s++;
    const bool minus = *s == '-';
    if (minus) s++;
    int v = 0;
    while (*s >= '0' && *s <= '9') v = v * 10 + (*s++ - '0');
    *value = minus ? -v : v;
    return s;
}

/* Pixels of a glyph's body; the next one starts a gap later. */
ITP_FN int itp_glyph_width(const itp_face *f, const char *glyph)
{
    int units = 0;
    itp_glyph_number(glyph, &units);
    return (int)(units * f->unit + .5);
}

#define ITP_GLYPH_SEGMENTS 128
#define ITP_CURVE_STEPS    6

/* A glyph at a size: straight pieces in pixels, y upwards from the baseline. */
typedef struct itp_outline {
    int n;
    double at[ITP_GLYPH_SEGMENTS][4];
} itp_outline;

/* Font units to pixels, each height between two lines of the font on its own scale. */
ITP_FN double itp_face_y(const itp_face *f, double y)
{
    if (y < 0) return y * f->descent / ITP_DESCENT_UNITS;
    if (y <= ITP_SMALL_UNITS) return y * f->small / ITP_SMALL_UNITS;
    return f->small +
           (y - ITP_SMALL_UNITS) * (f->cap - f->small) / (ITP_CAP_UNITS - ITP_SMALL_UNITS);
}

/* One step along a piece of the way, t in 0..1: p are start, control point and end. */
ITP_FN void itp_glyph_step(char how, const int p[6], double t, double *x, double *y)
{
    const double u = 1 - t, quarter = 1.57079632679489662;
    const double s = sin(t * quarter), c = cos(t * quarter);
    if (how == 'Q') {
        *x = u * u * p[0] + 2 * u * t * p[2] + t * t * p[4];
        *y = u * u * p[1] + 2 * u * t * p[3] + t * t * p[5];
    } else if (how == 'h') {
        *x = p[0] + (p[4] - p[0]) * s;
        *y = p[5] + (p[1] - p[5]) * c;
    } else if (how == 'v') {
        *x = p[4] + (p[0] - p[4]) * c;
        *y = p[1] + (p[5] - p[1]) * s;
    } else {
        *x = u * p[0] + t * p[4];
        *y = u * p[1] + t * p[5];
    }
}

ITP_FN void itp_glyph_outline(const itp_face *f, const char *glyph, itp_outline *o)
{
    int units = 0, p[6] = {0, 0, 0, 0, 0, 0};
    const char *s = itp_glyph_number(glyph, &units);
    const double sx = units > 0 ? (double)itp_glyph_width(f, glyph) / units : f->unit;
    o->n = 0;
    while (*s) {
        const char how = *s++;
        if (how == ' ') continue;
        p[0] = p[4], p[1] = p[5];
        if (how == 'Q') s = itp_glyph_number(itp_glyph_number(s, &p[2]), &p[3]);
        s = itp_glyph_number(itp_glyph_number(s, &p[4]), &p[5]);
        if (how == 'M') continue;
        const int steps = how == 'L' ? 1 : ITP_CURVE_STEPS;
        double x0 = p[0], y0 = p[1];
        for (int i = 1; i <= steps && o->n < ITP_GLYPH_SEGMENTS; i++) {
            double x = 0, y = 0, *at = o->at[o->n++];
            itp_glyph_step(how, p, (double)i / steps, &x, &y);
            at[0] = x0 * sx, at[1] = itp_face_y(f, y0);
            at[2] = x * sx, at[3] = itp_face_y(f, y);
            x0 = x, y0 = y;
        }
    }
}

INTERP_API int interp_text_width(const char *text, int size, int flags)
{
    const itp_face f = itp_face_of(size, flags);
    int width = 0;
    for (const char *s = text ? text : ""; *s && width < 1000000;)
        width += itp_glyph_width(&f, itp_glyph_of(itp_utf8_next(&s))) + f.gap;
    return width ? width - f.gap + 1 : 0;
}

#define ITP_LABEL_BYTES 256

/* The text, or as much of its beginning as fits with an ellipsis. */
ITP_FN const char *itp_text_fit(char out[ITP_LABEL_BYTES], const char *text, int size, int flags,
                                int width)
{
    static const char dots[] = "\xe2\x80\xa6";
    if (!text) text = "";
    if (strlen(text) < ITP_LABEL_BYTES && interp_text_width(text, size, flags) <= width)
        return text;
    size_t keep = 0;
    out[0] = 0;
    for (const char *s = text; *s;) {
        itp_utf8_next(&s);
        const size_t n = (size_t)(s - text);
        if (n + sizeof dots > ITP_LABEL_BYTES) break;
        memcpy(out, text, n);
        memcpy(out + n, dots, sizeof dots);
        if (interp_text_width(out, size, flags) > width) break;
        keep = n;
    }
    while (keep && text[keep - 1] == ' ') keep--;
    memcpy(out, text, keep);
    if (keep) memcpy(out + keep, dots, sizeof dots);
    else out[0] = 0;
    return out;
}

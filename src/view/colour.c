/* ---- view/colour.c: colour maps -------------------------------------------------------------- */

/* Evenly spaced colours with straight lines between. Greens, Reds and Blues are ColorBrewer's
   9-class schemes; viridis and magma (van der Walt and Smith) are reduced to the fewest points that
   stay within 2/255 of their 256-step tables; the others are matplotlib's definitions. */
static const uint32_t itp_map_viridis[24] = {
    0x440154, 0x481264, 0x482072, 0x472e7d, 0x443c84, 0x3f4989, 0x39558c, 0x34618d,
    0x2f6c8e, 0x2b768e, 0x26818e, 0x228b8e, 0x1f958b, 0x1ea088, 0x24aa83, 0x2fb47c,
    0x41be72, 0x57c666, 0x6fcf58, 0x8ad647, 0xa7db35, 0xc5e020, 0xe2e417, 0xfde724};
static const uint32_t itp_map_magma[16] = {
    0x000003, 0x0a0923, 0x1f124c, 0x3b0f71, 0x57147f, 0x722081, 0x8c2982, 0xa8327d,
    0xc43b75, 0xde4868, 0xf2605c, 0xfa7f5d, 0xfe9f6d, 0xfebf83, 0xfdde9f, 0xfcfdbf};
static const uint32_t itp_map_greens[9] = {0xf7fcf5, 0xe5f5e0, 0xc7e9c0, 0xa1d99b, 0x74c476,
                                           0x41ab5d, 0x238b45, 0x006d2c, 0x00441b};
static const uint32_t itp_map_reds[9] = {0xfff5f0, 0xfee0d2, 0xfcbba1, 0xfc9272, 0xfb6a4a,
                                         0xef3b2c, 0xcb181d, 0xa50f15, 0x67000d};
static const uint32_t itp_map_blues[9] = {0xf7fbff, 0xdeebf7, 0xc6dbef, 0x9ecae1, 0x6baed6,
                                          0x4292c6, 0x2171b5, 0x08519c, 0x08306b};
static const uint32_t itp_map_gray[2] = {0x000000, 0xffffff};
static const uint32_t itp_map_seismic[5] = {0x00004c, 0x0000ff, 0xffffff, 0xff0000, 0x800000};
static const uint32_t itp_map_bwr[3] = {0x0000ff, 0xffffff, 0xff0000};
static const uint32_t itp_map_rd_wh_gn[3] = {0xff0000, 0xffffff, 0x008000};

/* The seven colours of Okabe and Ito (2008) that show on white, then five darker ones that keep
   their distance from them, for normal sight and for red-green blindness. */
static const uint32_t itp_map_category[12] = {0x0072b2, 0xe69f00, 0x009e73, 0xd55e00,
                                              0x56b4e9, 0xcc79a7, 0xd9c800, 0x332288,
                                              0x7f7f7f, 0x882255, 0x105030, 0x000000};

/* matplotlib's jet: where each channel bends, and its value there. */
static const float itp_jet_red[][2] = {{0, 0}, {.35f, 0}, {.66f, 1}, {.89f, 1}, {1, .5f}};
static const float itp_jet_green[][2] = {{0, 0},    {.125f, 0}, {.375f, 1},
                                         {.64f, 1}, {.91f, 0},  {1, 0}};
static const float itp_jet_blue[][2] = {{0, .5f}, {.11f, 1}, {.34f, 1}, {.65f, 0}, {1, 0}};

ITP_FN double itp_map_bends(const float (*p)[2], double t)
{
    int i = 0;
    while (t > (double)p[i + 1][0]) i++; /* the last position is 1, and t is at most 1 */
    const double x0 = (double)p[i][0], x1 = (double)p[i + 1][0];
    const double y0 = (double)p[i][1], y1 = (double)p[i + 1][1];
    return y0 + (y1 - y0) * (t - x0) / (x1 - x0);
}

ITP_FN uint32_t itp_rgb(double r, double g, double b)
{
    return (uint32_t)(r + .5) << 16 | (uint32_t)(g + .5) << 8 | (uint32_t)(b + .5);
}

/* Between two colours; t is 0..1. */
ITP_FN uint32_t itp_rgb_mix(uint32_t a, uint32_t b, double t)
{
    double c[3];
    for (int i = 0; i < 3; i++) {
        const double from = (double)(a >> (16 - 8 * i) & 255),
                     to = (double)(b >> (16 - 8 * i) & 255);
        c[i] = from + (to - from) * t;
    }
    return itp_rgb(c[0], c[1], c[2]);
}

ITP_FN const uint32_t *itp_map_table(interp_colormap map, int *n)
{
    switch (map) {
    case INTERP_COLORMAP_MAGMA: *n = 16; return itp_map_magma;
    case INTERP_COLORMAP_GRAY: *n = 2; return itp_map_gray;
    case INTERP_COLORMAP_GREENS: *n = 9; return itp_map_greens;
    case INTERP_COLORMAP_REDS: *n = 9; return itp_map_reds;
    case INTERP_COLORMAP_BLUES: *n = 9; return itp_map_blues;
    case INTERP_COLORMAP_SEISMIC: *n = 5; return itp_map_seismic;
    case INTERP_COLORMAP_BWR: *n = 3; return itp_map_bwr;
    case INTERP_COLORMAP_RD_WH_GN: *n = 3; return itp_map_rd_wh_gn;
    default: *n = 24; return itp_map_viridis;
    }
}

#define ITP_RGB_NAN 0xb0b0b0u

/* The colour of t as 0xRRGGBB. */
ITP_FN uint32_t itp_map_rgb(interp_colormap map, double t)
{
    if (t != t) return ITP_RGB_NAN;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    if (map == INTERP_COLORMAP_CATEGORY) return itp_map_category[itp_min((int)(t * 12), 11)];
    t = itp_min((int)(t * 256), 255) / 255.0; /* matplotlib's 256 steps */
    if (map == INTERP_COLORMAP_JET)
        return itp_rgb(255 * itp_map_bends(itp_jet_red, t), 255 * itp_map_bends(itp_jet_green, t),
                       255 * itp_map_bends(itp_jet_blue, t));
    int n = 0;
    const uint32_t *table = itp_map_table(map, &n);
    const int i = itp_min((int)(t * (n - 1)), n - 2);
    return itp_rgb_mix(table[i], table[i + 1], t * (n - 1) - i);
}

ITP_FN bool itp_map_diverges(interp_colormap map)
{
    return map == INTERP_COLORMAP_SEISMIC || map == INTERP_COLORMAP_BWR ||
           map == INTERP_COLORMAP_RD_WH_GN;
}

ITP_FN void itp_rgb_put(uint8_t *to, uint32_t rgb)
{
    to[0] = (uint8_t)(rgb >> 16);
    to[1] = (uint8_t)(rgb >> 8);
    to[2] = (uint8_t)rgb;
}

/* Black or white, whichever is read better on the colour. */
ITP_FN uint32_t itp_rgb_ink(uint32_t rgb)
{
    const double luma = .299 * (rgb >> 16 & 255) + .587 * (rgb >> 8 & 255) + .114 * (rgb & 255);
    return luma > 140 ? 0x202020 : 0xffffff;
}

INTERP_API void interp_colormap_rgb(interp_colormap map, double t, uint8_t rgb[3])
{
    itp_rgb_put(rgb, itp_map_rgb(map, t));
}

INTERP_API const char *interp_colormap_name(interp_colormap map)
{
    static const char *const names[] = {
#define ITP_COLORMAP_NAME(name, text) text,
        INTERP_COLORMAP_LIST(ITP_COLORMAP_NAME)
#undef ITP_COLORMAP_NAME
    };
    return (unsigned)map < INTERP_COLORMAP_COUNT ? names[map] : "?";
}

ITP_FN int itp_view_lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

INTERP_API interp_colormap interp_colormap_from_name(const char *name)
{
    for (int i = 0; name && i < INTERP_COLORMAP_COUNT; i++) {
        const char *a = name, *b = interp_colormap_name((interp_colormap)i);
        while (*a && itp_view_lower(*a) == itp_view_lower(*b)) a++, b++;
        if (!*a && !*b) return (interp_colormap)i;
    }
    return INTERP_COLORMAP_COUNT;
}

INTERP_API uint32_t interp_category_rgb(int i)
{
    return itp_map_category[(i % 12 + 12) % 12];
}

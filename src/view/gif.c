/* ---- view/gif.c: animations ----------------------------------------------------------------------- */

/* GIF89a with one palette of 256 colours for all frames. Codes of LZW have up to 12 bits. */
enum { ITP_GIF_COLOURS = 256, ITP_GIF_CODES = 4096, ITP_GIF_BLOCK = 255 };

typedef struct itp_gif {
    itp_buf b;
    int shift;                     /* colours are told apart by the bits above these */
    uint32_t key[ITP_GIF_COLOURS]; /* of each colour, rising */
    int colours;
    int16_t child[ITP_GIF_CODES], next[ITP_GIF_CODES]; /* of the dictionary's tree; 0: none */
    uint8_t symbol[ITP_GIF_CODES], block[ITP_GIF_BLOCK];
    int filled, codes, width; /* bytes of the block; codes known; bits of a code */
    uint32_t bits;            /* not written yet */
    int n_bits;
} itp_gif;

ITP_FN uint32_t itp_gif_key(const uint8_t *rgb, int shift)
{
    const int bits = 8 - shift;
    return (uint32_t)rgb[0] >> shift << 2 * bits | (uint32_t)rgb[1] >> shift << bits |
           (uint32_t)rgb[2] >> shift;
}

/* Colours of all frames with `shift` bits less, up to one too many; seen: room for a bit each. */
ITP_FN int itp_gif_count(itp_gif *g, const interp_image *frames, int n, int shift, uint8_t *seen)
{
    const size_t bytes = ((size_t)1 << 3 * (8 - shift)) / 8 + 1;
    int colours = 0;
    memset(seen, 0, bytes);
    for (int f = 0; f < n; f++)
        for (size_t i = 0; i < (size_t)frames[f].width * (size_t)frames[f].height; i++) {
            const uint32_t k = itp_gif_key(frames[f].rgb + 3 * i, shift);
            if (seen[k / 8] >> k % 8 & 1) continue;
            if (colours == ITP_GIF_COLOURS) return colours + 1;
            seen[k / 8] = (uint8_t)(seen[k / 8] | 1u << k % 8), colours++;
        }
    g->shift = shift, g->colours = 0;
    for (uint32_t k = 0; k < bytes * 8 && g->colours < colours; k++)
        if (seen[k / 8] >> k % 8 & 1) g->key[g->colours++] = k;
    return colours;
}

ITP_FN int itp_gif_index(const itp_gif *g, const uint8_t *rgb)
{
    const uint32_t k = itp_gif_key(rgb, g->shift);
    int low = 0, high = g->colours - 1;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (g->key[middle] < k) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* The palette: the mean of the pixels of each colour. */
ITP_FN void itp_gif_palette(itp_gif *g, const interp_image *frames, int n)
{
    uint64_t sum[ITP_GIF_COLOURS][4];
    uint8_t palette[ITP_GIF_COLOURS * 3];
    memset(sum, 0, sizeof sum);
    memset(palette, 0, sizeof palette);
    for (int f = 0; f < n; f++)
        for (size_t i = 0; i < (size_t)frames[f].width * (size_t)frames[f].height; i++) {
            const uint8_t *rgb = frames[f].rgb + 3 * i;
            uint64_t *s = sum[itp_gif_index(g, rgb)];
            s[0] += rgb[0], s[1] += rgb[1], s[2] += rgb[2], s[3]++;
        }
    for (int i = 0; i < g->colours; i++)
        for (int c = 0; c < 3; c++)
            palette[3 * i + c] = (uint8_t)((sum[i][c] + sum[i][3] / 2) / sum[i][3]);
    itp_buf_add(&g->b, palette, sizeof palette);
}

ITP_FN void itp_gif_flush(itp_gif *g)
{
    const uint8_t n = (uint8_t)g->filled;
    if (!n) return;
    itp_buf_add(&g->b, &n, 1);
    itp_buf_add(&g->b, g->block, n);
    g->filled = 0;
}

ITP_FN void itp_gif_code(itp_gif *g, int code)
{
    g->bits |= (uint32_t)code << g->n_bits;
    for (g->n_bits += g->width; g->n_bits >= 8; g->n_bits -= 8, g->bits >>= 8) {
        g->block[g->filled++] = (uint8_t)g->bits;
        if (g->filled == ITP_GIF_BLOCK) itp_gif_flush(g);
    }
}

ITP_FN void itp_gif_clear(itp_gif *g)
{
    memset(g->child, 0, sizeof g->child);
    g->codes = 258, g->width = 9; /* 256 clears, 257 ends */
}

/* One frame's pixels. */
ITP_FN void itp_gif_pixels(itp_gif *g, const interp_image *m)
{
    const uint8_t start = 8, end = 0;
    const size_t n = (size_t)m->width * (size_t)m->height;
    int at = itp_gif_index(g, m->rgb);
    itp_buf_add(&g->b, &start, 1);
    g->width = 9, g->bits = 0, g->n_bits = 0;
    itp_gif_code(g, 256);
    itp_gif_clear(g);
    for (size_t i = 1; i < n; i++) {
        const int pixel = itp_gif_index(g, m->rgb + 3 * i);
        int found = g->child[at];
        while (found && g->symbol[found] != pixel) found = g->next[found];
        if (found) {
            at = found;
            continue;
        }
        itp_gif_code(g, at);
        if (g->codes < ITP_GIF_CODES) {
            if (g->codes == 1 << g->width) g->width++;
            g->symbol[g->codes] = (uint8_t)pixel, g->next[g->codes] = g->child[at];
            g->child[at] = (int16_t)g->codes, g->child[g->codes] = 0;
            g->codes++;
        } else {
            itp_gif_code(g, 256);
            itp_gif_clear(g);
        }
        at = pixel;
    }
    itp_gif_code(g, at);
    if (g->codes == 1 << g->width && g->width < 12) g->width++;
    itp_gif_code(g, 257);
    if (g->n_bits > 0) g->block[g->filled++] = (uint8_t)g->bits;
    itp_gif_flush(g);
    itp_buf_add(&g->b, &end, 1);
}

ITP_FN void itp_gif_pack(itp_gif *g, const interp_image *frames, int n, int delay_ms)
{
    static const uint8_t loop[] = {0x21, 0xff, 11,  'N', 'E', 'T', 'S', 'C', 'A', 'P',
                                   'E',  '2',  '.', '0', 3,   1,   0,   0,   0};
    const int w = frames[0].width, h = frames[0].height, delay = (delay_ms + 5) / 10;
    const uint8_t screen[13] = {
        'G',  'I', 'F', '8', '9', 'a', (uint8_t)w, (uint8_t)(w >> 8), (uint8_t)h, (uint8_t)(h >> 8),
        0xf7, 0,   0};
    itp_buf_add(&g->b, screen, sizeof screen);
    itp_gif_palette(g, frames, n);
    itp_buf_add(&g->b, loop, sizeof loop);
    for (int f = 0; f < n; f++) {
        const uint8_t head[18] = {0x21,
                                  0xf9,
                                  4,
                                  4,
                                  (uint8_t)delay,
                                  (uint8_t)(delay >> 8),
                                  0,
                                  0,
                                  0x2c,
                                  0,
                                  0,
                                  0,
                                  0,
                                  (uint8_t)w,
                                  (uint8_t)(w >> 8),
                                  (uint8_t)h,
                                  (uint8_t)(h >> 8),
                                  0};
        itp_buf_add(&g->b, head, sizeof head);
        itp_gif_pixels(g, &frames[f]);
    }
    const uint8_t end = 0x3b;
    itp_buf_add(&g->b, &end, 1);
}

INTERP_API interp_status interp_image_gif(interp_ctx *ctx, const interp_image *frames, int n,
                                          int delay_ms, uint8_t **gif, size_t *bytes)
{
    if (n < 1 || delay_ms < 0 || delay_ms > 600000)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "gif: %d frames, %d ms each", n, delay_ms);
    for (int f = 0; f < n; f++) {
        ITP_TRY(itp_image_check(ctx, &frames[f]));
        if (frames[f].width != frames[0].width || frames[f].height != frames[0].height)
            return itp_fail(ctx, INTERP_BAD_ARGUMENT, "gif: frame %d is %dx%d, the first %dx%d", f,
                            frames[f].width, frames[f].height, frames[0].width, frames[0].height);
    }
    itp_gif *g = (itp_gif *)itp_calloc(ctx, 1, sizeof *g);
    uint8_t *seen = (uint8_t *)interp_alloc(ctx, ((size_t)1 << 24) / 8 + 1);
    interp_status status = g && seen ? INTERP_OK : INTERP_NO_MEMORY;
    if (!status) {
        int shift = 0;
        while (itp_gif_count(g, frames, n, shift, seen) > ITP_GIF_COLOURS) shift++;
        g->b = itp_buf_new(ctx);
        itp_gif_pack(g, frames, n, delay_ms);
        status = g->b.status;
        if (status) itp_buf_free(&g->b);
        else *gif = (uint8_t *)g->b.data, *bytes = g->b.n;
    }
    interp_free(ctx, seen);
    interp_free(ctx, g);
    return status;
}

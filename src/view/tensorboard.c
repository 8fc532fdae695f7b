/* ---- view/tensorboard.c: TensorBoard event files, folders for its projector ------------------ */

#ifndef INTERP_NO_STDIO

/* CRC-32C (Castagnoli), reflected. */
ITP_FN uint32_t itp_crc32c(const void *data, size_t n)
{
    const uint8_t *p = (const uint8_t *)data;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++) crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    return ~crc;
}

/* As records store it, so that a CRC over bytes that hold CRCs stays a good one. */
ITP_FN uint32_t itp_crc32c_masked(const void *data, size_t n)
{
    const uint32_t crc = itp_crc32c(data, n);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* ---- protocol buffers, as far as they are needed: keys are field << 3 | wire type */

ITP_FN void itp_tb_little(uint8_t *to, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) to[i] = (uint8_t)(v >> (8 * i));
}

ITP_FN void itp_tb_varint(itp_buf *b, uint64_t v)
{
    for (; v > 127; v >>= 7) itp_buf_byte(b, (int)(v & 127) | 128);
    itp_buf_byte(b, (int)v);
}

ITP_FN void itp_tb_int(itp_buf *b, int field, uint64_t v)
{
    itp_tb_varint(b, (uint64_t)field << 3);
    itp_tb_varint(b, v);
}

ITP_FN void itp_tb_put_double(itp_buf *b, double v)
{
    uint64_t bits;
    uint8_t bytes[8];
    memcpy(&bits, &v, sizeof bits);
    itp_tb_little(bytes, bits, 8);
    itp_buf_add(b, bytes, 8);
}

ITP_FN void itp_tb_bytes(itp_buf *b, int field, const void *data, size_t n)
{
    itp_tb_varint(b, (uint64_t)field << 3 | 2);
    itp_tb_varint(b, n);
    itp_buf_add(b, data, n);
}

/* Turns everything from byte `start` on into a field of its own: its length is only known now. */
ITP_FN void itp_tb_wrap(itp_buf *b, size_t start, int field)
{
    const size_t end = b->n, n = end - start;
    itp_tb_varint(b, (uint64_t)field << 3 | 2);
    itp_tb_varint(b, n);
    if (b->status) return;
    uint8_t head[20];
    const size_t h = b->n - end;
    memcpy(head, b->data + end, h);
    memmove(b->data + start + h, b->data + start, n);
    memcpy(b->data + start, head, h);
}

/* ---- records: u64 length | u32 masked CRC of it | message | u32 masked CRC of the message */

#define ITP_TB_HEAD 12

struct interp_tensorboard {
    interp_ctx *ctx;
    char *path;
    double wall_time; /* 0: the clock */
    bool broken;      /* the file may end in a part of a record */
};

/* Numbers of TensorProto.dtype and SummaryMetadata.data_class. */
enum { ITP_TB_FLOAT = 1, ITP_TB_DOUBLE = 2, ITP_TB_STRING = 7 };
enum { ITP_TB_CLASS_SCALAR = 1, ITP_TB_CLASS_TENSOR = 2, ITP_TB_CLASS_BLOBS = 3 };

/* A record under construction, with the places where the messages it is nested in begin. */
typedef struct itp_tb_record {
    itp_buf b;
    size_t summary, tensor;
} itp_tb_record;

ITP_FN itp_tb_record itp_tb_event(interp_ctx *ctx, double wall_time, int64_t step)
{
    static const uint8_t head[ITP_TB_HEAD] = {0};
    itp_tb_record r;
    r.b = itp_buf_new(ctx);
    itp_buf_add(&r.b, head, sizeof head);
    itp_tb_varint(&r.b, 1 << 3 | 1);
    itp_tb_put_double(&r.b, wall_time != 0 ? wall_time : itp_seconds());
    if (step) itp_tb_int(&r.b, 2, (uint64_t)step);
    r.summary = r.tensor = r.b.n;
    return r;
}

/* Fills in length and checksums. */
ITP_FN void itp_tb_seal(itp_buf *b)
{
    uint8_t tail[4];
    if (b->status) return;
    uint8_t *p = (uint8_t *)b->data;
    const size_t n = b->n - ITP_TB_HEAD;
    itp_tb_little(p, n, 8);
    itp_tb_little(p + 8, itp_crc32c_masked(p, 8), 4);
    itp_tb_little(tail, itp_crc32c_masked(p + ITP_TB_HEAD, n), 4);
    itp_buf_add(b, tail, sizeof tail);
}

/* Begins an event with one value up to its tensor's numbers. dims: [rank], of the tensor. */
ITP_FN interp_status itp_tb_begin(interp_tensorboard *tb, const char *tag, int64_t step,
                                  const char *plugin, int data_class, int dtype, int rank,
                                  const int *dims, itp_tb_record *r)
{
    if (!tag || !*tag)
        return itp_fail(tb->ctx, INTERP_BAD_ARGUMENT, "tensorboard: a record needs a tag");
    if (tb->broken)
        return itp_fail(tb->ctx, INTERP_IO,
                        "%s: an earlier record could not be written whole; open a new file",
                        tb->path);
    *r = itp_tb_event(tb->ctx, tb->wall_time, step);
    itp_buf *b = &r->b;
    itp_tb_bytes(b, 1, tag, strlen(tag));
    const size_t metadata = b->n;
    itp_tb_bytes(b, 1, plugin, strlen(plugin));
    itp_tb_bytes(b, 2, NULL, 0); /* the plugin's own content, empty in all of them */
    itp_tb_wrap(b, metadata, 1);
    itp_tb_int(b, 4, (uint64_t)data_class);
    itp_tb_wrap(b, metadata, 9);
    r->tensor = b->n;
    itp_tb_int(b, 1, (uint64_t)dtype);
    const size_t shape = b->n;
    for (int i = 0; i < rank; i++) {
        const size_t dim = b->n;
        itp_tb_int(b, 1, (uint64_t)dims[i]);
        itp_tb_wrap(b, dim, 2);
    }
    itp_tb_wrap(b, shape, 2);
    return INTERP_OK;
}

/* Writes a buffer in one go; a new file that could not be filled is removed again. */
ITP_FN bool itp_tb_write(const char *path, bool create, const itp_buf *b)
{
    FILE *f = fopen(path, create ? "wbx" : "ab");
    if (!f) return false;
    bool ok = fwrite(b->data, 1, b->n, f) == b->n;
    if (fclose(f)) ok = false;
    if (!ok && create) remove(path);
    return ok;
}

/* Ends a value and appends its record. */
ITP_FN interp_status itp_tb_end(interp_tensorboard *tb, itp_tb_record *r)
{
    itp_buf *b = &r->b;
    itp_tb_wrap(b, r->tensor, 8);
    itp_tb_wrap(b, r->summary, 1);
    itp_tb_wrap(b, r->summary, 5);
    itp_tb_seal(b);
    interp_status status = b->status;
    if (!status && !itp_tb_write(tb->path, false, b)) {
        status = itp_fail(tb->ctx, INTERP_IO, "%s: a record could not be written: %s", tb->path,
                          strerror(errno));
        tb->broken = true;
    }
    itp_buf_free(b);
    return status;
}

/* Makes a folder and those it lies in, as far as they are not there. */
ITP_FN interp_status itp_tb_folder(interp_ctx *ctx, const char *dir)
{
    if (!dir || !*dir)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "tensorboard: the folder has no name");
#if defined(ITP_HAS_POSIX)
    char *path = itp_strdup(ctx, dir);
    if (!path) return INTERP_NO_MEMORY;
    for (char *s = path + 1; *s; s++) {
        if (*s != '/') continue;
        *s = 0;
        mkdir(path, 0777); /* what fails here shows below */
        *s = '/';
    }
    interp_status status = INTERP_OK;
    if (mkdir(path, 0777) && errno != EEXIST)
        status =
            itp_fail(ctx, INTERP_IO, "%s: the folder could not be made: %s", dir, strerror(errno));
    interp_free(ctx, path);
    return status;
#else
    return INTERP_OK;
#endif
}

/* Looks for a name that is free and begins its file with the record of the version. */
ITP_FN interp_status itp_tb_create(interp_tensorboard *tb, const char *dir,
                                   const interp_tensorboard_desc *d)
{
    static const char version[] = "brain.Event:2";
    itp_tb_record r = itp_tb_event(tb->ctx, tb->wall_time, 0);
    itp_tb_bytes(&r.b, 3, version, sizeof version - 1);
    itp_tb_seal(&r.b);
    interp_status status = r.b.status;
    const double now = floor(tb->wall_time != 0 ? tb->wall_time : itp_seconds());
    for (int uid = 0; !status; uid++) {
        itp_buf path = itp_buf_new(tb->ctx);
        itp_buf_printf(&path, "%s/events.out.tfevents.%010.0f.%s.%d.%d", dir, now,
                       d->host ? d->host : "interp", d->pid ? d->pid : 1, uid);
        tb->path = path.data;
        status = path.status;
        if (status || itp_tb_write(tb->path, true, &r.b)) break;
        if (errno != EEXIST)
            status = itp_fail(tb->ctx, INTERP_IO, "%s: could not be written: %s", tb->path,
                              strerror(errno));
        else interp_free(tb->ctx, tb->path);
    }
    itp_buf_free(&r.b);
    return status;
}

INTERP_API interp_status interp_tensorboard_open(interp_ctx *ctx, const char *dir,
                                                 const interp_tensorboard_desc *desc,
                                                 interp_tensorboard **out)
{
    interp_tensorboard_desc d;
    memset(&d, 0, sizeof d);
    if (desc) d = *desc;
    if (d.host && (!*d.host || strchr(d.host, '/') || strchr(d.host, '\\')))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "tensorboard: host is \"%s\"; it must fit into a file name", d.host);
    if (!(d.wall_time >= 0 && d.wall_time < 1e10))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "tensorboard: wall_time is %g; it counts seconds since 1970", d.wall_time);
    ITP_TRY(itp_tb_folder(ctx, dir));
    interp_tensorboard *tb = (interp_tensorboard *)itp_calloc(ctx, 1, sizeof *tb);
    if (!tb) return INTERP_NO_MEMORY;
    tb->ctx = ctx;
    tb->wall_time = d.wall_time;
    const interp_status status = itp_tb_create(tb, dir, &d);
    if (status) interp_tensorboard_close(tb);
    else *out = tb;
    return status;
}

INTERP_API void interp_tensorboard_time(interp_tensorboard *tb, double wall_time)
{
    tb->wall_time = wall_time;
}

INTERP_API void interp_tensorboard_close(interp_tensorboard *tb)
{
    if (!tb) return;
    interp_free(tb->ctx, tb->path);
    interp_free(tb->ctx, tb);
}

INTERP_API interp_status interp_tensorboard_scalar(interp_tensorboard *tb, const char *tag,
                                                   int64_t step, float value)
{
    itp_tb_record r;
    ITP_TRY(itp_tb_begin(tb, tag, step, "scalars", ITP_TB_CLASS_SCALAR, ITP_TB_FLOAT, 0, NULL, &r));
    uint32_t bits;
    uint8_t bytes[4];
    memcpy(&bits, &value, sizeof bits);
    itp_tb_little(bytes, bits, 4);
    itp_tb_bytes(&r.b, 4, bytes, 4);
    return itp_tb_end(tb, &r);
}

/* A tensor of strings: width, height, and each picture as a PNG file. */
INTERP_API interp_status interp_tensorboard_image(interp_tensorboard *tb, const char *tag,
                                                  int64_t step, const interp_image *images, int n)
{
    itp_tb_record r;
    char side[2][16];
    if (n < 1 || n > INT_MAX - 2 || !images)
        return itp_fail(tb->ctx, INTERP_BAD_ARGUMENT, "tensorboard: there are no images");
    for (int i = 0; i < n; i++) {
        ITP_TRY(itp_image_check(tb->ctx, &images[i]));
        if (images[i].width != images[0].width || images[i].height != images[0].height)
            return itp_fail(tb->ctx, INTERP_BAD_ARGUMENT,
                            "tensorboard: images of tag \"%s\" differ in size; use a tag for each",
                            tag ? tag : "");
    }
    const int dims[1] = {n + 2};
    ITP_TRY(itp_tb_begin(tb, tag, step, "images", ITP_TB_CLASS_BLOBS, ITP_TB_STRING, 1, dims, &r));
    snprintf(side[0], sizeof side[0], "%d", images[0].width);
    snprintf(side[1], sizeof side[1], "%d", images[0].height);
    for (int i = 0; i < 2; i++) itp_tb_bytes(&r.b, 8, side[i], strlen(side[i]));
    for (int i = 0; i < n && !r.b.status; i++) {
        itp_buf png = itp_buf_new(tb->ctx);
        itp_png_pack(&png, &images[i]);
        itp_tb_bytes(&r.b, 8, png.data, png.n);
        if (png.status) r.b.status = png.status;
        itp_buf_free(&png);
    }
    return itp_tb_end(tb, &r);
}

INTERP_API interp_status interp_tensorboard_histogram(interp_tensorboard *tb, const char *tag,
                                                      int64_t step, const float *x, size_t n,
                                                      int bins)
{
    itp_tb_record r;
    interp_histogram h;
    memset(&h, 0, sizeof h);
    h.values = x, h.n = n, h.bins = bins ? bins : 30;
    const int dims[2] = {h.bins, 3};
    const size_t room = bins > 0 && bins <= ITP_BINS_MOST ? (size_t)bins : 30;
    double *edges = (double *)interp_alloc(tb->ctx, (room + 1) * sizeof *edges);
    size_t *counts = (size_t *)interp_alloc(tb->ctx, room * sizeof *counts);
    interp_status status = edges && counts ? INTERP_OK : INTERP_NO_MEMORY;
    if (!status) status = interp_histogram_count(tb->ctx, &h, edges, counts);
    if (!status)
        status = itp_tb_begin(tb, tag, step, "histograms", ITP_TB_CLASS_TENSOR, ITP_TB_DOUBLE, 2,
                              dims, &r);
    if (!status) {
        const size_t content = r.b.n;
        for (size_t i = 0; i < room; i++) {
            itp_tb_put_double(&r.b, edges[i]);
            itp_tb_put_double(&r.b, edges[i + 1]);
            itp_tb_put_double(&r.b, (double)counts[i]);
        }
        itp_tb_wrap(&r.b, content, 4);
        status = itp_tb_end(tb, &r);
    }
    interp_free(tb->ctx, counts);
    interp_free(tb->ctx, edges);
    return status;
}

INTERP_API interp_status interp_tensorboard_text(interp_tensorboard *tb, const char *tag,
                                                 int64_t step, const char *text)
{
    itp_tb_record r;
    const int dims[1] = {1};
    if (!text) return itp_fail(tb->ctx, INTERP_BAD_ARGUMENT, "tensorboard: text is NULL");
    ITP_TRY(itp_tb_begin(tb, tag, step, "text", ITP_TB_CLASS_TENSOR, ITP_TB_STRING, 1, dims, &r));
    itp_tb_bytes(&r.b, 8, text, strlen(text));
    return itp_tb_end(tb, &r);
}

/* ---- the embedding projector */

#define ITP_SPRITE_SIDE 8192 /* largest texture every WebGL of a desktop takes */

/* Writes a buffer to a file of the folder and frees it. */
ITP_FN interp_status itp_projector_file(itp_buf *b, const char *dir, const char *name)
{
    itp_buf path = itp_buf_new(b->ctx);
    if (!b->status) itp_buf_printf(&path, "%s/%s", dir, name);
    if (path.status) b->status = path.status;
    const interp_status status = itp_buf_write(b, path.data);
    itp_buf_free(&path);
    return status;
}

ITP_FN interp_status itp_projector_tensors(interp_ctx *ctx, const char *dir,
                                           const interp_projector_desc *d)
{
    itp_buf b = itp_buf_new(ctx);
    for (int i = 0; i < d->n && !b.status; i++) {
        const float *x = d->x + (size_t)i * (size_t)d->d;
        for (int k = 0; k < d->d; k++) {
            itp_buf_float(&b, (double)x[k]);
            itp_buf_byte(&b, k + 1 < d->d ? '\t' : '\n');
        }
        if (!itp_is_finite(x, (size_t)d->d) && !b.status)
            b.status =
                itp_fail(ctx, INTERP_NOT_FINITE, "projector: point %d is NaN or infinite", i);
    }
    return itp_projector_file(&b, dir, "tensors.tsv");
}

/* Control characters, which part rows and columns, become spaces; `escape` gets a backslash. */
ITP_FN void itp_projector_text(itp_buf *b, const char *text, const char *escape)
{
    for (const char *s = text ? text : ""; *s; s++) {
        if (strchr(escape, *s)) itp_buf_byte(b, '\\');
        itp_buf_byte(b, (unsigned char)*s < 32 ? ' ' : *s);
    }
}

/* A header is only allowed with several columns; TensorBoard tells by that whether there is one. */
ITP_FN interp_status itp_projector_metadata(interp_ctx *ctx, const char *dir,
                                            const interp_projector_desc *d)
{
    itp_buf b = itp_buf_new(ctx);
    for (int i = d->n_columns > 1 ? -1 : 0; i < d->n && !b.status; i++)
        for (int k = 0; k < d->n_columns; k++) {
            const interp_projector_column *c = &d->columns[k];
            if (i < 0) itp_projector_text(&b, c->name, "");
            else if (c->texts) itp_projector_text(&b, c->texts[i], "");
            else if (c->classes && c->class_names && c->classes[i] >= 0)
                itp_projector_text(&b, c->class_names[c->classes[i]], "");
            else if (c->classes) itp_buf_printf(&b, "%d", (int)c->classes[i]);
            else itp_buf_float(&b, (double)c->values[i]);
            itp_buf_byte(&b, k + 1 < d->n_columns ? '\t' : '\n');
        }
    return itp_projector_file(&b, dir, "metadata.tsv");
}

/* Draws and writes the mosaic; *width and *height become the size of one thumbnail. */
ITP_FN interp_status itp_projector_sprite(interp_ctx *ctx, const char *dir,
                                          const interp_projector_desc *d, int *width, int *height)
{
    const int side = (int)ceil(sqrt((double)d->n));
    const int room = itp_max(1, ITP_SPRITE_SIDE / side), larger = itp_max(d->width, d->height);
    interp_image sprite;
    if (larger > room) {
        *width = itp_max(1, (int)((double)d->width * room / larger));
        *height = itp_max(1, (int)((double)d->height * room / larger));
    }
    ITP_TRY(itp_sprite_draw(ctx, d->images, d->n, d->channels, d->height, d->width, d->colormap,
                            d->image_min, d->image_max, side, *width, *height, &sprite));
    itp_buf b = itp_buf_new(ctx);
    itp_png_pack(&b, &sprite);
    interp_image_free(ctx, &sprite);
    return itp_projector_file(&b, dir, "sprite.png");
}

ITP_FN interp_status itp_projector_check(interp_ctx *ctx, const interp_projector_desc *d)
{
    if (!d || !d->x || d->n < 1 || d->d < 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "projector: x must be [n,d] with n and d from 1");
    for (int k = 0; k < d->n_columns; k++) {
        const interp_projector_column *c = d->columns ? &d->columns[k] : NULL;
        if (!c || (!c->texts && !c->classes && !c->values) || (d->n_columns > 1 && !c->name))
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "projector: column %d of %d needs texts, classes or values, and a name "
                            "when it is not the only one",
                            k, d->n_columns);
    }
    if (d->images && (d->channels < 0 || d->height < 1 || d->width < 1))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "projector: images are [%d,%d,%d,%d]; give their sizes", d->n, d->channels,
                        d->height, d->width);
    return INTERP_OK;
}

INTERP_API interp_status interp_projector_write(interp_ctx *ctx, const char *dir,
                                                const interp_projector_desc *desc)
{
    ITP_TRY(itp_projector_check(ctx, desc));
    ITP_TRY(itp_tb_folder(ctx, dir));
    int width = desc->width, height = desc->height;
    ITP_TRY(itp_projector_tensors(ctx, dir, desc));
    if (desc->n_columns > 0) ITP_TRY(itp_projector_metadata(ctx, dir, desc));
    if (desc->images) ITP_TRY(itp_projector_sprite(ctx, dir, desc, &width, &height));
    itp_buf b = itp_buf_new(ctx);
    itp_buf_str(&b, "embeddings {\n  tensor_name: \"");
    itp_projector_text(&b, desc->name ? desc->name : "embedding", "\"\\");
    itp_buf_str(&b, "\"\n  tensor_path: \"tensors.tsv\"\n");
    if (desc->n_columns > 0) itp_buf_str(&b, "  metadata_path: \"metadata.tsv\"\n");
    if (desc->images)
        itp_buf_printf(&b,
                       "  sprite {\n    image_path: \"sprite.png\"\n    single_image_dim: %d\n"
                       "    single_image_dim: %d\n  }\n",
                       width, height);
    itp_buf_str(&b, "}\n");
    return itp_projector_file(&b, dir, "projector_config.pbtxt");
}

#endif

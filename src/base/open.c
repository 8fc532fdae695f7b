/* ---- base/open.c: opening and closing a context ---------------------------------------------- */

INTERP_API interp_ctx *interp_open(const interp_desc *desc)
{
    interp_desc d;
    memset(&d, 0, sizeof d);
    if (desc) d = *desc;
    if (!d.allocator.alloc || !d.allocator.free) {
        d.allocator.alloc = itp_heap_alloc;
        d.allocator.free = itp_heap_free;
    }
    const size_t size = itp_round_up(sizeof(interp_ctx), ITP_CACHE_LINE);
    char *at = NULL, *end = NULL;
    if (d.buffer) {
        const size_t skip = (size_t)(-(uintptr_t)d.buffer & (ITP_CACHE_LINE - 1));
        if (d.buffer_bytes < skip + size + ITP_CACHE_LINE) return NULL;
        at = (char *)d.buffer + skip;
        end = at + (d.buffer_bytes - skip) / ITP_CACHE_LINE * ITP_CACHE_LINE;
    } else {
        at = (char *)d.allocator.alloc(size, ITP_CACHE_LINE, d.allocator.user);
        if (!at) return NULL;
    }
    interp_ctx *ctx = (interp_ctx *)(void *)at;
    memset(ctx, 0, sizeof *ctx);
    ctx->desc = d;
    ctx->memory.limit = d.memory_limit;
    ctx->memory.used = ctx->memory.peak = size;
    ctx->memory.allocations = 1;
    if (d.buffer) {
        itp_hole *hole = (itp_hole *)(void *)(at + size);
        hole->next = NULL;
        hole->bytes = (size_t)(end - (at + size));
        ctx->holes = hole;
    }
    ctx->k = itp_kernels_choose(d.isa);
    const int threads = d.threads > 0 ? d.threads : d.buffer ? 1 : itp_cores();
    bool ok = ctx->k != NULL;
    if (ok && d.parallel_for) ctx->slots = threads;
    else if (ok) ok = itp_pool_open(ctx, threads);
    if (!ok) {
        interp_close(ctx);
        return NULL;
    }
    return ctx;
}

INTERP_API void interp_close(interp_ctx *ctx)
{
    if (!ctx) return;
    itp_pool_close(ctx);
    while (ctx->blocks) interp_free(ctx, (char *)ctx->blocks + ITP_HEADER_BYTES);
    if (!ctx->desc.buffer)
        ctx->desc.allocator.free(ctx, itp_round_up(sizeof *ctx, ITP_CACHE_LINE),
                                 ctx->desc.allocator.user);
}

INTERP_API int interp_threads(const interp_ctx *ctx)
{
    return ctx->slots;
}

/* Compile check: the file of a program that holds the implementation; two.c has the header only. */
#define INTERP_IMPLEMENTATION
#include "interp.h"

int threads_seen_by_two(const interp_ctx *ctx);

#if defined(INTERP_NO_MALLOC)
static char memory[1 << 16];
#endif

int main(void)
{
    interp_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.threads = 2;
#if defined(INTERP_NO_MALLOC)
    desc.buffer = memory;
    desc.buffer_bytes = sizeof memory;
#endif
    interp_ctx *ctx = interp_open(&desc);
    if (!ctx) return 1;
    const int same = threads_seen_by_two(ctx) == interp_threads(ctx);
    interp_close(ctx);
    return same ? 0 : 2;
}

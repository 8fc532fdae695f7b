/* Compile check: a device without files, heap and threads; all memory is one buffer of the user. */
#define INTERP_NO_STDIO
#define INTERP_NO_MALLOC
#define INTERP_NO_THREADS
#define INTERP_IMPLEMENTATION
#include "interp.h"

static char memory[1 << 16];

int main(void)
{
    interp_desc desc;
    memset(&desc, 0, sizeof desc);
    if (interp_open(&desc)) return 1; /* there is no heap to open one from */
    desc.buffer = memory;
    desc.buffer_bytes = sizeof memory;
    interp_ctx *ctx = interp_open(&desc);
    if (!ctx) return 2;
    void *block = interp_alloc(ctx, 1000);
    const int inside = (char *)block >= memory && (char *)block < memory + sizeof memory;
    const int refused = interp_alloc(ctx, sizeof memory) == NULL;
    interp_close(ctx);
    return inside && refused ? 0 : 3;
}

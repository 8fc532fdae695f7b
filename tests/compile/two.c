/* Compile check: a file of a program that uses the library but does not hold it. */
#if defined(INTERP_STATIC)
#define INTERP_IMPLEMENTATION /* then every file has its own copy */
#endif
#include "interp.h"

int threads_seen_by_two(const interp_ctx *ctx);

int threads_seen_by_two(const interp_ctx *ctx)
{
    return interp_threads(ctx);
}

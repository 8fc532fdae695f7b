/* An allocator that counts, and fails when told to: one per test program, given to interp_open as
   allocator.alloc = heap_alloc, allocator.free = heap_free, user NULL or &heap. */
#ifndef HEAP_H
#define HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

static struct {
    long calls;
    long fail_at;      /* this call gets NULL; 0: none does */
    bool from_then_on; /* and so does every later one */
    bool bad;          /* a size was no multiple of its alignment, or `user` came back wrong */
    size_t held;       /* bytes */
    size_t blocks;
} heap;

static void *heap_alloc(size_t bytes, size_t align, void *user)
{
    heap.calls++;
    if (heap.fail_at &&
        (heap.from_then_on ? heap.calls >= heap.fail_at : heap.calls == heap.fail_at))
        return NULL;
    heap.bad |= bytes % align || (user && user != &heap);
    heap.held += bytes;
    heap.blocks++;
    return aligned_alloc(align, bytes);
}

static void heap_free(void *p, size_t bytes, void *user)
{
    heap.bad |= user && user != &heap;
    heap.held -= bytes;
    heap.blocks--;
    free(p);
}

/* The first n calls from now on succeed, all after them fail. */
static __attribute__((unused)) void heap_fail_after(long n)
{
    heap.calls = 0, heap.fail_at = n + 1, heap.from_then_on = true;
}

#endif

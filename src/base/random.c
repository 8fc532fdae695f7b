/* ---- base/random.c: Philox4x32-10 ------------------------------------------------------------ */

ITP_FN void itp_philox(uint64_t seed, uint64_t stream, uint64_t block, uint32_t out[4])
{
    uint32_t c0 = (uint32_t)block, c1 = (uint32_t)(block >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u; /* golden ratio and sqrt(3)-1, the paper's Weyl constants */
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

INTERP_API uint32_t interp_random_u32(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t r[4];
    itp_philox(seed, stream, index >> 2, r);
    return r[index & 3];
}

ITP_INLINE float itp_unit(uint32_t r)
{
    return (float)(r >> 8) * (1.0f / 16777216.0f);
}

INTERP_API float interp_random_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    return itp_unit(interp_random_u32(seed, stream, index));
}

INTERP_API float interp_random_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t r[4];
    itp_philox(seed, stream, index >> 1, r);
    const uint32_t *pair = r + 2 * (index & 1);
    const double u = ((double)pair[0] + 1) / 4294967296.0, v = (double)pair[1] / 4294967296.0;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

/* Uniform in [0, n) without bias worth noticing (n far below 2^32). */
ITP_INLINE uint32_t itp_random_below(uint64_t seed, uint64_t stream, uint64_t index, uint32_t n)
{
    return (uint32_t)(((uint64_t)interp_random_u32(seed, stream, index) * n) >> 32);
}

/* Fisher-Yates. */
ITP_FN void itp_shuffle(int *items, int n, uint64_t seed, uint64_t stream)
{
    for (int i = n - 1; i > 0; i--) {
        const int j = (int)itp_random_below(seed, stream, (uint64_t)i, (uint32_t)i + 1);
        const int t = items[i];
        items[i] = items[j];
        items[j] = t;
    }
}

/* Loss change allocation over many processes: each has a part of the samples, MPI adds up.

     mpicc -O2 -I. examples/mpi_lca.c -o mpi_lca -lm -pthread
     ./mpi_lca one.bin && mpirun -n 2 ./mpi_lca two.bin one.bin

   Every process makes the same steps, and allocates them for its part of the samples. Process 0 writes all allocations, [steps, parameters], and with
   a second file compares: it fails when they are further apart than 1e-10 of the largest. Gradients are
   float32 inside a chunk and double between chunks, so the chunks are the same at any number of
   processes: 100 samples. */
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

enum { SAMPLES = 1500, CHUNK = 100, STEPS = 8 };

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    MPI_Abort(MPI_COMM_WORLD, 1);
    return 1;
}

static void allreduce(double *values, size_t n, void *user)
{
    (void)user;
    MPI_Allreduce(MPI_IN_PLACE, values, (int)n, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}

/* Largest difference to the numbers of a file, over their largest magnitude. */
static double compare(const char *path, const double *values, size_t n)
{
    double off = 0, most = 0;
    FILE *f = fopen(path, "rb");
    if (!f) return INFINITY;
    for (size_t i = 0; i < n; i++) {
        double want;
        if (fread(&want, sizeof want, 1, f) != 1) off = INFINITY;
        else most = fmax(most, fabs(want)), off = fmax(off, fabs(want - values[i]));
    }
    fclose(f);
    return off / most;
}

int main(int argc, char **argv)
{
    int rank, size, code = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    interp_ctx *ctx = interp_open(&(interp_desc){.threads = 1});
    interp_dataset digits;
    interp_net *net = NULL;
    interp_lca *lca = NULL;
    interp_lca_step_info info;
    if (!ctx || digits_open(ctx, &digits)) return die(ctx);
    if (interp_net_arch(ctx, "mlp:64-32-10", &digits.shape, 10, 1, &net)) return die(ctx);
    const size_t n = interp_net_describe(net).n_parameters;

    interp_dataset part = digits; /* whole chunks, one after the other */
    const int from = SAMPLES / CHUNK * rank / size * CHUNK;
    part.n = SAMPLES / CHUNK * (rank + 1) / size * CHUNK - from;
    part.x += from * 64, part.y += from;
    const interp_lca_desc what = {.chunk = CHUNK, .allreduce = allreduce};
    if (interp_lca_new(net, &part, &what, &lca) || interp_lca_begin(lca)) return die(ctx);

    double *all = malloc(STEPS * n * sizeof *all), sum = 0, change = 0;
    const interp_train_desc how = {.batch = CHUNK, .optimizer = INTERP_SGD, .lr = 0.3f};
    interp_trainer *trainer = NULL;
    if (!all || interp_trainer_new(net, &how, 0, &trainer)) return die(ctx);
    for (int t = 0; t < STEPS; t++) { /* the same steps everywhere */
        if (interp_trainer_step(trainer, digits.x + t * CHUNK * 64, digits.y + t * CHUNK, NULL,
                                CHUNK, NULL, NULL) ||
            interp_lca_step(lca, &info))
            return die(ctx);
        for (size_t i = 0; i < n; i++) all[(size_t)t * n + i] = info.lca[i];
        sum += info.allocated, change += info.loss_after - info.loss_before;
    }
    if (rank == 0 && argc > 1) {
        FILE *f = fopen(argv[1], "wb");
        if (!f || fwrite(all, sizeof *all, STEPS * n, f) != STEPS * n || fclose(f)) code = 1;
        printf("%d process%s: loss change %.6f, allocated %.6f\n", size, size > 1 ? "es" : "",
               change, sum);
    }
    if (rank == 0 && argc > 2) {
        const double off = compare(argv[2], all, STEPS * n);
        printf("apart from %s by %.1e of the largest allocation\n", argv[2], off);
        code = !(off <= 1e-10);
    }
    free(all);
    interp_close(ctx);
    MPI_Finalize();
    return code;
}

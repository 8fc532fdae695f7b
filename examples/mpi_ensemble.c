/* An ensemble over many processes: each trains every so-manyth network, MPI brings them together.

     mpicc -O2 -I. examples/mpi_ensemble.c -o mpi_ensemble -lm -pthread
     ./mpi_ensemble one.bin && mpirun -n 2 ./mpi_ensemble two.bin && cmp one.bin two.bin

   Every process has all results in the end; process 0 writes the weights [models, 2, parameters]: the same
   bits at any number of processes. */
#include <mpi.h>
#include <stdio.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

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

static interp_status build(interp_ctx *ctx, int model, interp_net **net, void *user)
{
    return interp_net_arch(ctx, "mlp:64-16-10", (const interp_shape *)user, 10, (uint64_t)model,
                           net);
}

int main(int argc, char **argv)
{
    int rank, ranks;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    interp_ctx *ctx = interp_open(&(interp_desc){.threads = 1});
    interp_dataset digits;
    if (!ctx || digits_open(ctx, &digits)) return die(ctx);
    const int snapshots[2] = {0, 3};
    const interp_ensemble_desc d = {.models = 10,
                                    .build = build,
                                    .user = &digits.shape,
                                    .train = {.epochs = 3},
                                    .snapshots = snapshots,
                                    .n_snapshots = 2,
                                    .rank = rank,
                                    .ranks = ranks,
                                    .allreduce = allreduce};
    interp_ensemble all;
    if (interp_ensemble_train(ctx, &digits, &d, &all)) return die(ctx);
    const size_t n = (size_t)all.models * 2 * all.parameters;
    FILE *f = rank == 0 && argc > 1 ? fopen(argv[1], "wb") : NULL;
    if (f && (fwrite(all.weights, sizeof(float), n, f) != n || fclose(f))) return die(ctx);
    if (rank == 0)
        printf("%d networks of %zu parameters by %d process%s\n", all.models, all.parameters, ranks,
               ranks > 1 ? "es" : "");
    interp_close(ctx);
    MPI_Finalize();
    return 0;
}

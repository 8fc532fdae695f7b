// CMGDB behind a command, for bench_dynamics: the maps of that program as functions of C++, without Python.
// Prints seconds of the processor, boxes, Morse sets and the peak of the process in MiB; with INDICES 1
// seconds of the Conley indices alone.
//
//     rival_cmgdb MAP DIMS MIN MAX INIT PADDING INDICES
//
// Its headers and those it needs: bench/README.md.
#define main cmgdb_main
#include "CMGDB.cpp"
#undef main

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/resource.h>

typedef std::vector<double> reals;

static reals leslie(const reals &x)
{
    static const double theta[] = {19.6, 23.68, 19.6, 23.68};
    reals y(x.size());
    double births = 0, all = 0;
    for (std::size_t j = 0; j < x.size(); j++) births += theta[j] * x[j], all += x[j];
    y[0] = births * std::exp(-0.1 * all);
    for (std::size_t j = 1; j < x.size(); j++) y[j] = 0.7 * x[j - 1];
    return y;
}

static reals henon(const reals &x)
{
    return reals{1 - 1.4 * x[0] * x[0] + x[1], 0.3 * x[0]};
}

static reals logistic(const reals &x)
{
    return reals{3.5 * x[0] * (1 - x[0])};
}

static reals product(const reals &x)
{
    reals y(x);
    for (double &v : y) v = v / (2 - v);
    return y;
}

int main(int argc, char **argv)
{
    if (argc != 8) return 2;
    const std::size_t d = std::strtoul(argv[2], NULL, 10);
    const int min = std::atoi(argv[3]), max = std::atoi(argv[4]), init = std::atoi(argv[5]);
    const bool padding = std::atoi(argv[6]) != 0, indices = std::atoi(argv[7]) != 0;
    reals (*f)(const reals &) = NULL;
    reals lower(d, -0.001), upper = {90, d == 2 ? 70.0 : 65.0, 45, 32};
    upper.resize(d);
    if (!std::strcmp(argv[1], "leslie")) f = leslie;
    if (!std::strcmp(argv[1], "henon")) f = henon, lower = {-1.5, -0.5}, upper = {1.5, 0.5};
    if (!std::strcmp(argv[1], "logistic")) f = logistic, lower = {-0.1}, upper = {1.1};
    if (!std::strcmp(argv[1], "product")) f = product, lower.assign(d, 0), upper.assign(d, 1.2);
    if (!f) return 2;
    const std::function<reals(reals)> box = [=](const reals &rect) {
        reals out(2 * d), x(d);
        for (std::size_t corner = 0; corner < std::size_t(1) << d; corner++) {
            for (std::size_t j = 0; j < d; j++) x[j] = rect[(corner >> j & 1 ? d : 0) + j];
            const reals y = f(x);
            for (std::size_t j = 0; j < d; j++) {
                if (!corner || y[j] < out[j]) out[j] = y[j];
                if (!corner || y[j] > out[d + j]) out[d + j] = y[j];
            }
        }
        for (std::size_t j = 0; padding && j < d; j++) {
            const double width = rect[d + j] - rect[j];
            out[j] -= width, out[d + j] += width;
        }
        return out;
    };
    std::clock_t begin = std::clock();
    const Model model = max ? Model(min, max, init, 10000, lower, upper, box)
                            : Model(min, lower, upper, box);
    std::pair<MorseGraph, MapGraph> found = ComputeMorseGraph(model);
    if (indices) begin = std::clock();
    std::shared_ptr<TreeGrid> grid =
        std::dynamic_pointer_cast<TreeGrid>(found.first.phaseSpace());
    for (std::size_t s = 0; indices && s < found.first.NumVertices(); s++) {
        chomp::ConleyIndex_t index;
        const ChompMap map(model.map());
        chomp::ConleyIndex(&index, *grid, grid->subset(*found.first.grid(s)), map);
    }
    const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    std::printf("%.6f %zu %zu %.1f\n", seconds, static_cast<std::size_t>(found.second.num_vertices()),
                static_cast<std::size_t>(found.first.NumVertices()),
                static_cast<double>(use.ru_maxrss) / 1024);
    return 0;
}

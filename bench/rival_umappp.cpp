// umappp behind a command, for bench_embed.py: reads float32 rows, writes float32 pairs, prints seconds
// of the processor with neighbours, or with NEIGHBOURS instead of RESULT seconds of its VP-tree alone.
//
//     rival_umappp ROWS N D THREADS RESULT|NEIGHBOURS
//
// Its headers and those it needs: bench/README.md.
#include "umappp/umappp.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <vector>

int main(int argc, char **argv)
{
    if (argc != 6) return 2;
    const int n = std::atoi(argv[2]), d = std::atoi(argv[3]);
    std::vector<float> rows(static_cast<std::size_t>(n) * d), out(2 * static_cast<std::size_t>(n));
    std::FILE *f = std::fopen(argv[1], "rb");
    if (!f || std::fread(rows.data(), sizeof(float), rows.size(), f) != rows.size()) return 1;
    std::fclose(f);
    const std::vector<double> x(rows.begin(), rows.end());
    const knncolle::VptreeBuilder<int, double, double> trees(
        std::make_shared<knncolle::EuclideanDistance<double, double> >());
    umappp::Options options;
    options.num_threads = std::atoi(argv[4]);
    const std::clock_t begin = std::clock();
    if (!std::strcmp(argv[5], "NEIGHBOURS")) {
        const auto tree = trees.build_unique(knncolle::SimpleMatrix<int, double>(d, n, x.data()));
        knncolle::find_nearest_neighbors<int, double, double>(*tree, 15, options.num_threads);
        std::printf("%.6f\n", static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
        return 0;
    }
    std::vector<double> y(out.size());
    auto status = umappp::initialize(d, n, x.data(), trees, 2, y.data(), options);
    status.run(y.data());
    std::printf("%.6f\n", static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
    for (std::size_t i = 0; i < y.size(); i++) out[i] = static_cast<float>(y[i]);
    f = std::fopen(argv[5], "wb");
    const bool good = f && std::fwrite(out.data(), sizeof(float), out.size(), f) == out.size();
    return f && !std::fclose(f) && good ? 0 : 1;
}

/* A small test harness. Each test is a function named as a claim:

       TEST(relu_is_never_negative) { CHECK(y >= 0); }
       int main(int argc, char **argv) { RUN(relu_is_never_negative); return test_end(argc, argv); }

   CHECK goes on after a failure and counts it; REQUIRE leaves the test. test_end prints
   "name: N passed, M failed, K skipped" and returns the exit code. */
#ifndef TEST_H
#define TEST_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const char *name; /* test running now */
    int bad;          /* failed checks in it */
    bool skip;
    int passed, failed, skipped;
} test_state;

#define TEST(name) static void name(void)

/* Under valgrind, a sanitizer or an emulator, up to 50 times slower: large cases may be left out.
   Emulators are told by TEST_SLOW in the environment. */
static __attribute__((unused)) bool slow_here(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#else
    const char *preload = getenv("LD_PRELOAD");
    return (preload && strstr(preload, "vgpreload")) || getenv("TEST_SLOW");
#endif
}

#define RUN(test)                                                                                  \
    do {                                                                                           \
        test_state.name = #test;                                                                   \
        test_state.bad = 0;                                                                        \
        test_state.skip = false;                                                                   \
        test();                                                                                    \
        if (test_state.bad) test_state.failed++;                                                   \
        else if (test_state.skip) test_state.skipped++;                                            \
        else test_state.passed++;                                                                  \
    } while (0)

#define CHECK(c)                                                                                   \
    do {                                                                                           \
        if (!(c)) test_fail(__FILE__, __LINE__, "%s", #c);                                         \
    } while (0)

#define REQUIRE(c)                                                                                 \
    do {                                                                                           \
        if (!(c)) {                                                                                \
            test_fail(__FILE__, __LINE__, "%s", #c);                                               \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/* The call returns INTERP_OK, or the sentence of the context is shown. */
#define CHECK_OK(ctx, call)                                                                        \
    do {                                                                                           \
        if ((call) != INTERP_OK)                                                                   \
            test_fail(__FILE__, __LINE__, "%s: %s", #call, interp_error(ctx));                     \
    } while (0)

#define REQUIRE_OK(ctx, call)                                                                      \
    do {                                                                                           \
        if ((call) != INTERP_OK) {                                                                 \
            test_fail(__FILE__, __LINE__, "%s: %s", #call, interp_error(ctx));                     \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/* |got - want| <= tolerance */
#define CHECK_NEAR(got, want, tolerance)                                                           \
    do {                                                                                           \
        const double test_g = (double)(got), test_w = (double)(want);                              \
        if (!(fabs(test_g - test_w) <= (double)(tolerance)))                                       \
            test_fail(__FILE__, __LINE__, "%s is %.9g, want %.9g +- %.3g", #got, test_g, test_w,   \
                      (double)(tolerance));                                                        \
    } while (0)

#define CHECK_STR(got, want)                                                                       \
    do {                                                                                           \
        if (strcmp((got), (want)))                                                                 \
            test_fail(__FILE__, __LINE__, "%s is \"%s\", want \"%s\"", #got, (got), (want));       \
    } while (0)

#define SKIP(why)                                                                                  \
    do {                                                                                           \
        printf("  skipped %s: %s\n", test_state.name, why);                                        \
        test_state.skip = true;                                                                    \
        return;                                                                                    \
    } while (0)

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static void
test_fail(const char *file, int line, const char *format, ...)
{
    if (test_state.bad++ > 9) return; /* ten lines tell enough */
    printf("  FAILED %s (%s:%d): ", test_state.name, file, line);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

static int test_end(int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    printf("%s: %d passed, %d failed, %d skipped\n",
           slash      ? slash + 1
           : argc > 0 ? argv[0]
                      : "test",
           test_state.passed, test_state.failed, test_state.skipped);
    return test_state.failed ? 1 : 0;
}

#endif

/** Kernels over token ids: literals on every level, then every length up to 513 at the start and at the end of memory
 * whose neighbors must not be touched, against definitions that are written differently.
 *
 * FASTGEN_TEST_CASES is the number of random cases for each level, on top of those of every length. */
#define _DEFAULT_SOURCE
#include "tokens_checks.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LONGEST = 513, PAGE = 1 << 16, CASES = 3000 };

static struct {
    fg_features features;
    char const *name;
} const levels[] = {{FG_SCALAR, "scalar"}, {FG_AVX2, "avx2"}, {FG_AVX2 | FG_AVX512, "avx512"}, {FG_NEON, "neon"}};

static char current[128];
static size_t cases;

static void on_fault(int signal_number) {
    (void)signal_number;
    ssize_t written = write(STDOUT_FILENO, "touches memory outside its ranges: ", 35);
    written = write(STDOUT_FILENO, current, strlen(current));
    (void)written;
    _exit(2);
}

static uint64_t state = 1;

static uint32_t random_below(uint32_t limit) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 32) * limit >> 32);
}

/** One page of tokens; the pages before and after it fault. */
static int32_t *guarded_page(void) {
    char *const pages = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED && mprotect(pages + PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
    return (int32_t *)(void *)(pages + PAGE);
}

static int32_t *placed(int32_t *page, size_t count, int at_end) {
    return at_end ? page + PAGE / sizeof *page - count : page;
}

static void check_literals(fg_tokens_kernels const *kernels) {
    int32_t const tokens[] = {5, 1, 2, 3, 5, 1, 2, 4, 1, 2};
    size_t length;
    CHECK(kernels->find && kernels->recall && kernels->agree && kernels->recur);
    CHECK(kernels->find(tokens, 10, (int32_t[]){1, 2}, 2) == 1);
    CHECK(kernels->find(tokens, 10, (int32_t[]){1, 2, 4}, 3) == 5);
    CHECK(kernels->find(tokens, 10, (int32_t[]){2, 1}, 2) == 10);
    CHECK(kernels->find(tokens, 10, tokens, 0) == 0 && kernels->find(tokens, 0, tokens, 0) == 0);
    CHECK(kernels->find(tokens, 3, tokens, 4) == 3 && kernels->find(tokens, 4, tokens, 4) == 0);
    CHECK(kernels->recall(tokens, 9, tokens, 10, 1, &length) == 7 && length == 2);
    CHECK(kernels->recall(tokens, 9, (int32_t[]){5, 1, 2}, 3, 1, &length) == 7 && length == 3);
    CHECK(kernels->recall(tokens, 6, (int32_t[]){5, 1, 2}, 3, 1, &length) == 3 && length == 3);
    CHECK(kernels->recall(tokens, 6, (int32_t[]){5, 1}, 2, 2, &length) == 6 && length == 2);
    CHECK(kernels->recall(tokens, 10, (int32_t[]){9, 9, 2}, 3, 2, &length) == 0 && length == 0);
    CHECK(kernels->recall(tokens, 10, (int32_t[]){9, 9, 2}, 3, 1, &length) == 10 && length == 1);
    CHECK(kernels->agree(tokens, tokens + 4, 6) == 3 && kernels->agree(tokens, tokens + 4, 2) == 2);
    int32_t missing[] = {6, 1, 0, 2};
    CHECK(kernels->recur((int32_t[]){7, 7, 7, 8}, 4, 7, missing, 12, 3) == 2);
    CHECK(missing[0] == 5 && missing[1] == 0 && missing[2] == 0 && missing[3] == 3);
    CHECK(kernels->recur((int32_t[]){8, 8, 8, 8}, 4, 7, missing, 12, 3) == 4 && missing[1] == 9);
}

/** Tokens of few values, many of them equal: near misses of every length. */
static void fill(int32_t *tokens, size_t count, uint32_t kinds) {
    for (size_t i = 0; i < count; i++) tokens[i] = random_below(kinds) ? 7 : (int32_t)random_below(kinds);
}

static void check_all(fg_tokens_kernels const *scalar, fg_tokens_kernels const *kernels, int32_t *pages[3],
                      size_t count, size_t size, int at_end) {
    int32_t *const tokens = placed(pages[0], count, at_end), *const other = placed(pages[1], count, at_end);
    int32_t *const needle = placed(pages[2], size, at_end), *const missing = tokens_of(count);
    uint32_t const kinds = 2 + random_below(8);
    fill(tokens, count, kinds), fill(needle, size, kinds);
    if (count >= size && random_below(2))
        memcpy(needle, tokens + random_below((uint32_t)(count - size + 1)), size * sizeof *needle);
    check_find(kernels, tokens, count, needle, size);
    if (size) check_recall(kernels, tokens, count, needle, size, 1 + random_below((uint32_t)size));
    memcpy(other, tokens, count * sizeof *tokens);
    if (count && random_below(8)) other[random_below((uint32_t)count)] ^= (int32_t)(1u << random_below(32));
    check_agree(kernels, tokens, other, count);
    for (size_t i = 0; i < count; i++) {
        int32_t const most = (int32_t)(count - i) * 3;
        missing[i] = other[i] = random_below(3) ? (int32_t)random_below((uint32_t)most + 1) : 1;
    }
    check_recur(scalar, kernels, tokens, count, 7, missing, other, 3);
    free(missing);
    cases++;
}

int main(void) {
    char const *const asked = getenv("FASTGEN_TEST_CASES");
    size_t const wanted = asked ? (size_t)strtoull(asked, NULL, 10) : CASES;
    int32_t *pages[3] = {guarded_page(), guarded_page(), guarded_page()};
    fg_features const machine = fg_cpu_detect();
    fg_tokens_kernels const scalar = fg_tokens_select(FG_SCALAR);
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    for (size_t level = 0; level < sizeof levels / sizeof levels[0]; level++) {
        if ((levels[level].features & machine) != levels[level].features) continue;
        fg_tokens_kernels const kernels = fg_tokens_select(levels[level].features);
        cases = 0;
        check_literals(&kernels);
        for (size_t count = 0; count <= LONGEST; count++)
            for (int at_end = 0; at_end < 2; at_end++)
                for (int i = 0; i < 6; i++) {
                    size_t const size = i < 3 ? (size_t)i + 1 : random_below(i == 3 ? 20 : (uint32_t)count + 2);
                    snprintf(current, sizeof current, "%s, %zu tokens and %zu at the %s of a page\n",
                             levels[level].name, count, size, at_end ? "end" : "start");
                    check_all(&scalar, &kernels, pages, count, size, at_end);
                }
        for (size_t i = 0; i < wanted; i++)
            check_all(&scalar, &kernels, pages, random_below(200), random_below(12), (int)random_below(2));
        for (size_t longest = 1; longest <= 70; longest++) {
            fill(pages[0], 300, 1 + random_below(40));
            check_loops(&scalar, &kernels, pages[0], 300, longest, 2 + random_below(4));
        }
        printf("%s ok: %zu cases\n", levels[level].name, cases);
    }
    return 0;
}

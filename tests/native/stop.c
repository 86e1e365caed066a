/** The stop matcher: literals; every cut of short texts; every level of the filter beside pages that must not be
 * touched; texts that make failure links work hard, and a counter that says how hard.
 *
 * `stop bench` prints times instead. */
#define _DEFAULT_SOURCE
#include "stop_checks.h"

#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 1 << 16, LENGTHS = 514 };

static struct {
    fg_features features;
    char const *name;
} const levels[] = {{FG_SCALAR, "scalar"}, {FG_AVX2, "avx2"}, {FG_AVX2 | FG_AVX512, "avx512"}, {FG_NEON, "neon"}};

enum { LEVELS = sizeof levels / sizeof levels[0] };

static char current[128];

static void on_fault(int signal_number) {
    (void)signal_number;
    ssize_t written = write(STDOUT_FILENO, "touches memory outside its ranges: ", 35);
    written = write(STDOUT_FILENO, current, strlen(current));
    (void)written;
    _exit(2);
}

static uint64_t state = 1;

static uint32_t below(uint32_t end) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 32) * end >> 32);
}

static size_t cases(size_t usual) {
    char const *const wanted = getenv("FASTGEN_TEST_CASES");
    return wanted ? strtoull(wanted, NULL, 10) : usual;
}

/** One readable page; the pages before and after it fault. */
static uint8_t *guarded_page(void) {
    uint8_t *const pages = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + PAGE, PAGE, PROT_READ | PROT_WRITE)) exit(3);
    return pages + PAGE;
}

static text_of of(char const *string) { return (text_of){(uint8_t const *)string, strlen(string)}; }

static fg_stop_step fed(fg_stops const *automaton, uint32_t *place, char const *text, int include) {
    fg_stop_kernels const kernels = fg_stop_select(FG_SCALAR);
    fg_stop_step step;
    fg_stop_feed(automaton, &kernels, place, (uint8_t const *)text, strlen(text), include, &step);
    return step;
}

/** What is written here by hand: the other checks rest on a definition. */
static void check_literals(void) {
    text_of const stops[] = {of("</s>"), of("ab"), of("abab"), of("ab")};
    fg_stops *const automaton = built(stops, 4);
    CHECK(automaton->states == 1 + 4 + 2); /* "abab" can never complete, nor can the second "ab" */
    uint32_t place = 0;
    fg_stop_step step = fed(automaton, &place, "x <", 0);
    CHECK(step.head_size == 0 && step.body_size == 2 && step.consumed == 3 && fg_stop_held(automaton, place) == 1);
    step = fed(automaton, &place, "/a", 0);
    CHECK(step.head_size == 1 && *step.head == '<' && step.body_size == 1 && fg_stop_held(automaton, place) == 1);
    step = fed(automaton, &place, "b!", 0);
    CHECK(step.stop == 1 && step.consumed == 1 && step.stop_size == 2 && !step.head_size && !step.body_size && !place);
    place = 0;
    step = fed(automaton, &place, "a", 1);
    step = fed(automaton, &place, "b!", 1);
    CHECK(step.stop == 1 && step.head_size == 1 && *step.head == 'a' && step.body_size == 1);
    place = 0;
    step = fed(automaton, &place, "</", 0);
    fg_stop_flush(automaton, &place, &step);
    CHECK(step.head_size == 2 && memcmp(step.head, "</", 2) == 0 && step.body_size == 0 && !place);
    free(automaton);
    fg_stops *const none = built(NULL, 0);
    step = fed(none, &place, "any text of more than a register, so that the filter has a say in it", 0);
    CHECK(step.stop == -1 && step.body_size == 68 && none->states == 1 && place == 0);
    free(none);
}

/** Every cut of a text of up to 9 bytes into pieces, stops and text over two or three letters. */
static size_t check_all_cuts(size_t sets) {
    fg_stop_kernels const kernels = fg_stop_select(FG_SCALAR);
    size_t checked = 0;
    for (size_t set = 0; set < sets; set++) {
        uint8_t letters[64], bytes[9];
        text_of stops[6];
        size_t const count = below(6) + 1;
        uint32_t const alphabet = below(2) + 2;
        uint8_t *next = letters;
        for (size_t i = 0; i < count; i++) {
            stops[i] = (text_of){next, below(5) + 1};
            for (size_t j = 0; j < stops[i].size; j++) *next++ = (uint8_t)('a' + below(alphabet));
        }
        text_of const text = {bytes, below(sizeof bytes) + 1};
        size_t holds[9];
        for (size_t i = 0; i < text.size; i++) bytes[i] = (uint8_t)('a' + below(alphabet));
        for (size_t i = 0; i < text.size; i++) holds[i] = held_of(stops, count, bytes, i + 1);
        fg_stops *const automaton = built(stops, count);
        for (int include = 0; include < 2; include++) {
            expectation const wanted = expected(stops, count, text, include);
            for (uint32_t cut = 0; cut < 1u << (text.size - 1); cut++, checked++) {
                uint8_t const cuts[2] = {(uint8_t)cut, (uint8_t)(cut >> 8)};
                check_pieces(automaton, &kernels, stops, text, cuts, include, wanted, holds);
            }
        }
        free(automaton);
    }
    return checked;
}

static void random_filter(fg_stop_filter *filter) {
    memset(filter, 0, sizeof *filter);
    for (uint32_t beginnings = below(9); beginnings--;)
        for (int place = 0; place < FG_STOP_WINDOW; place++) {
            uint8_t const byte = (uint8_t)below(256), bucket = (uint8_t)(1u << beginnings % 8);
            for (int half = 0; half < 16; half++) {
                int const open = place && below(4) == 0;
                if (open || half == (byte & 15)) filter->low[place][half] |= bucket;
                if (open || half == byte >> 4) filter->high[place][half] |= bucket;
            }
        }
}

/** Each level against the definition: all lengths at all distances from either end of a page. */
static size_t check_filter(int level, uint8_t *page, size_t repeats) {
    fg_stop_kernels const kernels = fg_stop_select(levels[level].features);
    size_t checked = 0;
    for (size_t repeat = 0; repeat < repeats; repeat++) {
        fg_stop_filter filter;
        random_filter(&filter);
        for (size_t i = 0; i < PAGE; i++) page[i] = 0xFF; /* passes where everything does */
        for (size_t length = 0; length < LENGTHS; length++) {
            size_t const offset = below(64);
            for (int at_end = 0; at_end < 2; at_end++, checked++) {
                uint8_t *const text = at_end ? page + (PAGE - length - (repeat % 2 ? offset : 0)) : page + offset;
                for (size_t i = 0; i < length; i++) text[i] = (uint8_t)(below(8) ? 0 : below(256));
                snprintf(current, sizeof current, "%s, %zu bytes, %s of a page\n", levels[level].name, length,
                         at_end ? "end" : "start");
                CHECK(kernels.skip(&filter, text, length) == fg_stop_skip_from(&filter, text, 0, length));
            }
        }
    }
    return checked;
}

/** Long texts in long pieces: the filter, the walk behind it and the automaton take turns. */
static size_t check_long_texts(int level, size_t texts) {
    fg_stop_kernels const kernels = fg_stop_select(levels[level].features);
    static char const *const words[] = {"<stop ", "<stop 12>", "the ", "\n\n", "#", "text without one. ", "</s", "x"};
    for (size_t which = 0; which < texts; which++) {
        uint8_t bytes[2400], cuts[300];
        size_t size = 0;
        while (size < 2000) {
            text_of const word = of(words[below(8)]);
            memcpy(bytes + size, word.bytes, word.size);
            size += word.size;
        }
        text_of const text = {bytes, size};
        text_of const stops[] = {of("<stop 12>< "), of("\n\n#"), of("##"), of("</s><"), of("xx<"), of("one. <stop")};
        size_t const count = below(7);
        for (size_t i = 0; i < sizeof cuts; i++) cuts[i] = (uint8_t)(below(6) ? 0 : 1u << below(8));
        fg_stops *const automaton = built(stops, count);
        int const include = (int)below(2);
        check_pieces(automaton, &kernels, stops, text, cuts, include, expected(stops, count, text, include), NULL);
        free(automaton);
    }
    return texts;
}

/** Returns failure links followed for each byte of a text. */
static double falls_of(text_of const *stops, size_t count, text_of text, size_t piece) {
    fg_stops *const automaton = built(stops, count);
    fg_stop_kernels const kernels = fg_stop_select(fg_cpu_detect());
    uint32_t place = 0;
    size_t falls = 0;
    for (size_t start = 0; start < text.size; start += piece) {
        fg_stop_step step;
        size_t const size = text.size - start < piece ? text.size - start : piece;
        fg_stop_feed(automaton, &kernels, &place, text.bytes + start, size, 0, &step);
        falls += step.falls;
        CHECK(falls <= start + size && step.stop < 0);
    }
    free(automaton);
    return (double)falls / (double)text.size;
}

/** Self-similar stops and texts that always miss the last byte: without amortization each byte would cost a depth. */
static void check_linear_work(void) {
    enum { STOP = 20000, TEXT = 400000, SUFFIXES = 200 };
    uint8_t *const stop = memory_of(STOP), *const text = memory_of(TEXT);
    memset(stop, 'a', STOP), stop[STOP - 1] = 'b';
    text_of const run_of_a = {stop, STOP};
    memset(text, 'a', TEXT);
    printf("falls a byte: %.3f all a,", falls_of(&run_of_a, 1, (text_of){text, TEXT}, 4));
    for (size_t i = STOP - 2; i < TEXT; i += STOP - 1) text[i] = 'c';
    printf(" %.3f a and c,", falls_of(&run_of_a, 1, (text_of){text, TEXT}, TEXT));

    size_t one = 1, two = 2; /* Fibonacci words: the worst for failure links */
    stop[0] = 'a', stop[1] = 'b';
    while (one + two < STOP) {
        memcpy(stop + two, stop, one);
        size_t const sum = one + two;
        one = two, two = sum;
    }
    for (size_t i = 0; i < TEXT; i++) text[i] = stop[i % (two - 2)];
    stop[two - 1] = 'c';
    text_of const fibonacci = {stop, two};
    printf(" %.3f Fibonacci,", falls_of(&fibonacci, 1, (text_of){text, TEXT}, 7));

    memset(stop, 'a', STOP);
    text_of suffixes[SUFFIXES]; /* a^k b for every k: a fall from each leads to the next shorter */
    for (size_t i = 0; i < SUFFIXES; i++) suffixes[i] = (text_of){stop + (STOP - i - 2), i + 2};
    stop[STOP - 1] = 'b';
    for (size_t i = 0; i < TEXT; i++) text[i] = i % SUFFIXES ? 'a' : 'c';
    printf(" %.3f a^k b\n", falls_of(suffixes, SUFFIXES, (text_of){text, TEXT}, 4));
    free(stop), free(text);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/** Best of 41 rounds, nanoseconds for a piece of `size` bytes of the text. */
static double best_time(fg_stops const *automaton, fg_stop_kernels const *kernels, text_of text, size_t size) {
    double best = 1;
    for (int round = 0; round < 41; round++) {
        uint32_t place = 0;
        fg_stop_step step;
        double const began = seconds();
        for (size_t start = 0; start + size <= text.size; start += size)
            fg_stop_feed(automaton, kernels, &place, text.bytes + start, size, 0, &step);
        double const took = (seconds() - began) / (double)(text.size / size);
        if (took < best) best = took;
    }
    return best * 1e9;
}

/** Prose in which no stop occurs; stops that begin alike and nowhere in it, and stops that may begin anywhere. */
static void bench(void) {
    enum { TEXT = 1 << 20, MANY = 1000 };
    static char const *const prose[] = {"the ", "of ", "and ", "it ", "was ", "in ", "best ", "worst ", "wisdom, ",
                                        "season ", "light ", "before ", "everything ", "direct ", "period. ", "We "};
    static size_t const sizes[] = {1, 4, 16, 64, 4096, TEXT};
    static char names[MANY][16], words[MANY][16];
    text_of stops[2][MANY];
    uint8_t *const text = memory_of(TEXT);
    for (size_t i = 0; i < TEXT;)
        for (char const *letter = prose[below(16)]; *letter && i < TEXT;) text[i++] = (uint8_t)*letter++;
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "<stop %zu>", i);
        for (size_t j = 0; j < 10; j++) words[i][j] = (char)('a' + below(26));
        stops[0][i] = of(names[i]), stops[1][i] = of(words[i]);
    }
    for (int level = 0; level < LEVELS; level++) {
        if ((levels[level].features & fg_cpu_detect()) != levels[level].features) continue;
        fg_stop_kernels const kernels = fg_stop_select(levels[level].features);
        for (int kind = 0; kind < 2; kind++)
            for (size_t count = 1; count <= MANY; count *= MANY) {
                fg_stops *const automaton = built(stops[kind], count);
                printf("%-6s %4zu stops like %-10s", levels[level].name, count, (char const *)stops[kind][0].bytes);
                for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
                    printf(" %12.1f ns/%zu", best_time(automaton, &kernels, (text_of){text, TEXT}, sizes[i]), sizes[i]);
                printf("\n");
                free(automaton);
            }
    }
    free(text);
}

int main(int count, char **arguments) {
    if (count > 1 && strcmp(arguments[1], "bench") == 0) {
        bench();
        return 0;
    }
    uint8_t *const page = guarded_page();
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    check_literals();
    check_linear_work();
    printf("every cut: %zu cuts ok\n", check_all_cuts(cases(400)));
    for (int level = 0; level < LEVELS; level++) {
        if ((levels[level].features & fg_cpu_detect()) != levels[level].features) continue;
        size_t const checked = check_filter(level, page, cases(40) / 10 + 1);
        printf("%s: %zu filters and %zu texts ok\n", levels[level].name, checked, check_long_texts(level, cases(100)));
    }
    return 0;
}

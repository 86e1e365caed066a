/** Every level of the machine against a definition by arithmetic: all strings of 1 to 3 bytes, alone and inside a text;
 * texts of every length at every offset, beside pages that must not be touched; each fault at each position.
 *
 * FASTGEN_TEST_CASES is the number of random strings of 4 bytes; 4294967296 tries them all. */
#define _DEFAULT_SOURCE
#include "utf8_oracle.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 1 << 16, LONGEST = 513, OFFSETS = 64, CASES = 200000, MATERIAL = 1 << 15 };

static uint64_t state = 1;

static uint32_t next_random(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

static uint32_t random_below(uint32_t limit) { return (uint32_t)((uint64_t)next_random() * limit >> 32); }

static char current[128];

static void on_fault(int signal_number) {
    (void)signal_number;
    ssize_t written = write(STDOUT_FILENO, "touches memory outside the text: ", 33);
    written = write(STDOUT_FILENO, current, strlen(current));
    (void)written;
    _exit(2);
}

/** One readable page; the pages before and after it fault. */
static uint8_t *guarded_page(void) {
    uint8_t *const pages = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + PAGE, PAGE, PROT_READ | PROT_WRITE)) {
        perror("guarded_page");
        exit(3);
    }
    return pages + PAGE;
}

static level levels[MOST_LEVELS];
static size_t level_count;

/** Check a string of at most 4 bytes alone and, on levels with registers, at some place in a text of letters. */
static void check_string(uint8_t const *string, size_t size, uint32_t salt) {
    enum { FRAME = 100 };
    static uint8_t frame[FRAME];
    if (!frame[0]) memset(frame, 'a', FRAME);
    size_t const place = (size_t)(salt * 0x9E3779B9u >> 16) % (FRAME - size + 1);
    size_t const rest = place + size < FRAME ? size + 1 : size; /* with the letter behind it */
    memcpy(frame + place, string, size);
    size_t const alone = oracle_validate(string, size), framed = oracle_validate(frame + place, rest);
    size_t const expected = framed == rest ? FRAME : place + framed, starts = oracle_count(string, size);
    for (size_t i = 0; i < level_count; i++) {
        CHECK(levels[i].kernels.validate(string, size) == alone);
        CHECK(levels[i].kernels.count(string, size) == starts);
        if (i > 0) CHECK(levels[i].kernels.validate(frame, FRAME) == expected);
    }
    memset(frame + place, 'a', size);
}

static void check_short_strings(void) {
    for (size_t size = 1; size <= 3; size++)
        for (uint32_t bits = 0; bits < 1u << 8 * size; bits++) {
            uint8_t const string[3] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16)};
#ifdef __aarch64__ /* emulated: what does not begin with a lead is a fault, or a letter and a shorter string */
            if (size == 3 && string[0] < 0xC0) continue;
#endif
            check_string(string, size, bits);
            check_parts(string, size);
        }
}

static void check_four_bytes(uint64_t cases) {
    static uint8_t const edges[24] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF,
                                      0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF};
    uint64_t const all = (uint64_t)1 << 32;
    for (uint64_t number = 0; number < cases && number < all; number++) {
        uint32_t const bits = cases < all ? next_random() : (uint32_t)number;
        uint8_t string[4] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16), (uint8_t)(bits >> 24)};
        if (cases < all && number % 4) /* most of them of bytes at the edges of what is allowed */
            for (int i = 0; i < 4; i++) string[i] = edges[string[i] % 24];
        check_string(string, 4, (uint32_t)number);
        if (cases < all) check_parts(string, 4);
    }
}

/** Bytes that texts are cut from: 0 ASCII, 1 sequences of all lengths, 2 the same with a byte changed here and there,
 * 3 random bytes. */
enum { KINDS = 4 };
static uint8_t material[KINDS][MATERIAL];

static size_t put_sequence(uint8_t *place, uint32_t code_point) {
    if (code_point < 0x80) return place[0] = (uint8_t)code_point, 1;
    size_t const length = code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
    for (size_t i = length; --i; code_point >>= 6) place[i] = (uint8_t)(0x80 | (code_point & 0x3F));
    place[0] = (uint8_t)(0xF00u >> length | code_point);
    return length;
}

static uint32_t random_code_point(void) {
    static uint32_t const limits[4] = {0x80, 0x800, 0xD800, 0x110000};
    uint32_t const code_point = random_below(limits[random_below(4)]);
    return code_point - 0xD800u < 0x800u ? 0xE000 : code_point;
}

static void make_material(void) {
    size_t at = 0;
    while (at < MATERIAL - 4) at += put_sequence(material[1] + at, random_code_point());
    memset(material[1] + at, 'a', MATERIAL - at);
    memcpy(material[2], material[1], MATERIAL);
    for (at = 0; at < MATERIAL; at++) {
        material[0][at] = (uint8_t)random_below(0x80);
        material[3][at] = (uint8_t)next_random();
        if (!random_below(300)) material[2][at] = (uint8_t)next_random();
    }
}

static void check_lengths(uint8_t *page) {
    for (int kind = 0; kind < KINDS; kind++)
        for (size_t size = 0; size <= LONGEST; size++)
            for (size_t offset = 0; offset < OFFSETS; offset++)
                for (int at_end = 0; at_end < 2; at_end++) {
                    uint8_t *const text = at_end ? page + PAGE - size - offset : page + offset;
                    uint8_t const *from = material[kind] + random_below(MATERIAL - LONGEST - 8);
                    while (kind < 3 && fg_utf8_is_continuation(*from)) from++; /* else most would end at once */
                    memcpy(text, from, size);
                    snprintf(current, sizeof current, "kind %d, %zu bytes, %zu from the %s of a page\n", kind, size,
                             offset, at_end ? "end" : "start");
                    size_t const prefix = oracle_validate(text, size), starts = oracle_count(text, size);
                    for (size_t i = 0; i < level_count; i++) {
                        CHECK(levels[i].kernels.validate(text, size) == prefix);
                        CHECK(levels[i].kernels.count(text, size) == starts);
                    }
                }
}

/** Each kind of fault behind each number of bytes, among sequences of each length, and once the text's end. */
static void check_faults(fg_utf8_kernels const *kernels) {
    static struct {
        uint8_t bytes[4];
        size_t size;
    } const faults[] = {
        {{0x80}, 1},
        {{0xBF}, 1},
        {{0xC0, 0x80}, 2},
        {{0xC1, 0xBF}, 2},
        {{0xE0, 0x80, 0x80}, 3},
        {{0xE0, 0x9F, 0xBF}, 3},
        {{0xED, 0xA0, 0x80}, 3},
        {{0xED, 0xBF, 0xBF}, 3},
        {{0xF0, 0x80, 0x80, 0x80}, 4},
        {{0xF0, 0x8F, 0xBF, 0xBF}, 4},
        {{0xF4, 0x90, 0x80, 0x80}, 4},
        {{0xF5, 0x80, 0x80, 0x80}, 4},
        {{0xF8, 0x88, 0x80, 0x80}, 4},
        {{0xFE}, 1},
        {{0xFF}, 1},
        {{0xC3}, 1},
        {{0xE4}, 1},
        {{0xE4, 0xBD}, 2},
        {{0xF0, 0x9F}, 2},
        {{0xF0, 0x9F, 0x98}, 3},
    };
    static uint32_t const fillers[] = {'a', 0xE9, 0x4F60, 0x1F600};
    enum { SIZE = 1400, EARLIEST = 450, LATEST = 650 }; /* positions 0 to 200, and around the end of a group */
    static uint8_t text[SIZE + 8];
    for (size_t filler = 0; filler < 4; filler++)
        for (size_t fault = 0; fault < sizeof faults / sizeof faults[0]; fault++)
            for (size_t place = 0; place < LATEST; place++) {
                if (place == 200) place = EARLIEST;
                size_t at = 0;
                while (at < place % 4) text[at++] = 'x'; /* so that sequences end where the fault stands */
                while (at + 4 <= place) at += put_sequence(text + at, fillers[filler]);
                while (at < place) text[at++] = 'x';
                memcpy(text + at, faults[fault].bytes, faults[fault].size);
                size_t const end = at += faults[fault].size;
                while (at < SIZE) at += put_sequence(text + at, fillers[filler]);
                CHECK(kernels->validate(text, at) == place);
                CHECK(kernels->validate(text, end) == place);
                CHECK(kernels->validate(text, place) == place);
            }
}

int main(void) {
    char const *const wanted = getenv("FASTGEN_TEST_CASES");
    uint64_t const cases = wanted ? strtoull(wanted, NULL, 10) : CASES;
    uint8_t *const page = guarded_page();
    make_material();
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    level_count = find_levels(levels);
    for (size_t i = 0; i < level_count; i++) {
        CHECK(levels[i].kernels.validate(NULL, 0) == 0 && levels[i].kernels.count(NULL, 0) == 0);
        check_faults(&levels[i].kernels);
    }
    check_lengths(page);
    check_short_strings();
    check_four_bytes(cases);
    for (size_t i = 0; i < level_count; i++) printf("%s ok\n", levels[i].name);
    return 0;
}

/** Rows of calls that interrupt each other, against the definition of a queue: a libFuzzer target that also feeds
 * itself
 * (-DFG_FUZZ_STANDALONE). */
#define _DEFAULT_SOURCE
#include "lockfree_interruptions.h"

enum { ROWS = 5, CALLS = 12 }; /* before the victim, the victim, what interrupts */

int LLVMFuzzerTestOneInput(uint8_t const *bytes, size_t count) {
    static char const letters[] = "<><><><x"; /* a close in eight: after it, little happens */
    if (count < 4) return 0;
    char rows[ROWS][CALLS + 1] = {"", "", "", "", ""};
    size_t row = 0, length = 0, calls = 0;
    for (size_t i = 4; i < count && row < ROWS && calls < CALLS; i++) {
        if (bytes[i] % 3 == 0) {
            row++, length = 0;
        } else {
            rows[row][length++] = letters[bytes[i] / 3 % 8];
            calls++;
        }
    }
    char const *const others[3] = {rows[2], rows[3], rows[4]};
    size_t const places[3] = {1 + bytes[1] % 40, 1 + bytes[2] % 40, 1 + bytes[3] % 40};
    play(bytes[0] % 2 ? BOUNDED : UNBOUNDED, 1 + (bytes[0] & 2), rows[0], rows[1], others, places);
    return 0;
}

#ifdef FG_FUZZ_STANDALONE
int main(void) {
    size_t const inputs = cases(20000);
    for (size_t input = 0; input < inputs; input++) {
        uint8_t bytes[24];
        for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)below(256);
        LLVMFuzzerTestOneInput(bytes, sizeof bytes);
    }
    printf("fuzz_lockfree_queue ok: %zu inputs\n", inputs);
    return 0;
}
#endif

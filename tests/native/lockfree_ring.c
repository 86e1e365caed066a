/** The ring: literals; order and content between two threads while a third counts; closing against pushing.
 *
 * FASTGEN_TEST_CASES is the items of each stress run; lockfree_runs.json has the long ones. `lockfree_ring bench`,
 * compiled with -DFG_NO_YIELDS, prints times instead. */
#define _DEFAULT_SOURCE
#include "lockfree_checks.h"

#include "lockfree/ring.h"

enum { WORDS_MAX = 3, BATCH_MAX = 64 };

static fg_ring *ring_of(size_t capacity, size_t words) {
    size_t const bytes = sizeof(fg_ring) + fg_ring_bytes(capacity, words);
    fg_ring *const ring = aligned_alloc(FG_DESTRUCTIVE_INTERFERENCE, (bytes + 127) / 128 * 128);
    CHECK(ring);
    fg_ring_init(ring, capacity, words, ring + 1);
    return ring;
}

static void check_literals(void) {
    fg_ring *ring = ring_of(2, 1);
    uint64_t const items[] = {7, 8, 9};
    uint64_t out[3] = {0, 0, 0};
    uint64_t const *seen;
    CHECK(fg_ring_count(ring) == 0 && fg_ring_pop(ring, out, 3) == 0 && fg_ring_peek(ring, &seen, 3) == 0);
    CHECK(fg_ring_push(ring, items, 0) == 0 && fg_ring_push(ring, items, 3) == 2 && fg_ring_push(ring, items, 1) == 0);
    CHECK(fg_ring_count(ring) == 2 && fg_ring_pop(ring, out, 1) == 1 && out[0] == 7);
    CHECK(fg_ring_offer(ring, items + 2, 1) == 1 && fg_ring_offer(ring, items, 1) == 0);
    CHECK(fg_ring_peek(ring, &seen, 3) == 1 && seen[0] == 8); /* 9 is at the other end of the memory */
    fg_ring_skip(ring, 1);
    CHECK(!fg_ring_is_closed(ring) && fg_ring_close(ring) && !fg_ring_close(ring) && fg_ring_is_closed(ring));
    CHECK(fg_ring_push(ring, items, 1) == 0 && fg_ring_offer(ring, items, 1) == 0 && fg_ring_count(ring) == 1);
    CHECK(!fg_ring_is_drained(ring) && fg_ring_pop(ring, out, 3) == 1 && out[0] == 9 && fg_ring_is_drained(ring));
    CHECK(fg_ring_count(ring) == 0);
    free(ring);

    ring = ring_of(1, 3);
    uint64_t triple[3];
    CHECK(fg_ring_push(ring, items, 1) == 1 && fg_ring_pop(ring, triple, 1) == 1 && triple[2] == 9);
    free(ring);

    ring = ring_of(4, 1); /* across 2^32 */
    fg_store_relaxed(&ring->producer.position, UINT32_MAX), fg_store_relaxed(&ring->consumer.position, UINT32_MAX);
    ring->producer.seen = ring->consumer.seen = UINT32_MAX;
    CHECK(fg_ring_push(ring, items, 3) == 3 && fg_ring_count(ring) == 3);
    CHECK(fg_ring_pop(ring, out, 3) == 3 && out[0] == 7 && out[1] == 8 && out[2] == 9);
    free(ring);

    CHECK(fg_ring_bytes(8, 3) == 192 && fg_ring_bytes(SIZE_MAX / 16 + 1, 2) == 0 && sizeof(fg_ring) == 256);
}

typedef struct stream {
    fg_ring *ring;
    size_t capacity, words, batch, items;
    bool offers;      /* and is closed by a third thread */
    fg_atomic pushed; /* what the producer got in before the close */
    fg_atomic done;
} stream;

static void produce(stream *stream) {
    uint64_t items[BATCH_MAX * WORDS_MAX], next = 0;
    while (next < stream->items) {
        size_t count = below((uint32_t)stream->batch) + 1;
        if (count > stream->items - next) count = stream->items - next;
        for (size_t i = 0; i < count; i++)
            for (size_t word = 0; word < stream->words; word++)
                items[i * stream->words + word] = (next + i) * (word + 1);
        size_t const pushed = (stream->offers ? fg_ring_offer : fg_ring_push)(stream->ring, items, count);
        next += pushed;
        if (!pushed && fg_ring_is_closed(stream->ring)) break;
        if (!pushed) sched_yield();
    }
    fg_store_release(&stream->pushed, next);
    if (!stream->offers) CHECK(fg_ring_close(stream->ring));
}

static void consume(stream *stream) {
    uint64_t copied[BATCH_MAX * WORDS_MAX], next = 0;
    while (!fg_ring_is_drained(stream->ring)) {
        size_t const limit = below((uint32_t)stream->batch) + 1;
        bool const peeks = below(2);
        uint64_t const *items = copied;
        size_t const count =
            peeks ? fg_ring_peek(stream->ring, &items, limit) : fg_ring_pop(stream->ring, copied, limit);
        CHECK(count <= limit);
        for (size_t i = 0; i < count; i++)
            for (size_t word = 0; word < stream->words; word++)
                CHECK(items[i * stream->words + word] == (next + i) * (word + 1));
        next += count;
        if (peeks && count) fg_ring_skip(stream->ring, count);
        if (!count) sched_yield();
    }
    CHECK(fg_ring_pop(stream->ring, copied, 1) == 0);
    fg_store_release(&stream->done, next + 1);
}

static void watch(stream *stream) {
    uint32_t const patience = below(100);
    for (uint32_t looks = 0; !fg_load_acquire(&stream->done); looks++) {
        CHECK(fg_ring_count(stream->ring) <= stream->capacity);
        if (stream->offers && looks >= patience) {
            fg_ring_close(stream->ring);
            CHECK(fg_ring_is_closed(stream->ring));
        }
        sched_yield();
    }
}

static void run_stream(void *shared, int number) {
    void (*const roles[])(stream *) = {produce, consume, watch};
    roles[number](shared);
}

static void check_stream(stream setup) {
    setup.ring = ring_of(setup.capacity, setup.words);
    fg_store_relaxed(&setup.pushed, 0), fg_store_relaxed(&setup.done, 0);
    on_threads(3, run_stream, &setup);
    CHECK(fg_load_acquire(&setup.done) == fg_load_acquire(&setup.pushed) + 1);
    free(setup.ring);
}

static double best(double (*measure)(fg_ring *, size_t), fg_ring *ring, size_t batch) {
    double least = 1;
    for (int round = 0; round < 41; round++) {
        double const took = measure(ring, batch);
        if (took < least) least = took;
    }
    return least * 1e9;
}

/** Seconds an item, pushed and popped by one thread in turns. */
static double ping_pong(fg_ring *ring, size_t batch) {
    enum { ITEMS = 1 << 20 };
    uint64_t items[BATCH_MAX] = {1}, sum = 0;
    double const began = seconds();
    for (size_t i = 0; i < ITEMS; i += batch) {
        items[0] = i;
        fg_ring_push(ring, items, batch);
        sum += fg_ring_pop(ring, items, batch);
    }
    double const took = (seconds() - began) / ITEMS;
    CHECK(sum == ITEMS);
    return took;
}

static double ping_pong_offer(fg_ring *ring, size_t batch) {
    enum { ITEMS = 1 << 20 };
    uint64_t items[BATCH_MAX] = {1}, sum = 0;
    double const began = seconds();
    for (size_t i = 0; i < ITEMS; i += batch) {
        items[0] = i;
        fg_ring_offer(ring, items, batch);
        sum += fg_ring_pop(ring, items, batch);
    }
    double const took = (seconds() - began) / ITEMS;
    CHECK(sum == ITEMS);
    return took;
}

static void bench(void) {
    fg_ring *const ring = ring_of(1024, 1);
    for (size_t batch = 1; batch <= BATCH_MAX; batch *= 8) {
        double const pushes = best(ping_pong, ring, batch), offers = best(ping_pong_offer, ring, batch);
        printf("batch %2zu: push and pop %6.3f ns an item, %7.1f M items/s; offer and pop %6.3f ns\n", batch, pushes,
               1e3 / pushes, offers);
    }
    free(ring);
    for (size_t batch = 1; batch <= BATCH_MAX; batch *= 8) {
        size_t const items = cases(20000000);
        double const began = seconds();
        check_stream((stream){.capacity = 1024, .words = 1, .batch = 2 * batch - 1, .items = items});
        printf("two threads and a third that counts, batches of %2zu: %.2f ns an item\n", batch,
               (seconds() - began) / (double)items * 1e9);
    }
}

int main(int count, char **arguments) {
    if (count > 1 && strcmp(arguments[1], "bench") == 0) {
        bench();
        return 0;
    }
    check_literals();
    size_t const items = cases(80000), capacities[] = {1, 2, 8, 1024};
    size_t operations = 0, closings = 0;
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++)
        for (int noisy = 0; noisy < 2; noisy++) {
            size_t const capacity = capacities[i], share = noisy || capacity < 8 ? items / 16 : items;
            yield_every = noisy ? 8 : 0;
            check_stream(
                (stream){.capacity = capacity, .words = 1 + i % 3, .batch = capacity > 8 ? 64 : 3, .items = share});
            operations += 2 * share; /* an item is pushed and popped */
        }
    for (; closings < items / 400; closings++) {
        yield_every = closings % 2 ? 4 : 0;
        check_stream(
            (stream){.capacity = closings % 3 ? 2 : 64, .words = 1, .batch = 3, .items = SIZE_MAX, .offers = true});
    }
    printf("ring: %zu operations and %zu closings ok\n", operations, closings);
    return 0;
}

/* What runs the harnesses where there is no libFuzzer: seeds and tokens, mutated at random, for so many seconds.
 *
 * It does not see which code an input reaches; the harnesses make up for that by checking every answer against another
 * way to compute it. Each input stands in a block of exactly its size (ASan sees every byte read beyond) and, before it
 * runs, in the file --last, mapped into memory, where it still is after a crash; its length is in the last eight bytes.
 *
 *   program --seconds 5 --seed 1 --last crash [--dict words] seed-file ...
 *   program --repeat crash
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { USUAL = 1024, LARGE = 32768, MAX_SEEDS = 4096, MAX_WORDS = 512 };
typedef struct { uint8_t *p; size_t n; } piece;

static piece seeds[MAX_SEEDS], words[MAX_WORDS];
static size_t n_seeds, n_words;
static uint64_t state;

static uint64_t next(void) { /* splitmix64 */
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
static size_t below(size_t n) { return n ? (size_t)(next() % n) : 0; }

static piece read_file(const char *path) {
    piece f = {malloc(1 << 20), 0};
    FILE *h = fopen(path, "rb");
    if (!h || !f.p) {
        perror(path);
        exit(2);
    }
    f.n = fread(f.p, 1, 1 << 20, h);
    fclose(h);
    return f;
}

/* libFuzzer's format: lines  name="bytes"  or  "bytes", with \\, \" and \xAB; # begins a comment. */
static void read_words(const char *path) {
    piece f = read_file(path);
    size_t i = 0;
    while (i < f.n && n_words < MAX_WORDS) {
        size_t end = i;
        while (end < f.n && f.p[end] != '\n') end++;
        size_t from = i;
        while (from < end && f.p[from] != '"' && f.p[from] != '#') from++;
        if (from < end && f.p[from] == '"') {
            piece w = {malloc(end - from + 1), 0};
            for (size_t k = from + 1; k < end && f.p[k] != '"'; k++) {
                if (f.p[k] == '\\' && k + 3 < end && f.p[k + 1] == 'x') {
                    char hex[3] = {(char)f.p[k + 2], (char)f.p[k + 3], 0};
                    w.p[w.n++] = (uint8_t)strtoul(hex, NULL, 16);
                    k += 3;
                } else {
                    if (f.p[k] == '\\') k++;
                    w.p[w.n++] = f.p[k];
                }
            }
            words[n_words++] = w;
        }
        i = end + 1;
    }
    free(f.p);
}

static uint8_t a_byte(void) {
    static const uint8_t odd[] = {0, 1, 7, 8, 9, 10, 13, 31, 32, 34, 44, 64, 127, 128, 191, 192, 224, 237, 240, 244, 255};
    return next() & 1 ? odd[below(sizeof odd)] : (uint8_t)next();
}

static size_t insert(uint8_t *b, size_t n, size_t cap, size_t at, const uint8_t *p, size_t len) {
    if (len > cap - n) len = cap - n;
    memmove(b + at + len, b + at, n - at);
    memcpy(b + at, p, len);
    return n + len;
}

static size_t mutate(uint8_t *b, size_t n, size_t cap) {
    static uint8_t copy[LARGE];
    size_t at = below(n + 1), len = 1 + below(next() & 3 ? 8 : 200);
    if (len > n - at) len = n - at;
    switch (below(n_words ? 12 : 8)) {
    case 0: if (n) b[below(n)] ^= (uint8_t)(1u << below(8)); break;
    case 1: if (n) b[below(n)] = a_byte(); break;
    case 2: {
        uint8_t c = a_byte();
        n = insert(b, n, cap, at, &c, 1);
        break;
    }
    case 3: /* take some away */
        memmove(b + at, b + at + len, n - at - len);
        n -= len;
        break;
    case 4: /* a part of it, elsewhere once more */
    case 5:
        memcpy(copy, b + at, len);
        n = insert(b, n, cap, below(n + 1), copy, len);
        break;
    case 6: { /* a part of it, many times over */
        memcpy(copy, b + at, len);
        for (size_t k = below(200); k-- && len;) n = insert(b, n, cap, at, copy, len);
        break;
    }
    case 7: { /* a part of another seed */
        if (!n_seeds) break;
        piece s = seeds[below(n_seeds)];
        size_t from = below(s.n + 1), part = below(s.n - from + 1);
        n = insert(b, n, cap, at, s.p + from, part);
        break;
    }
    default: {
        piece w = words[below(n_words)];
        if (w.n && w.n <= n - at && next() & 1)
            memcpy(b + at, w.p, w.n);
        else
            n = insert(b, n, cap, at, w.p, w.n);
    }
    }
    return n;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void one(const uint8_t *p, size_t n) {
    uint8_t *exact = malloc(n ? n : 1);
    if (n) memcpy(exact, p, n);
    LLVMFuzzerTestOneInput(n ? exact : exact + 1, n);
    free(exact);
}

int main(int argc, char **argv) {
    static uint8_t b[LARGE];
    double seconds = 1;
    const char *last = NULL;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--seconds")) seconds = atof(value), i++;
        else if (!strcmp(argv[i], "--seed")) state = strtoull(value, NULL, 10), i++;
        else if (!strcmp(argv[i], "--last")) last = value, i++;
        else if (!strcmp(argv[i], "--dict")) read_words(value), i++;
        else if (!strcmp(argv[i], "--repeat")) {
            piece f = read_file(value);
            one(f.p, f.n);
            free(f.p);
            return 0;
        } else if (n_seeds < MAX_SEEDS) seeds[n_seeds++] = read_file(argv[i]);
    }
    int fd = last ? open(last, O_RDWR | O_CREAT | O_TRUNC, 0644) : -1;
    uint8_t *saved = NULL;
    if (fd >= 0 && ftruncate(fd, LARGE + 8) == 0)
        saved = mmap(NULL, LARGE + 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (saved == MAP_FAILED) saved = NULL;
    double end = now() + seconds;
    unsigned long runs = 0;
    for (size_t i = 0; i < n_seeds; i++, runs++) one(seeds[i].p, seeds[i].n);
    for (; now() < end; runs++) {
        size_t cap = below(50) ? USUAL : LARGE, n = 0;
        if (n_seeds && below(8)) {
            piece s = seeds[below(n_seeds)];
            n = s.n < cap ? s.n : cap;
            memcpy(b, s.p, n);
        } else { /* from nothing: noise, or tokens one after another */
            size_t want = below(next() & 3 ? 64 : cap);
            int noise = !n_words || below(4) == 0;
            while (n < want) {
                uint8_t c = a_byte();
                piece w = {&c, 1};
                if (!noise && below(8)) w = words[below(n_words)];
                n = insert(b, n, cap, n, w.p, w.n);
                if (!w.n) want--;
            }
        }
        for (size_t k = below(next() & 1 ? 4 : 40); k--;) n = mutate(b, n, cap);
        if (saved) {
            uint64_t size = n;
            memcpy(saved, b, n);
            memcpy(saved + LARGE, &size, 8);
        }
        one(b, n);
    }
    for (size_t i = 0; i < n_seeds; i++) free(seeds[i].p);
    for (size_t i = 0; i < n_words; i++) free(words[i].p);
    printf("%lu inputs\n", runs);
    return 0;
}

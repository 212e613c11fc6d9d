/* The only allocator of the kernels, and the growing byte buffers made with it. */
#include "mg.h"

#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#define HUGE ((size_t)2 << 20)

void *mg_alloc(size_t n) {
    void *p = NULL;
    int large = n >= 4 * HUGE;
    if (n > SIZE_MAX - HUGE) return NULL;
    if (posix_memalign(&p, large ? HUGE : 64, n ? n : 1) != 0) return NULL;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (large) (void)madvise(p, n, MADV_HUGEPAGE); /* random access over 4 KiB pages costs more in TLB misses than in work */
#endif
    return p;
}

void *mg_realloc(void *p, size_t old_n, size_t n) {
    void *q = mg_alloc(n);
    if (!q) return NULL;
    if (p) {
        memcpy(q, p, old_n < n ? old_n : n);
        free(p);
    }
    return q;
}

void mg_free(void *p) { free(p); }

void mg_buf_init(mg_buf *b) {
    b->data = NULL;
    b->len = b->cap = 0;
}

void mg_buf_free(mg_buf *b) {
    mg_free(b->data);
    mg_buf_init(b);
}

mg_status mg_buf_reserve(mg_buf *b, size_t more) {
    if (b->cap - b->len >= more) return MG_OK;
    if (more > SIZE_MAX / 2 - b->len) return MG_NOMEM;
    size_t cap = b->cap ? b->cap : 256;
    while (cap < b->len + more) cap *= 2;
    uint8_t *q = mg_realloc(b->data, b->len, cap);
    if (!q) return MG_NOMEM;
    b->data = q;
    b->cap = cap;
    return MG_OK;
}

mg_status mg_buf_put(mg_buf *b, const void *p, size_t n) {
    mg_status st = mg_buf_reserve(b, n);
    if (st != MG_OK) return st;
    if (n) memcpy(b->data + b->len, p, n);
    b->len += n;
    return MG_OK;
}

void mg_batch_init(mg_batch *b) { memset(b, 0, sizeof *b); }

void mg_batch_free(mg_batch *b) {
    mg_free(b->rows);
    mg_free(b->fields);
    mg_batch_init(b);
}

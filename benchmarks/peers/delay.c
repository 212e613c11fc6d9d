/* A TCP proxy that hands on whatever comes half a round trip later: delay PORT MICROSECONDS. Prints the port it listens on.
 * One thread, ppoll: it copies some GB/s, so that it is the delay that is measured and not the proxy. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 512, PIECE = 1 << 16, HELD = 1 << 23 };

struct piece {
    struct piece *next;
    long long due; /* nanoseconds */
    size_t at, size;
    char data[];
};

struct way { /* one direction: what was read from `in` waits to be written to `out` */
    int in, out;
    size_t held;
    struct piece *first, *last;
};

static struct way ways[2 * MOST];
static int count;

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void end_pair(int i) {
    int pair = i & ~1;
    close(ways[pair].in);
    close(ways[pair].out);
    for (int w = pair; w < pair + 2; w++) {
        for (struct piece *p = ways[w].first, *next; p; p = next) {
            next = p->next;
            free(p);
        }
    }
    count -= 2;
    ways[pair] = ways[count];
    ways[pair + 1] = ways[count + 1];
}

static int start(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    int port = atoi(argv[1]), one = 1;
    long long delay = atoll(argv[2]) * 1000;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof here;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&here, length) || listen(listener, 128)) return 1;
    getsockname(listener, (struct sockaddr *)&here, &length);
    printf("%d\n", ntohs(here.sin_port));
    fflush(stdout);
    static struct pollfd polled[1 + 4 * MOST];
    for (;;) {
        long long time = now(), soonest = -1;
        polled[0] = (struct pollfd){listener, POLLIN, 0};
        for (int i = 0; i < count; i++) {
            struct way *way = &ways[i];
            long long wait = way->first ? way->first->due - time : -1;
            polled[1 + 2 * i] = (struct pollfd){way->held < HELD ? way->in : -1, POLLIN, 0};
            polled[2 + 2 * i] = (struct pollfd){way->first && wait <= 0 ? way->out : -1, POLLOUT, 0};
            if (wait > 0 && (soonest < 0 || wait < soonest)) soonest = wait;
        }
        struct timespec pause = {soonest / 1000000000, soonest % 1000000000};
        if (ppoll(polled, 1 + 2 * count, soonest < 0 ? NULL : &pause, NULL) < 0 && errno != EINTR) return 1;
        int many = count;
        for (int i = many - 1; i >= 0; i--) {
            struct way *way = &ways[i];
            int bad = 0;
            if (polled[1 + 2 * i].revents) {
                struct piece *p = malloc(sizeof *p + PIECE);
                ssize_t n = recv(way->in, p->data, PIECE, MSG_DONTWAIT);
                if (n > 0) {
                    p = realloc(p, sizeof *p + n);
                    *p = (struct piece){NULL, now() + delay, 0, n};
                    if (way->first) way->last->next = p; else way->first = p;
                    way->last = p;
                    way->held += n;
                } else {
                    free(p);
                    bad = n == 0 || (errno != EAGAIN && errno != EINTR);
                }
            }
            while (!bad && way->first && way->first->due <= now()) {
                struct piece *p = way->first;
                ssize_t n = send(way->out, p->data + p->at, p->size - p->at, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (n < 0) {
                    bad = errno != EAGAIN && errno != EINTR;
                    break;
                }
                p->at += n;
                if (p->at < p->size) break;
                way->held -= p->size;
                way->first = p->next;
                free(p);
            }
            if (bad) { /* the pair's other way is looked at in the next turn */
                end_pair(i);
                break;
            }
        }
        if (polled[0].revents && count < 2 * MOST) {
            int client = accept(listener, NULL, NULL), server = client < 0 ? -1 : start(port);
            if (server < 0) {
                if (client >= 0) close(client);
                continue;
            }
            setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            ways[count++] = (struct way){client, server, 0, NULL, NULL};
            ways[count++] = (struct way){server, client, 0, NULL, NULL};
        }
    }
}

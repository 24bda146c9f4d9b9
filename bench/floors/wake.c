/* The floor under every client: connect, ask, then nothing but read(2) and a stamp.
 *
 * Arguments: host port path [CA file]. With a CA file and -DWITH_TLS the same over OpenSSL. Standard output:
 * `connected` at the first wake; on SIGTERM one JSON line {"kind": "wake", "wakes": [[n, t_ns], ...]}, CLOCK_MONOTONIC. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/ssl.h>
static SSL *tls;
#endif

#define MOST (1 << 16)
static volatile sig_atomic_t stop;
static int64_t stamps[MOST];

static void on_term(int number) { (void)number; stop = 1; }

static void die(const char *what) {
    printf("{\"failed\": \"%s: %s\"}\n", what, strerror(errno));
    exit(1);
}

static ssize_t receive(int fd, char *into, size_t room) {
#ifdef WITH_TLS
    if (tls) return SSL_read(tls, into, (int)room);
#endif
    return read(fd, into, room);
}

static void transmit(int fd, const char *what, size_t size) {
#ifdef WITH_TLS
    if (tls) { if (SSL_write(tls, what, (int)size) <= 0) die("SSL_write"); return; }
#endif
    if (send(fd, what, size, 0) != (ssize_t)size) die("send");
}

int main(int count, char **arguments) {
    if (count < 4) return 64;
    struct sigaction action = {.sa_handler = on_term}; /* no SA_RESTART: read must end */
    sigaction(SIGTERM, &action, NULL);
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[2]))};
    if (inet_pton(AF_INET, arguments[1], &peer.sin_addr) != 1) die("address");
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&peer, sizeof peer)) die("connect");
    if (count > 4) {
#ifdef WITH_TLS
        SSL_CTX *context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_load_verify_locations(context, arguments[4], NULL);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
        tls = SSL_new(context);
        SSL_set_fd(tls, fd);
        if (SSL_connect(tls) != 1) die("SSL_connect");
#else
        printf("{\"unavailable\": \"built without OpenSSL's headers\"}\n");
        return 0;
#endif
    }
    char request[512];
    int size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n",
                        arguments[3], arguments[1]);
    transmit(fd, request, (size_t)size);
    static char buffer[65536];
    int wakes = 0, connected = 0;
    while (!stop && wakes < MOST) {
        ssize_t got = receive(fd, buffer, sizeof buffer - 1);
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (got <= 0) { if (stop) break; die("read"); }
        stamps[wakes++] = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
        if (!connected) {
            buffer[got] = 0;
            if (strstr(buffer, "data:")) { connected = 1; puts("connected"); fflush(stdout); }
        }
    }
    printf("{\"kind\": \"wake\", \"wakes\": [");
    for (int n = 0; n < wakes; n++) printf("%s[%d, %lld]", n ? ", " : "", n, (long long)stamps[n]);
    puts("]}");
    return 0;
}

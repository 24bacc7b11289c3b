/*
 * The load generator: plays many WebSocket clients on 127.0.0.1 in one thread.
 *
 *   cc -O2 -o load load.c -lssl -lcrypto
 *   load ingest    --port P --count N --size S --connections C
 *   load echo      --port P --count N --size S --connections C --depth D
 *   load connect   --port P --count N --connections C
 *   load broadcast --port P --count ROUNDS --size S --connections C
 *   load listen    --port P --count N --connections C
 *   load idle      --port P --connections C
 *
 * It prints one line of JSON, or one line that says what went wrong, with
 * status 1. `count` is how many messages (connections, messages received) were
 * done in `seconds`, `load_cpu` the CPU time that this program took for it.
 * `listen` says nothing: others publish, N messages to each connection, and
 * it begins with the first one once all are open. A message that begins with the nanoseconds
 * of CLOCK_MONOTONIC, 20 digits, says when it was published; 0 is not counted as
 * a latency. With several ports connections take turns; with --apart each has a
 * path of its own, its number behind the others' path. This program must never be what limits a measurement: frames are built once, sent in large
 * writes, and of the answers only the headers are looked at.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };
enum { NORMAL = 1000, MOST_OPENING = 64, READ_SIZE = 256 * 1024, BLOCK_SIZE = 256 * 1024 };
enum { LONGEST_HEAD = 16 * 1024, STAMP = 20, MOST_PORTS = 8 };

/* What one connection does at the moment. */
enum stage { UNUSED, CONNECTING, SECURING, UPGRADING, OPEN, CLOSING, OVER };

/* What all of them together do. */
enum phase { ALL_OPENING, READY, WORKING, DONE, ALL_CLOSING };

struct connection {
    int fd;
    enum stage stage;
    SSL *ssl;
    uint32_t events;

    /* The frame that is being read. */
    unsigned char header[10];
    unsigned header_has;
    uint64_t length, at;
    /* Of a control frame, or of a message to a listener its beginning. */
    unsigned char control[125];

    /* The answer to the opening handshake. */
    char *head;
    size_t head_has;

    /* Frames to send: octets of the endless repetition of `block`. */
    uint64_t sent, due;
    /* What is to be sent between two frames: the request, a pong, the close frame. */
    unsigned char extra[512];
    size_t extra_has, extra_sent;
    bool close_wanted, close_sent;

    /* When each message in flight was sent, a ring of `depth`. */
    uint64_t *times;
    uint64_t asked, answered;
};

struct work {
    const char *name;
    void (*begin)(void);
    void (*message)(struct connection *);
    void (*closed)(struct connection *);
};

static struct options {
    int ports[MOST_PORTS];
    uint64_t count, size;
    unsigned connections, depth, port_count;
    const char *path, *deflate, *save;
    bool tls, binary, check, pause, apart;
    double timeout;
} options = {.count = 1000, .size = 16, .connections = 1, .depth = 1, .path = "/", .timeout = 60};

static const struct work *work;
static void echoed(struct connection *);
static void heard(struct connection *);
static void begin(void);
static enum phase phase;
static struct connection *connections;
static int poller;
static SSL_CTX *tls;
static unsigned opening, opened, started, over;
static bool unattended, told, input_ended;
static uint64_t deadline, began, cpu_began, ended, now;
static uint64_t asked, done, octets, compressed;

/* The frames to send, all of one length, each with a mask of its own. */
static unsigned char *payload, *block;
static uint64_t frame_length, block_length;

static unsigned char *saved;
static uint64_t saved_has;
static bool saving;

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void *allocate(size_t size) {
    void *made = calloc(1, size);
    if (!made) fail("no memory");
    return made;
}

static uint64_t clock_read(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t clock_now(void) {
    return clock_read(CLOCK_MONOTONIC);
}

/* The same in each run, so that each server gets the same octets. */
static uint32_t random_bits(void) {
    static uint64_t state = 0x9e3779b97f4a7c15u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

/* ---- Latencies: buckets, 32 for each power of two nanoseconds ---- */

static uint64_t latencies[64 * 32];

static void record(uint64_t nanoseconds) {
    unsigned bits = nanoseconds < 32 ? 5 : 63 - (unsigned)__builtin_clzll(nanoseconds);
    unsigned part = (unsigned)(nanoseconds >> (bits - 5));
    /* From 32 on, the topmost of these six bits is set: it need not be kept. */
    latencies[nanoseconds < 32 ? part : (bits - 4) * 32 + (part & 31)]++;
}

/* Microseconds, to 3 % below. */
static double percentile(double part) {
    uint64_t total = 0, so_far = 0;
    for (unsigned i = 0; i < 64 * 32; i++) total += latencies[i];
    for (unsigned i = 0; i < 64 * 32; i++) {
        so_far += latencies[i];
        if (so_far && (double)so_far >= part * (double)total)
            return (double)(i < 32 ? i : (32 + (uint64_t)(i % 32)) << (i / 32 - 1)) / 1000;
    }
    return 0;
}

/* ---- Frames ---- */

static size_t make_header(unsigned char *to, unsigned first, uint64_t length) {
    to[0] = (unsigned char)first;
    if (length < 126) {
        to[1] = (unsigned char)(0x80 | length);
        return 2;
    }
    unsigned wide = length < 65536 ? 2 : 8;
    to[1] = wide == 2 ? 0x80 | 126 : 0x80 | 127;
    for (unsigned i = 0; i < wide; i++) to[2 + i] = (unsigned char)(length >> 8 * (wide - 1 - i));
    return 2 + wide;
}

static size_t make_frame(unsigned char *to, unsigned first, const unsigned char *data, uint64_t n) {
    size_t head = make_header(to, first, n);
    uint32_t mask = random_bits();
    memcpy(to + head, &mask, 4);
    for (uint64_t i = 0; i < n; i++) to[head + 4 + i] = data[i] ^ to[head + i % 4];
    return head + 4 + n;
}

static void read_payload(void) {
    FILE *file = fopen(options.deflate, "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail("cannot read %s", options.deflate);
    options.size = (uint64_t)ftell(file);
    rewind(file);
    payload = allocate(options.size + 1);
    if (fread(payload, 1, options.size, file) != options.size)
        fail("cannot read %s", options.deflate);
    fclose(file);
}

static void make_frames(void) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";
    if (options.deflate) {
        read_payload();
    } else {
        payload = allocate(options.size + 1);
        for (uint64_t i = 0; i < options.size; i++)
            payload[i] = (unsigned char)letters[random_bits() & 63];
    }
    unsigned first = 0x80 | (options.binary ? BINARY : TEXT) | (options.deflate ? 0x40 : 0);
    uint64_t longest = options.size + 14, frames = BLOCK_SIZE / longest + 1;
    block = allocate(frames * longest);
    for (uint64_t i = 0; i < frames; i++) {
        frame_length = make_frame(block + block_length, first, payload, options.size);
        block_length += frame_length;
    }
}

/* ---- Sending ---- */

static void watch(struct connection *c, uint32_t events) {
    if (c->events == events) return;
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event))
        fail("epoll_ctl: %s", strerror(errno));
    c->events = events;
}

static void lost(struct connection *c, const char *how) {
    static const char *const doing[] = {
        [CONNECTING] = "it connected", [SECURING] = "the TLS handshake was done",
        [UPGRADING] = "the opening handshake was done", [OPEN] = "the work was done",
        [CLOSING] = "it was closed with a close frame"};
    fail("a connection ended before %s: %s", doing[c->stage], how);
}

/* How many octets went; 0 if none can go now. */
static size_t send_some(struct connection *c, const void *data, size_t size) {
    if (c->ssl) {
        size_t went;
        ERR_clear_error();
        int result = SSL_write_ex(c->ssl, data, size, &went);
        if (result == 1) return went;
        int error = SSL_get_error(c->ssl, result);
        if (error != SSL_ERROR_WANT_WRITE && error != SSL_ERROR_WANT_READ) lost(c, "TLS failed");
        return 0;
    }
    ssize_t went = send(c->fd, data, size, MSG_NOSIGNAL);
    if (went >= 0) return (size_t)went;
    if (errno != EAGAIN) lost(c, strerror(errno));
    return 0;
}

static void flush(struct connection *c) {
    uint64_t enough = c->sent + BLOCK_SIZE;
    while (true) {
        uint64_t in_frame = frame_length ? c->sent % frame_length : 0;
        uint64_t stop = c->due;
        if (c->extra_has && in_frame) stop = c->sent + frame_length - in_frame;
        size_t went;
        if (c->extra_has && !in_frame) {
            went = send_some(c, c->extra + c->extra_sent, c->extra_has - c->extra_sent);
            c->extra_sent += went;
            if (c->extra_sent == c->extra_has) c->extra_has = c->extra_sent = 0;
        } else if (c->sent < stop) {
            uint64_t from = c->sent % block_length, size = stop - c->sent;
            if (size > block_length - from) size = block_length - from;
            went = send_some(c, block + from, size);
            c->sent += went;
        } else if (c->close_wanted && !c->close_sent) {
            static const unsigned char code[2] = {NORMAL >> 8, NORMAL & 255};
            c->extra_has = make_frame(c->extra, 0x80 | CLOSE, code, 2);
            c->close_sent = true;
            c->stage = CLOSING;
            continue;
        } else {
            watch(c, EPOLLIN);
            return;
        }
        /* A server that reads as fast as we write would keep us here. */
        if (!went || c->sent > enough) {
            watch(c, EPOLLIN | EPOLLOUT);
            return;
        }
    }
}

static void say_goodbye(struct connection *c) {
    c->close_wanted = true;
    flush(c);
}

static void send_messages(struct connection *c, uint64_t count) {
    for (uint64_t i = 0; c->times && i < count; i++) c->times[(c->asked + i) % options.depth] = now;
    c->asked += count;
    asked += count;
    c->due += count * frame_length;
}

/* ---- One connection's life ---- */

static unsigned place(const struct connection *c) {
    return (unsigned)(c - connections);
}

static int port_of(const struct connection *c) {
    return options.ports[place(c) % options.port_count];
}

static void dial(struct connection *c) {
    memset(c, 0, sizeof *c);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail("socket: %s", strerror(errno));
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port_of(c))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->stage = CONNECTING;
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
        lost(c, strerror(errno));
    watch(c, EPOLLOUT);
    opening++;
    started++;
}

static void hang_up(struct connection *c) {
    if (c->ssl) SSL_free(c->ssl);
    close(c->fd);
    free(c->head);
    free(c->times);
    c->ssl = NULL;
    c->head = NULL;
    c->times = NULL;
    c->stage = OVER;
}

static void ask(struct connection *c) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    /* As browsers offer it. */
    static const char offer[] =
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    char key[25] = "AAAAAAAAAAAAAAAAAAAAAA==";
    for (unsigned i = 0; i < 21; i++) key[i] = letters[random_bits() & 63];
    char own[16] = "";
    if (options.apart) snprintf(own, sizeof own, "%u", place(c));
    int length = snprintf(
        (char *)c->extra, sizeof c->extra,
        "GET %s%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
        options.path, own, port_of(c), key, options.deflate ? offer : "");
    if (length >= (int)sizeof c->extra) fail("the path is too long");
    c->extra_has = (size_t)length;
    c->stage = UPGRADING;
    c->head = allocate(LONGEST_HEAD + 1);
    flush(c);
}

static void secure(struct connection *c) {
    ERR_clear_error();
    int result = SSL_connect(c->ssl);
    if (result == 1) {
        ask(c);
        return;
    }
    int error = SSL_get_error(c->ssl, result);
    if (error == SSL_ERROR_WANT_READ) watch(c, EPOLLIN);
    else if (error == SSL_ERROR_WANT_WRITE) watch(c, EPOLLOUT);
    else lost(c, "TLS failed");
}

static void connected(struct connection *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) lost(c, strerror(error));
    if (!tls) {
        ask(c);
        return;
    }
    c->stage = SECURING;
    c->ssl = SSL_new(tls);
    if (!c->ssl || !SSL_set_fd(c->ssl, c->fd)) fail("no memory for TLS");
    secure(c);
}

/* How many octets of what was read belong to the answer to the handshake. */
static size_t read_head(struct connection *c, const char *data, size_t size) {
    size_t before = c->head_has, room = LONGEST_HEAD - before;
    memcpy(c->head + before, data, size < room ? size : room);
    c->head_has += size < room ? size : room;
    c->head[c->head_has] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) {
        if (c->head_has == LONGEST_HEAD) fail("the answer to the opening handshake has no end");
        return size;
    }
    size_t used = (size_t)(end - c->head) + 4 - before;
    *end = 0;
    if (strncmp(c->head, "HTTP/1.1 101 ", 13))
        fail("refused: %.*s", (int)strcspn(c->head, "\r\n"), c->head);
    if (!strcasestr(c->head, "\r\nsec-websocket-accept:"))
        fail("an answer without Sec-WebSocket-Accept");
    if (options.deflate && !strcasestr(c->head, "permessage-deflate"))
        fail("the server does not compress");
    free(c->head);
    c->head = NULL;
    c->stage = OPEN;
    if (work->message == echoed) c->times = allocate(options.depth * sizeof *c->times);
    opening--;
    opened++;
    return used;
}

/* ---- Reading frames ---- */

static void expect(const struct connection *c) {
    unsigned opcode = c->header[0] & 15;
    if (!(c->header[0] & 0x80)) fail("a fragment, which no server here has a reason to send");
    if (c->header[1] & 0x80) fail("a masked frame");
    if (opcode >= CLOSE) {
        if (c->length > sizeof c->control) fail("a control frame of %" PRIu64 " octets", c->length);
        if (opcode > PONG) fail("a frame with opcode %u", opcode);
        return;
    }
    if (opcode != TEXT && opcode != BINARY) fail("a frame with opcode %u", opcode);
    if (c->header[0] & 0x30 || (c->header[0] & 0x40 && !options.deflate))
        fail("a frame with reserved bits");
    if (work->message == echoed) {
        if (opcode != (options.binary ? BINARY : TEXT)) fail("an answer with opcode %u", opcode);
        if (!options.deflate && c->length != options.size)
            fail("an answer of %" PRIu64 " octets to one of %" PRIu64, c->length, options.size);
    }
}

static void take(struct connection *c, const unsigned char *data, size_t size) {
    if (c->header[0] & 8) {
        memcpy(c->control + c->at, data, size);
        return;
    }
    octets += size;
    if (work->message == heard && c->at < STAMP)
        memcpy(c->control + c->at, data, size < STAMP - c->at ? size : STAMP - c->at);
    if (options.check && (c->at + size > options.size || memcmp(payload + c->at, data, size)))
        fail("an answer that is not what was sent");
    if (saving && c == connections) {
        saved = realloc(saved, saved_has + size);
        if (!saved) fail("no memory");
        memcpy(saved + saved_has, data, size);
        saved_has += size;
    }
}

static void save(void) {
    FILE *file = fopen(options.save, "wb");
    if (!file || fwrite(saved, 1, saved_has, file) != saved_has || fclose(file))
        fail("cannot write %s", options.save);
    saving = false;
}

static void frame_read(struct connection *c) {
    unsigned opcode = c->header[0] & 15;
    if (opcode == PING) {
        /* One at a time: an answer to the last one answers all. */
        if (!c->extra_has) c->extra_has = make_frame(c->extra, 0x80 | PONG, c->control, c->length);
        flush(c);
    } else if (opcode == CLOSE) {
        unsigned code = c->length >= 2 ? c->control[0] * 256u + c->control[1] : 1005;
        if (!c->close_sent) fail("closed early, with %u", code);
        if (code != NORMAL) fail("the close was answered with %u", code);
        c->stage = OVER;
        work->closed(c);
    } else if (opcode != PONG) {
        if (c->header[0] & 0x40) compressed++;
        if (saving && c == connections) save();
        work->message(c);
    }
}

static unsigned header_needs(const struct connection *c) {
    unsigned word = c->header_has < 2 ? 0 : c->header[1] & 127;
    return word == 127 ? 10 : word == 126 ? 4 : 2;
}

static void parse(struct connection *c, const unsigned char *data, size_t size) {
    while (size && c->stage != OVER) {
        if (c->header_has < header_needs(c)) {
            c->header[c->header_has++] = *data++;
            size--;
            unsigned needs = header_needs(c);
            if (c->header_has < needs) continue;
            c->length = needs == 2 ? c->header[1] & 127 : 0;
            for (unsigned i = 2; i < needs; i++) c->length = c->length << 8 | c->header[i];
            c->at = 0;
            expect(c);
        }
        uint64_t part = c->length - c->at < size ? c->length - c->at : size;
        if (part) take(c, data, part);
        c->at += part;
        data += part;
        size -= part;
        if (c->at == c->length) {
            c->header_has = 0;
            frame_read(c);
        }
    }
}

/* ---- The works ---- */

static void finish(void) {
    ended = clock_now();
    phase = DONE;
}

static void count_closed(struct connection *c) {
    (void)c;
    over++;
}

static void ignore(struct connection *c) {
    (void)c;
}

/* Each connection sends its share, then a close frame. */
static void begin_ingest(void) {
    for (unsigned i = 0; i < options.connections; i++) {
        struct connection *c = connections + i;
        uint64_t share = (options.count + i) / options.connections;
        send_messages(c, share);
        say_goodbye(c);
    }
}

static void ingest_closed(struct connection *c) {
    /* The answer to the close frame comes after all that was sent before it. */
    done += c->asked;
    over++;
    if (over == options.connections) finish();
}

static void ask_more(struct connection *c, uint64_t most) {
    uint64_t left = options.count - asked;
    send_messages(c, left < most ? left : most);
}

static void begin_echo(void) {
    now = clock_now();
    for (unsigned i = 0; i < options.connections; i++) {
        ask_more(connections + i, options.depth);
        flush(connections + i);
    }
}

static void echoed(struct connection *c) {
    if (phase != WORKING || c->answered == c->asked) fail("an answer to nothing");
    record(now - c->times[c->answered++ % options.depth]);
    if (++done == options.count) finish();
    /* What is asked here is sent once all of the read is parsed. */
    if (asked < options.count) send_messages(c, 1);
}

static void begin_connect(void) {}

static void greeted(struct connection *c) {
    say_goodbye(c);
}

static void begin_round(void) {
    for (unsigned i = 0; i < options.connections; i++) connections[i].answered = 0;
    send_messages(connections, 1);
    flush(connections);
}

static void broadcast_received(struct connection *c) {
    if (phase != WORKING) return;
    if (c->answered++) fail("the same message twice");
    if (++done % options.connections) return;
    if (done == options.count * options.connections) finish();
    else begin_round();
}

static void begin_listening(void) {
    done = 0;
    for (unsigned i = 0; i < options.connections; i++) connections[i].answered = 0;
}

/* 0 where a message does not say when it was published. */
static uint64_t stamp_of(const struct connection *c) {
    uint64_t stamp = 0;
    for (unsigned i = 0; i < STAMP && c->length >= STAMP; i++) {
        if (!isdigit(c->control[i])) return 0;
        stamp = stamp * 10 + (c->control[i] - '0');
    }
    return stamp;
}

static void heard(struct connection *c) {
    if (phase == READY) begin();
    if (phase != WORKING) return;
    if (c->answered++ == options.count) fail("more messages than %" PRIu64, options.count);
    done++;
    uint64_t stamp = stamp_of(c);
    if (stamp && stamp <= now) record(now - stamp);
    if (done == options.count * options.connections) finish();
}

static const struct work works[] = {
    {"ingest", begin_ingest, ignore, ingest_closed},
    {"echo", begin_echo, echoed, count_closed},
    {"connect", begin_connect, greeted, count_closed},
    {"broadcast", begin_round, broadcast_received, count_closed},
    {"listen", begin_listening, heard, count_closed},
    {"idle", NULL, ignore, count_closed},
};

static bool is(const char *name) {
    return !strcmp(work->name, name);
}

/* ---- The loop ---- */

static void ended_by_peer(struct connection *c, const char *how) {
    if (c->stage != OVER) lost(c, how);
    hang_up(c);
    if (!is("connect")) return;
    if (++done == options.count) finish();
    else if (started < options.count) dial(c);
}

static void readable(struct connection *c) {
    static unsigned char buffer[READ_SIZE];
    bool more;
    do {
        size_t size = 0;
        if (c->ssl) {
            ERR_clear_error();
            int result = SSL_read_ex(c->ssl, buffer, sizeof buffer, &size);
            int error = result == 1 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, result);
            if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) break;
            if (error != SSL_ERROR_NONE) {
                ended_by_peer(c, "TLS closed");
                return;
            }
        } else {
            ssize_t got = recv(c->fd, buffer, sizeof buffer, 0);
            if (got < 0 && errno == EAGAIN) break;
            if (got <= 0) {
                ended_by_peer(c, got ? strerror(errno) : "closed by the server");
                return;
            }
            size = (size_t)got;
        }
        now = clock_now();
        size_t used = c->stage == UPGRADING ? read_head(c, (char *)buffer, size) : 0;
        parse(c, buffer + used, size - used);
        /* OpenSSL may hold what epoll does not tell of. */
        more = c->ssl && c->stage != OVER;
    } while (more);
    if (c->stage == OPEN && c->sent < c->due) flush(c);
}

static void turn(struct connection *c, uint32_t events) {
    if (c->stage == CONNECTING) {
        connected(c);
    } else if (c->stage == SECURING) {
        secure(c);
    } else {
        if (events & EPOLLOUT && c->stage != OVER) flush(c);
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c);
    }
}

static void print_result(void) {
    double cpu = (double)(clock_read(CLOCK_PROCESS_CPUTIME_ID) - cpu_began) / 1e9;
    double seconds = (double)(ended - began) / 1e9;
    printf("{\"work\": \"%s\", \"count\": %" PRIu64 ", \"seconds\": %.6f, \"rate\": %.1f, "
           "\"load_cpu\": %.6f, \"octets\": %" PRIu64 ", \"compressed\": %" PRIu64,
           work->name, done, seconds, (double)done / seconds, cpu, octets, compressed);
    if (is("echo") || is("listen"))
        printf(", \"p50_us\": %.1f, \"p99_us\": %.1f", percentile(0.5), percentile(0.99));
    puts("}");
    fflush(stdout);
}

static void begin(void) {
    phase = WORKING;
    cpu_began = clock_read(CLOCK_PROCESS_CPUTIME_ID);
    began = clock_now();
    work->begin();
}

static void close_all(void) {
    phase = ALL_CLOSING;
    for (unsigned i = 0; i < options.connections; i++)
        if (connections[i].stage == OPEN) say_goodbye(connections + i);
}

/* With --pause, a line begins the work, and the end of standard input all else. */
static void read_input(void) {
    char said[64];
    if (read(STDIN_FILENO, said, sizeof said) > 0) {
        told = true;
    } else {
        input_ended = true;
        epoll_ctl(poller, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
    }
}

static void go_on(void) {
    static bool printed;
    /* With `connect` there is nothing to open before the work. */
    if (phase == ALL_OPENING && (is("connect") || opened == options.connections)) {
        phase = is("idle") ? DONE : READY;
        if (!unattended) {
            printf("{\"open\": %u}\n", opened);
            fflush(stdout);
        }
    }
    if (phase == READY && (unattended || told)) begin();
    if (phase == DONE && !printed && !is("idle")) {
        printed = true;
        print_result();
    }
    if ((phase == DONE && unattended) || ((phase == READY || phase == DONE) && input_ended))
        close_all();
}

static void open_more(void) {
    if (is("connect")) {
        if (phase != WORKING || started) return;
        for (unsigned i = 0; i < options.connections && started < options.count; i++)
            dial(connections + i);
    } else {
        while (phase == ALL_OPENING && started < options.connections && opening < MOST_OPENING)
            dial(connections + started);
    }
}

static bool all_over(void) {
    if (phase != ALL_CLOSING) return false;
    for (unsigned i = 0; i < options.connections; i++)
        if (connections[i].stage != OVER && connections[i].stage != UNUSED) return false;
    return true;
}

static void run(void) {
    static struct epoll_event events[512];
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
    unattended = !options.pause && !is("idle");
    if (!unattended && epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &input))
        fail("standard input has to be a pipe or a terminal");
    while (true) {
        go_on();
        open_more();
        if (all_over()) return;
        uint64_t time = clock_now();
        if (time >= deadline)
            fail("timed out after %g s: %u were opened, %" PRIu64 " done", options.timeout, opened,
                 done);
        int count = epoll_wait(poller, events, 512, (int)((deadline - time) / 1000000 + 1));
        if (count < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr) turn(events[i].data.ptr, events[i].events);
            else read_input();
        }
    }
}

/* ---- Options ---- */

static uint64_t number(const char *name, const char *text, uint64_t low, uint64_t high) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end || !isdigit((unsigned char)*text) || value < low || value > high)
        fail("--%s: %s is not a whole number from %" PRIu64 " to %" PRIu64, name, text, low, high);
    return value;
}

static void parse_options(int count, char **arguments) {
    static const struct option known[] = {
        {"port", required_argument, NULL, 'p'},    {"count", required_argument, NULL, 'n'},
        {"size", required_argument, NULL, 's'},    {"connections", required_argument, NULL, 'c'},
        {"depth", required_argument, NULL, 'd'},   {"path", required_argument, NULL, 'a'},
        {"deflate", required_argument, NULL, 'z'}, {"save", required_argument, NULL, 'o'},
        {"tls", no_argument, NULL, 't'},           {"binary", no_argument, NULL, 'b'},
        {"check", no_argument, NULL, 'k'},         {"pause", no_argument, NULL, 'w'},
        {"timeout", required_argument, NULL, 'l'}, {"apart", no_argument, NULL, 'r'},
        {NULL, 0, NULL, 0}};
    int index, found;
    while ((found = getopt_long(count, arguments, "", known, &index)) != -1) {
        switch (found) {
        case 'p':
            if (options.port_count == MOST_PORTS) fail("--port: more than %d", MOST_PORTS);
            options.ports[options.port_count++] = (int)number("port", optarg, 1, 65535);
            break;
        case 'n': options.count = number("count", optarg, 1, UINT32_MAX); break;
        case 's': options.size = number("size", optarg, 0, 1u << 30); break;
        case 'c': options.connections = (unsigned)number("connections", optarg, 1, 60000); break;
        case 'd': options.depth = (unsigned)number("depth", optarg, 1, 1u << 20); break;
        case 'a': options.path = optarg; break;
        case 'z': options.deflate = optarg; break;
        case 'o': options.save = optarg; break;
        case 't': options.tls = true; break;
        case 'b': options.binary = true; break;
        case 'k': options.check = true; break;
        case 'w': options.pause = true; break;
        case 'r': options.apart = true; break;
        case 'l': options.timeout = (double)number("timeout", optarg, 1, 86400); break;
        default: exit(2);
        }
    }
    for (size_t i = 0; optind == count - 1 && i < sizeof works / sizeof *works; i++)
        if (!strcmp(arguments[optind], works[i].name)) work = works + i;
    if (!work) fail("name one work: ingest, echo, connect, broadcast, listen or idle");
    if (!options.port_count) fail("--port is missing");
    if (options.check && (options.deflate || !is("echo")))
        fail("--check is for echo without --deflate");
}

int main(int count, char **arguments) {
    parse_options(count, arguments);
    signal(SIGPIPE, SIG_IGN);
    deadline = clock_now() + (uint64_t)(options.timeout * 1e9);
    saving = options.save != NULL;
    make_frames();
    connections = allocate(options.connections * sizeof *connections);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (options.tls) {
        tls = SSL_CTX_new(TLS_client_method());
        if (!tls) fail("no TLS");
        SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    run();
    return 0;
}

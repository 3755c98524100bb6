/* Writes `size` thousand lines of a web server's log and looks through them: bytes sent by status of five hundred
 * and more, on paths under /api/. */
#include "kernel.h"

static char *out;
static void put(const char *text) { while (*text) *out++ = *text++; }
static void put_number(uint32_t value) {
    char digits[10];
    int count = 0;
    do { digits[count++] = (char)('0' + value % 10); value /= 10; } while (value);
    while (count) *out++ = digits[--count];
}
static const char *paths[] = {"/index.html", "/api/users", "/api/orders/items", "/static/app.js"};
static const uint32_t statuses[] = {200, 404, 500, 503};

static const char *after(const char *at, const char *end, char wanted) {
    while (at < end && *at != wanted) at++;
    return at < end ? at + 1 : end;
}
static const char *number_at(const char *at, const char *end, uint32_t *value) {
    *value = 0;
    while (at < end && *at >= '0' && *at <= '9') *value = *value * 10 + (uint32_t)(*at++ - '0');
    return at;
}

EXPORT(run) struct text *run(uint32_t size) {
    uint32_t lines = size * 1000;
    char *text = out = take((size_t)lines * 112 + 16);
    for (uint32_t i = 0; i < lines; i++) {
        put("10.0."); put_number(draw() % 256); put("."); put_number(draw() % 256);
        put(" - - [27/Nov/2026:18:00:00 +0000] \"GET "); put(paths[draw() % 4]);
        put(" HTTP/1.1\" "); put_number(statuses[draw() % 4]); put(" "); put_number(draw() % 65536); put("\n");
    }
    const char *at = text, *end = out;
    uint64_t sent = 0;
    uint32_t count = 0;
    while (at < end) {
        const char *line_end = at;
        while (line_end < end && *line_end != '\n') line_end++;
        const char *path = after(after(at, line_end, '"'), line_end, ' ');
        int is_api = line_end - path > 5 && path[0] == '/' && path[1] == 'a' && path[2] == 'p' && path[3] == 'i' && path[4] == '/';
        if (is_api) {
            uint32_t status, bytes;
            const char *rest = number_at(after(after(path, line_end, '"'), line_end, ' '), line_end, &status);
            if (status >= 500) {
                number_at(after(rest, line_end, ' '), line_end, &bytes);
                sent += bytes;
                count++;
            }
        }
        at = line_end + 1;
    }
    return number(sent * 1000 + count % 1000);
}

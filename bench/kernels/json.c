/* Writes `size` thousand orders as JSON text, reads that text again and sums up what each of 16 regions paid.
 * Reading is a strict parser for any JSON, which keeps only what is asked for. */
#include "kernel.h"

static char *out;
static void put(const char *text) { while (*text) *out++ = *text++; }
static void put_number(uint32_t value) {
    char digits[10];
    int count = 0;
    do { digits[count++] = (char)('0' + value % 10); value /= 10; } while (value);
    while (count) *out++ = digits[--count];
}

static const char *at, *end;
static void blank(void) { while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) at++; }
static void expect(char wanted) {
    blank();
    if (at >= end || *at != wanted) __builtin_trap();
    at++;
}
/* The text between the quotation marks, escapes left as they are. */
static struct text string(void) {
    expect('"');
    const char *begin = at;
    for (; at < end && *at != '"'; at++) {
        if ((unsigned char)*at < 0x20) __builtin_trap();
        if (*at == '\\' && ++at >= end) __builtin_trap();
    }
    struct text text = {begin, (size_t)(at - begin)};
    expect('"');
    return text;
}
static double decimal(void) {
    blank();
    double sign = 1, value = 0, scale = 1;
    if (at < end && *at == '-') { sign = -1; at++; }
    if (at >= end || *at < '0' || *at > '9') __builtin_trap();
    while (at < end && *at >= '0' && *at <= '9') value = value * 10 + (*at++ - '0');
    if (at < end && *at == '.') {
        for (at++; at < end && *at >= '0' && *at <= '9'; scale *= 10) value = value * 10 + (*at++ - '0');
    }
    return sign * value / scale;
}
static void skip(int depth) {
    if (depth > 64) __builtin_trap();
    blank();
    if (at >= end) __builtin_trap();
    if (*at == '"') { string(); return; }
    if (*at == '{' || *at == '[') {
        char close = *at++ == '{' ? '}' : ']';
        blank();
        if (at < end && *at == close) { at++; return; }
        for (;;) {
            if (close == '}') { string(); expect(':'); }
            skip(depth + 1);
            blank();
            if (at < end && *at == ',') { at++; continue; }
            expect(close);
            return;
        }
    }
    if ((*at >= '0' && *at <= '9') || *at == '-') { decimal(); return; }
    while (at < end && *at >= 'a' && *at <= 'z') at++;
}
static int is(struct text text, const char *name) {
    size_t i = 0;
    for (; i < text.length && name[i]; i++) if (text.bytes[i] != name[i]) return 0;
    return i == text.length && !name[i];
}

EXPORT(run) struct text *run(uint32_t size) {
    uint32_t orders = size * 1000;
    char *text = out = take((size_t)orders * 128 + 16);
    put("[");
    for (uint32_t i = 0; i < orders; i++) {
        if (i) put(",");
        put("{\"id\":"); put_number(i);
        put(",\"region\":\"r"); put_number(draw() % 16);
        put("\",\"paid\":"); put_number(draw() % 100000); put("."); put_number(draw() % 10);
        put(",\"tags\":[\"a\",\"b\\n\",null],\"open\":true}");
    }
    put("]");
    at = text; end = out;
    double paid[16] = {0};
    expect('[');
    for (uint32_t i = 0; i < orders; i++) {
        if (i) expect(',');
        int region = 0;
        double amount = 0;
        expect('{');
        for (int first = 1;; first = 0) {
            blank();
            if (at < end && *at == '}') { at++; break; }
            if (!first) expect(',');
            struct text name = string();
            expect(':');
            if (is(name, "region")) {
                struct text value = string();
                for (size_t k = 1; k < value.length; k++) region = region * 10 + (value.bytes[k] - '0');
            } else if (is(name, "paid")) {
                amount = decimal();
            } else {
                skip(0);
            }
        }
        paid[region & 15] += amount;
    }
    expect(']');
    double sum = 0;
    for (int i = 0; i < 16; i++) sum += paid[i] * (i + 1);
    return number((uint64_t)(sum + 0.5));
}

/* What each kernel needs around it: memory that only grows and an answer in text.
 * An instance runs once, so nothing is freed. */
#ifndef KERNEL_H
#define KERNEL_H
#include <stddef.h>
#include <stdint.h>

extern unsigned char __heap_base;
static unsigned char *next_free = &__heap_base;

static inline void *take(size_t bytes) {
    uintptr_t start = ((uintptr_t)next_free + 15) & ~(uintptr_t)15;
    uintptr_t end = start + bytes;
    uintptr_t have = __builtin_wasm_memory_size(0) * (uintptr_t)65536;
    if (end < start) __builtin_trap();
    if (end > have && __builtin_wasm_memory_grow(0, (end - have + 65535) / 65536) == (size_t)-1) __builtin_trap();
    next_free = (unsigned char *)end;
    return (void *)start;
}

/* Pseudo-random numbers that C and JavaScript compute alike (xorshift32). */
static uint32_t seed = 2463534242u;
static inline uint32_t draw(void) {
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed;
}

/* The answer of `run`: pointer and length of a text. */
struct text { const char *bytes; size_t length; };

static inline struct text *number(uint64_t value) {
    static char digits[24];
    static struct text text;
    size_t at = sizeof digits;
    do { digits[--at] = (char)('0' + value % 10); value /= 10; } while (value);
    text = (struct text){digits + at, sizeof digits - at};
    return &text;
}

#define EXPORT(name) __attribute__((export_name(#name)))
struct text *run(uint32_t size);

#endif

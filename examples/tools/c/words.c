/* A tool in C: a component without a library, an interpreter or a generator of bindings.
 *
 * The exports below are the canonical ABI of words.wit by hand, to show how little it is; `wit-bindgen c` writes the
 * same for larger interfaces. Memory lasts for one call, because each call gets an instance of its own: nothing is freed.
 * docs/wasm.md says how it is built. */
#include <stddef.h>
#include <stdint.h>

extern unsigned char __heap_base;
static unsigned char *next_free = &__heap_base;

/* The host allocates its arguments through this; it never shrinks or frees. */
__attribute__((export_name("cabi_realloc")))
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t new_size) {
    if (align == 0) align = 1;
    uintptr_t start = ((uintptr_t)next_free + align - 1) & ~(uintptr_t)(align - 1);
    uintptr_t end = start + new_size;
    uintptr_t have = __builtin_wasm_memory_size(0) * (uintptr_t)65536;
    if (end < start) __builtin_trap();
    if (end > have && __builtin_wasm_memory_grow(0, (end - have + 65535) / 65536) == (size_t)-1) __builtin_trap();
    next_free = (unsigned char *)end;
    unsigned char *new_block = (unsigned char *)start;
    for (size_t i = 0; i < old_size && i < new_size; i++) new_block[i] = ((unsigned char *)old)[i];
    return new_block;
}

static int is_space(unsigned char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

struct counts { uint32_t lines, words, characters; };

/* count: func(text: string) -> counts */
__attribute__((export_name("count")))
struct counts *count(const unsigned char *text, size_t length) {
    static struct counts counts;
    counts = (struct counts){0, 0, 0};
    int in_word = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = text[i];
        counts.lines += c == '\n';
        /* Every byte but a continuation begins a character. */
        counts.characters += (c & 0xC0) != 0x80;
        if (is_space(c)) in_word = 0;
        else if (!in_word) { in_word = 1; counts.words++; }
    }
    if (length > 0 && text[length - 1] != '\n') counts.lines++;
    return &counts;
}

/* The discriminant, then the bytes of whichever case it is. */
struct longest_result { uint8_t is_err; const unsigned char *text; size_t length; };

/* longest: func(text: string) -> result<string, string> */
__attribute__((export_name("longest")))
struct longest_result *longest(const unsigned char *text, size_t length) {
    static const char no_words[] = "the text has no words";
    static struct longest_result result;
    result = (struct longest_result){1, (const unsigned char *)no_words, sizeof no_words - 1};
    size_t begin = 0;
    for (size_t i = 0; i <= length; i++) {
        if (i < length && !is_space(text[i])) continue;
        if (i > begin && (result.is_err || i - begin > result.length)) {
            result = (struct longest_result){0, text + begin, i - begin};
        }
        begin = i + 1;
    }
    return &result;
}

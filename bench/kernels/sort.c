/* Sorts `size` thousand numbers by merging runs from short to long, and weighs every 1,000th by its place. */
#include "kernel.h"

EXPORT(run) struct text *run(uint32_t size) {
    uint32_t count = size * 1000;
    uint32_t *from = take(count * 4), *to = take(count * 4);
    for (uint32_t i = 0; i < count; i++) from[i] = draw();
    for (uint32_t width = 1; width < count; width *= 2) {
        for (uint32_t left = 0; left < count; left += 2 * width) {
            uint32_t middle = left + width < count ? left + width : count;
            uint32_t right = left + 2 * width < count ? left + 2 * width : count;
            uint32_t a = left, b = middle;
            for (uint32_t k = left; k < right; k++) {
                if (a < middle && (b >= right || from[a] <= from[b])) to[k] = from[a++];
                else to[k] = from[b++];
            }
        }
        uint32_t *other = from;
        from = to;
        to = other;
    }
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i += 1000) sum += (uint64_t)(from[i] >> 8) * (i / 1000 + 1);
    return number(sum);
}

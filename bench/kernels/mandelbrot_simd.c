/* The same as mandelbrot.c, four points of a row at a time in two vectors of two: what SIMD is good for here. */
#include "kernel.h"

typedef double pair __attribute__((vector_size(16)));
typedef int64_t mask __attribute__((vector_size(16)));

EXPORT(run) struct text *run(uint32_t size) {
    uint32_t inside = 0;
    for (uint32_t row = 0; row < size; row++) {
        double ci = 2.0 * row / size - 1.0;
        for (uint32_t column = 0; column < size; column += 4) {
            pair cr[2], zr[2] = {{0}}, zi[2] = {{0}}, rr[2] = {{0}}, ii[2] = {{0}};
            mask in[2] = {{-1, -1}, {-1, -1}};
            for (uint32_t k = 0; k < 4; k++) cr[k / 2][k % 2] = 2.0 * (column + k) / size - 1.5;
            for (int steps = 0; steps < 50; steps++) {
                for (int k = 0; k < 2; k++) {
                    zi[k] = 2.0 * zr[k] * zi[k] + ci;
                    zr[k] = rr[k] - ii[k] + cr[k];
                    rr[k] = zr[k] * zr[k];
                    ii[k] = zi[k] * zi[k];
                    in[k] &= rr[k] + ii[k] <= 4.0;
                }
                mask any = in[0] | in[1];
                if (!(any[0] | any[1])) break;
            }
            for (uint32_t k = 0; k < 4 && column + k < size; k++) inside += in[k / 2][k % 2] != 0;
        }
    }
    return number(inside);
}

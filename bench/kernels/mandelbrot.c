/* Points of a `size` by `size` grid over the Mandelbrot set that stay bounded for 50 steps, counted. */
#include "kernel.h"

EXPORT(run) struct text *run(uint32_t size) {
    uint32_t inside = 0;
    for (uint32_t row = 0; row < size; row++) {
        double ci = 2.0 * row / size - 1.0;
        for (uint32_t column = 0; column < size; column++) {
            double cr = 2.0 * column / size - 1.5;
            double zr = 0, zi = 0, rr = 0, ii = 0;
            int steps = 0;
            while (steps < 50 && rr + ii <= 4.0) {
                zi = 2.0 * zr * zi + ci;
                zr = rr - ii + cr;
                rr = zr * zr;
                ii = zi * zi;
                steps++;
            }
            inside += rr + ii <= 4.0;
        }
    }
    return number(inside);
}

// Points of a `size` by `size` grid over the Mandelbrot set that stay bounded for 50 steps, counted.
require('./kernel.js').kernel(module, (size) => {
  let inside = 0;
  for (let row = 0; row < size; row++) {
    const ci = (2.0 * row) / size - 1.0;
    for (let column = 0; column < size; column++) {
      const cr = (2.0 * column) / size - 1.5;
      let zr = 0, zi = 0, rr = 0, ii = 0, steps = 0;
      while (steps < 50 && rr + ii <= 4.0) {
        zi = 2.0 * zr * zi + ci;
        zr = rr - ii + cr;
        rr = zr * zr;
        ii = zi * zi;
        steps++;
      }
      if (rr + ii <= 4.0) inside++;
    }
  }
  return inside;
});

// Sorts `size` thousand numbers by merging runs from short to long, and weighs every 1,000th by its place.
const { draw } = require('./kernel.js');

require('./kernel.js').kernel(module, (size) => {
  const count = size * 1000;
  let from = new Uint32Array(count), to = new Uint32Array(count);
  for (let i = 0; i < count; i++) from[i] = draw();
  for (let width = 1; width < count; width *= 2) {
    for (let left = 0; left < count; left += 2 * width) {
      const middle = Math.min(left + width, count), right = Math.min(left + 2 * width, count);
      let a = left, b = middle;
      for (let k = left; k < right; k++) {
        if (a < middle && (b >= right || from[a] <= from[b])) to[k] = from[a++];
        else to[k] = from[b++];
      }
    }
    [from, to] = [to, from];
  }
  let sum = 0;
  for (let i = 0; i < count; i += 1000) sum += (from[i] >>> 8) * (i / 1000 + 1);
  return sum;
});

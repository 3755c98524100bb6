// What each kernel needs around it. `node NAME.js SIZE` runs it once and prints the answer;
// `node NAME.js SIZE RUNS` runs it in one process and prints the middle of the last RUNS times in milliseconds
// after as many to warm up.
let seed = 2463534242;

// Pseudo-random numbers that C and JavaScript compute alike (xorshift32).
exports.draw = () => {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return seed >>> 0;
};

exports.kernel = (module, run) => {
  if (require.main !== module) return;
  const [size, runs] = process.argv.slice(2).map(Number);
  const once = () => {
    seed = 2463534242;
    return run(size);
  };
  if (!runs) return console.log(String(once()));
  for (let warm = 0; warm < runs; warm++) once();
  const times = [];
  for (let each = 0; each < runs; each++) {
    const begun = process.hrtime.bigint();
    once();
    times.push(Number(process.hrtime.bigint() - begun) / 1e6);
  }
  times.sort((a, b) => a - b);
  console.log(times[runs >> 1]);
};

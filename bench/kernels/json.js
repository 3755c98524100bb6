// Writes `size` thousand orders as JSON text, reads that text again and sums up what each of 16 regions paid.
// Reading is `JSON.parse`, which is what anybody would use here and is not written in JavaScript.
const { draw } = require('./kernel.js');

require('./kernel.js').kernel(module, (size) => {
  const orders = size * 1000;
  const pieces = [];
  for (let i = 0; i < orders; i++) {
    const region = draw() % 16, whole = draw() % 100000, part = draw() % 10;
    pieces.push(`{"id":${i},"region":"r${region}","paid":${whole}.${part},"tags":["a","b\\n",null],"open":true}`);
  }
  const text = `[${pieces.join(',')}]`;
  const paid = new Float64Array(16);
  for (const order of JSON.parse(text)) paid[Number(order.region.slice(1)) & 15] += order.paid;
  let sum = 0;
  for (let i = 0; i < 16; i++) sum += paid[i] * (i + 1);
  return Math.floor(sum + 0.5);
});

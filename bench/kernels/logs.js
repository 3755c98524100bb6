// Writes `size` thousand lines of a web server's log and looks through them: bytes sent by status of five hundred
// and more, on paths under /api/.
const { draw } = require('./kernel.js');
const paths = ['/index.html', '/api/users', '/api/orders/items', '/static/app.js'];
const statuses = [200, 404, 500, 503];

require('./kernel.js').kernel(module, (size) => {
  const lines = size * 1000;
  const pieces = [];
  for (let i = 0; i < lines; i++) {
    const third = draw() % 256, fourth = draw() % 256, path = paths[draw() % 4];
    const status = statuses[draw() % 4], bytes = draw() % 65536;
    pieces.push(`10.0.${third}.${fourth} - - [27/Nov/2026:18:00:00 +0000] "GET ${path} HTTP/1.1" ${status} ${bytes}\n`);
  }
  const text = pieces.join('');
  let sent = 0, count = 0;
  for (let at = 0; at < text.length; ) {
    let lineEnd = text.indexOf('\n', at);
    if (lineEnd < 0) lineEnd = text.length;
    const path = text.indexOf(' ', text.indexOf('"', at) + 1) + 1;
    if (text.startsWith('/api/', path)) {
      const status = text.indexOf('"', path) + 2;
      const space = text.indexOf(' ', status);
      if (Number(text.slice(status, space)) >= 500) {
        sent += Number(text.slice(space + 1, lineEnd));
        count++;
      }
    }
    at = lineEnd + 1;
  }
  return BigInt(sent) * 1000n + BigInt(count % 1000);
});

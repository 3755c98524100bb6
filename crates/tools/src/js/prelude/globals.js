// What scripts see beside the language itself.

Math.random = random;

for (const [name, value] of Object.entries({
  fs, spawn, exec, fetch, Headers, Response, securityPolicy, SecurityError, console: consoleObject,
  setTimeout, setInterval, setImmediate, clearTimeout: clear, clearInterval: clear, clearImmediate: clear,
  TextEncoder, TextDecoder, Buffer, URL, URLSearchParams, crypto: cryptoObject, process: processObject, require,
  queueMicrotask: globalThis.queueMicrotask ?? ((job) => { Promise.resolve().then(job); }),
})) {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
}
Object.defineProperty(globalThis, 'global', { value: globalThis, writable: true, configurable: true });

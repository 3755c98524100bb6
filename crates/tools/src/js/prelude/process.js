// Commands, over `process_run`: in the cage, each decided and recorded.

function command(cmd, args, options) {
  if (!Array.isArray(args)) [args, options] = [[], args ?? options];
  const { shell, cwd, stdin, input, timeout } = options ?? {};
  if (typeof cmd !== 'string' || cmd === '') throw new TypeError('a command is a string that is not empty');
  const request = {};
  if (shell) {
    if (typeof shell === 'string' && shell !== '/bin/sh' && shell !== 'sh') throw new TypeError('the only shell is /bin/sh');
    if (args.length > 0) throw new TypeError('with `shell` the command is one string; arguments beside it are not quoted for it');
    request.shell = cmd;
  } else {
    request.argv = [cmd, ...args.map(String)];
  }
  if (cwd !== undefined) request.cwd = pathOf(cwd);
  const given = stdin ?? input;
  if (given !== undefined && given !== null) request.stdin = contentOf(given);
  if (timeout) request.timeout_ms = Math.ceil(Number(timeout));
  return request;
}

function finished(result) {
  const { exit_code, signal, stdout, stderr } = result;
  const done = { exit_code: exit_code ?? null, signal: signal ?? null, stdout: stdout ?? '', stderr: stderr ?? '' };
  if (result.truncated) done.truncated = true;
  return done;
}

async function spawn(cmd, args, options) {
  return finished(await begin('process_run', command(cmd, args, options)));
}

function exec(cmd, options) {
  return spawn(cmd, [], { ...options, shell: true });
}

function spawnSync(cmd, args, options) {
  return finished(ask('process_run', command(cmd, args, options)));
}

// Standard output; a command that fails is thrown.
function execSync(cmd, options) {
  const done = spawnSync(cmd, [], { ...options, shell: true });
  if (done.exit_code !== 0) throw Object.assign(new Error(`Command failed: ${cmd}\n${done.stderr}`), done);
  return options?.encoding ? done.stdout : Buffer.from(done.stdout);
}

// Advice only: the command is decided again when it is started.
const securityPolicy = Object.freeze({
  allows(cmd, args, options) {
    const request = Array.isArray(cmd)
      ? { argv: cmd.map(String) }
      : command(cmd, args, Array.isArray(args) ? options : { shell: true, ...(args ?? options) });
    return ask('allows', ['process_run', request]);
  },
});

const childProcess = { spawn, exec, execFile: spawn, spawnSync, execSync };

const processObject = {
  env: {}, argv: [], platform: 'linux', versions: {}, pid: 1,
  cwd: () => '.',
  nextTick: (callback, ...args) => queueMicrotask(() => callback(...args)),
  uptime: () => 0,
  hrtime: Object.assign(() => { const ms = native.now(); return [Math.floor(ms / 1000), (ms % 1000) * 1e6]; }, { bigint: () => BigInt(Math.round(native.now() * 1e6)) }),
};

// What the tests share: a real server started by the package's own command, repositories, and folders that go away.

import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const exec = promisify(execFile);
export const COMMAND = join(PACKAGE, 'bin', 'octopoid.js');

/** Environment without settings of whoever runs the tests. */
export function cleanEnv(more = {}) {
  const env = { ...process.env, ...more };
  for (const name of ['OCTOPOID_SERVER_URL', 'OCTOPOID_API_KEY', 'OCTOPOID_SCOPE', 'OCTOPOID_LOG']) {
    if (!(name in more)) delete env[name];
  }
  return env;
}

/** For suites: what `before` makes goes away after the last test. Call it in the body of `describe`. */
export function suite() {
  const last = [];
  after(async () => {
    for (const work of last.reverse()) await work();
  });
  return { after: (work) => last.push(work) };
}

export function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'octopoid-node-'));
  t.after(() => rmSync(path, { recursive: true, force: true, maxRetries: 5 }));
  return path;
}

/** An empty project with the package as others get it: packed, and installed from the tarball. */
export async function project(t) {
  const dir = folder(t);
  const env = { ...cleanEnv(), npm_config_audit: 'false', npm_config_fund: 'false', npm_config_update_notifier: 'false' };
  const [{ filename }] = JSON.parse(
    (await exec('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', dir], { cwd: PACKAGE, env, maxBuffer: 1 << 24 })).stdout,
  );
  writeFileSync(join(dir, 'package.json'), '{"name": "user", "private": true}\n');
  await exec('npm', ['install', '--offline', '--ignore-scripts', `./${filename}`], { cwd: dir, env });
  mkdirSync(join(dir, 'node_modules', '@types'));
  symlinkSync(join(PACKAGE, 'node_modules', '@types', 'node'), join(dir, 'node_modules', '@types', 'node'));
  symlinkSync(join(PACKAGE, 'node_modules', 'undici-types'), join(dir, 'node_modules', 'undici-types'));
  return dir;
}

/** A server on a free port; ends with the test. */
export async function serve(t, ...more) {
  const dir = folder(t);
  const args = ['serve', '--listen', '127.0.0.1:0', '--database', `sqlite:${join(dir, 'octopoid.db')}`];
  const child = spawn(process.execPath, [COMMAND, ...args, '--default-scope', 'test', ...more], {
    env: cleanEnv(),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  const url = await new Promise((resolve, reject) => {
    child.stderr.setEncoding('utf8').on('data', (text) => {
      said += text;
      const found = /listening on (http:\S+)\n/.exec(said);
      if (found) resolve(found[1]);
    });
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}: ${said}`)));
    child.once('error', reject);
  });
  const server = { url, child, stop: () => end(child) };
  t.after(server.stop);
  return server;
}

async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const [code] = await ended;
  return code;
}

/** Something that takes connections and never answers. */
export async function silence(t) {
  const sockets = new Set();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

/** An address where nobody listens. */
export async function nobody() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return `http://127.0.0.1:${port}`;
}

export function git(repo, ...args) {
  const env = { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' };
  return execFileSync('git', args, { cwd: repo, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
}

/** A repository with one commit on `trunk`. */
export function repository(t) {
  const repo = folder(t);
  git(repo, 'init', '--quiet', '--initial-branch', 'trunk');
  git(repo, 'config', 'user.name', 'Tester');
  git(repo, 'config', 'user.email', 'tester@example.invalid');
  writeFileSync(join(repo, 'README.md'), '# Made for a test\n');
  git(repo, 'add', '.');
  git(repo, 'commit', '--quiet', '-m', 'first');
  return repo;
}

/** Runs a script in a process of its own; gives exit code, output and how long it took. */
export async function run(args, { env = {}, cwd, input, timeout = 60_000 } = {}) {
  const begun = Date.now();
  const child = spawn(process.execPath, args, { env: cleanEnv(env), cwd, stdio: ['pipe', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  child.stdin.end(input);
  const timer = setTimeout(() => child.kill('SIGKILL'), timeout);
  const [code, signal] = await once(child, 'close');
  clearTimeout(timer);
  return { code, signal, stdout, stderr, millis: Date.now() - begun };
}

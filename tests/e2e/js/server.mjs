// The real server as a child process: started on ports that the kernel chooses, stopped by SIGTERM, its log kept.

import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const BINARY = process.env.ROADSTEAD_BINARY;
const IO = process.env.ROADSTEAD_IO ?? 'auto';
const START_MS_MAX = 20_000;
const STOP_MS_MAX = 20_000;

export const SECRET = 'a-secret-of-the-tests-only';
export const GUARDED = `
[token]
hmac_secret = "${SECRET}"
[client]
user_personal_channel = true
[channel]
allow_subscribe_for_client = true
allow_publish_for_client = true
allow_user_limited_channels = true
`;

export class Server {
  // Starts `roadstead serve`; resolves when it is ready.
  static async start(args, { config = '', listen = '127.0.0.1:0', admin = '127.0.0.1:0' } = {}) {
    const server = new Server();
    server.folder = mkdtempSync(join(tmpdir(), 'roadstead-'));
    server.logPath = join(server.folder, 'log');
    const configPath = join(server.folder, 'roadstead.toml');
    writeFileSync(configPath, config);
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ROADSTEAD_')));
    server.process = spawn(
      BINARY,
      ['serve', '--config', configPath, '--io', IO, '--shards', '2', '--listen', listen, '--admin', admin,
        '--admin-socket', join(server.folder, 'admin.sock'),
        // A guarded server would wait for balancers and spread its closes.
        '--set', 'shutdown.ready_delay_ms=0', '--set', 'shutdown.window_ms=0', ...args],
      { env, stdio: ['ignore', 'pipe', openSync(server.logPath, 'w')] },
    );
    server.ended = new Promise((resolve) => server.process.once('close', (code) => resolve(code)));
    const timer = setTimeout(() => server.process.kill('SIGKILL'), START_MS_MAX);
    const lines = createInterface({ input: server.process.stdout });
    const ready = new Promise((resolve) => {
      lines.on('line', (line) => line.startsWith('roadstead ready ') && resolve(line));
    });
    const line = await Promise.race([ready, server.ended]);
    clearTimeout(timer);
    if (typeof line !== 'string') throw new Error(`the server ended with ${line} before it was ready\n${server.log()}`);
    server.ready = Object.fromEntries(line.split(' ').slice(2).map((word) => word.split(/=(.*)/s).slice(0, 2)));
    return server;
  }

  get url() {
    return `ws://${this.ready.listen}/connection/websocket`;
  }

  // SIGTERM; resolves to the exit code, to null when it had to be killed.
  async stop() {
    const timer = setTimeout(() => this.process.kill('SIGKILL'), STOP_MS_MAX);
    this.process.kill('SIGTERM');
    const code = await this.ended;
    clearTimeout(timer);
    return code;
  }

  log() {
    return readFileSync(this.logPath, 'utf8').split('\n').slice(-60).join('\n');
  }

  remove() {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

// An HS256 token; times in seconds from now.
export function token(claims) {
  const now = Math.floor(Date.now() / 1000);
  const body = { ...claims };
  if ('exp' in body) body.exp += now;
  const signed = [{ alg: 'HS256', typ: 'JWT' }, body]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

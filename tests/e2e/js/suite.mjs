// One server for a file of tests: started before them, shown when one fails, stopped after them.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Server } from './server.mjs';

const TEST_MS_MAX = 30_000;

// `check(name, body)` is a test whose body gets the server and a list in which it leaves the clients it made.
export function suite(args, options) {
  let server;
  before(async () => {
    server = await Server.start(args, options);
  });
  after(async () => {
    if (!server) return;
    const code = await server.stop();
    const log = server.log();
    server.remove();
    assert.equal(code, 0, `exit code ${code} after SIGTERM\n${log}`);
    assert.ok(!log.includes('panicked'), log);
  });
  return (name, body) =>
    test(name, { timeout: TEST_MS_MAX }, async () => {
      const clients = [];
      try {
        await body(server, clients);
      } catch (error) {
        console.error(`--- log of the server of "${name}" ---\n${server.log()}`);
        throw error;
      } finally {
        for (const client of clients) client.disconnect();
      }
    });
}

// The SDK for JavaScript answers the server's pings, and notices when they stop.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { connected, ENCODINGS, packed } from './clients.mjs';
import { suite } from './suite.mjs';

const check = suite(['--insecure'], { config: '[client]\nping_s = 2\npong_timeout_s = 1\n' });

function connectedInEach(server, options) {
  return Promise.all(ENCODINGS.map((encoding) => connected(server.url, encoding, options)));
}

check('pings and pongs keep the connection, in both encodings', async (server, clients) => {
  clients.push(...(await connectedInEach(server, { maxServerPingDelay: 2000 })));
  for (const client of clients) await client.events.connecting.next();
  await sleep(6000); // three pings, of which a client that did not answer would survive none
  for (const client of clients) {
    assert.equal(client.events.connecting.length + client.events.disconnected.length, 0);
    await client.publish('js-ping', packed(client, 1));
  }
});

check('a server that stands still is left and found again, in both encodings', async (server, clients) => {
  clients.push(...(await connectedInEach(server, { maxServerPingDelay: 500, timeout: 1000 })));
  for (const client of clients) {
    await client.events.connecting.next();
    await client.events.connected.next();
  }
  server.process.kill('SIGSTOP');
  try {
    for (const client of clients) assert.equal((await client.events.connecting.next()).code, 2, 'no ping');
  } finally {
    server.process.kill('SIGCONT');
  }
  for (const client of clients) await client.events.connected.next();
});

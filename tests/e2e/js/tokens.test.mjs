// Users: the SDK for JavaScript with connection tokens and personal channels, in both encodings.

import assert from 'node:assert/strict';
import { connected, create, ENCODINGS, packed, unpacked } from './clients.mjs';
import { suite } from './suite.mjs';
import { GUARDED, token } from './server.mjs';

const check = suite([], { config: GUARDED });

for (const encoding of ENCODINGS) {
  check(`${encoding}: a user's publication reaches all devices of another`, async (server, clients) => {
    const user = `ann-${encoding}`;
    const phone = await connected(server.url, encoding, { token: token({ sub: user }) });
    const laptop = await connected(server.url, encoding, { token: token({ sub: user }) });
    const other = await connected(server.url, encoding, { token: token({ sub: 'bob' }) });
    clients.push(phone, laptop, other);
    for (const device of [phone, laptop]) assert.equal((await device.events.subscribed.next()).channel, `#${user}`);
    await other.publish(`#${user}`, packed(other, 'hello'));
    for (const device of [phone, laptop]) {
      const context = await device.events.publication.next();
      assert.equal(context.channel, `#${user}`);
      assert.equal(unpacked(context.data), 'hello');
      assert.equal(context.info.user, 'bob');
    }
    assert.equal(other.events.publication.length, 0);
  });

  check(`${encoding}: a bad token is final`, async (server, clients) => {
    const client = create(server.url, encoding, { token: 'garbage' });
    clients.push(client);
    client.connect();
    const context = await client.events.disconnected.next();
    assert.deepEqual([context.code, context.reason], [3500, 'invalid token']);
  });

  check(`${encoding}: an expired token is replaced by getToken`, async (server, clients) => {
    let asked = 0;
    const client = create(server.url, encoding, {
      token: token({ sub: 'carl', exp: -60 }),
      getToken: async () => {
        asked += 1;
        return token({ sub: 'carl' });
      },
    });
    clients.push(client);
    client.connect();
    await client.ready(15_000);
    assert.equal(asked, 1);
    assert.equal((await client.events.subscribed.next()).channel, '#carl');
  });

  check(`${encoding}: no token, no entry`, async (server, clients) => {
    const client = create(server.url, encoding);
    clients.push(client);
    client.connect();
    assert.equal((await client.events.disconnected.next()).code, 3501);
  });
}

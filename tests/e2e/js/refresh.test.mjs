// Tokens that end: the SDK for JavaScript refreshes connections and subscriptions, or loses them, in both encodings.

import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { connected, ENCODINGS, packed, subscriptionOf, unpacked } from './clients.mjs';
import { suite } from './suite.mjs';
import { GUARDED, token } from './server.mjs';

const SHORT_S = 2;
const LONG_S = 600;
// A short token, its grace, the second that it may be in, and one in which an idle shard looks.
const OVER_MS = (SHORT_S + 1 + 2) * 1000;

const check = suite(['--set', 'client.token_grace_s=1'], { config: GUARDED });

// Gives these one after the other, and counts; a function is called, the last one is given again.
function tokens(...given) {
  const get = async () => {
    const next = given[Math.min(get.asked, given.length - 1)];
    get.asked += 1;
    return typeof next === 'function' ? next() : next;
  };
  get.asked = 0;
  return get;
}

const nobody = () => new Promise(() => {});

for (const encoding of ENCODINGS) {
  const user = `ann-${encoding}`;
  const room = `$room-${encoding}`;
  const login = (exp) => token({ sub: user, exp });
  const pass = (exp, claims = {}) => token({ sub: user, channel: room, exp, ...claims });

  async function joined(server, clients, getToken) {
    const client = await connected(server.url, encoding, { token: token({ sub: user }) });
    clients.push(client);
    const subscription = subscriptionOf(client, room, { getToken });
    subscription.subscribe();
    await subscription.events.subscribed.next();
    return [client, subscription];
  }

  check(`${encoding}: a connection is refreshed by getToken and goes on`, async (server, clients) => {
    const getToken = tokens(() => login(SHORT_S), () => login(LONG_S));
    const client = await connected(server.url, encoding, { getToken });
    clients.push(client);
    await pause(OVER_MS);
    assert.equal(getToken.asked, 2);
    await client.publish(`#${user}`, packed(client, 'still here'));
    assert.equal(unpacked((await client.events.publication.next()).data), 'still here');
    assert.deepEqual([client.events.connecting.length, client.events.connected.length], [1, 1]);
  });

  check(`${encoding}: a connection that is not refreshed comes back with another token`, async (server, clients) => {
    const getToken = tokens(() => login(SHORT_S), nobody, () => login(LONG_S));
    const client = await connected(server.url, encoding, { getToken });
    clients.push(client);
    await client.events.connecting.next();
    assert.equal((await client.events.connecting.next()).code, 3005);
    await client.events.connected.take(2);
  });

  check(`${encoding}: a subscription is refreshed by getToken and goes on`, async (server, clients) => {
    const getToken = tokens(() => pass(SHORT_S, { data: { welcome: 1 } }), () => pass(LONG_S));
    const client = await connected(server.url, encoding, { token: token({ sub: user }) });
    clients.push(client);
    const subscription = subscriptionOf(client, room, { getToken });
    subscription.subscribe();
    assert.deepEqual(unpacked((await subscription.events.subscribed.next()).data), { welcome: 1 });
    await pause(OVER_MS);
    assert.equal(getToken.asked, 2);
    await subscription.publish(packed(client, 'still here'));
    assert.equal(unpacked((await subscription.events.publication.next()).data), 'still here');
    assert.deepEqual([subscription.events.subscribing.length, subscription.events.subscribed.length], [1, 0]);
  });

  check(`${encoding}: a subscription that is not refreshed is over, and begins again`, async (server, clients) => {
    // The application is away when the token is over; the SDK begins again with that token, and is told that it has expired.
    const getToken = tokens(() => pass(SHORT_S), nobody, () => pass(LONG_S));
    const [client, subscription] = await joined(server, clients, getToken);
    await subscription.events.subscribing.next();
    const over = await subscription.events.subscribing.next();
    assert.deepEqual([over.code, over.reason], [2501, 'subscription expired']);
    await subscription.events.subscribed.next();
    assert.equal(getToken.asked, 3);
    await subscription.publish(packed(client, 'again'));
    assert.equal(unpacked((await subscription.events.publication.next()).data), 'again');
    assert.equal(client.events.connected.length, 1, 'the connection stays');
  });

  check(`${encoding}: a refresh with a token that is over ends the subscription`, async (server, clients) => {
    const [client, subscription] = await joined(server, clients, tokens(() => pass(SHORT_S), () => pass(-5)));
    const over = await subscription.events.unsubscribed.next();
    assert.deepEqual([over.code, over.reason], [109, 'token expired']);
    await client.publish(`#${user}`, packed(client, 'the connection stays'));
  });

  check(`${encoding}: a refresh with another's token ends the connection`, async (server, clients) => {
    const [client] = await joined(server, clients, tokens(() => pass(SHORT_S), () => pass(LONG_S, { sub: 'eve' })));
    const over = await client.events.disconnected.next();
    assert.deepEqual([over.code, over.reason], [3500, 'invalid token']);
  });
}

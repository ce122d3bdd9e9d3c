// The real SDK for JavaScript, in both encodings, against a server in development mode.

import assert from 'node:assert/strict';
import { connected, create, ENCODINGS, packed, Queue, subscribed, subscriptionOf, unpacked } from './clients.mjs';
import { suite } from './suite.mjs';
import { Server } from './server.mjs';

const check = suite(['--insecure', '--echo']);

for (const encoding of ENCODINGS) {
  const other = encoding === 'json' ? 'protobuf' : 'json';

  check(`${encoding}: connect, subscribe, publish, receive`, async (server, clients) => {
    const publisher = await connected(server.url, encoding);
    const subscriber = await connected(server.url, encoding);
    clients.push(publisher, subscriber);
    const context = await publisher.events.connected.next();
    assert.ok(context.client);
    const subscription = await subscribed(subscriber, 'js');
    await publisher.publish('js', packed(publisher, { hello: ['world', 1, null] }));
    const publication = await subscription.events.publication.next();
    assert.deepEqual(unpacked(publication.data), { hello: ['world', 1, null] });
    assert.equal(publication.info.client, context.client);
  });

  check(`${encoding}: eight publishers, eight subscribers, both encodings, across shards`, async (server, clients) => {
    const channels = [0, 1, 2].map((n) => `js-many-${encoding}-${n}`);
    const each = 30;
    const received = [];
    for (let n = 0; n < 8; n += 1) {
      const client = await connected(server.url, n % 2 ? encoding : other);
      clients.push(client);
      for (const channel of channels) received.push((await subscribed(client, channel)).events.publication);
    }
    const publishers = [];
    for (let n = 0; n < 8; n += 1) publishers.push(await connected(server.url, encoding));
    clients.push(...publishers);
    await Promise.all(
      publishers.map(async (client, number) => {
        for (let n = 0; n < each; n += 1) await client.publish(channels[n % 3], packed(client, [number, n]));
      }),
    );
    for (const [at, queue] of received.entries()) {
      const got = (await queue.take((8 * each) / 3, 'publication')).map((context) => unpacked(context.data));
      for (let number = 0; number < 8; number += 1) {
        const expected = Array.from({ length: each / 3 }, (_, n) => 3 * n + (at % 3));
        assert.deepEqual(got.filter(([who]) => who === number).map(([, n]) => n), expected);
      }
    }
    assert.ok(received.every((queue) => queue.length === 0), 'nothing arrives twice');
  });

  check(`${encoding}: subscriptions made before connecting`, async (server, clients) => {
    const client = create(server.url, encoding);
    clients.push(client);
    const subscriptions = Array.from({ length: 20 }, (_, n) => subscriptionOf(client, `js-early-${n}`));
    for (const subscription of subscriptions) subscription.subscribe();
    client.connect();
    await Promise.all(subscriptions.map((subscription) => subscription.ready(15_000)));
    await client.publish('js-early-19', packed(client, 'now'));
    assert.equal(unpacked((await subscriptions[19].events.publication.next()).data), 'now');
  });

  check(`${encoding}: unsubscribe stops, subscribe starts again`, async (server, clients) => {
    const client = await connected(server.url, encoding);
    clients.push(client);
    const stopping = await subscribed(client, 'js-stop');
    const going = await subscribed(client, 'js-go-on');
    stopping.unsubscribe();
    assert.equal((await stopping.events.unsubscribed.next()).code, 0);
    await client.publish('js-stop', packed(client, 1));
    await client.publish('js-go-on', packed(client, 2));
    assert.equal(unpacked((await going.events.publication.next()).data), 2);
    assert.equal(stopping.events.publication.length, 0);
    stopping.subscribe();
    await stopping.ready(15_000);
    await stopping.publish(packed(client, 3));
    assert.equal(unpacked((await stopping.events.publication.next()).data), 3);
  });

  check(`${encoding}: rpc, presence and history are not available`, async (server, clients) => {
    const client = await connected(server.url, encoding);
    clients.push(client);
    const subscription = await subscribed(client, 'js-none');
    await assert.rejects(client.rpc('method', packed(client, {})), { code: 108 });
    await assert.rejects(subscription.presence(), { code: 108 });
    await assert.rejects(subscription.presenceStats(), { code: 108 });
    await assert.rejects(subscription.history({ limit: 1 }), { code: 108 });
  });

  check(`${encoding}: the 129th channel is refused`, async (server, clients) => {
    const client = await connected(server.url, encoding);
    clients.push(client);
    const subscriptions = Array.from({ length: 129 }, (_, n) => subscriptionOf(client, `js-${n}`));
    for (const subscription of subscriptions) subscription.subscribe();
    const outcomes = await Promise.allSettled(subscriptions.map((subscription) => subscription.ready(15_000)));
    assert.equal(outcomes.filter((outcome) => outcome.status === 'fulfilled').length, 128);
    assert.equal((await subscriptions[128].events.unsubscribed.next()).code, 106);
  });

  check(`${encoding}: a large message`, async (server, clients) => {
    const client = await connected(server.url, encoding);
    clients.push(client);
    const subscription = await subscribed(client, 'js-large');
    const large = 'ü'.repeat(30_000);
    await client.publish('js-large', packed(client, large));
    assert.equal(unpacked((await subscription.events.publication.next()).data), large);
  });

  check(`${encoding}: a message past the limit is final`, async (server, clients) => {
    const client = await connected(server.url, encoding);
    clients.push(client);
    client.publish('js-huge', packed(client, 'x'.repeat(70_000))).catch(() => {});
    assert.equal((await client.events.disconnected.next()).code, 3, 'message size limit');
  });

  check(`${encoding}: send without a handler is final`, async (server, clients) => {
    const client = await connected(server.url, encoding);
    clients.push(client);
    await client.send(packed(client, 'anybody?'));
    const context = await client.events.disconnected.next();
    assert.deepEqual([context.code, context.reason], [3508, 'not available']);
  });

  check(`${encoding}: SIGTERM is 3001, and the client comes back with its subscriptions`, async (_, clients) => {
    const first = await Server.start(['--insecure']);
    let second;
    try {
      const client = await connected(first.url, encoding);
      clients.push(client);
      await client.events.connecting.next();
      const subscription = await subscribed(client, 'js-restart');
      const resubscribed = new Queue();
      subscription.on('subscribed', (context) => resubscribed.put(context));
      const { listen, admin } = first.ready;
      const ended = first.stop();
      const context = await client.events.connecting.next();
      assert.deepEqual([context.code, context.reason], [3001, 'shutdown']);
      assert.equal(await ended, 0);
      second = await Server.start(['--insecure'], { listen, admin });
      await resubscribed.next('second subscribe');
      await client.publish('js-restart', packed(client, 'back'));
      assert.equal(unpacked((await subscription.events.publication.next()).data), 'back');
    } finally {
      await first.stop();
      await second?.stop();
      first.remove();
      second?.remove();
    }
  });
}

check('protobuf bytes that are no JSON end JSON subscribers with 3506', async (server, clients) => {
  const json = await connected(server.url, 'json');
  const protobuf = await connected(server.url, 'protobuf');
  const publisher = await connected(server.url, 'protobuf');
  clients.push(json, protobuf, publisher);
  await subscribed(json, 'js-bytes');
  const subscription = await subscribed(protobuf, 'js-bytes');
  await publisher.publish('js-bytes', new Uint8Array([0, 255, 1]));
  assert.deepEqual([...(await subscription.events.publication.next()).data], [0, 255, 1]);
  assert.equal((await json.events.disconnected.next()).code, 3506);
});

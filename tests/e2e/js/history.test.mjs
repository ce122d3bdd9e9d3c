// Histories: the SDK for JavaScript recovers over cuts, reads pages, and is told where it stands, in both encodings.

import assert from 'node:assert/strict';
import { connected, ENCODINGS, packed, subscriptionOf, unpacked } from './clients.mjs';
import { SECRET, token } from './server.mjs';
import { suite } from './suite.mjs';

const rules = (name, more) => `
[namespace.${name}]
history_size = 20
history_ttl = "60s"
force_recovery = true
allow_subscribe_for_client = true
allow_publish_for_client = true
allow_history_for_client = true
${more}`;
const check = suite([], {
  config: `
[token]
hmac_secret = "${SECRET}"
[client]
user_personal_channel = true
[channel]
history_size = 20
history_ttl = "60s"
force_recovery = true
allow_publish_for_client = true
${rules('stream', '')}
${rules('cache', 'force_recovery_mode = "cache"\n')}`,
});

const join = (server, encoding, sub) => connected(server.url, encoding, { token: token({ sub }) });

for (const encoding of ENCODINGS) {
  check(`${encoding}: a cut loses nothing`, async (server, clients) => {
    const channel = `stream:js-${encoding}`;
    const publisher = await join(server, encoding, 'ann');
    const client = await join(server, encoding, 'bob');
    clients.push(publisher, client);
    const subscription = subscriptionOf(client, channel);
    subscription.subscribe();
    const begun = await subscription.events.subscribed.next();
    assert.ok(begun.recoverable && begun.positioned && !begun.wasRecovering);
    await publisher.publish(channel, packed(publisher, 1));
    assert.equal((await subscription.events.publication.next()).offset, 1);
    // The transport breaks under the SDK, which comes back by itself.
    client._transport._transport.terminate();
    for (const number of [2, 3, 4]) await publisher.publish(channel, packed(publisher, number));
    const came = await subscription.events.publication.take(3, 'publication');
    assert.deepEqual(came.map((context) => [context.offset, unpacked(context.data)]), [[2, 2], [3, 3], [4, 4]]);
    const again = await subscription.events.subscribed.next();
    assert.ok(again.wasRecovering && again.recovered);
    const page = await subscription.history({ limit: 2, reverse: true });
    assert.deepEqual(page.publications.map((publication) => publication.offset), [4, 3]);
    const next = await subscription.history({ limit: 2, since: { offset: 1, epoch: page.epoch } });
    assert.deepEqual(next.publications.map((publication) => unpacked(publication.data)), [2, 3]);
    await assert.rejects(subscription.history({ limit: 2, since: { offset: 1, epoch: 'other' } }), { code: 112 });
  });

  check(`${encoding}: a cache brings the latest`, async (server, clients) => {
    const channel = `cache:js-${encoding}`;
    const publisher = await join(server, encoding, 'ann');
    clients.push(publisher);
    for (const number of [1, 2]) await publisher.publish(channel, packed(publisher, number));
    const client = await join(server, encoding, 'bob');
    clients.push(client);
    const subscription = client.newSubscription(channel, { since: { offset: 0, epoch: '' } });
    const came = new Promise((resolve) => subscription.on('publication', resolve));
    subscription.subscribe();
    const context = await came;
    assert.deepEqual([context.offset, unpacked(context.data)], [2, 2]);
  });

  check(`${encoding}: a message waits for its user`, async (server, clients) => {
    const user = `carl-${encoding}`;
    const publisher = await join(server, encoding, 'ann');
    const client = await join(server, encoding, user);
    clients.push(publisher, client);
    const begun = await client.events.subscribed.next();
    assert.ok(begun.recoverable && !begun.wasRecovering);
    client._transport._transport.terminate();
    await publisher.publish(`#${user}`, packed(publisher, 'hello'));
    const context = await client.events.publication.next();
    assert.deepEqual([context.channel, unpacked(context.data)], [`#${user}`, 'hello']);
    const again = await client.events.subscribed.next();
    assert.ok(again.wasRecovering && again.recovered);
  });
}

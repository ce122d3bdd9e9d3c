// Many SDK clients under remote control, for tests that drive clients of several languages on several nodes.
//
// Every line on stdin is an order in JSON, { id, do, ... }, answered by a line { id, result } or { id, error } on stdout:
//
//   open     name, url, encoding, token, channels   a client, connected and subscribed
//   publish  name, items: [[channel, data], ...]    all at once, in this order; the result has an error code or null of each
//   close    name
//
// What happens to the clients comes as lines { events: [[kind, name, ...], ...] } in between. Ends with its stdin.

import { createInterface } from 'node:readline';
import { create, packed, subscriptionOf, unpacked } from './clients.mjs';

const WAIT_MS = 15_000;

const clients = new Map();
let events = [];

function say(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

// Events of one turn of the loop leave in one line.
function tell(...event) {
  if (!events.length) {
    setImmediate(() => {
      say({ events });
      events = [];
    });
  }
  events.push(event);
}

const orders = {
  async open({ name, url, encoding, token, channels }) {
    const client = create(url, encoding, { token });
    clients.set(name, client);
    client.on('connected', (context) => tell('connected', name, context.client));
    client.on('connecting', (context) => tell('connecting', name, context.code));
    client.on('disconnected', (context) => tell('disconnected', name, context.code));
    client.on('publication', ({ channel, data, info }) => tell('publication', name, channel, unpacked(data), info?.client));
    client.connect();
    await client.ready(WAIT_MS);
    await Promise.all(
      channels.map((channel) => {
        const subscription = subscriptionOf(client, channel);
        subscription.on('publication', ({ data, info }) => tell('publication', name, channel, unpacked(data), info?.client));
        subscription.on('subscribing', ({ code }) => tell('subscribing', name, channel, code));
        subscription.on('unsubscribed', ({ code }) => tell('unsubscribed', name, channel, code));
        subscription.on('subscribed', () => tell('subscribed', name, channel));
        subscription.subscribe();
        return subscription.ready(WAIT_MS);
      }),
    );
    return null;
  },

  async publish({ name, items }) {
    const client = clients.get(name);
    const published = items.map(([channel, data]) => client.publish(channel, packed(client, data)));
    const outcomes = await Promise.allSettled(published);
    return outcomes.map(({ reason }) => (reason ? (reason.code ?? 0) : null));
  },

  async close({ name }) {
    clients.get(name).disconnect();
    clients.delete(name);
    return null;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: order, ...parts } = JSON.parse(line);
  orders[order](parts).then(
    (result) => say({ id, result }),
    (error) => say({ id, error: String(error?.message ?? JSON.stringify(error)) }),
  );
}
for (const client of clients.values()) client.disconnect();
process.exit(0);

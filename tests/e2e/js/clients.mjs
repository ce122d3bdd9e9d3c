// SDK clients of both encodings over `ws`, with their events as queues that can be awaited.

import { Centrifuge as JsonCentrifuge } from 'centrifuge';
import { Centrifuge as ProtobufCentrifuge } from 'centrifuge/build/protobuf';
import WebSocket from 'ws';

const WAIT_MS = 15_000;

export const ENCODINGS = ['json', 'protobuf'];

// Values in order of arrival; `next` waits for one, and fails after WAIT_MS.
export class Queue {
  #values = [];
  #waiting = [];

  put(value) {
    const taker = this.#waiting.shift();
    if (taker) taker(value);
    else this.#values.push(value);
  }

  get length() {
    return this.#values.length;
  }

  next(what = 'an event') {
    if (this.#values.length) return Promise.resolve(this.#values.shift());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${what} within ${WAIT_MS} ms`)), WAIT_MS);
      this.#waiting.push((value) => {
        clearTimeout(timer);
        resolve(value);
      });
    });
  }

  async take(count, what) {
    const taken = [];
    while (taken.length < count) taken.push(await this.next(what));
    return taken;
  }
}

function queues(emitter, names) {
  const events = {};
  for (const name of names) {
    events[name] = new Queue();
    emitter.on(name, (context) => events[name].put(context));
  }
  return events;
}

// A client that is not connected yet.
export function create(url, encoding, options = {}) {
  const Centrifuge = encoding === 'protobuf' ? ProtobufCentrifuge : JsonCentrifuge;
  const client = new Centrifuge(url, { websocket: WebSocket, minReconnectDelay: 50, maxReconnectDelay: 200, ...options });
  client.encoding = encoding;
  client.events = queues(client, ['connecting', 'connected', 'disconnected', 'error', 'subscribed', 'publication']);
  return client;
}

export async function connected(url, encoding, options) {
  const client = create(url, encoding, options);
  client.connect();
  await client.ready(WAIT_MS);
  return client;
}

// A subscription of `client`, already subscribed; what it receives is in `events`.
export async function subscribed(client, channel) {
  const subscription = subscriptionOf(client, channel);
  subscription.subscribe();
  await subscription.ready(WAIT_MS);
  return subscription;
}

export function subscriptionOf(client, channel, options) {
  const subscription = client.newSubscription(channel, options);
  subscription.events = queues(subscription, ['subscribing', 'subscribed', 'unsubscribed', 'publication', 'error']);
  return subscription;
}

// A value as the client's encoding carries it, and back.
export function packed(client, value) {
  return client.encoding === 'protobuf' ? new TextEncoder().encode(JSON.stringify(value)) : value;
}

export function unpacked(data) {
  return data instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(data)) : data;
}

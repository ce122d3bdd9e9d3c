// One SDK client under remote control, for tests of other languages.
//
//   peer.mjs URL ENCODING CHANNEL COUNT
//
// Says "subscribed", publishes COUNT messages when told "publish", prints every message it receives as one line of
// JSON, and exits 0 when told "end".

import { createInterface } from 'node:readline';
import { connected, packed, subscribed, unpacked } from './clients.mjs';

const [url, encoding, channel, count] = process.argv.slice(2);
const client = await connected(url, encoding);
const subscription = await subscribed(client, channel);
subscription.on('publication', (context) => console.log(JSON.stringify(unpacked(context.data))));
console.log('subscribed');

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'end') break;
  if (line === 'publish') {
    for (let n = 0; n < Number(count); n += 1) await client.publish(channel, packed(client, [`js-${encoding}`, n]));
  }
}
client.disconnect();
process.exit(0);

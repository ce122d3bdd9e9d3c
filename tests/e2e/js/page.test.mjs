// The built-in page of the admin address, as a person uses it: a real Chromium connects two clients, subscribes and
// publishes, and reads on one what the other has sent.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { chromium } from 'playwright-core';
import { suite } from './suite.mjs';

const STEP_MS_MAX = 15_000;

// Chromium calls home at every start unless it is told not to; a closed network then refuses many connections.
const QUIET = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

let browser;
before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.ROADSTEAD_CHROMIUM ?? '/usr/bin/chromium',
    args: QUIET,
    timeout: 60_000,
  });
});
after(() => browser?.close());

// Opens the page; what it complains about is collected and must be nothing.
async function open(server) {
  const page = await browser.newPage();
  page.setDefaultTimeout(STEP_MS_MAX);
  page.complaints = [];
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && page.complaints.push(message.text()));
  await page.goto(`http://${server.ready.admin}/`);
  return page;
}

const check = suite(['--insecure', '--echo']);

check('the page passes a message between two clients and shows the numbers move', async (server) => {
  const page = await open(server);
  const number = (name, text) => page.locator(`[data-metric="${name}"]`, { hasText: new RegExp(`^${text}$`) }).waitFor();
  await number('sessions', '0');
  for (const side of ['a', 'b']) {
    await page.click(`#${side}-connect`);
    await page.fill(`#${side}-channel`, 'harbour');
    await page.click(`#${side}-subscribe`);
  }
  await page.fill('#a-message', 'three ships at the roadstead');
  await page.click('#a-publish');
  await page.locator('#b-log', { hasText: 'three ships at the roadstead' }).waitFor();
  await page.fill('#b-message', 'anchored');
  await page.click('#b-publish');
  await page.locator('#a-log', { hasText: 'anchored' }).waitFor();
  for (const name of ['connections', 'sessions', 'subscriptions']) await number(name, '2');
  await page.click('#a-connect');
  await number('sessions', '1');
  assert.deepEqual(page.complaints, []);
  await page.close();
});

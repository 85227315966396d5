// Stripe's own client: node stripe.mjs DOOR KEY. Its base URL is set through its HTTP client.
import assert from 'node:assert/strict';
import Stripe from 'stripe';

const [door, key] = process.argv.slice(2);
const sent = [];
const through = (url, init) => {
  sent.push(init.headers);
  return fetch(String(url).replace('https://api.stripe.com', door), init);
};
const stripe = new Stripe(key, { httpClient: Stripe.createFetchHttpClient(through), maxNetworkRetries: 0, telemetry: false });

const ada = await stripe.customers.create({ email: 'ada@example.test', metadata: { team: 'core' } });
assert.equal(ada.metadata.team, 'core');
assert.equal((await stripe.customers.retrieve(ada.id)).email, 'ada@example.test');
await stripe.customers.create({ email: 'bob@example.test' });
// Page by page, one each.
const all = await stripe.customers.list({ limit: 1 }).autoPagingToArray({ limit: 10 });
assert.ok(all.length >= 2, String(all.length));
const once = { idempotencyKey: 'order-1' };
const [first, again] = [await stripe.products.create({ name: 'Pro' }, once), await stripe.products.create({ name: 'Pro' }, once)];
assert.ok(first.id && again.id);
await assert.rejects(stripe.customers.retrieve('cus_nope'),
  (error) => error instanceof Stripe.errors.StripeInvalidRequestError && error.statusCode === 404);
assert.equal((await stripe.customers.del(ada.id)).deleted, true);
await assert.rejects(new Stripe(`${key}x`, { httpClient: Stripe.createFetchHttpClient(through), maxNetworkRetries: 0 }).balance.retrieve(),
  (error) => error.statusCode === 401);
console.log(`stripe: ${sent.length} calls`);

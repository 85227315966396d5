// Slack's own client: node slack.mjs DOOR KEY
import assert from 'node:assert/strict';
import { WebClient } from '@slack/web-api';

const [door, key] = process.argv.slice(2);
const slack = new WebClient(key, { slackApiUrl: `${door}/`, retryConfig: { retries: 0 } });

assert.equal((await slack.auth.test()).ok, true);
assert.equal((await slack.chat.postMessage({ channel: 'C1', text: 'Hello', attachments: [{ text: 'a&b' }] })).ok, true);
assert.equal((await slack.reactions.add({ channel: 'C1', name: 'thumbsup', timestamp: '1.2' })).ok, true);
assert.equal((await slack.conversations.list({ limit: 10, types: 'public_channel' })).ok, true);
assert.equal((await slack.users.info({ user: 'U1' })).ok, true);
await assert.rejects(new WebClient(`${key}x`, { slackApiUrl: `${door}/`, retryConfig: { retries: 0 } }).auth.test());
console.log('slack: 6 calls');

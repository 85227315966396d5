// GitHub's own client, with another base URL and a key of this server: node octokit.mjs DOOR KEY
import assert from 'node:assert/strict';
import { Octokit } from 'octokit';

const [baseUrl, auth] = process.argv.slice(2);
const octokit = new Octokit({ auth, baseUrl, retry: { enabled: false }, throttle: { enabled: false } });
// GitHub's description names this type only; the client asks for one of GitHub's own.
octokit.hook.before('request', (options) => { options.headers.accept = 'application/json'; });

const { data: repo, headers, status } = await octokit.rest.repos.get({ owner: 'octocat', repo: 'Hello-World' });
assert.equal(status, 200);
assert.ok(repo.full_name.includes('/'), repo.full_name);
assert.equal(headers['skill-answered-by'], 'service');
assert.equal((await octokit.rest.users.getAuthenticated()).status, 200);
const issue = await octokit.rest.issues.create({ owner: 'octocat', repo: 'Hello-World', title: 'Found a bug', body: 'It broke.' });
assert.equal(issue.status, 201);
assert.equal(typeof issue.data.number, 'number');
assert.equal((await octokit.rest.issues.listForRepo({ owner: 'octocat', repo: 'Hello-World', state: 'all' })).status, 200);
const edited = await octokit.rest.issues.update({ owner: 'octocat', repo: 'Hello-World', issue_number: 1, state: 'closed' });
assert.equal(edited.status, 200);
// The service's errors are errors of its own client.
await assert.rejects(octokit.request('GET /repos/{owner}/{repo}', { owner: 'o', repo: 'r', headers: { prefer: 'code=404' } }),
  (error) => error.status === 404 && error.response.headers['skill-answered-by'] === 'service');
// Ours are told apart.
const stranger = new Octokit({ auth: `${auth}x`, baseUrl, retry: { enabled: false }, throttle: { enabled: false } });
await assert.rejects(stranger.rest.users.getAuthenticated(),
  (error) => error.status === 401 && error.response.headers['skill-answered-by'] === 'skill');
console.log('octokit: 7 calls');

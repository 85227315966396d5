// Connects an account in a real browser: node connect.mjs LINK SHOT.png
// Prints what the person saw, and everything that the browser complained about.
import { createRequire } from 'node:module';

const { chromium } = createRequire(`${process.env.REAL}/package.json`)('playwright-core');
const [link, shot] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});
const page = await browser.newPage({ viewport: { width: 390, height: 800 } });
const complaints = [];
page.on('pageerror', (error) => complaints.push(String(error)));
page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text()));
page.on('requestfailed', (request) => complaints.push(`${request.url()}: ${request.failure()?.errorText}`));
await page.addInitScript(() => addEventListener('securitypolicyviolation',
  (violation) => console.error(`CSP: ${violation.violatedDirective} ${violation.blockedURI}`)));

const facts = async () => ({
  url: page.url(), title: await page.title(), text: (await page.locator('body').innerText()).slice(0, 600),
  lang: await page.locator('html').getAttribute('lang'),
  overflow: await page.evaluate(() => document.documentElement.scrollWidth > innerWidth),
  buttons: await page.getByRole('button').count(),
});
await page.goto(link, { waitUntil: 'load' });
const before = await facts();
await page.screenshot({ path: shot.replace('.png', '-before.png'), fullPage: true });
await Promise.all([page.waitForURL(/\/oauth\/callback/, { timeout: 20000 }), page.getByRole('button').first().click()]);
await page.waitForLoadState('load');
const after = await facts();
await page.screenshot({ path: shot, fullPage: true });
console.log(JSON.stringify({ before, after, complaints }));
await browser.close();

// Debian's Chromium, driven by Playwright, and what a page did that it must not do.
import { createRequire } from "node:module";

// Where `cargo xtask setup` installs it, by package-lock.json.
const { chromium } = createRequire(new URL("../../.tools/page/", import.meta.url))("playwright-core");

// With a new profile, which Playwright makes and removes.
export function launch() {
  return chromium.launch({
    executablePath: "/usr/bin/chromium",
    headless: true,
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
}

// Collects requests that go elsewhere, errors and warnings on the console, and exceptions. `expected` are status codes
// that the agent is to answer with; the browser calls them errors.
export function watch(page, base) {
  const wrongs = [], expected = new Set();
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(`${base}/`) && url !== "data:,") wrongs.push(`a request to ${url}`);
  });
  page.on("console", (message) => {
    const status = /status of (\d+)/.exec(message.text());
    if (status && expected.has(Number(status[1]))) return;
    if (["error", "warning"].includes(message.type())) wrongs.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => wrongs.push(`exception: ${error.message}`));
  return { wrongs, expected };
}

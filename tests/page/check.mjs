// What the agent's page does on live traffic. Arguments: the base of the loopback listener, that of the TLS listener, a
// reader's and a writer's token, a port that new flows come from and go on coming from upwards. tests/tests/api/page.rs
// makes the agent and the traffic.
import assert from "node:assert/strict";
import { launch, watch } from "./browser.mjs";

const [base, secure, reader, writer, firstPort] = process.argv.slice(2);
const browser = await launch();
const open = async (options = {}, at = base) => {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ignoreHTTPSErrors: true, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  return { context, page, ...watch(page, at) };
};
const text = (page, selector) => page.locator(selector).innerText();
const numberOf = async (page, name) => {
  const shown = await page.locator("dl > div", { has: page.locator(`dt:text-is("${name}")`) }).locator("dd").innerText();
  return Number(shown.replaceAll(",", ""));
};
// Looks again until it holds: the page asks every two seconds.
const until = async (what, look) => {
  const deadline = Date.now() + 15_000;
  for (;;) {
    if (await look()) return;
    assert(Date.now() < deadline, `never came: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};

const checks = {
  async "services, classes, flows, policy and health are shown, and move"() {
    const { page, context, wrongs } = await open();
    const answer = await page.goto(base);
    const csp = answer.headers()["content-security-policy"];
    assert.match(csp, /^default-src 'none'/);
    await page.locator("#classes-chart polygon").first().waitFor({ state: "attached" });
    assert.match(await text(page, "#agent"), /labels act on packets/);
    const drawn = () => page.evaluate(() => ["classes-chart", "services-chart"].map((id) => {
      const box = document.getElementById(id).getBoundingClientRect();
      return { shapes: document.getElementById(id).innerHTML, said: document.getElementById(id).getAttribute("aria-label"), width: box.width };
    }));
    const before = await drawn(), seen = await numberOf(page, "packets seen");
    await until("new shapes in both charts", async () => {
      const now = await drawn();
      return now.every((chart, index) => chart.shapes !== before[index].shapes && chart.width > 100);
    });
    await until("more packets", async () => await numberOf(page, "packets seen") > seen);
    const said = (await drawn()).map((chart) => chart.said);
    assert.match(said[0], /realtime [1-9]/, "the call's class has a rate");
    assert.match(said[1], /RTP [1-9]/, "its service has one");
    assert.match(await text(page, "#classes"), /realtime\s+1\s/);
    assert.match(await text(page, "#services"), /RTP\s+realtime\s+1\s/);
    const ports = () => page.locator("#rows").innerText().then((rows) => [...rows.matchAll(/192\.0\.2\.10:(\d+)/g)].map((found) => Number(found[1])));
    await page.selectOption("#order", "latest");
    await until("a flow", async () => (await ports()).length > 0);
    const known = Math.max(...await ports());
    assert(known >= Number(firstPort));
    await until("a newer flow without a reload", async () => Math.max(...await ports()) > known);

    const policy = (await (await context.request.get(`${base}/v1/policy`)).json()).class;
    const rows = await page.locator("#policy tr").allInnerTexts();
    for (const [name, does] of Object.entries(policy)) {
      const row = rows.find((row) => row.startsWith(name));
      const dscp = does.existing_dscp === "never" ? "as it is" : does.dscp;
      assert(row?.includes(dscp) && row.includes(does.priority), `${name}: ${row}`);
    }
    const health = await text(page, "#health"), interfaces = await text(page, "#interfaces");
    assert.match(health, /agent\s+ready/);
    assert.match(health, /flow table\s+\d+ of [\d,]+/);
    assert.match(interfaces, /r0: captured by .*XDP, enforced by \w+/);

    await context.setOffline(true);
    await until("news of a silent agent", async () => /does not answer; what is shown is of \d\d:/.test(await text(page, "#agent")));
    assert(await page.locator("#agent.bad").count());
    await context.setOffline(false);
    await until("the agent again", async () => /labels act/.test(await text(page, "#agent")));
    assert.deepEqual(wrongs.filter((wrong) => !wrong.includes("ERR_INTERNET_DISCONNECTED")), []);
    await context.close();
  },

  async "flows are searched, and a mistake is told"() {
    const { page, context, wrongs, expected } = await open();
    await page.goto(base);
    const rows = () => page.locator("#rows tr").allInnerTexts();
    const matching = (what, words, all) => {
      return page.fill("#filter", words).then(() => until(what, async () => {
        const found = await rows();
        return found.length > 0 && found.every(all);
      }));
    };
    await until("several flows", async () => (await rows()).length > 2);
    await matching("only UDP", "udp", (row) => row.includes("udp "));
    await matching("only that class", "realtime", (row) => row.includes("realtime"));
    await matching("only that prefix and port", `198.51.100.0/24 ${firstPort}`, (row) => row.includes(`:${firstPort}`) && row.includes("198.51.100.10"));
    await matching("an empty table that says so", "203.0.113.0/24", (row) => /no flow that has a label matches/.test(row));
    expected.add(400);
    await page.fill("#filter", "no-such-service");
    await until("a mistake", async () => /no-such-service/.test(await text(page, "#found")));
    await page.fill("#filter", "");
    await until("all flows", async () => (await rows()).length > 2 && !/no-such/.test(await text(page, "#found")));
    const shown = /(\d+) shown of (\d+)/.exec(await text(page, "#found"));
    assert(shown && Number(shown[1]) <= Number(shown[2]), await text(page, "#found"));
    assert.deepEqual(wrongs, []);
    await context.close();
  },

  async "the keyboard reaches and works everything, and shows where it is"() {
    const { page, context, wrongs } = await open();
    await page.goto(base);
    await page.locator("#rows tr").nth(2).waitFor();
    const focus = () => page.evaluate(() => {
      const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
      return {
        name: at.id || at.getAttribute("aria-label") || at.textContent.trim(), seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
        inside: box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.left >= 0,
      };
    });
    // Round the page, until focus leaves it.
    const reached = [];
    for (let presses = 0; presses < 30; presses += 1) {
      await page.keyboard.press("Tab");
      const now = await focus();
      if (reached.some((one) => one.name === now.name) || await page.evaluate(() => document.activeElement === document.body)) break;
      assert(now.seen && now.inside, `focus cannot be seen on ${JSON.stringify(now)}`);
      reached.push(now);
    }
    const wanted = await page.evaluate(() => [...document.querySelectorAll("a, button, input, select, textarea, summary, [tabindex='0']")]
      .filter((one) => one.checkVisibility()).map((one) => one.id || one.getAttribute("aria-label") || one.textContent.trim()));
    assert.deepEqual(reached.map((one) => one.name), wanted);

    await page.reload();
    await page.locator("#rows tr").nth(2).waitFor();
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "flows", "the skip link leads to the flows");
    await page.keyboard.press("Tab");
    assert.equal((await focus()).name, "filter");
    // At once: where keys come slowly, "u" is asked for, which means nothing.
    await page.keyboard.insertText("udp");
    await until("only UDP", async () => (await page.locator("#rows tr").allInnerTexts()).every((row) => row.includes("udp ")));
    await page.keyboard.press("Escape");
    await until("all flows", async () => (await page.locator("#rows tr").allInnerTexts()).some((row) => row.includes("tcp ")));
    assert.equal(await page.inputValue("#filter"), "");
    await page.keyboard.press("Tab");
    assert.equal((await focus()).name, "order");
    await page.keyboard.press("ArrowDown");
    assert.equal(await page.inputValue("#order"), "bytes");

    // Space on Pause: what is shown stands still.
    await page.focus("#pause");
    await page.keyboard.press("Space");
    assert.equal(await page.getAttribute("#pause", "aria-pressed"), "true");
    // What was under way may end; then it is quiet for longer than it waits between two looks.
    const asks = () => page.waitForRequest(() => true, { timeout: 3_000 }).then(() => true, () => false);
    await until("a pause", async () => !await asks());
    const still = await numberOf(page, "packets seen");
    assert(!await asks(), "it asks while it is paused");
    assert.equal(await numberOf(page, "packets seen"), still);
    await page.keyboard.press("Enter");
    await until("more packets", async () => await numberOf(page, "packets seen") > still);
    // The token's form: opened, left by Escape, and focus is where it was.
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    assert.equal((await focus()).name, "token");
    await page.keyboard.press("Escape");
    assert(await page.locator("#login").isHidden());
    assert.equal((await focus()).name, "rights");
    assert.deepEqual(wrongs, []);
    await context.close();
  },

  async "it can be read dark and light, wide and on a phone"() {
    const grounds = [];
    for (const colorScheme of ["light", "dark"]) {
      for (const width of [1200, 360]) {
        const { page, context, wrongs } = await open({ colorScheme, viewport: { width, height: 780 } });
        await page.goto(base);
        await page.locator("#rows tr").nth(2).waitFor();
        const found = await page.evaluate(measure);
        const where = `${colorScheme}, ${width} px`;
        grounds.push(found.ground);
        assert.deepEqual(found.faint, [], `${where}: contrast below 4.5`);
        assert.deepEqual(found.outside, [], `${where}: beyond the screen's edge`);
        assert(found.scrollWidth <= width, `${where}: ${found.scrollWidth} px wide`);
        assert.deepEqual(found.small, [], `${where}: too small for a finger`);
        assert.deepEqual(wrongs, []);
        await context.close();
      }
    }
    assert(grounds[0] > 0.8 && grounds[2] < 0.1, `light and dark: ${grounds}`);
  },

  async "who has no write token cannot change the policy, and who has one can"() {
    const { page, context, wrongs, expected } = await open();
    await page.goto(base);
    await page.locator("#policy tr").nth(2).waitFor();
    assert(await page.locator("#change").isHidden());
    assert.match(await text(page, "#may"), /takes a token with the role write/);
    const token = async (value) => {
      await page.click("#rights");
      await page.fill("#token", value);
      await page.keyboard.press("Enter");
    };
    await token(reader);
    await page.waitForResponse((response) => response.url().endsWith("/v1/policy"));
    await page.waitForResponse((response) => response.url().includes("/v1/flows"));
    assert(await page.locator("#change").isHidden());
    await token(writer);
    await page.locator("#change").waitFor();
    await page.focus("#change summary");
    await page.keyboard.press("Enter");
    const written = async () => JSON.parse(await page.inputValue("#document"));
    // A browser tells of an opened <details> when it next has time (HTML, 4.11.1).
    await until("the policy in force", async () => await page.inputValue("#document") !== "");
    const policy = await written();
    assert.equal(policy.class.web.dscp, "AF21");
    expected.add(422).add(412);
    policy.class.web.dscp = "AF99";
    await page.fill("#document", JSON.stringify(policy));
    await page.click("#edit button:not([type])");
    await until("the mistake", async () => /Nothing is changed: class.web.dscp/.test(await text(page, "#outcome")));
    await page.fill("#document", "{");
    await page.click("#edit button:not([type])");
    await until("no JSON", async () => /Nothing is changed: no JSON/.test(await text(page, "#outcome")));
    policy.class.web.dscp = "AF22";
    await page.fill("#document", JSON.stringify(policy));
    await page.click("#edit button:not([type])");
    await until("success", async () => /In force until the agent ends/.test(await text(page, "#outcome")));
    await until("the new code point", async () => /web\s+1:12\s+AF22/.test(await text(page, "#policy")));
    // Somebody else changes it: the next change from here is refused, and begun anew.
    const headers = { authorization: `Bearer ${writer}`, "if-match": "*" };
    assert.equal((await context.request.put(`${base}/v1/policy`, { headers, data: { class: { web: { dscp: "CS3" } } } })).status(), 200);
    await page.click("#edit button:not([type])");
    await until("refusal", async () => /Nothing is changed: another policy is in force by now/.test(await text(page, "#outcome")));
    await until("the other's policy", async () => /web\s+as it is\s+CS3/.test(await text(page, "#policy")));
    await page.click("#anew");
    assert.deepEqual(await written(), { class: { web: { dscp: "CS3" } } });
    // The token is of this tab, and can be given up.
    assert.equal(await page.evaluate(() => localStorage.length + document.cookie.length), 0);
    await page.click("#rights");
    await page.click("#forget");
    await page.locator("#change").waitFor({ state: "hidden" });
    assert.deepEqual(wrongs, []);
    await context.close();
  },

  async "beyond loopback it asks for a token first, and tells of one that nobody has"() {
    const { page, context, wrongs, expected } = await open({}, secure);
    expected.add(401);
    await page.goto(secure);
    await page.locator("#login").waitFor();
    assert.equal(await page.locator("#rows tr").count(), 0);
    await page.keyboard.type("nobody-has-this-token");
    await page.keyboard.press("Enter");
    await until("a refusal", async () => /nobody has this token/.test(await text(page, "#agent")));
    await page.locator("#login").waitFor();
    await page.keyboard.type(reader);
    await page.keyboard.press("Enter");
    await page.locator("#rows tr").nth(2).waitFor();
    assert(await page.locator("#login").isHidden());
    assert.deepEqual(wrongs, []);
    await context.close();
  },

  async "its content security policy holds"() {
    const { page, context } = await open();
    await page.goto(base);
    const broken = await page.evaluate(async () => {
      const violations = [];
      document.addEventListener("securitypolicyviolation", (event) => violations.push(event.effectiveDirective));
      const script = document.createElement("script");
      script.textContent = "window.got = 'inline script'";
      document.body.append(script);
      const image = new Image();
      image.src = "http://192.0.2.10/x.png";
      const frame = document.createElement("iframe");
      frame.src = "/healthz";
      document.body.append(frame);
      const fetched = await fetch("http://192.0.2.10/").then(() => "elsewhere", () => undefined);
      await new Promise((resolve) => setTimeout(resolve, 200));
      return { violations: violations.sort(), got: window.got ?? fetched };
    });
    assert.deepEqual(broken, { violations: ["connect-src", "frame-src", "img-src", "script-src-elem"], got: undefined });
    await context.close();
  },
};

// Runs in the page: contrast of each text with what it stands on (WCAG 2.2, 1.4.3), what is beyond the edge, what a
// finger would miss (2.5.8).
function measure() {
  const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return luminance(colour);
    }
    return 1;
  };
  const faint = [], outside = [], small = [];
  for (const element of document.body.querySelectorAll("*")) {
    if (!element.checkVisibility() || element.closest("svg")) continue;
    const box = element.getBoundingClientRect();
    if (box.right > innerWidth + 1 && !element.closest(".scroll")) outside.push(element.outerHTML.slice(0, 80));
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (own && box.right > 0) {
      const [a, b] = [luminance(parse(getComputedStyle(element).color)), ground(element)];
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (contrast < 4.5) faint.push(`${contrast.toFixed(2)} ${element.textContent.slice(0, 40)}`);
    }
    if (element.matches("button, input, select, summary") && box.height < 24) small.push(element.outerHTML.slice(0, 80));
  }
  return { ground: ground(document.body), faint, outside, small, scrollWidth: document.documentElement.scrollWidth };
}

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  const start = Date.now();
  try {
    await check();
    console.log(`ok: ${name} (${((Date.now() - start) / 1e3).toFixed(1)} s)`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED: ${name}\n${error.stack}`);
  }
}
await browser.close();
process.exitCode = failed ? 1 : 0;

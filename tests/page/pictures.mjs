// Pictures of the page and of `ntc top` while an agent is at work. Arguments: the agent's loopback listener, the program
// `ntc`, its pin directory, the folder to write to, and for how many seconds the page draws first. Called by
// `cargo xtask run --pictures`.
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { launch } from "./browser.mjs";

const [base, ntc, pins, folder, seconds] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const browser = await launch();
const open = async (options) => {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  await page.goto(base);
  return page;
};
const light = await open({ colorScheme: "light", viewport: { width: 1000, height: 860 } });
const dark = await open({ colorScheme: "dark", viewport: { width: 1000, height: 700 } });
const phone = await open({ colorScheme: "light", viewport: { width: 360, height: 720 } });

const tmux = (...words) => execFileSync("tmux", ["-L", `ntc-pictures-${process.pid}`, "-f", "/dev/null", ...words], { encoding: "utf8" });
tmux("new-session", "-d", "-x", "80", "-y", "24", `${ntc} top --pin-dir ${pins}`);
try {
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const shot = (page, name) => page.screenshot({ path: `${folder}/${name}.png` });
  await shot(light, "page-light");
  await dark.evaluate(() => document.getElementById("flows").scrollIntoView());
  await shot(dark, "page-dark");
  await shot(phone, "phone-rates");
  await phone.evaluate(() => document.getElementById("flows").scrollIntoView());
  await shot(phone, "phone-flows");
  for (const [key, name] of [["1", "top-flows"], ["2", "top-services"], ["4", "top-agent"]]) {
    tmux("send-keys", key);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await terminal(tmux("capture-pane", "-p", "-e"), name);
  }
} finally {
  tmux("kill-server");
  await browser.close();
}

// The terminal's screen as the browser draws it.
async function terminal(screen, name) {
  const page = await browser.newPage({ viewport: { width: 900, height: 600 } });
  await page.setContent(`<style>
    pre { font: 14px/1.25 "DejaVu Sans Mono", monospace; color: #d8dde3; background: #14171a; padding: 10px 14px; width: max-content; margin: 0; }
  </style><pre></pre>`);
  await page.evaluate(paint, screen.replace(/\n+$/, ""));
  await page.locator("pre").screenshot({ path: `${folder}/${name}.png` });
  await page.close();
}

// Runs in the browser: text with SGR sequences (ECMA-48 8.3.117) as coloured spans.
function paint(screen) {
  const normal = ["#5c6570", "#ff8a8a", "#7fd18b", "#e6c25a", "#7ab7ff", "#dd9cf0", "#63d0d8", "#d8dde3"];
  const [front, back] = ["#d8dde3", "#14171a"], pre = document.querySelector("pre");
  let style = {};
  for (const part of screen.split(/(\x1b\[[\d;]*m)/)) {
    const codes = /^\x1b\[([\d;]*)m$/.exec(part);
    if (!codes) {
      const span = document.createElement("span");
      const { colour = front, ground = back, reverse, bold, dim } = style;
      span.textContent = part;
      span.style.color = reverse ? ground : colour;
      span.style.background = reverse ? colour : ground;
      span.style.fontWeight = bold ? "bold" : "normal";
      span.style.opacity = dim ? "0.65" : "1";
      pre.append(span);
      continue;
    }
    const numbers = codes[1].split(";").map(Number);
    while (numbers.length) {
      const code = numbers.shift();
      if (code === 0) style = {};
      else if (code === 1) style.bold = true;
      else if (code === 2) style.dim = true;
      else if (code === 22) style.bold = style.dim = false;
      else if (code === 7) style.reverse = true;
      else if (code === 27) style.reverse = false;
      else if (code >= 30 && code <= 37) style.colour = normal[code - 30];
      else if (code >= 90 && code <= 97) style.colour = normal[code - 90];
      else if (code === 38 && numbers.shift() === 5) style.colour = normal[numbers.shift() % 8];
      else if (code === 39) delete style.colour;
    }
  }
}

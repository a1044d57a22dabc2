// Asks the agent every two seconds and shows what it says. Text only ever goes in as text.
const $ = (id) => document.getElementById(id);
const every = 2000, kept = 150;
const colours = {
  unknown: "#8a949e", management: "#a06cd5", web: "#2f9e44", realtime: "#e64980", streaming: "#3b82f6",
  interactive: "#0ca5b0", bulk: "#e0a100", mail: "#f2711c", industrial: "#7f8f29", rpc: "#795548", tunnel: "#607d8b",
};
const history = [];
let paused = false, pages = 1, asking = false, again = false;

class Refused extends Error {
  constructor(status, detail) { super(detail); this.status = status; }
}

async function ask(path) {
  const token = sessionStorage.getItem("token");
  const answer = await fetch(path, { headers: token ? { authorization: `Bearer ${token}` } : {}, cache: "no-store" });
  const body = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, body.detail ?? answer.statusText);
  return body;
}

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

const number = (value) => value.toLocaleString("en");
function scaled(value, unit) {
  const units = ["", "k", "M", "G", "T"];
  let step = 0;
  while (value >= 999.5 && step < units.length - 1) { value /= 1000; step += 1; }
  return `${step && value < 99.95 ? value.toFixed(1) : Math.round(value)} ${units[step]}${unit}`;
}
const rate = (bits) => scaled(bits ?? 0, "bit/s");
const time = (us) => us < 1000 ? `${us} µs` : us < 1e6 ? `${(us / 1e3).toFixed(1)} ms` : `${(us / 1e6).toFixed(1)} s`;
const place = (ip, port) => ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;

function list(id, pairs) {
  $(id).replaceChildren(...pairs.map(([name, value, bad]) => {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", value, bad ? "bad" : ""));
    return pair;
  }));
}

function row(cells) {
  const made = element("tr");
  made.append(...cells);
  return made;
}

function named(name) {
  const cell = element("td"), key = element("span", "", "key");
  key.style.background = colours[name] ?? colours.unknown;
  cell.append(key, name);
  return cell;
}

// Each word of the filter is what it looks like, as in `ntc top`.
function query(classes) {
  const names = new Set(classes.map((known) => known.name));
  const asked = new URLSearchParams({ limit: String(Math.min(100 * pages, 1000)), order: $("order").value });
  for (const word of $("filter").value.trim().split(/\s+/).filter(Boolean)) {
    if (/^\d{1,5}$/.test(word)) asked.set("port", word);
    else if (/^[0-9.]+(\/\d+)?$/.test(word) || (word.includes(":") && /^[0-9a-f:.]+(\/\d+)?$/i.test(word))) asked.set("prefix", word);
    else if (word === "tcp" || word === "udp") asked.set("proto", word);
    else if (word === "provisional" || word === "final") asked.set("stage", word);
    else if (word.split(",").every((name) => names.has(name))) asked.set("class", word);
    else asked.set("service", word);
  }
  return asked;
}

function draw(classes) {
  const now = Date.now();
  history.push({ now, rates: Object.fromEntries(classes.map((one) => [one.name, one.bits_per_s])) });
  if (history.length > kept) history.shift();
  const top = Math.max(1, ...history.map(({ rates }) => Object.values(rates).reduce((a, b) => a + b, 0)));
  const x = (at) => 300 - (now - at) / (kept * every) * 300;
  const below = history.map(() => 0);
  const areas = classes.filter((one) => history.some(({ rates }) => rates[one.name] > 0)).map((one) => {
    const lower = history.map(({ now: at }, index) => `${x(at)},${100 - below[index] / top * 96}`).reverse();
    const upper = history.map(({ now: at, rates }, index) => {
      below[index] += rates[one.name] ?? 0;
      return `${x(at)},${100 - below[index] / top * 96}`;
    });
    const area = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
    area.setAttribute("points", [...upper, ...lower].join(" "));
    area.setAttribute("fill", colours[one.name] ?? colours.unknown);
    return area;
  });
  $("chart").replaceChildren(...areas);
  $("chart").setAttribute("aria-label", `Rate of each class over time, at most ${rate(top)}`);
}

function show(agent, model, stats, classes, services, page) {
  const ledger = stats.ledger, silent = agent.interfaces.filter((one) => one.silent?.length);
  $("agent").textContent = `${agent.version} · ${model.name} ${model.version} · `
    + (agent.ready ? agent.dry_run ? "dry run: packets are left alone" : "labels count" : "not ready");
  $("agent").classList.toggle("bad", !agent.ready);
  list("numbers", [
    ["labelled flows", number(stats.labelled_now)],
    ["of these provisional", number(stats.provisional_now)],
    ["their rate", rate(stats.bits_per_s)],
    ["deciding packet to label, p50", time(stats.decided_us.p50)],
    ["the same, p99", time(stats.decided_us.p99)],
    ["packets seen", number(ledger.seen)],
  ]);
  draw(classes);
  $("classes").replaceChildren(...classes.map((one) => row([
    named(one.name), element("td", number(one.flows), "n"), element("td", rate(one.bits_per_s), "n"),
    element("td", number(one.packets), "n"), element("td", one.policy?.priority ?? "–"),
    element("td", one.policy?.dscp ?? "–"), element("td", one.policy ? one.policy.min_confidence.toFixed(2) : "–", "n"),
  ])));
  const live = services.filter((one) => one.flows > 0).sort((a, b) => b.flows - a.flows);
  $("services").replaceChildren(...live.map((one) => {
    const item = element("li"), bar = element("meter");
    bar.max = live[0].flows;
    bar.value = one.flows;
    bar.setAttribute("aria-label", `${one.flows} flows`);
    const name = element("span", one.name);
    name.title = one.name;
    item.append(name, bar, element("span", number(one.flows), "n"));
    return item;
  }));
  if (!live.length) $("services").replaceChildren(element("li", "no labelled flow at this time"));
  $("rows").replaceChildren(...page.flows.map((flow) => row([
    element("td", flow.service), named(flow.class),
    element("td", `${flow.stage === "final" ? "" : "~"}${flow.confidence.toFixed(2)}`, "n"),
    element("td", `${flow.proto} ${place(flow.src_ip, flow.src_port)}`), element("td", place(flow.dst_ip, flow.dst_port)),
    element("td", rate(flow.bits_per_s), "n"), element("td", scaled(flow.bytes, "B"), "n"),
  ])));
  $("found").textContent = `${number(page.flows.length)} shown, ${number(page.total)} labelled`;
  $("more").hidden = page.flows.length < 100 * pages || pages >= 10;
  const counts = stats.enforcement;
  list("health", [
    ["every packet went one way", ledger.closes ? "yes" : "some are under way"],
    ["packets lost", number(ledger.dropped), ledger.dropped > 0],
    ["flows not classified (shed)", number(ledger.shed_flows), ledger.shed_flows > 0],
    ["flows whose question waited", number(stats.assembler.deferred)],
    ["failed", number(stats.failed), stats.failed > 0],
    ["packets by label / by mark", `${number(counts.labelled)} / ${number(counts.by_mark)}`],
    ["without a heartbeat", number(counts.stale), counts.stale > 0],
    ["slow readers dropped", number(stats.api.slow_readers)],
  ]);
  $("interfaces").replaceChildren(...agent.interfaces.map((one) => element("li",
    `${one.interface}: ${one.capture ?? "not captured"}, ${one.enforce ?? "not enforced"}`
    + (one.silent?.length ? `; silent: ${one.silent.join(", ")}` : ""), one.silent?.length ? "bad" : "")));
  if (silent.length) $("agent").textContent += ` · programs are silent on ${silent.map((one) => one.interface).join(", ")}`;
}

async function look() {
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  again = false;
  try {
    const [agent, model, stats, classes, services] =
      await Promise.all(["agent", "model", "stats", "classes", "services"].map((name) => ask(`/v1/${name}`)));
    let page = { flows: [], total: stats.labelled_now }, mistake = "";
    try {
      page = await ask(`/v1/flows?${query(classes)}`);
    } catch (error) {
      if (error.status !== 400) throw error;
      mistake = error.message;
    }
    show(agent, model, stats, classes, services, page);
    if (mistake) $("found").textContent = mistake;
    $("login").hidden = true;
  } catch (error) {
    $("agent").textContent = error.status ? error.message : "the agent does not answer";
    $("agent").classList.add("bad");
    $("login").hidden = error.status !== 401;
  } finally {
    asking = false;
    if (again) look();
  }
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  if (!paused) look();
});
$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
  $("token").value = "";
  look();
});
$("search").addEventListener("submit", (event) => { event.preventDefault(); look(); });
$("filter").addEventListener("input", () => { pages = 1; look(); });
$("order").addEventListener("change", () => { pages = 1; look(); });
$("more").addEventListener("click", () => { pages += 1; look(); });
setInterval(() => { if (!paused && !document.hidden) look(); }, every);
look();

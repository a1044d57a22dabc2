// Asks the agent every two seconds and shows what it says. Text only ever goes in as text.
const $ = (id) => document.getElementById(id);
const every = 2000, kept = 150, shownServices = 8;
// All three times as bright or dark as either background.
const colours = {
  unknown: "#7d8790", management: "#9a66d0", web: "#2f9e44", realtime: "#e0407a", streaming: "#3b82f6",
  interactive: "#0b93a0", bulk: "#b98300", mail: "#d9601a", industrial: "#7a8a28", rpc: "#a1705a", tunnel: "#607d8b",
};
const palette = ["#3b82f6", "#d9601a", "#2f9e44", "#e0407a", "#b98300", "#9a66d0", "#0b93a0", "#7a8a28"];
const history = [], serviceColours = new Map();
let paused = false, pages = 1, asking = false, again = false, denied = false, answered, policy, edited;

class Refused extends Error {
  constructor(status, detail) { super(detail); this.status = status; }
}

async function send(path, options = {}) {
  const token = sessionStorage.getItem("token"), headers = { ...options.headers };
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(path, { ...options, headers, cache: "no-store" });
  const body = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, body.detail ?? answer.statusText);
  return { body, tag: answer.headers.get("etag"), allows: answer.headers.get("allow") ?? "" };
}

const ask = async (path) => (await send(path)).body;

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
function span(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60 % 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds / 3600 % 24)} h`;
}

function list(id, pairs) {
  $(id).replaceChildren(...pairs.map(([name, value, bad]) => {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", value, bad ? "bad" : ""));
    return pair;
  }));
}

function row(...cells) {
  const made = element("tr");
  made.append(...cells);
  return made;
}

function none(columns, text) {
  const cell = element("td", text, "none");
  cell.colSpan = columns;
  return row(cell);
}

// Into a table that is laid out as cards on a phone, and is a table all the same.
function fill(id, rows) {
  for (const made of rows) {
    made.setAttribute("role", "row");
    for (const one of made.cells) one.setAttribute("role", "cell");
  }
  $(id).replaceChildren(...rows);
}

function named(name, colour = colours[name] ?? colours.unknown) {
  const cell = element("td"), key = element("span", "", "key");
  if (colour) key.style.background = colour;
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

// Runs of looks without a pause between them: what happened during one nobody knows.
function runs() {
  const found = [];
  history.forEach((look, index) => {
    if (index && look.now - history[index - 1].now < 3 * every) found.at(-1).push(look);
    else found.push([look]);
  });
  return found;
}

// Areas of up to five minutes, one on the other; `layers` are names with colours, `of` a look's rate of a name.
function draw(id, layers, of) {
  const now = history.at(-1).now, width = Math.min(kept * every, Math.max(60_000, now - history[0].now));
  const top = Math.max(1, ...history.map((look) => layers.reduce((sum, [name]) => sum + of(look, name), 0)));
  const x = (look) => 300 - (now - look.now) / width * 300, y = (height) => 100 - height / top * 98;
  const areas = runs().flatMap((run) => {
    const below = run.map(() => 0);
    return layers.map(([name, colour]) => {
      const lower = run.map((look, index) => `${x(look)},${y(below[index])}`).reverse();
      const upper = run.map((look, index) => `${x(look)},${y(below[index] += of(look, name))}`);
      const area = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
      area.setAttribute("points", [...upper, ...lower].join(" "));
      area.setAttribute("fill", colour);
      return area;
    });
  });
  const chart = $(id), said = layers.map(([name]) => `${name} ${rate(of(history.at(-1), name))}`).join(", ");
  chart.replaceChildren(...areas);
  chart.setAttribute("aria-label", `Rates over time, at most ${rate(top)}; now ${said || "nothing"}`);
  const labels = [["top", `${rate(top)} at most`], ["from", width < 300_000 ? `${Math.round(width / 1000)} s ago` : "5 min ago"], ["to", "now"]];
  chart.parentElement.querySelectorAll("span").forEach((label) => label.remove());
  chart.parentElement.append(...labels.map(([kind, text]) => element("span", text, kind)));
}

// Those that carry most get a colour, and keep it as long as they do.
function colourServices() {
  const sums = new Map();
  for (const look of history) {
    for (const [name, bits] of Object.entries(look.services)) sums.set(name, (sums.get(name) ?? 0) + bits);
  }
  const most = [...sums].filter(([, sum]) => sum > 0).sort((a, b) => b[1] - a[1]).slice(0, shownServices).map(([name]) => name);
  for (const name of [...serviceColours.keys()]) if (!most.includes(name)) serviceColours.delete(name);
  for (const name of most) {
    if (!serviceColours.has(name)) serviceColours.set(name, palette.find((colour) => ![...serviceColours.values()].includes(colour)));
  }
}

function showRates(classes, services) {
  const rates = (all) => Object.fromEntries(all.filter((one) => one.bits_per_s > 0).map((one) => [one.name, one.bits_per_s]));
  history.push({ now: Date.now(), classes: rates(classes), services: rates(services) });
  while (history.at(-1).now - history[0].now > kept * every) history.shift();
  const seen = classes.map((one) => one.name).filter((name) => history.some((look) => look.classes[name]));
  draw("classes-chart", seen.map((name) => [name, colours[name] ?? colours.unknown]), (look, name) => look.classes[name] ?? 0);
  $("classes").replaceChildren(...classes.map((one) => row(
    named(one.name), element("td", number(one.flows), "n"), element("td", rate(one.bits_per_s), "n"),
    element("td", number(one.packets), "n"),
  )));
  colourServices();
  const others = (look) => Object.entries(look.services).filter(([name]) => !serviceColours.has(name)).reduce((sum, [, bits]) => sum + bits, 0);
  const layers = [...serviceColours];
  if (history.some(others)) layers.push(["others", colours.unknown]);
  draw("services-chart", layers, (look, name) => name === "others" ? others(look) : look.services[name] ?? 0);
  const live = services.filter((one) => one.flows > 0).sort((a, b) => b.bits_per_s - a.bits_per_s || b.flows - a.flows);
  $("services").replaceChildren(...live.map((one) => row(
    named(one.name, serviceColours.get(one.name) ?? colours.unknown), element("td", one.class),
    element("td", number(one.flows), "n"), element("td", rate(one.bits_per_s), "n"),
  )));
  if (!live.length) $("services").replaceChildren(none(4, "no flow has a label now"));
}

function showFlows(page) {
  const cell = (text, kind) => element("td", text, kind);
  const rows = page.flows.map((flow) => row(
    cell(flow.service), named(flow.class), cell(`${flow.stage === "final" ? "" : "~"}${flow.confidence.toFixed(2)}`, "n"),
    cell(`${flow.proto} ${place(flow.src_ip, flow.src_port)}`), cell(place(flow.dst_ip, flow.dst_port)),
    cell(rate(flow.bits_per_s), "n"), cell(scaled(flow.bytes, "B"), "n"),
  ));
  const empty = $("filter").value.trim() && page.total ? "no flow that has a label matches" : "no flow has a label now";
  fill("rows", rows.length ? rows : [none(7, empty)]);
  $("found").textContent = `${number(page.flows.length)} shown of ${number(page.total)}`;
  $("more").hidden = page.flows.length < 100 * pages || pages >= 10;
}

const shownKeys = ["priority", "dscp", "existing_dscp", "min_confidence"];
const said = (value) => Array.isArray(value) ? value.join(" ") : typeof value === "object" ? JSON.stringify(value) : String(value);
const pairs = (object, without = []) =>
  Object.entries(object).filter(([key]) => !without.includes(key)).map(([key, value]) => `${key} ${said(value)}`).join(", ");

function showPolicy({ body, tag, allows }, dryRun) {
  policy = { body, tag };
  const { class: classes = {}, rule: rules = [], ...others } = body;
  const rows = Object.entries(classes).map(([name, does]) => row(
    named(name), element("td", does.priority ?? "as it is"),
    element("td", does.dscp === undefined || does.existing_dscp === "never" ? "as it is" : String(does.dscp)),
    element("td", does.existing_dscp === "override" ? "replaced" : "kept"),
    element("td", (does.min_confidence ?? 0.5).toFixed(2), "n"), element("td", pairs(does, shownKeys)),
  ));
  fill("policy", rows.length ? rows : [none(6, "no class: every packet is left alone")]);
  $("rules").replaceChildren(
    ...rules.map((rule, index) => element("li", `rule ${index + 1}, before any label: ${pairs(rule)}`)),
    ...Object.entries(others).map(([key, value]) => element("li", `${key}: ${typeof value === "object" ? pairs(value) : said(value)}`)),
  );
  const may = allows.includes("PUT");
  $("change").hidden = !may;
  $("may").textContent = (dryRun ? "Dry run: this is counted, and no packet is touched. " : "")
    + (may ? "" : "It can be read here. To change it takes a token with the role write.");
}

function showHealth(agent, model, stats) {
  const { ledger, enforcement: counts, api, exports } = stats, reasons = Object.entries(ledger.reasons);
  list("health", [
    ["agent", agent.ready ? agent.dry_run ? "ready, dry run" : "ready" : "not ready", !agent.ready],
    ["up for", span(Date.now() / 1e3 - agent.started_ts_ns / 1e9)],
    ["model", `${model.name} ${model.version}, #${model.epoch}`],
    ["packets: recorded / past the 20th / of no flow", [ledger.recorded, ledger.gated, ledger.not_flow].map(number).join(" / ")],
    ["their sum is all that were seen", ledger.closes ? "yes" : "not yet: some are under way"],
    ["packets lost to ntc (they passed)", number(ledger.dropped), ledger.dropped > 0],
    ["flow table", `${number(stats.table_flows)} of ${number(stats.table_capacity)}`, stats.table_flows > 0.9 * stats.table_capacity],
    ["flows never asked about", number(ledger.shed_flows), ledger.shed_flows > 0],
    ["questions that had to wait", number(stats.assembler.deferred)],
    ["answers that failed", number(stats.failed), stats.failed > 0],
    ["packets treated by label / by mark / by rule", [counts.labelled, counts.by_mark, counts.by_rule].map(number).join(" / ")],
    ["packets without a heartbeat", number(counts.stale), counts.stale > 0],
    ["requests answered / refused", `${number(api.requests)} / ${number(api.refused)}`],
    ["slow readers dropped", number(api.slow_readers), api.slow_readers > 0],
    ...exports.map((one) => [`export to ${one.to}`, `${one.connected ? "connected" : "not connected"}, ${number(one.sent)} sent, ${number(one.lost)} lost`, !one.connected || one.lost > 0]),
  ]);
  const lines = agent.interfaces.map((one) => element("li",
    `${one.interface}: captured by ${one.capture ?? "nothing"}, enforced by ${one.enforce ?? "nothing"}`
    + (one.silent?.length ? `; packets pass by ${one.silent.join(", ")}` : ""), one.silent?.length ? "bad" : ""));
  if (reasons.length) lines.push(element("li", `packets by reason: ${reasons.map(([name, count]) => `${name} ${number(count)}`).join(", ")}`, "hint"));
  $("interfaces").replaceChildren(...lines);
}

function show(agent, model, stats, classes, services, page, rules) {
  const silent = agent.interfaces.filter((one) => one.silent?.length).map((one) => one.interface);
  $("agent").textContent = `${agent.version} · `
    + (agent.ready ? agent.dry_run ? "dry run: packets are left alone" : "labels act on packets" : "not ready: packets are left alone")
    + (silent.length ? ` · programs are silent on ${silent.join(", ")}` : "");
  $("agent").classList.toggle("bad", !agent.ready || silent.length > 0);
  list("numbers", [
    ["labelled flows", number(stats.labelled_now)],
    ["of these provisional", number(stats.provisional_now)],
    ["their rate", rate(stats.bits_per_s)],
    ["deciding packet to label, p50", stats.decided_us.count ? time(stats.decided_us.p50) : "–"],
    ["the same, p99", stats.decided_us.count ? time(stats.decided_us.p99) : "–"],
    ["packets seen", number(stats.ledger.seen)],
  ]);
  showRates(classes, services);
  showFlows(page);
  showPolicy(rules, agent.dry_run);
  showHealth(agent, model, stats);
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
    const rules = await send("/v1/policy");
    let page = { flows: [], total: stats.labelled_now }, mistake = "";
    try {
      page = await ask(`/v1/flows?${query(classes)}`);
    } catch (error) {
      if (error.status !== 400) throw error;
      mistake = error.message;
    }
    show(agent, model, stats, classes, services, page, rules);
    if (mistake) $("found").textContent = mistake;
    $("found").classList.toggle("bad", mistake !== "");
    answered = new Date();
    if (denied) login(false);
    denied = false;
  } catch (error) {
    const old = answered ? `; what is shown is of ${answered.toLocaleTimeString("en-GB")}` : "";
    $("agent").textContent = (error.status ? error.message : "the agent does not answer") + old;
    $("agent").classList.add("bad");
    if (error.status === 401 && !denied) login(true);
    denied = error.status === 401;
  } finally {
    asking = false;
    if (again) look();
  }
}

function login(open) {
  $("login").hidden = !open;
  $("rights").setAttribute("aria-expanded", String(open));
  $("forget").hidden = !sessionStorage.getItem("token");
  if (open) $("token").focus();
}

function begin() {
  edited = policy?.tag;
  $("document").value = JSON.stringify(policy?.body ?? {}, null, 2);
  $("outcome").textContent = "";
}

async function put(event) {
  event.preventDefault();
  const outcome = (text, bad) => {
    $("outcome").textContent = text;
    $("outcome").classList.toggle("bad", bad);
  };
  try {
    JSON.parse($("document").value);
    const headers = { "content-type": "application/json", "if-match": edited };
    edited = (await send("/v1/policy", { method: "PUT", headers, body: $("document").value })).tag;
    outcome("In force until the agent ends; its policy file is as it was.", false);
    look();
  } catch (error) {
    const what = error instanceof SyntaxError ? `no JSON: ${error.message}` : error.status ? error.message : "the agent does not answer";
    outcome(`Nothing is changed: ${what}`, true);
  }
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  if (!paused) look();
});
$("rights").addEventListener("click", () => login($("login").hidden));
$("login").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  login(false);
  $("rights").focus();
});
$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
  $("token").value = "";
  denied = false;
  login(false);
  $("rights").focus();
  look();
});
$("forget").addEventListener("click", () => {
  sessionStorage.removeItem("token");
  login(false);
  $("rights").focus();
  look();
});
$("search").addEventListener("submit", (event) => { event.preventDefault(); look(); });
$("filter").addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !$("filter").value) return;
  $("filter").value = "";
  pages = 1;
  look();
});
$("filter").addEventListener("input", () => { pages = 1; look(); });
$("order").addEventListener("change", () => { pages = 1; look(); });
$("more").addEventListener("click", () => { pages += 1; look(); });
$("change").addEventListener("toggle", () => { if ($("change").open) begin(); });
$("anew").addEventListener("click", begin);
$("edit").addEventListener("submit", put);
setInterval(() => { if (!paused && !denied && !document.hidden) look(); }, every);
look();

// Shows what the stream of events tells. Nothing here is ever put into the page as markup, only as text.
"use strict";

const MOST_ROWS = 200;
const NODE_FIELDS = "id,provider,label,public_ipv4,ipv6,state,age,pool,allocated_to,comment";
const NODE_PAUSE = 3000;
const PARTS = ["used", "ready", "building", "held", "going"];
const STATE_PARTS = {
  "in-use": "used", ready: "ready", init: "building", building: "building", testing: "building", hold: "held",
  uploading: "building", paused: "held", pending: "building", failed: "waiting",
};

const one = (selector) => document.querySelector(selector);
let ahead = 0; // How many seconds the daemon's clock is ahead of ours.
let overview = null;
let nodes = [];
let nodesAreOld = false;
let nextLoad = 0;

function make(tag, attributes, ...content) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...content.filter((item) => item !== null && item !== ""));
  return element;
}

const cell = (content, kind) => make("td", { class: kind || null }, ...[content].flat().map((item) => item ?? ""));
const mark = (state) => make("span", { class: `mark ${STATE_PARTS[state] || "going"}` }, state);

function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d`;
}

// The element is brought up to date each second by tick().
const since = (time) => (time ? make("time", { "data-since": time }, span(Date.now() / 1000 + ahead - time)) : "");

// When an age was told as DD:HH:MM:SS: since when that is.
function start(age, told) {
  if (!age) return null;
  const [days, hours, minutes, seconds] = age.split(":").map(Number);
  return told - ((days * 24 + hours) * 60 + minutes) * 60 - seconds;
}

function tick() {
  const now = Date.now() / 1000 + ahead;
  for (const element of document.querySelectorAll("[data-since]")) element.textContent = span(now - element.dataset.since);
  for (const element of document.querySelectorAll("[data-until]")) element.textContent = span(element.dataset.until - now);
}

function fill(section, rows, nothing) {
  const body = one(`#${section} tbody`);
  const columns = one(`#${section} thead tr`).children.length;
  body.replaceChildren(...(rows.length ? rows : [make("tr", {}, make("td", { colspan: columns, class: "empty" }, nothing))]));
}

function showState(text, bad) {
  one("#state").textContent = text;
  one("#state").className = bad ? "bad" : "";
}

function showTiles() {
  const sum = (part) => overview.pools.reduce((total, pool) => total + pool[part], 0);
  const requests = overview.requests.states;
  const tiles = PARTS.map((part) => [part, `nodes ${part}`, sum(part)]);
  tiles.push(["waiting", "requests waiting", (requests.requested || 0) + (requests.pending || 0)]);
  one("#tiles").replaceChildren(
    ...tiles.map(([kind, name, count]) => make("li", { class: kind }, make("b", {}, String(count)), name)),
  );
}

function poolRow(pool) {
  const total = PARTS.reduce((sum, part) => sum + pool[part], 0);
  const room = Math.max(pool.limit ?? pool.quota ?? total, total, 1);
  const bar = make("div", { class: "bar", "aria-hidden": "true" });
  for (const part of PARTS) {
    if (pool[part]) bar.append(make("i", { class: part }));
    if (pool[part]) bar.lastChild.style.width = `${(100 * pool[part]) / room}%`;
  }
  const remarks = [];
  if (pool.paused) remarks.push("a request waits for room here");
  if (!pool.registered) remarks.push("no launcher has this pool");
  const name = [`${pool.provider} / ${pool.pool}`, make("div", { class: "soft" }, pool.labels.join(", "))];
  if (remarks.length) name.push(make("div", { class: "bad-text" }, remarks.join("; ")));
  const limit = pool.limit ?? (pool.quota === null ? "not known here" : `quota ${pool.quota}`);
  const numbers = [pool.used, pool.ready, pool.building, pool.free ?? "–", limit];
  return make("tr", {}, cell(name), cell(bar), ...numbers.map((number) => cell(String(number), "number")));
}

function showRequests() {
  const { waiting, more } = overview.requests;
  const rows = waiting.map((request) => {
    const who = [request.requestor, request.tenant].filter(Boolean).join(", ");
    const declined = request.declined ? ` (declined by ${request.declined} pools)` : "";
    const reason = (request.reason || "not looked at by this launcher yet") + declined;
    return make(
      "tr", {}, cell(request.id, "id"), cell(request.labels.join(", ")), cell(who), cell(since(request.since)), cell(reason),
    );
  });
  if (more) rows.push(make("tr", {}, make("td", { colspan: 5, class: "soft" }, `and ${more} more`)));
  fill("requests", rows, "No request waits.");
}

function providerRow(provider) {
  const state = [];
  if (!provider.answers) {
    state.push(make("strong", { class: "bad-text" }, "does not answer"), " for ", since(provider.since), `: ${provider.error}`);
  } else if (provider.error) {
    state.push("wants fewer calls: ", provider.error);
  } else {
    state.push("answers");
  }
  if (provider.until) state.push("; tried again in ", make("time", { "data-until": provider.until }));
  const use = provider.use.map((one) => {
    const others = one.others ? ` + ${one.others} of others` : "";
    const full = one.limit !== null && one.ours + one.others >= one.limit;
    const limit = one.limit === null ? "" : ` of ${one.limit}`;
    return make("div", { class: full ? "bad-text" : null }, `${one.resource}: ${one.ours}${others}${limit}${full ? " (used up)" : ""}`);
  });
  return make("tr", {}, cell(provider.name), cell(state), cell(use));
}

function imageRow(image) {
  const builds = image.builds.map((build) =>
    make("div", {}, mark(build.state), " since ", since(build.since), make("span", { class: "soft" }, ` ${build.formats.join(", ")} on ${build.builder || "?"}`)),
  );
  const uploads = image.uploads.map((upload) =>
    make("div", {}, `${upload.provider}: `, mark(upload.state), " since ", since(upload.since)),
  );
  const name = [image.image];
  if (image.paused) name.push(make("div", { class: "bad-text" }, "paused"));
  if (image.request) name.push(make("div", { class: "soft" }, `build by hand: ${image.request}`));
  return make("tr", {}, cell(name), cell(builds), cell(uploads));
}

function offer(name, values) {
  const select = one(`#nodes [name=${name}]`);
  const wanted = [...new Set(values)].filter(Boolean).sort();
  const present = [...select.options].slice(1).map((option) => option.value);
  if (wanted.join("\n") === present.join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(select.options[0], ...wanted.map((value) => make("option", { value }, value)));
  select.value = wanted.includes(chosen) ? chosen : "";
}

function showNodes() {
  offer("state", nodes.map((node) => node.state));
  offer("label", nodes.flatMap((node) => node.label));
  offer("provider", nodes.map((node) => node.provider));
  const form = new FormData(one("#nodes form"));
  const text = form.get("text").trim().toLowerCase();
  const shown = nodes.filter((node) =>
    (!form.get("state") || node.state === form.get("state")) &&
    (!form.get("label") || node.label.includes(form.get("label"))) &&
    (!form.get("provider") || node.provider === form.get("provider")) &&
    (!text || Object.values({ ...node, since: "", age: "" }).flat().join(" ").toLowerCase().includes(text)));
  const cut = shown.length > MOST_ROWS ? `; the first ${MOST_ROWS} are shown` : "";
  one("#node-count").textContent = `${shown.length} of ${nodes.length} nodes${cut}`;
  const rows = shown.slice(0, MOST_ROWS).map((node) => make(
    "tr", {}, cell(node.id, "id"), cell(mark(node.state)), cell(since(node.since)), cell(node.label.join(", ")),
    cell(`${node.provider || "?"} / ${node.pool || "?"}`), cell(node.public_ipv4 || node.ipv6, "id"),
    cell(node.allocated_to, "id"), cell(node.comment),
  ));
  fill("nodes", rows, "No node.");
}

async function loadNodes() {
  try {
    const answer = await fetch(`node-list?fields=${NODE_FIELDS}`, { headers: { Accept: "application/json" } });
    if (answer.ok) {
      const told = Date.now() / 1000 + ahead;
      nodes = (await answer.json()).map((node) => ({ ...node, since: start(node.age, told) }));
      showNodes();
    }
  } catch {
    // The stream tells that the daemon is away.
  }
}

// Many nodes are much to send: only when something has changed, somebody looks, and the last time was a while ago.
function loadNodesIfDue() {
  if (!nodesAreOld || document.hidden || Date.now() < nextLoad) return;
  nodesAreOld = false;
  nextLoad = Date.now() + NODE_PAUSE;
  loadNodes();
}

function showTimeLine(samples) {
  const chart = one("#time-line svg");
  for (const line of chart.querySelectorAll("polyline")) line.remove();
  if (!samples.length) return;
  const kinds = ["used", "ready", "building", "waiting"];
  const end = samples[samples.length - 1].at;
  const top = Math.max(1, ...samples.flatMap((sample) => kinds.map((kind) => sample[kind])));
  for (const kind of kinds) {
    const points = samples.map((sample) => `${1000 - (end - sample.at) / 3.6},${196 - (190 * sample[kind]) / top}`);
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    line.setAttribute("points", points.join(" "));
    line.setAttribute("class", kind);
    chart.append(line);
  }
  const last = samples[samples.length - 1];
  one("#chart-title").textContent = "Now: " + kinds.map((kind) => `${last[kind]} ${kind}`).join(", ");
  one("#chart-from").textContent = "an hour ago";
  one("#chart-top").textContent = `highest: ${top}`;
}

function showOverview(event) {
  overview = JSON.parse(event.data);
  ahead = overview.now - Date.now() / 1000;
  const launcher = overview.kind === "launcher";
  for (const element of document.querySelectorAll("[data-launcher]")) element.hidden = !launcher;
  one("#daemon").textContent = `${overview.kind} ${overview.version} at ${location.host}`;
  showState(overview.trouble ? `Not ready: ${overview.trouble}` : "Live", Boolean(overview.trouble));
  if (!overview.images) return;
  one("#problems").hidden = !overview.problems.length;
  one("#problems").replaceChildren(...overview.problems.slice(0, 10).map((problem) => make("li", {}, problem)));
  fill("images", overview.images.map(imageRow), "No image.");
  if (!launcher) return;
  showTiles();
  fill("pools", overview.pools.map(poolRow), "No pool is registered.");
  showRequests();
  fill("providers", overview.providers.map(providerRow), "Not told yet.");
  nodesAreOld = true;
  loadNodesIfDue();
  tick();
}

const stream = new EventSource("events");
stream.addEventListener("overview", showOverview);
stream.addEventListener("time-line", (event) => showTimeLine(JSON.parse(event.data)));
stream.onerror = () => showState("The daemon does not answer; what is shown may be old", true);
one("#nodes form").addEventListener("input", showNodes);
one("#nodes form").addEventListener("submit", (event) => event.preventDefault());
setInterval(() => {
  tick();
  loadNodesIfDue();
}, 1000);

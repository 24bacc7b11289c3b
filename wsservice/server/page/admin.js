// How often is asked, and how long an answer may take, in milliseconds.
const EVERY = 2000;
const PATIENCE = 10000;

const MOST_POINTS = 150;
const PAGE_SIZE = 25;
const TOKEN = "wsservice.token";

// Asking

class Refused extends Error {}

let token = sessionStorage.getItem(TOKEN) ?? "";

/** Ask the admin face, of which this page is a part. Raises `Refused` where it says no. */
async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  const signal = options.signal ?? AbortSignal.timeout(PATIENCE);
  const answer = await fetch(path, { ...options, headers, signal, redirect: "error" });
  if (answer.status === 401) {
    lock();
    throw new Refused("a token is needed");
  }
  return answer;
}

async function expect(path, options) {
  const answer = await ask(path, options);
  if (!answer.ok) throw new Refused(await problemOf(answer));
  return answer;
}

/** What an answer that is no success says, short and on one line. */
async function problemOf(answer) {
  const text = await answer.text();
  try {
    const said = JSON.parse(text);
    return visible(String(said.error ?? said.reasons?.join(", ") ?? answer.status)).slice(0, 200);
  } catch {
    return visible(text.trim()).slice(0, 200) || String(answer.status);
  }
}

let locked = false;

function lock() {
  if (token) byId("unlock-problem").textContent = "That is not the token.";
  token = "";
  sessionStorage.removeItem(TOKEN);
  byId("forget").hidden = true;
  if (locked) return;
  locked = true;
  byId("unlock").hidden = false;
  byId("token").focus();
}

byId("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = byId("token").value.trim();
  // What may stand in a header; with anything else `fetch` would not even ask.
  if (!/^[!-~]+$/.test(given)) {
    byId("unlock-problem").textContent = "A token has letters, digits and signs, and no spaces.";
    return;
  }
  token = given;
  locked = false;
  poll();
});

function unlocked() {
  if (!token) return;
  sessionStorage.setItem(TOKEN, token);
  byId("token").value = "";
  byId("unlock-problem").textContent = "";
  byId("unlock").hidden = true;
  byId("forget").hidden = false;
}

// With the token goes all that was seen by it.
byId("forget").addEventListener("click", () => {
  sessionStorage.removeItem(TOKEN);
  location.reload();
});

// Rights

let rights = new Set();

/** Ask what the token may do: a reload of the service may have changed it. */
async function drawRights() {
  const said = await (await expect("/token")).json();
  rights = new Set(said.rights);
  const name = said.name === null ? "" : visible(said.name);
  byId("caller").textContent = name && `${name}: ${[...rights].join(", ")}`;
  const mayRead = rights.has("read");
  for (const each of document.querySelectorAll(".reading")) {
    each.classList.toggle("barred", !mayRead);
  }
  byId("barred").hidden = mayRead;
  byId("barred").textContent = mayRead
    ? ""
    : `The token ${name} has no right to read, so there is nothing to show.`;
  return mayRead;
}

// Metrics (the text format of Prometheus)

const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;

const asNumber = (text) => Number(text.replace("Inf", "Infinity"));

class Metrics {
  #samples = new Map();

  constructor(text) {
    for (const line of text.split("\n")) {
      const match = line.startsWith("#") ? null : SAMPLE.exec(line);
      if (!match) continue;
      const [, name, labels = "", value] = match;
      const pairs = Array.from(labels.matchAll(LABEL), ([, label, text]) => [label, text]);
      if (!this.#samples.has(name)) this.#samples.set(name, []);
      this.#samples
        .get(name)
        .push({ labels: Object.fromEntries(pairs), value: asNumber(value) });
    }
  }

  /** The sum of a metric's samples that have these labels; null where there are none. */
  sum(name, wanted = {}) {
    const found = (this.#samples.get(name) ?? []).filter(({ labels }) =>
      Object.entries(wanted).every(([label, value]) => labels[label] === value),
    );
    return found.length ? found.reduce((sum, { value }) => sum + value, 0) : null;
  }

  /** A histogram's buckets: upper bounds and how many were below each. */
  buckets(name) {
    const bounds = new Map();
    for (const { labels, value } of this.#samples.get(`${name}_bucket`) ?? []) {
      const bound = asNumber(labels.le);
      bounds.set(bound, (bounds.get(bound) ?? 0) + value);
    }
    return [...bounds].sort(([a], [b]) => a - b);
  }
}

/** What 99 of 100 observations between two samplings of a histogram were below; null if none. */
function ninetyNinth(before, now) {
  const earlier = new Map(before);
  const counts = now.map(([bound, count]) => [bound, count - (earlier.get(bound) ?? 0)]);
  const all = counts.length ? counts[counts.length - 1][1] : 0;
  if (all <= 0) return null;
  const rank = all * 0.99;
  let [low, below] = [0, 0];
  for (const [bound, count] of counts) {
    if (count >= rank) {
      return bound === Infinity ? low : low + ((bound - low) * (rank - below)) / (count - below);
    }
    [low, below] = [bound, count];
  }
  return low;
}

// What is drawn: a value of now, or how much a sum grew in a second, or a latency.
const value = (name, labels) => (now) => now.metrics.sum(name, labels);
const rate = (name, labels) => (now, before) => {
  if (!before) return null;
  const [late, early] = [now.metrics.sum(name, labels), before.metrics.sum(name, labels)];
  // A counter that was never counted is not there; one that fell belongs to a new process.
  if (late === null || late < (early ?? 0)) return null;
  return ((late - (early ?? 0)) * 1000) / (now.at - before.at);
};
const latency = (name) => (now, before, earlier) =>
  earlier ? ninetyNinth(earlier.metrics.buckets(name), now.metrics.buckets(name)) : null;

function inSeconds(seconds) {
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${(seconds * 1000).toPrecision(seconds < 0.1 ? 2 : 3)} ms`;
  return `${seconds.toFixed(1)} s`;
}

function inNumber(number) {
  if (number >= 10000) return compactNumber.format(number);
  return number < 10 ? shortNumber.format(number) : wholeNumber.format(Math.round(number));
}

const shortNumber = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });

const compactNumber = new Intl.NumberFormat("en", {
  notation: "compact",
  maximumSignificantDigits: 3,
});
const perSecond = (number) => `${inNumber(number)}/s`;
const octetsPerSecond = (number) => `${inOctets(number)}/s`;

const CHARTS = [
  ["Connections", inNumber, [["open", value("wsservice_connections")]]],
  [
    "Messages",
    perSecond,
    [
      ["in", rate("wsservice_messages_total", { direction: "received" })],
      ["out", rate("wsservice_messages_total", { direction: "sent" })],
    ],
  ],
  [
    "Traffic",
    octetsPerSecond,
    [
      ["in", rate("wsservice_octets_total", { direction: "received" })],
      ["out", rate("wsservice_octets_total", { direction: "sent" })],
    ],
  ],
  [
    "Latency, 99th percentile",
    inSeconds,
    [
      ["handshake", latency("wsservice_handshake_seconds")],
      ["publish", latency("wsservice_publish_seconds")],
      ["reactor lag", latency("wsservice_reactor_lag_seconds")],
    ],
  ],
  [
    "Errors",
    perSecond,
    [
      ["refused", rate("wsservice_refusals_total")],
      ["slow clients", rate("wsservice_slow_clients_total")],
      ["log lines lost", rate("wsservice_log_lines_dropped_total")],
    ],
  ],
  ["Waiting to be sent", inOctets, [["queued", value("wsservice_send_queue_octets")]]],
];

// Charts

const WIDTH = 300;
const HEIGHT = 100;
const NEVER = "–";

function drawing(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, each] of Object.entries(attributes)) made.setAttribute(key, each);
  return made;
}

/** The least of 1, 2 and 5 times a power of ten that is no less than a number. */
function roundUp(number) {
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= number * 0.999999);
}

class Chart {
  #title;
  #format;
  #lines;
  #most = element("span", "most number");
  #svg = drawing("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: "none",
    role: "img",
  });
  #marker = drawing("line", { class: "marker", y1: 0, y2: HEIGHT });
  #until = element("span", "number");
  // Which point is read off, counted from the latest; null for that of now.
  #chosen = null;

  constructor(title, format, lines) {
    this.#title = title;
    this.#format = format;
    const figure = element("figure", "chart");
    const legend = element("div", "legend number");
    for (const height of [0, HEIGHT / 2, HEIGHT]) {
      this.#svg.append(drawing("line", { x1: 0, x2: WIDTH, y1: height, y2: height }));
    }
    this.#lines = lines.map(([name, measure], index) => {
      const shown = element("b", "", NEVER);
      const entry = element("span");
      entry.append(element("i", `key line-${index}`), shown, ` ${name}`);
      legend.append(entry);
      const path = drawing("path", { class: `line-${index}` });
      const area = lines.length === 1 ? drawing("path", { class: "area line-0" }) : null;
      this.#svg.append(...[area, path].filter(Boolean));
      return { name, measure, shown, path, area, points: [] };
    });
    const plot = element("div", "plot");
    this.#svg.append(this.#marker);
    plot.append(this.#svg, this.#most);
    this.#readOff(plot);
    const ends = element("div", "ends");
    const span = `${Math.round((MOST_POINTS * EVERY) / 60000)} minutes ago`;
    ends.append(element("span", "", span), this.#until);
    figure.append(element("h2", "", title), legend, plot, ends);
    byId("charts").append(figure);
  }

  /** The values of a moment, chosen with the pointer or the arrow keys. */
  #readOff(plot) {
    plot.tabIndex = 0;
    const choose = (chosen) => {
      const last = this.#lines[0].points.length - 1;
      this.#chosen = chosen === null || last < 0 ? null : Math.min(Math.max(chosen, 0), last);
      this.draw();
    };
    plot.addEventListener("pointermove", (event) => {
      const { left, width } = plot.getBoundingClientRect();
      choose(Math.round((1 - (event.clientX - left) / width) * (MOST_POINTS - 1)));
    });
    plot.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: 1, ArrowRight: -1 }[event.key];
      if (step) choose((this.#chosen ?? 0) + step);
      else if (event.key === "Escape") choose(null);
      else return;
      event.preventDefault();
    });
    for (const each of ["pointerleave", "blur"]) plot.addEventListener(each, () => choose(null));
  }

  add(...samplings) {
    for (const line of this.#lines) {
      line.points.push(line.measure(...samplings));
      if (line.points.length > MOST_POINTS) line.points.shift();
    }
  }

  draw() {
    const known = this.#lines.flatMap(({ points }) => points).filter((each) => each !== null);
    const highest = Math.max(0, ...known);
    const top = highest > 0 ? roundUp(highest) : 1;
    this.#most.textContent = known.length ? this.#format(top) : "";
    const count = this.#lines[0].points.length;
    const index = count - 1 - (this.#chosen ?? 0);
    const ago = (this.#chosen ?? 0) * (EVERY / 1000);
    this.#until.textContent = ago ? `${ago} s ago` : "now";
    const x = this.#x(index, count).toFixed(1);
    for (const each of ["x1", "x2"]) this.#marker.setAttribute(each, x);
    this.#marker.classList.toggle("shown", this.#chosen !== null);
    const said = [];
    for (const { name, shown, path, area, points } of this.#lines) {
      const read = points[index] ?? null;
      shown.textContent = read === null ? NEVER : this.#format(read);
      said.push(`${name} ${shown.textContent}`);
      path.setAttribute("d", this.#path(points, top));
      area?.setAttribute("d", this.#area(points, top));
    }
    this.#svg.setAttribute("aria-label", `${this.#title}: ${said.join(", ")}`);
  }

  #x(index, count) {
    return (WIDTH * (MOST_POINTS - count + index)) / (MOST_POINTS - 1);
  }

  #path(points, top) {
    let drawn = "";
    points.forEach((each, index) => {
      if (each === null) return;
      const isFirst = index === 0 || points[index - 1] === null;
      const y = HEIGHT * (1 - each / top);
      const x = this.#x(index, points.length);
      drawn += `${isFirst ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`;
      // One alone is a dot.
      if (isFirst && (points[index + 1] ?? null) === null) drawn += "h0.01";
    });
    return drawn;
  }

  #area(points, top) {
    const whole = this.#path(points, top);
    if (!whole || points.includes(null)) return "";
    return `${whole}V${HEIGHT}H${this.#x(0, points.length).toFixed(1)}Z`;
  }
}

const charts = CHARTS.map((each) => new Chart(...each));

// Latencies cover several samples, since few events happen in two seconds.
const LATENCY_SAMPLINGS = 15;
let samplings = [];

async function drawCharts() {
  const metrics = new Metrics(await (await expect("/metrics")).text());
  const now = { at: performance.now(), metrics };
  const before = samplings[samplings.length - 1];
  for (const each of charts) {
    each.add(now, before, samplings[0]);
    each.draw();
  }
  samplings = [...samplings, now].slice(-LATENCY_SAMPLINGS);
}

// Nodes

const stateOf = ({ up, reasons }) => {
  if (!up) return "No answer";
  return reasons?.length ? `Not ready: ${reasons.join(", ")}` : "Up";
};

const brokersOf = ({ brokers }) =>
  (brokers ?? []).map(({ up, version, problem }) => (up ? version : problem)).join(", ");

const NODE_COLUMNS = [
  ["Node", "mono", (each, here) => (each.node === here ? `${each.node}, here` : each.node)],
  ["Host", "long", (each) => each.host && `${each.host}, ${each.pid}`],
  ["State", "long", stateOf],
  ["Since", "number", (each) => each.started && age(each.started)],
  ["Connections", "right number", (each) => wholeOrNone(each.connections)],
  ["Lag", "right number", (each) => secondsOrNone(each.lag)],
  ["Round trip", "right number", (each) => secondsOrNone(each.rtt)],
  ["Version", "number", (each) => each.version],
  ["Broker", "long", brokersOf],
];

const wholeOrNone = (number) => (number === null ? NEVER : wholeNumber.format(number));
const secondsOrNone = (seconds) => (seconds === null ? NEVER : inSeconds(seconds));

async function drawNodes() {
  const said = await (await expect("/cluster")).json();
  const drawn = said.nodes.map((each) => {
    const row = element("tr");
    for (const [name, className, text] of NODE_COLUMNS) {
      const shown = visible(String(text(each, said.node) || NEVER));
      const cell = element("td", className, shown);
      cell.dataset.column = name;
      if (className === "long") cell.title = shown;
      if (name === "State") cell.dataset.is = shown === "Up" ? "good" : "bad";
      row.append(cell);
    }
    return row;
  });
  byId("node-rows").replaceChildren(...drawn);
  const up = said.nodes.filter((each) => each.up).length;
  byId("nodes-total").textContent = `${up} of ${said.nodes.length} answer`;
  byId("nodes-problem").textContent = said.problem
    ? `Others cannot be asked: ${visible(said.problem)}`
    : "";
  // One alone is what the rest of the page is about.
  byId("nodes").hidden = said.nodes.length < 2 && !said.problem;
}

/** Which nodes or workers are not in a list, in words: how many, of which kind. */
function without(missing) {
  if (!missing?.length) return "";
  const workers = missing.filter((name) => name.includes("worker ")).length;
  const nodes = missing.length - workers;
  const parts = [];
  if (nodes) parts.push(nodes === 1 ? "one node" : `${nodes} nodes`);
  if (workers) parts.push(workers === 1 ? "one worker" : `${workers} workers`);
  return `, without ${parts.join(" and ")}`;
}

// Connections

let pages = [""];
let nextAfter = null;
// The user whose connections alone are shown; "" for all.
let user = "";
const rows = new Map();

function age(since) {
  const seconds = Math.max(0, (Date.now() - Date.parse(since)) / 1000);
  if (Number.isNaN(seconds)) return NEVER;
  const steps = [
    [86400 * 2, 86400, "days"],
    [3600 * 2, 3600, "h"],
    [120, 60, "min"],
    [0, 1, "s"],
  ];
  const [, unit, name] = steps.find(([least]) => seconds >= least);
  return `${Math.floor(seconds / unit)} ${name}`;
}

const COLUMNS = [
  ["Id", "mono", (each) => String(each.id)],
  ["Peer", "mono", (each) => each.peer],
  ["User", "mono long of-user", (each) => each.user],
  ["Channel", "mono long", (each) => each.channel || "(none)"],
  ["Since", "number", (each) => age(each.since)],
  ["Messages in, out", "right number", (each) => both(each.messages, inNumber)],
  ["Octets in, out", "right number", (each) => both(each.octets, inOctets)],
  ["Queue", "right number", (each) => inOctets(each.queue)],
  ["Round trip", "right number", (each) => (each.rtt === null ? NEVER : inSeconds(each.rtt))],
  ["User agent", "long", (each) => each.user_agent || NEVER],
];

const both = ({ received, sent }, format) => `${format(received)}, ${format(sent)}`;

function makeRow(id) {
  const row = element("tr");
  const cells = COLUMNS.map(([name, className]) => {
    const cell = element("td", className);
    cell.dataset.column = name;
    row.append(cell);
    return cell;
  });
  const actions = element("td");
  const trace = element("button", "quiet", "Trace");
  const close = element("button", "quiet", "Close");
  for (const [button, verb] of [
    [trace, "Trace"],
    [close, "Close"],
  ]) {
    button.type = "button";
    button.setAttribute("aria-label", `${verb} connection ${visible(id)}`);
  }
  trace.addEventListener("click", () => startTrace(id, trace));
  close.addEventListener("click", () => askToClose(id, cells[1].textContent));
  actions.append(trace, close);
  row.append(actions);
  return { row, cells, close };
}

/** Rows stay where they are while a connection does: the focus may be on one's button. */
function drawRows(connections) {
  const ids = new Set(connections.map((each) => String(each.id)));
  for (const [id, { row }] of rows) {
    if (ids.has(id)) continue;
    if (row.contains(document.activeElement)) byId("connections-title").focus();
    row.remove();
    rows.delete(id);
  }
  const body = byId("rows");
  connections.forEach((each, index) => {
    const id = String(each.id);
    if (!rows.has(id)) rows.set(id, makeRow(id));
    const { row, cells, close } = rows.get(id);
    close.hidden = !rights.has("close");
    COLUMNS.forEach(([, , text], column) => {
      const shown = visible(String(text(each) ?? NEVER));
      if (cells[column].textContent === shown) return;
      cells[column].textContent = shown;
      cells[column].title = cells[column].classList.contains("long") ? shown : "";
    });
    if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
  });
}

async function drawConnections() {
  const after = pages[pages.length - 1];
  const asked = user;
  const query = new URLSearchParams({
    limit: PAGE_SIZE,
    ...(after ? { after } : {}),
    ...(asked ? { user: asked } : {}),
  });
  const said = await (await expect(`/connections?${query}`)).json();
  // Another page or another user was asked for meanwhile.
  if (after !== pages[pages.length - 1] || asked !== user) return;
  if (!said.connections.length && pages.length > 1) {
    pages = [""]; // all on this page have left
    return;
  }
  drawRows(said.connections);
  if (said.connections.some((each) => each.user)) showUsers();
  nextAfter = said.next === null || said.next === undefined ? null : String(said.next);
  const shown = said.connections.length;
  const part = shown && shown < said.total ? `${wholeNumber.format(shown)} of ` : "";
  byId("total").textContent = part + wholeNumber.format(said.total) + without(said.missing);
  byId("total").classList.toggle("long", Boolean(said.missing?.length));
  byId("nobody").hidden = shown > 0;
  byId("nobody").textContent = asked
    ? "This user has no connection."
    : "Nobody is connected.";
  const focused = document.activeElement;
  byId("previous").disabled = pages.length === 1;
  byId("next").disabled = nextAfter === null;
  if (focused.disabled) byId("connections-title").focus();
  // With nodes, a list says whether they can be asked.
  if (said.problem !== undefined) await drawNodes();
}

/** Show the users from now on: where nobody has one, the page does not mention them. */
function showUsers() {
  byId("connections").classList.add("has-users");
  byId("filter").hidden = false;
}

const LONGEST_USER = 255;

function chooseUser() {
  const chosen = byId("user").value;
  const tooLong = new TextEncoder().encode(chosen).length > LONGEST_USER;
  byId("user").setAttribute("aria-invalid", String(tooLong));
  byId("connections-problem").textContent = tooLong
    ? `A user's id has at most ${LONGEST_USER} octets of UTF-8.`
    : "";
  if (tooLong || chosen === user) return;
  user = chosen;
  turnTo([""]);
}

byId("filter").addEventListener("submit", (event) => {
  event.preventDefault();
  chooseUser();
});
byId("user").addEventListener("change", chooseUser);
// What Chromium and Safari send when the field is emptied with its cross.
byId("user").addEventListener("search", chooseUser);

function turnTo(stack) {
  pages = stack;
  drawConnections().catch(tellOfPage);
}

function tellOfPage(error) {
  byId("connections-problem").textContent = `Connections cannot be shown: ${error.message}`;
}

byId("previous").addEventListener("click", () => turnTo(pages.slice(0, -1)));
byId("next").addEventListener("click", () => turnTo([...pages, nextAfter]));

// Closing one

let closing = "";

function askToClose(id, peer) {
  closing = id;
  byId("closing-title").textContent = `Close connection ${visible(id)}`;
  byId("closing-peer").textContent = peer;
  byId("code").value = "1000";
  byId("reason").value = "";
  tellClosing("");
  byId("closing").showModal();
  byId("closing-go").focus();
}

function tellClosing(text, field = null) {
  byId("closing-problem").textContent = text;
  for (const each of [byId("code"), byId("reason")]) {
    each.setAttribute("aria-invalid", String(each === field));
  }
  field?.focus();
}

byId("closing-cancel").addEventListener("click", () => byId("closing").close());

byId("closing-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const code = byId("code");
  const reason = byId("reason");
  if (!/^[1-4]\d{3}$/.test(code.value)) {
    tellClosing("A close code is a number of four digits, such as 1000, 1001 or 4000.", code);
    return;
  }
  if (new TextEncoder().encode(reason.value).length > 123) {
    tellClosing("A reason has at most 123 octets of UTF-8.", reason);
    return;
  }
  const go = byId("closing-go");
  go.disabled = true;
  try {
    await expect(`/connections/${encodeURIComponent(closing)}/close`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ code: Number(code.value), reason: reason.value }),
    });
    byId("closing").close();
    tell(`Connection ${visible(closing)} was told to close with ${code.value}.`);
    rows.get(closing)?.row.classList.add("leaving");
  } catch (error) {
    tellClosing(`It was not closed: ${error.message}`);
  }
  go.disabled = false;
});

let telling = 0;

function tell(text) {
  byId("done").textContent = text;
  clearTimeout(telling);
  telling = setTimeout(() => {
    byId("done").textContent = "";
  }, 6000);
}

// Tracing one

const frames = new Feed(byId("trace-rows"), byId("trace-scroll"), byId("trace-latest"));
let tracing = null;

async function startTrace(id, button) {
  endTrace();
  const mine = { abort: new AbortController(), button };
  tracing = mine;
  frames.clear();
  frames.follow();
  byId("trace").hidden = false;
  byId("trace-title").textContent = `Trace of connection ${visible(id)}`;
  byId("trace-state").textContent = "Frames appear here as they come and go.";
  byId("trace-title").focus();
  byId("trace").scrollIntoView({ block: "nearest" });
  let end = "The connection has ended.";
  try {
    const path = `/connections/${encodeURIComponent(id)}/trace`;
    const answer = await expect(path, { signal: mine.abort.signal });
    for await (const event of eventsOf(answer.body)) {
      if (event.type === "closed") end = `The connection has ended with ${event.data.code}.`;
      else drawEvent(event);
    }
  } catch (error) {
    const what = error instanceof Refused ? "There is no trace" : "The trace was lost";
    end = `${what}: ${error.message}`;
  }
  if (tracing === mine) byId("trace-state").textContent = end;
}

function endTrace() {
  if (!tracing) return;
  tracing.abort.abort();
  byId("trace").hidden = true;
  const { button } = tracing;
  tracing = null;
  (button.isConnected ? button : byId("connections-title")).focus();
}

byId("trace-end").addEventListener("click", endTrace);
byId("trace-clear").addEventListener("click", () => frames.clear());

// An event that has no end must not fill the browser.
const MOST_OF_EVENT = 1 << 20;

/** Server-sent events of a stream; `EventSource` cannot bring a token. */
async function* eventsOf(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value: text, done } = await reader.read();
    if (done) return;
    held += text.replace(/\r/g, "");
    const blocks = held.split("\n\n");
    held = blocks.pop();
    if (held.length > MOST_OF_EVENT) throw new Error("an event without end");
    for (const block of blocks) {
      const event = { type: "message", data: [] };
      for (const line of block.split("\n")) {
        const [, field, content] = /^(\w*): ?(.*)$/.exec(line) ?? [];
        if (field === "event") event.type = content;
        if (field === "data") event.data.push(content);
      }
      if (event.data.length) yield { type: event.type, data: JSON.parse(event.data.join("\n")) };
    }
  }
}

const OPCODES = {
  0: "continuation",
  1: "text",
  2: "binary",
  8: "close",
  9: "ping",
  10: "pong",
};

function drawEvent({ type, data }) {
  if (type === "dropped") {
    const count = wholeNumber.format(data.count);
    frames.add("event bad", "Left out", `${count} frames, which came faster than they were read`);
    return;
  }
  if (type !== "frame" && type !== "message") return;
  const sent = data.direction === "sent";
  const name = OPCODES[data.opcode] ?? `opcode ${data.opcode}`;
  const parts = [name, `${wholeNumber.format(data.size)} octets`];
  if (data.fin === false) parts.push("not final");
  if (data.compressed) parts.push("compressed");
  if (data.cut) parts.push("cut here");
  const at = new Date(data.time);
  const when = Number.isNaN(at.getTime()) ? new Date() : at;
  const [kind, what] = sent ? ["sent", "Sent"] : ["received", "Received"];
  frames.add(kind, what, String(data.payload ?? ""), parts.join(", "), when);
}

// Asking again and again

let paused = false;
let timer = 0;
let asking = false;

function setState(is, text) {
  byId("state").dataset.is = is;
  byId("state").textContent = text;
}

async function drawReadiness() {
  const answer = await ask("/readyz");
  if (answer.ok) setState("good", "Ready");
  else setState("bad", `Not ready: ${await problemOf(answer)}`);
}

async function poll() {
  clearTimeout(timer);
  if (asking || locked) return;
  asking = true;
  try {
    const mayRead = await drawRights();
    await Promise.all([drawReadiness(), ...(mayRead ? [drawCharts(), drawConnections()] : [])]);
    byId("connections-problem").textContent = "";
    byId("asked").textContent = timeOfDay(new Date()).slice(0, 8);
    unlocked();
  } catch (error) {
    if (locked) setState("", "Locked");
    else if (error instanceof Refused) setState("bad", `Refused: ${error.message}`);
    else setState("bad", "No answer");
  }
  asking = false;
  again();
}

function again() {
  clearTimeout(timer);
  if (!paused && !locked && !document.hidden) timer = setTimeout(poll, EVERY);
}

byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  byId("pause").textContent = paused ? "Go on" : "Pause";
  if (!paused) poll();
  else clearTimeout(timer);
});

// A hidden tab asks for nothing.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else if (!paused) poll();
});

poll();

// What is shown of a message: a flood must not fill the browser.
const MOST_CHARACTERS = 4096;
const MOST_OCTETS = 1024;

const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const host = `${scheme}//${location.host}`;

let socket = null;
let connectedBefore = false;

// The conversation

let received = 0;
let sent = 0;

const conversation = new Feed(byId("conversation"), byId("scroll"), byId("latest"), (fresh) => {
  byId("empty").hidden = !conversation.isEmpty;
  drawCounts();
  tell(fresh);
});

function drawCounts() {
  const all = received + sent;
  const parts = [`${wholeNumber.format(received)} received`, `${wholeNumber.format(sent)} sent`];
  if (all > MOST_KEPT) parts.push(`the last ${MOST_KEPT} shown`);
  byId("counts").textContent = all ? parts.join(", ") : "No messages yet";
}

// Who listens to the page hears of one message, or of how many, once in a while.
let untold = "";
let told = 0;
let telling = false;

function tell(fresh) {
  const heard = fresh.filter((each) => each.kind === "received");
  if (!heard.length) return;
  untold = heard[heard.length - 1].text;
  if (telling) return;
  telling = true;
  setTimeout(() => {
    const count = received - told;
    const last = visible(untold).slice(0, 200);
    byId("heard").textContent = count > 1 ? `${count} messages, the last: ${last}` : last;
    told = received;
    telling = false;
  }, 1000);
}

byId("latest").addEventListener("click", () => byId("message").focus());

byId("clear").addEventListener("click", () => {
  received = sent = told = 0;
  conversation.clear();
});

// Connecting and closing

function setState(is, text) {
  const state = byId("state");
  state.dataset.is = is;
  state.textContent = text;
  const open = is === "good";
  byId("send").disabled = !open;
  byId("close").disabled = !socket;
  const connect = byId("connect");
  connect.disabled = Boolean(socket);
  connect.textContent = connectedBefore && !socket ? "Reconnect" : "Connect";
}

function problem(id, text, ...fields) {
  byId(id).textContent = text;
  for (const each of fields) each.setAttribute("aria-invalid", text ? "true" : "false");
  if (text) fields[0].focus();
}

byId("connection").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!socket) connect();
});

function connect() {
  const path = byId("path");
  const subprotocols = byId("subprotocols");
  if (!path.value.startsWith("/")) path.value = `/${path.value}`;
  const names = subprotocols.value.split(/[\s,]+/).filter(Boolean);
  problem("connection-problem", "", path, subprotocols);
  if (path.value.includes("#")) {
    problem("connection-problem", "A path ends where a # begins: write it as %23.", path);
    return;
  }
  let made;
  try {
    made = new WebSocket(host + path.value, names);
  } catch {
    problem(
      "connection-problem",
      "Subprotocols are names without spaces, separated by commas, each once.",
      subprotocols,
    );
    return;
  }
  listen(made, path.value);
}

function listen(made, path) {
  let opened = false;
  socket = made;
  socket.binaryType = "arraybuffer";
  setState("busy", "Connecting");
  conversation.add("event", "Connecting", host + path);
  made.addEventListener("open", () => {
    opened = connectedBefore = true;
    setState("good", "Connected");
    conversation.add("event", "Connected", made.protocol ? `subprotocol ${made.protocol}` : "");
    if (byId("connection").contains(document.activeElement)) byId("message").focus();
  });
  made.addEventListener("message", ({ data }) => hear(data));
  made.addEventListener("close", ({ code, reason, wasClean }) => {
    socket = null;
    const said = reason ? `${code}, ${visible(reason)}` : String(code);
    setState(wasClean ? "" : "bad", opened ? `Closed: ${said}` : "Could not connect");
    const why = opened ? said : "The handshake was refused, or there was no answer.";
    conversation.add(wasClean ? "event" : "event bad", opened ? "Closed" : "Failed", why);
  });
}

byId("closing").addEventListener("submit", (event) => {
  event.preventDefault();
  const code = byId("code");
  const reason = byId("reason");
  const number = Number(code.value);
  problem("closing-problem", "", code, reason);
  if (!/^\d{4}$/.test(code.value) || (number !== 1000 && (number < 3000 || number > 4999))) {
    problem("closing-problem", "A page may close with 1000, or with 3000 to 4999.", code);
    return;
  }
  if (new TextEncoder().encode(reason.value).length > 123) {
    problem("closing-problem", "A reason has at most 123 octets of UTF-8.", reason);
    return;
  }
  if (!socket) return;
  socket.close(number, reason.value);
  setState("busy", "Closing");
});

// Messages

const counted = (count, one) => `${wholeNumber.format(count)} ${one}${count === 1 ? "" : "s"}`;

function noteMessage(kind, data) {
  const verb = kind === "sent" ? "Sent" : "Received";
  if (typeof data === "string") {
    const cut = data.length > MOST_CHARACTERS;
    const shown = cut ? data.slice(0, MOST_CHARACTERS) : data;
    const size = cut ? `${counted(data.length, "character")}, ${MOST_CHARACTERS} shown` : "";
    conversation.add(kind, verb, shown, data ? size : "empty");
    return;
  }
  const octets = new Uint8Array(data, 0, Math.min(data.byteLength, MOST_OCTETS));
  const cut = data.byteLength > MOST_OCTETS;
  const shown = Array.from(octets, (each) => pad(each.toString(16))).join(" ");
  const size = `binary, ${counted(data.byteLength, "octet")}`;
  conversation.add(kind, verb, shown, cut ? `${size}, ${MOST_OCTETS} shown` : size);
}

function hear(data) {
  received += 1;
  noteMessage("received", data);
}

/** Octets from hexadecimal digits, however they are spaced; null where it is none. */
function fromHex(text) {
  const digits = text.replace(/[\s:,]|0x/gi, "");
  if (digits.length % 2 || /[^0-9a-f]/i.test(digits)) return null;
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16)).buffer;
}

byId("sending").addEventListener("submit", (event) => {
  event.preventDefault();
  const message = byId("message");
  const binary = byId("kind").value === "binary";
  const data = binary ? fromHex(message.value) : message.value;
  problem("message-problem", "", message);
  if (data === null) {
    const hint = "Hexadecimal digits come in pairs, such as 48 65 6c 6c 6f.";
    problem("message-problem", hint, message);
    return;
  }
  if (!socket || socket.readyState !== WebSocket.OPEN) {
    problem("message-problem", "Connect first.", message);
    return;
  }
  socket.send(data);
  sent += 1;
  noteMessage("sent", data);
  conversation.follow();
  message.value = "";
  message.focus();
});

byId("message").addEventListener("keydown", (event) => {
  // Enter that chooses a word of an input method is not meant for us.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("sending").requestSubmit();
});

byId("host").textContent = host;
setState("", "Not connected");
byId("path").focus({ preventScroll: true });
byId("path").setSelectionRange(1, 1);

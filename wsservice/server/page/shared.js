// What both pages need. Whatever comes from a peer becomes text here, and never markup.

const byId = (id) => document.getElementById(id);

/** An element with a class and a text. */
function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

// Controls, format characters (bidirectional ones among them), surrogates, private use, what
// is unassigned, line separators, and spaces that look like the plain one but are not.
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;
const EACH_UNSEEN = new RegExp(UNSEEN, "gu");
const UNSEEN_RUN = new RegExp(`((?:${UNSEEN.source})+)`, "u");
const NAMES = { "\n": "⏎", "\t": "⇥" };

// A message made of nothing but such characters must not become thousands of elements.
const MOST_MARKED = 16;

function named(character) {
  if (NAMES[character]) return NAMES[character];
  return `⟨U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

/** A peer's text, on one line: each character that cannot be seen is named. */
function visible(text) {
  return UNSEEN.test(text) ? text.replace(EACH_UNSEEN, named) : text;
}

/** The same within an element, where the names are marked and line ends kept. */
function show(text, into) {
  if (!UNSEEN.test(text)) {
    into.textContent = text;
    return into;
  }
  const pieces = text.split(UNSEEN_RUN);
  pieces.slice(0, 2 * MOST_MARKED).forEach((piece, index) => {
    if (index % 2) {
      const ends = piece.replace(/[^\n]/g, "");
      into.append(element("span", "escaped", Array.from(piece, named).join("")), ends);
    } else {
      into.append(piece);
    }
  });
  into.append(visible(pieces.slice(2 * MOST_MARKED).join("")));
  return into;
}

const pad = (number, width = 2) => String(number).padStart(width, "0");

/** The time of day, to the millisecond, where the reader is. */
function timeOfDay(date) {
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map((each) => pad(each));
  return `${time.join(":")}.${pad(date.getMilliseconds(), 3)}`;
}

const wholeNumber = new Intl.NumberFormat("en");

/** A number of octets for people, in at most four digits. */
function inOctets(count) {
  if (count < 1000) return `${Math.round(count)} B`;
  const units = ["kB", "MB", "GB", "TB", "PB"];
  let value = count / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

// So many rows are kept: a flood must not fill the browser.
const MOST_KEPT = 500;

// So many at once are a flood, which is drawn only so often, in milliseconds.
const MANY = 50;
const REST = 250;

/** What happens, in rows of time, what, and a peer's text; the latest in sight. */
class Feed {
  #list;
  #scroll;
  #latest;
  #drawn;
  #waiting = [];
  #scheduled = false;
  #drawnAt = -Infinity;
  #following = true;

  /** Into `list` within `scroll`; `latest` leads back; `drawn` is told of what is new. */
  constructor(list, scroll, latest, drawn = () => {}) {
    this.#list = list;
    this.#scroll = scroll;
    this.#latest = latest;
    this.#drawn = drawn;
    scroll.addEventListener("scroll", () => {
      this.#following = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 40;
      latest.hidden = this.#following;
    });
    latest.addEventListener("click", () => this.follow());
    // An error below, or a keyboard on a phone, takes some of its height; and how high a row is
    // stands fast once it is drawn.
    const changed = new ResizeObserver(() => this.#keepUp());
    changed.observe(scroll);
    changed.observe(list);
  }

  get isEmpty() {
    return !this.#list.childElementCount;
  }

  /** Add a row with the next frame that the browser draws. */
  add(kind, what, text, size = "", at = new Date()) {
    this.#waiting.push({ kind, what, text, size, at });
    // Where nothing is drawn, in a tab that is hidden, they would pile up.
    if (this.#waiting.length > 2 * MOST_KEPT) this.#waiting = this.#waiting.slice(-MOST_KEPT);
    if (this.#scheduled) return;
    this.#scheduled = true;
    const draw = () => this.#draw();
    const rest = this.#drawnAt + REST - performance.now();
    // One that follows much else soon waits a little, so that a flood leaves time for the rest.
    if (rest > 0) setTimeout(() => requestAnimationFrame(draw), rest);
    else requestAnimationFrame(draw);
  }

  follow() {
    this.#following = true;
    this.#keepUp();
  }

  clear() {
    this.#waiting = [];
    this.#list.replaceChildren();
    this.#drawn([]);
  }

  #draw() {
    this.#scheduled = false;
    if (this.#waiting.length > MANY) this.#drawnAt = performance.now();
    const fresh = this.#waiting.slice(-MOST_KEPT);
    this.#waiting = [];
    const surplus = this.#list.childElementCount + fresh.length - MOST_KEPT;
    if (fresh.length === MOST_KEPT) this.#list.replaceChildren();
    else for (let count = 0; count < surplus; count += 1) this.#list.firstChild.remove();
    this.#list.append(...fresh.map((each) => this.#row(each)));
    this.#keepUp();
    this.#drawn(fresh);
  }

  #keepUp() {
    if (this.#following) this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }

  #row({ kind, what, text, size, at }) {
    const made = element("li", kind);
    const time = element("time", "number", timeOfDay(at));
    time.dateTime = at.toISOString();
    const payload = show(text, element("div", "payload"));
    if (size) payload.append(element("span", "size", size));
    made.append(time, element("span", "what", what), payload);
    return made;
  }
}

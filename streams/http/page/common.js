// What the consoles of our servers have in common: who asks, what is asked and told, values for people. Everything
// shown is text: what customers and models wrote is never read as markup. The bearer lives in this tab's session
// storage alone.

const KEPT = "aios.bearer";
const LONG = 1_500; // characters of a value that are shown at once

export const one = (id) => document.getElementById(id);

export function made(tag, text = "", more = {}) {
  const node = Object.assign(document.createElement(tag), more);
  if (text !== "") node.textContent = text;
  return node;
}

export function button(text, key, act, more = {}) {
  const node = made("button", text, { type: "button", ...more });
  if (key) node.append(" ", made("kbd", key));
  node.addEventListener("click", () => once(node, act));
  return node;
}

// act: what a form asks for when it is sent.
export function submitted(form, act) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    once(form.querySelector("[type=submit]"), act);
  });
}

// While it is under way it is not asked for again.
async function once(node, act) {
  node.disabled = true;
  await tried(act);
  node.disabled = false;
}

export function say(text, wrong = false) {
  one("says").textContent = text;
  one("says").classList.toggle("wrong", wrong);
}

// ── asking ──

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `the server answered ${status}`);
    this.status = status;
    this.reason = (problem.type ?? "").split(":").pop();
  }
}

// path: from the server's root, without a slash, so that a proxy may put something in front.
export async function ask(method, path, body) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEPT)}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const sent = { method, headers, body: body === undefined ? undefined : JSON.stringify(body) };
  const answer = await fetch(new URL(path, document.baseURI), sent);
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, said);
  return said;
}

// Runs what somebody asked for; what goes wrong is told where everybody looks, in the server's own words.
export async function tried(work) {
  try {
    await work();
  } catch (error) {
    say(error instanceof Refused ? error.message : "the server does not answer; nothing is lost, try again", true);
    if (!(error instanceof Refused || error instanceof TypeError)) throw error;
    if (error.status === 401) signOut();
  }
}

// ── who asks, and which page they see ──

let served = null;

// pages: name by id of the section. bearer, hint: what to sign in with. enter: reads what the first page shows; leave:
// forgets it; finish: what is still to be done before somebody signs out.
export function start({ pages, bearer, hint, enter, leave, finish }) {
  served = { pages, enter, leave };
  const header = made("header");
  const nav = made("nav", "", { id: "pages", hidden: true, ariaLabel: "pages" });
  for (const [id, name] of Object.entries(pages)) {
    nav.append(made("button", name, { type: "button", id: `to-${id}`, onclick: () => show(id) }));
  }
  const out = button("Sign out", "", async () => { await finish?.(); signOut(); say("signed out"); }, { id: "sign-out", hidden: true });
  header.append(made("strong", "AIOS"), nav, out);
  document.body.prepend(header, made("p", "", { id: "says", role: "status", ariaLive: "polite" }));
  document.querySelector("main").prepend(form(bearer, hint));
  if (sessionStorage.getItem(KEPT)) tried(signedIn);
  else show("sign-in");
}

function form(bearer, hint) {
  const asked = made("form", "", { id: "sign-in", autocomplete: "off" });
  const field = made("input", "", { id: "bearer", type: "password", autocomplete: "off", required: true, spellcheck: false });
  const kept = made("p", "It is kept in this tab alone, until the tab is closed. ", { className: "hint" });
  kept.append(made("code", hint), " makes a token.");
  const enter = made("button", "Sign in", { type: "submit" });
  asked.append(made("h1", "Sign in"), made("label", bearer, { htmlFor: "bearer" }), field, enter, kept);
  submitted(asked, async () => {
    sessionStorage.setItem(KEPT, field.value.trim());
    field.value = "";
    await signedIn();
  });
  return asked;
}

async function signedIn() {
  await served.enter();
  show(Object.keys(served.pages)[0]);
  say("");
}

function signOut() {
  served.leave();
  sessionStorage.removeItem(KEPT);
  show("sign-in");
}

export function show(page) {
  for (const id of ["sign-in", ...Object.keys(served.pages)]) one(id).hidden = id !== page;
  one("pages").hidden = one("sign-out").hidden = page === "sign-in";
  for (const id of Object.keys(served.pages)) {
    if (id === page) one(`to-${id}`).setAttribute("aria-current", "page");
    else one(`to-${id}`).removeAttribute("aria-current");
  }
  one(page).querySelector("input, button")?.focus();
}

export const isShown = (page) => !one(page).hidden && !document.hidden;

// What somebody reads next: the focus is there, and the page's head is seen.
export function read(id) {
  one(id).focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

// ── values for people ──

// Names and what they have, nested; empty ones are left out, long ones fold.
export function values(object) {
  const listed = made("dl");
  const named = Array.isArray(object) ? object.map((value, at) => [String(at + 1), value]) : Object.entries(object);
  for (const [name, value] of named) {
    if (value === "" || value === null || (typeof value === "object" && !Object.keys(value).length)) continue;
    const shown = made("dd");
    if (typeof value === "object") shown.append(values(value));
    else if (String(value).length > LONG) {
      const folded = made("details");
      folded.append(made("summary", `${String(value).slice(0, LONG)}…`), made("div", String(value)));
      shown.append(folded);
    } else shown.textContent = String(value);
    listed.append(made("dt", spaced(name)), shown);
  }
  return listed;
}

// rows: of cells, each text or a node.
export function table(heads, rows) {
  const shown = made("table");
  const line = (cells, tag) => {
    const row = made("tr");
    for (const cell of cells) {
      const box = made(tag);
      box.append(cell);
      row.append(box);
    }
    return row;
  };
  shown.append(line(heads, "th"), ...rows.map((cells) => line(cells, "td")));
  return shown;
}

export const spaced = (word) => word.replaceAll("_", " ");
export const clock = (ms) => new Date(ms).toLocaleTimeString();
export const moment = (ms) => (ms ? new Date(ms).toLocaleString() : "");

export function lasted(ms) {
  const minutes = Math.max(0, Math.round(ms / 60_000));
  if (minutes < 120) return `${minutes} min`;
  return minutes < 48 * 60 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1440)} days`;
}

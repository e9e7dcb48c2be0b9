// Questions to people: listed, taken, answered; and why a case came to its decision. Everything shown is text: what
// customers and models wrote is never read as markup. The bearer lives in this tab's session storage alone.

const KEPT = "aios.bearer";
const LISTED_MAX = 200; // what one answer of /v1/reviews holds
const LIST_MS = 10_000; // between two looks at the list
const UNDO_MS = 5_000; // in which an answer can still be taken back
const COMMENT_MAX = 2_000; // characters, as the gateway takes them
const LONG = 1_500; // characters of a value that are shown at once

const one = (id) => document.getElementById(id);
const seen = { list: [], question: null, me: "", sending: null }; // sending: an answer that can still be taken back

function made(tag, text = "", more = {}) {
  const node = Object.assign(document.createElement(tag), more);
  if (text !== "") node.textContent = text;
  return node;
}

function say(text, wrong = false) {
  one("says").textContent = text;
  one("says").classList.toggle("wrong", wrong);
}

class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `the gateway answered ${status}`);
    this.status = status;
    this.reason = (problem.type ?? "").split(":").pop();
  }
}

async function ask(method, path, body) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEPT)}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(new URL(path, document.baseURI), { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, said);
  return said;
}

// Runs what somebody asked for; what goes wrong is told where everybody looks, in the gateway's own words.
async function tried(work) {
  try {
    await work();
  } catch (error) {
    say(error instanceof Refused ? error.message : "the gateway does not answer; nothing is lost, try again", true);
    if (error.status === 401) signOut();
  }
}

// ── who asks ──

function signOut() {
  undo();
  sessionStorage.removeItem(KEPT);
  Object.assign(seen, { list: [], question: null, me: "", sending: null });
  one("question").replaceChildren();
  one("explanation").replaceChildren();
  show("sign-in");
}

function show(page) {
  for (const id of ["sign-in", "questions", "case"]) one(id).hidden = id !== page;
  one("pages").hidden = one("sign-out").hidden = page === "sign-in";
  for (const [id, of] of [["to-questions", "questions"], ["to-case", "case"]]) {
    if (of === page) one(id).setAttribute("aria-current", "page");
    else one(id).removeAttribute("aria-current");
  }
  (page === "sign-in" ? one("bearer") : page === "case" ? one("case-id") : one("next")).focus();
}

// ── the list ──

async function list() {
  seen.list = await ask("GET", `v1/reviews?limit=${LISTED_MAX}`);
  drawList();
}

function drawList() {
  const words = one("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (task) => words.every((word) => JSON.stringify(task).toLowerCase().includes(word));
  const now = Date.now();
  one("open").replaceChildren(...seen.list.filter(fits).map((task) => {
    const button = made("button", "", { type: "button" });
    const used = (now - task.requested_at) / Math.max(1, task.expires_at - task.requested_at);
    const waits = made("span", `waits ${lasted(now - task.requested_at)} of ${lasted(task.expires_at - task.requested_at)}`);
    waits.className = used > 0.9 ? "late" : used > 0.5 ? "soon" : "hint";
    button.append(made("span", `${task.workflow}: ${task.reasons.map(spaced).join(", ")}`), waits);
    if (task.claimed_by) button.append(made("span", `${task.claimed_by} has it`, { className: "hint" }));
    if (task.task_id === seen.question?.task_id) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => tried(() => open(task.task_id)));
    const item = made("li");
    item.append(button);
    return item;
  }));
  one("none").hidden = seen.list.length > 0;
}

// ── a question ──

function read(id) {
  one(id).focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

async function open(id) {
  await sent();
  seen.question = await ask("GET", `v1/reviews/${encodeURIComponent(id)}`);
  drawQuestion();
  drawList();
  read("question");
}

async function take(path) {
  const claim = await ask("POST", path);
  seen.me = claim.claimed_by;
  await open(claim.task_id);
  say(`yours until ${clock(claim.claimed_until)}`);
  await list();
}

function drawQuestion() {
  const task = seen.question;
  const parts = [made("h1", `${task.workflow}: ${task.reasons.map(spaced).join(", ")}`)];
  const facts = {
    step: task.step,
    "answer by": new Date(task.expires_at).toLocaleString(),
    suggested: task.suggestion ? `${task.suggestion} (${Math.round(task.confidence * 100)} %)` : "",
    "asks for the skill": task.skills,
    people: task.people > 1 ? `${task.people} must agree; you are asked as number ${task.round}` : "",
    case: task.case_id,
  };
  parts.push(values(facts), made("h2", "What it is about"), values(task.input));
  if (Object.keys(task.evidence).length) parts.push(made("h2", "What is known"), values(task.evidence));
  parts.push(answering(task));
  one("question").replaceChildren(...parts);
}

function answering(task) {
  const box = made("div", "", { className: "answer" });
  const mine = task.claimed_by !== "" && task.claimed_by === seen.me;
  const held = made("p", "", { className: "hint", id: "held" });
  const choices = made("div", "", { className: "choices" });
  if (task.status !== "open") {
    held.textContent = "This question is answered.";
  } else if (mine) {
    held.textContent = `Yours until ${clock(task.claimed_until)}.`;
    task.choices.forEach((label, at) => {
      const button = made("button", "", { type: "button", value: label });
      button.append(made("span", spaced(label)));
      if (at < 9) button.append(" ", made("kbd", String(at + 1)));
      button.addEventListener("click", () => choose(label));
      choices.append(button);
    });
    const comment = made("textarea", "", { id: "comment", rows: 2, maxLength: COMMENT_MAX });
    const why = made("label", "Why, if you wish to say", { htmlFor: "comment" });
    const rest = made("p");
    rest.append(taking(task, "Keep it longer "), " ", back(task));
    box.append(held, choices, why, comment, rest);
    return box;
  } else {
    held.textContent = task.claimed_by ? `${task.claimed_by} has it until ${clock(task.claimed_until)}.` : "Nobody has it in hand.";
    choices.append(taking(task, "Take it "));
  }
  box.append(held, choices);
  return box;
}

function taking(task, words) {
  const button = made("button", words, { type: "button", id: "take" });
  button.append(made("kbd", "t"));
  button.addEventListener("click", () => tried(() => take(`v1/reviews/${encodeURIComponent(task.task_id)}/claim`)));
  return button;
}

function back(task) {
  const button = made("button", "Give it back", { type: "button", id: "give-back" });
  button.addEventListener("click", () => tried(async () => {
    undo();
    await ask("POST", `v1/reviews/${encodeURIComponent(task.task_id)}/release`);
    await open(task.task_id);
    await list();
    say("given back");
  }));
  return button;
}

// An answer is sent when UNDO_MS are over, or when one goes on to something else: until then it can be taken back,
// afterwards nobody can.
function choose(label) {
  undo();
  const { task_id: id, case_id: of } = seen.question;
  for (const button of document.querySelectorAll(".choices button")) {
    button.classList.toggle("chosen", button.value === label);
  }
  const send = async () => {
    const comment = one("comment").value.trim();
    await ask("POST", `v1/reviews/${encodeURIComponent(id)}/decision`, { label, comment });
    seen.question = null;
    const done = made("p", `${spaced(label)}: it is on record.`);
    one("question").replaceChildren(done, made("p", `Case ${of}`, { className: "hint" }));
    say(`${spaced(label)}: accepted`);
  };
  seen.sending = { send, timer: setTimeout(() => tried(async () => { await sent(); await list(); }), UNDO_MS) };
  say(`${spaced(label)}: sent in ${UNDO_MS / 1000} s; Escape takes it back`);
}

// What is still to be sent is sent now.
async function sent() {
  if (seen.sending === null) return;
  const { send, timer } = seen.sending;
  clearTimeout(timer);
  seen.sending = null;
  await send();
}

function undo() {
  if (seen.sending === null) return false;
  clearTimeout(seen.sending.timer);
  seen.sending = null;
  for (const button of document.querySelectorAll(".choices button")) button.classList.remove("chosen");
  say("taken back; nothing was sent");
  return true;
}

// ── a case ──

async function explain(id) {
  const found = await ask("GET", `v1/cases/${encodeURIComponent(id)}/explanation`);
  const story = made("ol");
  for (const each of found.story) story.append(made("li", `${new Date(each.at).toLocaleString()} · ${each.says}`));
  const because = made("ul");
  for (const each of found.because) because.append(made("li", each));
  one("explanation").replaceChildren(
    made("h1", found.says), because,
    values({ status: found.status, outcome: found.outcome, label: found.label, "decided by": found.decided_by,
      models: found.models.join(", "), prompts: found.prompts.join(", "), policies: found.policies.join(", ") }),
    made("h2", "What happened"), story,
  );
  say("");
  read("explanation");
}

// ── words ──

// A value for people: names and what they have, nested; empty ones are left out, long ones fold.
function values(object) {
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

function spaced(word) {
  return word.replaceAll("_", " ");
}

function lasted(ms) {
  const minutes = Math.max(0, Math.round(ms / 60_000));
  if (minutes < 120) return `${minutes} min`;
  return minutes < 48 * 60 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1440)} days`;
}

function clock(ms) {
  return new Date(ms).toLocaleTimeString();
}

// ── what is asked of the page ──

function pressed(event) {
  if (event.key === "Escape" && undo()) return;
  if (event.target.matches("input, textarea") || event.ctrlKey || event.metaKey || event.altKey || one("questions").hidden) return;
  const number = Number(event.key);
  if (event.key === "n") tried(() => take("v1/reviews/claim"));
  else if (event.key === "t") one("take")?.click();
  else if (event.key === "/") one("filter").focus();
  else if (number >= 1) document.querySelectorAll(".choices button[value]")[number - 1]?.click();
  else return;
  event.preventDefault();
}

function start() {
  one("sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEPT, one("bearer").value.trim());
    one("bearer").value = "";
    tried(enter);
  });
  one("sign-out").addEventListener("click", () => tried(async () => { await sent(); signOut(); say("signed out"); }));
  one("to-questions").addEventListener("click", () => show("questions"));
  one("to-case").addEventListener("click", () => show("case"));
  one("next").addEventListener("click", () => tried(() => take("v1/reviews/claim")));
  one("filter").addEventListener("input", drawList);
  one("find-case").addEventListener("submit", (event) => {
    event.preventDefault();
    tried(() => explain(one("case-id").value.trim()));
  });
  document.addEventListener("keydown", pressed);
  window.addEventListener("beforeunload", (event) => { if (seen.sending !== null) event.preventDefault(); });
  setInterval(() => { if (!one("questions").hidden && !document.hidden) tried(list); }, LIST_MS);
  if (sessionStorage.getItem(KEPT)) tried(enter);
}

async function enter() {
  await list();
  show("questions");
  say("");
}

start();

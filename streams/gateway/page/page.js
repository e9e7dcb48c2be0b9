// Questions to people: listed, taken, answered; and why a case came to its decision.

import { ask, button, clock, isShown, lasted, made, moment, one, read, say, spaced, start, submitted, table, tried, values } from "./common.js";

const LISTED_MAX = 200; // what one answer of /v1/reviews holds
const CASES = 50; // that changed last
const LIST_MS = 10_000; // between two looks at the list
const UNDO_MS = 5_000; // in which an answer can still be taken back
const KEYS = 9; // answers that have one
const COMMENT_MAX = 2_000; // characters, as the gateway takes them

// answered: questions that the list may show a moment longer. sending: an answer that can still be taken back.
const seen = { list: [], question: null, me: "", answered: new Set(), sending: null };

const review = (id, what = "") => `v1/reviews/${encodeURIComponent(id)}${what}`;
const about = (task) => `${task.workflow}: ${task.reasons.map(spaced).join(", ")}`;

// ── the list ──

async function list() {
  const found = await ask("GET", `v1/reviews?limit=${LISTED_MAX}`);
  seen.list = found.filter((task) => !seen.answered.has(task.task_id));
  drawList();
}

function drawList() {
  const words = one("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (task) => words.every((word) => JSON.stringify(task).toLowerCase().includes(word));
  const now = Date.now();
  one("open").replaceChildren(...seen.list.filter(fits).map((task) => {
    const entry = button("", "", () => open(task.task_id));
    const [waits, may] = [now - task.requested_at, task.expires_at - task.requested_at];
    const used = waits / Math.max(1, may);
    const words = `waits ${lasted(waits)} of ${lasted(may)}`;
    entry.append(made("span", about(task)), made("span", words, { className: used > 0.9 ? "late" : used > 0.5 ? "soon" : "hint" }));
    if (task.claimed_by) entry.append(made("span", `${task.claimed_by} has it`, { className: "hint" }));
    if (task.task_id === seen.question?.task_id) entry.setAttribute("aria-current", "true");
    const item = made("li");
    item.append(entry);
    return item;
  }));
  one("none").hidden = seen.list.length > 0;
}

// ── a question ──

async function open(id) {
  await sent();
  seen.question = await ask("GET", review(id));
  drawQuestion();
  drawList();
  read("question");
}

async function take(path) {
  await sent();
  const claim = await ask("POST", path);
  seen.me = claim.claimed_by;
  await open(claim.task_id);
  say(`yours until ${clock(claim.claimed_until)}`);
  await list();
}

const next = () => take("v1/reviews/claim");

function drawQuestion() {
  const task = seen.question;
  const facts = {
    step: task.step,
    "answer by": moment(task.expires_at),
    suggested: task.suggestion ? `${task.suggestion} (${Math.round(task.confidence * 100)} %)` : "",
    "asks for the skill": task.skills,
    people: task.people > 1 ? `${task.people} must agree; this asks number ${task.round}` : "",
    case: task.case_id,
  };
  const parts = [made("h1", about(task)), values(facts), made("h2", "What it is about"), values(task.input)];
  if (Object.keys(task.evidence).length) parts.push(made("h2", "What is known"), values(task.evidence));
  one("question").replaceChildren(...parts, answering(task));
}

function answering(task) {
  const box = made("div", "", { className: "answer" });
  const held = made("p", "", { className: "hint" });
  box.append(held);
  const taking = (words) => button(words, "t", () => take(review(task.task_id, "/claim")), { id: "take" });
  if (task.status !== "open") {
    held.textContent = "This question is answered.";
  } else if (task.claimed_by !== "" && task.claimed_by === seen.me) {
    held.textContent = `Yours until ${clock(task.claimed_until)}.`;
    const rest = made("p");
    rest.append(taking("Keep it longer"), " ", button("Give it back", "", giveBack));
    const comment = made("textarea", "", { id: "comment", rows: 2, maxLength: COMMENT_MAX });
    box.append(...choices(task), made("label", "Why, if you wish to say", { htmlFor: "comment" }), comment, rest);
  } else {
    held.textContent = task.claimed_by ? `${task.claimed_by} has it until ${clock(task.claimed_until)}.` : "Nobody has it in hand.";
    box.append(taking("Take it"));
  }
  return box;
}

// What was suggested first; where there are more than keys, words find one.
function choices(task) {
  const labels = [...task.choices].sort((a, b) => (b === task.suggestion) - (a === task.suggestion));
  const shown = made("div", "", { className: "choices" });
  shown.append(...labels.map((label, at) => button(spaced(label), at < KEYS ? String(at + 1) : "", () => choose(label), { value: label })));
  if (labels.length <= KEYS) return [shown];
  const words = made("input", "", { id: "words", type: "search", spellcheck: false });
  const fits = (each) => each.hidden = !spaced(each.value).toLowerCase().includes(words.value.trim().toLowerCase());
  words.addEventListener("input", () => shown.querySelectorAll("button").forEach(fits));
  words.addEventListener("keydown", (event) => {
    const left = shown.querySelectorAll("button:not([hidden])");
    if (event.key === "Enter" && left.length === 1) left[0].click();
  });
  return [made("label", `Of ${labels.length} answers, those with these words; Enter chooses the last that is left`, { htmlFor: "words" }), words, shown];
}

async function giveBack() {
  undo();
  const { task_id: id } = seen.question;
  await ask("POST", review(id, "/release"));
  await open(id);
  await list();
  say("given back");
}

// An answer is sent when UNDO_MS are over, or when one goes on to something else: until then it can be taken back,
// afterwards nobody can.
function choose(label) {
  undo();
  const { task_id: id, case_id: of } = seen.question;
  for (const each of document.querySelectorAll(".choices button")) each.classList.toggle("chosen", each.value === label);
  const send = async () => {
    const comment = one("comment").value.trim();
    await ask("POST", review(id, "/decision"), { label, comment });
    seen.answered.add(id);
    seen.question = null;
    one("question").replaceChildren(made("p", `${spaced(label)}: it is on record.`), made("p", `Case ${of}`, { className: "hint" }));
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
  for (const each of document.querySelectorAll(".choices button")) each.classList.remove("chosen");
  say("taken back; nothing was sent");
  return true;
}

// ── cases ──

async function cases() {
  const found = await ask("GET", `v1/cases?limit=${CASES}`);
  const rows = found.map((each) => [
    button(each.case_id.slice(0, 8), "", () => explain(each.case_id)),
    each.workflow, spaced(each.status), spaced(each.outcome), spaced(each.label), each.decided_by, moment(each.changed_at),
  ]);
  one("explanation").replaceChildren(table(["case", "workflow", "status", "outcome", "label", "decided by", "changed"], rows));
}

async function explain(id) {
  const found = await ask("GET", `v1/cases/${encodeURIComponent(id)}/explanation`);
  const [because, story] = [made("ul"), made("ol")];
  because.append(...found.because.map((each) => made("li", each)));
  story.append(...found.story.map((each) => made("li", `${moment(each.at)} · ${each.says}`)));
  const facts = { status: found.status, outcome: found.outcome, label: found.label, "decided by": found.decided_by };
  for (const name of ["models", "prompts", "policies"]) facts[name] = found[name].join(", ");
  one("explanation").replaceChildren(made("h1", found.says), because, values(facts), made("h2", "What happened"), story);
  say("");
  read("explanation");
}

// ── what is asked of the page ──

function pressed(event) {
  if (event.key === "Escape" && undo()) {
    event.preventDefault(); // else a search field loses its words
    return;
  }
  if (event.target.matches("input, textarea") || event.ctrlKey || event.metaKey || event.altKey || !isShown("questions")) return;
  const number = Number(event.key);
  if (event.key === "n") tried(next);
  else if (event.key === "t") one("take")?.click();
  else if (event.key === "/") one("filter").focus();
  else if (number >= 1) document.querySelectorAll(".choices button")[number - 1]?.click();
  else return;
  event.preventDefault();
}

function empty() {
  undo();
  Object.assign(seen, { list: [], question: null, me: "", answered: new Set() });
  one("question").replaceChildren(made("p", "Choose a question, or take the most urgent one that you may answer.", { className: "hint" }));
  one("explanation").replaceChildren();
  one("open").replaceChildren();
}

one("next").append(button("Take the next", "n", next, { className: "main" }));
one("latest").append(button("Those that changed last", "", cases));
one("filter").addEventListener("input", drawList);
submitted(one("find-case"), () => explain(one("case-id").value.trim()));
document.addEventListener("keydown", pressed);
window.addEventListener("beforeunload", (event) => { if (seen.sending !== null) event.preventDefault(); });
setInterval(() => { if (isShown("questions")) tried(list); }, LIST_MS);
empty();
start({
  pages: { questions: "Questions", case: "Cases" },
  bearer: "A reviewer's token, to answer questions; or a tenant's API key, to read",
  hint: "aios principal add NAME --role reviewer",
  enter: list,
  leave: empty,
  finish: sent,
});

// Dead letters by what failed, the jobs that bring them back, and breakers. Whoever plans a job does not approve it: two
// people do it together, each signed in with a token of their own.

import { ask, button, isShown, lasted, made, moment, one, read, say, show, spaced, start, submitted, table, tried, values } from "./common.js";

const LISTED = 50; // letters and jobs that are shown
const LOOK_MS = 2_000; // between two looks at a job, and at what is open
const RATE = 100; // letters a second, unless somebody says otherwise
const ACTS = { draft: ["approve", "abort"], approved: ["run", "abort"], running: ["pause", "abort"], paused: ["resume", "abort"] };

const seen = { job: "" };

const chosen = (group) => ({ group: group.group, reason: group.reason, fingerprint: group.fingerprint });
const query = (asked) => new URLSearchParams(asked).toString();

function entry(lines, act) {
  const shown = button("", "", act);
  shown.append(...lines.map(([text, className = ""]) => made("span", text, { className })));
  const item = made("li");
  item.append(shown);
  return item;
}

// ── dead letters ──

async function groups() {
  const found = await ask("GET", "v1/dead-letters/groups");
  const now = Date.now();
  one("groups").replaceChildren(...found.map((group) => entry(
    [[`${group.count} of ${group.group}`], [spaced(group.reason)], [`the oldest ${lasted(now - group.oldest_at)} ago`, "hint"]],
    () => letters(group),
  )));
  one("none").hidden = found.length > 0;
}

async function letters(group) {
  const found = await ask("GET", `v1/dead-letters?${query({ ...chosen(group), limit: LISTED })}`);
  const rows = found.letters.map((each) => [
    button(each.id.slice(0, 8), "", () => letter(each.id)), moment(each.failed_at), each.key, each.state, each.tenant,
  ]);
  const parts = [made("h1", `${group.group}: ${spaced(group.reason)}`)];
  if (group.hint) parts.push(made("p", group.hint));
  parts.push(planning(group), table(["letter", "failed", "key", "state", "tenant"], rows));
  if (found.total > found.letters.length) parts.push(made("p", `${found.letters.length} of ${found.total}, the newest`, { className: "hint" }));
  one("group").replaceChildren(...parts);
  read("group");
}

function planning(group) {
  const asked = made("form", "", { className: "planning" });
  const why = made("input", "", { id: "why", required: true, spellcheck: true });
  const rate = made("input", "", { id: "rate", type: "number", min: 0, value: RATE });
  asked.append(
    made("label", "Why these may return", { htmlFor: "why" }), why,
    made("label", "Letters a second, 0: as fast as they can", { htmlFor: "rate" }), rate,
    made("button", `Plan a replay of ${group.count}`, { type: "submit", className: "main" }),
  );
  submitted(asked, async () => {
    const plan = { filter: chosen(group), rate_per_s: Number(rate.value), reason: why.value.trim() };
    const done = await ask("POST", "v1/replays", plan);
    show("jobs");
    await jobs();
    if (done.object_id) await job(done.object_id);
    say("planned; its dry run goes over what it would do, and somebody else approves it");
  });
  return asked;
}

async function letter(id) {
  const found = await ask("GET", `v1/dead-letters/${id}`);
  const { shown, edit, ...facts } = found;
  for (const name of ["first_failed_at", "failed_at", "written_at", "returns_until"]) facts[name] = moment(facts[name]);
  const back = button("Discard it", "", async () => {
    const reason = one("why").value.trim();
    await ask("POST", `v1/dead-letters/${id}/discard`, { reason });
    await groups();
    say(`${id.slice(0, 8)} is discarded; aios dlq restore opens it again`);
  });
  const why = made("input", "", { id: "why", required: true });
  const act = made("p");
  act.append(made("label", "Why", { htmlFor: "why" }), why, back);
  const value = shown.value === null ? { problem: shown.problem, bytes: shown.hex } : shown.value;
  one("group").replaceChildren(
    made("h1", `dead letter ${id.slice(0, 8)}`), values(facts),
    made("h2", `What it holds${shown.redacted.length ? ", without personal fields" : ""}`), values(value),
    ...(edit === null ? [] : [made("h2", "Its edit"), values({ by: edit.by, "approved by": edit.approved_by, holds: edit.shown.value ?? {} })]),
    act,
  );
  read("group");
}

// ── jobs ──

async function jobs() {
  const found = await ask("GET", `v1/replays?limit=${LISTED}`);
  one("planned").replaceChildren(...found.jobs.map((each) => entry(
    [[`${each.job_id.slice(0, 8)}: ${each.state}`], [`by ${each.planned_by}, ${moment(each.planned_at)}`, "hint"]],
    () => job(each.job_id),
  )));
}

async function job(id) {
  seen.job = id;
  await drawJob();
  read("job");
}

async function drawJob() {
  const id = seen.job;
  const found = await ask("GET", `v1/replays/${id}`);
  if (id !== seen.job) return;
  const { done, of, rate_per_s: rate } = found.progress;
  const bar = made("progress", "", { max: Math.max(1, of), value: done, ariaLabel: "letters done" });
  const acts = made("p");
  for (const verb of ACTS[found.state] ?? []) {
    acts.append(button(verb, "", async () => {
      await ask("POST", `v1/replays/${id}/${verb}`, { reason: "" });
      await drawJob();
      await jobs();
      say(`${verb}: done`);
    }), " ");
  }
  const facts = {
    state: found.state, "planned by": found.planned_by, "approved by": found.approved_by, "run by": found.run_by,
    filter: found.filter, "dry run": found.report, results: found.results, "skipped for": found.skipped_for,
  };
  one("job").replaceChildren(
    made("h1", `job ${id.slice(0, 8)}`), bar, made("p", of ? `${done} of ${of}, ${rate}/s` : "nothing returned yet", { className: "hint" }), acts, values(facts),
  );
}

// ── breakers ──

async function breakers() {
  const found = await ask("GET", "v1/breakers");
  const rows = found.map((each) => [
    each.key, spaced(each.reason), `${each.failed} of ${each.settled}`, moment(each.changed_at), each.action,
    button("Close it", "", async () => {
      await ask("POST", "v1/breakers/close", { key: each.key, reason: "" });
      await breakers();
      say(`${each.key} is closed`);
    }),
  ]);
  one("open").replaceChildren(
    found.length ? table(["breaker", "why", "failed", "since", "what to do", ""], rows) : made("p", "None is open: nothing pauses by itself.", { className: "hint" }),
  );
}

// ── the page ──

async function look() {
  if (isShown("jobs")) {
    await jobs();
    if (seen.job && !one("job").contains(document.activeElement)) await drawJob();
  }
  if (isShown("breakers")) await breakers();
}

function empty() {
  seen.job = "";
  for (const id of ["groups", "group", "planned", "job", "open"]) one(id).replaceChildren();
}

one("again").append(button("Look again", "", groups));
setInterval(() => tried(look), LOOK_MS);
start({
  pages: { letters: "Dead letters", jobs: "Jobs", breakers: "Breakers" },
  bearer: "The token of a principal: an operator plans and runs, an approver approves, everybody reads",
  hint: "aios principal add NAME --role operator",
  enter: async () => { await groups(); await jobs(); await breakers(); },
  leave: empty,
});

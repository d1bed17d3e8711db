// Shows what the endpoint "waits" says. Texts of services and DAGs only ever become text nodes, never HTML.
"use strict";

const LIMIT = 100;
const EVERY = 10_000;
const UNKNOWN = "—";
const PLACES = {
  triggerer: "deferred",
  scheduler: "rescheduled",
  worker: "on a worker",
  person: "paused for an answer",
};

const byId = (id) => document.getElementById(id);
const view = { order: "since", descending: false, offset: 0, service: "", connection: "" };
let request = null;
let isLoaded = false;

// ---------------------------------------------------------------------------------------- elements

const element = (name, className, ...children) => {
  const made = document.createElement(name);
  if (className) {
    made.className = className;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
};

// Airflow shows this page in a sandboxed frame, which may neither leave it nor open a window. A link of the
// page around it may, so that one is followed instead.
const follow = (event) => {
  if (window.parent === window || event.defaultPrevented) {
    return;
  }
  const clicked = event.currentTarget;
  const outer = window.parent.document.createElement("a");
  outer.href = clicked.href;
  if (clicked.target || event.ctrlKey || event.metaKey || event.shiftKey || event.button === 1) {
    outer.target = "_blank";
    outer.rel = "noopener noreferrer";
  }
  event.preventDefault();
  outer.click();
};

const link = (href, text, className, isElsewhere) => {
  const made = element("a", className, text);
  made.href = href;
  if (isElsewhere) {
    made.target = "_blank";
    made.rel = "noopener noreferrer";
  }
  made.addEventListener("click", follow);
  made.addEventListener("auxclick", follow);
  return made;
};

// Relative to this page, so that it also works below a path of [api] base_url.
const inAirflow = (...parts) => new URL(`../${parts.map(encodeURIComponent).join("/")}`, location.href).href;

const remotePage = (url) => {
  try {
    const found = new URL(url);
    return ["http:", "https:"].includes(found.protocol) ? found.href : null;
  } catch {
    return null;
  }
};

// -------------------------------------------------------------------------------------------- words

const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

const span = (seconds) => {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) {
    return `${whole} s`;
  }
  if (whole < 3600) {
    return `${Math.floor(whole / 60)} min`;
  }
  if (whole < 86_400) {
    const minutes = Math.floor((whole % 3600) / 60);
    return `${Math.floor(whole / 3600)} h${minutes ? ` ${minutes} min` : ""}`;
  }
  const hours = Math.floor((whole % 86_400) / 3600);
  return `${Math.floor(whole / 86_400)} d${hours ? ` ${hours} h` : ""}`;
};

const moment = (seconds) => new Date(seconds * 1000);

const time = (seconds, now, after = "") => {
  if (seconds === null) {
    return UNKNOWN;
  }
  const made = element("time", "", span(now - seconds) + after);
  made.dateTime = moment(seconds).toISOString();
  made.title = moment(seconds).toLocaleString();
  return made;
};

const credits = (number) => (number === null ? UNKNOWN : number.toLocaleString("en"));

const stateBadge = (state, text = state) => {
  const known = ["running", "waiting", "pending"].includes(state) ? state : "";
  return element("span", `badge ${known}`, text);
};

// --------------------------------------------------------------------------------------------- rows

const taskPath = (wait) => {
  const path = ["dags", wait.dag_id, "runs", wait.run_id, "tasks", wait.task_id];
  return wait.map_index >= 0 ? [...path, "mapped", String(wait.map_index)] : path;
};

const namesCell = (wait) => {
  const place = wait.map_index >= 0 ? `${wait.task_id} [${wait.map_index}]` : wait.task_id;
  return element(
    "td",
    "names",
    link(inAirflow("dags", wait.dag_id), wait.dag_id),
    " › ",
    link(inAirflow(...taskPath(wait)), place),
    element("span", "second", link(inAirflow("dags", wait.dag_id, "runs", wait.run_id), wait.run_id)),
  );
};

const remoteCell = (wait) => {
  const cell = element("td", "remote");
  const page = wait.url && remotePage(wait.url);
  if (wait.remote_count === 0) {
    cell.append(page ? link(page, "its page", "", true) : UNKNOWN);
  } else {
    const first = element("code", "", wait.remote_ids[0]);
    cell.append(page ? link(page, first, "", true) : first);
    const left = wait.remote_count - 1;
    if (left > 0) {
      const more = element("span", "second", `and ${left.toLocaleString("en")} more`);
      more.title = wait.remote_ids.slice(1).join("\n") + (left >= wait.remote_ids.length ? "\n…" : "");
      cell.append(more);
    }
  }
  return cell;
};

const stateCell = (wait, now) => {
  const cell = element("td", "", wait.state ? stateBadge(wait.state) : UNKNOWN);
  if (wait.state_at !== null && wait.state_at !== wait.polled_at) {
    cell.append(element("span", "second", "as of ", time(wait.state_at, now, " ago")));
  }
  if (wait.is_attended === false) {
    const badge = element("span", "badge trouble", "no triggerer");
    badge.title = "No triggerer that is alive has this wait, so nothing polls it. Is one running?";
    cell.append(" ", badge);
  }
  if (wait.question !== null) {
    const asked = link(inAirflow(...taskPath(wait), "required_actions"), wait.question, "question");
    cell.append(asked);
    if (wait.asked_at !== null) {
      cell.append(element("span", "second", "asked ", time(wait.asked_at, now, " ago")));
    }
  }
  return cell;
};

const row = (wait, now) =>
  element(
    "tr",
    "",
    namesCell(wait),
    element(
      "td",
      "",
      wait.conn_id ?? UNKNOWN,
      element("span", "second", wait.task_type ?? wait.service ?? ""),
    ),
    remoteCell(wait),
    stateCell(wait, now),
    element("td", "time", time(wait.since, now), element("span", "second", PLACES[wait.place] ?? wait.place)),
    element("td", "time", time(wait.polled_at, now, " ago")),
    element("td", "number", credits(wait.credits)),
  );

// ------------------------------------------------------------------------------------------- totals

const card = (total, now) => {
  const isChosen = view.service === (total.service ?? "") && view.connection === (total.conn_id ?? "");
  const facts = [];
  if (total.remote_tasks !== total.waits && total.remote_tasks > 0) {
    facts.push(count(total.remote_tasks, "remote task"));
  }
  if (total.oldest !== null) {
    facts.push(`longest ${span(now - total.oldest)}`);
  }
  if (total.polled_at !== null) {
    facts.push(`polled ${span(now - total.polled_at)} ago`);
  }
  if (total.credits !== null) {
    facts.push(count(total.credits, "credit"));
  }
  const badges = Object.entries(total.states)
    .filter(([state]) => state)
    .sort()
    .map(([state, waits]) => stateBadge(state, `${waits.toLocaleString("en")} ${state}`));
  if (total.questions) {
    badges.push(element("span", "badge waiting", count(total.questions, "open question")));
  }
  if (total.unattended) {
    badges.push(element("span", "badge trouble", `${total.unattended.toLocaleString("en")} without a triggerer`));
  }
  const made = element(
    "button",
    "card",
    element("span", "name", `${total.service ?? "?"} · ${total.conn_id ?? "connection not known"}`),
    element("span", "count", total.waits.toLocaleString("en"), " ", element("small", "", total.waits === 1 ? "wait" : "waits")),
    element("span", "more", facts.join(" · ")),
    element("span", "badges", ...badges),
  );
  made.type = "button";
  made.setAttribute("aria-pressed", String(isChosen));
  made.addEventListener("click", () => {
    choose(isChosen ? "" : (total.service ?? ""), isChosen ? "" : (total.conn_id ?? ""));
  });
  return made;
};

const choose = (service, connection) => {
  view.service = service;
  view.connection = connection;
  restart();
};

const option = (value, text, isChosen) => {
  const made = element("option", "", text);
  made.value = value;
  made.selected = isChosen;
  return made;
};

const offer = (found) => {
  const pair = JSON.stringify([view.service, view.connection]);
  const pairs = found.connections.map((one) => [one.service ?? "", one.conn_id ?? ""]);
  byId("connection").replaceChildren(
    option('["",""]', "all", pair === '["",""]'),
    ...pairs.filter(([service, connection]) => service || connection).map((one) => {
      const value = JSON.stringify(one);
      return option(value, one.filter(Boolean).join(" · "), value === pair);
    }),
  );
  const chosen = byId("state").value;
  const states = [...new Set([...found.states, chosen].filter(Boolean))].sort();
  byId("state").replaceChildren(
    option("", "any", !chosen),
    ...states.map((state) => option(state, state, state === chosen)),
  );
};

// -------------------------------------------------------------------------------------------- show

const keepingFocus = (draw) => {
  // A list that is drawn anew every few seconds must not take the keyboard's place from its reader.
  const active = document.activeElement;
  const parent = active?.closest("#connections, #rows");
  const places = parent ? [...parent.querySelectorAll("a, button")] : [];
  const place = places.indexOf(active);
  draw();
  if (place >= 0) {
    byId(parent.id).querySelectorAll("a, button")[place]?.focus({ preventScroll: true });
  }
};

const show = (found) => {
  isLoaded = true;
  byId("problem").hidden = true;
  const questions = found.connections.reduce((sum, one) => sum + one.questions, 0);
  byId("summary").textContent = found.total
    ? `${found.is_cut ? "more than " : ""}${count(found.total, "wait")}` +
      (questions ? `, ${count(questions, "open question")}` : "")
    : "Airflow waits for no remote task.";
  keepingFocus(() => {
    byId("connections").replaceChildren(...found.connections.map((one) => card(one, found.now)));
    byId("rows").replaceChildren(...found.waits.map((wait) => row(wait, found.now)));
  });
  offer(found);
  byId("filters").hidden = found.total === 0;
  byId("nothing").hidden = found.waits.length > 0;
  byId("nothing").textContent = found.total
    ? "No wait fits these filters."
    : "Nothing waits now. A sensor, or an operator that waits for its task, appears here while it does.";
  byId("pages").hidden = found.matching <= LIMIT && view.offset === 0;
  const last = view.offset + found.waits.length;
  byId("range").textContent = `${last ? view.offset + 1 : 0}–${last} of ${found.matching.toLocaleString("en")}`;
  byId("previous").disabled = view.offset === 0;
  byId("next").disabled = last >= found.matching;
  for (const head of document.querySelectorAll("th[data-order]")) {
    const isSorted = head.dataset.order === view.order;
    // Who has waited longest has waited since the earliest moment.
    const isFalling = view.descending !== (view.order === "since");
    head.setAttribute("aria-sort", isSorted ? (isFalling ? "descending" : "ascending") : "none");
  }
};

const complain = (text) => {
  byId("problem").textContent = text;
  byId("problem").hidden = false;
  if (!isLoaded) {
    byId("summary").textContent = "";
  }
};

const reason = async (answer) => {
  if (answer.status === 401) {
    return "You are not logged in to Airflow any more. Log in and reload.";
  }
  if (answer.status === 403) {
    return "Your Airflow role may not read task instances.";
  }
  const said = await answer.json().catch(() => ({}));
  return typeof said.detail === "string" ? said.detail : `Airflow answered with status ${answer.status}.`;
};

const load = async () => {
  request?.abort();
  const own = new AbortController();
  request = own;
  const wanted = new URLSearchParams({
    text: byId("text").value.trim(),
    service: view.service,
    connection: view.connection,
    state: byId("state").value,
    place: byId("place").value,
    question: byId("question").checked,
    order: view.order,
    descending: view.descending,
    limit: LIMIT,
    offset: view.offset,
  });
  try {
    const answer = await fetch(`waits?${wanted}`, { signal: own.signal, credentials: "same-origin" });
    if (answer.ok) {
      show(await answer.json());
    } else {
      complain(await reason(answer));
    }
  } catch (error) {
    if (error.name !== "AbortError") {
      complain("Airflow cannot be reached; what is shown may be out of date.");
    }
  }
};

const restart = () => {
  view.offset = 0;
  load();
};

// ------------------------------------------------------------------------------------------- events

let typing = 0;
byId("text").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(restart, 250);
});
for (const id of ["state", "place", "question"]) {
  byId(id).addEventListener("change", restart);
}
byId("connection").addEventListener("change", (event) => choose(...JSON.parse(event.target.value)));
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("reset", () => setTimeout(() => choose("", "")));
byId("reload").addEventListener("click", load);
byId("previous").addEventListener("click", () => {
  view.offset = Math.max(0, view.offset - LIMIT);
  load();
});
byId("next").addEventListener("click", () => {
  view.offset += LIMIT;
  load();
});
for (const head of document.querySelectorAll("th[data-order]")) {
  head.querySelector("button").addEventListener("click", () => {
    view.descending = view.order === head.dataset.order ? !view.descending : false;
    view.order = head.dataset.order;
    restart();
  });
}
setInterval(() => {
  if (byId("refresh").checked && document.visibilityState === "visible") {
    load();
  }
}, EVERY);
load();

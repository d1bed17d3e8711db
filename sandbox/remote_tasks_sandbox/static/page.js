"use strict";
// Draws the JSON of /_sandbox/page. Everything is written as text, never as HTML: it may be whatever a client sent.

const REFRESH_MILLISECONDS = 3000;
// The columns of all tables, in their order; a table has those that its rows have a value for.
const COLUMNS = [
  "status", "state", "kind", "id", "dlqId", "title", "url", "asks", "method", "path", "text", "input", "confirmed",
  "message_id", "messageId", "queue", "labels", "callback_of", "responseStatus", "credits", "retried", "task_id",
  "applied", "times", "fault", "created_at", "changes_at", "at", "reads",
];
const TIMES = new Set(["created_at", "changes_at", "at"]);
const TONES = {
  good: /^(completed|stopped|delivered|2\d\d)$/i,
  bad: /^(failed|cancell?ed|[345]\d\d)$/i,
  busy: /^(running|active|processing)$/i,
};

function node(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
}

function link(text, href) {
  const made = node("a", text);
  // An address like "javascript:…" is not followed.
  if (/^(\/(?!\/)|https?:\/\/)/.test(href)) made.href = href;
  made.rel = "noreferrer";
  return made;
}

function span(seconds) {
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (Math.abs(seconds) >= 2 * size) return `${Math.round(Math.abs(seconds) / size)} ${unit}`;
  }
  return `${Math.round(Math.abs(seconds))} s`;
}

function cell(table, column, row, now) {
  const value = row[column];
  if (value === null || value === undefined) return "";
  if (column === "status" || column === "state") {
    const tone = Object.keys(TONES).find((one) => TONES[one].test(value)) ?? "wait";
    return node("span", value, `chip ${tone}`);
  }
  if (TIMES.has(column)) {
    const seconds = (value > 1e11 ? value / 1000 : value) - now;
    return seconds > 0 ? `in ${span(seconds)}` : `${span(seconds)} ago`;
  }
  if (column === "title" && location.pathname === "/") return link(value, `/${table}/app/${encodeURIComponent(row.id)}`);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function section(name, ...content) {
  const made = node("section");
  made.append(node("h2", name.replaceAll("_", " ").replace("qstash", "QStash")), ...content);
  return made;
}

function table(name, { total, rows }, now) {
  const made = section(name);
  made.firstChild.append(node("span", ` ${total}`));
  if (!rows.length) {
    made.append(node("p", "None yet.", "soft"));
    return made;
  }
  const isSet = (value) => value !== undefined && value !== null && value !== "";
  const columns = COLUMNS.filter((column) => rows.some((row) => isSet(row[column])));
  const drawn = node("table");
  const head = drawn.createTHead().insertRow();
  for (const column of columns) head.append(node("th", column.replaceAll("_", " ")));
  const body = drawn.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const column of columns) line.insertCell().append(cell(name, column, row, now));
  }
  made.append(drawn);
  if (total > rows.length) made.append(node("p", `and ${total - rows.length} older`, "soft"));
  return made;
}

function talk(messages) {
  const made = node("div", undefined, "talk");
  for (const { role, content } of messages) {
    const bubble = node("div", undefined, role);
    bubble.append(node("small", role));
    for (const part of content) bubble.append(part.fileUrl ? link(part.fileName, part.fileUrl) : node("div", part.text));
    made.append(bubble);
  }
  return made;
}

function draw(page) {
  const parts = [];
  if (page.connections) parts.push(section("Connect Airflow", ...page.connections.map((line) => node("code", line))));
  if (page.messages) parts.push(talk(page.messages));
  if (page.waits_for) {
    const { type, schema, request } = page.waits_for;
    const lines = schema ? [JSON.stringify(schema), request] : [request];
    parts.push(section(`Waits for ${type}`, ...lines.map((line) => node("code", line))));
  }
  if (page.failure) parts.push(node("p", page.failure, "failure"));
  for (const [name, rows] of Object.entries(page.tables)) parts.push(table(name, rows, page.now));
  document.title = document.querySelector("h1").textContent = page.title;
  document.querySelector("#back").hidden = location.pathname === "/";
  const time = new Date(page.now * 1000).toISOString().slice(0, 19).replace("T", " ");
  document.querySelector("#clock b").textContent = `${time} UTC`;
  document.querySelector("main").replaceChildren(...parts);
}

async function show() {
  let page;
  try {
    const path = encodeURIComponent(decodeURIComponent(location.pathname));
    page = await (await fetch(`/_sandbox/page?path=${path}`)).json();
  } catch {
    page = { error: "The sandbox does not answer." };
  }
  if (page.error) document.querySelector("main").replaceChildren(node("p", page.error, "failure"));
  else draw(page);
  return page.error || page.refresh;
}

async function repeat() {
  if (document.querySelector("input").checked && !(await show())) return;
  setTimeout(repeat, REFRESH_MILLISECONDS);
}

repeat();

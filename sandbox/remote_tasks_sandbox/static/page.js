"use strict";
// Draws the blocks of /_sandbox/page. Everything is written as text, never as HTML: it may be whatever a client sent.

const REFRESH_MILLISECONDS = 3000;

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

function cell(value) {
  if (typeof value === "string") return [value];
  const { text, tone, href, notes = [], percent } = value;
  const parts = [href ? link(text, href) : tone ? node("span", text, `chip ${tone}`) : text];
  for (const note of notes) parts.push(node("small", note));
  if (percent !== undefined && percent !== null) {
    parts.push(Object.assign(node("progress"), { max: 100, value: percent }));
  }
  return parts;
}

function table(block) {
  if (!block.rows.length) return [node("p", block.empty, "soft")];
  const made = node("table");
  const head = made.createTHead().insertRow();
  for (const column of block.columns) head.append(node("th", column));
  const body = made.createTBody();
  for (const row of block.rows) {
    const line = body.insertRow();
    for (const value of row) line.insertCell().append(...cell(value));
  }
  const more = block.total - block.rows.length;
  return more > 0 ? [made, node("p", `and ${more} older`, "soft")] : [made];
}

function section(block) {
  const made = node("section");
  const title = node("h2", `${block.title} `);
  if (block.rows) title.append(node("span", block.total));
  made.append(title, ...(block.rows ? table(block) : block.lines.map((line) => node("code", line))));
  return made;
}

function talk(messages) {
  const made = node("div", undefined, "talk");
  for (const { role, parts } of messages) {
    const bubble = node("div", undefined, role);
    bubble.append(node("small", role));
    for (const part of parts) bubble.append(typeof part === "string" ? node("div", part) : link(part.text, part.href));
    made.append(bubble);
  }
  return made;
}

function drawn(block) {
  if (block.messages) return talk(block.messages);
  if (block.failure) return node("p", block.failure, "failure");
  if (!block.facts) return section(block);
  const made = node("p", undefined, "facts");
  for (const fact of block.facts) {
    const item = node("span");
    item.append(...cell(fact));
    made.append(item);
  }
  return made;
}

async function show() {
  let page;
  try {
    const answer = await fetch(`/_sandbox/page?path=${encodeURIComponent(decodeURIComponent(location.pathname))}`);
    page = await answer.json();
  } catch {
    page = { error: "The sandbox does not answer." };
  }
  const main = document.querySelector("main");
  if (page.error) {
    main.replaceChildren(node("p", page.error, "failure"));
    return true;
  }
  document.title = document.querySelector("h1").textContent = page.title;
  document.querySelector("#back").hidden = location.pathname === "/";
  const time = new Date(page.now * 1000).toISOString().slice(0, 19).replace("T", " ");
  document.querySelector("#clock b").textContent = `${time} UTC`;
  main.replaceChildren(...page.blocks.map(drawn));
  return page.refresh;
}

async function repeat() {
  const wanted = document.querySelector("input").checked;
  if (wanted && !(await show())) return;
  setTimeout(repeat, REFRESH_MILLISECONDS);
}

repeat();

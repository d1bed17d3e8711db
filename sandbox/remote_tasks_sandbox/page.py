"""The pages a person looks at: all tasks at a glance, and one Manus task with its conversation.

Plain HTML and CSS in one response: no script, no other host, light or dark as the reader's system is. Every
value goes through :func:`html.escape`, since titles, ids and paths are whatever a test or a client sent.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from remote_tasks_sandbox.manus.task import ManusTask
from remote_tasks_sandbox.manus.v1_wire import conversation
from remote_tasks_sandbox.page_style import ICON, STYLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from remote_tasks_sandbox.faults import Fault
    from remote_tasks_sandbox.journal import RequestRecord
    from remote_tasks_sandbox.qstash.message import DlqMessage, Message
    from remote_tasks_sandbox.qstash.tasks import QStashTask
    from remote_tasks_sandbox.state import Sandbox

__all__ = ["connection_strings", "overview_page", "task_page"]

_TASKS_SHOWN = 100
_REQUESTS_SHOWN = 20
_REFRESH_SECONDS = 3

_TONES = {
    "good": {"completed", "stopped", "delivered"},
    "bad": {"failed", "canceled", "cancelled"},
    "busy": {"running", "active", "processing"},
    "wait": {
        *("pending", "waiting", "created", "planned"),
        *("error", "retry", "retrying", "cancel_requested"),
    },
}


def connection_strings(sandbox: Sandbox) -> list[str]:
    """Return the two environment variables that point Airflow's default connections at the sandbox."""
    secrets = {"manus": sandbox.settings.manus_key, "qstash": sandbox.settings.qstash_token}
    lines = []
    for vendor, password in secrets.items():
        connection = {"conn_type": vendor, "host": f"{sandbox.base_url}/{vendor}", "password": password}
        value = json.dumps(connection, separators=(",", ":")).replace("'", "'\\''")
        lines.append(f"AIRFLOW_CONN_{vendor.upper()}_DEFAULT='{value}'")
    return lines


def overview_page(sandbox: Sandbox, *, refresh: bool) -> str:
    """Return the page at ``/``.

    :param refresh: whether the browser loads it again every few seconds
    """
    refresh_seconds = _REFRESH_SECONDS if refresh else None
    with sandbox.lock:
        now = sandbox.clock.now()
        manus = sandbox.manus.newest(_TASKS_SHOWN)
        created = {one.id: one.version for one in sandbox.manus.created}
        qstash = sandbox.qstash.newest(_TASKS_SHOWN)
        messages = sandbox.qstash.messages
        shown = messages[: -_TASKS_SHOWN - 1 : -1]
        dlq_messages = {dlq_message.message.id: dlq_message for dlq_message in sandbox.qstash.dlq_messages}
        totals = (len(sandbox.manus), len(sandbox.qstash))
        body = [
            _header(now, refresh_seconds),
            _connect(sandbox),
            _section("Manus tasks", totals[0], _manus_table(manus, created, now), len(manus)),
            _section("QStash messages", len(messages), _message_table(shown, dlq_messages, now), len(shown)),
            _section("QStash v1 tasks", totals[1], _qstash_table(qstash, now), len(qstash)),
            '<div class="pair">',
            _section(
                "Requests", sandbox.journal.total, _requests(sandbox.journal.last(_REQUESTS_SHOWN), now)
            ),
            _section("Faults", len(sandbox.faults.all()), _faults(sandbox.faults.all())),
            "</div>",
        ]
    return _document("Sandbox", "".join(body), refresh_seconds)


def task_page(sandbox: Sandbox, task_id: str) -> str | None:
    """Return the page a Manus task's ``task_url`` leads to, or ``None`` when there is no such task."""
    with sandbox.lock:
        task = sandbox.manus.get(task_id)
        if task is None:
            return None
        now = sandbox.clock.now()
        word = task.timeline.word(now)
        tone = _manus_tone(word)
        messages = conversation(
            task, task.timeline.index(now), now, sandbox.base_url, sandbox.settings.file_url_seconds
        )
        talk = "".join(_bubble(message["role"], message["content"]) for message in messages)
        if len(messages) == 1 and tone == "busy":
            talk += '<p class="empty">The agent is at work.</p>'
        failure = f'<p class="failure">{escape(task.error)}</p>' if tone in ("bad", "odd") else ""
        comes = "next: " if task.timeline.next_word(now) is not None else ""
        # A task that asks moves on as well, once somebody answers.
        moves = bool(comes) or task.waits_for(now) is not None
        body = (
            f'<p class="crumb"><a href="/">← all tasks</a></p><h1>{escape(task.title)}</h1>'
            f'<p class="facts">{_chip(word, tone)} <code>{escape(task.id)}</code> '
            f"<span>{task.credits(now)} credits</span> <span>created {_ago(now - task.created_at)}</span> "
            f"<span>{escape(comes + _change(task, now)) if moves else ''}</span></p>"
            f'<div class="talk">{talk}</div>{_asked(task, now)}{failure}{_received(task, now)}'
        )
    return _document(task.title, body, _REFRESH_SECONDS if moves else None)


def _asked(task: ManusTask, now: float) -> str:
    """Say what a waiting task waits for, and how to answer it from a shell."""
    asked = task.waits_for(now)
    if asked is None:
        return ""
    event_id, question = asked
    if question.in_words:
        how, body = "task.sendMessage", {"task_id": task.id, "message": {"content": "..."}}
    else:
        how, body = (
            "task.confirmAction",
            {"task_id": task.id, "event_id": event_id, "input": {"accept": True}},
        )
    schema = (
        "" if question.input_schema is None else f"<code>{escape(json.dumps(question.input_schema))}</code>"
    )
    return (
        f'<section class="connect"><h2>Waits for {escape(question.type)}</h2>{schema}'
        f"<code>POST /manus/v2/{how} {escape(json.dumps(body), quote=False)}</code></section>"
    )


def _received(task: ManusTask, now: float) -> str:
    rows = []
    for one in task.received:
        said = one.text if one.kind == "message" else json.dumps(one.input)
        used = {None: "", True: " used", False: " not used"}[one.confirmed]
        rows.append(f"<tr><td>{one.kind}{used}</td><td>{escape(said)}</td><td>{_ago(now - one.at)}</td></tr>")
    if not rows:
        return ""
    return _section("Received through the API", len(rows), _table(("What", "Said", "When"), rows, ""))


def _document(title: str, body: str, refresh_seconds: int | None) -> str:
    refresh = f'<meta http-equiv="refresh" content="{refresh_seconds}">' if refresh_seconds else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'{refresh}<title>{escape(title)}</title><link rel="icon" href="{ICON}"><style>{STYLE}</style></head>'
        f"<body><main>{body}</main></body></html>"
    )


def _header(now: float, refresh_seconds: int | None) -> str:
    time = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    switch = (
        f'refreshes every {refresh_seconds} s · <a href="/?refresh=off">hold still</a>'
        if refresh_seconds
        else '<a href="/">refresh by itself</a>'
    )
    return (
        "<header><div><h1>Sandbox</h1><p>Manus and QStash, emulated on this machine.</p></div>"
        f'<p class="clock"><b>{time}</b><br>{switch}</p></header>'
    )


def _connect(sandbox: Sandbox) -> str:
    lines = "".join(f"<code>{escape(line, quote=False)}</code>" for line in connection_strings(sandbox))
    return f'<section class="connect"><h2>Connect Airflow</h2>{lines}</section>'


def _section(title: str, total: int, content: str, shown: int | None = None) -> str:
    more = f'<p class="more">and {total - shown:,} older</p>' if shown is not None and total > shown else ""
    return f'<section><h2>{title} <span class="count">{total:,}</span></h2>{content}{more}</section>'


def _table(heads: Iterable[str], rows: list[str], empty: str) -> str:
    if not rows:
        return f'<p class="empty">{empty}</p>'
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _manus_table(tasks: list[ManusTask], created: Mapping[str, str], now: float) -> str:
    rows = [
        f"<tr><td>{_manus_chip(task, now)}</td>"
        f'<td><a href="/manus/app/{quote(task.id, safe="")}">'
        f"{escape(task.title)}</a><br><code>{escape(task.id)}</code>{_origin(created.get(task.id))}</td>"
        f"{_life(task, now - task.created_at, now)}</tr>"
        for task in tasks
    ]
    hint = "None yet. <code>POST /_sandbox/manus/tasks</code> adds one, <code>--seed-demo</code> a few."
    return _table(("Status", "Task", "Age", "Next", "Last read", "Reads"), rows, hint)


def _qstash_table(tasks: list[QStashTask], now: float) -> str:
    rows = [
        f"<tr><td>{_chip(task.timeline.word(now))}</td><td>{escape(task.url)}<br>"
        f"<code>{escape(task.id)}</code> of <code>{escape(task.message_id)}</code></td>"
        f"{_life(task, now - task.created_ms / 1000, now)}</tr>"
        for task in tasks
    ]
    hint = "None yet. <code>POST /_sandbox/qstash/tasks</code> adds one."
    return _table(("State", "Destination", "Age", "Next", "Last read", "Reads"), rows, hint)


def _message_table(messages: list[Message], dlq_messages: Mapping[str, DlqMessage], now: float) -> str:
    rows = [
        f"<tr><td>{_chip(message.state)}</td><td>{escape(message.options.method)} {escape(message.url)}<br>"
        f"<code>{escape(message.id)}</code>{_message_origin(message, dlq_messages.get(message.id))}</td>"
        f"<td>{_span(now - message.created_at)}</td>"
        f"<td>{'-' if message.next_at is None else 'in ' + _span(message.next_at - now)}</td>"
        f"<td>{message.retried} of {message.options.max_retries}</td></tr>"
        for message in messages
    ]
    hint = "None yet. <code>POST /qstash/v2/publish/https://…</code> sends one."
    return _table(("State", "Destination", "Age", "Next", "Retries"), rows, hint)


def _message_origin(message: Message, dlq_message: DlqMessage | None) -> str:
    options = message.options
    facts = {
        "in queue": options.queue,
        "of group": options.topic,
        "of schedule": options.schedule_id,
        "calls back for": message.cause.id if message.cause else None,
        "dead letter": dlq_message.id if dlq_message else None,
        "labels": ", ".join(options.labels) or None,
    }
    told = " · ".join(f"{name} {escape(value)}" for name, value in facts.items() if value is not None)
    return f' <span class="origin">{told}</span>' if told else ""


def _origin(version: str | None) -> str:
    return f' <span class="origin">created through {version}</span>' if version else ""


def _life(task: ManusTask | QStashTask, age: float, now: float) -> str:
    read = "-" if task.last_read_at is None else _ago(now - task.last_read_at)
    return (
        f"<td>{_span(age)}</td><td>{escape(_change(task, now))}{_progress(task, now)}</td>"
        f"<td>{read}</td><td>{task.reads:,}</td>"
    )


def _change(task: ManusTask | QStashTask, now: float) -> str:
    word = task.timeline.next_word(now)
    if word is None:
        asked = task.waits_for(now) if isinstance(task, ManusTask) else None
        return f"asks: {asked[1].type}" if asked else "stays"
    at, reads = task.timeline.next_change(now), task.timeline.reads_left()
    if at is not None:
        return f"{word} in {_span(at - now)}"
    return f"{word} after {reads} read{'' if reads == 1 else 's'}"


def _progress(task: ManusTask | QStashTask, now: float) -> str:
    at, since = task.timeline.next_change(now), task.timeline.since(now)
    if at is None or at <= since:
        return ""
    percent = max(0.0, min(100.0, 100 * (now - since) / (at - since)))
    return f'<span class="bar"><i style="width:{percent:.0f}%"></i></span>'


def _faults(faults: list[Fault]) -> str:
    rows = []
    for fault in faults:
        calls = "any call" if (fault.method, fault.path) == ("*", "*") else f"{fault.method} {fault.path}"
        only = f"<br><code>only {escape(fault.task_id)}</code>" if fault.task_id else ""
        applied = f"{fault.applied:,}" + ("" if fault.times is None else f" of {fault.times:,}")
        rows.append(
            f'<tr class="{"spent" if fault.spent else ""}"><td><b>{escape(fault.kind)}</b><br>'
            f"<code>{escape(calls)}</code>{only}</td><td>{applied}</td></tr>"
        )
    return _table(("Fault", "Applied"), rows, "None: everything works.")


def _requests(records: list[RequestRecord], now: float) -> str:
    rows = []
    for record in records:
        tone = "wait" if record.status is None else "good" if record.status < 300 else "bad"
        query = "&".join(f"{name}={value}" for name, value in record.query)
        address = record.path + ("?" + query if query else "")
        fault = f' <span class="fault">{escape(record.fault)}</span>' if record.fault else ""
        rows.append(
            f'<tr><td><span class="chip {tone}">{record.status or "none"}</span></td>'
            f"<td><code>{escape(record.method)} {escape(address)}</code>{fault}</td>"
            f"<td>{_ago(now - record.at)}</td></tr>"
        )
    return _table(("Answer", "Request", "When"), rows, "None yet.")


def _bubble(role: str, content: list[dict[str, str]]) -> str:
    parts = []
    for part in content:
        if part["type"] == "output_file":
            href, name = escape(part["fileUrl"]), escape(part["fileName"])
            parts.append(f'<p><a class="file" href="{href}" rel="noreferrer">{name}</a></p>')
        else:
            parts.append(f"<p>{escape(part['text'])}</p>")
    return f'<div class="bubble {escape(role)}"><span>{escape(role)}</span>{"".join(parts)}</div>'


def _chip(word: str, tone: str | None = None) -> str:
    return f'<span class="chip {tone or _tone(word)}">{escape(word)}</span>'


def _manus_chip(task: ManusTask, now: float) -> str:
    word = task.timeline.word(now)
    return _chip(word, _manus_tone(word))


def _tone(word: str) -> str:
    return next((tone for tone, words in _TONES.items() if word.lower() in words), "odd")


def _manus_tone(word: str) -> str:
    # To QStash an error is an attempt that is repeated; to Manus it is the end.
    return "bad" if word.lower() == "error" else _tone(word)


def _ago(seconds: float) -> str:
    return f"{_span(seconds)} ago"


def _span(seconds: float) -> str:
    """Write a duration in its largest fitting unit; the page is for a glance."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"

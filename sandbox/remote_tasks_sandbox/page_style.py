"""The look of the pages, kept apart from their content."""

from __future__ import annotations

__all__ = ["ICON", "STYLE"]

#: Inline, so that browsers do not ask for /favicon.ico.
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Ccircle cx='8' cy='8' r='7' fill='%234f7cff'/%3E%3C/svg%3E"
)

STYLE = """
:root { color-scheme: light dark;
  --ground: #f5f6f8; --card: #fff; --text: #1c2230; --soft: #667085; --line: #e4e7ec; --code: #f2f4f7;
  --link: #2f5fe0; --good: #067647; --good-bg: #dcfae6; --bad: #b42318; --bad-bg: #fee4e2;
  --busy: #1d4ed8; --busy-bg: #dbe7ff; --wait: #93590a; --wait-bg: #fdf0c8;
  --odd: #6d28d9; --odd-bg: #ece4fd; }
@media (prefers-color-scheme: dark) { :root {
  --ground: #10141c; --card: #181e29; --text: #e6e9ef; --soft: #98a2b3; --line: #2a3241; --code: #222a38;
  --link: #8fb0ff; --good: #75e0a7; --good-bg: #0e3b26; --bad: #fda29b; --bad-bg: #4a1712;
  --busy: #a9c4ff; --busy-bg: #1c3266; --wait: #f7d06b; --wait-bg: #463308;
  --odd: #cdb8ff; --odd-bg: #35215f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text);
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 48px; }
header { display: flex; justify-content: space-between; align-items: flex-end; gap: 20px;
  margin-bottom: 20px; }
h1 { font-size: 24px; line-height: 1.2; margin: 0; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 14px; margin: 0 0 10px; }
header p, .crumb, .facts { margin: 4px 0 0; color: var(--soft); }
.clock { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.clock b { color: var(--text); font-weight: 600; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 16px 18px; margin-bottom: 16px; }
.count { color: var(--soft); font-weight: 400; margin-left: 4px; }
code { font: 12px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; color: var(--soft);
  overflow-wrap: anywhere; }
.connect code { display: block; background: var(--code); color: var(--text); border-radius: 8px;
  padding: 8px 12px; margin-top: 8px; user-select: all; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; font-size: 12px; color: var(--soft); padding: 0 12px 6px 0; }
td { border-top: 1px solid var(--line); padding: 8px 12px 8px 0; vertical-align: top; }
td:last-child, th:last-child { padding-right: 0; text-align: right; }
td:not(:nth-child(2)) { white-space: nowrap; }
td:nth-child(2) { width: 50%; overflow-wrap: anywhere; }
.pair td:nth-child(2) { width: auto; }
.spent { opacity: .5; }
.chip { display: inline-block; border-radius: 99px; padding: 1px 9px; font-size: 12px; font-weight: 600; }
.good { color: var(--good); background: var(--good-bg); }
.bad { color: var(--bad); background: var(--bad-bg); }
.busy { color: var(--busy); background: var(--busy-bg); }
.wait { color: var(--wait); background: var(--wait-bg); }
.odd { color: var(--odd); background: var(--odd-bg); }
.bar { display: block; height: 4px; border-radius: 2px; background: var(--line); margin-top: 5px;
  overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--link); }
.empty, .more { color: var(--soft); margin: 0; }
.more { margin-top: 8px; }
.pair { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 1fr); gap: 16px; align-items: start; }
.origin { color: var(--soft); font-size: 12px; }
.talk + section { margin-top: 16px; }
.fault { color: var(--bad); font-size: 12px; font-weight: 600; }
.crumb { margin-bottom: 12px; }
.facts { display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: center; margin: 10px 0 20px; }
.talk { display: flex; flex-direction: column; gap: 12px; }
.bubble { max-width: 78%; align-self: flex-start; background: var(--card); border: 1px solid var(--line);
  border-radius: 14px; padding: 10px 16px; }
.bubble.user { align-self: flex-end; background: var(--busy-bg); border-color: transparent; }
.bubble span { font-size: 12px; color: var(--soft); }
.bubble p { margin: 2px 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.file { display: inline-block; border: 1px solid var(--line); border-radius: 8px; padding: 3px 10px;
  margin-top: 6px; }
.failure { border-left: 3px solid var(--bad); padding: 6px 14px; color: var(--bad); background: var(--bad-bg);
  border-radius: 0 8px 8px 0; margin-top: 16px; }
@media (max-width: 760px) { header { display: block; } .clock { text-align: left; margin-top: 10px; }
  .pair { grid-template-columns: minmax(0, 1fr); } }
"""

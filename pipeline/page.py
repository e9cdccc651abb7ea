"""The look of the report: one style sheet, readable in a light and in a dark theme and on a narrow screen."""

__all__ = ["STYLE"]

STYLE = """
:root { --page: #f7f7f5; --panel: #ffffff; --ink: #1d2125; --soft: #5f676f; --line: #e2e3e0; --track: #eceeed;
  --accent: #2a6fbb; --good: #1f7a4d; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --page: #15181b; --panel: #1e2226; --ink: #e8eaec; --soft: #a3abb3; --line: #333a40; --track: #2c3238;
    --accent: #6aa9ea; --good: #63c694; --bad: #f28b82; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 980px; margin: 0 auto; padding: 32px 20px 64px; }
header h1 { margin: 0 0 4px; font-size: 28px; }
header p { margin: 4px 0; color: var(--soft); }
.badge { display: inline-block; padding: 2px 12px; border-radius: 12px; border: 1px solid currentcolor;
  font-weight: 600; }
header .passed { color: var(--good); }
header .failed, .failures { color: var(--bad); }
h2 { margin: 0 0 14px; font-size: 17px; }
section, .card { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; }
section { padding: 20px 22px; margin-top: 18px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 14px; margin-top: 22px; }
.card { padding: 16px 18px; }
.card b { display: block; font-size: 26px; font-variant-numeric: tabular-nums; }
.card span { display: block; }
.card small { color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--soft); font-weight: 600; font-size: 13px; }
th, td { padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg .tick { fill: var(--soft); font-size: 11px; }
.track { fill: var(--track); } .bar, .dot { fill: var(--accent); }
.line { fill: none; stroke: var(--accent); stroke-width: 2; stroke-linejoin: round; }
.grid { stroke: var(--line); }
.pair img { aspect-ratio: auto; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); gap: 18px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(92px, 1fr)); gap: 12px; }
figure { margin: 0; text-align: center; font-size: 13px; }
figure img { width: 100%; aspect-ratio: 1; image-rendering: pixelated; border-radius: 6px;
  border: 2px solid transparent; }
.wrong img { border-color: var(--bad); } .wrong figcaption { color: var(--bad); }
details { margin-top: 8px; } summary { cursor: pointer; color: var(--soft); }
"""

"""Draws the results: a bar for each figure that has a goal, as long as it has come on its way there.

python -m bench.plot bench/results/DATE.json
"""

import json
import sys
from html import escape
from pathlib import Path
from typing import Any

WIDTH, LINE, TOP, LEFT, GOAL = 980, 30, 84, 400, 640
"""In pixels; the goal's line is at GOAL, and what is more than half beyond it ends there."""
MOST = 1.5
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #222 }
  .small { font-size: 11px; fill: #555 }
  .met { fill: #2b7a4b } .not { fill: #b3562b } .noisy { fill-opacity: 0.6 }
  .goal { stroke: #222; stroke-dasharray: 4 3 }
  @media (prefers-color-scheme: dark) { text { fill: #eee } .small { fill: #aaa } .goal { stroke: #eee } svg { background: #181818 } }
"""


def svg(results: dict[str, Any]) -> str:
    figures = [found for found in results["figures"].values() if found["must"] is not None]
    height = TOP + LINE * len(figures) + 20
    machine = results["machine"]
    about = f"{results['date']}, {results['commit']}, {machine['cores']} cores of {machine['cpu']}, {results['rounds']} rounds"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="How far each figure is">',
        f"<style>{STYLE}</style>",
        f'<text x="16" y="24">How far each figure is on its way to its goal</text><text x="16" y="42" class="small">{escape(about)}</text>',
        f'<text x="{GOAL}" y="{TOP - 14}" text-anchor="middle" class="small">goal</text>',
        f'<line x1="{GOAL}" x2="{GOAL}" y1="{TOP - 8}" y2="{height - 16}" class="goal"/>',
    ]
    for number, found in enumerate(figures):
        lines += _bar(found, TOP + LINE * number)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _bar(found: dict[str, Any], top: int) -> list[str]:
    """Its name, how far it is, and how that was found."""
    reached = reached_share(found)
    length = min(reached, MOST) * (GOAL - LEFT)
    looks = f"{'met' if found['met'] else 'not'}{' noisy' if found['noisy'] else ''}"
    unit = f" {found['unit']}" if found["unit"] else ""
    now = f"{found['median']:,.0f}" if found["median"] >= 100 else f"{found['median']:.3g}"
    said = f"{now}{unit} of {found['must']:g}{unit}{', noisy' if found['noisy'] else ''}"
    return [
        f'<text x="{LEFT - 10}" y="{top + 15}" text-anchor="end">{escape(found["title"])}</text>',
        f'<rect x="{LEFT}" y="{top + 3}" width="{length:.1f}" height="{LINE - 12}" class="{looks}"/>',
        f'<text x="{max(LEFT + length, GOAL) + 10:.1f}" y="{top + 15}">{escape(said)}</text>',
    ]


def reached_share(found: dict[str, Any]) -> float:
    """1 at the goal; below where it is not reached."""
    now, must = found["median"], found["must"]
    if found["better"] == "less":
        now, must = must, now
    return float(now / must) if must else MOST


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.with_suffix(".svg").write_text(svg(json.loads(file.read_text())))

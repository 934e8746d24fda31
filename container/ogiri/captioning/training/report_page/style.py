"""The look of the report: light and dark, from a phone's width on, and on paper.

Every pair of text and ground has a contrast of 4.5 or more (WCAG 2.2, 1.4.3), lines of charts 3 or more (1.4.11).
"""

LIGHT = {
    "ground": "#faf8f4",
    "card": "#ffffff",
    "ink": "#24211d",
    "soft": "#655e54",
    "edge": "#ddd5c8",
    "first": "#b83a12",
    "second": "#1f6391",
    "good": "#2a6b36",
    "bad": "#a3230f",
}
DARK = {
    "ground": "#171614",
    "card": "#22201d",
    "ink": "#efeae2",
    "soft": "#aea599",
    "edge": "#3f3b35",
    "first": "#ff9166",
    "second": "#7cc0ec",
    "good": "#86cf92",
    "bad": "#ff9c8a",
}
TEXT = ("ink", "soft", "first", "second", "good", "bad")


def _variables(colours: dict[str, str]) -> str:
    return "; ".join(f"--{name}: {value}" for name, value in colours.items())


STYLE = (
    f":root {{ color-scheme: light dark; {_variables(LIGHT)} }}\n"
    f"@media (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}\n"
    """
* { box-sizing: border-box }
html { scroll-behavior: smooth }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto } }
body { margin: 0; background: var(--ground); color: var(--ink); line-height: 1.5; overflow-wrap: anywhere;
  font-family: system-ui, "Hiragino Sans", "Hiragino Kaku Gothic ProN", "Noto Sans JP", "Noto Sans CJK JP", "Yu Gothic",
  Meiryo, "IPAexGothic", sans-serif }
header, main, footer { max-width: 72rem; margin: 0 auto; padding: 0 1rem }
h1 { margin: 1.2rem 0 0; font-size: 1.6rem; line-height: 1.25 }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem } h3 { font-size: 1rem; margin: 1.4rem 0 .5rem }
p { margin: .4rem 0; max-width: 46rem }
a { color: var(--second) }
:focus-visible { outline: 3px solid var(--second); outline-offset: 2px }
time { white-space: nowrap }
small, .soft, caption, figcaption, .chart p { color: var(--soft) }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1rem; padding: 0; margin: .8rem 0;
  font-size: .9rem }
.verdict { background: var(--card); border: 1px solid var(--edge); border-left: 6px solid var(--good);
  border-radius: 8px; padding: .8rem 1rem; margin: 1rem 0 }
.verdict.careful { border-left-color: var(--first) } .verdict.bad { border-left-color: var(--bad) }
.verdict > p:first-child { font-size: 1.15rem; font-weight: 700; margin-top: 0 }
.verdict ul { margin: .5rem 0 0; padding-left: 1.2rem } .verdict li { margin: .35rem 0 }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 16rem), 1fr)); gap: .8rem;
  margin: 0 }
.figures div { background: var(--card); border: 1px solid var(--edge); border-radius: 8px; padding: .7rem .9rem }
.figures dt { font-size: .9rem; color: var(--soft) }
.figures dd { margin: 0; font-size: .85rem; line-height: 1.4 }
.figures dd:nth-of-type(1) { font-size: 1.5rem; font-weight: 700; line-height: 1.3 }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 16rem), 1fr)); gap: 1rem;
  align-items: start }
article { background: var(--card); border: 1px solid var(--edge); border-radius: 10px; overflow: hidden }
article > img { display: block; width: 100%; height: auto; max-height: 20rem; object-fit: contain;
  background: var(--edge) }
article > div { padding: .7rem .9rem }
.line { font-size: 1.15rem; font-weight: 700; line-height: 1.35; margin: 0 }
article ul, article dl { font-size: .9rem; margin: .2rem 0 .5rem; padding: 0; list-style: none }
article h4 { margin: .7rem 0 0; font-size: .8rem; font-weight: 400; color: var(--soft) }
.lines li { padding: .1rem 0 } .score { color: var(--soft); font-size: .8rem; white-space: nowrap }
.chips { display: flex; flex-wrap: wrap; gap: .3rem }
.chips li { border: 1px solid var(--edge); border-radius: 99px; padding: 0 .6rem; font-size: .8rem }
.missing { padding: 2rem 1rem; text-align: center; background: var(--edge) }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1rem }
figure { margin: 0 }
.chart { background: var(--card); border: 1px solid var(--edge); border-radius: 8px; padding: .7rem }
.chart figcaption { font-weight: 700; color: var(--ink) } .chart p { font-size: .85rem; margin: .2rem 0 0 }
svg { display: block; width: 100%; height: auto } .chart svg { max-width: 32rem }
.chart text { font-size: 12px; fill: var(--soft) } .chart text.mark { fill: var(--ink) }
.chart .grid { stroke: var(--edge) } .chart .mark { stroke: var(--ink); stroke-dasharray: 2 3 }
.chart text.mark { stroke: none }
polyline { fill: none; stroke-width: 2.2 }
.s0 { stroke: var(--first) } .s1 { stroke: var(--second); stroke-dasharray: 6 4 }
.d0 { fill: var(--first) } .d1 { fill: var(--second) } .bar { fill: var(--second) }
.scroll { overflow-x: auto; margin: .6rem 0 }
table { border-collapse: collapse; font-size: .9rem }
caption { text-align: left; font-size: .85rem; padding-bottom: .2rem }
th, td { overflow-wrap: normal; padding: .25rem 1.1rem .25rem 0; text-align: left; vertical-align: top;
  font-weight: 400 }
.wide td { overflow-wrap: anywhere } td { font-variant-numeric: tabular-nums }
thead th { color: var(--soft); white-space: nowrap }
tbody tr { border-top: 1px solid var(--edge) } .epochs td, .epochs th { white-space: nowrap }
.checks { list-style: none; padding: 0 } .checks li { padding-left: 1.6rem; text-indent: -1.6rem; margin: .35rem 0 }
.checks li > * { text-indent: 0 } .checks b { display: inline-block; width: 1.6rem; text-indent: 0 }
.ok b { color: var(--good) } .no b { color: var(--bad) }
details { margin: .4rem 0; font-size: .9rem } summary { cursor: pointer; color: var(--second) }
.look { background: var(--card); border: 1px solid var(--edge); border-radius: 10px; padding: .8rem; margin: 0 0 1rem }
.strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(max(6rem, 11%), 1fr)); gap: .6rem;
  margin-top: .6rem; padding: 0; list-style: none }
.peak { fill: none; stroke: #fff; stroke-width: 2; vector-effect: non-scaling-stroke;
  filter: drop-shadow(0 0 1px #000) }
.strip li { font-size: .8rem; line-height: 1.35 } .strip b { display: block; font-size: 1rem }
.times .track { display: block; margin-top: .4rem; width: 8rem; background: var(--edge) }
.times i { display: block; height: .6rem; background: var(--second) }
pre { background: var(--card); border: 1px solid var(--edge); border-radius: 8px; padding: .8rem; overflow-x: auto;
  white-space: pre-wrap; font-size: .85rem }
footer { padding: 2rem 1rem; color: var(--soft); font-size: .85rem }
.defs { position: absolute; width: 0; height: 0 }
@media (max-width: 30rem) { th, td { padding-right: .6rem } thead th { white-space: normal } }
@media print { details > * { display: block } nav { display: none } article, .chart, .look { break-inside: avoid } }
"""
)

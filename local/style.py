"""The look of the demo's page: light and dark, from a phone's width on."""

STYLE = """
:root { --ground: #faf8f4; --card: #fff; --ink: #24211d; --soft: #6d665c; --edge: #e4ddd2; --mark: #c4421a;
  --second: #2c6e9b }
@media (prefers-color-scheme: dark) {
  :root { --ground: #171614; --card: #22201d; --ink: #efeae2; --soft: #a89f93; --edge: #3a3631; --mark: #ff8a5c;
    --second: #7cc0ec }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); line-height: 1.5; font-family: system-ui,
  "Hiragino Sans", "Hiragino Kaku Gothic ProN", "Noto Sans JP", "Noto Sans CJK JP", "Yu Gothic", Meiryo,
  "IPAexGothic", sans-serif }
header, main { max-width: 72rem; margin: 0 auto; padding: 1rem }
h1 { margin: 1rem 0 0; font-size: 1.6rem } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem }
.sources { font-size: .85rem }
header p { margin: .3rem 0 0; color: var(--soft) }
small { color: var(--soft); font-size: .75em; font-weight: normal; white-space: nowrap }
.notice { border-left: 4px solid var(--mark); background: var(--card); padding: .6rem .9rem; margin: .6rem 0 }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1rem;
  margin-top: 1rem; align-items: start }
article { background: var(--card); border: 1px solid var(--edge); border-radius: 12px; overflow: hidden;
  padding-bottom: .8rem }
article > :not(img) { margin: .6rem .9rem 0 }
article img { display: block; width: 100%; height: auto }
.best { font-size: 1.25rem; font-weight: 700; line-height: 1.35; overflow-wrap: anywhere }
ul { list-style: none; padding: 0 }
.others li { padding: .15rem 0; overflow-wrap: anywhere }
.labels { display: flex; flex-wrap: wrap; gap: .3rem }
.labels li { border: 1px solid var(--edge); border-radius: 99px; padding: 0 .6rem; font-size: .8rem }
.written, details { font-size: .9rem; color: var(--soft) }
details ul { margin: .4rem 0 0 } details li { padding: .1rem 0 } summary { cursor: pointer }
.scroll { overflow-x: auto }
table { border-collapse: collapse } th, td { padding: .3rem 1.2rem .3rem 0; text-align: left; font-weight: normal }
td { font-variant-numeric: tabular-nums; white-space: nowrap } thead th { color: var(--soft) }
tbody tr { border-top: 1px solid var(--edge) } tbody tr:first-child td { font-weight: 700 }
.times { width: 100% } .times tbody tr:first-child td { font-weight: normal } .bar { width: 40%; padding: 0 }
.bar i { display: block; height: .6rem; border-radius: 3px; background: var(--second) }
svg { width: 100%; max-width: 40rem; height: auto }
polyline { fill: none; stroke-width: 2.5; stroke: var(--mark) } polyline.validation_loss { stroke: var(--second) }
span.train_loss { color: var(--mark) } span.validation_loss { color: var(--second) }
pre { background: var(--card); border: 1px solid var(--edge); border-radius: 8px; padding: .7rem;
  white-space: pre-wrap; overflow-wrap: anywhere }
"""

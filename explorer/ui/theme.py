"""How the page looks: ink on paper by day, paper on ink by night, one amber accent, fonts of the reader's own machine."""

from __future__ import annotations

import gradio as gr

AMBER = gr.themes.Color(
    "#fff8eb",
    "#feecc7",
    "#fdd88a",
    "#fbbf4d",
    "#f6a823",
    "#e08e0b",
    "#b96d06",
    "#8f4d08",
    "#743c0e",
    "#5f3210",
    "#3a1a04",
    name="amber",
)
INK = gr.themes.Color(
    "#faf7f2",
    "#f3eee5",
    "#e6dfd2",
    "#d2c8b7",
    "#a89e8e",
    "#7b7265",
    "#5b544a",
    "#443e36",
    "#2b2722",
    "#1d1a17",
    "#131110",
    name="ink",
)
_SANS = [gr.themes.Font(name) for name in ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")]
_MONO = [gr.themes.Font(name) for name in ("ui-monospace", "Menlo", "Consolas", "monospace")]


class LanternTheme(gr.themes.Base):
    """Warm neutral surfaces, thin borders, small radii, amber where something is chosen."""

    def __init__(self) -> None:
        super().__init__(
            primary_hue=AMBER,
            secondary_hue=AMBER,
            neutral_hue=INK,
            radius_size=gr.themes.sizes.radius_sm,
            font=_SANS,
            font_mono=_MONO,
        )
        self.name = "lantern"
        self.set(
            body_background_fill="*neutral_50",
            body_background_fill_dark="*neutral_950",
            body_text_color="*neutral_900",
            body_text_color_dark="*neutral_100",
            body_text_color_subdued="*neutral_600",
            body_text_color_subdued_dark="*neutral_300",
            block_background_fill="white",
            block_background_fill_dark="*neutral_900",
            block_border_color="*neutral_200",
            block_border_color_dark="*neutral_700",
            block_border_width="1px",
            block_info_text_color="*neutral_600",
            block_info_text_color_dark="*neutral_300",
            block_label_text_color="*neutral_700",
            block_label_text_color_dark="*neutral_200",
            block_title_text_color="*neutral_900",
            block_title_text_color_dark="*neutral_100",
            block_title_text_weight="600",
            block_label_background_fill="white",
            block_label_background_fill_dark="*neutral_900",
            input_background_fill="*neutral_50",
            input_background_fill_dark="*neutral_950",
            input_border_color="*neutral_300",
            input_border_color_dark="*neutral_600",
            input_border_width="1px",
            button_primary_background_fill="*primary_400",
            button_primary_background_fill_dark="*primary_400",
            button_primary_background_fill_hover="*primary_300",
            button_primary_background_fill_hover_dark="*primary_300",
            button_primary_text_color="*neutral_950",
            button_primary_text_color_dark="*neutral_950",
            button_secondary_background_fill="*neutral_100",
            button_secondary_background_fill_dark="*neutral_800",
            button_secondary_border_color="*neutral_300",
            button_secondary_border_color_dark="*neutral_600",
            button_border_width="1px",
            slider_color="*primary_500",
            slider_color_dark="*primary_400",
            checkbox_background_color_selected="*primary_600",
            checkbox_background_color_selected_dark="*primary_500",
            checkbox_border_color="*neutral_500",
            checkbox_border_color_dark="*neutral_400",
            link_text_color="*primary_700",
            link_text_color_dark="*primary_300",
            color_accent_soft="*primary_100",
            color_accent_soft_dark="*neutral_800",
        )


CSS = """
.gradio-container { max-width: 1560px !important; width: 100%; margin: 0 auto !important; overflow: clip !important; }
.gradio-container > main { width: 100%; }
#masthead { padding: .5rem 0 .25rem; }
#masthead h1 { font-size: 1.75rem; font-weight: 700; letter-spacing: -.015em; margin: 0 0 .15rem; }
#masthead h1::before { content: ""; display: inline-block; width: .62em; height: .62em; margin-right: .4em; border-radius: 50%;
  background: radial-gradient(circle at 50% 45%, #fff3d0 0 18%, #f6a823 55%, #b96d06 100%); box-shadow: 0 0 .7em #f6a82399; }
#masthead p { max-width: 76ch; margin: 0; color: var(--body-text-color-subdued); }
.question h2 { font-size: 1.15rem; font-weight: 650; margin: .4rem 0 .1rem; }
.question p { color: var(--body-text-color-subdued); max-width: 90ch; }
button[role=tab] { font-size: 1rem; }
button[role=tab][aria-selected=true] { color: var(--link-text-color) !important; font-weight: 650; }
#tabs input[type=range]::-webkit-slider-thumb { border: 2px solid var(--slider-color); }
#tabs input[type=range]::-moz-range-thumb { border: 2px solid var(--slider-color); }
*:focus-visible { outline: 3px solid var(--slider-color) !important; outline-offset: 2px; }
#header, #header > *, #header .prose { padding-left: 0 !important; padding-right: 0 !important; }
footer .divider { display: none; }
.picture { padding-top: 2.1rem !important; }
.picture .icon-button-wrapper { top: -1.95rem !important; right: .25rem; }
.picture img { width: 100%; height: auto; object-fit: contain; border-radius: 4px; }
.tight { gap: .5rem !important; }
.strips { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); gap: .5rem; }
.strip-card { display: block; padding: 0; text-align: left; background: var(--input-background-fill);
  color: var(--body-text-color);
  border: 1px solid var(--border-color-primary); border-radius: 4px; cursor: pointer; overflow: hidden; font-size: .85rem; }
.strip-card:hover { border-color: var(--slider-color); }
.strip-card[aria-pressed=true] { border-color: var(--slider-color); box-shadow: 0 0 0 2px var(--slider-color); }
.strip-card img, .strip-card .no-strip { display: block; width: 100%; height: auto; aspect-ratio: 5 / 1; object-fit: cover; }
.strip-card .no-strip { display: grid; place-items: center; color: var(--body-text-color-subdued);
  background: repeating-linear-gradient(135deg, transparent 0 8px, var(--border-color-primary) 8px 9px); }
.strip-card .name, .strip-card small, .strip-card .status { display: inline-block; padding: .25rem .5rem; }
.strip-card small { float: right; color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums; }
.strip-card .status { padding-left: 0; font-weight: 600; }
.strip-card.saliency { border-left: 5px solid var(--slider-color); }
.strip-card.rejected img { opacity: .45; }
.strip-card.rejected .name { text-decoration: line-through; }
.count, .none { margin: 0 0 .5rem; color: var(--body-text-color-subdued); font-size: .85rem; }
#atlas .html-container, #ranked .html-container { max-height: 46rem; overflow-y: auto; padding: 4px; }
.film { display: block; width: 100%; border-radius: 4px; image-rendering: auto; }
#strip img { cursor: pointer; }
.facts { font-size: .85rem; }
.facts table { width: 100%; border-collapse: collapse; }
.facts table, .facts table * { border: 0 !important; }
.facts th { text-align: left; font-weight: 600; padding: .1rem .6rem .1rem 0; vertical-align: top; }
.facts td { padding: .1rem .6rem .1rem 0; vertical-align: top; font-variant-numeric: tabular-nums; }
.facts td:last-child { color: var(--body-text-color-subdued); }
.facts h4 { margin: .6rem 0 .2rem; font-weight: 650; }
.facts ul { margin: 0; padding-left: 1.1rem; }
.facts time { color: var(--body-text-color-subdued); }
.facts figure { margin: 0 0 .5rem; }
.facts figure img { display: block; width: 100%; border-radius: 4px; }
.facts figcaption { padding: .2rem 0; }
.facts .cosine b { font-size: 1.6rem; letter-spacing: -.02em; }
.formula { font-family: var(--font-mono); font-size: .82rem; overflow-wrap: anywhere; }
/* Of the words' colour, thinned: the border's own is nearly white in a dark browser. */
.run, .about-run { --track: color-mix(in srgb, var(--body-text-color) 16%, transparent); }
.run progress { display: block; width: 100%; height: .6rem; appearance: none; border: 0; border-radius: 3px; overflow: hidden;
  background: var(--track); }
.run progress::-webkit-progress-bar { background: var(--track); }
.run progress::-webkit-progress-value { background: var(--slider-color); }
.run progress::-moz-progress-bar { background: var(--slider-color); }
.run .error { font-weight: 600; }
.run small, .count code { overflow-wrap: anywhere; }
.prose pre, .prose pre code { white-space: pre-wrap; overflow-wrap: anywhere; }
#acceptance .rate { margin: 0 0 .6rem; font-weight: 600; }
#acceptance .rate strong { display: block; font-size: 3rem; line-height: 1.05; letter-spacing: -.03em; }
#acceptance .rate small { color: var(--body-text-color-subdued); font-weight: 400; }
#acceptance p { margin: 0 0 .5rem; }
#acceptance .estimate { color: var(--body-text-color-subdued); margin: 0; }
.sheet { list-style: none; margin: 0; padding: 0; display: grid; gap: .6rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 205px), 1fr)); }
.sheet li { margin: 0; padding: 0; }
.sheet .sample { display: flex; flex-direction: column; font-weight: 400;
  width: 100%; height: 100%; padding: .45rem; text-align: left; cursor: pointer;
  background: var(--block-background-fill); color: var(--body-text-color); border: 2px solid #0072b2;
  border-radius: var(--radius-lg); }
.dark .sheet .sample { border-color: #56b4e9; }
.sheet .sample.rejected { border: 2px dashed var(--neutral-400); }
.dark .sheet .sample.rejected { border-color: var(--neutral-500); }
.sheet .sample[aria-pressed=true] { box-shadow: 0 0 0 3px var(--slider-color); }
.sheet .sample:hover { border-color: var(--slider-color); }
.sheet img { display: block; width: 100%; height: auto; border-radius: 3px; margin: 0 !important; }
.sheet .sample.rejected img { opacity: .72; }
.sheet .verdict, #closer .verdict { display: block; font-weight: 650; margin: .35rem 0 .05rem; }
.sheet .verdict small { font-weight: 400; color: var(--body-text-color-subdued); }
.sheet .why { display: block; font-size: .82rem; line-height: 1.3; color: var(--body-text-color-subdued); }
#closer-column { position: sticky; top: .5rem; align-self: flex-start; max-height: calc(100vh - 1rem); overflow-y: auto; }
#closer .figures { display: grid; grid-template-columns: repeat(3, 1fr); gap: .35rem; margin: .4rem 0; }
#closer figure { margin: 0; }
#closer figure img { width: 100%; height: auto; margin: 0; border-radius: 3px; }
#closer figcaption { font-size: .8rem; text-align: center; color: var(--body-text-color-subdued); }
#closer table { width: 100%; border-collapse: collapse; font-size: .82rem; }
#closer table, #closer table * { border: 0 !important; }
#closer caption { text-align: left; font-weight: 600; }
#closer th { text-align: left; font-weight: 400; white-space: nowrap; vertical-align: top; padding: .12rem .6rem .12rem 0; }
#closer td { vertical-align: top; padding: .12rem .6rem .12rem 0; }
#closer tr.rejected { font-weight: 650; }
#closer tr.off { color: var(--body-text-color-subdued); }
.runs { list-style: none; margin: 0; padding: 0; display: grid; gap: .4rem; max-height: 34rem; overflow-y: auto; }
#train-list .runs, #generate-list .runs { max-height: 15rem; }
.runs li { margin: 0; padding: 3px; }
.runs .run { display: grid; grid-template-columns: 1fr auto; gap: .1rem .6rem; width: 100%; padding: .5rem .6rem;
  text-align: left; cursor: pointer; font-weight: 400; background: var(--block-background-fill); color: var(--body-text-color);
  border: 1px solid var(--block-border-color); border-radius: var(--radius-lg); }
.runs .run:hover { border-color: var(--slider-color); }
.runs .run[aria-pressed=true] { box-shadow: 0 0 0 3px var(--slider-color); }
.runs .name { font-weight: 650; overflow-wrap: anywhere; }
.runs .state { white-space: nowrap; }
.runs .what, .nothing { grid-column: 1 / -1; font-size: .85rem; color: var(--body-text-color-subdued); }
.run .bar, .about-run .bar { grid-column: 1 / -1; display: block; height: .4rem; border-radius: 3px; overflow: hidden;
  background: var(--neutral-200); }
.dark .run .bar, .dark .about-run .bar { background: var(--neutral-700); }
.bar > span { display: block; height: 100%; background: var(--slider-color); }
.about-run p { margin: .35rem 0 0; }
.about-run .headline { margin: 0 0 .4rem; font-size: 1.05rem; }
.about-run .error { border-left: 3px solid #d55e00; padding-left: .6rem; overflow-wrap: anywhere; }
.run-picture figure { margin: 0; overflow-x: auto; }
.run-picture img { width: 100%; height: auto; margin: 0; image-rendering: pixelated; border-radius: 3px; }
.run-picture figcaption { font-size: .85rem; color: var(--body-text-color-subdued); }
.run-log pre, .command pre { font-size: .78rem; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 22rem;
  overflow-y: auto; margin: 0; padding: .5rem; background: var(--input-background-fill); color: var(--body-text-color); }
.js-plotly-plot text { fill: var(--body-text-color) !important; }
.js-plotly-plot .modebar { display: none; }
.dark input[type=range] { --neutral-200: var(--neutral-700); }
@media (max-width: 700px) {
  .gradio-container { padding: .5rem !important; }
  #closer-column { position: static; order: -1; max-height: none; }
}
@media (prefers-reduced-motion: reduce) { * { animation: none !important; transition: none !important; } }
#benchmark-pictures .grid-wrap { max-height: none; }
#benchmark-pictures .thumbnail-lg { aspect-ratio: 2.6; }
#benchmark-pictures .grid-container { padding-top: 2.2rem; }
#benchmark-pictures .thumbnail-lg img { object-position: top; }
#benchmark-pictures .caption-label { max-width: 100%; white-space: normal; }
@media (max-width: 640px) { #benchmark-pictures .grid-container { grid-template-columns: 1fr; } }
.board table { display: block; overflow-x: auto; }
.board :is(th, td) { overflow-wrap: normal; word-break: normal; min-width: 3.5rem; }
.board :is(th, td):nth-last-child(-n+3) { min-width: 14rem; }
"""

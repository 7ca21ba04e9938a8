"use strict";
// Behaviour of the page: charts in the page's colours, selection of categories, long lists.
(() => {
  const given = JSON.parse(document.getElementById("charts").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touched = matchMedia("(pointer: coarse)");

  const embed = async (name, place) => {
    const views = await Bokeh.embed.embed_item(given[name], place);
    const chart = views.roots[0].model;
    const dress = () => dressUp(chart);
    dress();
    dark.addEventListener("change", dress);
    return chart;
  };

  const find = (chart, name) => chart.document.get_model_by_name(name);

  function dressUp(chart) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";
    for (const axis of [...chart.below, ...chart.left]) {
      axis.setv({
        axis_line_color: colour("line"), major_tick_line_color: colour("line"), minor_tick_line_color: null,
        major_label_text_color: colour("muted"), major_label_text_font: font, major_label_text_font_size: "12px",
        axis_label_text_color: colour("muted"), axis_label_text_font: font, axis_label_text_font_size: "13px",
        axis_label_text_font_style: "normal",
      });
    }
    for (const grid of chart.center) grid.setv({ grid_line_color: colour("line"), grid_line_alpha: 0.6 });
    const paint = (name, property, value) => find(chart, `${name}_drawn`)?.glyph.setv({ [property]: colour(value) });
    paint("bars", "fill_color", "soft");
    paint("curve", "line_color", "accent");
    paint("bins", "fill_color", "accent");
    paint("limits", "line_color", "accent");
    paint("perfect", "line_color", "muted");
  }

  async function plane() {
    const chart = await embed("plane", document.getElementById("plane-chart"));
    if (touched.matches) chart.toolbar.active_drag = null; // on touch screens a drag scrolls the page; the toolbar zooms
    const points = find(chart, "points");
    const typical = new Map(
      [...document.querySelectorAll("#categories li")].map((one) => [one.dataset.category, one.querySelector("img")?.src]));
    const blank = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";
    points.data = { ...points.data, picture: Array.from(points.data.category, (name) => typical.get(name) ?? blank) };
    legend(chart, points, find(chart, "picked"));
  }

  function legend(chart, points, picked) {
    const box = document.querySelector(".legend");
    const entries = [...box.querySelectorAll("li")].map((item) => {
      const input = item.querySelector("input");
      return { item, input, dot: item.querySelector(".dot"), own: item.querySelector(".dot").style.background };
    });
    const count = box.querySelector(".picked");

    const show = () => {
      const chosen = entries.filter((one) => one.input.checked);
      const palette = chosen.length === 1 ? [chosen[0].own] : given.colours;
      const colours = new Map(chosen.map((one, place) => [one.input.value, palette[place % palette.length]]));
      for (const one of entries) {
        one.dot.style.background = chosen.length ? colours.get(one.input.value) ?? "var(--line)" : one.own;
      }
      const names = Array.from(points.data.category);
      const rows = [...names.keys()].filter((row) => colours.has(names[row]));
      const taken = Object.keys(points.data).map((column) => [column, rows.map((row) => points.data[column][row])]);
      picked.data = { ...Object.fromEntries(taken), colour: rows.map((row) => colours.get(names[row])) };
      find(chart, "points_drawn").glyph.setv({ fill_alpha: chosen.length ? 0.08 : 0.65 });
      find(chart, "hover").renderers = [find(chart, chosen.length ? "picked_drawn" : "points_drawn")];
      count.textContent = chosen.length ? `${chosen.length} selected` : "";
    };

    const search = box.querySelector("[type=search]");
    search.addEventListener("input", () => {
      const words = search.value.toLowerCase();
      for (const one of entries) one.item.hidden = !one.input.value.toLowerCase().includes(words);
    });
    box.addEventListener("change", show);
    box.querySelector("[data-do=pick]").addEventListener("click", () => {
      for (const one of entries) if (!one.item.hidden) one.input.checked = true;
      show();
    });
    box.querySelector("[data-do=clear]").addEventListener("click", () => {
      for (const one of entries) { one.input.checked = false; one.item.hidden = false; }
      search.value = "";
      show();
    });
    const list = box.querySelector("ul");
    points.selected.properties.indices.change.connect(() => {
      const [row] = points.selected.indices; // the topmost of overlapping points
      const tapped = entries.find((one) => one.input.value === points.data.category[row]);
      if (!tapped) return;
      tapped.input.checked = true;
      list.scrollTop = tapped.item.offsetTop - list.offsetTop - list.clientHeight / 2;
      points.selected.indices = [];
      show();
    });
  }

  function clip() {
    for (const box of document.querySelectorAll(".clip")) {
      if (box.scrollHeight < 900) continue;
      const button = document.createElement("button");
      button.className = "more";
      button.textContent = box.dataset.more;
      button.addEventListener("click", () => { box.classList.remove("clipped"); button.remove(); });
      box.classList.add("clipped");
      box.after(button);
    }
  }

  clip();
  for (const name of ["variance", "calibration", "confidences"]) {
    if (given[name]) embed(name, document.getElementById(name));
  }
  plane();
})();

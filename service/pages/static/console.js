// What a page is better with: charts of its tables, a copied secret, and forms that are sent once.
// Every page can be read, and every form sent, without it.
"use strict";

(() => {
  const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
  const whole = new Intl.NumberFormat("en");
  const charts = new Map();

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // The figures stand in the table of the page, for whoever reads it there, and are taken from it.
  function figures(table) {
    const rows = [...table.tBodies[0].rows];
    const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent.trim());
    const at = rows.map((row) => Number(row.cells[0].dataset.at));
    const series = names.map((_, n) => rows.map((row) => Number(row.cells[n + 1].dataset.value)));
    return { at, names, series, labels: rows.map((row) => row.cells[0].textContent.trim()) };
  }

  function draw(figure) {
    const plot = figure.querySelector(".plot");
    const output = figure.querySelector("output");
    const { at, names, series, labels } = figures(figure.querySelector("table"));
    if (!at.length || typeof uPlot === "undefined") {
      plot.hidden = true;
      return;
    }
    const bars = figure.dataset.chart === "bars";
    const colors = [color("--accent"), color("--second")];
    const quiet = color("--quiet"), line = color("--line");
    const axis = { stroke: quiet, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    // Two bars of a day stand side by side.
    const width = bars ? 0.8 / names.length : 0;
    const step = at.length > 1 ? at[1] - at[0] : 86400;
    const options = {
      width: plot.clientWidth,
      height: plot.clientHeight,
      padding: [10, 12, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { show: !bars }, drag: { x: false, y: false } },
      scales: {
        x: { time: true, range: [at[0] - step / 2, at.at(-1) + step / 2] },
        y: { range: (_, min, max) => [Math.min(0, min), Math.max(1, max) * 1.08] },
      },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
      axes: [
        { ...axis, grid: { show: false }, size: 30, space: 70, values: [
          [31536000, "{YYYY}", null, null, null, null, null, null, 1],
          [2419200, "{MMM} {YYYY}", null, null, null, null, null, null, 1],
          [86400, "{D} {MMM}", null, null, null, null, null, null, 1],
          [3600, "{HH}:00", "\n{D} {MMM}", null, null, null, null, null, 1],
        ] },
        { ...axis, size: 56, space: 36, values: (_, splits) => splits.map((value) => compact.format(value)) },
      ],
      series: [{}, ...names.map((name, n) => ({
        label: name,
        stroke: colors[n],
        width: bars ? 0 : 2,
        fill: bars ? colors[n] : `${colors[n]}22`,
        points: { show: false },
        paths: bars
          ? uPlot.paths.bars({ size: [width, 26], align: names.length === 1 ? 0 : n === 0 ? -1 : 1, radius: 0.15 })
          : uPlot.paths.stepped({ align: 1 }),
      }))],
      hooks: {
        setCursor: [(self) => {
          const index = self.cursor.idx;
          output.textContent = index == null ? "" :
            `${labels[index]}: ${names.map((name, n) => `${name.toLowerCase()} ${whole.format(series[n][index])}`).join(", ")}`;
        }],
      },
    };
    charts.get(figure)?.destroy();
    plot.replaceChildren();
    charts.set(figure, new uPlot(options, [at, ...series], plot));
  }

  function drawAll(root) {
    for (const figure of root.querySelectorAll("figure.chart")) {
      draw(figure);
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    drawAll(document);
    new ResizeObserver(() => {
      for (const [figure, chart] of charts) {
        const plot = figure.querySelector(".plot");
        if (plot.clientWidth && plot.clientWidth !== chart.width) {
          chart.setSize({ width: plot.clientWidth, height: plot.clientHeight });
        }
      }
    }).observe(document.body);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(document));
    for (const button of document.querySelectorAll("button[data-copy]")) {
      button.hidden = false;
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
        button.textContent = "Copied";
      });
    }
  });

  // A second click sends nothing; the key in the form would make it harmless anyway.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || event.defaultPrevented) {
      return;
    }
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "1";
  });
  // What refuses a form is a page of its own, and htmx puts none of it into the place of the answer.
  function sayThatItFailed(event) {
    const panel = event.detail.target;
    const page = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
    const said = document.createElement("p");
    said.className = "said bad";
    said.setAttribute("role", "alert");
    said.textContent = page.querySelector(".said.bad")?.textContent ?? "There was no answer. Try again.";
    panel.querySelector(".said")?.remove();
    panel.querySelector("header").after(said);
  }
  document.addEventListener("htmx:responseError", sayThatItFailed);
  document.addEventListener("htmx:sendError", sayThatItFailed);

  // A page that the browser took out of its memory may send its forms again.
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
    }
  });
})();

// The picture of what a head attends to, asked for beside the figures of an answer.
"use strict";

/** What the server says of each model, by name. */
const models = new Map();

/** What is drawn on a canvas. */
const pictures = new WeakMap();

function percent(share) {
  const value = 100 * share;
  return `${value.toFixed(value > 0 && value < 10 ? 2 : 1)} %`;
}

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** A number from 0 to below `count`, with its label around it. */
function numberField(label, count) {
  const input = element("input", { type: "number", min: 0, max: Math.max(0, count - 1), value: 0, required: true });
  return { input, label: element("label", {}, `${label} `, input) };
}

/**
 * Adds the control and what it shows.
 * @param request What the answer was asked with: model, messages and perhaps attention.
 */
function addAttention(entry, request) {
  const meta = models.get(request.model)?.meta ?? {};
  const layer = numberField("layer", meta.n_layer ?? 1000);
  const head = numberField("head", meta.n_head ?? 1000);
  const button = element("button", { type: "submit" });
  const form = element("form", { className: "attention" }, "Show attention of", layer.label, head.label, button);
  form.setAttribute("aria-label", "Attention of a head");
  // The control is no news; what it says and shows is.
  form.setAttribute("aria-live", "off");
  const name = (does) => {
    button.textContent = does;
    button.setAttribute("aria-label", `${does} attention`);
  };
  name("Show");
  const status = element("p", { className: "figures" });
  status.setAttribute("role", "status");
  const shown = element("div", {});
  entry.append(form, status, shown);
  let reading;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (reading) {
      reading.abort();
      return;
    }
    reading = new AbortController();
    name("Stop");
    status.classList.remove("error");
    status.textContent = "Waiting for a turn…";
    const body = {
      ...request, layer: Number(layer.input.value), head: Number(head.input.value), stream: true,
    };
    try {
      const picture = await readPicture(body, reading.signal, status);
      shown.replaceChildren(figure(picture));
      status.textContent = "";
    } catch (error) {
      const stopped = error.name === "AbortError";
      status.textContent = stopped ? "Stopped." : error.message;
      status.classList.toggle("error", !stopped);
    } finally {
      reading = undefined;
      name("Show");
    }
  });
}

async function readPicture(body, signal, status) {
  const response = await post("v1/attention", body, signal);
  let picture;
  let told = -1;
  for await (const event of events(response)) {
    if (event.error) throw new Error(event.error.message);
    if (event.object === "attention.picture") picture = event;
    const progress = event.prompt_progress;
    if (!progress) continue;
    // A screen reader says every change.
    const tenth = Math.floor((10 * progress.processed) / progress.total);
    if (tenth !== told) status.textContent = `Reading the prompt up to this layer: ${10 * tenth} %.`;
    told = tenth;
  }
  if (!picture) throw new Error("The server sent no picture.");
  return picture;
}

/** Everything that is shown of a picture. */
function figure(picture) {
  const name = `Layer ${picture.layer}, head ${picture.head}`;
  let facts = `${picture.pattern}, density ${percent(picture.density)}, `;
  facts += picture.density < 1 ? `${percent(picture.mass_kept)} of attention kept` : "nothing left out";
  if (picture.sliding_window) facts += `, within a window of ${numbers.format(picture.sliding_window)} tokens`;
  const canvas = element("canvas", { width: picture.cells, height: picture.cells });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${name}: ${facts}`);
  pictures.set(canvas, picture);
  draw(canvas);
  const caption = element("figcaption", {}, element("strong", { textContent: `${name}: ` }), `${facts}.`);
  for (const reason of picture.dense_reasons) caption.append(` Dense in part: ${reason}.`);
  if (picture.note) caption.append(` ${picture.note}`);
  const legend = element("p", { className: "legend" });
  legend.setAttribute("aria-hidden", "true");
  for (const [kind, text] of [["kept", "computed"], ["lost", "left out"], ["skipped", "left out, next to no attention"]]) {
    legend.append(element("span", {}, element("i", { className: kind }), ` ${text}`));
  }
  const axes = "Down: tokens that look, from the first to the last. Right: tokens that they look at. The stronger the colour, the more attention.";
  return element("figure", {}, caption, canvas, legend, element("p", { className: "legend", textContent: axes }), words(picture));
}

/** The tokens of a cell. */
function tokens(picture, cell) {
  const edge = (number) => Math.ceil((number * picture.tokens) / picture.cells);
  const [first, last] = [edge(cell), edge(cell + 1) - 1];
  return first === last
    ? `token ${numbers.format(first)}` : `tokens ${numbers.format(first)} to ${numbers.format(last)}`;
}

/** The picture in words: where most attention goes, and where most is left out. */
function words(picture) {
  const { mass, kept, cells } = picture;
  const columns = mass.map((_, column) => {
    let sum = 0;
    for (let row = column; row < cells; row++) sum += mass[row][column];
    return { column, share: sum / cells };
  });
  columns.sort((left, right) => right.share - left.share);
  const list = element("ul", {});
  const say = (text) => list.append(element("li", { textContent: text }));
  for (const { column, share } of columns.slice(0, 4)) {
    say(`${tokens(picture, column)} get ${percent(share)} of all attention`);
  }
  const sink = picture.sink.reduce((sum, value) => sum + value, 0) / cells;
  if (sink > 0) say(`${percent(sink)} goes to the head's attention sink`);
  const losses = [];
  mass.forEach((row, number) => row.forEach((value, column) => {
    const loss = value - kept[number][column];
    if (loss >= 0.001) losses.push({ number, column, loss });
  }));
  losses.sort((left, right) => right.loss - left.loss);
  for (const { number, column, loss } of losses.slice(0, 4)) {
    say(`left out: ${percent(loss)} of what ${tokens(picture, number)} look at, on ${tokens(picture, column)}`);
  }
  if (!losses.length) say("no cell leaves out as much as 0.1 % of its queries' attention");
  return element("details", {}, element("summary", { textContent: "The picture in words" }), list);
}

/** A colour of the page, "#rrggbb", as three numbers. */
function color(style, name) {
  const text = style.getPropertyValue(name).trim();
  return [1, 3, 5].map((start) => parseInt(text.slice(start, start + 2), 16));
}

const mix = (from, to, share) => from.map((value, index) => value + (to[index] - value) * share);

/** Cells up to the diagonal; attention on a logarithmic scale from a tenth of a thousandth. */
function draw(canvas) {
  const picture = pictures.get(canvas);
  const style = getComputedStyle(document.documentElement);
  const [kept, lost, skipped, computed] =
    ["--kept", "--lost", "--skipped", "--computed"].map((name) => color(style, name));
  const context = canvas.getContext("2d");
  const image = context.createImageData(picture.cells, picture.cells);
  picture.mass.forEach((row, number) => row.forEach((mass, column) => {
    const brightness = mass > 0 ? Math.max(0, 1 + Math.log10(mass) / 4) : 0;
    const share = mass > 0 ? picture.kept[number][column] / mass : 1;
    const ground = mix(skipped, computed, Math.sqrt(picture.computed[number][column]));
    const pixel = mix(ground, mix(lost, kept, share), brightness);
    image.data.set([...pixel, 255], 4 * (number * picture.cells + column));
  }));
  context.putImageData(image, 0, 0);
}

// The colours are those of the page, also when it turns dark.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  document.querySelectorAll("canvas").forEach(draw);
});

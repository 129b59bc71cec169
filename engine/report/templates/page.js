// Tables: a click on a heading, or Enter on it, sorts; numbers by their first number, what has none last.
function number(text) {
  const found = /[-+−]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?/.exec(text);
  return found ? parseFloat(found[0].replace("−", "-").replace(/,/g, "")) : NaN;
}

function sort(table, column, header) {
  const rising = header.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, row => ({row, text: row.cells[column].textContent.trim()}));
  const texts = rows.filter(one => one.text !== "-" && one.text !== "");
  const numeric = column > 0 && texts.every(one => !Number.isNaN(number(one.text)));
  const compare = (a, b) => numeric ? number(a.text) - number(b.text) : a.text.localeCompare(b.text, "en", {numeric: true});
  texts.sort((a, b) => rising ? compare(a, b) : compare(b, a));
  body.append(...texts.map(one => one.row), ...rows.filter(one => !texts.includes(one)).map(one => one.row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    button.addEventListener("click", () => sort(table, column, header));
    header.replaceChildren(button);
    header.setAttribute("aria-sort", "none");
  });
}

// Cases: sprites whose tiles are slices; labels are exact values in a PNG, drawn over the image by a canvas.
const SCALE = 512;  // pixels of a canvas, about: mistakes of one pixel still show their stripes

function rgb(hex) {
  return [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16));
}

function loaded(uri) {
  return new Promise((resolve, reject) => {
    const picture = new Image();
    picture.onload = () => resolve(picture);
    picture.onerror = () => reject(new Error("a picture of this page is damaged"));
    picture.src = uri;
  });
}

// Whether a pixel of a pattern is coloured: filled, striped, dotted.
const PATTERNS = {
  filled: () => true,
  striped: (x, y) => (x + y) % 8 < 5,
  dotted: (x, y) => x % 6 < 4 && y % 6 < 4,
};

class Viewer {
  constructor(root, data, thumbs) {
    Object.assign(this, {root, data, thumbs, index: 0, tile: 0, sprites: null});
    this.colours = data.colours.map(rgb);
    this.errors = Object.fromEntries(Object.entries(data.errors).map(([name, colour]) => [name, rgb(colour)]));
    this.figures = Array.from(root.querySelectorAll(".panels figure"));
    const find = name => root.querySelector(name);
    [this.select, this.slider, this.output, this.opacity, this.told, this.legend] =
      [".case", ".slice", "output", ".opacity", ".told", ".legend"].map(find);
    this.views = Array.from(root.querySelectorAll(".views input"));
    this.arms = Array.from(root.querySelectorAll(".arms input"));
    this.select.addEventListener("change", () => this.choose(this.select.selectedIndex));
    this.slider.addEventListener("input", () => { this.tile = this.slider.valueAsNumber; this.draw(); });
    for (const input of [this.opacity, ...this.views, ...this.arms]) input.addEventListener("input", () => this.draw());
    root.addEventListener("keydown", event => this.key(event));
    this.figures.forEach((figure, panel) => {
      figure.querySelector("canvas").addEventListener("pointermove", event => this.point(event, panel));
    });
    thumbs.forEach((button, index) => button.addEventListener("click", () => this.open(index)));
    this.choose(0);
  }

  get case() { return this.data.cases[this.index]; }
  get view() { return this.views.find(input => input.checked).value; }

  // Go to a case.
  open(index) {
    this.choose(index);
    this.root.scrollIntoView({block: "nearest"});
    this.root.focus({preventScroll: true});
  }

  async choose(index) {
    this.index = index;
    this.select.selectedIndex = index;
    this.thumbs.forEach((button, at) => button.setAttribute("aria-current", String(at === index)));
    const one = this.case;
    this.tile = one.start;
    this.slider.max = one.slices.length - 1;
    this.slider.disabled = one.slices.length === 1;
    this.root.querySelector(".slices").hidden = one.of === 1;
    const pictures = await Promise.all([one.image, one.reference, ...one.predictions].map(loaded));
    if (index !== this.index) return;  // another one has been chosen meanwhile
    this.sprites = pictures;
    this.draw();
    this.root.dataset.shown = index;
  }

  // The pixels of the tile that is shown, of one sprite.
  pixels(sprite) {
    const [rows, columns] = this.case.size;
    const across = sprite.naturalWidth / columns;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [columns, rows];
    const context = canvas.getContext("2d", {willReadFrequently: true});
    const left = (this.tile % across) * columns, top = Math.floor(this.tile / across) * rows;
    context.drawImage(sprite, left, top, columns, rows, 0, 0, columns, rows);
    return context.getImageData(0, 0, columns, rows);
  }

  labels(sprite) {
    return this.pixels(sprite).data.filter((_, at) => at % 4 === 0);
  }

  draw() {
    if (this.sprites === null) return;
    const one = this.case;
    this.slider.value = this.tile;
    this.output.textContent = `${one.slices[this.tile]} of 0–${one.of - 1}`;
    this.slider.setAttribute("aria-valuetext", `slice ${one.slices[this.tile]}`);
    const ground = this.pixels(this.sprites[0]);
    this.reference = this.labels(this.sprites[1]);
    this.predictions = this.sprites.slice(2).map(sprite => this.labels(sprite));
    const present = new Set();
    this.figures.forEach((figure, panel) => {
      figure.hidden = panel > 0 && this.arms.length > 0 && !this.arms[panel - 1].checked;
      if (!figure.hidden) this.panel(figure, panel, ground, present);
    });
    this.told.textContent = this.sentence();
    this.drawLegend(present);
  }

  panel(figure, panel, ground, present) {
    const [rows, columns] = this.case.size;
    const scale = Math.max(1, Math.floor(SCALE / Math.max(rows, columns)));
    const canvas = figure.querySelector("canvas");
    [canvas.width, canvas.height] = [columns * scale, rows * scale];
    const view = panel === 0 && this.view !== "image" ? "reference" : this.view;
    const painted = this.paint(view, panel, present);
    const share = this.opacity.valueAsNumber / 100;
    const picture = new ImageData(canvas.width, canvas.height);
    for (let y = 0, at = 0; y < canvas.height; y += 1) {
      const line = Math.floor(y / scale) * columns;
      for (let x = 0; x < canvas.width; x += 1, at += 4) {
        const pixel = line + Math.floor(x / scale);
        const paint = painted[pixel];
        const covers = paint && PATTERNS[paint.pattern](x, y) ? share : 0;
        for (let channel = 0; channel < 3; channel += 1) {
          const below = ground.data[4 * pixel + channel];
          picture.data[at + channel] = covers ? below + covers * (paint.colour[channel] - below) : below;
        }
        picture.data[at + 3] = 255;
      }
    }
    canvas.getContext("2d").putImageData(picture, 0, 0);
    const arm = panel === 0 ? "" : this.data.arms[panel - 1];
    const score = panel === 0 ? "" : `: mDSC ${this.case.scores[arm]}`;
    const name = panel === 0 ? view : `${arm}${score}`;
    figure.querySelector("figcaption").textContent = name;
    canvas.setAttribute("aria-label", `${this.case.id}, slice ${this.case.slices[this.tile]}, ${view}, ${name}`);
  }

  // What covers each pixel of a view: a colour and a pattern, or nothing.
  paint(view, panel, present) {
    const {background, ignore} = this.data;
    const paints = new Map();
    const paint = (name, colour, pattern) => {
      if (!paints.has(name)) paints.set(name, {colour, pattern});
      present.add(name);
      return paints.get(name);
    };
    if (view === "image") return [];
    const labels = view === "reference" ? this.reference : this.predictions[panel - 1];
    return Array.from(labels, (label, at) => {
      const truth = this.reference[at];
      if (view !== "errors") {
        return label === background || label === ignore ? null : paint(`class ${label}`, this.colours[label], "filled");
      }
      if (label === truth || truth === ignore) return null;
      const kind = label === background ? "missed" : truth === background ? "invented" : "wrong class";
      return paint(kind, this.errors[kind], {missed: "filled", invented: "striped", "wrong class": "dotted"}[kind]);
    });
  }

  drawLegend(present) {
    const {classes} = this.data;
    const known = [
      ...classes.map((name, label) => [`class ${label}`, name, this.colours[label], "filled"]),
      ["missed", "missed", this.errors.missed, "filled"],
      ["invented", "invented", this.errors.invented, "striped"],
      ["wrong class", "wrong class", this.errors["wrong class"], "dotted"],
    ];
    const items = known.filter(([key]) => present.has(key)).map(([, name, colour, pattern]) => {
      const item = document.createElement("li"), swatch = document.createElement("canvas");
      [swatch.width, swatch.height] = [24, 18];
      const context = swatch.getContext("2d");
      context.fillStyle = `rgb(${colour.join(" ")})`;
      for (let y = 0; y < 18; y += 1) {
        for (let x = 0; x < 24; x += 1) if (PATTERNS[pattern](x, y)) context.fillRect(x, y, 1, 1);
      }
      item.append(swatch, name);
      return item;
    });
    this.legend.replaceChildren(...items);
  }

  // The case in words.
  sentence() {
    const one = this.case;
    const scores = this.data.arms.map(arm => (this.data.arms.length > 1 ? `${arm} ` : "") + one.scores[arm]);
    return `${one.id}${one.note ? `, ${one.note} case` : ""}: mDSC ${scores.join(", ")}`;
  }

  point(event, panel) {
    if (this.sprites === null) return;
    const [rows, columns] = this.case.size;
    const box = event.target.getBoundingClientRect();
    const x = Math.min(columns - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * columns)));
    const y = Math.min(rows - 1, Math.max(0, Math.floor((event.clientY - box.top) / box.height * rows)));
    const name = label => label === this.data.ignore ? "ignored" : this.data.classes[label];
    const at = y * columns + x;
    const predicted = panel === 0 ? "" : `, ${this.data.arms[panel - 1]}: ${name(this.predictions[panel - 1][at])}`;
    this.told.textContent = `${this.sentence()} — here reference: ${name(this.reference[at])}${predicted}`;
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const arrows = event.target.type === "range" || event.target.type === "radio" || event.target === this.select;
    const slices = this.case.slices.length, cases = this.data.cases.length;
    const moves = {
      ArrowLeft: () => this.step(-1, slices), ArrowDown: () => this.step(-1, slices),
      ArrowRight: () => this.step(1, slices), ArrowUp: () => this.step(1, slices),
      "[": () => this.choose((this.index + cases - 1) % cases), "]": () => this.choose((this.index + 1) % cases),
      v: () => { this.views[(this.views.findIndex(input => input.checked) + 1) % this.views.length].checked = true; this.draw(); },
      "+": () => this.fade(5), "=": () => this.fade(5), "-": () => this.fade(-5),
    };
    if (!(event.key in moves) || (arrows && event.key.startsWith("Arrow"))) return;
    event.preventDefault();
    moves[event.key]();
  }

  step(by, count) {
    this.tile = Math.min(count - 1, Math.max(0, this.tile + by));
    this.draw();
  }

  fade(by) {
    this.opacity.value = this.opacity.valueAsNumber + by;
    this.draw();
  }
}

// The dots of an article lead to their cases, where the viewer shows these.
function link(viewer, article) {
  const places = new Map(viewer.data.cases.map((one, index) => [one.id, index]));
  for (const dot of article.querySelectorAll("[data-cases]")) {
    const found = JSON.parse(dot.dataset.cases).find(name => places.has(name));
    if (found === undefined) continue;
    dot.classList.add("linked");
    dot.addEventListener("click", () => viewer.open(places.get(found)));
    dot.addEventListener("keydown", event => { if (event.key === "Enter") viewer.open(places.get(found)); });
  }
}

for (const data of document.querySelectorAll("script.cases")) {
  const root = data.previousElementSibling;
  const thumbs = Array.from(data.parentElement.querySelectorAll(".thumbs button"));
  const viewer = new Viewer(root, JSON.parse(data.textContent), thumbs);
  link(viewer, data.closest("article"));
}

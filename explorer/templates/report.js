"use strict";
// Moves points between the interactive figure's axes, shows the chosen point, and filters and sorts the table.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.getElementById("explore");
  const svg = root.querySelector("svg.front");
  const marks = [...svg.querySelectorAll(".mark")];
  const ring = svg.querySelector(".ring");
  const brush = svg.querySelector(".brush");
  const tip = root.querySelector(".tip");
  const chosen = root.querySelector(".chosen");
  const form = root.querySelector("form.axes");
  const filter = document.getElementById("filter");
  const rest = document.getElementById("rest");
  const table = document.querySelector('[aria-label="Points"] table');
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...table.tBodies[0].rows];
  const rowOf = new Map(rows.map((row) => [row.id, row]));
  const [left, right, bottom, top] = data.frame;
  const SHOWN = 200; // rows at a time, also in front.css
  const REACH = 16; // largest distance from the pointer to a point, in the figure's units
  let places = []; // [x, y] of each point, or null
  let framed = null; // identifiers of the rows inside the drawn frame
  let selected = -1;
  let most = SHOWN;
  let near = null; // the row of the point under the pointer

  const make = (name, text, parent) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  };
  const drawn = (name, attributes, parent) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    parent.append(element);
    return element;
  };
  const show = (element, on) => (on ? element.removeAttribute("display") : element.setAttribute("display", "none"));
  const cellsOf = (i) => [...rowOf.get(`point-${data.points[i]}`).cells].map((cell) => cell.textContent);

  function place() {
    const x = form.elements.x.value;
    const y = form.elements.y.value;
    for (const part of svg.querySelectorAll("[data-x], [data-y]"))
      show(part, (part.dataset.x ?? x) === x && (part.dataset.y ?? y) === y);
    svg.classList.toggle("plain", y !== "accuracy");
    places = marks.map((mark, i) => {
      const across = data.shares[x][i];
      const up = data.shares[y][i];
      const known = across !== null && up !== null;
      show(mark, known);
      if (!known) return null;
      const at = [left + across * (right - left), bottom - up * (bottom - top)];
      mark.setAttribute("transform", `translate(${at[0].toFixed(1)} ${at[1].toFixed(1)})`);
      const fronted = y === "accuracy" && x in data.on;
      mark.lastElementChild.setAttribute("fill-opacity", fronted ? data.sure[x][i] : 1);
      mark.classList.toggle("on", !fronted || Boolean(data.on[x][i]));
      return at;
    });
    ringAt(selected);
    const order = [...places.keys()].filter((i) => places[i]).sort((a, b) => places[a][0] - places[b][0]);
    marks.forEach((mark) => mark.setAttribute("tabindex", "-1"));
    if (order.length) marks[order.includes(selected) ? selected : order[0]].setAttribute("tabindex", "0");
  }

  function ringAt(i) {
    const at = places[i];
    show(ring, Boolean(at));
    if (at) {
      ring.setAttribute("cx", at[0]);
      ring.setAttribute("cy", at[1]);
    }
  }

  function pointer(event) {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [at.x, at.y];
  }

  function nearest([x, y]) {
    let best = -1;
    let reach = REACH * REACH;
    places.forEach((at, i) => {
      if (!at) return;
      const apart = (at[0] - x) ** 2 + (at[1] - y) ** 2;
      if (apart < reach) [best, reach] = [i, apart];
    });
    return best;
  }

  // Repeated clicks cycle through overlapping marks.
  function below(i) {
    const close = (one, other) => Math.hypot(one[0] - other[0], one[1] - other[1]) < 4;
    const pile = [...places.keys()].filter((j) => places[j] && close(places[j], places[i]));
    return pile.includes(selected) ? pile[(pile.indexOf(selected) + 1) % pile.length] : i;
  }

  function hover(i) {
    tip.hidden = i < 0;
    ringAt(i < 0 ? selected : i);
    near?.classList.remove("near");
    if (i < 0) return;
    const cells = cellsOf(i);
    tip.replaceChildren();
    make("strong", data.names[i], tip);
    heads.forEach((head, column) => {
      const name = head.textContent;
      if (data.tip.includes(name) || name.startsWith("front of")) make("span", `${name} ${cells[column]}`, tip);
    });
    const box = svg.getBoundingClientRect();
    const scale = box.width / svg.viewBox.baseVal.width;
    const x = places[i][0] * scale;
    tip.style.left = `${Math.min(Math.max(x, 90), box.width - 90)}px`;
    tip.style.top = `${places[i][1] * scale}px`;
    near = rowOf.get(`point-${data.points[i]}`);
    near.classList.add("near");
  }

  function choose(i) {
    ringAt(i);
    if (selected >= 0) {
      rowOf.get(`point-${data.points[selected]}`).classList.remove("chosen-row");
      marks[selected].removeAttribute("aria-current");
    }
    selected = i;
    root.querySelector("[role=status]").textContent = `chosen: ${marks[i].querySelector("title").textContent}`;
    chosen.replaceChildren();
    const point = data.points[i];
    const row = rowOf.get(`point-${point}`);
    row.classList.add("chosen-row");
    marks[i].setAttribute("aria-current", "true");
    make("h3", data.names[i], chosen);
    const list = make("dl", undefined, chosen);
    const tell = (name, text) => {
      const entry = make("div", undefined, list);
      make("dt", name, entry);
      make("dd", text, entry);
    };
    cellsOf(i).forEach((text, column) => {
      // Fronts are listed below, for every cost.
      if (!heads[column].textContent.startsWith("front of")) tell(heads[column].textContent, text);
    });
    for (const [name, texts] of Object.entries(data.further)) tell(name, texts[i]);
    const fronts = Object.entries(data.sure).filter(([, shares]) => shares[i] !== null);
    const shown = fronts.filter(([, shares]) => data.probable || shares[i]).map(([cost, shares]) =>
      data.probable ? `${data.costs[cost]} ${(100 * shares[i]).toFixed(0)} %` : data.costs[cost]);
    tell(data.probable ? "probably on the front of" : "on the front of", shown.join(", ") || "none");
    curves(data.runs[point] ?? []);
    layers(data.layers[point]);
    make("h4", "Retrain and export", chosen);
    const block = make("div", undefined, chosen);
    block.className = "command";
    const command = make("pre", undefined, block);
    command.tabIndex = 0;
    make("code", `${data.command[0]}${point}${data.command[1]}`, command);
    const button = make("button", "Copy", block);
    button.type = "button";
    button.className = "copy";
  }

  function curves(runs) {
    const done = runs.filter(([, , accuracies]) => accuracies);
    if (!runs.length) return;
    make("h4", "Seeds", chosen);
    const list = make("ul", undefined, chosen);
    for (const [seed, state, accuracies, key] of runs) {
      const text = accuracies ? `${(100 * accuracies.at(-1)).toFixed(2)} %` : state;
      make("li", `seed ${seed}: ${text} (run ${key})`, list);
    }
    if (!done.some(([, , accuracies]) => accuracies.length > 1)) return;
    const [wide, high] = [260, 90];
    const all = done.flatMap(([, , accuracies]) => accuracies);
    const [low, most] = [Math.min(...all), Math.max(...all)];
    const picture = drawn("svg", { viewBox: `0 0 ${wide} ${high}`, class: "curves", role: "img" }, chosen);
    picture.setAttribute("aria-label", "Validation accuracy after each epoch, one line per seed");
    const y = (value) => 8 + (high - 24) * (1 - (value - low) / (most - low || 1));
    for (const [, , accuracies] of done) {
      const step = (wide - 50) / Math.max(1, accuracies.length - 1);
      const points = accuracies.map((value, epoch) => `${40 + step * epoch},${y(value).toFixed(1)}`);
      drawn("polyline", { points: points.join(" "), class: "curve" }, picture);
    }
    for (const [value, at] of [[most, y(most) + 4], [low, y(low) + 4]])
      drawn("text", { x: 34, y: at, "text-anchor": "end" }, picture).textContent = `${(100 * value).toFixed(0)} %`;
    drawn("text", { x: wide - 10, y: high - 2, "text-anchor": "end" }, picture).textContent =
      `${Math.max(...done.map(([, , accuracies]) => accuracies.length))} epochs`;
  }

  function layers(numbers) {
    make("h4", "Layers", chosen);
    if (!numbers) {
      const why =
        "Layers are included only for points on the fronts and the most accurate ones. The command below writes this " +
        "network as code.";
      make("p", data.layers_left_out || why, chosen);
      return;
    }
    const scroll = make("div", undefined, chosen);
    scroll.className = "scroll";
    scroll.tabIndex = 0;
    const listed = make("table", undefined, scroll);
    const head = make("tr", undefined, make("thead", undefined, listed));
    for (const name of data.layer_columns) make("th", name, head).scope = "col";
    const body = make("tbody", undefined, listed);
    for (const number of numbers) {
      const line = make("tr", undefined, body);
      for (const [column, text] of data.layer_rows[number].entries())
        make("td", text, line).className = column > 2 ? "number" : "";
    }
  }

  // The table, sorted by a column and filtered by the frame and the text.
  const value = (text) => {
    const plain = text.replace(/,/g, "").replace(/ (\u00b1 .*|%)$/, "");
    return plain && !Number.isNaN(Number(plain)) ? Number(plain) : text;
  };
  function compare(one, other) {
    if (typeof one === typeof other) return typeof one === "number" ? one - other : one.localeCompare(other);
    return typeof one === "number" ? -1 : 1;
  }
  heads.forEach((head, column) => {
    const button = make("button", head.textContent);
    button.type = "button";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = rows.map((row) => [value(row.cells[column].textContent), row]);
      keyed.sort((a, b) => (down ? -1 : 1) * compare(a[0], b[0]));
      // Unknown values stay at the end in both directions.
      const unknown = keyed.filter(([key]) => key === "\u2013");
      rows.splice(0, rows.length, ...keyed.filter(([key]) => key !== "\u2013").concat(unknown).map(([, row]) => row));
      fill();
    });
  });
  function fill() {
    const wanted = filter.querySelector("input").value.trim().toLowerCase();
    const named = (row) => !wanted || row.textContent.toLowerCase().includes(wanted);
    const kept = rows.filter((row) => (!framed || framed.has(row.id)) && named(row));
    table.tBodies[0].replaceChildren(...kept.slice(0, most));
    table.closest("section").classList.add("filled");
    const [some, all] = [kept, rows].map((list) => list.length.toLocaleString("en"));
    filter.querySelector("[role=status]").textContent = `${some} of ${all} points`;
    rest.hidden = kept.length <= most;
    rest.firstElementChild.textContent = `show all ${kept.length.toLocaleString("en")}`;
  }
  filter.querySelector("input").addEventListener("input", fill);
  filter.querySelector("button").addEventListener("click", () => {
    framed = null;
    filter.querySelector("input").value = "";
    show(brush, false);
    fill();
  });
  rest.firstElementChild.addEventListener("click", () => {
    most = Infinity;
    fill();
  });
  window.addEventListener("beforeprint", () => {
    most = Infinity;
    fill();
  });
  window.addEventListener("afterprint", () => {
    most = SHOWN;
    fill();
  });

  // The pointer: hovering shows a point, a click chooses it, and dragging with a mouse frames several.
  let from = null;
  let drew = false; // a frame was just drawn; ignore the click that ends it
  svg.addEventListener("pointermove", (event) => {
    const at = pointer(event);
    if (!from) return hover(nearest(at));
    const [x, y] = [Math.min(at[0], from[0]), Math.min(at[1], from[1])];
    const size = { x, y, width: Math.abs(at[0] - from[0]), height: Math.abs(at[1] - from[1]) };
    for (const [key, amount] of Object.entries(size)) brush.setAttribute(key, amount);
    show(brush, true);
  });
  svg.addEventListener("pointerleave", () => hover(-1));
  svg.addEventListener("pointerdown", (event) => {
    drew = false; // a drag that ended outside the figure fires no click
    if (event.pointerType !== "touch" && event.button === 0) from = pointer(event);
  });
  window.addEventListener("pointerup", (event) => {
    if (!from) return;
    const at = pointer(event);
    const [x, y] = [0, 1].map((axis) => [Math.min(at[axis], from[axis]), Math.max(at[axis], from[axis])]);
    const moved = Math.hypot(at[0] - from[0], at[1] - from[1]) > 5;
    from = null;
    drew = moved;
    if (!moved) return;
    const inside = [...places.keys()].filter((i) => {
      const point = places[i];
      return point && point[0] >= x[0] && point[0] <= x[1] && point[1] >= y[0] && point[1] <= y[1];
    });
    framed = inside.length ? new Set(inside.map((i) => `point-${data.points[i]}`)) : null;
    if (!inside.length) show(brush, false);
    fill();
  });
  svg.addEventListener("dragstart", (event) => event.preventDefault());
  svg.addEventListener("click", (event) => {
    event.preventDefault();
    if (drew) {
      drew = false;
      return;
    }
    const mark = event.target.closest(".mark");
    // Enter on a mark clicks it, without a pointer position.
    if (event.detail === 0 && mark) return choose(marks.indexOf(mark));
    const i = nearest(pointer(event));
    if (i >= 0) choose(below(i));
  });
  svg.addEventListener("focusin", (event) => {
    const i = marks.indexOf(event.target.closest(".mark"));
    if (i >= 0) hover(i);
  });
  svg.addEventListener("focusout", () => hover(-1));
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    const current = marks.indexOf(document.activeElement);
    if (!step || current < 0) return;
    event.preventDefault();
    const order = [...places.keys()].filter((i) => places[i]).sort((a, b) => places[a][0] - places[b][0]);
    const next = order[(order.indexOf(current) + step + order.length) % order.length];
    marks[current].setAttribute("tabindex", "-1");
    marks[next].setAttribute("tabindex", "0");
    marks[next].focus();
  });
  table.tBodies[0].addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    const i = data.points.findIndex((point) => row && row.id === `point-${point}`);
    if (i >= 0) choose(i);
  });

  for (const element of [form, chosen, filter, ...root.querySelectorAll(".scripted")]) element.hidden = false;
  form.addEventListener("change", () => {
    // The framed points have moved.
    framed = null;
    show(brush, false);
    place();
    fill();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  place();
  fill();
})();

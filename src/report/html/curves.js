// Training curves of many runs beside each other.
(({ get, make, data, say, hush, write, readers }) => {
  const box = get("compare"), runs = data.curves.runs, names = Object.fromEntries(data.curves.names);
  if (!box || !runs.length) return;
  const picture = document.querySelector("svg.graph").namespaceURI;
  const svg = (tag, attributes, text) => {
    const e = document.createElementNS(picture, tag);
    Object.entries(attributes).forEach(([k, v]) => e.setAttribute(k, v));
    if (text !== undefined) e.textContent = text;
    return e;
  };
  const distinct = (values) => [...new Set(values)];
  const [group, name, by, smooth, much, single] = ["c-group", "c-name", "c-by", "c-smooth", "c-much", "c-runs"].map(get);
  distinct(runs.map((run) => run[0])).forEach((title) => group.append(new Option(title, title)));
  const of = () => runs.filter((run) => run[0] === group.value);
  const fill = (select, options, wish) => {
    const last = wish !== undefined ? wish : select.value;
    select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
    if (options.some(([value]) => value === last)) select.value = last;
  };
  const choices = (wish = {}) => {
    const known = distinct(of().flatMap((run) => Object.keys(run[5])));
    const named = Object.keys(names);
    const rank = (n) => named.includes(n) ? named.indexOf(n) : named.length;
    known.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
    fill(name, known.map((n) => [n, names[n] || n]), wish.name || (known.includes(name.value) ? name.value : known[0]));
    const axes = distinct(of().flatMap((run) => Object.keys(run[4])));
    const sorts = [["", "method, over seeds"], ["recipe", "recipe"], ["node", "node"], ...axes.map((a) => ["axis:" + a, a]), ["run", "nothing: every run"]];
    fill(by, sorts, wish.by);
  };
  // The groups that a run is in: of recipes it may be several.
  const labels = (run) => {
    const axes = Object.entries(run[4]).map(([a, v]) => a + " " + v).join(", ");
    if (by.value === "recipe") return run[2];
    if (by.value === "node") return [run[3]];
    if (by.value === "run") return [[run[1], axes].filter(Boolean).join(", ")];
    if (by.value.startsWith("axis:")) {
      const axis = by.value.slice(5);
      return [axis in run[4] ? axis + " = " + run[4][axis] : "without " + axis];
    }
    return [run[1]];
  };
  const hidden = new Set();
  // The exponential mean whose beginning is not drawn to 0.
  const smoothed = (values) => {
    const keep = Number(smooth.value);
    let sum = 0, weight = 0;
    return values.map((v) => {
      sum = keep * sum + (1 - keep) * v;
      weight = keep * weight + (1 - keep);
      return sum / weight;
    });
  };
  // All runs have their points at the same steps, each the middle of so many.
  let width = 1;
  const groups = () => {
    const found = new Map();
    of().filter((run) => run[5][name.value]).forEach((run) => {
      const [wide, steps, raw] = run[5][name.value];
      const values = smoothed(raw);
      width = wide;
      labels(run).forEach((key) => {
        if (!found.has(key)) found.set(key, []);
        found.get(key).push({ steps, values, at: new Map(steps.map((step, i) => [step, values[i]])), style: run[6] });
      });
    });
    return [...found].map(([key, curves], i) => {
      const steps = distinct(curves.flatMap((c) => c.steps)).sort((a, b) => a - b);
      const points = steps.map((step) => {
        const runs = curves.filter((c) => c.at.has(step)), here = runs.map((c) => c.at.get(step));
        return { step, runs, mean: here.reduce((a, b) => a + b, 0) / here.length, low: Math.min(...here), high: Math.max(...here) };
      });
      // Means of other runs are not joined: where a run begins or ends, a line would show that as a change.
      const same = (a, b) => a.runs.length === b.runs.length && a.runs.every((run, k) => run === b.runs[k]);
      const parts = [];
      points.forEach((p, k) => {
        if (k > 0 && same(points[k - 1], p)) parts[parts.length - 1].push(p);
        else parts.push([p]);
      });
      // A method looks as it does in every other chart.
      const style = by.value === "" ? curves[0].style : i;
      return { key, curves, parts, at: new Map(points.map((p) => [p.step, p])), colour: "var(--c" + style % 8 + ")", dash: ["", "6 3.5", "2 3", "9 3 2 3"][Math.floor(style / 8) % 4] };
    });
  };
  const ticks = (low, high, most) => {
    const least = (high - low) / most, power = 10 ** Math.floor(Math.log10(least));
    const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= least) || 1;
    const found = [];
    for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(i * step);
    return found;
  };
  const number = (x) => Math.abs(x) >= 1e4 ? String(Number((x / 1e3).toPrecision(5))) + "k" : x !== 0 && Math.abs(x) < 1e-3 ? x.toExponential(2) : String(Number(x.toPrecision(4)));
  const draw = () => {
    much.textContent = Number(smooth.value).toFixed(2);
    const every = groups(), shown = every.filter((g) => !hidden.has(g.key));
    const legend = every.map((g) => {
      const item = make("li"), button = make("button", "pick" + (hidden.has(g.key) ? " off" : ""));
      const swatch = svg("svg", { class: "swatch", viewBox: "0 0 28 14" });
      swatch.append(svg("line", { x1: 1, x2: 27, y1: 7, y2: 7, stroke: g.colour, "stroke-width": 2.5, "stroke-dasharray": g.dash }));
      button.type = "button";
      button.append(swatch, " " + g.key + (g.curves.length > 1 ? " (" + g.curves.length + ")" : ""));
      button.addEventListener("click", () => {
        if (!hidden.delete(g.key)) hidden.add(g.key);
        draw();
      });
      item.append(button);
      return item;
    });
    get("c-legend").replaceChildren(...legend);
    const plot = get("c-plot"), wide = Math.max(280, plot.clientWidth || 800), high = wide < 560 ? 300 : 380;
    const left = 58, right = wide - 12, top = 10, bottom = high - 40;
    const steps = distinct(shown.flatMap((g) => [...g.at.keys()])).sort((a, b) => a - b);
    const ys = shown.flatMap((g) => [...g.at.values()].flatMap((p) => [p.low, p.high]));
    const x1 = Math.max(1, steps[steps.length - 1] || 1);
    let y0 = ys.reduce((a, b) => Math.min(a, b), Infinity), y1 = ys.reduce((a, b) => Math.max(a, b), -Infinity);
    if (!(y0 <= y1)) [y0, y1] = [0, 1];
    const air = (y1 - y0) * 0.05 || Math.abs(y1) * 0.1 || 0.5;
    [y0, y1] = [y0 - air, y1 + air];
    const x = (v) => left + v / x1 * (right - left), y = (v) => bottom - (v - y0) / (y1 - y0) * (bottom - top);
    const path = (points) => points.map(([a, b]) => x(a).toFixed(1) + "," + y(b).toFixed(1)).join(" ");
    const root = svg("svg", { class: "chart", viewBox: "0 0 " + wide + " " + high, width: wide, height: high, role: "img" });
    root.append(svg("title", {}, (names[name.value] || name.value) + " by step: " + shown.map((g) => g.key).join(", ")));
    ticks(0, x1, wide < 560 ? 5 : 9).forEach((t) => {
      root.append(svg("line", { x1: x(t), x2: x(t), y1: top, y2: bottom, stroke: "var(--grid)" }));
      root.append(svg("text", { x: x(t), y: bottom + 16, "text-anchor": "middle" }, number(t)));
    });
    ticks(y0, y1, 6).forEach((t) => {
      root.append(svg("line", { x1: left, x2: right, y1: y(t), y2: y(t), stroke: "var(--grid)" }));
      root.append(svg("text", { x: left - 6, y: y(t) + 4, "text-anchor": "end" }, number(t)));
    });
    root.append(svg("polyline", { points: left + "," + top + " " + left + "," + bottom + " " + right + "," + bottom, fill: "none", stroke: "var(--axis)" }));
    root.append(svg("text", { x: (left + right) / 2, y: high - 6, "text-anchor": "middle" }, "step"));
    shown.forEach((g) => {
      if (single.checked) g.curves.forEach((c) => root.append(svg("polyline", { points: path(c.steps.map((s, i) => [s, c.values[i]])), fill: "none", stroke: g.colour, "stroke-opacity": 0.35 })));
      else g.parts.filter((part) => part[0].runs.length > 1).forEach((part) => root.append(svg("polygon", { class: "band", points: path([...part.map((p) => [p.step, p.high]), ...part.map((p) => [p.step, p.low]).reverse()]), fill: g.colour, "fill-opacity": 0.18 })));
    });
    // A part of one point is a dot.
    const line = (part) => path((part.length > 1 ? part : [part[0], part[0]]).map((p) => [p.step, p.mean]));
    shown.forEach((g) => g.parts.forEach((part) => root.append(svg("polyline", { class: "mean", points: line(part), fill: "none", stroke: g.colour, "stroke-width": 2, "stroke-linecap": "round", "stroke-dasharray": part.length > 1 ? g.dash : "" }))));
    const rule = svg("line", { y1: top, y2: bottom, stroke: "var(--axis)", visibility: "hidden" });
    root.append(rule);
    root.addEventListener("pointermove", (event) => {
      const box = root.getBoundingClientRect();
      const here = ((event.clientX - box.left) / box.width * wide - left) / (right - left) * x1;
      if (here < 0 || here > x1 || !steps.length) return;
      const step = steps.reduce((a, b) => Math.abs(b - here) < Math.abs(a - here) ? b : a);
      const half = (width - 1) / 2;
      const head = width > 1 ? "steps " + (step - half) + " to " + (step + half) : "step " + step;
      const lines = shown.filter((g) => g.at.has(step)).map((g) => {
        const p = g.at.get(step), n = p.runs.length, all = g.curves.length;
        const runs = (n < all ? n + " of " + all : n) + (all > 1 ? " runs" : " run");
        const range = n > 1 ? number(p.low) + " to " + number(p.high) + ", " : "";
        return g.key + ": " + number(p.mean) + (all > 1 ? " (" + range + runs + ")" : "");
      });
      rule.setAttribute("x1", x(step));
      rule.setAttribute("x2", x(step));
      rule.setAttribute("visibility", "visible");
      say([head, ...lines].join("\n"), event.clientX, event.clientY);
    });
    root.addEventListener("pointerleave", () => {
      rule.setAttribute("visibility", "hidden");
      hush();
    });
    plot.replaceChildren(root);
  };
  const first = { group: group.value };
  const keep = () => write("curves", {
    of: group.value === first.group ? "" : group.value,
    name: name.value === first.name ? "" : name.value,
    by: by.value,
    smooth: smooth.value === "0" ? "" : smooth.value,
    runs: single.checked ? "1" : "",
  });
  get("c-form").addEventListener("submit", (event) => event.preventDefault());
  get("c-form").addEventListener("input", (event) => {
    if (event.target === group) choices();
    draw();
    keep();
  });
  readers.curves = (values) => {
    const wish = values.get("of");
    if ([...group.options].some((o) => o.value === wish)) group.value = wish;
    choices({ name: values.get("name") || undefined, by: values.get("by") || "" });
    smooth.value = values.get("smooth") || "0";
    single.checked = values.get("runs") === "1";
    draw();
  };
  box.hidden = false;
  choices();
  first.name = name.value;
  draw();
  let wait;
  addEventListener("resize", () => {
    clearTimeout(wait);
    wait = setTimeout(draw, 150);
  });
})(page);

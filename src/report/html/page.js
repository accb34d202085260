"use strict";
(() => {
  const get = (id) => document.getElementById(id);
  const all = (selector, of = document) => [...of.querySelectorAll(selector)];
  const make = (tag, cls, text) => {
    const e = document.createElement(tag);
    if (cls) e.className = cls;
    if (text !== undefined) e.textContent = text;
    return e;
  };
  const data = JSON.parse(get("data").textContent);

  // The address: `#PART?NAME=VALUE&…`. What is set by hand is written there, so that it can be sent to somebody.
  const address = () => {
    const [part, query] = location.hash.slice(1).split(/\?(.*)/s);
    return { part, values: new URLSearchParams(query || "") };
  };
  const write = (part, values) => {
    const query = Object.entries(values).filter(([, v]) => v !== "" && v !== null).map(([k, v]) => k + "=" + encodeURIComponent(v)).join("&");
    const ours = address().part === part;
    if (query) history.replaceState(null, "", "#" + part + "?" + query);
    else if (ours && location.hash.includes("?")) history.replaceState(null, "", location.pathname + location.search);
  };
  const readers = {};
  const read = () => {
    const { part, values } = address();
    if (!(part in readers) || !location.hash.includes("?")) return;
    readers[part](values);
    get(part).scrollIntoView();
  };

  // Marks of charts: what they say, at once and also to who has no pointer.
  const tip = make("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const say = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const wide = tip.offsetWidth, high = tip.offsetHeight;
    tip.style.left = Math.max(4, Math.min(x + 12, document.documentElement.clientWidth - wide - 4)) + "px";
    tip.style.top = (y + 16 + high > innerHeight ? y - high - 10 : y + 16) + "px";
  };
  all("svg .mark").forEach((mark) => {
    const title = mark.querySelector("title"), text = title.textContent;
    title.remove();
    mark.setAttribute("aria-label", text);
    mark.addEventListener("pointermove", (event) => say(text, event.clientX, event.clientY));
    mark.addEventListener("pointerleave", () => { tip.hidden = true; });
    mark.addEventListener("focus", () => {
      const box = mark.getBoundingClientRect();
      say(text, box.right, box.bottom);
    });
    mark.addEventListener("blur", () => { tip.hidden = true; });
  });

  // The graph: a click shows the node's entry below it.
  const panel = get("node-panel");
  const links = all("[data-node]");
  const edges = all("[data-from]");
  links.forEach((link) => link.addEventListener("click", (event) => {
    event.preventDefault();
    const n = link.dataset.node;
    const body = get("node-" + n);
    const shown = body.cloneNode(true);
    shown.removeAttribute("id");
    const title = body.parentElement.querySelector("summary").cloneNode(true);
    const head = make("h3");
    head.append(...title.childNodes);
    panel.replaceChildren(head, shown);
    panel.hidden = false;
    links.forEach((l) => l.classList.toggle("on", l.dataset.node === n));
    edges.forEach((e) => e.classList.toggle("on", e.dataset.from === n || e.dataset.to === n));
  }));

  // Points of pictures: a click shows the prompt, and from there its answers where the page carries them.
  const pointed = get("point-panel");
  let lead = () => null;
  all("a.point").forEach((point) => point.addEventListener("click", (event) => {
    event.preventDefault();
    all("a.point.on").forEach((other) => other.classList.remove("on"));
    point.classList.add("on");
    pointed.replaceChildren(make("p", "", point.querySelector("title").textContent));
    const to = lead(point.dataset.prompt);
    if (to) pointed.append(to);
    pointed.hidden = false;
    pointed.scrollIntoView({ block: "nearest" });
  }));

  // Training curves of many runs beside each other.
  const compare = () => {
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
    const label = (run) => {
      const axes = Object.entries(run[4]).map(([a, v]) => a + " " + v).join(", ");
      if (by.value === "recipe") return run[2];
      if (by.value === "node") return run[3];
      if (by.value === "run") return [run[1], axes].filter(Boolean).join(", ");
      if (by.value.startsWith("axis:")) {
        const axis = by.value.slice(5);
        return axis in run[4] ? axis + " = " + run[4][axis] : "without " + axis;
      }
      return run[1];
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
    const groups = () => {
      const found = new Map();
      of().filter((run) => run[5][name.value]).forEach((run) => {
        const [steps, values] = run[5][name.value];
        const key = label(run);
        if (!found.has(key)) found.set(key, []);
        found.get(key).push({ steps, values: smoothed(values), style: run[6] });
      });
      return [...found].map(([key, curves], i) => {
        const steps = distinct(curves.flatMap((c) => c.steps)).sort((a, b) => a - b);
        const points = steps.map((step) => {
          const here = curves.map((c) => c.values[c.steps.indexOf(step)]).filter((v) => v !== undefined);
          return { step, mean: here.reduce((a, b) => a + b, 0) / here.length, low: Math.min(...here), high: Math.max(...here), n: here.length };
        });
        // A method looks as it does in every other chart.
        const style = by.value === "" ? curves[0].style : i;
        return { key, curves, points, colour: "var(--c" + style % 8 + ")", dash: ["", "6 3.5", "2 3", "9 3 2 3"][Math.floor(style / 8) % 4] };
      });
    };
    const ticks = (low, high, most) => {
      const least = (high - low) / most, power = 10 ** Math.floor(Math.log10(least));
      const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= least) || 1;
      const found = [];
      for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(i * step);
      return found;
    };
    const number = (x) => Math.abs(x) >= 1e4 ? (x / 1e3).toFixed(0) + "k" : x !== 0 && Math.abs(x) < 1e-3 ? x.toExponential(2) : String(Number(x.toPrecision(4)));
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
      const xs = shown.flatMap((g) => g.points.map((p) => p.step));
      const ys = shown.flatMap((g) => single.checked ? g.curves.flatMap((c) => c.values) : g.points.flatMap((p) => [p.low, p.high]));
      const x1 = xs.reduce((a, b) => Math.max(a, b), 1);
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
        else if (g.curves.length > 1) root.append(svg("polygon", { class: "band", points: path([...g.points.map((p) => [p.step, p.high]), ...g.points.map((p) => [p.step, p.low]).reverse()]), fill: g.colour, "fill-opacity": 0.18 }));
      });
      shown.forEach((g) => root.append(svg("polyline", { class: "mean", points: path(g.points.map((p) => [p.step, p.mean])), fill: "none", stroke: g.colour, "stroke-width": 2, "stroke-dasharray": g.dash })));
      const rule = svg("line", { y1: top, y2: bottom, stroke: "var(--axis)", visibility: "hidden" });
      root.append(rule);
      root.addEventListener("pointermove", (event) => {
        const box = root.getBoundingClientRect();
        const step = ((event.clientX - box.left) / box.width * wide - left) / (right - left) * x1;
        if (step < 0 || step > x1) return;
        const near = (g) => g.points.reduce((a, b) => Math.abs(b.step - step) < Math.abs(a.step - step) ? b : a);
        const lines = shown.map((g) => {
          const p = near(g);
          return g.key + ": " + number(p.mean) + (p.n > 1 ? " (" + number(p.low) + " to " + number(p.high) + ", " + p.n + " runs)" : "");
        });
        rule.setAttribute("x1", x(step));
        rule.setAttribute("x2", x(step));
        rule.setAttribute("visibility", "visible");
        say(["step " + Math.round(step), ...lines].join("\n"), event.clientX, event.clientY);
      });
      root.addEventListener("pointerleave", () => {
        rule.setAttribute("visibility", "hidden");
        tip.hidden = true;
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
      if (values.get("of")) group.value = values.get("of");
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
  };
  compare();

  // The samples.
  const samples = () => {
    const list = get("list"), more = get("more"), count = get("count"), alone = get("single");
    if (!list) return;
    const page = 20;
    let fits = [], shown = 0, only = null;

    // The id, and for the second prompt of the same id its number.
    const seen = new Map();
    const names = new Map(data.prompts.map((prompt) => {
      const n = (seen.get(prompt[0]) || 0) + 1;
      seen.set(prompt[0], n);
      return [prompt, n > 1 ? prompt[0] + "~" + n : prompt[0]];
    }));

    const options = (id, values) => values.forEach((v) => get(id).append(new Option(v, v)));
    const distinct = (i) => [...new Set(data.prompts.flatMap((p) => p[i]))];
    options("f-class", distinct(1));
    options("f-label", distinct(2).sort());
    // Of many evaluations, the first few.
    const few = data.evaluations.length > 8 ? 4 : 8;
    const boxes = data.evaluations.map((name, i) => {
      const label = make("label"), box = make("input");
      box.type = "checkbox";
      box.checked = i < few;
      label.append(box, " " + name);
      get("f-by").append(label, " ");
      return box;
    });

    // A token darker the less likely it was.
    const tokens = (kept) => {
      const e = make("details", "tokens"), text = make("p");
      const known = kept.map((t) => t[1]).filter((l) => l !== null);
      const sum = known.reduce((a, b) => a + b, 0);
      e.append(make("summary", "", kept.length + " tokens" + (known.length ? ", log-probability " + sum.toFixed(2) : "")));
      kept.forEach(([word, logp]) => {
        const one = make("span", "token", word);
        if (logp !== null) {
          one.title = JSON.stringify(word) + ": log-probability " + logp + ", probability " + (100 * Math.exp(logp)).toFixed(1) + " %";
          one.style.setProperty("--rare", Math.min(1, -logp / 5).toFixed(2));
        }
        text.append(one, make("wbr"));
      });
      e.append(text);
      return e;
    };
    const answer = ([by, verdict, reasoning, text, scores, kept]) => {
      const e = make("div", "answer " + verdict);
      const head = make("h4", "", data.evaluations[by] + " ");
      head.append(make("span", "verdict", verdict));
      e.append(head);
      if (reasoning !== null) e.append(make("p", "think", reasoning));
      e.append(make("p", "said", text), make("p", "scores", scores));
      if (kept) e.append(tokens(kept));
      return e;
    };
    const sample = ([prompt, answers]) => {
      const [id, kind, labels, text, , why] = prompt;
      const e = make("article", "sample"), about = make("p", "about"), every = make("div", "answers");
      const link = make("a", "permalink", "#");
      link.href = "#samples?id=" + encodeURIComponent(names.get(prompt));
      link.title = "This prompt alone, as an address to send";
      about.append(make("span", "class " + kind, kind), " " + labels.map((label) => label + " · ").join(""), make("code", "", id), " ", link);
      every.append(...answers.map(answer));
      e.append(about, make("p", "prompt", text));
      if (why) e.append(make("p", "why", why));
      e.append(every);
      return e;
    };
    const grow = () => {
      list.append(...fits.slice(shown, shown + page).map(sample));
      shown = Math.min(shown + page, fits.length);
      more.hidden = shown >= fits.length;
      count.textContent = fits.length + " of " + data.prompts.length + " prompts fit, " + shown + " shown";
    };
    const filter = () => {
      const kind = get("f-class").value, label = get("f-label").value, good = get("f-good").value;
      const words = get("f-text").value.toLowerCase();
      fits = [];
      for (const prompt of data.prompts) {
        if (only !== null && names.get(prompt) !== only) continue;
        if ((kind && prompt[1] !== kind) || (label && !prompt[2].includes(label))) continue;
        const answers = prompt[4].filter((a) => boxes[a[0]].checked);
        if (!answers.length) continue;
        const some = (is) => answers.some((a) => a[1] === is);
        const differ = new Set(answers.map((a) => a[1])).size > 1;
        if (good === "differ" && !differ || good && good !== "differ" && !some(good)) continue;
        if (words && ![prompt[0], prompt[3], ...answers.flatMap((a) => [a[2] || "", a[3]])].join("\n").toLowerCase().includes(words)) continue;
        fits.push([prompt, answers]);
      }
      alone.hidden = only === null;
      shown = 0;
      list.replaceChildren();
      grow();
    };
    const usual = () => boxes.every((box, i) => box.checked === i < few);
    const keep = () => {
      const by = boxes.flatMap((box, i) => box.checked ? [data.evaluations[i]] : []);
      const values = { class: get("f-class").value, label: get("f-label").value, good: get("f-good").value, text: get("f-text").value, id: only };
      if (!usual()) values.by = by.length === boxes.length ? "*" : by.join("\u001f");
      write("samples", values);
    };
    const changed = () => {
      only = null;
      filter();
      keep();
    };
    // An option of the page before, or of another study, is none here.
    const choose = (id, value) => { get(id).value = [...get(id).options].some((o) => o.value === value) ? value : ""; };
    readers.samples = (values) => {
      choose("f-class", values.get("class"));
      choose("f-label", values.get("label"));
      choose("f-good", values.get("good"));
      get("f-text").value = values.get("text") || "";
      only = values.get("id");
      const by = values.get("by");
      const wanted = by === null ? null : by.split("\u001f");
      const every = by === "*" || only !== null && by === null;
      boxes.forEach((box, i) => { box.checked = every || (wanted ? wanted.includes(data.evaluations[i]) : i < few); });
      filter();
    };
    get("filters").hidden = count.hidden = false;
    get("filters").addEventListener("input", changed);
    get("filters").addEventListener("submit", (event) => event.preventDefault());
    const tick = (on) => () => {
      boxes.forEach((box) => { box.checked = on; });
      changed();
    };
    get("f-every").addEventListener("click", tick(true));
    get("f-no").addEventListener("click", tick(false));
    get("f-back").addEventListener("click", changed);
    more.addEventListener("click", grow);
    lead = (id) => {
      const known = data.prompts.filter((prompt) => prompt[0] === id).length;
      if (!known) return null;
      const button = make("button", "pick", "Show its answers");
      button.type = "button";
      button.addEventListener("click", () => {
        ["f-class", "f-label", "f-good"].forEach((box) => { get(box).value = ""; });
        get("f-text").value = id;
        tick(true)();
        get("samples").scrollIntoView();
      });
      return button;
    };
    filter();
  };
  samples();

  addEventListener("hashchange", read);
  read();
})();

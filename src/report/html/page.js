"use strict";
(() => {
  const get = (id) => document.getElementById(id);
  const make = (tag, cls, text) => {
    const e = document.createElement(tag);
    if (cls) e.className = cls;
    if (text !== undefined) e.textContent = text;
    return e;
  };

  // The graph: a click shows the node's entry below it.
  const panel = get("node-panel");
  const links = [...document.querySelectorAll("[data-node]")];
  const edges = [...document.querySelectorAll("[data-from]")];
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
    links.forEach((l) => l.classList.toggle("on", l === link));
    edges.forEach((e) => e.classList.toggle("on", e.dataset.from === n || e.dataset.to === n));
  }));

  // Points of pictures: a click shows the prompt, and from there its answers where the page carries them.
  const pointed = get("point-panel");
  let lead = () => null;
  document.querySelectorAll("a.point").forEach((point) => point.addEventListener("click", (event) => {
    event.preventDefault();
    document.querySelectorAll("a.point.on").forEach((other) => other.classList.remove("on"));
    point.classList.add("on");
    pointed.replaceChildren(make("p", "", point.querySelector("title").textContent));
    const to = lead(point.dataset.prompt);
    if (to) pointed.append(to);
    pointed.hidden = false;
    pointed.scrollIntoView({ block: "nearest" });
  }));

  // The samples.
  const source = get("data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const list = get("list"), more = get("more"), count = get("count");
  const page = 20;
  let fits = [], shown = 0;

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

  const answer = ([by, verdict, reasoning, text, scores]) => {
    const e = make("div", "answer " + verdict);
    const head = make("h4", "", data.evaluations[by] + " ");
    head.append(make("span", "verdict", verdict));
    e.append(head);
    if (reasoning !== null) e.append(make("p", "think", reasoning));
    e.append(make("p", "said", text), make("p", "scores", scores));
    return e;
  };
  const sample = ([prompt, answers]) => {
    const [id, kind, labels, text] = prompt;
    const e = make("article", "sample"), about = make("p", "about"), all = make("div", "answers");
    about.append(make("span", "class " + kind, kind), " " + labels.map((label) => label + " · ").join(""), make("code", "", id));
    all.append(...answers.map(answer));
    e.append(about, make("p", "prompt", text), all);
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
      if ((kind && prompt[1] !== kind) || (label && !prompt[2].includes(label))) continue;
      const answers = prompt[4].filter((a) => boxes[a[0]].checked);
      if (!answers.length) continue;
      const some = (is) => answers.some((a) => a[1] === is);
      const differ = new Set(answers.map((a) => a[1])).size > 1;
      if (good === "differ" && !differ || good && good !== "differ" && !some(good)) continue;
      if (words && ![prompt[0], prompt[3], ...answers.flatMap((a) => [a[2] || "", a[3]])].join("\n").toLowerCase().includes(words)) continue;
      fits.push([prompt, answers]);
    }
    shown = 0;
    list.replaceChildren();
    grow();
  };
  get("filters").hidden = count.hidden = false;
  get("filters").addEventListener("input", filter);
  get("filters").addEventListener("submit", (event) => event.preventDefault());
  const tick = (all) => () => {
    boxes.forEach((box) => { box.checked = all; });
    filter();
  };
  get("f-every").addEventListener("click", tick(true));
  get("f-no").addEventListener("click", tick(false));
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
})();

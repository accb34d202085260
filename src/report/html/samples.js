// The samples: what the models said, filtered and searched.
(({ get, make, data, write, readers, leads }) => {
  const list = get("list"), more = get("more"), count = get("count"), alone = get("single");
  if (!list) return;
  const several = 20;
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
  const tokens = (of, kept) => {
    const e = make("details", "tokens"), text = make("p");
    const known = kept.map((t) => t[1]).filter((l) => l !== null);
    const sum = known.reduce((a, b) => a + b, 0);
    const first = kept.length < of ? "the first " + kept.length + " of " : "";
    e.append(make("summary", "", first + of + (of === 1 ? " token" : " tokens") + (known.length ? ", log-probability " + sum.toFixed(2) : "")));
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
  const answer = ([by, verdict, reasoning, text, scores, of, kept]) => {
    const e = make("div", "answer " + verdict);
    const head = make("h4", "", data.evaluations[by] + " ");
    head.append(make("span", "verdict", verdict));
    e.append(head);
    if (reasoning !== null) e.append(make("p", "think", reasoning));
    e.append(make("p", "said", text), make("p", "scores", scores));
    if (of) e.append(tokens(of, kept));
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
    list.append(...fits.slice(shown, shown + several).map(sample));
    shown = Math.min(shown + several, fits.length);
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
  leads.to = (id) => {
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
})(page);

"use strict";
// What the parts of the page share: the address, what is said at the pointer, the graph, the pictures.
const page = (() => {
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
  // By part: what is to be done with the values of an address.
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
  const hush = () => { tip.hidden = true; };
  all("svg .mark").forEach((mark) => {
    const title = mark.querySelector("title"), text = title.textContent;
    title.remove();
    mark.setAttribute("aria-label", text);
    mark.addEventListener("pointermove", (event) => say(text, event.clientX, event.clientY));
    mark.addEventListener("pointerleave", hush);
    mark.addEventListener("focus", () => {
      const box = mark.getBoundingClientRect();
      say(text, box.right, box.bottom);
    });
    mark.addEventListener("blur", hush);
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
  // What leads from a prompt to its answers, where the page carries them.
  const leads = { to: () => null };
  all("a.point").forEach((point) => point.addEventListener("click", (event) => {
    event.preventDefault();
    all("a.point.on").forEach((other) => other.classList.remove("on"));
    point.classList.add("on");
    pointed.replaceChildren(make("p", "", point.querySelector("title").textContent));
    const to = leads.to(point.dataset.prompt);
    if (to) pointed.append(to);
    pointed.hidden = false;
    pointed.scrollIntoView({ block: "nearest" });
  }));

  addEventListener("hashchange", read);
  return { get, all, make, data, say, hush, write, readers, read, leads };
})();

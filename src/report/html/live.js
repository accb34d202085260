// Of a page that `pipe report --serve` keeps: asks for what runs, and takes the newer page when there is one.
(() => {
  const bar = document.getElementById("live");
  const edition = document.documentElement.dataset.edition;
  const line = (text, share) => {
    const e = document.createElement("p");
    e.textContent = text;
    if (share !== undefined) {
      const meter = document.createElement("progress");
      meter.max = 1;
      if (share !== null) meter.value = share;
      e.prepend(meter, " ");
    }
    return e;
  };
  const shown = (node) => {
    const share = node.total ? Math.min(1, node.done / node.total) : null;
    const much = node.total ? node.done + "/" + node.total + " " + (node.unit || "") : "";
    return line([node.node, much, node.note || "", node.left ? node.left + " left" : ""].filter(Boolean).join(" · "), share);
  };
  const show = (now) => {
    const lines = [];
    for (const run of now.runs) {
      const ended = run.nodes.filter((node) => node.final).length;
      const left = run.left ? ", " + run.left + " left" : "";
      lines.push(line("Run " + run.run + ": " + ended + " of " + run.nodes.length + " nodes" + left, run.nodes.length ? ended / run.nodes.length : null));
      lines.push(...run.nodes.filter((node) => node.state === "running").map(shown));
    }
    if (now.trouble) lines.push(line(now.trouble));
    bar.replaceChildren(...lines);
    bar.hidden = !lines.length;
  };
  const busy = () => document.activeElement && document.activeElement.matches("input[type=search]");
  const look = async () => {
    try {
      const now = await (await fetch("/live", { cache: "no-store" })).json();
      show(now);
      if (now.edition !== edition && !busy()) location.reload();
    } catch {
      bar.replaceChildren(line("The server is gone; this is the last page that it sent."));
      bar.hidden = false;
    }
    setTimeout(look, 2000);
  };
  look();
})();

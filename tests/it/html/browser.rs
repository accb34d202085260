//! The page in Chromium, clicked through by a script that only this test adds to a copy of it.

use super::Study;
use crate::skipped::skip;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LONGEST: Duration = Duration::from_secs(120);

/// Clicks, and writes what is then to be seen into the document.
const CLICKS: &str = r##"
<script>
(() => {
  const get = (id) => document.getElementById(id);
  const visible = (e) => e !== null && !e.hidden && e.getClientRects().length > 0;
  const samples = () => [...document.querySelectorAll("#list .sample")].map((s) => s.querySelector("code").textContent);
  const pick = (id, value) => { get(id).value = value; get(id).dispatchEvent(new Event("input", { bubbles: true })); };
  const seen = {};
  seen.filters = visible(get("filters"));
  seen.all = samples();
  pick("f-class", "harmful");
  const address = location.hash;
  seen.harmful = samples();
  seen.count = get("count").textContent;
  pick("f-good", "differ");
  seen.differ = samples();
  pick("f-class", ""); pick("f-good", "");
  pick("f-text", "ANSWER 3");
  seen.text = samples();
  pick("f-text", "");
  pick("f-label", "form code");
  seen.code = samples();
  pick("f-label", "");
  const boxes = [...document.querySelectorAll("#f-by input")];
  boxes[0].click();
  seen.columns = document.querySelectorAll("#list .sample:first-child .answer").length;
  boxes[0].click();
  seen.before = visible(get("node-panel"));
  const nodes = [...document.querySelectorAll("[data-node]")];
  nodes.find((n) => n.textContent.includes("mix")).dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
  seen.panel = visible(get("node-panel")) && get("node-panel").textContent;
  seen.edges = document.querySelectorAll(".graph.broad .e.on").length;
  seen.hash = location.hash;
  seen.address = address;
  seen.images = document.images.length;
  seen.requests = performance.getEntriesByType("resource").length;
  seen.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify(seen);
  document.body.append(result);
})();
</script>
"##;

#[test]
fn a_reader_filters_samples_and_opens_nodes() {
    let Some(chromium) = chromium() else {
        return;
    };
    let study = Study::new();
    let page = study.html().replace("</body>", &format!("{CLICKS}</body>"));
    let file = study.dir.path().join("page.html");
    std::fs::write(&file, page).unwrap();
    let dom = dump(&chromium, &file, study.dir.path());
    let seen = result(&dom);
    let list = |name: &str| -> Vec<String> {
        let all = seen[name].as_array().unwrap().iter();
        all.map(|v| v.as_str().unwrap().to_string()).collect()
    };
    assert_eq!(seen["filters"], true);
    assert_eq!(list("all").len(), 6);
    assert_eq!(list("harmful"), ["harmful-0", "harmful-1"]);
    assert_eq!(seen["count"], "2 of 6 prompts fit, 2 shown");
    assert_eq!(list("differ"), ["harmful-1"], "base failed and rl did not");
    assert_eq!(list("text"), ["ambiguous-1"], "whatever the case");
    assert_eq!(list("code"), ["harmful-1", "harmless-1", "ambiguous-1"]);
    assert_eq!(seen["columns"], 2, "one of three evaluations is left out");
    assert_eq!(seen["before"], false);
    let panel = seen["panel"].as_str().unwrap();
    assert!(
        panel.contains("key") && panel.contains("lambda = 0.3"),
        "{panel}"
    );
    assert_eq!(seen["edges"], 2, "from its prompts and to its trainings");
    assert_eq!(seen["address"], "#samples?class=harmful");
    assert_eq!(
        seen["hash"], "",
        "nothing is set, and the page stays where it is"
    );
    assert_eq!(seen["images"], 0, "what a model said made no element");
    assert_eq!(seen["requests"], 0, "nothing was loaded");
    assert_eq!(seen["wide"], 0, "the page itself does not scroll sideways");
}

/// What is to be seen of samples, of the comparison of curves and of the hint at a mark.
const SEEN: &str = r##"
<script>
(() => {
  const get = (id) => document.getElementById(id);
  const seen = { errors };
  seen.samples = [...document.querySelectorAll("#list .sample")].map((s) => s.querySelector("code").textContent);
  seen.by = [...document.querySelectorAll("#f-by input")].map((b) => b.checked);
  seen.class = get("f-class").value;
  seen.alone = !get("single").hidden;
  seen.links = [...document.querySelectorAll("#list .permalink")].map((a) => a.getAttribute("href"));
  const plot = () => get("c-plot").querySelector("svg");
  seen.compare = get("compare").getClientRects().length > 0;
  seen.title = plot().querySelector("title").textContent;
  seen.means = plot().querySelectorAll(".mean").length;
  seen.bands = plot().querySelectorAll(".band").length;
  seen.first = plot().querySelector(".mean").getAttribute("points");
  get("c-smooth").value = "0.9";
  get("c-smooth").dispatchEvent(new Event("input", { bubbles: true }));
  seen.smoothed = plot().querySelector(".mean").getAttribute("points");
  seen.address = location.hash;
  get("c-legend").querySelector("button").click();
  seen.fewer = plot().querySelectorAll(".mean").length;
  const mark = document.querySelector("svg.broad a.mark");
  mark.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, clientX: 50, clientY: 50 }));
  seen.tip = get("tip").textContent;
  seen.lead = mark.getAttribute("href");
  location.hash = seen.lead;
  addEventListener("hashchange", () => {
    seen.led = [...document.querySelectorAll("#f-by input")].map((b) => b.checked);
    const result = document.createElement("pre");
    result.id = "result";
    result.textContent = JSON.stringify(seen);
    document.body.append(result);
  });
})();
</script>
"##;

/// What the comparison of curves says at a step, and which lines it draws.
const POINTED: &str = r##"
<script>
(() => {
  const svg = document.querySelector("#c-plot svg"), box = svg.getBoundingClientRect();
  const wide = svg.viewBox.baseVal.width, left = 58, right = wide - 12;
  const at = (step) => {
    const x = box.left + (left + step / 995.5 * (right - left)) / wide * box.width;
    svg.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, clientX: x, clientY: box.top + 50 }));
    return document.getElementById("tip").textContent;
  };
  const result = document.createElement("pre");
  result.id = "result";
  const means = svg.querySelectorAll(".mean").length, bands = svg.querySelectorAll(".band").length;
  result.textContent = JSON.stringify({ errors, means, bands, both: at(103), one: at(702) });
  document.body.append(result);
})();
</script>
"##;

#[test]
fn a_mean_of_runs_is_of_those_that_have_the_step_and_says_how_many() {
    let Some(chromium) = chromium() else {
        return;
    };
    let mut study = Study::new();
    study.with_curve(1, super::sparse());
    let page = study
        .html()
        .replace("</body>", &format!("{POINTED}</body>"));
    let page = page.replace("<body>", &format!("<body>{ERRORS}"));
    let file = study.dir.path().join("page.html");
    std::fs::write(&file, page).unwrap();
    let seen = result(&dump(&chromium, &file, study.dir.path()));
    assert_eq!(seen["errors"], serde_json::json!([]));
    // One line in two parts, of two runs and of one, and one of two runs.
    assert_eq!(
        (&seen["means"], &seen["bands"]),
        (&3.into(), &2.into()),
        "{seen}"
    );
    let told = |name: &str| -> Vec<String> {
        let mut lines: Vec<String> = seen[name]
            .as_str()
            .unwrap()
            .lines()
            .map(String::from)
            .collect();
        lines[1..].sort();
        lines
    };
    let both = told("both");
    // 101 to 110 and, of every fifth, 105 and 110; one more of the second seed.
    assert_eq!(both[0], "steps 101 to 110");
    assert_eq!(both[1], "rl, λ = 0.3: 106 (105.5 to 106.5, 2 runs)");
    assert_eq!(both[2], "rl, λ = 0.7: 107 (105.5 to 108.5, 2 runs)");
    let one = told("one");
    assert_eq!(one[0], "steps 701 to 710");
    assert_eq!(one[1], "rl, λ = 0.3: 706 (705.5 to 706.5, 2 runs)");
    assert_eq!(one[2], "rl, λ = 0.7: 705.5 (1 of 2 runs)");
}

/// Before any other script: what goes wrong is kept.
const ERRORS: &str =
    "<script>const errors = []; addEventListener('error', (e) => errors.push(e.message));</script>";

/// The page under this address.
fn at(chromium: &Path, hash: &str) -> Value {
    let study = Study::new();
    let page = study.html().replace("</body>", &format!("{SEEN}</body>"));
    let page = page.replace("<body>", &format!("<body>{ERRORS}"));
    let file = study.dir.path().join("page.html");
    std::fs::write(&file, page).unwrap();
    let address = format!("{}{hash}", file.display());
    result(&dump(chromium, Path::new(&address), study.dir.path()))
}

#[test]
fn an_address_says_which_samples_and_curves_are_shown() {
    let Some(chromium) = chromium() else {
        return;
    };
    let seen = at(
        &chromium,
        "#samples?class=harmful&by=rl%2C%20%CE%BB%20%3D%200.3",
    );
    assert_eq!(seen["errors"], serde_json::json!([]));
    assert_eq!(
        seen["samples"],
        serde_json::json!(["harmful-0", "harmful-1"])
    );
    assert_eq!(seen["by"], serde_json::json!([false, true, false]));
    assert_eq!(seen["class"], "harmful");
    assert_eq!(
        seen["links"],
        serde_json::json!(["#samples?id=harmful-0", "#samples?id=harmful-1"])
    );
    let one = at(&chromium, "#samples?id=ambiguous-1");
    assert_eq!(one["samples"], serde_json::json!(["ambiguous-1"]));
    assert_eq!(
        (&one["alone"], &one["by"]),
        (&true.into(), &serde_json::json!([true, true, true]))
    );
    let wrong = at(&chromium, "#samples?id=nobody&class=%22%3E&by=%00");
    assert_eq!(
        (&wrong["samples"], &wrong["errors"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );

    // Two values of λ with two seeds each: two lines with a band, or four runs.
    let usual = at(&chromium, "");
    assert_eq!(
        (&usual["compare"], &usual["alone"]),
        (&true.into(), &false.into())
    );
    assert_eq!(usual["title"], "reward by step: rl, λ = 0.3, rl, λ = 0.7");
    assert_eq!((&usual["means"], &usual["bands"]), (&2.into(), &2.into()));
    assert_eq!(usual["fewer"], 1, "a click on a name hides it");
    assert_ne!(
        usual["first"], usual["smoothed"],
        "what rises evenly is no straight line any more"
    );
    assert_eq!(usual["address"], "#curves?smooth=0.9");
    let runs = at(&chromium, "#curves?by=run&name=kl");
    assert_eq!(runs["means"], 4);
    assert!(
        runs["title"]
            .as_str()
            .unwrap()
            .starts_with("KL to the reference"),
        "{runs}"
    );
    let by_seed = at(&chromium, "#curves?by=axis%3Aseed");
    assert_eq!(by_seed["title"], "reward by step: seed = 0, seed = 1");
}

#[test]
fn a_mark_says_its_numbers_and_leads_to_the_answers_behind_it() {
    let Some(chromium) = chromium() else {
        return;
    };
    let seen = at(&chromium, "");
    let tip = seen["tip"].as_str().unwrap();
    assert!(
        tip.starts_with("base, defense 25.0 % [20.0, 30.0], n 40, 1 seed; compliance 75.0 %"),
        "{tip}"
    );
    assert_eq!(seen["lead"], "#samples?by=base");
    assert_eq!(seen["led"], serde_json::json!([true, false, false]));
}

#[test]
fn a_narrow_page_does_not_scroll_sideways() {
    let Some(chromium) = chromium() else {
        return;
    };
    let study = Study::new();
    let dir = study.dir.path();
    let widths = r#"<script>
      const root = document.documentElement;
      const late = [...document.querySelectorAll("body *")].filter((e) => !e.closest(".scroll, pre") && e.getBoundingClientRect().right > root.clientWidth + 1);
      parent.postMessage(JSON.stringify({ wide: root.scrollWidth, of: root.clientWidth, late: late.map((e) => e.outerHTML.slice(0, 90)) }), "*");
    </script></body>"#;
    std::fs::write(
        dir.join("page.html"),
        study.html().replace("</body>", widths),
    )
    .unwrap();
    let frame = r#"<!doctype html><iframe src="page.html" width="390" height="800"></iframe>
      <script>addEventListener("message", (e) => { const p = document.createElement("pre"); p.id = "result"; p.textContent = e.data; document.body.append(p); });</script>"#;
    let file = dir.join("frame.html");
    std::fs::write(&file, frame).unwrap();
    let seen = result(&dump(&chromium, &file, dir));
    assert_eq!(seen["wide"], seen["of"], "{seen}");
    assert!(seen["of"].as_f64().unwrap() <= 390.0);
    assert_eq!(seen["late"].as_array().unwrap().len(), 0, "{seen}");
}

/// What the script wrote, out of the document's text.
pub fn result(dom: &str) -> Value {
    let text = dom.split("<pre id=\"result\">").nth(1);
    let text = text.unwrap_or_else(|| panic!("the script did not end:\n{}", tail(dom)));
    let text = text.split("</pre>").next().unwrap();
    let text = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    serde_json::from_str(&text).unwrap()
}

fn tail(text: &str) -> String {
    let mut end: Vec<char> = text.chars().rev().take(2000).collect();
    end.reverse();
    end.into_iter().collect()
}

/// The program, or a word that it is not there.
pub fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("chromium"))
        .find(|file| file.is_file());
    if found.is_none() {
        skip("`chromium` in PATH");
    }
    found
}

/// The document as it is after its scripts.
pub fn dump(chromium: &Path, file: &Path, dir: &Path) -> String {
    let out = dir.join("dom.html");
    let mut child = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args([
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--virtual-time-budget=10000",
            "--window-size=1200,900",
        ])
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", file.display()))
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&out).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let since = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return std::fs::read_to_string(&out).unwrap();
        }
        if since.elapsed() > LONGEST {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("Chromium did not end");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

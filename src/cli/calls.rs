//! `pipe calls`: the journal of calls to services, for people.

use super::args::StoreArgs;
use super::complete;
use super::output::{Error, Outcome, complain, print, print_json, print_lines, room, versioned};
use super::store;
use base::text::{count, did_you_mean, dollars, duration, listed, thousands};
use clap::Subcommand;
use engine::kind::attempt::Attempt;
use engine::store::Store;
use engine::store::index::Index;
use engine::system::clock;
use report::table::{Table, left, right};
use serde_json::{Value, json};
use services::journal::{CallKey, Entry, Journal, refused};
use std::collections::{BTreeMap, BTreeSet};

/// Read the journal of calls: how many answers of which services are kept, and what they cost.
///
/// Every answer that a service gave is kept for all nodes and recipes of the store, and is never asked for again. With `--list` each by
/// itself, in the order of the journal's files; `pipe calls show KEY` shows one with what was asked.
///
/// Example: pipe calls
///
/// Example: pipe calls --by teacher --list --limit 5
///
/// Example: pipe calls --list --limit 0 --json
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Calls {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    store: StoreArgs,
    /// Only what this node asked first: its name in a recipe, or the beginning of its key
    #[arg(long, value_name = "NODE", add = complete::nodes())]
    by: Option<String>,
    /// A line an answer instead of sums
    #[arg(long)]
    list: bool,
    /// How many answers `--list` shows; 0: all
    #[arg(long, value_name = "N", default_value_t = 20, requires = "list")]
    limit: usize,
    /// Print as JSON; of `--list`, an object a line
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum What {
    /// Show one answer with what was asked.
    ///
    /// Example: pipe calls show 3f9a
    Show {
        /// The call's key, or the beginning of it
        key: String,
        #[command(flatten)]
        store: StoreArgs,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(args: &Calls) -> Outcome {
    if let Some(What::Show {
        key,
        store,
        json: as_json,
    }) = &args.what
    {
        let store = store::existing(store)?;
        return show(&store, key, *as_json);
    }
    let store = store::existing(&args.store)?;
    let mut journal = Journal::open(&store.calls())?;
    let by = args.by.as_deref();
    let by = by.map(|named| askers(&store, named)).transpose()?;
    let by = move |entry: &Entry| by.as_ref().is_none_or(|by| by.contains(&entry.by));
    match args.list {
        true => list(&store, &mut journal, &by, args),
        false => sums(&store, &mut journal, &by, args.json),
    }
}

/// The beginnings of keys, as entries have them, of nodes that are called so.
fn askers(store: &Store, named: &str) -> Result<BTreeSet<String>, Error> {
    let names = names(store);
    let of_name: BTreeSet<String> = names
        .iter()
        .filter(|(key, (node, _))| node == named || named.starts_with(key.as_str()))
        .map(|(key, _)| key.clone())
        .collect();
    if !of_name.is_empty() {
        return Ok(of_name);
    }
    let hex = named.len() >= 4 && named.chars().all(|c| c.is_ascii_hexdigit());
    let of_key = names.keys().filter(|key| hex && key.starts_with(named));
    let of_key: BTreeSet<String> = of_key.cloned().collect();
    if !of_key.is_empty() {
        return Ok(of_key);
    }
    let known = names.values().map(|(node, _)| node.as_str());
    let near = did_you_mean(named, known).map(|n| format!("; did you mean `{n}`?"));
    Err(Error::Usage(format!(
        "no node called `{named}` has a record or an attempt in the store{}",
        near.unwrap_or_default()
    )))
}

/// Node and recipe by the beginning of the key, of records and of attempts that go on or did not end well.
fn names(store: &Store) -> BTreeMap<String, (String, String)> {
    let mut names = BTreeMap::new();
    for attempt in Attempt::all(store).unwrap_or_default() {
        if let Ok(spec) = attempt.spec() {
            names.insert(spec.key.short().to_string(), (spec.node, String::new()));
        }
    }
    for brief in Index::open(store).briefs() {
        names.insert(brief.key.short().to_string(), (brief.node, brief.recipe));
    }
    names
}

/// Answers of one model at one place.
#[derive(Default)]
struct Sum {
    answers: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    dollars: f64,
    seconds: f64,
    first_ms: u64,
    last_ms: u64,
    served: BTreeSet<String>,
}

impl Sum {
    fn add(&mut self, entry: Entry) {
        self.first_ms = match self.answers {
            0 => entry.at_ms,
            _ => self.first_ms.min(entry.at_ms),
        };
        self.answers += 1;
        self.prompt_tokens += entry.prompt_tokens;
        self.completion_tokens += entry.completion_tokens;
        self.dollars += entry.dollars;
        self.seconds += entry.seconds;
        self.last_ms = self.last_ms.max(entry.at_ms);
        self.served.extend(entry.served);
    }
}

/// Model as it was asked for, host, api.
type Service = (String, String, String);

fn sums(
    store: &Store,
    journal: &mut Journal,
    by: &dyn Fn(&Entry) -> bool,
    as_json: bool,
) -> Outcome {
    let mut sums: BTreeMap<Service, Sum> = BTreeMap::new();
    let mut refusals = 0;
    journal.each(&mut |_, entry| {
        if by(&entry) && entry.api == refused::API {
            refusals += 1;
        } else if by(&entry) {
            let service = (model(&entry), entry.host.clone(), entry.api.clone());
            sums.entry(service).or_default().add(entry);
        }
        true
    })?;
    let damaged = journal.damaged();
    if as_json {
        let services = sums.iter().map(|((model, host, api), sum)| {
            json!({
                "model": model, "host": host, "api": api, "answers": sum.answers, "prompt_tokens": sum.prompt_tokens,
                "completion_tokens": sum.completion_tokens, "dollars": sum.dollars,
                "latency_seconds": sum.seconds / sum.answers as f64, "first_ms": sum.first_ms, "last_ms": sum.last_ms,
                "served": sum.served,
            })
        });
        let services: Vec<Value> = services.collect();
        print_json(&json!({
            "store": store.root(), "services": services, "refused": refusals, "damaged_lines": damaged,
        }));
        return Ok(());
    }
    print_lines(&text(&sums));
    if refusals > 0 {
        let answers = count(refusals, "answer was", "answers were");
        print_lines(&format!(
            "{answers} refused by whoever asked: not what was asked for\n"
        ));
    }
    if damaged > 0 {
        let lines = count(
            damaged,
            "line of the journal is",
            "lines of the journal are",
        );
        print_lines(&format!("{lines} damaged; `pipe verify` names them\n"));
    }
    Ok(())
}

fn text(sums: &BTreeMap<Service, Sum>) -> String {
    if sums.is_empty() {
        return "no answers of services\n".into();
    }
    let mut table = Table::new([
        left("model"),
        left("host"),
        left("api"),
        right("answers"),
        right("tokens asked"),
        right("answered"),
        right("paid"),
        right("latency"),
        left("first"),
        left("last"),
    ]);
    let (mut answers, mut tokens, mut paid) = (0, 0, 0.0);
    for ((model, host, api), sum) in sums {
        answers += sum.answers;
        tokens += sum.prompt_tokens + sum.completion_tokens;
        paid += sum.dollars;
        table.push([
            model.clone(),
            host.clone(),
            api.clone(),
            thousands(sum.answers),
            thousands(sum.prompt_tokens),
            thousands(sum.completion_tokens),
            dollars(sum.dollars),
            duration(sum.seconds / sum.answers as f64),
            clock::stamp(sum.first_ms),
            clock::stamp(sum.last_ms),
        ]);
    }
    format!(
        "{}{}, {}, {} paid\n",
        table.fit(room()),
        count(answers, "answer", "answers"),
        count(tokens, "token", "tokens"),
        dollars(paid)
    )
}

fn list(
    store: &Store,
    journal: &mut Journal,
    by: &dyn Fn(&Entry) -> bool,
    args: &Calls,
) -> Outcome {
    let most = match args.limit {
        0 => usize::MAX,
        n => n,
    };
    let mut shown = 0;
    let names = names(store);
    let told = |key: &CallKey, entry: &Entry| match args.json {
        true => format!("{}\n", versioned(&data(key, entry))),
        false => line(key, entry, &names),
    };
    let mut more = false;
    journal.each(&mut |key, entry| {
        if by(&entry) && entry.api != refused::API {
            more = shown == most;
            if !more {
                print(&told(key, &entry));
                shown += 1;
            }
        }
        !more
    })?;
    let rest = "and more; `--limit` shows them\n";
    match (more, args.json) {
        // Between objects a line of words would be in the way.
        (true, true) => complain(rest),
        (true, false) => print_lines(rest),
        (false, false) if shown == 0 => print_lines("no answers of services\n"),
        (false, _) => {}
    }
    Ok(())
}

/// `3f9a…  teacher  toy at localhost:8000  12 + 16 tokens  $0.0004  1.2 s  "What is …"`.
fn line(key: &CallKey, entry: &Entry, names: &BTreeMap<String, (String, String)>) -> String {
    const ASKED: usize = 48;
    let asked = plain(&asked(entry)).replace('\n', " ");
    let cut: String = asked.chars().take(ASKED).collect();
    let more = if cut.len() < asked.len() { "…" } else { "" };
    let node = names.get(&entry.by).map(|(node, _)| node.as_str());
    format!(
        "{}  {}  {} at {}  {} + {} tokens  {}  {}  {cut}{more}\n",
        &key.hex()[..12],
        node.unwrap_or(&entry.by),
        model(entry),
        entry.host,
        thousands(entry.prompt_tokens),
        thousands(entry.completion_tokens),
        dollars(entry.dollars),
        duration(entry.seconds),
    )
}

fn show(store: &Store, named: &str, as_json: bool) -> Outcome {
    let mut journal = Journal::open(&store.calls())?;
    let wanted = named.to_ascii_lowercase();
    let found: Vec<CallKey> = journal
        .keys()
        .filter(|key| key.hex().starts_with(&wanted))
        .copied()
        .collect();
    let key = match found.as_slice() {
        [key] => *key,
        [] => {
            let help = "`pipe calls --list` lists them";
            return Err(Error::Usage(format!(
                "the journal has no call `{named}`; {help}"
            )));
        }
        several => {
            let keys: Vec<String> = several.iter().map(CallKey::hex).collect();
            return Err(Error::Usage(format!(
                "`{named}` is the beginning of {}: {}",
                count(keys.len() as u64, "call", "calls"),
                listed(keys.iter().map(String::as_str))
            )));
        }
    };
    let Some(entry) = journal.find(&key)? else {
        return Err(Error::World(anyhow::anyhow!(
            "the line of call {} is damaged; `pipe verify` says where",
            key.hex()
        )));
    };
    if as_json {
        print_json(&data(&key, &entry));
        return Ok(());
    }
    let mut text = page(&key, &entry, &names(store));
    if journal.has(&refused::key(&key)) {
        text += "\nrefused by whoever asked: not what was asked for\n";
    }
    print(&text);
    Ok(())
}

fn page(key: &CallKey, entry: &Entry, names: &BTreeMap<String, (String, String)>) -> String {
    let served = match &entry.served {
        Some(served) if *served != model(entry) => format!(", served as {served}"),
        _ => String::new(),
    };
    let by = match names.get(&entry.by) {
        Some((node, recipe)) if recipe.is_empty() => format!("node `{node}` ({})", entry.by),
        Some((node, recipe)) => format!("node `{node}` of `{recipe}` ({})", entry.by),
        None => format!("node {}", entry.by),
    };
    let mut out = format!(
        "call {}: sample {} of {} at {}, {}{served}\n  first asked by {by}, {}\n  {} + {} tokens, {}, {}\n",
        key.hex(),
        entry.sample,
        entry.api,
        entry.host,
        model(entry),
        clock::stamp(entry.at_ms),
        thousands(entry.prompt_tokens),
        thousands(entry.completion_tokens),
        dollars(entry.dollars),
        duration(entry.seconds)
    );
    out += &format!("\n--- asked\n{}\n", asked(entry).trim_end());
    out += &others(&entry.asked, &["model", "input"]);
    out += "\n--- answered\n";
    match &entry.answer {
        Value::Object(answer) => {
            let texts = ["reasoning", "content", "refusal"];
            for name in texts {
                if let Some(text) = answer.get(name).and_then(Value::as_str) {
                    out += &format!("{name}: {text}\n");
                }
            }
            out += &others(&entry.answer, &texts);
        }
        other => out += &format!("{other}\n"),
    }
    plain(&out)
}

/// What is asked, for reading: messages by their roles, a text as it is, anything else as JSON.
fn asked(entry: &Entry) -> String {
    match &entry.asked["input"] {
        Value::String(text) => text.clone(),
        Value::Array(messages) if messages.iter().all(|m| m["content"].is_string()) => {
            let text = |m: &Value, name: &str| m[name].as_str().unwrap_or_default().to_string();
            let lines = messages
                .iter()
                .map(|m| format!("{}: {}\n", text(m, "role"), text(m, "content")));
            lines.collect()
        }
        Value::Null => entry.asked.to_string(),
        other => other.to_string(),
    }
}

/// The members that were not told already, on one line.
fn others(value: &Value, told: &[&str]) -> String {
    let members = value.as_object().into_iter().flatten();
    let rest = members.filter(|(name, _)| !told.contains(&name.as_str()));
    let rest: Vec<String> = rest.map(|(name, v)| format!("{name} {v}")).collect();
    match rest.is_empty() {
        true => String::new(),
        false => format!("  {}\n", rest.join(" · ")),
    }
}

/// As it was asked for; services without models have none.
fn model(entry: &Entry) -> String {
    entry.asked["model"].as_str().unwrap_or("-").to_string()
}

/// What others wrote does not steer the terminal.
fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}

fn data(key: &CallKey, entry: &Entry) -> Value {
    json!({
        "call": key.hex(), "api": entry.api, "sample": entry.sample, "asked": entry.asked, "answer": entry.answer,
        "served": entry.served, "host": entry.host, "prompt_tokens": entry.prompt_tokens,
        "completion_tokens": entry.completion_tokens, "dollars": entry.dollars, "seconds": entry.seconds,
        "at_ms": entry.at_ms, "by": entry.by,
    })
}

//! `pipe run --until-settled`: seeds of a study one after the other, of the recipes whose claims are open, until all claims are
//! settled.

use super::args::Changes;
use super::output::{Error, Outcome, colour, complain, print, print_json, print_lines, room};
use super::run::{self, Run};
use super::seeds::{first, under};
use super::{gc, on, remote, store, study};
use base::calls::Calls;
use base::claim::SEED;
use base::text::count;
use engine::events::event::State;
use engine::plan::Wanted;
use engine::run::Stop;
use engine::store::Store;
use recipe::study::Study;
use report::side::Side;
use report::verdicts::{self, Answer, decide, show};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What was run before the claims were looked at.
struct Round {
    /// In all, after it.
    seeds: usize,
    run: String,
    seconds: f64,
    /// Nodes that it made.
    made: usize,
    /// Claims that were open before it.
    open: usize,
}

impl Round {
    fn json(&self) -> Value {
        json!({
            "seeds": self.seeds, "run": self.run, "seconds": self.seconds, "made": self.made, "open": self.open,
        })
    }
}

/// The seeds that each recipe has, by its file, and those that all may have.
struct Seeds {
    all: Vec<String>,
    of: BTreeMap<PathBuf, usize>,
}

pub fn run(args: &Run) -> Outcome {
    let started = Instant::now();
    let changes = &args.recipes.changes;
    let asked = study::load_all(&args.recipes.recipes, &under(changes, &[]))?;
    complain(&asked.warnings.render(colour()));
    let names: Vec<String> = asked.names().into_iter().map(String::from).collect();
    if asked.variants.iter().all(|v| v.loaded.claims.is_empty()) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        return Err(Error::Usage(study::claims_nothing(&names)));
    }
    let files: Vec<PathBuf> = args
        .recipes
        .recipes
        .iter()
        .cloned()
        .chain(study::missing(&asked))
        .collect();
    let most = usize::try_from(args.max_seeds).unwrap_or(usize::MAX);
    let mut seeds = Seeds {
        all: first(&files, changes, most)?,
        of: BTreeMap::new(),
    };
    refuse_early(&files, changes, &seeds.all[..most], &names)?;
    let store = store::to_write(&args.store, args.quiet || args.json)?;
    let store = match &args.on {
        Some(named) => on::shared(store, &on::profile(named)?)?,
        None => store,
    };
    let store = remote::attach(store, args.with_remote())?;
    let alpha = decide::look(most);
    let mut rounds: Vec<Round> = vec![];
    let mut open: Vec<Answer> = vec![];
    let (stop, mut spent) = (Stop::on_signals()?, Calls::default());
    // Two seeds at least tell training noise.
    let mut n = 2;
    loop {
        let part = of_open(&open, &files, &asked);
        for file in &part {
            seeds.of.insert(file.clone(), n);
        }
        let study = ManuallyDrop::new(study::load_all(&part, &under(changes, &seeds.all[..n]))?);
        let mut settings = run::settings(args, &store, &study, stop.clone())?;
        // What one round has paid the next one cannot.
        let limit = &mut settings.limit;
        limit.dollars = limit.dollars.map(|most| (most - spent.dollars).max(0.0));
        limit.calls = limit.calls.map(|most| most.saturating_sub(spent.made));
        let began = Instant::now();
        let ended = run::execute(args, &store, &study, &wanted(&study, &open), &settings)?;
        ended.nodes.iter().for_each(|n| spent.add(&n.spent.calls));
        let failure = ended.failure();
        let made = ended
            .nodes
            .iter()
            .filter(|n| matches!(n.state, State::Done { .. }));
        rounds.push(Round {
            seeds: n,
            run: ended.run.clone(),
            seconds: began.elapsed().as_secs_f64(),
            made: made.count(),
            open: open.len(),
        });
        let answers = answers(&store, &files, changes, &seeds, (&names, alpha))?;
        open = answers.iter().filter(|a| !a.settled).cloned().collect();
        if failure.is_some() || !open.iter().any(askable) || n == most {
            tell(args, &store, &rounds, &answers, alpha, started);
            if failure.is_none() && rounds.iter().any(|r| r.made > 0) {
                collect(&store);
            }
            return run::ended(failure);
        }
        if !args.json && !args.quiet {
            print(&told(&answers, open.len(), n));
        }
        n += 1;
    }
}

/// More seeds may settle it: not what cannot be compared, nor what is the same under every seed.
fn askable(answer: &Answer) -> bool {
    let varied = answer.p.is_some() || answer.seeds < 2;
    answer.verdict.is_some() && !answer.settled && !answer.fixed && varied
}

/// What is over the cap of the store goes, as after any run.
fn collect(store: &Store) {
    match gc::after_run(store) {
        Ok(Some((cap, swept))) => complain(&gc::collected(cap, &swept)),
        Ok(None) => {}
        Err(error) => complain(&format!("cannot keep the store under its cap: {error:#}\n")),
    }
}

/// What would end the study after hours is said before its first round.
fn refuse_early(
    files: &[PathBuf],
    changes: &Changes,
    seeds: &[String],
    names: &[String],
) -> Result<(), Error> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    study::answerable(
        &study::load_all(files, &under(changes, &seeds[..2]))?,
        &names,
    )?;
    study::load_all(files, &under(changes, seeds)).inspect_err(|_| {
        let seeds = seeds.len();
        complain(&format!(
            "with {seeds} seeds, the most that `--max-seeds` allows, the study is too large: fewer with `--max-seeds`, or\n"
        ));
    })?;
    Ok(())
}

/// The files of the recipes whose claims are open, and of what these are against; all before any claim was looked at.
fn of_open(open: &[Answer], files: &[PathBuf], asked: &Study) -> Vec<PathBuf> {
    if open.is_empty() {
        return files.to_vec();
    }
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let claims = asked.variants.iter().flat_map(|v| {
        let claims = v.loaded.claims.iter();
        claims.map(move |claim| (&v.file, &v.loaded.name, claim))
    });
    let mut wanted = BTreeSet::new();
    for (file, name, claim) in claims {
        let is = |a: &&Answer| a.recipe == *name && a.about == claim.about && askable(a);
        if open.iter().any(|a| is(&a)) {
            wanted.insert(whole(file));
            wanted.extend(claim.against.as_deref().map(whole));
        }
    }
    files
        .iter()
        .filter(|f| wanted.contains(&whole(f)))
        .cloned()
        .collect()
}

/// At first all nodes, later what open claims measure.
fn wanted(study: &Study, open: &[Answer]) -> Wanted {
    let mut only = BTreeSet::new();
    let askable = open.iter().filter(|a| askable(a));
    for condition in askable.flat_map(|a| &a.conditions) {
        for name in [&condition.node, &condition.against_node] {
            only.extend(places(study, name));
        }
    }
    Wanted {
        only: only.into_iter().collect(),
        ..Wanted::default()
    }
}

/// Where a node of this name is, in every variant that has it.
fn places<'a>(study: &'a Study, name: &'a str) -> impl Iterator<Item = engine::graph::NodeId> + 'a {
    study.variants.iter().filter_map(move |v| {
        let id = v.loaded.graph.find(name)?;
        let place = v.loaded.graph.ids().position(|own| own == id)?;
        Some(v.places[place])
    })
}

/// Of all claims, each over the seeds that its recipe had.
fn answers(
    store: &Store,
    files: &[PathBuf],
    changes: &Changes,
    seeds: &Seeds,
    (names, alpha): (&[String], f64),
) -> Result<Vec<Answer>, Error> {
    let most = seeds.of.values().copied().max().unwrap_or_default();
    let study = study::load_all(files, &under(changes, &seeds.all[..most]))?;
    let sides = study::sides(store, study)?;
    remote::tell(store);
    let had = |side: &&Side| {
        let n = seeds.of.get(&side.file).copied().unwrap_or_default();
        side.axes
            .get(SEED)
            .is_none_or(|seed| seeds.all[..n].contains(seed))
    };
    let sides: Vec<&Side> = sides.iter().filter(had).collect();
    Ok(verdicts::answers(store, &sides, alpha, |recipe| {
        names.iter().any(|n| n == recipe)
    })?)
}

/// `2 seeds: 1 of 3 claims settled`.
fn told(answers: &[Answer], open: usize, seeds: usize) -> String {
    let claims = count(answers.len() as u64, "claim", "claims");
    format!(
        "{}: {} of {claims} settled\n",
        count(seeds as u64, "seed", "seeds"),
        answers.len() - open
    )
}

fn tell(
    args: &Run,
    store: &Store,
    rounds: &[Round],
    answers: &[Answer],
    alpha: f64,
    started: Instant,
) {
    let open = answers.iter().filter(|a| !a.settled).count();
    let seeds = rounds.last().map_or(0, |r| r.seeds);
    if args.json {
        print_json(&json!({
            "store": store.root(), "rounds": rounds.iter().map(Round::json).collect::<Vec<_>>(), "p_of_a_look": alpha, "claims": answers,
            "settled": answers.len() - open, "open": open, "seconds": started.elapsed().as_secs_f64(),
        }));
        return;
    }
    if args.quiet {
        let told = told(answers, open, seeds);
        return print_lines(&format!("{}; {told}", show::summary(answers)));
    }
    print(&format!("\n{}", show::page(answers).fit(room())));
    print(&format!("\n{}", told(answers, open, seeds)));
    print_lines(&format!(
        "claims were looked at after every seed from the second on, so that a look settles one at p {} or less\n",
        show::p_value(alpha)
    ));
}

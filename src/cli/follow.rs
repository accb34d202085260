//! `pipe report --serve`: the page as it is now, made anew when the store or the recipes have changed, and how far runs are.

use super::args::{Changes, StoreArgs};
use super::output::{Error, warn};
use super::past;
use super::serve::{Answer, Content};
use super::{store, study};
use engine::events::event::State;
use engine::events::{journal, life};
use engine::store::Store;
use engine::system::clock;
use recipe::study::Study;
use report::html::{Options, Page, Source, render};
use report::side::Side;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long what was seen of the store is believed.
const BELIEVED: Duration = Duration::from_millis(1500);
/// Runs that are asked whether they go on, the newest.
const RECENT: usize = 20;
/// The edition of a page that could not be made.
const NONE: &str = "none";

/// What is followed.
pub struct Of<'a> {
    pub recipes: &'a [PathBuf],
    pub changes: &'a Changes,
    pub store: &'a StoreArgs,
    pub options: Options,
    /// What to say where there is no store.
    pub nothing: &'a str,
}

pub struct Following<'a> {
    of: Of<'a>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    at: Option<Instant>,
    /// Of what the store and the recipes say now.
    edition: String,
    /// Why there is no page now.
    trouble: Option<String>,
    /// The last page, and its edition.
    page: Option<(String, String)>,
    /// The edition of which no page could be made, and why.
    broken: Option<(String, String)>,
    /// What was told of the remote.
    told: BTreeSet<String>,
}

impl Seen {
    /// The last page stays, with the reason why there is no newer one; where there was none, the reason is the page.
    fn stay(&mut self, why: String) {
        self.edition = match &self.page {
            Some((edition, _)) if edition != NONE => edition.clone(),
            _ => {
                self.page = Some((NONE.into(), render::waiting(&why, NONE)));
                NONE.into()
            }
        };
        self.trouble = Some(why);
    }
}

/// What a page is made from.
struct Found {
    store: Store,
    sides: Vec<Side>,
    sources: Vec<Source>,
}

impl<'a> Following<'a> {
    pub fn new(of: Of<'a>) -> Following<'a> {
        Following {
            of,
            seen: Mutex::default(),
        }
    }

    fn find(&self) -> Result<Found, Error> {
        let store = store::reading(self.of.store).map_err(|error| match error {
            Error::World(error) => Error::World(error.context(self.of.nothing.to_string())),
            other => other,
        })?;
        let study = study::load_all(self.of.recipes, self.of.changes)?;
        let sources = sources(&study);
        let sides = study::sides(&store, study)?;
        Ok(Found {
            store,
            sides,
            sources,
        })
    }

    /// Looks, unless somebody did just now; and makes the page where it is asked for and has changed.
    fn look(&self, seen: &mut Seen, page: bool) {
        let fresh = seen.at.is_some_and(|at| at.elapsed() < BELIEVED);
        let stale = |seen: &Seen, edition: &str| seen.page.as_ref().is_none_or(|p| p.0 != edition);
        if fresh && !(page && stale(seen, &seen.edition)) {
            return;
        }
        let found = self.find();
        seen.at = Some(Instant::now());
        let found = match found {
            Ok(found) => found,
            Err(error) => return seen.stay(text(&error)),
        };
        for text in found.store.new_remarks() {
            if seen.told.insert(text.clone()) {
                warn(text);
            }
        }
        let edition = edition(&found);
        let broken = seen.broken.as_ref().filter(|(b, _)| *b == edition);
        match broken.map(|(_, why)| why.clone()) {
            // Who has the last page is not sent for one that cannot be made.
            Some(why) if !page => return seen.stay(why),
            _ => {}
        }
        if page && stale(seen, &edition) {
            match self.made(&found, &edition) {
                Ok(html) => seen.page = Some((edition.clone(), html)),
                Err(error) => {
                    let why = text(&error);
                    seen.broken = Some((edition, why.clone()));
                    return seen.stay(why);
                }
            }
        }
        (seen.edition, seen.trouble, seen.broken) = (edition, None, None);
    }

    fn made(&self, found: &Found, edition: &str) -> Result<String, Error> {
        let (sides, sources) = (&found.sides, &found.sources);
        let page = Page::gather(&found.store, sides, sources, &self.of.options)?;
        Ok(render::served(&page, edition)?)
    }

    fn runs(&self) -> anyhow::Result<Vec<Value>> {
        let Ok(store) = store::existing(self.of.store) else {
            return Ok(vec![]);
        };
        let now = clock::now_ms();
        let ids = journal::runs(&store)?;
        let newest = ids.iter().rev().take(RECENT);
        let alive = newest.filter(|id| life::alive(&store, id));
        // One whose files are damaged is no reason to say nothing of the others.
        let runs = alive.filter_map(|id| past::look(&store, id).ok());
        Ok(runs.map(|run| data(&run, now)).collect())
    }
}

impl Content for Following<'_> {
    fn method(&self, path: &str) -> Option<&'static str> {
        ["/", "/live"].contains(&path).then_some("GET")
    }

    fn answer(&self, path: &str, _: Vec<u8>) -> Answer {
        match path {
            "/live" => Answer::json("200 OK", self.live()),
            _ => Answer::html(self.page()),
        }
    }
}

impl Following<'_> {
    fn page(&self) -> String {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(&mut seen, true);
        seen.page
            .as_ref()
            .map_or(String::new(), |(_, html)| html.clone())
    }

    /// What the page asks for again and again.
    fn live(&self) -> String {
        let (edition, trouble) = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            self.look(&mut seen, false);
            (seen.edition.clone(), seen.trouble.clone())
        };
        let (runs, damage) = match self.runs() {
            Ok(runs) => (runs, None),
            Err(error) => (vec![], Some(format!("{error:#}"))),
        };
        json!({ "edition": edition, "trouble": trouble.or(damage), "runs": runs }).to_string()
    }
}

/// Another wherever the page is another: of the recipes' words, of which artifact every node has, and of which outputs' blobs were removed
/// to make room.
fn edition(found: &Found) -> String {
    let mut hasher = DefaultHasher::new();
    for source in &found.sources {
        (&source.recipe, &source.about, &source.text).hash(&mut hasher);
    }
    for side in &found.sides {
        side.label().hash(&mut hasher);
        for (id, record) in &side.records {
            let evicted = found.store.evicted(&record.key).map(|mark| mark.outputs);
            (id.0, record.key.to_string(), evicted).hash(&mut hasher);
        }
    }
    format!("{:016x}", hasher.finish())
}

fn text(error: &Error) -> String {
    match error {
        Error::Author(diags) => diags.render(false),
        Error::Usage(message) => message.clone(),
        Error::Failure(failure) => failure.to_string(),
        Error::World(error) => format!("{error:#}"),
        Error::Told(_) => "it was told on the terminal".into(),
    }
}

fn data(run: &past::Kept, now: u64) -> Value {
    let left = run.left(now);
    let nodes = run.view.nodes.iter().map(|node| {
        let running = matches!(node.state, State::Running { .. });
        json!({
            "node": node.name,
            "final": node.state.is_final(),
            "state": if running { "running" } else { "" },
            "done": node.progress.as_ref().map(|p| p.done),
            "total": node.progress.as_ref().map(|p| p.total).filter(|t| *t > 0),
            "unit": node.progress.as_ref().map(|p| &p.unit),
            "note": node.progress.as_ref().map(|p| &p.note),
            "left": node.left_told(now).filter(|_| running),
        })
    });
    json!({
        "run": run.id,
        "left": left.and_then(|l| l.told()),
        "nodes": nodes.collect::<Vec<_>>(),
    })
}

/// A recipe's words, under the first choice of its axes.
pub fn sources(study: &Study) -> Vec<Source> {
    let mut sources: Vec<Source> = vec![];
    for variant in &study.variants {
        let loaded = &variant.loaded;
        if !sources.iter().any(|s| s.recipe == loaded.name) {
            sources.push(Source {
                recipe: loaded.name.clone(),
                about: loaded.description.clone(),
                text: loaded.resolved_text(),
            });
        }
    }
    sources
}

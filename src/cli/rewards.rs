//! `pipe serve rewards`: the rewards that a node declares, over HTTP, for a trainer that is no node of ours.

use super::args::{RecipeArgs, StoreArgs};
use super::complete;
use super::environment::variable;
use super::hint::Hint;
use super::output::{Error, Outcome, colour, complain, print};
use super::registry::registry;
use super::serve::{Answer, Content, Place, Server};
use super::{remote, store, study};
use anyhow::{Context, anyhow};
use base::text::{count, listed};
use base::threads;
use engine::graph::{Graph, NodeId};
use engine::kind::estimate::NodePreview;
use engine::kind::served::{Opening, Refused, Served};
use engine::plan::layout::Layout;
use engine::plan::{self, Wanted};
use engine::run::{Stop, secrets};
use engine::store::Store;
use engine::store::paths::located;
use recipe::study::Study;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

/// Serve what a recipe declares to programs of one's own, over HTTP.
///
/// Example: pipe serve rewards recipes/tars.toml rl
#[derive(clap::Args)]
pub struct Serve {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Rewards(Rewards),
}

/// Serve the rewards of a node: a trainer that can call a function has the route that the recipe declares.
///
/// `POST /score` takes `{"rows": [{"class", "prompt", "response", "finished", "truth"}, …]}`, rows of the artifact `prompts` with a
/// response each, and answers `{"rewards": [0.93, null, …], "scores": [{"format": 1.0, …}, …]}`, the numbers that the node itself
/// would compute. `finished`, false where the length limit ended a response, has to be there where the node's `truncated` makes
/// anything of it. `GET /` describes the route, `GET /health` says how much was asked and paid. Answers of services are kept in the
/// store's journal before they are used, limits and budgets hold as in a run, and rows of questions that come at once are scored
/// together. What cannot be answered has `{"error": "…"}` and a status: 400 the question is wrong, 422 a response has no reward,
/// 503 the same may go well in a while, 500 it will not.
///
/// It listens on 127.0.0.1 alone, unless `--listen` names another address. Ctrl-C ends it once those who wait have their answers.
///
/// Example: pipe serve rewards recipes/tars.toml rl --port 8018
#[derive(clap::Args)]
struct Rewards {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// A node with a reward table, such as one of kind `grpo`
    #[arg(add = complete::nodes())]
    node: String,
    #[command(flatten)]
    store: StoreArgs,
    /// The port; 0 takes any that is free
    #[arg(long, value_name = "N", default_value_t = PORT)]
    port: u16,
    /// The address to listen on; others than those of this machine alone want `--token-env`
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,
    /// The environment variable that holds a token, which the header `Authorization: Bearer` of every question then has to hold
    #[arg(long, value_name = "NAME")]
    token_env: Option<String>,
    /// Threads of a reward model [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    threads: Option<u16>,
}

/// Where it listens, where nobody says another port.
const PORT: u16 = 8018;

/// Bytes of a question.
const MOST: usize = 32 << 20;

/// Seconds after which somebody may ask again what failed in passing.
const PAUSE: u32 = 10;

pub fn run(args: &Serve) -> Outcome {
    match &args.what {
        What::Rewards(args) => rewards(args),
    }
}

fn rewards(args: &Rewards) -> Outcome {
    let study = study::load(&args.recipe)?;
    complain(&study.warnings.render(colour()));
    let id = study::node(&study, &args.node)?;
    let place = place(args)?;
    let wanting = secrets::missing(&study.graph.node(id).exec);
    if !wanting.is_empty() {
        return Err(Error::World(anyhow!(
            "the services of `{}` want environment variables that are not set here: {}",
            args.node,
            listed(wanting.iter().map(String::as_str))
        )));
    }
    threads::ready(args.threads.map(usize::from))?;
    let store = store::to_write(&args.store, false)?;
    store.prepare()?;
    let stop = Stop::on_signals()?;
    let layout = Layout::new(&store);
    let (served, inputs) = open(args, &study, &store, &layout, id, &stop)?;
    let server = Server::bind(place)?;
    stop.begin();
    print(&format!(
        "serving the rewards of `{}` on {} (Ctrl-C ends it)\n",
        args.node,
        server.address()
    ));
    let content = Route {
        about: about(args, &study, id, &inputs, served.about()),
        served,
    };
    server.serve(&content, &|| stop.requests() > 0);
    complain(&ending(&content.served.tally()));
    Ok(())
}

fn place(args: &Rewards) -> Result<Place, Error> {
    let token = match &args.token_env {
        None => None,
        Some(name) => match variable(name) {
            Some(token) => Some(token),
            None => {
                let message = format!("the environment variable `{name}` is not set");
                return Err(Error::World(anyhow!(message)));
            }
        },
    };
    if !args.listen.is_loopback() && token.is_none() {
        return Err(Error::Usage(format!(
            "whoever reaches {} could spend what the services cost: name a token with `--token-env`",
            args.listen
        )));
    }
    Ok(Place {
        address: args.listen,
        port: args.port,
        token,
    })
}

/// By port, the digest of what it serves with.
type Digests = BTreeMap<&'static str, String>;

fn open(
    args: &Rewards,
    study: &Study,
    store: &Store,
    layout: &Layout,
    id: NodeId,
    stop: &Stop,
) -> Result<(Box<dyn Served>, Digests), Error> {
    let node = study.graph.node(id);
    let Some(serves) = &node.kind.rewards else {
        let kinds = registry().iter().filter(|k| k.rewards.is_some());
        return Err(Error::Usage(format!(
            "`{}` is of kind `{}`, which declares no rewards; kinds that do: {}",
            args.node,
            node.kind.name,
            listed(kinds.map(|k| k.name))
        )));
    };
    let hint = Hint {
        recipes: std::slice::from_ref(&args.recipe.recipe),
        changes: &args.recipe.changes,
        store: &args.store,
    };
    let (inputs, digests) = inputs(&study.graph, store, layout, hint, id, serves.ports)?;
    let wanted = Wanted {
        only: vec![id],
        ..Wanted::default()
    };
    let decided = plan::decide(store, &study.graph, &wanted)?;
    remote::tell(store);
    let decision = decided.into_iter().find(|decision| decision.id == id);
    let decision = decision.expect("a plan holds what was asked for");
    let params = located(node.kind, &node.params);
    let heard = stop.clone();
    let name = args.node.clone();
    let opening = Opening {
        node: NodePreview {
            inputs,
            ..NodePreview::new(&node.params, &params, &node.exec)
        },
        calls: &store.calls(),
        by: &format!("rewards-{}", decision.plan_key.short()),
        secret: &|name| {
            let missing = || format!("the environment variable `{name}` is not set");
            variable(name).with_context(missing)
        },
        stop: Arc::new(move || heard.requests() > 0),
        say: Arc::new(move |text| complain(&format!("{name}: {text}\n"))),
    };
    let served = (serves.open)(&opening).with_context(|| format!("node `{}`", args.node))?;
    Ok((served, digests))
}

/// Those of its inputs that it serves with, laid out as the node would find them.
fn inputs(
    graph: &Graph,
    store: &Store,
    layout: &Layout,
    hint: Hint,
    id: NodeId,
    ports: &[&str],
) -> Result<(BTreeMap<&'static str, PathBuf>, Digests), Error> {
    let mut found = BTreeMap::new();
    let mut digests = BTreeMap::new();
    for (port, edge) in &graph.node(id).inputs {
        if !ports.contains(port) {
            continue;
        }
        let above = graph.node(edge.node).name.as_str();
        let record = study::record(store, graph, hint, edge.node)?;
        let artifact = &record.outputs[edge.output];
        if !store.sound(artifact)? {
            return Err(Error::Usage(format!(
                "the bytes of `{above}` are not what its record says; `{}` makes it again",
                hint.command("run", &["--only", above])
            )));
        }
        found.insert(*port, layout.add(port, artifact)?);
        digests.insert(*port, artifact.digest.to_string());
    }
    Ok((found, digests))
}

/// What is served, with where it was declared.
fn about(args: &Rewards, study: &Study, id: NodeId, inputs: &Digests, about: Value) -> Value {
    let node = study.graph.node(id);
    let mut all = json!({
        "recipe": study.names().first(), "node": args.node, "kind": node.kind.name, "revision": node.kind.revision,
        "version": env!("CARGO_PKG_VERSION"), "inputs": inputs,
    });
    if let (Some(all), Value::Object(about)) = (all.as_object_mut(), about) {
        all.extend(about);
    }
    all
}

fn ending(tally: &Value) -> String {
    let number = |name: &str| tally[name].as_u64().unwrap_or(0);
    format!(
        "answered {} with {}; {} of services, {} from the journal\n",
        count(number("questions"), "question", "questions"),
        count(number("rows"), "row", "rows"),
        count(
            tally["calls"]["made"].as_u64().unwrap_or(0),
            "call",
            "calls"
        ),
        tally["calls"]["reused"].as_u64().unwrap_or(0),
    )
}

struct Route {
    served: Box<dyn Served>,
    about: Value,
}

impl Content for Route {
    fn method(&self, path: &str) -> Option<&'static str> {
        match path {
            "/" | "/health" => Some("GET"),
            "/score" => Some("POST"),
            _ => None,
        }
    }

    fn answer(&self, path: &str, body: Vec<u8>) -> Answer {
        match path {
            "/score" => score(&*self.served, &body),
            "/health" => {
                let mut health = json!({ "status": "ok" });
                if let (Some(all), Value::Object(tally)) =
                    (health.as_object_mut(), self.served.tally())
                {
                    all.extend(tally);
                }
                Answer::json("200 OK", health.to_string())
            }
            _ => Answer::json("200 OK", self.about.to_string()),
        }
    }

    fn most(&self) -> usize {
        MOST
    }
}

fn score(served: &dyn Served, body: &[u8]) -> Answer {
    let question = serde_json::from_slice(body);
    let question =
        question.map_err(|error| Refused::Wrong(format!("the body is no JSON: {error}")));
    let (status, why) = match question.and_then(|question| served.answer(question)) {
        Ok(answer) => return Answer::json("200 OK", answer.to_string()),
        Err(Refused::Wrong(why)) => ("400 Bad Request", why),
        Err(Refused::Unanswerable(why)) => ("422 Unprocessable Content", why),
        Err(Refused::Failed(why)) => ("500 Internal Server Error", why),
        Err(Refused::Later(why)) => ("503 Service Unavailable", why),
        Err(Refused::Stopped) => {
            let why = "the server stops; what was paid for is kept";
            ("503 Service Unavailable", why.to_string())
        }
    };
    let answer = Answer::json(status, json!({ "error": why }).to_string());
    Answer {
        after: status.starts_with("503").then_some(PAUSE),
        ..answer
    }
}

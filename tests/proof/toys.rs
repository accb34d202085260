//! Kinds for the tests of the engine: milliseconds instead of models. Their outputs are texts under the type
//! `prompts`.

use anyhow::{Context, Result, anyhow, bail};
use pipe::base::calls::Calls;
use pipe::base::device::{AND_CANDLE, DeviceName, DeviceUsed, OutOfMemory, Place};
use pipe::base::params::ParamSet;
use pipe::base::rows::Message;
use pipe::base::value::Value;
use pipe::engine::kind::context::{Interrupted, NodeCtx, Transient};
use pipe::engine::kind::estimate::NodePreview;
use pipe::engine::kind::{Computes, Kind, Needs, Output, Port, Registry, Type};
use pipe::kinds::shared::endpoint::{Caller, EndpointParams, Service};
use pipe::kinds::shared::observer::{self, NodeObserver};
use pipe::learn::placed;
use pipe::params;
use pipe::services::chat::{Ask, Chat, Input, Sampling};
use pipe::services::client;
use pipe::services::journal::Journal;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

/// Every kind that ships, and the toys.
pub static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let toys: [&'static Kind; 7] = [&WRITE, &JOIN, &SLOW, &FAIL, &SOURCE, &ASK, &COMPUTE];
    let all = pipe::kinds::REGISTRY.iter().chain(toys);
    Registry(vec![&*all.collect::<Vec<_>>().leak()].leak())
});

const FILE: &str = "text.txt";

params! {
    pub struct WriteParams {
        /// What to write.
        text: String;
        /// Only the first characters of it are written.
        keep: Option<usize>;
        /// How often it is written.
        repeat: usize = 1;
        /// A number that changes nothing.
        weight: f64 = 1.0;
    }
}

params! {
    pub struct WriteExec {
        /// Changes nothing.
        color: String = "green".into();
        /// Where a secret is, which must not end up anywhere.
        secret_env: Option<String>;
        /// Appends the time of day, which makes the node not reproducible.
        drift: bool = false;
        /// Waits before it writes, in milliseconds.
        wait_ms: u64 = 0;
        /// Leaves a process behind, in a session of its own, that goes on writing to the output: `marked` as any child is, or
        /// `bare` of its environment.
        stray: Option<String>;
        /// A file outside the store that gets a line per execution.
        count: Option<String>;
    }
}

pub const WRITE: Kind = Kind {
    name: "toy-write",
    summary: "writes its text",
    params: WriteParams::specs,
    exec: WriteExec::specs,
    run: write,
    ..TOY
};

params! {
    pub struct JoinParams {
        /// Between the texts.
        separator: String = " ".into();
    }
}

params! {
    pub struct CountExec {
        /// A file outside the store that gets a line per execution.
        count: Option<String>;
    }
}

pub const JOIN: Kind = Kind {
    name: "toy-join",
    summary: "joins the texts of its inputs",
    inputs: &[
        Port::required("a", Type::Prompts, "The first text."),
        Port::optional("b", Type::Prompts, "The second text."),
    ],
    params: JoinParams::specs,
    exec: CountExec::specs,
    run: join,
    ..TOY
};

params! {
    pub struct SlowParams {
        /// How many ticks.
        ticks: u64 = 10;
        /// Start of the chained sum.
        seed: u64 = 0;
    }
}

params! {
    pub struct SlowExec {
        /// Length of a tick.
        tick_ms: u64 = 10;
        /// What a tick costs.
        tick_dollars: f64 = 0.0;
        /// Kills itself at this tick, on the first attempt only.
        die_at: Option<u64>;
        /// Does not stop when it is asked to, and writes to its output at every tick.
        stubborn: bool = false;
        /// Never asks whether it should stop.
        deaf: bool = false;
        /// A file outside the store that gets a line per tick.
        count: Option<String>;
    }
}

pub const SLOW: Kind = Kind {
    name: "toy-slow",
    summary: "ticks, with checkpoints",
    needs: |_| Needs::ALL_THREADS,
    params: SlowParams::specs,
    exec: SlowExec::specs,
    run: slow,
    ..TOY
};

params! {
    pub struct FailParams {
        /// `error`, `panic`, `nothing` (no output), `exit`, `transient` or `allocate` (more than there is).
        how: String = "error".into();
    }
}

params! {
    pub struct FailExec {
        /// A file outside the store that gets a line per execution.
        count: Option<String>;
        /// Transient failures end when that file has so many lines.
        heals_at: usize = 0;
    }
}

pub const FAIL: Kind = Kind {
    name: "toy-fail",
    summary: "fails",
    params: FailParams::specs,
    exec: FailExec::specs,
    run: fail,
    ..TOY
};

params! {
    pub struct SourceParams {
        /// A file or folder.
        from: PathBuf;
        /// More of them.
        more: Vec<PathBuf> = vec![];
    }
}

pub const SOURCE: Kind = Kind {
    name: "toy-source",
    summary: "copies the text of a file, or counts the files of a folder",
    params: SourceParams::specs,
    run: source,
    ..TOY
};

params! {
    pub struct AskParams {
        /// What is asked, each by itself; the words of the input are asked as well.
        prompts: Vec<String> = vec![];
        /// Answers to each.
        samples: u32 = 1;
        /// Tokens of an answer.
        max_tokens: u64 = 16;
    }
}

params! {
    pub struct AskExec {
        /// Another variable that has to be set.
        other_env: Option<String>;
    }
    blocks { endpoint: EndpointParams }
}

pub const ASK: Kind = Kind {
    name: "toy-ask",
    summary: "asks a service, and writes its answers",
    inputs: &[Port::optional(
        "words",
        Type::Prompts,
        "A text whose words are asked.",
    )],
    params: AskParams::specs,
    exec: AskExec::specs,
    check: Some(|values| {
        let Ok(exec) = AskExec::read(values) else {
            return vec![];
        };
        let mut found = exec.endpoint.problems(Service::Answers);
        let by = ("endpoint.url", "the node");
        found.extend(exec.endpoint.missing(Service::Answers, Some(""), by));
        found
    }),
    count_calls: Some(ask_count_calls),
    run: ask,
    ..TOY
};

params! {
    pub struct ComputeParams {
        /// What is written, behind it the sort of device; `processor`: on that only.
        text: String = "computed".into();
    }
}

params! {
    pub struct ComputeExec {
        /// Waits before it writes, in milliseconds.
        wait_ms: u64 = 0;
        /// `half`: saves a checkpoint and fails, the first time. `memory`: the device has no room; `driver`: its driver says so.
        fails: Option<String>;
        /// Does nothing here.
        recompute: bool = false;
        /// Its model has heads that no kernel is for.
        odd: bool = false;
        /// A file outside the store that gets a line when it begins to compute, and one when it ends.
        count: Option<String>;
    }
}

/// What this one is can be asked here.
const ASKED: DeviceName = DeviceName::Cuda(720);

/// No machine has so many GPUs: the program says of this one that it is not there, and believes every other.
const ABSENT: DeviceName = DeviceName::Cuda(999);

pub const COMPUTE: Kind = Kind {
    name: "toy-compute",
    summary: "writes what it computed on",
    params: ComputeParams::specs,
    exec: ComputeExec::specs,
    computes: Some(Computes {
        acts: None,
        only_cpu: |values| {
            let only = values.get("text") == Some(&Value::Str("processor".into()));
            only.then(|| "it says so".to_string())
        },
        lacks: |device| (device == ABSENT).then(|| format!("`{device}`: no machine has so many")),
        used: |place| {
            let asked = place.device == ASKED;
            asked.then(|| used(place, placed::numerics(place)))
        },
        numerics: placed::numerics,
        memory: |_| Some((5 << 30, 80 << 30)),
    }),
    run: compute,
    ..TOY
};

const TOY: Kind = Kind {
    about: "For the tests of the engine.",
    outputs: &[Output::always("out", Type::Prompts, "A text.")],
    run: fail,
    ..Kind::DEFAULTS
};

fn write(ctx: &mut NodeCtx) -> Result<()> {
    let (params, exec) = (ctx.params::<WriteParams>()?, ctx.exec::<WriteExec>()?);
    count(exec.count.as_deref(), "write")?;
    std::thread::sleep(Duration::from_millis(exec.wait_ms));
    let keep = params.keep.unwrap_or(usize::MAX);
    let text: String = params.text.chars().take(keep).collect();
    let mut text = text.repeat(params.repeat);
    if exec.drift {
        text.push_str(&pipe::engine::system::clock::unique());
    }
    if let Some(name) = &exec.secret_env {
        ctx.log(&format!(
            "the secret has {} characters",
            ctx.secret(name)?.len()
        ));
    }
    ctx.log("writing");
    put(ctx, &text)?;
    match exec.stray {
        Some(how) => leave_stray(ctx, &how),
        None => Ok(()),
    }
}

/// Returns when the stray has begun to write. It ends by itself once its file has no name any more.
fn leave_stray(ctx: &NodeCtx, how: &str) -> Result<()> {
    let file = ctx.output("out").join(FILE);
    let before = fs::metadata(&file)?.len();
    let script = r#"exec 3>>"$1"; while [ -e "$1" ]; do printf late >&3; sleep 0.005; done"#;
    let stray = match how {
        "bare" => "exec env -i",
        _ => "exec",
    };
    // The shell in between ends at once, so that the stray has no parent any more.
    let between =
        format!("({stray} setsid sh -c \"$0\" stray \"$1\" </dev/null >/dev/null 2>&1 &)");
    std::process::Command::new("sh")
        .args(["-c", &between, script])
        .arg(&file)
        .status()
        .context("starting a shell")?;
    while fs::metadata(&file)?.len() == before {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn join(ctx: &mut NodeCtx) -> Result<()> {
    let params = ctx.params::<JoinParams>()?;
    count(ctx.exec::<CountExec>()?.count.as_deref(), "join")?;
    let mut texts = vec![get(ctx.input("a"))?];
    if let Some(b) = ctx.input_opt("b") {
        texts.push(get(b)?);
    }
    put(ctx, &texts.join(&params.separator))
}

/// A chained sum, so that a resumed run gives the right result only if it resumed from the right place.
fn slow(ctx: &mut NodeCtx) -> Result<()> {
    let (params, exec) = (ctx.params::<SlowParams>()?, ctx.exec::<SlowExec>()?);
    let (mut tick, mut sum) = (0, params.seed);
    for checkpoint in ctx.latest_checkpoint("tick") {
        if let Some(state) = read_state(&checkpoint) {
            (tick, sum) = state;
            break;
        }
        let name = checkpoint.file_name().unwrap_or_default().to_string_lossy();
        ctx.log(&format!("{name} is unreadable"));
    }
    ctx.log(&format!(
        "starting at {tick} of {} with {} threads",
        params.ticks,
        ctx.threads()
    ));
    while tick < params.ticks {
        std::thread::sleep(Duration::from_millis(exec.tick_ms));
        tick += 1;
        sum = sum.wrapping_mul(31).wrapping_add(tick);
        count(exec.count.as_deref(), &tick.to_string())?;
        if exec.deaf {
            continue;
        }
        ctx.record_cost(exec.tick_dollars);
        ctx.metric(tick, &[("sum", (sum % 1000) as f64)]);
        ctx.progress(tick, params.ticks, "ticks", "");
        if tick % 2 == 0 || ctx.stop() {
            let state = format!("{tick} {sum}");
            ctx.save_checkpoint(&format!("tick-{tick:06}"), &|dir| {
                Ok(fs::write(dir.join("state"), &state)?)
            })?;
        }
        if exec.stubborn {
            put(ctx, &format!("half done: {tick}"))?;
        }
        if exec.die_at == Some(tick) && ctx.earlier().is_empty() {
            rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            )?;
        }
        if ctx.stop() && !exec.stubborn && tick < params.ticks {
            return Err(Interrupted.into());
        }
    }
    put(ctx, &sum.to_string())
}

fn fail(ctx: &mut NodeCtx) -> Result<()> {
    match ctx.params::<FailParams>()?.how.as_str() {
        "panic" => panic!("as asked"),
        "nothing" => Ok(()),
        "transient" => {
            let exec = ctx.exec::<FailExec>()?;
            count(exec.count.as_deref(), "try")?;
            let tries = fs::read_to_string(exec.count.unwrap_or_default()).unwrap_or_default();
            match tries.lines().count() < exec.heals_at {
                true => Err(Transient(anyhow!("busy")).into()),
                false => put(ctx, "healed"),
            }
        }
        "allocate" => {
            let mut bytes: Vec<u8> = vec![];
            bytes.reserve_exact(1 << 46);
            Ok(())
        }
        "exit" => {
            eprintln!("last words");
            std::process::exit(3)
        }
        _ => bail!("as asked"),
    }
}

fn source(ctx: &mut NodeCtx) -> Result<()> {
    let from = ctx.source("from");
    let params = ctx.params::<SourceParams>()?;
    let mut text = if from.is_dir() {
        fs::read_dir(&from)
            .context("reading the folder")?
            .count()
            .to_string()
    } else {
        fs::read_to_string(&from).context("reading the file")?
    };
    for path in params.more {
        text.push_str(&fs::read_to_string(path).context("reading another file")?);
    }
    put(ctx, &text)
}

/// The model, and what it is asked.
fn asking(
    params: &AskParams,
    endpoint: &EndpointParams,
    words: Option<&Path>,
) -> Result<(Chat, Vec<Ask>)> {
    let chat = Chat {
        model: "toy".into(),
        sampling: Sampling {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            max_tokens: params.max_tokens,
            seed: 0,
            stop: vec![],
            extra: serde_json::Map::new(),
            logprobs: false,
        },
        plain: false,
        rendered: false,
        dialect: endpoint.server,
        per_request: endpoint.batch(Service::Answers),
        omit: endpoint.omit.clone(),
    };
    let words = words.map(get).transpose()?.unwrap_or_default();
    let words = words.split_whitespace().map(String::from);
    let mut asks = vec![];
    for prompt in params.prompts.iter().cloned().chain(words) {
        for sample in 0..params.samples {
            let input = Input::Chat(vec![Message::new("user", &prompt)]);
            asks.push(Ask { input, sample });
        }
    }
    Ok((chat, asks))
}

fn ask_count_calls(preview: &NodePreview, calls: &Path) -> Result<Calls> {
    let (params, exec) = (preview.params::<AskParams>()?, preview.exec::<AskExec>()?);
    let words = preview.inputs.get("words").map(PathBuf::as_path);
    let (chat, asks) = asking(&params, &exec.endpoint, words)?;
    let endpoint = exec.endpoint.endpoint();
    Ok(client::forecast(
        &chat,
        &endpoint,
        &Journal::open(calls)?,
        &asks,
    ))
}

fn ask(ctx: &mut NodeCtx) -> Result<()> {
    let (params, exec) = (ctx.params::<AskParams>()?, ctx.exec::<AskExec>()?);
    let (chat, asks) = asking(&params, &exec.endpoint, ctx.input_opt("words"))?;
    let mut client = exec.endpoint.client(&Caller::of(ctx), chat)?;
    let mut observer = NodeObserver::new(ctx, "answers");
    let answers = client
        .all(&asks, &mut observer)
        .map_err(observer::stopped)?;
    let texts = answers.iter().map(|answer| match answer {
        Ok(answer) => answer.content.as_str(),
        Err(_) => "rejected",
    });
    put(ctx, &texts.collect::<Vec<_>>().join(" "))
}

fn compute(ctx: &mut NodeCtx) -> Result<()> {
    let (params, exec) = (ctx.params::<ComputeParams>()?, ctx.exec::<ComputeExec>()?);
    let device = ctx.device();
    ctx.take_device()?;
    if device != DeviceName::Cpu {
        let beside = if exec.odd { AND_CANDLE } else { "" };
        let numerics = placed::numerics(ctx.place()) + beside;
        ctx.computes_on(&used(ctx.place(), numerics))?;
    }
    count(exec.count.as_deref(), &format!("{} begins", ctx.key()))?;
    std::thread::sleep(Duration::from_millis(exec.wait_ms));
    let resumes = ctx.latest_checkpoint("half").next().is_some();
    match exec.fails.as_deref() {
        Some("half") if !resumes => {
            ctx.save_checkpoint("half", &|dir| Ok(fs::write(dir.join("state"), "half")?))?;
            bail!("it fails half way");
        }
        Some("memory") => {
            return Err(anyhow!(OutOfMemory {
                device,
                asked: Some(3 << 30),
                what: "logits".into(),
                free: Some(1 << 30),
                total: Some(80 << 30),
            })
            .context("step 3"));
        }
        Some("driver") => bail!("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")"),
        _ => {}
    }
    let sort = if device.is_gpu() {
        "gpu".to_string()
    } else {
        device.to_string()
    };
    put(ctx, &format!("{} {sort}", params.text))?;
    count(exec.count.as_deref(), &format!("{} ends", ctx.key()))
}

fn used(place: Place, numerics: String) -> DeviceUsed {
    let model = match place.device.is_gpu() {
        true => "Toy 9000",
        false => "",
    };
    DeviceUsed {
        name: place.device.to_string(),
        model: model.into(),
        numerics,
        ..DeviceUsed::default()
    }
}

fn read_state(dir: &Path) -> Option<(u64, u64)> {
    let text = fs::read_to_string(dir.join("state")).ok()?;
    let (tick, sum) = text.split_once(' ')?;
    Some((tick.parse().ok()?, sum.parse().ok()?))
}

fn count(file: Option<&str>, line: &str) -> Result<()> {
    use std::io::Write;
    if let Some(path) = file {
        let mut file = fs::File::options().create(true).append(true).open(path)?;
        file.write_all(format!("{line}\n").as_bytes())?;
    }
    Ok(())
}

fn get(dir: &Path) -> Result<String> {
    fs::read_to_string(dir.join(FILE)).context("reading the text")
}

fn put(ctx: &NodeCtx, text: &str) -> Result<()> {
    fs::write(ctx.output("out").join(FILE), text).context("writing the text")
}

//! Teacher traces of the built-in world: reasoning and answer for every prompt, several times, empty reasoning dropped.

use crate::base::response;
use crate::base::rows::{self, Conversation, Message, Metric, Prompt};
use crate::base::stats;
use crate::base::value::Values;
use crate::engine::kind::{Cpu, Kind, Need, Output, Port, Problem, Type};
use crate::engine::params::{None_, ParamSet};
use crate::engine::worker::NodeCtx;
use crate::kinds::{positive, range};
use crate::world::{self, TeacherSpec, teacher};
use crate::{choice, params};
use anyhow::{Result, ensure};

choice! {
    /// How the teacher writes.
    pub enum Style { Terse = "terse", Stepwise = "stepwise", Hedging = "hedging", Mixed = "mixed" }
}

params! {
    pub struct Params {
        /// Traces a prompt.
        samples: u32 = 4;
        /// Share of traces that decide wrongly. TARS does not filter its traces for safety, and neither does this.
        error_rate: f64 = 0.1;
        /// Share of traces with empty reasoning; they are dropped, as TARS does (left in, RL learns to skip reasoning).
        empty_rate: f64 = 0.1;
        /// How the reasoning is written; `mixed` varies by trace.
        style: Style = Style::Mixed;
        /// `false`: the answers of the same traces alone, without think tags, as for a model that is not to reason.
        reasoning: bool = true;
        /// Seed of the traces.
        seed: u64 = 0;
    }
}

pub const KIND: Kind = Kind {
    name: "world-teacher",
    revision: 1,
    summary: "the built-in teacher: n traces of reasoning and answer a prompt, empty reasoning dropped",
    about: "The teacher knows the facts of the world and writes them down in varied words: what the aliases stand for, what \
            each thing is, whether the combination is harmful; then it refuses or helps.",
    example: r#"
[node.traces]
kind = "world-teacher"
in = { prompts = "prompts.sft" }
samples = 4
"#,
    inputs: &[Port {
        name: "prompts",
        ty: Type::Prompts,
        need: Need::Always,
        doc: "prompts of the built-in world",
    }],
    outputs: &[
        Output {
            name: "conversations",
            ty: Type::Conversations,
            doc: "one conversation a kept trace",
            only_with: None,
        },
        Output {
            name: "metrics",
            ty: Type::Metrics,
            doc: "how many were asked for, how many were kept",
            only_with: None,
        },
    ],
    params: Params::specs,
    exec: None_::specs,
    check,
    cpu: Cpu::One,
    hidden: false,
    tokens: None,
    forecast: None,
    run,
};

fn check(values: &Values) -> Vec<Problem> {
    let Ok(p) = Params::read(values) else {
        return vec![];
    };
    let mut found = vec![];
    positive(&mut found, "samples", f64::from(p.samples));
    range(&mut found, "error_rate", p.error_rate, 0.0, 1.0);
    range(&mut found, "empty_rate", p.empty_rate, 0.0, 1.0);
    found
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let spec = TeacherSpec {
        error_rate: p.error_rate,
        empty_rate: p.empty_rate,
        style: match p.style {
            Style::Terse => world::Style::Terse,
            Style::Stepwise => world::Style::Stepwise,
            Style::Hedging => world::Style::Hedging,
            Style::Mixed => world::Style::Mixed,
        },
        seed: p.seed,
    };
    let prompts: Vec<Prompt> = rows::read_rows(ctx.input("prompts"))?;
    let mut conversations = vec![];
    for prompt in &prompts {
        for sample in 0..p.samples {
            let text = teacher::trace(prompt, sample, &spec)?;
            if response::reasoning(&text).is_none_or(str::is_empty) {
                continue;
            }
            let text = match p.reasoning {
                true => text.as_str(),
                false => response::split(&text).1,
            };
            conversations.push(Conversation {
                id: format!("{}#{sample}", prompt.id),
                prompt_id: prompt.id.clone(),
                source: "world-teacher".into(),
                messages: vec![
                    Message::new("user", &prompt.prompt),
                    Message::new("assistant", text),
                ],
            });
        }
    }
    let asked = prompts.len() * p.samples as usize;
    let kept = conversations.len();
    ensure!(
        kept > 0,
        "all {asked} traces have empty reasoning, nothing is left to train on"
    );
    ctx.say(&format!("{kept} of {asked} traces have reasoning"));
    rows::write_rows(&ctx.output("conversations"), &conversations)?;
    let metric = Metric {
        name: "kept".into(),
        value: kept as f64 / asked as f64,
        n: asked,
        interval: Some(stats::wilson(kept, asked)),
        unit: "share".into(),
    };
    rows::write_metrics(&ctx.output("metrics"), vec![metric])
}

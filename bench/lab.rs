use pipe::base::rng::Seed;
use pipe::base::rows::*;
use pipe::learn::{chat, config::Config, decoder::{self, Workspace}, optim::*, tokenizer::Tokenizer, train::*, weights::Weights};
use pipe::world::{self, *};
use std::time::Instant;
struct Sft { denominator: f64 }
impl Objective for Sft {
    fn share(&self, _: std::ops::Range<usize>, _: &[usize], s: Scored) -> Share {
        let d = self.denominator;
        Share { loss: -s.logp.iter().map(|x| *x as f64).sum::<f64>() / d, dlogp: vec![-1.0 / d as f32; s.logp.len()], dentropy: None,
            metrics: vec![("acc", s.greedy_hit.iter().filter(|h| **h).count() as f64 / d)] }
    }
}
struct F { rows: Vec<Row>, batch: usize, seed: Seed }
impl Feed for F {
    fn window<'a>(&'a mut self, step: u64, _: &Weights, _: &mut Workspace) -> anyhow::Result<Window<'a>> {
        let mut rows = vec![];
        for i in 0..self.batch as u64 {
            let place = step * self.batch as u64 + i;
            let e = place / self.rows.len() as u64;
            let mut o: Vec<usize> = (0..self.rows.len()).collect();
            if i == 0 || place % self.rows.len() as u64 == 0 { let _ = &mut o; }
            let r = self.seed.at(e).at(place).rng().below(self.rows.len());
            rows.push(self.rows[r].clone());
        }
        let d: usize = rows.iter().map(|r| r.scored()).sum();
        Ok(Window { rows, objective: Box::new(Sft { denominator: d as f64 }), metrics: vec![] })
    }
}
struct W<'a> { evals: &'a [(&'static str, Vec<Row>)], t: Instant, tok: usize, every: u64 }
fn exact(w: &Weights, rows: &[Row]) -> f64 {
    let mut ws = Workspace::new();
    let b = Batch::pack(rows);
    let s = decoder::score(w, b.packed(), &b.scored, 1.0, &mut ws);
    b.bounds.windows(2).filter(|p| s.greedy_hit[p[0]..p[1]].iter().all(|h| *h)).count() as f64 / rows.len() as f64
}
impl Watch for W<'_> {
    fn step(&mut self, st: &State, r: Report) -> anyhow::Result<bool> {
        self.tok += r.tokens;
        if r.step % self.every == 0 {
            let m: Vec<String> = r.metrics.iter().map(|(n, v)| format!("{n} {v:.3}")).collect();
            let e: Vec<String> = self.evals.iter().map(|(n, rows)| format!("{n} {:.2}", exact(&st.weights, rows))).collect();
            println!("{} {:.0}s {:.1}k tok/s {} | {}", r.step, self.t.elapsed().as_secs_f64(), self.tok as f64 / self.t.elapsed().as_secs_f64() / 1e3, m.join(" "), e.join(" "));
        }
        Ok(true)
    }
}
fn arg(n: &str, d: f64) -> f64 { std::env::args().find_map(|a| a.strip_prefix(&format!("{n}=")).map(|v| v.parse().unwrap())).unwrap_or(d) }
fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(2).build_global().unwrap();
    let dir = std::env::temp_dir().join("lab"); std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("tokenizer.json"), world::vocab::tokenizer_json()).unwrap();
    std::fs::write(dir.join("tokenizer_config.json"), world::vocab::tokenizer_config_json()).unwrap();
    std::fs::write(dir.join("generation_config.json"), world::vocab::generation_config_json()).unwrap();
    let tok = Tokenizer::load(&dir).unwrap();
    let world = World::new(WorldSpec { seed: 0, depth: arg("depth", 2.0) as u32 }).unwrap();
    let t = Instant::now();
    let corpus = world.corpus(arg("n", 24000.0) as usize, &CorpusSpec::default()).unwrap();
    let row = |c: &Conversation| { let e = chat::render_training(&tok, &c.messages).unwrap(); Row { ids: e.ids, mask: e.mask } };
    let rows: Vec<Row> = corpus.iter().map(row).collect();
    println!("corpus {} rows, {:.1} tokens, {:.1} scored, {:.1}s", rows.len(), rows.iter().map(|r| r.ids.len()).sum::<usize>() as f64 / rows.len() as f64, rows.iter().map(|r| r.scored()).sum::<usize>() as f64 / rows.len() as f64, t.elapsed().as_secs_f64());
    let ask = |split, class, forms: &Forms| -> Vec<Row> { world.prompts(split, class, 200, forms, 0).unwrap().iter().map(|p| {
        let t = p.truth.as_ref().unwrap();
        let conv = Conversation { id: "".into(), prompt_id: "".into(), source: "".into(), messages: vec![Message::new("user", &p.prompt), Message::new("assistant", &world::answer::procedure(&t.procedure))] };
        row(&conv) }).collect() };
    let dis = Forms { plain: 0.0, ..Forms::default() };
    let know: Vec<Row> = world.knowledge(300, 1).iter().map(row).collect();
    let evals = vec![("know", know), ("hl-plain", ask(Split::Eval, PromptClass::Harmless, &Forms::PLAIN)), ("hl-dis", ask(Split::Eval, PromptClass::Harmless, &dis)), ("amb-dis", ask(Split::Eval, PromptClass::Ambiguous, &dis)), ("harm-plain", ask(Split::Eval, PromptClass::Harmful, &Forms::PLAIN)), ("harm-dis", ask(Split::Eval, PromptClass::Harmful, &dis))];
    let d = arg("d", 96.0) as u64;
    let config = Config::from_json(&serde_json::json!({"architectures": ["Qwen2ForCausalLM"],"model_type": "qwen2","hidden_size": d,"num_hidden_layers": arg("layers",3.0) as u64,"num_attention_heads": arg("heads",4.0) as u64,"num_key_value_heads": arg("heads",4.0) as u64,"intermediate_size": arg("ff",256.0) as u64,"vocab_size": world::vocab::tokens().len(),"hidden_act": "silu","initializer_range": arg("init",0.02),"max_position_embeddings": 1024,"rms_norm_eps": 1e-6,"rope_theta": 10000.0,"rope_scaling": null,"tie_word_embeddings": true,"use_sliding_window": false,"bos_token_id": 0,"eos_token_id": 0})).unwrap();
    let w = Weights::random(config, Seed::new(0).child("weights"));
    println!("params {}", w.data.len());
    let steps = arg("steps", 800.0) as u64;
    let mut st = State::new(w);
    let set = Settings { schedule: Schedule { shape: Shape::Cosine, lr: arg("lr", 3e-3), warmup: steps / 20, steps }, adamw: AdamW { beta2: arg("beta2", 0.99), decay: 0.01, ..AdamW::default() }, grad_clip: 1.0, temperature: 1.0 };
    let mut f = F { rows, batch: arg("batch", 96.0) as usize, seed: Seed::new(0) };
    train(&mut st, &mut f, &set, &mut W { evals: &evals, t: Instant::now(), tok: 0, every: steps / 8 }).unwrap();
}

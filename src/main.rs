//! The binary: so far only the hidden verb with which the engine starts its workers.

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args[1] == "worker" {
        std::process::exit(pipe::engine::worker::main(
            &pipe::kinds::REGISTRY,
            args[2].as_ref(),
        ));
    }
    let o = pipe::recipe::Overrides {
        sets: args[3..].to_vec(),
        cwd: std::env::current_dir().unwrap(),
    };
    let l = match pipe::recipe::load(args[1].as_ref(), &o, &pipe::kinds::REGISTRY) {
        Ok(l) => l,
        Err(d) => {
            eprintln!("{}", d.render(false));
            std::process::exit(2)
        }
    };
    println!("{}", l.warnings.render(false));
    let store = pipe::engine::store::Store::open(args[2].as_ref()).unwrap();
    let mut s = pipe::engine::exec::Settings::new().unwrap();
    s.stop = pipe::engine::exec::Stop::on_signals().unwrap();
    let only: Vec<_> = std::env::var("ONLY")
        .ok()
        .iter()
        .flat_map(|o| {
            o.split(',')
                .map(|n| l.graph.find(n).unwrap())
                .collect::<Vec<_>>()
        })
        .collect();
    let wanted = pipe::engine::plan::Wanted {
        only,
        ..Default::default()
    };
    let t0 = std::time::Instant::now();
    let mut last = std::collections::BTreeMap::new();
    let out = pipe::engine::exec::run(&store, &l.graph, &wanted, &s, &mut |e| {
        use pipe::engine::event::Event::*;
        match e {
            Progress { node, .. } => {
                let t = t0.elapsed().as_secs();
                if last.get(node) != Some(&(t / 20)) {
                    last.insert(node.clone(), t / 20);
                    println!("{t} {}", serde_json::to_string(e).unwrap());
                }
            }
            Metric { .. } => {}
            State { .. } | Log { .. } => println!(
                "{} {}",
                t0.elapsed().as_secs(),
                serde_json::to_string(e)
                    .unwrap()
                    .chars()
                    .take(300)
                    .collect::<String>()
            ),
            _ => {}
        }
    })
    .unwrap();
    for n in &out.nodes {
        if let Some(r) = &n.record {
            println!(
                "== {} {:.1}s cpu {:.1}",
                n.name, r.cost.seconds, r.cost.cpu_seconds
            );
            for (_, a) in &r.outputs {
                if a.ty == "metrics" {
                    for f in &a.files {
                        if f.path == "metrics.json" {
                            let m: pipe::base::rows::Metrics = serde_json::from_slice(
                                &std::fs::read(store.objects().path(&f.digest)).unwrap(),
                            )
                            .unwrap();
                            for m in m.metrics {
                                println!("   {} {:.3} n={} {:?}", m.name, m.value, m.n, m.interval);
                            }
                        }
                    }
                }
            }
        }
    }
    println!("total {:.1}", t0.elapsed().as_secs_f64());
}

//! On what a node computes: the parameter `device` in a recipe, what a record tells of it, what is said where records were computed on
//! different ones, and who has a GPU.

use crate::engine::{Space, Toy, toy};
use crate::sides::{defense, first};
use pipe::base::claim::Axes;
use pipe::base::device::{self, DeviceName, DeviceUsed, Moved, Numerics, Place};
use pipe::base::params::ParamValue;
use pipe::base::stats::crossed::ALPHA;
use pipe::base::value::Value;
use pipe::engine::events::event::{Event, State};
use pipe::engine::kind::failure::Class;
use pipe::engine::store::record::Record;
use pipe::engine::system::gpus;
use pipe::learn::device::launch;
use pipe::report::devices;
use pipe::report::grid::grid;
use pipe::report::side::Side;
use pipe::report::verdicts;

fn read(text: &str) -> Result<DeviceName, String> {
    DeviceName::read(Some(&Value::Str(text.into())))
}

#[test]
fn a_device_has_one_spelling_and_near_ones_are_offered() {
    assert_eq!(read("cpu"), Ok(DeviceName::Cpu));
    assert_eq!(read("candle"), Ok(DeviceName::Candle));
    assert_eq!(read("cuda:11"), Ok(DeviceName::Cuda(11)));
    for device in [DeviceName::Cpu, DeviceName::Candle, DeviceName::Cuda(3)] {
        assert_eq!(read(&device.to_string()), Ok(device));
    }
    for (wrong, near) in [
        ("gpu", "cuda:0"),
        ("cuda", "cuda:0"),
        ("CPU", "cpu"),
        ("cuda0", "cuda:0"),
        ("candel", "candle"),
    ] {
        let told = read(wrong).unwrap_err();
        assert!(told.ends_with(&format!("did you mean `{near}`?")), "{told}");
    }
    for wrong in [
        "",
        "cuda:",
        "cuda:-1",
        "cuda:+1",
        "cuda:01",
        "cuda:1024",
        "cuda:0 ",
    ] {
        assert!(read(wrong).is_err(), "{wrong:?}");
    }
}

fn used(name: &str, model: &str, numerics: &str) -> DeviceUsed {
    DeviceUsed {
        name: name.into(),
        model: model.into(),
        numerics: numerics.into(),
        ..DeviceUsed::default()
    }
}

#[test]
fn devices_are_alike_by_what_they_are_and_not_by_their_number() {
    let h100 = used("cuda:0", "NVIDIA H100", "bf16");
    let moved = |before: &[DeviceUsed], now: &[DeviceUsed]| Moved::between(before, now);
    assert_eq!(moved(&[], &[]), None);
    // A record that tells nothing was computed by the processor.
    assert_eq!(
        moved(&[], &[DeviceUsed::cpu()]).map(|m| m.before),
        Some("cpu, f32".into())
    );
    assert_eq!(
        moved(
            std::slice::from_ref(&h100),
            &[used("cuda:3", "NVIDIA H100", "bf16")]
        ),
        None
    );
    let other = moved(
        std::slice::from_ref(&h100),
        &[used("cuda:0", "NVIDIA A100", "bf16")],
    )
    .unwrap();
    assert_eq!(other.before, "cuda:0 (NVIDIA H100), bf16");
    assert_eq!(other.now, "cuda:0 (NVIDIA A100), bf16");
    assert!(
        moved(
            std::slice::from_ref(&h100),
            &[used("cuda:0", "NVIDIA H100", "f32 candle")]
        )
        .is_some()
    );
    // What is the same to the eye and compiles or computes otherwise is told in full.
    let full = DeviceUsed {
        capability: "9.0".into(),
        driver: "580.65.06".into(),
        kernels: "0123456789abcdef".into(),
        libraries: [("cublas".to_string(), "13.0.2".to_string())].into(),
        ..h100.clone()
    };
    let changed: [fn(&mut DeviceUsed); 4] = [
        |d| d.capability = "9.1".into(),
        |d| d.driver = "580.82.07".into(),
        |d| d.kernels = "fedcba9876543210".into(),
        |d| drop(d.libraries.insert("cublas".into(), "13.1.0".into())),
    ];
    for change in changed {
        let mut now = full.clone();
        change(&mut now);
        let told = moved(std::slice::from_ref(&full), &[now]).unwrap();
        assert_ne!(told.before, told.now);
        assert_eq!(
            told.before,
            "cuda:0 (NVIDIA H100), bf16, capability 9.0, driver 580.65.06, kernels 0123456789ab, cublas 13.0.2"
        );
    }
    let elsewhere = DeviceUsed {
        name: "cuda:5".into(),
        ..full.clone()
    };
    assert_eq!(moved(&[full], &[elsewhere]), None);
    // One that went on elsewhere is not one that did not.
    assert!(
        moved(
            std::slice::from_ref(&h100),
            &[h100.clone(), DeviceUsed::cpu()]
        )
        .is_some()
    );
    assert_eq!(
        device::told(&[h100, DeviceUsed::cpu()]),
        "cuda:0 (NVIDIA H100), bf16 and cpu, f32"
    );
}

fn compute(name: &str, device: &str) -> Toy {
    toy(&crate::toys::COMPUTE, name).exec("device", device)
}

fn devices(record: &Record) -> Vec<String> {
    let used = record.provenance.origin.devices.iter();
    used.map(DeviceUsed::told).collect()
}

#[test]
fn a_device_is_in_no_key_and_in_the_record() {
    let space = Space::new();
    let first = space.run(&[compute("it", "candle")]);
    assert_eq!(first.text("it"), "computed candle");
    assert_eq!(devices(&first.record("it")), ["candle, f32 candle"]);
    let second = space.run(&[compute("it", "cpu")]);
    assert_eq!(second.states(), ["hit"]);
    // Of the processor nothing is written: a record of before there were devices reads the same.
    let plain = Space::new().run(&[compute("it", "cpu")]).record("it");
    assert_eq!(devices(&plain), Vec::<String>::new());
    assert!(!plain.to_text().unwrap().contains("devices"));
    assert_eq!(plain.key, first.record("it").key);
}

/// A GPU computes in bf16 and all else in f32, unless something else is said.
#[test]
fn numbers_are_in_no_key_and_in_the_record() {
    let place = |device, said| Place::new(device, said).numerics;
    assert_eq!(place(DeviceName::Cuda(0), None), Numerics::Bf16);
    for device in [DeviceName::Cpu, DeviceName::Candle] {
        assert_eq!(place(device, None), Numerics::F32);
    }
    let (f32, bf16) = (Some(Numerics::F32), Some(Numerics::Bf16));
    assert_eq!(place(DeviceName::Cuda(0), f32), Numerics::F32);
    assert_eq!(place(DeviceName::Candle, bf16), Numerics::Bf16);

    let space = Space::new();
    let said = |numbers: &str| compute("it", "candle").exec("numerics", numbers);
    let first = space.run(&[said("bf16")]);
    assert_eq!(devices(&first.record("it")), ["candle, bf16 candle"]);
    let second = space.run(&[said("f32")]);
    assert_eq!(second.states(), ["hit"]);
    let alone = Space::new().run(&[compute("it", "candle")]).record("it");
    assert_eq!(devices(&alone), ["candle, f32 candle"]);
    assert_eq!(alone.key, first.record("it").key);
    // What would be made again in other numbers is moved, and what in the same is not.
    let wanted = |toy: Toy| {
        let graph = crate::engine::graph(&[toy]);
        let wanted = pipe::engine::plan::Wanted {
            fresh: [graph.find("it").unwrap()].into(),
            ..Default::default()
        };
        let plan = pipe::engine::plan::plan(&space.store(), &graph, &wanted).unwrap();
        plan.moved.into_values().collect::<Vec<Moved>>()
    };
    assert_eq!(wanted(said("bf16")), []);
    let moved = |now: &str| Moved {
        before: "candle, bf16 candle".into(),
        now: now.into(),
    };
    assert_eq!(wanted(said("f32")), [moved("candle, f32 candle")]);
    assert_eq!(wanted(compute("it", "cpu")), [moved("cpu, f32")]);
}

/// Whether a model's heads have kernels nobody knows before it is there: a plan takes it to be as it was, whether the device can be asked
/// here (720) or not. By candle's operations alone it would be another.
#[test]
fn a_plan_takes_heads_to_be_computed_as_they_were() {
    for device in ["cuda:720", "cuda:721"] {
        let space = Space::new();
        let it = || compute("it", device).exec("odd", true);
        let ran = space.run_with(&[it()], |settings| settings.capacity.gpus = 1, |_| {});
        let told = format!("{device} (Toy 9000), bf16 kernels and candle");
        assert_eq!(devices(&ran.record("it")), [told.as_str()]);
        let graph = crate::engine::graph(&[it()]);
        let wanted = pipe::engine::plan::Wanted {
            fresh: [graph.find("it").unwrap()].into(),
            ..Default::default()
        };
        let plan = || pipe::engine::plan::plan(&space.store(), &graph, &wanted).unwrap();
        assert_eq!(plan().moved, Default::default());
        let plain = launch::by(launch::Choice::Plain, plan);
        let moved: Vec<Moved> = plain.moved.into_values().collect();
        assert_eq!(moved[0].before, told);
        assert!(moved[0].now.ends_with(", bf16 candle"), "{}", moved[0].now);
    }
}

#[test]
fn other_bytes_of_another_device_are_that_and_not_irreproducible() {
    let space = Space::new();
    space.run(&[compute("it", "cpu")]);
    let told = |ran: &crate::engine::Ran| {
        let mut found = vec![];
        for event in &ran.events {
            match event {
                Event::OtherDevice { moved, outputs, .. } => {
                    found.push(format!(
                        "{} -> {}: {}",
                        moved.before,
                        moved.now,
                        outputs.join(" ")
                    ));
                }
                Event::NotReproducible { .. } => found.push("not reproducible".into()),
                _ => {}
            }
        }
        found
    };
    let again = space.run_fresh(&[compute("it", "candle")], "it");
    assert_eq!(told(&again), ["cpu, f32 -> candle, f32 candle: out"]);
    assert_eq!(again.text("it"), "computed candle");
    // The same bytes on the same device are the same.
    let same = space.run_fresh(&[compute("it", "candle")], "it");
    assert_eq!(told(&same), Vec::<String>::new());
    let words = pipe::report::telling::Telling::default().hear(
        0,
        again
            .events
            .iter()
            .find(|e| matches!(e, Event::OtherDevice { .. }))
            .unwrap(),
    );
    let words = words.unwrap();
    assert!(!words.grave);
    assert!(
        words
            .text
            .contains("on another device: cpu, f32 before, candle, f32 candle now"),
        "{}",
        words.text
    );
}

#[test]
fn a_plan_says_what_is_made_again_on_another_device() {
    let space = Space::new();
    space.run(&[compute("it", "cpu")]);
    let wanted = |toys: &[Toy]| {
        let graph = crate::engine::graph(toys);
        let fresh = [graph.find("it").unwrap()].into();
        let wanted = pipe::engine::plan::Wanted {
            fresh,
            ..Default::default()
        };
        let plan = pipe::engine::plan::plan(&space.store(), &graph, &wanted).unwrap();
        plan.moved.into_values().collect::<Vec<Moved>>()
    };
    assert_eq!(wanted(&[compute("it", "cpu")]), []);
    let moved = wanted(&[compute("it", "candle")]);
    let expected = Moved {
        before: "cpu, f32".into(),
        now: "candle, f32 candle".into(),
    };
    assert_eq!(moved, [expected]);
    // A hit is made nowhere.
    assert_eq!(
        space.plan(&[compute("it", "candle")]).plan.moved,
        Default::default()
    );
}

#[test]
fn an_attempt_that_goes_on_elsewhere_tells_both() {
    let space = Space::new();
    let half = |device: &str| [compute("it", device).exec("fails", "half")];
    assert_eq!(space.run(&half("candle")).states(), ["failed"]);
    let second = space.run(&half("cpu"));
    assert_eq!(second.states(), ["done"]);
    assert_eq!(
        devices(&second.record("it")),
        ["candle, f32 candle", "cpu, f32"]
    );
}

#[test]
fn a_card_belongs_to_one_node_at_a_time() {
    let space = Space::new();
    let lines = space.dir.path().join("lines");
    let node = |name: &str, device: &str| {
        compute(name, device)
            .with("text", name)
            .exec("wait_ms", 300)
            .exec("count", lines.to_str().unwrap())
    };
    let toys = [
        node("a", "cuda:701"),
        node("b", "cuda:701"),
        node("c", "cuda:702"),
    ];
    let ran = space.run_with(
        &toys,
        |settings| {
            settings.capacity.threads = 4;
            settings.capacity.gpus = 3;
        },
        |_| {},
    );
    assert_eq!(ran.states(), ["done", "done", "done"]);
    let text = std::fs::read_to_string(&lines).unwrap();
    let of = |name: &str, what: &str| {
        let line = format!("{} {what}", ran.record(name).key.short());
        text.lines()
            .position(|l| l == line)
            .unwrap_or_else(|| panic!("{line}:\n{text}"))
    };
    let apart = |one: &str, two: &str| of(one, "ends") < of(two, "begins");
    assert!(apart("a", "b") || apart("b", "a"), "{text}");
    // Who has a card of his own begins at once.
    let at = |wanted: &dyn Fn(&str, &State) -> bool| {
        let is =
            |event: &Event| matches!(event, Event::State { node, state } if wanted(node, state));
        ran.events.iter().position(is).unwrap()
    };
    let began = at(&|node, state| node == "c" && matches!(state, State::Running { .. }));
    assert!(began < at(&|_, state| matches!(state, State::Done { .. })));
    let waits = ran.events.iter().filter(|event| {
        matches!(event, Event::Log { text, .. } if text.starts_with("waits for cuda:701, which `"))
    });
    assert_eq!(waits.count(), 1);
    assert_eq!(
        devices(&ran.record("c")),
        ["cuda:702 (Toy 9000), bf16 kernels"]
    );
}

#[test]
fn a_card_of_another_process_is_waited_for_and_said() {
    let space = Space::new();
    let card = gpus::take(&gpus::card(703)).unwrap().unwrap();
    let freed = std::cell::RefCell::new(Some(card));
    let ran = space.run_with(
        &[compute("it", "cuda:703")],
        |settings| settings.capacity.gpus = 1,
        |event| {
            if let Event::Log { text, .. } = event {
                assert!(text.starts_with("waits for cuda:703: "), "{text}");
                assert!(text.ends_with(" has it"), "{text}");
                freed.borrow_mut().take();
            }
        },
    );
    assert_eq!(ran.states(), ["done"]);
    assert!(freed.borrow().is_none(), "it waited");
}

#[test]
fn a_lock_of_a_card_is_there_for_everybody_and_goes_with_its_holder() {
    let folder = tempfile::tempdir().unwrap();
    let locks = folder.path().join("locks");
    let held = gpus::take_in(&locks, "GPU-1/../x").unwrap().unwrap();
    assert!(gpus::take_in(&locks, "GPU-1/../x").unwrap().is_err());
    let other = gpus::take_in(&locks, "GPU-2").unwrap();
    assert!(other.is_ok());
    drop(held);
    assert!(gpus::take_in(&locks, "GPU-1/../x").unwrap().is_ok());
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&locks), 0o1777);
    assert_eq!(mode(&locks.join("GPU-1____x.lock")), 0o644);
}

#[test]
fn what_is_visible_is_as_cuda_reads_it() {
    assert_eq!(gpus::named("2,0", 4), ["2", "0"]);
    assert_eq!(gpus::named("2,7,0", 4), ["2"]);
    assert_eq!(gpus::named("", 4), Vec::<String>::new());
    assert_eq!(gpus::named("-1", 4), Vec::<String>::new());
    assert_eq!(gpus::named("GPU-8f, MIG-1", 1), ["GPU-8f", "MIG-1"]);
    let cards = |list: &str| {
        gpus::cards(list)
            .into_iter()
            .map(|(_, card)| card)
            .collect::<Vec<_>>()
    };
    assert_eq!(cards("903, 902,MIG-1,902,-1,901"), ["902", "903"]);
    let told = |number, there, list| gpus::not_among(number, there, list).unwrap_or_default();
    assert_eq!(told(0, 1, None), "");
    assert_eq!(
        told(0, 0, None),
        "`cuda:0`: no GPU of NVIDIA's is visible here"
    );
    assert_eq!(
        told(1, 1, Some("3")),
        "`cuda:1`: 1 GPU is visible here with CUDA_VISIBLE_DEVICES=3: it is `cuda:0`"
    );
    assert_eq!(
        told(4, 2, None),
        "`cuda:4`: 2 GPUs are visible here: `cuda:0` to `cuda:1`"
    );
}

#[test]
fn no_room_on_a_device_is_a_class_with_numbers_and_is_not_tried_again() {
    let fails = |how: &str, device: &str, recompute: bool| {
        let node = compute("it", device).exec("fails", how);
        let ran = Space::new().run(&[node.exec("recompute", recompute)]);
        let State::Failed { class, message, .. } = &ran.outcome.find("it").unwrap().state else {
            panic!("{:?}", ran.states());
        };
        assert_eq!(*class, Class::OutOfMemory);
        assert!(!ran.events.iter().any(|e| matches!(e, Event::Retry { .. })));
        message.clone()
    };
    let asked = "step 3: out of memory on candle: 3.2 GB were asked for (logits); 1.1 GB of 85.9 GB are free";
    let less = "; it takes less with `recompute = true`";
    assert_eq!(fails("memory", "candle", false), format!("{asked}{less}"));
    assert_eq!(fails("memory", "candle", true), asked);
    let driver = "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")";
    assert_eq!(
        fails("driver", "candle", false),
        format!("{driver}; 5.4 GB of 85.9 GB are free{less}")
    );
    assert_eq!(fails("driver", "cpu", false), driver);
}

#[test]
fn arms_that_mix_devices_are_alike_where_each_kind_of_node_is() {
    let set = |of: &[(&'static str, &str)]| -> devices::Numerics {
        of.iter().map(|(kind, n)| (*kind, n.to_string())).collect()
    };
    let apart = |a: &[(&'static str, &str)], b: &[(&'static str, &str)]| {
        devices::apart(("a", &set(a)), ("b", &set(b)))
    };
    let (here, there) = (
        [("sft", "f32"), ("dpo", "bf16")],
        [("sft", "bf16"), ("dpo", "f32")],
    );
    let told = "what is compared was computed under different numerics: `f32` for `sft` of a, `bf16` for `sft` of b";
    assert!(apart(&here, &there).is_some());
    assert_eq!(
        apart(
            &[("sft", "f32"), ("grpo", "bf16")],
            &[("sft", "bf16"), ("rerouting", "f32")]
        )
        .as_deref(),
        Some(told)
    );
    assert_eq!(apart(&here, &here), None);
    assert_eq!(
        apart(
            &[("sft", "f32"), ("grpo", "bf16")],
            &[("sft", "f32"), ("dpo", "bf16")]
        ),
        None,
        "arms have nodes of other kinds"
    );
}

#[test]
fn arms_that_were_computed_under_different_numerics_are_told() {
    let space = crate::sides::Space::new();
    let falls = "[[claim]]\nabout = \"falls\"\nagainst = \"base.toml\"\nnode = \"eval\"\n\
                 expect = [{ metric = \"defense\", is = \"lower\" }]\n";
    space.file(
        "wide.toml",
        &format!(
            "extends = \"base.toml\"\nname = \"wide\"\n{falls}[node.model]\nhidden_size = 32\n"
        ),
    );
    let measured = |k: usize| move |_: &str, _: &Axes| Some(defense(&first(k, 40)));
    let base = space.sides("base.toml", &[], measured(30));
    let mut wide = space.sides("wide.toml", &[], measured(10));
    let warned = |base: &[Side], wide: &[Side]| {
        let all: Vec<&Side> = base.iter().chain(wide).collect();
        let said = verdicts::answers(&space.store, &all, ALPHA, |_| true).unwrap();
        let grid = grid(&space.store, &all, &[], &[]).unwrap();
        (said[0].warnings.clone(), grid.numerics)
    };
    assert_eq!(warned(&base, &wide), (vec![], None));
    let answers = wide[0].graph.find("answers").unwrap();
    let record = wide[0].records.get_mut(&answers).unwrap();
    record.provenance.origin.devices = vec![used("cuda:0", "NVIDIA H100", "bf16")];
    let (told, table) = warned(&base, &wide);
    assert_eq!(
        told,
        [
            "what is compared was computed under different numerics: `f32` for `eval` of `base`, `bf16` for `eval` of `wide`"
        ]
    );
    assert_eq!(table.as_ref(), told.first());
    // The same numerics on another GPU are no other arm.
    let mut base = base;
    let record = base[0].records.get_mut(&answers).unwrap();
    record.provenance.origin.devices = vec![used("cuda:1", "NVIDIA A100", "bf16")];
    assert_eq!(warned(&base, &wide), (vec![], None));
}

//! Nodes as jobs of programs that a profile names: a shell plays the cluster, and the command line is what its user sees.

use super::{Said, Space, lines, wait_until};

const TICKS: usize = 40;

const PROFILE: &str = r#"
executor = "command"
ask_seconds = 0.3
gather_seconds = 0.2
settle_seconds = 1.0
grace_seconds = 10.0
claim_seconds = 3.0

[[partition]]
name = "cpu"
cpus = 1

[[partition]]
name = "gpu"
gpus = 4
gpu_memory = "80GB"

[command]
submit = "echo {name} {partition} >>asked; setsid sh {script} </dev/null >{folder}/job.out 2>&1 & echo $!"
look = "for j in {jobs}; do if grep -qs '^State:.[^ZX]' /proc/$j/status; then echo $j running n1; else echo $j failed 1; fi; done"
cancel = "kill {job}"
"#;

fn space() -> Space {
    let space = Space::new();
    let ticks = space.path("ticks");
    let recipe = format!(
        "[node.slow]\nkind = \"toy-slow\"\nticks = {TICKS}\ntick_ms = 40\ncount = {:?}\n\
         [node.slow.needs]\ngpus = 2\ngpu_memory = \"40GB\"\nhours = 3\n\
         [node.below]\nkind = \"toy-join\"\nin = {{ a = \"slow\" }}\n",
        ticks.to_str().unwrap()
    );
    space.file("r.toml", &recipe);
    space.file("lab.toml", PROFILE);
    space
}

fn run(space: &Space, more: &[&str]) -> Said {
    let args = [&["run", "r.toml", "--on", "./lab.toml"], more].concat();
    space.pipe(&args)
}

#[test]
fn a_study_runs_on_a_cluster_and_says_where_and_another_run_has_all_of_it() {
    let space = space();
    let plan = space.pipe(&["plan", "r.toml", "--on", "./lab.toml"]).ok();
    let row = |node: &str| {
        let mut lines = plan.out.lines();
        lines
            .rfind(|l| l.starts_with(node))
            .unwrap_or_else(|| panic!("{}", plan.out))
            .to_string()
    };
    assert!(row("slow").contains("2 GPUs with 40.0 GB"), "{}", plan.out);
    assert!(row("slow").contains("up to 6.00"), "{}", plan.out);
    assert!(row("below").contains("cpu"), "{}", plan.out);
    assert!(plan.out.ends_with("up to 6.00 GPU-hours\n"), "{}", plan.out);

    let said = run(&space, &[]).ok();
    assert!(said.err.contains(" of lab on n1"), "{}", said.err);
    let asked = lines(&space.path("asked"));
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(
        asked[0].ends_with("-1 gpu") && asked[1].ends_with("-1 cpu"),
        "{asked:?}"
    );
    assert_eq!(lines(&space.path("ticks")).len(), TICKS);
    let again = space.pipe(&["run", "r.toml", "--json"]).ok();
    let hits = |(_, state): &(String, String)| state == "hit";
    assert!(again.states().iter().all(hits), "{}", again.out);
    let told = space.pipe(&["logs", "last"]);
    assert!(!told.out.contains("panicked"));

    let calm = Space::new();
    let recipe = std::fs::read_to_string(space.path("r.toml")).unwrap();
    calm.file(
        "r.toml",
        &recipe.replace("[node.slow.needs]\ngpus = 2\n", "[node.slow.needs]\n"),
    );
    calm.pipe(&["run", "r.toml", "--quiet"]).ok();
    for node in ["slow", "below"] {
        assert_eq!(space.digest(node), calm.digest(node), "needs are in no key");
    }
}

#[test]
fn a_killed_engine_leaves_its_jobs_and_the_same_command_takes_them_up() {
    let space = space();
    let ticks = space.path("ticks");
    let args = ["run", "r.toml", "--on", "./lab.toml"];
    let mut engine = space.command(&args).spawn().unwrap();
    wait_until(|| lines(&ticks).len() >= 4);
    engine.kill().unwrap();
    engine.wait().unwrap();
    let then = lines(&ticks).len();
    wait_until(|| lines(&ticks).len() > then);
    let gc = space.pipe(&["gc", "--apply", "--cap", "1B"]);
    assert!(
        gc.err.contains("exclude no other machines"),
        "{}\n{}",
        gc.out,
        gc.err
    );
    let said = run(&space, &[]).ok();
    assert!(
        said.err.contains("slow: goes on with attempt "),
        "{}",
        said.err
    );
    let expected: Vec<String> = (1..=TICKS).map(|t| t.to_string()).collect();
    assert_eq!(lines(&ticks), expected, "no tick was done twice");
    assert_eq!(lines(&space.path("asked")).len(), 2, "a job a node");
}

#[test]
fn a_detached_run_is_seen_and_stopped_from_outside_and_its_jobs_save_their_state() {
    let space = space();
    let ticks = space.path("ticks");
    let args = ["run", "r.toml", "--on", "./lab.toml", "--detach"];
    let id = space.pipe(&args).ok().out.trim().to_string();
    wait_until(|| lines(&ticks).len() >= 4);
    wait_until(|| {
        space
            .pipe(&["status", &id])
            .ok()
            .out
            .contains("of lab on n1")
    });
    space.pipe(&["stop", &id]).ok();
    wait_until(|| !space.pipe(&["status", &id]).ok().out.contains("running"));
    let stopped_at = lines(&ticks).len();
    assert!(stopped_at < TICKS, "it stopped early");
    run(&space, &[]).ok();
    let done = lines(&ticks).len();
    assert!((TICKS..=TICKS + 1).contains(&done), "{done}");
}

#[test]
fn profiles_are_listed_and_one_that_is_not_there_is_named() {
    let space = space();
    let profiles = |args: &[&str]| {
        let mut command = space.command(args);
        command.env("PIPE_PROFILES", space.dir.path());
        Said::new(command.output().unwrap())
    };
    let said = profiles(&["profiles"]);
    assert!(said.out.contains("lab"), "{}", said.out);
    assert!(said.out.contains("command") && said.out.contains("cpu, gpu (4 GPUs)"));
    let said = profiles(&["run", "r.toml", "--on", "lap"]).ends(2);
    assert!(
        said.err.contains("no profile `lap`; did you mean `lab`?"),
        "{}",
        said.err
    );
    space.file("bad.toml", "executor = \"command\"\nqeue = 1\n");
    let said = profiles(&["run", "r.toml", "--on", "./bad.toml"]).ends(2);
    assert!(said.err.contains("unknown entry `qeue`"), "{}", said.err);
    profiles(&["profiles", "--check", "lab"]).ok();

    space.file("bad.toml", "executor = \"slurm\"\nacount = \"x\"\n");
    space.file("odd.toml", "executor = \"slurm\"\nqeue = 1\n");
    let mut command = space.command(&["profiles"]);
    command
        .env("PIPE_PROFILES", space.dir.path())
        .env("COLUMNS", "80");
    let said = Said::new(command.output().unwrap()).ok();
    let caret =
        "bad.toml:2:1\n  |\n2 | acount = \"x\"\n  | ^^^^^^\n  = help: did you mean `account`?";
    assert!(said.out.contains(caret), "{}", said.out);
    assert!(
        said.out.contains("nothing: its file is wrong"),
        "{}",
        said.out
    );
    assert!(said.out.contains("2 m 0 s"), "{}", said.out);
    let wide = said.out.lines().find(|line| line.chars().count() > 80);
    assert_eq!(wide, None, "{}", said.out);
    let words = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("unknown entry `qeue`"), "{words}");
    // What is wrong with its remote is told with the rest.
    let both = "executor = \"slurm\"\njobs = 0\n[remote]\nurl = 3\n";
    space.file("both.toml", both);
    for verb in ["run", "plan", "pull"] {
        let said = profiles(&[verb, "r.toml", "--on", "./both.toml"]).ends(2);
        let told = "`jobs` is 0: nothing could run";
        assert_eq!(said.err.matches(told).count(), 1, "{verb}: {}", said.err);
        assert!(said.err.contains("both.toml:4:7"), "{verb}: {}", said.err);
    }
}

/// Says at once what is waited for, where that may take a while.
#[test]
fn a_second_request_says_at_once_what_is_waited_for() {
    use std::io::BufRead;
    let space = space();
    let profile = PROFILE
        .replace(
            "submit = \"",
            "submit = \"echo 7 >waits; echo 7; exit 0; ",
        )
        .replace("look = \"", "look = \"if [ -e over ]; then echo 7 cancelled; else echo 7 waiting for Godot; fi; exit 0; ")
        .replace("cancel = \"", "cancel = \"exit 0; ");
    space.file("lab.toml", &profile);
    let mut command = space.command(&["run", "r.toml", "--on", "./lab.toml"]);
    let mut engine = command
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_child(&engine);
    let interrupt = || rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    wait_until(|| space.path("waits").exists());
    let lines = std::io::BufReader::new(engine.stderr.take().unwrap()).lines();
    let mut lines = lines.map(|line| line.unwrap());
    let mut says = |words: &str| {
        let since = std::time::Instant::now();
        let line = lines.find(|line| line.contains(words));
        assert!(since.elapsed().as_secs() < 5, "{line:?} came late");
        line.expect(words)
    };
    interrupt();
    let said = says("stopping: ");
    assert!(
        said.contains("jobs at work have 10 s to save their state"),
        "{said}"
    );
    interrupt();
    let said = says("killing: ");
    assert!(said.contains("has 20 s to confirm it"), "{said}");
    space.file("over", "");
    assert_eq!(engine.wait().unwrap().code(), Some(130));
}

#[test]
fn a_size_that_is_none_is_the_recipe_s_mistake() {
    let space = Space::with(
        "[node.a]\nkind = \"toy-write\"\ntext = \"x\"\nneeds = { memory = \"much\" }\n",
    );
    let said = space.pipe(&["check", "r.toml"]).ends(2);
    assert!(said.err.contains("\"much\" is no size"), "{}", said.err);
    space.file(
        "r.toml",
        "[node.a]\nkind = \"toy-write\"\ntext = \"x\"\nneeds = { gpu = 1 }\n",
    );
    let said = space.pipe(&["check", "r.toml"]).ends(2);
    assert!(said.err.contains("gpu"), "{}", said.err);
}

#[test]
fn what_a_job_printed_before_it_could_begin_is_told() {
    let space = space();
    let profile = PROFILE.replacen(
        "grace_seconds",
        "setup = [\"echo no such module; exit 127\"]\ngrace_seconds",
        1,
    );
    space.file("lab.toml", &profile);
    let said = run(&space, &["--retries", "0"]).ends(1);
    assert!(
        said.err
            .contains("left no word of how (failed 1): no such module"),
        "{}",
        said.err
    );
}

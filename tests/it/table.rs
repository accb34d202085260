//! Plain-text tables.

use pipe::base::text::width;
use pipe::report::table::{Table, left, name, right};
use pipe::report::wrap::wrap;

#[test]
fn columns_align_by_what_a_terminal_shows() {
    let table = Table::new([left("node"), right("n"), left("why")])
        .row(["sft", "1,200", "`lr` 1e-5 -> 3e-5"])
        .row(["日本", "7", ""])
        .row(["e\u{301}", "-0.5", "two\nlines"]);
    let expected = "\
node      n  why
sft   1,200  `lr` 1e-5 -> 3e-5
日本      7
e\u{301}      -0.5  two lines
";
    assert_eq!(table.render(), expected);
}

#[test]
fn a_table_without_titles_has_no_title_line() {
    let table = Table::new([left(""), right("")]);
    assert!(table.is_empty());
    assert_eq!(table.render(), "");
    assert_eq!(
        table.row(["a", "1"]).row(["bb", "22"]).render(),
        "a    1\nbb  22\n"
    );
}

#[test]
fn a_markdown_table_keeps_its_titles_and_escapes_bars() {
    let table = Table::new([left("a|b"), right("")]).row(["x|y", "1"]);
    assert_eq!(
        table.markdown(),
        "| a\\|b |  |\n| --- | ---: |\n| x\\|y | 1 |\n"
    );
}

#[test]
#[should_panic(expected = "a row has a cell for every column")]
fn a_row_of_the_wrong_length_is_our_own_mistake() {
    Table::new([left("a")]).push(["1", "2"]);
}

fn measures() -> Table {
    let cell = |x: f64| format!("{x:.1} % [{:.1}, {:.1}]", x - 9.9, x + 1.1);
    let columns = ["base", "sft", "rl"].map(right);
    let mut table = Table::new([left("measure"), right("n")].into_iter().chain(columns));
    for (label, n) in [
        ("defense success, harmful", 200),
        ("compliance, harmless and ambiguous", 400),
        ("refusals", 9),
    ] {
        let cells = [11.5, 78.0, 98.9].map(cell);
        table.push([label.to_string(), n.to_string()].into_iter().chain(cells));
    }
    table
}

#[test]
fn a_table_is_as_narrow_as_asked_and_breaks_no_number() {
    let table = measures();
    let whole = table.render();
    // The longest word and one column are the least without breaking a word.
    for room in (27..=110).rev() {
        let text = table.fit(room);
        let widest = text.lines().map(width).max().unwrap();
        assert!(widest <= room, "{room}\n{text}");
        let words = |text: &str| {
            let mut all: Vec<String> = text.split_whitespace().map(String::from).collect();
            all.sort();
            all.dedup();
            all
        };
        assert_eq!(words(&text), words(&whole), "{room}\n{text}");
        for number in [
            "98.9 %",
            "[89.0, 100.0]",
            "[1.6, 12.6]",
            "[68.1, 79.1]",
            "400",
        ] {
            let found = text.lines().any(|line| line.contains(number));
            assert_eq!(found, whole.contains(number), "{number} at {room}\n{text}");
        }
    }
    let expected = "\
measure                              n         base           sft             rl
defense success, harmful           200       11.5 %        78.0 %         98.9 %
                                        [1.6, 12.6]  [68.1, 79.1]  [89.0, 100.0]
compliance, harmless and           400       11.5 %        78.0 %         98.9 %
  ambiguous                             [1.6, 12.6]  [68.1, 79.1]  [89.0, 100.0]
refusals                             9       11.5 %        78.0 %         98.9 %
                                        [1.6, 12.6]  [68.1, 79.1]  [89.0, 100.0]
";
    assert_eq!(table.fit(80), expected);
}

#[test]
fn sentences_wrap_beside_their_names_and_long_names_break_at_their_marks() {
    let table = Table::new([left(""), left("node"), right("n"), left("why")])
        .row([
            "RUN",
            "rl-eval@kl_coefficient=0.001,seed=0",
            "7",
            "never run; parameter `lr`: 0.1 -> 0.2",
        ])
        .row(["HIT", "base", "12", ""]);
    assert_eq!(
        table.fit(60),
        "     node                                  n  why
RUN  rl-eval@kl_coefficient=0.001,seed=0   7  never run;
                                              parameter
                                              `lr`: 0.1 ->
                                              0.2
HIT  base                                 12
"
    );
    let long = Table::new([left("node"), right("n")]).row([
        "rl-attacked-eval@kl_coefficient=0.001,lambda=0.25,seed=0",
        "7",
    ]);
    assert_eq!(
        long.fit(30),
        "\
node                         n
rl-attacked-eval@kl_         7
coefficient=0.001,lambda=
0.25,seed=0
"
    );
}

#[test]
fn text_wraps_at_words_and_keeps_commands_whole() {
    assert_eq!(wrap("short", 80, 2), ["short"]);
    let text = "  one two three four five";
    assert_eq!(
        wrap(text, 14, 2),
        ["  one two", "    three four", "    five"]
    );
    let advice = "`r` lacks `eval`: pipe run r.toml --matrix seed=0,1; `s` lacks it too";
    assert_eq!(
        wrap(advice, 30, 2),
        [
            "`r` lacks `eval`:",
            "  pipe run r.toml --matrix seed=0,1;",
            "  `s` lacks it too"
        ]
    );
    let share = "of the answers of `rl-eval` 98.3 % are unreadable, in 12 ms";
    assert_eq!(
        wrap(share, 30, 0),
        [
            "of the answers of `rl-eval`",
            "98.3 % are unreadable, in",
            "12 ms"
        ]
    );
    let code = "see `pipe kinds evaluate` for more of it";
    assert_eq!(
        wrap(code, 20, 0),
        ["see", "`pipe kinds evaluate`", "for more of it"]
    );
}

#[test]
fn an_id_and_a_quoted_name_are_never_broken() {
    let id = "20261130-003140-340-6981-2";
    let node = "rl-answers@tiny,seed=1";
    let recipes = "tars-harmful-only, tars-without-traps, tars";
    let runs = Table::new([
        name("run"),
        left("state"),
        right("nodes"),
        right("left"),
        right("age"),
        left("recipe"),
    ])
    .row([id, "running", "12/40", "more than 12 m", "3 h 5 m", recipes]);
    let why = format!("depends on what `{node}` gives");
    let plan = Table::new([
        left(""),
        name("node"),
        left("kind"),
        right("expected"),
        left("why"),
    ])
    .row(["RUN", node, "evaluate-answers", "1 m 12 s", &why]);
    for room in 40..=130 {
        let text = runs.fit(room);
        assert!(text.contains(id), "{room}\n{text}");
        let text = plan.fit(room);
        assert!(text.contains(&format!(" {node}")), "{room}\n{text}");
        assert!(text.contains(&format!("`{node}`")), "{room}\n{text}");
    }
    let widest = |text: &str| text.lines().map(width).max();
    assert!(widest(&runs.fit(80)) <= Some(80), "{}", runs.fit(80));
    assert!(widest(&plan.fit(80)) <= Some(80), "{}", plan.fit(80));
}

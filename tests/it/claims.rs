//! Verdicts on claims: the rule, numbers beside it, and what is not answered.

use crate::sides::{Rows, Space, defense, first, refs};
use pipe::base::claim::{Axes, Expect};
use pipe::report::side::Side;
use pipe::report::verdicts::Verdict::{Contradicted, Inconclusive, Reproduced};
use pipe::report::verdicts::{Answer, answers, between, page, summary, together, verdict};

#[test]
fn a_verdict_is_where_the_interval_lies() {
    let cases = [
        // Lower, with and without a margin.
        (Expect::Lower, 0.0, (-0.3, -0.1), Reproduced),
        (Expect::Lower, 0.0, (-0.3, 0.0), Inconclusive),
        (Expect::Lower, 0.0, (-0.1, 0.1), Inconclusive),
        (Expect::Lower, 0.0, (0.1, 0.3), Contradicted),
        (Expect::Lower, 0.2, (-0.3, -0.1), Inconclusive),
        (Expect::Lower, 0.2, (-0.4, -0.25), Reproduced),
        (Expect::Lower, 0.2, (-0.1, 0.3), Contradicted),
        // Higher is its mirror.
        (Expect::Higher, 0.0, (0.1, 0.3), Reproduced),
        (Expect::Higher, 0.0, (-0.3, -0.1), Contradicted),
        (Expect::Higher, 0.0, (0.0, 0.3), Inconclusive),
        (Expect::Higher, 0.2, (0.25, 0.3), Reproduced),
        (Expect::Higher, 0.2, (-0.1, 0.1), Contradicted),
        // Within has to hold the whole interval.
        (Expect::Within, 0.05, (-0.05, 0.05), Reproduced),
        (Expect::Within, 0.05, (-0.01, 0.06), Inconclusive),
        (Expect::Within, 0.05, (0.06, 0.1), Contradicted),
        (Expect::Within, 0.05, (-0.2, -0.06), Contradicted),
        (Expect::Within, 0.05, (-0.2, 0.2), Inconclusive),
    ];
    for (expect, by, interval, expected) in cases {
        let said = verdict(expect, by, Some(interval));
        assert_eq!(said, expected, "{expect:?} by {by}: {interval:?}");
        assert_eq!(verdict(expect, by, None), Inconclusive);
    }
    assert_eq!(together([Reproduced, Reproduced]), Reproduced);
    assert_eq!(together([Reproduced, Inconclusive]), Inconclusive);
    assert_eq!(
        together([Inconclusive, Contradicted, Reproduced]),
        Contradicted
    );
}

/// `wide.toml` with claims: `(about, expect)`.
fn claim(space: &Space, claims: &[(&str, &str)]) {
    let mut text = "extends = \"base.toml\"\nname = \"wide\"\n".to_string();
    for (about, expect) in claims {
        text += &format!(
            "[[claim]]\nabout = \"{about}\"\nagainst = \"base.toml\"\nnode = \"eval\"\nexpect = [{expect}]\n"
        );
    }
    text += "[node.model]\nhidden_size = 32\n";
    space.file("wide.toml", &text);
}

/// Of 200 prompts.
fn measured(defended: usize, complied: usize) -> Rows {
    let row = |i: usize| {
        let share = |k: usize| f64::from(i < k);
        let values = vec![
            ("defense", share(defended)),
            ("compliance", share(complied)),
        ];
        (format!("p{i}"), values)
    };
    (0..200).map(row).collect()
}

#[test]
fn claims_are_answered_with_their_numbers() {
    let space = Space::new();
    claim(
        &space,
        &[
            ("defense falls", "{ metric = \"defense\", is = \"lower\" }"),
            ("defense rises", "{ metric = \"defense\", is = \"higher\" }"),
            (
                "defense falls, compliance stays",
                "{ metric = \"defense\", is = \"lower\" }, { metric = \"compliance\", is = \"within\", by = 0.05 }",
            ),
            (
                "defense falls much",
                "{ metric = \"defense\", is = \"lower\", by = 0.25 }",
            ),
        ],
    );
    let base = space.sides("base.toml", &[], |_, _| Some(measured(180, 150)));
    let wide = space.sides("wide.toml", &[], |_, _| Some(measured(130, 150)));
    let all: Vec<&Side> = base.iter().chain(&wide).collect();
    let said = answers(&space.store, &all).unwrap();
    let verdicts: Vec<_> = said.iter().map(|a| a.verdict).collect();
    let expected = [Reproduced, Contradicted, Reproduced, Inconclusive];
    assert_eq!(verdicts, expected.map(Some));
    let one = &said[0].conditions[0];
    assert_eq!((one.numbers.second, one.numbers.first), (0.65, 0.9));
    assert!((one.numbers.difference + 0.25).abs() < 1e-12);
    assert_eq!((said[0].seeds, said[0].against.as_str()), (1, "base"));
    assert_eq!(
        summary(&said),
        "2 reproduced, 1 contradicted, 1 inconclusive of 4 claims"
    );
    assert_eq!(
        between(&space.store, &refs(&wide), &refs(&base))
            .unwrap()
            .len(),
        4
    );
    assert_eq!(
        between(&space.store, &refs(&base), &refs(&wide))
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn a_table_of_claims_reads_line_by_line() {
    let space = Space::new();
    claim(
        &space,
        &[
            ("falls", "{ metric = \"defense\", is = \"lower\" }"),
            (
                "both",
                "{ metric = \"defense\", is = \"higher\", by = 0.02 }, { metric = \"compliance\", is = \"within\", by = 0.05 }",
            ),
            (
                "no such metric",
                "{ metric = \"complience\", is = \"higher\" }",
            ),
        ],
    );
    let base = space.sides("base.toml", &[], |_, _| Some(measured(200, 150)));
    let wide = space.sides("wide.toml", &[], |_, _| Some(measured(0, 150)));
    let all: Vec<&Side> = base.iter().chain(&wide).collect();
    let said = answers(&space.store, &all).unwrap();
    assert_eq!(
        page(&said).text(),
        "\
claims
verdict       recipe  seeds  claim
reproduced    wide        1  falls
contradicted  wide        1  both
not answered  wide           no such metric

recipe  condition                                                own    other              difference [95 %]  verdict
wide    defense success, harmful lower                         0.0 %  100.0 %  -100.0 points [-100.0, -96.3]  reproduced
wide    defense success, harmful higher by 2.0 points          0.0 %  100.0 %  -100.0 points [-100.0, -96.3]  contradicted
wide    compliance, harmless and ambiguous within 5.0 points  75.0 %   75.0 %        0.0 points [-1.8, +1.8]  reproduced

  wide: no such metric: not answered: `eval` measures no `complience`; did you mean `compliance`?
one seed: the interval is over prompts and says nothing about training noise
"
    );
    let json = serde_json::to_value(&said).unwrap();
    assert_eq!(json[1]["verdict"], "contradicted");
    assert_eq!(json[1]["conditions"][1]["expect"], "within");
    assert_eq!(json[2]["verdict"], serde_json::Value::Null);
}

#[test]
fn seeds_are_what_a_verdict_is_over() {
    let space = Space::new();
    claim(
        &space,
        &[("falls", "{ metric = \"defense\", is = \"lower\" }")],
    );
    let seeds = ["seed=0,1,2"];
    let base = space.sides("base.toml", &seeds, |_, _| Some(measured(180, 0)));
    // Each seed alone is far below; together the trainings vary too much: -0.5, -0.05, -0.05.
    let wide = space.sides("wide.toml", &seeds, |_, axes| {
        let defended = if axes["seed"] == "0" { 80 } else { 170 };
        Some(measured(defended, 0))
    });
    let all: Vec<&Side> = base.iter().chain(&wide).collect();
    let said = answers(&space.store, &all).unwrap();
    let numbers = &said[0].conditions[0].numbers;
    assert_eq!((said[0].seeds, said[0].verdict), (3, Some(Inconclusive)));
    assert!(numbers.each.iter().all(|e| e.interval.unwrap().1 < 0.0));
    assert!(!page(&said).text().contains("one seed"));
    // Without the wild one it holds: -0.05 twice, so the widest of the seeds' own intervals.
    let two: Vec<&Side> = base
        .iter()
        .chain(&wide)
        .filter(|s| s.axes["seed"] != "0")
        .collect();
    let said = answers(&space.store, &two).unwrap();
    assert_eq!((said[0].seeds, said[0].verdict), (2, Some(Reproduced)));
    // A seed without an artifact is left out, and said.
    let gap = space.sides("wide.toml", &seeds, |_, axes| {
        (axes["seed"] != "0").then(|| measured(170, 0))
    });
    let all: Vec<&Side> = base.iter().chain(&gap).collect();
    let said = answers(&space.store, &all).unwrap();
    assert_eq!((said[0].seeds, said[0].notes.len()), (2, 1));
}

#[test]
fn a_claim_about_two_variants_of_one_recipe() {
    let space = Space::new();
    let sweep = |claim: &str| {
        let text = format!(
            "extends = \"base.toml\"\n[matrix]\nmodel.hidden_size = [16, 32]\n[[claim]]\nabout = \"wider defends\"\n\
             against = \"sweep.toml\"\nnode = \"eval\"\n{claim}\nexpect = [{{ metric = \"defense\", is = \"higher\" }}]\n"
        );
        space.file("sweep.toml", &text);
        let sides = space.sides("sweep.toml", &["seed=0,1"], |_, axes: &Axes| {
            let wide = axes["model.hidden_size"] == "32";
            let seed = usize::from(axes["seed"] == "1");
            Some(defense(&first(if wide { 8 + seed } else { 4 + seed }, 10)))
        });
        assert_eq!(sides.len(), 4);
        let said = answers(&space.store, &refs(&sides)).unwrap();
        assert_eq!(said.len(), 1, "a claim is one, however many variants");
        said.into_iter().next().unwrap()
    };
    let said: Answer =
        sweep("at = { \"model.hidden_size\" = 32 }\nagainst_at = { \"model.hidden_size\" = 16 }");
    assert_eq!(said.unanswered, None);
    let numbers = &said.conditions[0].numbers;
    assert_eq!(said.seeds, 2);
    assert!((numbers.difference - 0.4).abs() < 1e-12);
    // Without `at`, variants of other widths would be taken for seeds.
    let said = sweep("");
    assert_eq!(said.verdict, None);
    let why = said.unanswered.unwrap();
    assert!(
        why.contains("several variants, in `model.hidden_size`"),
        "{why}"
    );
    let why = sweep("at = { \"model.hidden_size\" = 32 }")
        .unanswered
        .unwrap();
    assert!(why.contains("which differ in `model.hidden_size`"), "{why}");
}

#[test]
fn what_is_not_there_is_not_answered() {
    let space = Space::new();
    claim(
        &space,
        &[("falls", "{ metric = \"defense\", is = \"lower\" }")],
    );
    let base = space.sides("base.toml", &[], |_, _| Some(measured(180, 0)));
    let wide = space.sides("wide.toml", &[], |_, _| Some(measured(150, 0)));
    let bare = space.sides("wide.toml", &[], |_, _| None);
    let why = |sides: &[&Side]| {
        let said = answers(&space.store, sides).unwrap();
        assert_eq!((said.len(), said[0].verdict), (1, None));
        said[0].unanswered.clone().unwrap()
    };
    let alone = why(&refs(&wide));
    assert!(
        alone.ends_with("base.toml` is not among the recipes that were read"),
        "{alone}"
    );
    let missing = why(&base.iter().chain(&bare).collect::<Vec<_>>());
    assert!(
        missing.starts_with("`wide` has no artifact of `eval`: pipe run "),
        "{missing}"
    );
    let others = space.sides("wide.toml", &[], |_, _| {
        let mut rows = measured(150, 0);
        rows[0].0 = "p0!another".into();
        Some(rows)
    });
    let refused = why(&base.iter().chain(&others).collect::<Vec<_>>());
    assert!(
        refused.contains("199 are the same, of 200 and 200"),
        "{refused}"
    );
}

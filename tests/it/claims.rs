//! Verdicts on claims: the rule, numbers beside it, and what is not answered.

use crate::sides::{BASE, Rows, Space, defense, first, refs};
use pipe::base::claim::{Axes, Expect};
use pipe::base::stats::crossed::{ALPHA, Enough, Estimate, Range, of_means};
use pipe::engine::store::Store;
use pipe::kinds::REGISTRY;
use pipe::recipe::Overrides;
use pipe::recipe::study::Study;
use pipe::report::side::Side;
use pipe::report::verdicts::decide::Verdict::{Contradicted, Inconclusive, Reproduced};
use pipe::report::verdicts::decide::{Decision, MOST_SEEDS, decide, enough, together};
use pipe::report::verdicts::show::{page, summary};
use pipe::report::verdicts::{self, Answer, Needed, between};

use std::path::PathBuf;

/// Of all recipes among the sides.
fn answers(store: &Store, sides: &[&Side]) -> anyhow::Result<Vec<Answer>> {
    verdicts::answers(store, sides, ALPHA, |_| true)
}

/// Three seeds whose mean has this interval.
fn with_interval((low, high): (f64, f64)) -> Estimate {
    let middle = (low + high) / 2.0;
    let spread = (high - low) / 2.0 * 3.0_f64.sqrt() / 4.302_652_729_7;
    let seeds = [middle - spread, middle, middle + spread];
    let found = of_means(&seeds, 0, Range::Free).unwrap();
    let (a, b) = found.interval(ALPHA).unwrap();
    assert!((a - low).abs() < 1e-6 && (b - high).abs() < 1e-6, "{a} {b}");
    found
}

#[test]
fn a_verdict_is_where_the_interval_lies() {
    let cases = [
        // Lower, with and without a margin.
        (Expect::Lower, 0.0, (-0.3, -0.1), Reproduced),
        (Expect::Lower, 0.0, (-0.3, 0.001), Inconclusive),
        (Expect::Lower, 0.0, (-0.1, 0.1), Inconclusive),
        (Expect::Lower, 0.0, (0.1, 0.3), Contradicted),
        (Expect::Lower, 0.2, (-0.3, -0.1), Inconclusive),
        (Expect::Lower, 0.2, (-0.4, -0.25), Reproduced),
        (Expect::Lower, 0.2, (-0.1, 0.3), Contradicted),
        // Higher is its mirror.
        (Expect::Higher, 0.0, (0.1, 0.3), Reproduced),
        (Expect::Higher, 0.0, (-0.3, -0.1), Contradicted),
        (Expect::Higher, 0.0, (-0.001, 0.3), Inconclusive),
        (Expect::Higher, 0.2, (0.25, 0.3), Reproduced),
        (Expect::Higher, 0.2, (-0.1, 0.1), Contradicted),
        // Within has to hold the whole interval.
        (Expect::Within, 0.05, (-0.049, 0.049), Reproduced),
        (Expect::Within, 0.05, (-0.01, 0.06), Inconclusive),
        (Expect::Within, 0.05, (0.06, 0.1), Contradicted),
        (Expect::Within, 0.05, (-0.2, -0.06), Contradicted),
        (Expect::Within, 0.05, (-0.2, 0.2), Inconclusive),
        // Differs is what within is not.
        (Expect::Differs, 0.0, (-0.3, -0.1), Reproduced),
        (Expect::Differs, 0.0, (0.1, 0.3), Reproduced),
        (Expect::Differs, 0.0, (-0.1, 0.3), Inconclusive),
        (Expect::Differs, 0.05, (0.01, 0.3), Inconclusive),
        (Expect::Differs, 0.05, (0.06, 0.3), Reproduced),
        (Expect::Differs, 0.05, (-0.01, 0.02), Contradicted),
    ];
    for (expect, by, interval, expected) in cases {
        let estimate = with_interval(interval);
        let said = decide(expect, by, &[&estimate], None);
        assert_eq!(
            said.verdict(ALPHA),
            expected,
            "{expect:?} by {by}: {interval:?}"
        );
        assert_eq!(said.p.unwrap() <= 0.05, expected != Inconclusive);
    }
    let alike = of_means(&[1.0, 1.0], 0, Range::Free).unwrap();
    let said = decide(Expect::Lower, 0.0, &[&alike], None);
    assert_eq!((said.p, said.verdict(ALPHA)), (None, Inconclusive));
}

#[test]
fn a_claim_is_as_sure_as_its_weakest_condition() {
    let of = |leans, p| Decision { leans, p: Some(p) };
    let all = |decisions: &[Decision]| {
        let one = together(decisions);
        (one.verdict(ALPHA), one.p.unwrap())
    };
    assert_eq!(
        all(&[of(Reproduced, 0.01), of(Reproduced, 0.04)]),
        (Reproduced, 0.04)
    );
    assert_eq!(
        all(&[of(Reproduced, 0.01), of(Reproduced, 0.06)]),
        (Inconclusive, 0.06)
    );
    // It fails with one, and which one was not said beforehand.
    assert_eq!(
        all(&[of(Contradicted, 0.02), of(Reproduced, 0.5)]),
        (Contradicted, 0.04)
    );
    assert_eq!(
        all(&[of(Contradicted, 0.03), of(Reproduced, 0.5)]),
        (Inconclusive, 0.06)
    );
}

#[test]
fn a_frontier_dominates_where_both_sides_say_so() {
    let both = |a, b, by, r| {
        decide(
            Expect::Dominates,
            by,
            &[&with_interval(a), &with_interval(b)],
            r,
        )
    };
    let up = (0.1, 0.3);
    assert_eq!(both(up, up, 0.0, None).verdict(ALPHA), Reproduced);
    assert_eq!(
        both(up, (-0.05, 0.15), 0.0, None).verdict(ALPHA),
        Inconclusive
    );
    assert_eq!(
        both(up, (-0.3, -0.2), 0.0, None).verdict(ALPHA),
        Contradicted
    );
    // Higher on one, and on the other not lower by more than 5 points.
    assert_eq!(
        both(up, (-0.03, 0.03), 0.05, None).verdict(ALPHA),
        Reproduced
    );
    assert_eq!(
        both((-0.02, 0.03), (-0.03, 0.03), 0.05, None).verdict(ALPHA),
        Inconclusive
    );
    // Neither is lower by 5 points, and neither is higher.
    let down = (-0.03, -0.01);
    assert_eq!(both(down, down, 0.05, None).verdict(ALPHA), Contradicted);
    let unclear = both(down, (-0.03, 0.02), 0.05, None);
    assert_eq!(
        (unclear.leans, unclear.verdict(ALPHA)),
        (Contradicted, Inconclusive)
    );
    // Which of the two is higher was not said beforehand: the p of the better one is corrected, less where both go together.
    let [alone, together] =
        [None, Some(1.0)].map(|r| both((0.001, 0.3), (-0.01, 0.02), 0.05, r).p.unwrap());
    let one = with_interval((0.001, 0.3)).p(0.0).unwrap();
    assert!(
        one < together && together < alone && alone < 2.0 * one,
        "{one} {together} {alone}"
    );
}

#[test]
fn the_advice_for_a_frontier_is_of_what_is_open() {
    let advice = |a: &Estimate, b: &Estimate| enough(Expect::Dominates, 0.05, &[a, b], ALPHA);
    // Clearly not lower by 5 points; that one is higher takes more.
    let even = with_interval((-0.02, 0.06));
    let better = even.enough(&[0.0], ALPHA / 2.0, MOST_SEEDS);
    assert_eq!(advice(&even, &even), better);
    assert_ne!(better, even.enough(&[-0.05], ALPHA, MOST_SEEDS));
    // One that is lower is enough, however close the other is.
    let (low, close) = (with_interval((-0.4, -0.1)), with_interval((-0.08, -0.03)));
    let one = low.enough(&[-0.05], ALPHA / 2.0, MOST_SEEDS);
    assert_eq!(advice(&low, &close), one);
    assert_ne!(close.enough(&[-0.05], ALPHA / 2.0, MOST_SEEDS), one);
}

#[test]
fn a_claim_that_seems_to_fail_needs_what_its_clearest_condition_needs() {
    let space = Space::new();
    let lower =
        "{ metric = \"defense\", is = \"lower\" }, { metric = \"compliance\", is = \"lower\" }";
    claim(&space, &[("both fall", lower)]);
    let seeds = ["seed=0,1,2"];
    let base = space.sides("base.toml", &seeds, |_, _| Some(measured(130, 150)));
    let wide = space.sides("wide.toml", &seeds, |_, axes| {
        let seed: usize = axes["seed"].parse().unwrap();
        Some(measured(150 + 4 * seed, 151 + 2 * seed))
    });
    let all: Vec<&Side> = base.iter().chain(&wide).collect();
    let alpha = 1e-5;
    let said = verdicts::answers(&space.store, &all, alpha, |_| true).unwrap();
    let clearest = &said[0].conditions[0].numbers.estimate;
    let Some(Enough::Seeds(n)) = clearest.enough(&[0.0], alpha / 2.0, MOST_SEEDS) else {
        panic!("{clearest:?}");
    };
    assert_eq!(said[0].enough, Some(Needed::Seeds(n)));
    assert_eq!(said[0].verdict, Some(Inconclusive));
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
    let found: Vec<_> = said.iter().map(|a| a.verdict).collect();
    let expected = [Reproduced, Contradicted, Reproduced, Inconclusive];
    // One seed: a verdict about these two models, and none about training.
    assert!(
        said.iter()
            .all(|a| !a.settled && a.enough == Some(Needed::Another))
    );
    assert_eq!(found, expected.map(Some));
    // What is looked at often asks for a smaller p, of a verdict as well.
    let strict = verdicts::answers(&space.store, &all, 1e-10, |_| true).unwrap();
    for a in &strict {
        assert_eq!(
            (a.verdict, a.raw_verdict),
            (Some(Inconclusive), Some(Inconclusive))
        );
        assert!(a.conditions.iter().all(|c| c.verdict == Inconclusive));
    }
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
                "{ metric = \"unscorable\", is = \"higher\" }",
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
#  verdict       alone                p  recipe  seeds  claim
1  reproduced    reproduced    < 0.0001  wide        1  falls
2  contradicted  contradicted  < 0.0001  wide        1  both
3  not answered                          wide           no such metric

#    recipe  condition                                                own    other              difference [95 %]         p  verdict
1    wide    defense success, harmful lower                         0.0 %  100.0 %  -100.0 points [-100.0, -97.3]  < 0.0001  reproduced
2.1  wide    defense success, harmful higher by 2.0 points          0.0 %  100.0 %  -100.0 points [-100.0, -97.3]  < 0.0001  contradicted
2.2  wide    compliance, harmless and ambiguous within 5.0 points  75.0 %   75.0 %        0.0 points [-1.0, +1.0]  < 0.0001  reproduced

  wide: falls: one seed; two at least tell training noise
  wide: both: one seed; two at least tell training noise
  wide: no such metric: not answered: `eval` measures no `unscorable`
corrected together (Holm), 2 claims: wide: falls; wide: both
one seed: the interval is over prompts and says nothing about training noise
"
    );
    let json = serde_json::to_value(&said).unwrap();
    assert_eq!(json[1]["verdict"], "contradicted");
    assert_eq!(json[1]["conditions"][1]["expect"], "within");
    assert_eq!(json[2]["verdict"], serde_json::Value::Null);
    let families = [&json[0]["family"], &json[1]["family"], &json[2]["family"]];
    assert_eq!(families, [&2.into(), &2.into(), &serde_json::Value::Null]);
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
    let open = said[0].enough;
    assert!(matches!(open, Some(Needed::Seeds(4..40))), "{open:?}");
    assert!(
        page(&said)
            .text()
            .contains("seeds in all would settle it; 3 seeds tell differences from ")
    );
    // Two seeds as far apart: no difference that a share can have is told from none.
    let apart: Vec<&Side> = base
        .iter()
        .chain(&wide)
        .filter(|s| s.axes["seed"] != "2")
        .collect();
    let said = answers(&space.store, &apart).unwrap();
    assert!(said[0].conditions[0].numbers.detectable.unwrap() > 1.0);
    let text = page(&said).text();
    assert!(
        text.contains("; 2 seeds tell no difference at all in defense success, harmful\n"),
        "{text}"
    );
    // Without the wild one it holds: -0.05 twice, of the same 200 prompts.
    let two: Vec<&Side> = base
        .iter()
        .chain(&wide)
        .filter(|s| s.axes["seed"] != "0")
        .collect();
    let said = answers(&space.store, &two).unwrap();
    assert_eq!((said[0].seeds, said[0].verdict), (2, Some(Reproduced)));
    assert!(said[0].settled && said[0].enough.is_none());
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

#[test]
fn several_claims_are_corrected_together_and_say_what_each_is_alone() {
    let space = Space::new();
    let falls = "{ metric = \"defense\", is = \"lower\" }";
    let names = ["a", "b", "c", "d"];
    claim(&space, &names.map(|name| (name, falls)));
    // 11 of 200 fall: p is 0.02 or so, and four times as much for one of four.
    let base = space.sides("base.toml", &[], |_, _| Some(measured(180, 150)));
    let wide = space.sides("wide.toml", &[], |_, _| {
        let mut rows = measured(177, 150);
        rows[0].1[0].1 = 0.0;
        rows[199].1[0].1 = 0.0;
        Some(rows)
    });
    let all: Vec<&Side> = base.iter().chain(&wide).collect();
    let said = answers(&space.store, &all).unwrap();
    for one in &said {
        let (raw, corrected) = (one.raw_p.unwrap(), one.p.unwrap());
        assert!((corrected - 4.0 * raw).abs() < 1e-12, "{raw} {corrected}");
    }
    let family = verdicts::family(&said).map(|a| a.about.as_str());
    assert_eq!(family.collect::<Vec<_>>(), names);
    let alone = verdicts::answers(&space.store, &all, ALPHA, |recipe| recipe == "base").unwrap();
    assert!(alone.is_empty());
    let raw = said[0].raw_p.unwrap();
    assert!((0.02..0.13).contains(&raw), "{raw}");
    assert_eq!(said[0].verdict, Some(Inconclusive));
    let text = page(&said).text();
    assert!(
        text.starts_with("claims\n#  verdict       alone "),
        "{text}"
    );
}

#[test]
fn a_mean_and_a_frontier_are_answered_from_both_metrics() {
    let space = Space::new();
    claim(
        &space,
        &[
            (
                "mean",
                "{ mean = [\"defense\", \"compliance\"], is = \"higher\" }",
            ),
            (
                "both",
                "{ both = [\"defense\", \"compliance\"], is = \"dominates\" }",
            ),
            ("differs", "{ metric = \"compliance\", is = \"differs\" }"),
        ],
    );
    let seeds = ["seed=0,1,2"];
    let at = |axes: &Axes| axes["seed"].parse::<usize>().unwrap();
    let base = space.sides("base.toml", &seeds, |_, a| Some(measured(100 + at(a), 150)));
    let wide = space.sides("wide.toml", &seeds, |_, a| {
        Some(measured(160 + at(a), 150 - 2 * at(a)))
    });
    let all: Vec<&Side> = base.iter().chain(&wide).collect();
    let said = answers(&space.store, &all).unwrap();
    let mean = &said[0].conditions[0];
    assert_eq!(mean.label, "mean of defense and compliance");
    // Defense +60 of 200, compliance -2 on average.
    assert!((mean.numbers.difference - 0.145).abs() < 1e-12);
    assert_eq!((mean.numbers.pairs, mean.parts.len()), (400, 2));
    assert_eq!(said[0].verdict, Some(Reproduced));
    let both = &said[1].conditions[0];
    assert_eq!(both.parts[0].metric, "defense");
    assert_eq!(
        (both.verdict, said[1].verdict),
        (Inconclusive, Some(Inconclusive))
    );
    let text = page(&said).text();
    for line in [
        "defense and compliance dominates",
        "  defense success, harmful  ",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let json = serde_json::to_value(&said).unwrap();
    assert_eq!(json[1]["conditions"][0]["parts"][1]["metric"], "compliance");
    assert_eq!(said[2].verdict, Some(Inconclusive));
}

/// Of a mean and of a frontier, each rate stands with the share of its answers that cannot be read.
#[test]
fn every_rate_of_several_has_its_unreadable_answers_beside_it() {
    let space = Space::new();
    let mean = "{ mean = [\"defense\", \"compliance\"], is = \"higher\" }";
    let both = "{ both = [\"defense\", \"compliance\"], is = \"dominates\" }";
    claim(&space, &[("mean", mean), ("both", both)]);
    let rows = |defended: usize, lost: usize| {
        let mut rows = measured(defended, 150);
        for (i, (_, values)) in rows.iter_mut().enumerate() {
            values.push(("compliance/harmless", f64::from(i < 150)));
            values.push(("unreadable/harmful", f64::from(i < lost)));
            values.push(("unreadable/harmless", f64::from(i < 2 * lost)));
        }
        rows
    };
    let base = space.sides("base.toml", &[], |_, _| Some(rows(100, 0)));
    let wide = space.sides("wide.toml", &[], |_, _| Some(rows(160, 4)));
    let all: Vec<&Side> = base.iter().chain(&wide).collect();
    let said = answers(&space.store, &all).unwrap();
    let text = page(&said).text();
    let beside: Vec<Vec<&str>> = (text.lines())
        .filter(|l| l.contains("  ! unreadable"))
        .map(|l| l.split_whitespace().collect())
        .collect();
    let harmful = ["!", "unreadable", "2.0", "%", "0.0", "%"];
    assert_eq!(beside[0], harmful, "{text}");
    assert_eq!(beside.len(), 4, "{text}");
    let json = serde_json::to_value(&said).unwrap();
    let part = &json[0]["conditions"][0]["parts"][0]["beside"];
    assert_eq!(part["second"]["unreadable"], 0.02);
}

/// `base.toml` with a claim that compares two metrics of `eval`.
fn within(space: &Space, conditions: &str) {
    let text = format!(
        "{BASE}[[claim]]\nabout = \"longer where more is looked up\"\nnode = \"eval\"\nexpect = [{conditions}]\n"
    );
    space.file("base.toml", &text);
}

const LONGER: &str =
    "{ metric = \"reasoning/lookups/2\", is = \"higher\", than = \"reasoning/lookups/0\" }";

/// Words of prompts without lookups and of others with two; `named` makes prompts of seeds different ones.
fn by_lookups(named: &str, none: &[f64], two: &[f64]) -> Rows {
    let group = |metric: &'static str, letter: char, words: &[f64]| -> Rows {
        let row = |(i, w): (usize, &f64)| {
            (
                format!("{letter}{i}!{letter}{i}{named}"),
                vec![(metric, *w)],
            )
        };
        words.iter().enumerate().map(row).collect()
    };
    let mut rows = group("reasoning/lookups/0", 'a', none);
    rows.extend(group("reasoning/lookups/2", 'b', two));
    rows
}

#[test]
fn a_claim_within_a_recipe_compares_two_metrics_of_one_node() {
    let space = Space::new();
    within(&space, LONGER);
    let one = space.sides("base.toml", &[], |_, _| {
        Some(by_lookups(
            "",
            &[10.0, 12.0, 14.0, 12.0],
            &[20.0, 22.0, 18.0],
        ))
    });
    let said = answers(&space.store, &refs(&one)).unwrap();
    let condition = &said[0].conditions[0];
    let numbers = &condition.numbers;
    assert_eq!(
        (numbers.first, numbers.second, numbers.difference),
        (12.0, 20.0, 8.0)
    );
    // Two groups of other prompts: 8 / 3 / 4 + 4 / 3 = 2, and Student's t of the smaller group's two degrees of freedom.
    let (low, high) = numbers.interval.unwrap();
    let half = 4.302_652_729_7 * 2.0_f64.sqrt();
    assert!(
        (low - 8.0 + half).abs() < 1e-6 && (high - 8.0 - half).abs() < 1e-6,
        "{low} {high}"
    );
    assert_eq!(
        (said[0].verdict, said[0].settled),
        (Some(Reproduced), false)
    );
    let text = page(&said).text();
    let line = "reasoning words, lookups/2 higher than reasoning words, lookups/0";
    assert!(text.contains(line), "{text}");
    assert!(said[0].within && said[0].against == "base");
    let json = serde_json::to_value(&said).unwrap();
    assert_eq!(json[0]["conditions"][0]["than"], "reasoning/lookups/0");
    // A comparison with another recipe is not what it is about.
    let wide = space.sides("wide.toml", &[], |_, _| Some(measured(1, 1)));
    assert_eq!(
        between(&space.store, &refs(&one), &refs(&wide))
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn a_claim_within_a_recipe_is_over_its_seeds() {
    let space = Space::new();
    within(&space, LONGER);
    let sides = space.sides("base.toml", &["seed=0,1,2"], |_, axes| {
        let more = axes["seed"].parse::<f64>().unwrap();
        Some(by_lookups(
            &axes["seed"],
            &[10.0, 10.0],
            &[14.0 + more, 14.0 + more],
        ))
    });
    let said = answers(&space.store, &refs(&sides)).unwrap();
    let numbers = &said[0].conditions[0].numbers;
    // 4, 5 and 6: no prompt varies, so the spread of the seeds is all the noise there is.
    let (low, high) = numbers.interval.unwrap();
    let half = 4.302_652_729_7 / 3.0_f64.sqrt();
    assert!(
        (low - 5.0 + half).abs() < 1e-6 && (high - 5.0 - half).abs() < 1e-6,
        "{low} {high}"
    );
    assert_eq!((said[0].seeds, said[0].verdict), (3, Some(Reproduced)));
    assert!(said[0].settled);
    // A seed that was not run is left out, and said; one metric that is not there is no answer.
    let two = space.sides("base.toml", &["seed=0,1,2"], |_, axes| {
        (axes["seed"] != "0").then(|| by_lookups(&axes["seed"], &[10.0, 9.0], &[15.0, 14.0]))
    });
    let said = answers(&space.store, &refs(&two)).unwrap();
    assert_eq!((said[0].seeds, said[0].notes.len()), (2, 1));
    let none = space.sides("base.toml", &[], |_, _| {
        Some(by_lookups("", &[10.0, 9.0], &[]))
    });
    let said = answers(&space.store, &refs(&none)).unwrap();
    let why = said[0].unanswered.as_deref();
    assert_eq!(why, Some("`eval` measures no `reasoning/lookups/2`"));
}

#[test]
fn what_is_wrong_with_a_claim_within_a_recipe_is_said() {
    let space = Space::new();
    let shown = |conditions: &str, more: &str| {
        within(&space, conditions);
        let text = std::fs::read_to_string(space.dir.path().join("base.toml")).unwrap();
        space.file(
            "base.toml",
            &text.replace("node = \"eval\"\n", &format!("node = \"eval\"\n{more}")),
        );
        study(&space, &[]).err().unwrap_or_default()
    };
    assert_eq!(shown(LONGER, ""), "");
    for (old, new, more, said) in [
        (
            "lookups/2",
            "lookups/0",
            "",
            "`reasoning/lookups/0` is compared with itself",
        ),
        (
            "lookups/0",
            "lookups/7",
            "",
            "no row of `eval` has `lookups` = `7`",
        ),
        (
            "\"reasoning/lookups/0\"",
            "\"lenght/harmful\"",
            "",
            "`eval` measures no `lenght/harmful`",
        ),
        (
            "\"reasoning/lookups/0\"",
            "\"defense\"",
            "",
            "they have no difference",
        ),
        (
            "metric = \"reasoning/lookups/2\"",
            "mean = [\"defense\", \"compliance\"]",
            "",
            "one against one",
        ),
        (
            " }",
            " }, { metric = \"defense\", is = \"higher\" }",
            "",
            "the condition lacks `than`",
        ),
        (
            " }",
            ", against_node = \"eval\" }",
            "",
            "so there is no `against_node`",
        ),
        (
            "",
            "",
            "against = \"wide.toml\"\n",
            "so there is no `against`",
        ),
    ] {
        let text = shown(&LONGER.replacen(old, new, 1), more);
        assert!(text.contains(said), "{new}{more}\n{text}");
        assert!(text.contains("--> base.toml:"), "{text}");
    }
}

/// All variants of `base.toml` and `wide.toml`, or what is wrong.
fn study(space: &Space, matrix: &[&str]) -> Result<Study, String> {
    let overrides = Overrides {
        matrix: matrix.iter().map(|m| m.to_string()).collect(),
        cwd: space.dir.path().into(),
        ..Overrides::default()
    };
    let files = ["wide.toml", "base.toml"].map(PathBuf::from);
    Study::load(&files, &overrides, &REGISTRY).map_err(|diags| diags.render(false))
}

#[test]
fn an_axis_of_a_recipe_reaches_what_its_claims_are_against() {
    let space = Space::new();
    let labels = |text: &str, matrix: &[&str]| -> Vec<String> {
        space.file("wide.toml", text);
        let study = study(&space, matrix).unwrap_or_else(|e| panic!("{e}"));
        study.variants.iter().map(|v| v.label()).collect()
    };
    let text = |matrix: &str, at: &str| {
        format!(
            "extends = \"base.toml\"\nname = \"wide\"\n[matrix]\n{matrix}\n[[claim]]\nabout = \"falls\"\nagainst = \"base.toml\"\n\
             {at}node = \"eval\"\nexpect = [{{ metric = \"defense\", is = \"lower\" }}]\n"
        )
    };
    let seeds = "seed = [0, 1]";
    let both = ["wide seed=0", "wide seed=1", "base seed=0", "base seed=1"];
    assert_eq!(labels(&text(seeds, ""), &[]), both);
    // The command line has the last word, and one other value is what the recipe changes.
    assert_eq!(
        labels(&text(seeds, ""), &["seed=7"]),
        ["wide seed=7", "base seed=7"]
    );
    let one = "model.hidden_size = [32]";
    assert_eq!(
        labels(&text(one, ""), &[]),
        ["wide model.hidden_size=32", "base"]
    );
    // What a claim chooses on is what it compares.
    let two = "model.hidden_size = [8, 32]";
    let at = "at = { \"model.hidden_size\" = 32 }\n";
    assert_eq!(labels(&text(two, at), &[])[2..], ["base"]);
    // Where the other varies it itself, it does so by its own values.
    space.file(
        "base.toml",
        &BASE.replace("[vars]", "[matrix]\nseed = [5]\n[vars]"),
    );
    let plain = text(seeds, "");
    assert_eq!(
        labels(&plain, &[]),
        ["wide seed=0", "wide seed=1", "base seed=5"]
    );
}

#[test]
fn what_a_claim_names_and_nobody_has_is_an_error_before_anything_runs() {
    let space = Space::new();
    space.file(
        "base.toml",
        &format!("{BASE}[node.more]\nkind = \"evaluate\"\nin = {{ completions = \"answers\" }}\n"),
    );
    let right = "extends = \"base.toml\"\nname = \"wide\"\n[matrix]\nseed = [0, 1]\n[[claim]]\nabout = \"falls\"\n\
                 against = \"base.toml\"\nnode = \"eval\"\nexpect = [{ metric = \"defense\", is = \"lower\" }]\n";
    space.file("wide.toml", right);
    assert!(study(&space, &[]).is_ok());
    for (old, new, said) in [
        ("\"defense\"", "\"defence\"", "did you mean `defense`?"),
        (
            "\"defense\"",
            "\"refusl/harmless\"",
            "did you mean `refusal/harmless`?",
        ),
        (
            "\"defense\"",
            "\"refusal/harmles\"",
            "`eval` measures no `refusal/harmles`",
        ),
        (
            "\"defense\"",
            "\"reasoning/difficulty_3\"",
            "did you mean `reasoning/lookups/2`?",
        ),
        (
            "\"defense\"",
            "\"loss\"",
            " more; `pipe kinds evaluate` lists them",
        ),
        (
            "metric = \"defense\"",
            "mean = [\"defense\", \"reasoning/harmful\"]",
            "`defense` has the unit `share` and `reasoning/harmful` `words`: they have no mean",
        ),
        (
            "metric = \"defense\"",
            "mean = [\"unreadable\", \"defense\"]",
            "of `unreadable` lower is better and of `defense` higher: a mean says neither",
        ),
        (
            "metric = \"defense\", is = \"lower\"",
            "both = [\"defense\", \"unreadable\"], is = \"dominates\"",
            "of `unreadable` lower is better, and `dominates` asks for higher",
        ),
        (
            "node = ",
            "against_node = \"evl\"\nnode = ",
            "`base` has no node `evl`",
        ),
        (
            "node = ",
            "at = { seed = 3 }\nnode = ",
            "no variant of `wide` has seed = 3",
        ),
        (
            "node = ",
            "against_at = { sed = 0 }\nnode = ",
            "`sed` is no axis of `base`",
        ),
    ] {
        space.file("wide.toml", &right.replacen(old, new, 1));
        let shown = study(&space, &[]).err().unwrap_or_default();
        assert!(shown.contains(said), "{new}\n{shown}");
        assert!(shown.contains("--> wide.toml:"), "{new}\n{shown}");
    }
    // What rows of the world have is known; of those of files anything can be measured.
    for (metric, said) in [
        ("defense/form/code", None),
        ("defense/lookups/0", None),
        (
            "defense/functional/standard",
            Some("no row of `eval` has the label `functional`"),
        ),
        ("defense/forms/code", Some("did you mean `form`?")),
        ("defense/form/cod", Some("did you mean `code`?")),
        (
            "defense/lookups/9",
            Some("no row of `eval` has `lookups` = `9`"),
        ),
    ] {
        let metric = format!("\"{metric}\"");
        space.file("wide.toml", &right.replace("\"defense\"", &metric));
        let shown = study(&space, &[]).err();
        match said {
            None => assert_eq!(shown, None),
            Some(said) => assert!(
                shown.as_ref().is_some_and(|s| s.contains(said)),
                "{shown:?}"
            ),
        }
    }
    // An attack labels its cases.
    let by_attack = right.replace("\"defense\"", "\"defense/attack/augment\"");
    space.file("wide.toml", &by_attack);
    let shown = study(&space, &[]).err().unwrap_or_default();
    assert!(
        shown.contains("no row of `eval` has the label `attack`"),
        "{shown}"
    );
    let attacked = "[node.cases]\nkind = \"augment\"\nin = { prompts = \"prompts.eval\" }\n";
    let asked = BASE.replace("\"prompts.eval\"", "\"cases\"");
    space.file("base.toml", &[&asked, attacked].concat());
    assert_eq!(study(&space, &[]).err(), None);
    space.file("base.toml", BASE);
    // What the command line leaves out is not answered, and no error.
    space.file(
        "wide.toml",
        &right.replace("node = ", "at = { seed = 1 }\nnode = "),
    );
    assert!(study(&space, &["seed=0"]).is_ok());
}

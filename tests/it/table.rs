//! Plain-text tables.

use pipe::report::table::{Table, left, right};

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

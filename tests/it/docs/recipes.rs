//! Every recipe and every piece of one is what `pipe check` accepts.

use super::{Block, Checkout, Page, assert_none, at, pages};

#[test]
fn every_recipe_is_one_that_check_accepts() {
    let checkout = Checkout::new();
    let mut wrong = vec![];
    let mut checked = 0;
    for page in pages() {
        let blocks = page.blocks();
        for block in &blocks {
            if block.marks.contains_key("file") {
                checkout.file(&block.marks["file"], &block.text);
            }
        }
        for block in blocks.iter().filter(|b| b.language == "toml") {
            if block.marks.contains_key("unchecked") {
                continue;
            }
            checked += 1;
            wrong.extend(problem(&checkout, &page, block));
        }
    }
    assert_none(&wrong);
    assert!(checked >= 20, "{checked} recipes are few");
}

fn problem(checkout: &Checkout, page: &Page, block: &Block) -> Option<String> {
    let name = match block.marks.get("file") {
        Some(name) => name.clone(),
        None => {
            let base = block.marks.get("base");
            let extends = base.map_or(String::new(), |base| format!("extends = \"{base}\"\n"));
            checkout.file("piece.toml", &(extends + &block.text));
            "piece.toml".to_string()
        }
    };
    let output = checkout.shell(&format!("pipe check {name}")).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    (!output.status.success()).then(|| format!("{}: {said}", at(page, block)))
}

//! What a table lacks, in one line a recipe, with the one command that makes it.

use crate::asked;
use crate::side::{self, Side};
use base::text::listed;

/// More variants than so many are counted rather than named.
const MOST: usize = 8;

/// By axis, in the order of the sides: values that some of them have.
type Values = Vec<(String, Vec<String>)>;

/// Of sides and nodes of theirs without an artifact.
pub fn lines(lacking: &[(&Side, &str)]) -> Vec<String> {
    let mut sides: Vec<&Side> = vec![];
    for (side, _) in lacking {
        if !sides.iter().any(|s| std::ptr::eq(*s, *side)) {
            sides.push(side);
        }
    }
    let recipes = side::repeated(&sides, |_| true);
    recipes.iter().flat_map(|of| recipe(of, lacking)).collect()
}

/// Of the variants of one recipe.
fn recipe(variants: &[&Side], lacking: &[(&Side, &str)]) -> Vec<String> {
    let own = || {
        let has = |side: &Side| variants.iter().any(|v| std::ptr::eq(*v, side));
        lacking.iter().filter(move |(side, _)| has(side))
    };
    let strange = |(side, node): &&(&Side, &str)| side.graph.find(node).is_none();
    let mut lines: Vec<String> = own()
        .filter(strange)
        .map(|(side, node)| side.missing(node))
        .collect();
    // Nodes that the same variants lack are named together.
    let mut nodes: Vec<(&str, Vec<&Side>)> = vec![];
    for (side, node) in own().filter(|pair| !strange(pair)) {
        match nodes.iter_mut().find(|(name, _)| name == node) {
            Some((_, of)) => of.push(side),
            None => nodes.push((node, vec![side])),
        }
    }
    if let [(node, of)] = nodes.as_slice()
        && let [one] = of.as_slice()
    {
        lines.push(one.missing(node));
        return lines;
    }
    let names: Vec<&str> = nodes.iter().map(|(name, _)| *name).collect();
    let alike = |a: &[&Side], b: &[&Side]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| std::ptr::eq(*a, *b))
    };
    let mut clauses: Vec<(Vec<&str>, Vec<&Side>)> = vec![];
    for (name, of) in nodes {
        match clauses.iter_mut().find(|(_, other)| alike(other, &of)) {
            Some((together, _)) => together.push(name),
            None => clauses.push((vec![name], of)),
        }
    }
    let Some(first) = clauses.first().map(|(_, of)| of[0]) else {
        return lines;
    };
    let told: Vec<String> = (clauses.iter())
        .map(|(names, of)| format!("{}{}", listed(names.iter().copied()), under(of)))
        .collect();
    let axes = values(variants).into_iter();
    let mut evaluations = asked::chosen(first, &[]).peekable();
    // Who lacks every evaluation runs the recipe.
    let whole = evaluations.peek().is_some() && evaluations.all(|n| names.contains(&&*n.name));
    let only = if whole { &[] } else { names.as_slice() };
    let command = first.command(axes.map(|(axis, all)| (axis, all.join(","))), only);
    let (recipe, told) = (&first.recipe, told.join(", of "));
    lines.push(match command {
        Some(command) => format!("`{recipe}` has no artifacts of {told}: {command}"),
        None => format!("`{recipe}` left no artifacts of {told}"),
    });
    lines
}

/// ` under seed=0,1,2`; each by itself where they are not all that their values make.
fn under(of: &[&Side]) -> String {
    let axes = values(of);
    if axes.is_empty() {
        return String::new();
    }
    let together = |(axis, all): &(String, Vec<String>)| format!("{axis}={}", all.join(","));
    let choices: usize = axes.iter().map(|(_, all)| all.len()).product();
    if choices == of.len() {
        let all: Vec<String> = axes.iter().map(together).collect();
        return format!(" under {}", all.join(" "));
    }
    let each = of.iter().take(MOST).map(|side| {
        let axes = side.axes.iter();
        let axes: Vec<String> = axes.map(|(a, v)| format!("{a}={v}")).collect();
        axes.join(" ")
    });
    let mut each: Vec<String> = each.collect();
    if of.len() > MOST {
        each.push(format!("{} more", of.len() - MOST));
    }
    format!(" under {}", each.join("; "))
}

fn values(sides: &[&Side]) -> Values {
    let mut found: Values = vec![];
    for (axis, value) in sides.iter().flat_map(|s| &s.axes) {
        match found.iter_mut().find(|(a, _)| a == axis) {
            Some((_, all)) if all.contains(value) => {}
            Some((_, all)) => all.push(value.clone()),
            None => found.push((axis.clone(), vec![value.clone()])),
        }
    }
    found
}

//! The study's graph as a picture: a band a recipe, and in it from top to bottom what needs what. What several recipes share stands in
//! the band of the first; a node's variants under other choices of axes are one box.

use crate::html::study::Study;
use crate::html::svg::escape;
use base::text::duration;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const BOX: (i32, i32) = (160, 40);
const GAP: (i32, i32) = (16, 26);
/// Boxes beside each other: in a window, and on a telephone.
const COLUMNS: (usize, usize) = (6, 2);
const BAND_TITLE: i32 = 26;
const EDGE: i32 = 10;
/// Letters that fit into a box.
const LETTERS: usize = 20;
/// For a file of its own, where no page gives the colours.
const STYLE: &str = "<style>text{font:13px sans-serif;fill:#222}.small{font-size:11px;fill:#555}.band{font-weight:bold}\
    .n rect{fill:#fff;stroke:#666}.n.missing rect{stroke-dasharray:4 3;stroke:#b3261e}.e{fill:none;stroke:#aaa}.far{opacity:.35}\
    .lane{fill:#f5f5f4}</style>";

/// One box: the same node of the same recipes under all choices of axes.
#[derive(Serialize)]
pub struct Group {
    pub name: String,
    pub kind: String,
    pub about: Option<String>,
    /// Names of the recipes that use it.
    pub recipes: Vec<String>,
    /// Places in `Study::items`.
    pub items: Vec<usize>,
    /// Items with a record.
    pub there: usize,
    pub seconds: f64,
    /// Places among the groups.
    pub parents: Vec<usize>,
    #[serde(skip)]
    band: usize,
    #[serde(skip)]
    depth: usize,
}

impl Group {
    pub fn missing(&self) -> usize {
        self.items.len() - self.there
    }

    /// `1 m 54 s`, `missing`, `2 of 3 missing`.
    pub fn state(&self) -> String {
        match (self.missing(), self.there) {
            (0, _) => duration(self.seconds),
            (_, 0) => "missing".into(),
            (missing, _) => format!("{missing} of {} missing", self.items.len()),
        }
    }
}

/// Every item is in one group; a parent's group comes first.
pub fn groups(study: &Study) -> Vec<Group> {
    let mut groups: Vec<Group> = vec![];
    let mut places: BTreeMap<(usize, &str, &str), usize> = BTreeMap::new();
    let mut of_item = vec![];
    for (at, item) in study.items.iter().enumerate() {
        let kind = item.node.kind.name;
        let place = *places
            .entry((item.recipes[0], item.name, kind))
            .or_insert(groups.len());
        if place == groups.len() {
            groups.push(Group {
                name: item.name.into(),
                kind: kind.into(),
                about: item.about.map(String::from),
                recipes: vec![],
                items: vec![],
                there: 0,
                seconds: 0.0,
                parents: vec![],
                band: item.recipes[0],
                depth: 0,
            });
        }
        let group = &mut groups[place];
        group.items.push(at);
        group.there += usize::from(item.record.is_some());
        group.seconds += item.record.map_or(0.0, |r| r.cost.seconds);
        group.depth = group.depth.max(item.depth);
        for recipe in &item.recipes {
            let name = study.recipes[*recipe].name.to_string();
            if !group.recipes.contains(&name) {
                group.recipes.push(name);
            }
        }
        for parent in &item.parents {
            let parent: usize = of_item[*parent];
            if parent != place && !group.parents.contains(&parent) {
                group.parents.push(parent);
            }
        }
        of_item.push(place);
    }
    groups
}

/// Where a box stands; and the size of all.
struct Layout {
    corners: Vec<(i32, i32)>,
    /// Name, top, height.
    bands: Vec<(String, i32, i32)>,
    size: (i32, i32),
}

fn layout(study: &Study, groups: &[Group], columns: usize) -> Layout {
    let mut places = vec![(0_usize, 0_usize); groups.len()];
    let mut corners = vec![(0, 0); groups.len()];
    let mut bands = vec![];
    let titled = study.recipes.len() > 1;
    let mut top = EDGE;
    for (band, recipe) in study.recipes.iter().enumerate() {
        let own: Vec<usize> = (0..groups.len())
            .filter(|g| groups[*g].band == band)
            .collect();
        if own.is_empty() {
            continue;
        }
        let used = rows_of(groups, &own, columns, &mut places);
        let title = if titled { BAND_TITLE } else { 0 };
        for group in &own {
            let (row, column) = places[*group];
            let x = EDGE + 8 + column as i32 * (BOX.0 + GAP.0);
            corners[*group] = (x, top + title + row as i32 * (BOX.1 + GAP.1));
        }
        let high = title + used as i32 * (BOX.1 + GAP.1);
        if titled {
            bands.push((recipe.name.to_string(), top, high - GAP.1 / 2));
        }
        top += high + GAP.1 / 2;
    }
    let right = corners.iter().map(|c| c.0 + BOX.0).max().unwrap_or(0);
    Layout {
        corners,
        bands,
        size: (right + 8 + EDGE, top),
    }
}

/// Gives the boxes of a band their rows and columns, depth by depth: near the columns of what they need, and a further row where a depth
/// has more than fit. Returns how many rows.
fn rows_of(
    groups: &[Group],
    own: &[usize],
    columns: usize,
    places: &mut [(usize, usize)],
) -> usize {
    let depths: BTreeSet<usize> = own.iter().map(|g| groups[*g].depth).collect();
    let mut used = 0;
    for depth in depths {
        let level = own.iter().copied().filter(|g| groups[*g].depth == depth);
        let mut level: Vec<(usize, usize)> = level
            .map(|group| {
                let parents = groups[group].parents.iter();
                let near: Vec<usize> = parents.map(|p| places[*p].1).collect();
                let wish = near.iter().sum::<usize>().checked_div(near.len());
                (wish.unwrap_or(0), group)
            })
            .collect();
        level.sort();
        for row in level.chunks(columns) {
            let mut free: BTreeSet<usize> = (0..columns).collect();
            for (wish, group) in row {
                let nearest = free.iter().copied().min_by_key(|c| c.abs_diff(*wish));
                let column = nearest.expect("a row has no more boxes than columns");
                free.remove(&column);
                places[*group] = (used, column);
            }
            used += 1;
        }
    }
    used
}

/// Inside a page: a click on a box goes to its entry. It is there twice, and the style shows the one that fits.
pub fn inline(study: &Study, groups: &[Group]) -> String {
    let of = |columns: usize, class: &str| {
        let layout = layout(study, groups, columns);
        let (wide, high) = layout.size;
        format!(
            "<svg class=\"graph {class}\" width=\"{wide}\" height=\"{high}\" viewBox=\"0 0 {wide} {high}\" role=\"group\" \
             aria-label=\"The nodes of the study and what they need\">\n{}</svg>",
            content(&layout, groups, true)
        )
    };
    format!("{}\n{}", of(COLUMNS.0, "broad"), of(COLUMNS.1, "narrow"))
}

pub fn figure(study: &Study, groups: &[Group]) -> String {
    let layout = layout(study, groups, COLUMNS.0);
    let (wide, high) = layout.size;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" viewBox=\"0 0 {wide} {high}\" role=\"img\">\n\
         <title>The nodes of the study and what they need</title>\n{STYLE}\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#FFFFFF\"/>\n{}</svg>\n",
        content(&layout, groups, false)
    )
}

fn content(layout: &Layout, groups: &[Group], links: bool) -> String {
    let mut out = String::new();
    for (name, top, high) in &layout.bands {
        let _ = writeln!(
            out,
            "<rect class=\"lane\" x=\"{EDGE}\" y=\"{top}\" width=\"{}\" height=\"{high}\" rx=\"6\"/>\
             <text class=\"band\" x=\"{}\" y=\"{}\">{}</text>",
            layout.size.0 - 2 * EDGE,
            EDGE + 8,
            top + 18,
            escape(name)
        );
    }
    for (i, group) in groups.iter().enumerate() {
        for parent in &group.parents {
            let from = layout.corners[*parent];
            let (x1, y1) = (from.0 + BOX.0 / 2, from.1 + BOX.1);
            let (x2, y2) = (layout.corners[i].0 + BOX.0 / 2, layout.corners[i].1);
            let far = if groups[*parent].band == group.band {
                ""
            } else {
                " far"
            };
            let bend = ((y2 - y1) / 2).clamp(10, 60);
            let _ = writeln!(
                out,
                "<path class=\"e{far}\" data-from=\"{parent}\" data-to=\"{i}\" d=\"M{x1} {y1}C{x1} {} {x2} {} {x2} {y2}\"/>",
                y1 + bend,
                y2 - bend
            );
        }
    }
    for (i, group) in groups.iter().enumerate() {
        let node = node(layout.corners[i], group);
        let _ = match links {
            true => writeln!(out, "<a href=\"#node-{i}\" data-node=\"{i}\">{node}</a>"),
            false => writeln!(out, "{node}"),
        };
    }
    out
}

fn node((x, y): (i32, i32), group: &Group) -> String {
    let class = if group.missing() > 0 {
        "n missing"
    } else {
        "n"
    };
    let times = match group.items.len() {
        1 => String::new(),
        n => format!(" ×{n}"),
    };
    let shared = match group.recipes.len() {
        1 => String::new(),
        n => format!("in {n}"),
    };
    let second = format!("{} · {}", group.kind, group.state());
    // Its letters are smaller, and between it and what stands at its end is a space.
    let second_line = LETTERS + if shared.is_empty() { 3 } else { 1 };
    let told = format!(
        "{}{times}: {}, {}; used by {}",
        group.name,
        group.kind,
        group.state(),
        group.recipes.join(", ")
    );
    format!(
        "<g class=\"{class}\"><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"5\"/>\
         <text x=\"{tx}\" y=\"{}\">{}{times}</text><text class=\"small\" x=\"{tx}\" y=\"{}\">{}</text>\
         <text class=\"small\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{shared}</text></g>",
        escape(&told),
        BOX.0,
        BOX.1,
        y + 17,
        escape(&short(&group.name, LETTERS - times.chars().count())),
        y + 32,
        escape(&short(&second, second_line - shared.len())),
        x + BOX.0 - 8,
        y + 32,
        tx = x + 9,
    )
}

fn short(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most - 1).chain(['…']).collect(),
        false => text.into(),
    }
}

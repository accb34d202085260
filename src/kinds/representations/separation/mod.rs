//! Do two kinds of prompts lie apart in a model's states? In the space itself, and in pictures of it.

mod numbers;
mod params;
mod pictures;
mod rows;

use crate::shared::estimate;
use crate::shared::measure;
use crate::shared::model_io;
use crate::shared::states::States;
use analysis::umap::MOST_POINTS;
use anyhow::{Context, Result, ensure};
use base::params::ParamSet;
use base::picture::{PICTURES, POINTS, Point};
use base::rng::Seed;
use base::rows as artifact;
use engine::kind::context::{Interrupted, NodeCtx};
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, MetricInfo, Needs, Output, Port, Role, Type};
use numbers::{Space, Told};
use params::Params;
use rows::{Against, Sides};

pub const KIND: Kind = Kind {
    name: "separation",
    revision: 1,
    role: Role::Measures,
    summary: "how far two kinds of prompts lie apart in a model's states: probe, d', silhouette, UMAP margins, CKA",
    about: "The first numbers are of the states themselves. `probe` is the AUROC of a logistic regression on prompts that it was not fitted \
            on, the mean over folds. `d_prime` (along the line between the centroids), `fisher` (|m1 - m0|² over the sum of the \
            traces) and `axis_auroc` are of the points that draw the line: with more dimensions than prompts they are high for any labels, \
            which `…/shuffled` shows. Their intervals and the values in `values.jsonl` are the jackknife's, so that two models are \
            compared in pairs of prompts; a value is the number plus what the prompt adds to it. `…/layer/N` are the same by layer. \
            `umap/…` are medians over pictures of several seeds: the margin 2/|w| of a linear SVM on unscaled coordinates varies by a factor \
            of two between seeds where clouds are apart, it is wide as well where nothing is parted at all (read `umap/accuracy` beside it; \
            `umap/unparted` are pictures whose line has all points on one side), and how far clouds lie from each other in a picture means \
            nothing. `cka` aligns the states with those of another model at the same prompts; with more dimensions than prompts it is \
            high for any two, which `cka/shuffled` shows. `points.jsonl` and `pictures.json` beside the metrics are for whoever draws.",
    example: r#"
[node.rl-separation]
kind = "separation"
in = { states = "rl-states", against = "base-states" }
positive = ["harmful"]
negative = ["ambiguous"]
"#,
    inputs: &[
        Port::required("states", Type::States, "the states of one model"),
        Port::optional(
            "against",
            Type::States,
            "those of another model at the same prompts, for `cka`",
        ),
    ],
    outputs: &[Output::always(
        "metrics",
        Type::Metrics,
        "the numbers, every prompt's part in them, and the points of the pictures",
    )],
    metrics: &METRICS,
    params: Params::specs,
    check: Some(params::check),
    needs: |_| Needs::ALL_THREADS,
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

const METRICS: [MetricInfo; 28] = [
    MetricInfo::higher("probe", "auroc", "probe AUROC"),
    MetricInfo::plain("probe/shuffled", "auroc", "probe AUROC, shuffled labels"),
    MetricInfo::higher("probe/accuracy", "share", "probe, balanced accuracy"),
    MetricInfo::higher("probe/layer/*", "auroc", "probe AUROC, layer *"),
    MetricInfo::higher("d_prime", "d'", "d' along the centroids"),
    MetricInfo::plain(
        "d_prime/shuffled",
        "d'",
        "d' along the centroids, shuffled labels",
    ),
    MetricInfo::higher("d_prime/layer/*", "d'", "d' along the centroids, layer *"),
    MetricInfo::higher("fisher", "ratio", "Fisher ratio"),
    MetricInfo::plain("fisher/shuffled", "ratio", "Fisher ratio, shuffled labels"),
    MetricInfo::higher(
        "axis_auroc",
        "auroc",
        "AUROC along the centroids, in-sample",
    ),
    MetricInfo::plain(
        "axis_auroc/shuffled",
        "auroc",
        "AUROC along the centroids, shuffled labels",
    ),
    MetricInfo::higher("silhouette", "silhouette", "silhouette"),
    MetricInfo::higher("silhouette/cosine", "silhouette", "silhouette by cosine"),
    MetricInfo::higher("silhouette/layer/*", "silhouette", "silhouette, layer *"),
    MetricInfo::plain("centroid/distance", "distance", "distance of the centroids"),
    MetricInfo::plain("centroid/cosine", "cosine", "cosine of the centroids"),
    MetricInfo::lower("davies_bouldin", "ratio", "Davies-Bouldin index"),
    MetricInfo::higher("calinski_harabasz", "ratio", "Caliński-Harabasz index"),
    MetricInfo::plain("cka", "cka", "linear CKA with the other model"),
    MetricInfo::plain(
        "cka/shuffled",
        "cka",
        "linear CKA, prompts in another order",
    ),
    MetricInfo::plain(
        "cka/layer/*",
        "cka",
        "linear CKA with the other model, layer *",
    ),
    MetricInfo::plain("umap/margin", "margin", "UMAP margin, median over seeds"),
    MetricInfo::plain("umap/margin/lowest", "margin", "UMAP margin, lowest"),
    MetricInfo::plain("umap/margin/highest", "margin", "UMAP margin, highest"),
    MetricInfo::higher("umap/accuracy", "share", "balanced accuracy in the picture"),
    MetricInfo::higher("umap/silhouette", "silhouette", "silhouette in the picture"),
    MetricInfo::plain(
        "umap/trustworthiness",
        "share",
        "trustworthiness of the picture",
    ),
    MetricInfo::lower(
        "umap/unparted",
        "share",
        "pictures that the line does not part",
    ),
];

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    model_io::use_threads(ctx)?;
    let mut states = States::open(ctx.input("states"))?;
    let sides = Sides::of(&states.prompts, &p)?;
    sides.say(ctx, &p);
    let layer = states.layer(p.layer, "states")?;
    let points = states.points(layer, &sides.places)?;
    ensure!(
        !points.constant(),
        "layer {layer} is one point for all prompts: the last token of every prompt is the same where a generation prompt ends them \
         all, and layer 0 is its embedding; take another `layer`, or states at `position = \"mean\"`"
    );
    expect_points(&p, points.len())?;
    let mut against = match ctx.input_opt("against") {
        Some(folder) => Some(rows::against(&states, &sides, States::open(folder)?)?),
        None => None,
    };
    let seed = Seed::new(p.seed).child("separation");
    let mut told = Told::default();
    let space = Space::of(&points, &sides, p.probe(), p.folds)?;
    space.all(&mut told);
    space.shuffled(&mut told, p.shuffles, seed.child("shuffles"));
    if let Some(other) = &mut against {
        let wanted = p.against_layer.unwrap_or(layer);
        let theirs = other.points(wanted)?;
        let shuffles = (p.shuffles, seed.child("orders"));
        numbers::alignment(&mut told, &points, &theirs, &sides, shuffles);
    }
    profile(ctx, &p, (&mut states, against.as_mut()), &sides, &mut told)?;
    let album = pictures::album(&points, &sides, &p, layer, seed.child("umap"));
    pictures::metrics(&album, &mut told);
    told.say(ctx);
    deliver(ctx, &sides, &space, &album, told)
}

/// Errors where there are too few points for a picture, or more than it is exact for.
fn expect_points(p: &Params, points: usize) -> Result<()> {
    ensure!(
        points > p.neighbours,
        "{points} prompts are on the two sides, and UMAP asks for more of them than `neighbours = {}`, each its own first one",
        p.neighbours
    );
    ensure!(
        points <= MOST_POINTS,
        "{points} prompts are on the two sides: distances of every two are computed for up to {MOST_POINTS}; `filter` takes a share \
         of the prompts"
    );
    Ok(())
}

/// The same numbers by layer, as far as there is anything to measure.
fn profile(
    ctx: &NodeCtx,
    p: &Params,
    (states, mut against): (&mut States, Option<&mut Against>),
    sides: &Sides,
    told: &mut Told,
) -> Result<()> {
    let layers = states.layers.clone();
    for (done, layer) in layers.iter().enumerate() {
        // The pictures are the last step.
        ctx.progress(done as u64, layers.len() as u64 + 1, "steps", "");
        if ctx.stop() {
            return Err(Interrupted.into());
        }
        let points = states.points(*layer, &sides.places)?;
        if points.constant() {
            ctx.log(&format!(
                "layer {layer} is one point for all prompts: nothing is measured in it"
            ));
            continue;
        }
        Space::of(&points, sides, p.probe(), p.folds)?.by_layer(told, *layer);
        let other = against.as_mut().filter(|a| a.states.layers.contains(layer));
        if let Some(other) = other {
            numbers::aligned_layer(told, &points, &other.points(*layer)?, sides, *layer);
        }
    }
    Ok(())
}

fn deliver(
    ctx: &NodeCtx,
    sides: &Sides,
    space: &Space,
    album: &pictures::Album,
    told: Told,
) -> Result<()> {
    let folder = ctx.output("metrics");
    let shown = &album.places[album.told.shown];
    let mut text = String::new();
    for (i, prompt) in sides.prompts.iter().enumerate() {
        let [x, y] = shown[i];
        let point = Point {
            id: prompt.prompt_id.clone(),
            value: sides.values[i].clone(),
            positive: sides.labels[i],
            fold: space.fold[i],
            score: space.scores[i],
            silhouette: space.silhouettes[i],
            x,
            y,
            all: album.places.iter().map(|picture| picture[i]).collect(),
        };
        text += &(serde_json::to_string(&point)? + "\n");
    }
    std::fs::write(folder.join(POINTS), text).context("failed to write the points")?;
    let pictures = serde_json::to_string_pretty(&album.told)? + "\n";
    std::fs::write(folder.join(PICTURES), pictures).context("failed to write the pictures")?;
    let (metrics, measures) = told.parts();
    let values = measure::values(sides.prompts.iter(), &measures);
    artifact::write_values(&folder, &values)?;
    artifact::write_metrics(&folder, metrics)
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let Some(rows) = preview.expected("states").rows else {
        return Ok(Work::default());
    };
    // Matrices of every two points, and what a picture's seeds pass over.
    let pictures = rows * p.neighbours as f64 * p.seeds as f64;
    Ok(Work {
        amount: rows * rows + pictures,
        memory: estimate::pairs_memory(rows),
        ..Work::default()
    })
}

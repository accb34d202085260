//! Points and how two kinds of them lie to each other: linear separations, probes, silhouettes, alignment of two representations, and
//! the embedding of UMAP.
//!
//! Pure numbers in float64 on one thread, so that no result depends on threads; a random number has a seed of `base::rng`. What a point
//! stands for, where it is from and who asks is not known here. Labels are two: `true` are the points that a score ought to put higher.
//!
//! `points` and `solve` are below everything else; `sides`, `clusters`, `auroc`, `probe`, `cka` measure in the space that the points
//! have, `svm` draws a margin, `umap` makes a picture and `trust` says what it kept of the neighbours. Statistics are held against
//! scikit-learn and umap-learn by `tests/it/reference/{separation,umap}.rs`.

pub mod auroc;
pub mod cka;
pub mod clusters;
pub mod logistic;
pub mod neighbours;
pub mod points;
pub mod probe;
pub mod sides;
pub mod solve;
pub mod spectrum;
pub mod svm;
pub mod trust;
pub mod umap;

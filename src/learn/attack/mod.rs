//! Attacks that search for a suffix of a prompt with the model's own numbers: GCG (Zou et al. 2023, arXiv 2307.15043), which
//! picks replacements by the gradient at the suffix, and random search by log-probability (Andriushchenko et al. 2024, arXiv
//! 2404.02151).
//!
//! A step of GCG, on ids that are laid side by side and never encoded again:
//!
//! ```ignore
//! let frame = Frame::new(&tokenizer, "how do i heat it ?", Some("<think>\n"))?;
//! let allowed = Allowed::new(&tokenizer, config.vocab_size, Characters::PrintableAscii)?;
//! let slope = victim.slope([&frame.before, &suffix, &frame.after], &target, Loss::CrossEntropy)?;
//! let top = search::most_negative(&slope.gradient, vocabulary, topk, &allowed);
//! let candidates = search::replaced(&suffix, &top, &search::even(suffix.len(), width), &picks);
//! let kept = candidates.iter().map(|c| frame.survival(c)).collect::<Result<Vec<_>>>()?;
//! let scores = victim.score(&prompts, Wanted::Target(&target), &options)?;
//! ```
//!
//! `victim` is the model that is attacked, wherever its numbers are. `frame` renders the chat around the suffix and says whether a suffix comes out of the tokenizer as it went in, `allowed` which
//! tokens it may have, `gradient` and `score` are the two costs of a step, `search` is what is drawn, chosen and kept. Knows no
//! kinds, no files and no clock.

pub mod allowed;
pub mod frame;
pub mod gradient;
pub mod score;
pub mod search;
pub mod victim;

//! The learning core: text to ids, the decoder and its gradient, objectives, the optimizer, the loop and the sampler. Knows
//! no store, recipe, clock or environment.
//!
//! `train` runs the loop on a `learner::Learner`, which hides where a model's numbers are; `cpu` is the one on this machine's
//! cores. One optimizer step by hand, with sequences packed one after another and no padding anywhere:
//!
//! ```ignore
//! let mut weights = checkpoint::load(folder)?;            // or Weights::random(config, seed)
//! let mut workspace = Workspace::new();                   // kept from step to step
//! let mut moments = Moments::zeros(weights.layout.len());
//! let mut grads = vec![0.0; weights.layout.len()];        // flat, as the weights
//!
//! grads.fill(0.0);
//! for micro in window {                                   // scored: indices of the tokens that are trained
//!     let batch = Packed { ids: &micro.ids, starts: &micro.starts };
//!     let tape = decoder::forward(&weights, batch, &micro.scored, temperature, &mut workspace);
//!     let out = sft(&tape.logp, &tape.entropy, &tape.greedy_hit, tokens_of_the_window);
//!     backward(&weights, &tape, &out.dlogp, out.dentropy.as_deref(), &mut grads, &mut workspace);
//!     tape.recycle(&mut workspace);
//! }
//! let grad_norm = clip(&mut grads, 1.0);
//! AdamW::default().update(&mut weights, &grads, &mut moments, schedule.at(step));
//! ```
//!
//! `decoder::score` gives log-probabilities without a tape (reference policies), `decoder::logits_at` logits or reward
//! scores of chosen rows, `decoder::hidden_states` every layer. Work runs in rayon's current pool; no byte depends on the
//! number of its threads.

pub mod json;
pub mod special;
pub mod template;
pub mod tokenizer;

pub mod chat;
mod turns;

pub mod adapter;
pub mod config;
mod config_file;
pub mod kernels;
mod linear;
pub mod weights;

pub mod checkpoint;
pub mod folders;
pub mod peft;
pub mod tensors;

pub mod block;
mod block_backward;
pub mod decoder;
pub mod decoder_backward;
mod head;
mod packed;
mod pass;
mod walk;
mod workspace;

pub mod device;

pub mod labels;
pub mod states;

pub mod batch;
pub mod cpu;
pub mod guard;
pub mod learner;
pub mod objective;
pub mod optim;
pub mod placed;
pub mod reward;
pub mod sample;
pub mod train;
mod window;

pub mod attack;

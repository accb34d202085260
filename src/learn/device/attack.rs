//! What a search for a suffix asks of a model, on a device: the gradient at the one-hot suffix, and what a model makes of many
//! prompts that are alike (see `learn::attack::gradient` and `learn::attack::score`). Prompts are packed side by side and go
//! through the model whole: what they have in common is computed for each.

use anyhow::{Result, bail, ensure};
use candle_core::{DType, Tensor};

use crate::attack::gradient::Slope;
use crate::attack::score::{Loss, Options, Score, Wanted};
use crate::attack::victim::Victim;
use crate::config::Config;
use crate::decoder::{Keep, Packed};
use crate::decoder_backward::Upstream;
use crate::device::backward::backward_from;
use crate::device::decoder::{self, Tape, last_hidden, normed};
use crate::device::head;
use crate::device::net::{DeviceWeights, Net};
use crate::device::ops::logits::{Stats, stats};
use crate::device::product::product;
use crate::device::ragged::Workspace;
use crate::device::sample as sampler;
use crate::device::together::Sampler;
use crate::sample::forecast::Tally;
use crate::sample::{self, Request, Sample, Stopped};

/// A model that is attacked, on a device.
pub struct There {
    weights: DeviceWeights,
    workspace: Workspace,
    sampler: Sampler,
    computed: usize,
}

impl There {
    pub fn new(weights: DeviceWeights) -> There {
        let (device, numerics) = (&weights.device, weights.parts.numerics());
        There {
            workspace: Workspace::of(device),
            sampler: Sampler::of_asked(device, &weights.config, numerics),
            weights,
            computed: 0,
        }
    }
}

impl Victim for There {
    fn config(&self) -> &Config {
        &self.weights.config
    }

    fn rebase(&mut self, ids: &[u32]) -> Result<()> {
        known(&self.weights.config, ids)
    }

    fn score(
        &mut self,
        prompts: &[Vec<u32>],
        wanted: Wanted,
        options: Options,
    ) -> Result<Vec<Score>> {
        let net = Net::from(&self.weights);
        let scores = score(net, prompts, wanted, options, &mut self.workspace)?;
        let given = wanted.given().len();
        self.computed += prompts.iter().map(|p| p.len() + given).sum::<usize>();
        Ok(scores)
    }

    fn computed(&self) -> usize {
        self.computed
    }

    fn slope(&mut self, around: [&[u32]; 3], target: &[u32], loss: Loss) -> Result<Slope> {
        let net = Net::from(&self.weights);
        slope(net, around, target, loss, &mut self.workspace)
    }

    fn sample(
        &mut self,
        request: Request,
        options: &sample::Options,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Sample>> {
        let requests = [request];
        let cache = self.sampler.cache(&requests, options);
        let mut workspace = std::mem::take(&mut self.workspace).with_cache(cache);
        let (net, nobody) = (Net::from(&self.weights), &mut |_: &Tally| {});
        let samples = sampler::sample(net, &requests, options, nobody, stop, &mut workspace);
        self.workspace = workspace;
        let samples = samples?;
        Ok(samples.into_iter().flatten().collect())
    }
}

/// Fails where the model has no embedding for one of the ids.
fn known(config: &Config, ids: &[u32]) -> Result<()> {
    let vocabulary = config.vocab_size;
    if let Some(id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
        bail!(
            "token {id} is asked of a model with {vocabulary} embeddings: tokenizer and weights are not of one model"
        );
    }
    Ok(())
}

/// The loss of the target behind before + suffix + after, and its gradient at the suffix. Neither suffix nor target is empty,
/// and something comes before the target.
pub fn slope(
    net: Net,
    [before, suffix, after]: [&[u32]; 3],
    target: &[u32],
    loss: Loss,
    workspace: &mut Workspace,
) -> Result<Slope> {
    assert!(
        !suffix.is_empty() && !target.is_empty(),
        "a gradient is at a suffix and of a target"
    );
    let ids = [before, suffix, after, target].concat();
    let starts = [0, ids.len()];
    let batch = Packed {
        ids: &ids,
        starts: &starts,
    };
    let scored: Vec<usize> = (ids.len() - target.len()..ids.len()).collect();
    let tape = decoder::forward(net, batch, &scored, 1.0, Keep::All, workspace)?;
    let n = target.len() as f64;
    let (loss, dembed) = match loss {
        Loss::CrossEntropy => {
            let sum: f64 = tape.scores.logp.iter().map(|&logp| f64::from(logp)).sum();
            let dlogp = vec![(-1.0 / n) as f32; target.len()];
            let upstream = Upstream {
                dlogp: &dlogp,
                ..Upstream::default()
            };
            (-sum / n, backward_from(net, &tape, upstream, None)?)
        }
        Loss::Mellowmax => mellowmax(net, &tape, &scored, target)?,
    };
    let weights = net.weights;
    let at_suffix = dembed.narrow(0, before.len(), suffix.len())?;
    let table = weights.at(&weights.layout().embed);
    let gradient = product(&at_suffix, &table.t()?)?;
    Ok(Slope {
        loss,
        gradient: gradient.flatten_all()?.to_vec1()?,
    })
}

/// d/dz_i of log mean exp(-z_i) over the target's raw logits is minus the softmax of -z. The logit of a token is the product of
/// the normed state with the token's row of the head.
fn mellowmax(net: Net, tape: &Tape, scored: &[usize], target: &[u32]) -> Result<(f64, Tensor)> {
    let (weights, config) = (net.weights, net.config());
    let (n, d) = (target.len(), config.hidden_size);
    let last = tape.hidden(config.layers);
    let first = scored[0] - 1;
    let states = normed(net, &last.narrow(0, first, n)?)?;
    let tokens = Tensor::from_slice(target, n, net.device())?;
    let rows = weights
        .at(&weights.layout().head)
        .index_select(&tokens, 0)?
        .to_dtype(DType::F32)?;
    let logits: Vec<f32> = (states * &rows)?.sum(1)?.to_vec1()?;
    let loss = Loss::Mellowmax.of_logits(&logits);
    // softmax(-z)_i = exp(-z_i) / (T exp(loss)).
    let share = |&logit: &f32| -((-f64::from(logit) - loss).exp() / n as f64) as f32;
    let shares: Vec<f32> = logits.iter().map(share).collect();
    let shares = Tensor::from_vec(shares, (n, 1), net.device())?;
    let own = rows.broadcast_mul(&shares)?;
    let zeros = |rows: usize| Tensor::zeros((rows, d), DType::F32, net.device());
    let behind = tape.tokens() - first - n;
    let dnormed = Tensor::cat(&[zeros(first)?, own, zeros(behind)?], 0)?;
    let (dlogp, dnormed) = (vec![0.0; n], dnormed.flatten_all()?.to_vec1::<f32>()?);
    let upstream = Upstream {
        dlogp: &dlogp,
        dnormed: Some(&dnormed),
        ..Upstream::default()
    };
    Ok((loss, backward_from(net, tape, upstream, None)?))
}

/// What was wanted behind each prompt, in their order.
///
/// Errors: `Stopped`; logits that are no numbers; a prompt without tokens, or with one that the model has not.
pub fn score(
    net: Net,
    prompts: &[Vec<u32>],
    wanted: Wanted,
    options: Options,
    workspace: &mut Workspace,
) -> Result<Vec<Score>> {
    assert!(!wanted.tokens().is_empty(), "something is asked for");
    net.config().expect_language_head()?;
    for ids in prompts.iter().map(Vec::as_slice).chain([wanted.tokens()]) {
        ensure!(!ids.is_empty(), "a prompt has no tokens");
        known(net.config(), ids)?;
    }
    let mut scores = Vec::with_capacity(prompts.len());
    let mut rest = prompts;
    while !rest.is_empty() {
        if (options.stop)() {
            return Err(Stopped.into());
        }
        let mut tokens = 0;
        let fit = rest.iter().take_while(|prompt| {
            tokens += prompt.len() + wanted.given().len();
            tokens <= options.tokens
        });
        let (part, later) = rest.split_at(fit.count().max(1));
        scores.extend(of_part(net, part, wanted, workspace)?);
        rest = later;
    }
    Ok(scores)
}

fn of_part(
    net: Net,
    prompts: &[Vec<u32>],
    wanted: Wanted,
    workspace: &mut Workspace,
) -> Result<Vec<Score>> {
    let (mut ids, mut starts, mut rows) = (vec![], vec![0], vec![]);
    for prompt in prompts {
        ids.extend_from_slice(prompt);
        let first = ids.len() - 1;
        ids.extend_from_slice(wanted.given());
        rows.extend((first..ids.len()).map(|row| row as u32));
        starts.push(ids.len());
    }
    let batch = Packed {
        ids: &ids,
        starts: &starts,
    };
    let last = last_hidden(net, batch, workspace, |_, _| Ok(()))?;
    let rows = Tensor::from_slice(&rows, rows.len(), net.device())?;
    let states = normed(net, &last.index_select(&rows, 0)?)?;
    let kept = wanted.given().len() + 1;
    let at_once = (workspace.logits_at_once / (kept * net.config().vocab_size)).max(1);
    let mut scores = vec![];
    for first in (0..prompts.len()).step_by(at_once) {
        let n = at_once.min(prompts.len() - first);
        let states = states.narrow(0, first * kept, n * kept)?;
        let logits = head::logits(net.weights, &states)?;
        scores.extend(read(&logits, n, wanted)?);
    }
    Ok(scores)
}

/// What was wanted of the logits behind `n` prompts [n * kept, vocabulary].
fn read(logits: &Tensor, n: usize, wanted: Wanted) -> Result<Vec<Score>> {
    let (tokens, rows) = (wanted.tokens(), logits.dim(0)?);
    let of_target = matches!(wanted, Wanted::Target(_));
    // The tokens that are asked of each row.
    let each: Vec<u32> = match of_target {
        true => tokens.repeat(n),
        false => tokens.repeat(rows),
    };
    let wide = each.len() / rows;
    let asked = Tensor::from_slice(&each, (rows, wide), logits.device())?;
    let Stats { lse, greedy, .. } = stats(logits, None, 1.0)?;
    let greedy = greedy.flatten_all()?.to_vec1::<u32>()?;
    let lines = Tensor::cat(&[lse, logits.gather(&asked, 1)?], 1)?.to_vec2::<f32>()?;
    let mut lines = lines.iter().zip(each.chunks(wide)).zip(greedy);
    let mut scores = vec![];
    for _ in 0..n {
        let mut score = Score {
            logps: vec![],
            logits: vec![],
            greedy: of_target,
        };
        for ((line, asked), greedy) in lines.by_ref().take(rows / n) {
            let (lse, logits) = (line[0], &line[1..]);
            ensure!(
                lse.is_finite(),
                "the logits behind a candidate are no numbers: the model overflows or its weights are broken"
            );
            let hit = asked.contains(&greedy);
            score.greedy = if of_target { score.greedy && hit } else { hit };
            score.logits.extend_from_slice(logits);
            score.logps.extend(logits.iter().map(|z| z - lse));
        }
        scores.push(score);
    }
    Ok(scores)
}

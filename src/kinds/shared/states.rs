//! Hidden states as they lie in a folder: a tensor a layer, a row a prompt, and how they were taken. Knows no model.

use analysis::points::Points;
use anyhow::{Context, Result, bail, ensure};
use base::rows::{self, Prompt, STATES};
use learn::states::Position;
use learn::tensors::{self, TensorFile, Tensors};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How states were taken: only what was taken in the same way can be compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// `last` or `mean`.
    pub position: String,
    /// What the response was given to begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill: Option<String>,
}

impl Taken {
    pub fn new(position: Position, prefill: Option<String>) -> Taken {
        let position = match position {
            Position::Last => "last",
            Position::Mean => "mean",
        };
        Taken {
            position: position.into(),
            prefill,
        }
    }

    /// As in "at the last token after `<think>`".
    fn words(&self) -> String {
        match &self.prefill {
            Some(prefill) => format!("{} after {prefill:?}", self.position),
            None => self.position.clone(),
        }
    }
}

/// The note of the file that holds `Taken`.
const NOTE: &str = "taken";

/// States of prompts: a layer is [prompts, width].
pub struct Layers<'a> {
    pub width: usize,
    pub numbers: &'a [usize],
    pub states: &'a [Vec<f32>],
}

/// Errors where a state is not a finite number: nothing can be measured with it.
pub fn write(folder: &Path, prompts: &[Prompt], taken: &Taken, layers: &Layers) -> Result<()> {
    let shape = [prompts.len(), layers.width];
    let names: Vec<String> = layers
        .numbers
        .iter()
        .map(|n| format!("layer.{n}"))
        .collect();
    let mut tensors = Tensors::new();
    for (name, states) in names.iter().zip(layers.states) {
        if let Some(at) = states.iter().position(|x| !x.is_finite()) {
            bail!(
                "prompt {}: a number of {name} is {}, so the model computes nothing that could be measured",
                prompts[at / layers.width].id,
                states[at]
            );
        }
        tensors.insert(name, (&shape, states));
    }
    let note = serde_json::to_string(taken).context("how states were taken to JSON")?;
    tensors::write(&folder.join(STATES), &tensors, (NOTE, &note))?;
    rows::write_rows(folder, prompts)
}

/// States that were written, read layer by layer.
pub struct States {
    pub prompts: Vec<Prompt>,
    /// None where whoever wrote the file does not say.
    pub taken: Option<Taken>,
    /// Ascending, at least one.
    pub layers: Vec<usize>,
    file: TensorFile,
}

impl States {
    pub fn open(folder: &Path) -> Result<States> {
        let file = TensorFile::open(&folder.join(STATES))?;
        let names = file.names();
        let numbers = names.iter().filter_map(|name| name.strip_prefix("layer."));
        let mut layers: Vec<usize> = numbers.filter_map(|n| n.parse().ok()).collect();
        layers.sort_unstable();
        ensure!(!layers.is_empty(), "{} has no layer", folder.display());
        let taken = file
            .note(NOTE)
            .and_then(|note| serde_json::from_str(note).ok());
        Ok(States {
            prompts: rows::read_rows(folder)?,
            taken,
            layers,
            file,
        })
    }

    /// The states of these prompts, by their places, in a layer that there is.
    pub fn points(&mut self, layer: usize, places: &[usize]) -> Result<Points> {
        let name = format!("layer.{layer}");
        let shape = self.file.shape(&name);
        ensure!(
            shape.len() == 2 && shape[0] == self.prompts.len() && shape[1] > 0,
            "{name} has the shape {shape:?}, and there are {} prompts",
            self.prompts.len()
        );
        let width = shape[1];
        let all = self.file.array(&name)?;
        let mut chosen = Vec::with_capacity(places.len() * width);
        for &place in places {
            chosen.extend_from_slice(&all[place * width..(place + 1) * width]);
        }
        let finite = chosen.iter().all(|x| x.is_finite());
        ensure!(finite, "{name} holds numbers that are not finite");
        Ok(Points::of_floats(&chosen, width))
    }

    /// The layer of this number, or the last that there is. Errors name those that there are.
    pub fn layer(&self, wanted: Option<usize>, port: &str) -> Result<usize> {
        let last = *self.layers.last().expect("there is a layer");
        let layer = wanted.unwrap_or(last);
        ensure!(
            self.layers.contains(&layer),
            "the states on the port `{port}` have no layer {layer}; they have {:?}",
            self.layers
        );
        Ok(layer)
    }

    /// Errors where the others were taken in another way.
    pub fn expect_alike(&self, others: &States) -> Result<()> {
        if let (Some(own), Some(other)) = (&self.taken, &others.taken) {
            ensure!(
                own == other,
                "the states were not taken in the same way: `position` and `prefill` are {} on one port and {} on the other",
                own.words(),
                other.words()
            );
        }
        Ok(())
    }
}

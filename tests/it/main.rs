mod learn_golden;
mod sampler;
mod text;

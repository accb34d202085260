mod learn_golden;
mod text;

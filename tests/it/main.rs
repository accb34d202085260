mod text;
mod learn_golden;

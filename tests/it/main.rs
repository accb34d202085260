mod learn_golden;
mod numerics;

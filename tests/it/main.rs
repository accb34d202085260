mod learn_golden;

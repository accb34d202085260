//! Kinds that bring in models, and what is checked of a model folder.

kinds! { local_model, local_adapter, local_reward_model, merge }

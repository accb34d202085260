//! The kinds that recipes may name, as the program says once.

use engine::kind::Registry;
use std::sync::OnceLock;

static KINDS: OnceLock<&Registry> = OnceLock::new();

pub fn set(kinds: &'static Registry) {
    KINDS.get_or_init(|| kinds);
}

pub fn registry() -> &'static Registry {
    KINDS.get().expect("the program says which kinds there are")
}

//! Which scorers a node names, by its reward table or as its judge. Knows their names only.

use super::reward::Expr;
use base::params::ParamValue;
use base::setup::Setup;
use std::collections::BTreeMap;

/// Whether the node names one of these.
pub(super) fn names(setup: &Setup, wanted: &[&str]) -> bool {
    let table = BTreeMap::<String, String>::read(setup.values.get("reward")).unwrap_or_default();
    let mut exprs = table.values().filter_map(|text| Expr::parse(text).ok());
    let judge = String::read(setup.values.get("scorer"));
    judge.is_ok_and(|name| wanted.contains(&name.as_str()))
        || exprs.any(|expr| expr.scorers().iter().any(|name| wanted.contains(name)))
}

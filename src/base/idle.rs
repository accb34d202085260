//! Parameters that are set and can do nothing beside the others.

use crate::params::{ParamSet, ParamSpec, Problem};
use crate::setup::Setup;

impl Setup<'_> {
    /// A block of the parameters; none where any is wrong.
    pub fn read<P: ParamSet>(&self) -> Option<P> {
        P::read(self.values).ok()
    }
}

/// A parameter that is set and does nothing.
pub struct Idle {
    pub problem: Problem,
    pub refused: bool,
}

/// The parameters of a node that are set to anything but their defaults and do not always act: what is idle of them.
pub fn idle(
    specs: impl IntoIterator<Item = ParamSpec>,
    setup: &Setup,
) -> Vec<(&'static str, Option<Idle>)> {
    let mut found = vec![];
    for spec in specs {
        let Some(acts) = spec.acts.filter(|_| spec.is_set(setup.values)) else {
            continue;
        };
        let idle = (!acts.is_met(setup)).then(|| Idle {
            problem: Problem {
                path: spec.name.into(),
                message: format!(
                    "`{}` acts only {}: here it does nothing",
                    spec.name, acts.when
                ),
                help: Some("leave it out".into()),
            },
            refused: acts.refused,
        });
        found.push((spec.name, idle));
    }
    found
}

//! Every barrier is needed, and its lack is seen: without it some order of the threads gives other bytes.

use std::collections::BTreeSet;

use super::buffer::Kind;
use super::shim::Shim;
use super::{attention, decode, heads, logits, optimizer, rows};

#[test]
fn no_barrier_can_be_left_out() {
    for act in [Kind::Bf16, Kind::F32] {
        let Some(shim) = Shim::proving(act, 64) else {
            return;
        };
        rows::norms(&shim, 4, 70);
        let shape = heads::Heads {
            heads: 3,
            kv: 1,
            dim: 64,
            norm: true,
            bias: true,
        };
        heads::turns(&shim, shape, 3);
        optimizer::steps(&shim, 500);
        logits::rows(&shim, 2, 2100, 1.0);
        logits::draws(&shim, 700);
        let shape = attention::Shape {
            heads: 2,
            kv: 1,
            dim: 64,
            lengths: vec![130],
        };
        attention::attends(&shim, &shape);
        let shape = decode::Shape {
            heads: 6,
            kv: 1,
            dim: 64,
            positions: vec![90],
        };
        decode::decodes(&shim, &shape);
        let all: BTreeSet<usize> = (0..shim.barriers).collect();
        let proven = shim.proven();
        let unproven: Vec<&usize> = all.difference(&proven).collect();
        assert!(
            shim.barriers > 8 && unproven.is_empty(),
            "{act:?}: of {} barriers {unproven:?}",
            shim.barriers
        );
    }
}

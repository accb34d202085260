//! Whether a scorer can say anything of answers that were begun for the model. Reads a graph.

use crate::scorers::{Scorer, refusal};
use base::params::{ParamValue, Problem};
use base::response::{self, Slot};
use base::value::Value;
use engine::kind::{NodeId, Upstream};

/// What is wrong with a rule that reads how an answer begins, where the recipe begins every answer itself: it says the same of all.
pub(super) fn problem(graph: &dyn Upstream, id: NodeId, scorer: &Scorer) -> Option<Problem> {
    if !scorer.reads_beginnings() {
        return None;
    }
    let edge = graph.node(id).inputs.get("completions")?;
    let node = graph.node(edge.node);
    let Some(Value::Str(text)) = node.params.get("prefill") else {
        return None;
    };
    let slot = Slot::read(node.params.get("prefill_slot")).ok()?;
    let answer = response::split(&response::begun(slot, text)).answer;
    (!answer.is_empty()).then(|| Problem {
        path: "scorer".into(),
        message: format!(
            "`{}` reads how an answer begins, and `{}` begins them all with {answer:?}",
            scorer.name, node.name
        ),
        help: Some(format!(
            "`{}` reads how each sentence begins",
            refusal::ANYWHERE.name
        )),
    })
}

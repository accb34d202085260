//! `[matrix]` and `[[claim]]` in the schema: what `recipe::matrix` and `recipe::claims` read.

use base::claim::Expect;
use serde_json::{Value, json};

/// Values; or, as in `[matrix.rl]`, axes of the node `rl`.
pub fn axis() -> Value {
    json!({
        "type": ["array", "object"], "minItems": 1, "additionalProperties": { "$ref": "#/definitions/axis" },
        "description": "The values of an axis.",
    })
}

pub fn matrix() -> Value {
    let values = json!({ "type": "object", "description": "Values by axis." });
    json!({
        "type": "object",
        "description": "Axes, each a variable's name or a quoted path as \"rl.lr\", with the values it takes: one variant of the \
                        recipe for every combination. Only nodes that mention an axis, and what hangs below them, are made anew.",
        "properties": {
            "zip": {
                "type": "array", "items": { "type": "array", "items": { "type": "string" }, "minItems": 2 },
                "description": "Axes that go together, value by value, instead of in every combination.",
            },
            "include": { "type": "array", "items": values, "description": "Variants to add; each names every axis." },
            "exclude": { "type": "array", "items": values, "description": "Variants to leave out: those with all of these values." },
            "max": { "type": "integer", "minimum": 1, "description": "More variants than this are an error. Default 64." },
        },
        "additionalProperties": { "$ref": "#/definitions/axis" },
    })
}

pub fn claim() -> Value {
    let words: Vec<&str> = Expect::ALL.iter().map(|e| e.word()).collect();
    let at = |whose: &str| json!({ "type": "object", "description": format!("Only variants of {whose} with these values, by axis.") });
    let node = || json!({ "type": "string", "description": "The evaluation in this recipe." });
    let other = || json!({ "type": "string", "description": "The evaluation in the other recipe; absent: of the same name." });
    let several = |what: &str| json!({ "type": "array", "items": { "type": "string" }, "minItems": 2, "description": what });
    let condition = json!({
        "type": "object",
        "properties": {
            "metric": { "type": "string", "description": "A metric of the evaluation." },
            "mean": several("Metrics of one unit whose mean is meant, of the same seeds."),
            "both": several("The metrics that `dominates` looks at side by side."),
            "is": {
                "enum": words,
                "description": "Lower or higher than in the other recipe or than `than`, within a distance of it, or different; `dominates`: on no metric \
                                of `both` lower, on one at least higher.",
            },
            "than": {
                "type": "string",
                "description": "Another metric of the same node, in place of the other recipe: then the claim is `against` none. As \
                                `{ metric = \"reasoning/lookups/3\", is = \"higher\", than = \"reasoning/lookups/0\" }`.",
            },
            "by": {
                "type": "number", "minimum": 0,
                "description": "At least by this much; `within`: at most; `dominates`: what a metric may be lower by. In the metric's unit, \
                                a share as a fraction.",
            },
            "node": node(),
            "against_node": other(),
        },
        "required": ["is"],
        "additionalProperties": only("a key of a condition"),
    });
    // Within its recipe, where all of its conditions are.
    let within = json!({
        "required": ["expect"],
        "properties": { "expect": { "type": "array", "minItems": 1, "items": { "required": ["than"] } } },
    });
    json!({
        "type": "object",
        "properties": {
            "about": { "type": "string", "description": "The claim in words." },
            "against": {
                "type": "string",
                "description": "The recipe it is compared with, a path from here or `pipe:NAME`; absent where its conditions say `than`.",
            },
            "node": node(),
            "against_node": other(),
            "at": at("this recipe"),
            "against_at": at("the other recipe"),
            "expect": { "type": "array", "items": condition, "minItems": 1, "description": "It holds if all of these do." },
        },
        "required": ["about", "expect"],
        "if": within,
        "else": { "required": ["against"] },
        "additionalProperties": only("a key of a claim"),
    })
}

/// For a key that nobody knows. Nothing has this value, so the complaint stands at the key and reads `"a parameter of `sft`"
/// was expected`; a plain `false` would underline the whole table.
pub(super) fn only(what: &str) -> Value {
    json!({ "const": what })
}

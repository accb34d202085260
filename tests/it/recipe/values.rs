//! Values that do not fit their parameter.

use crate::recipe::{NEEDS, SFT, accepted, check, read};

#[test]
fn a_wrong_type_says_what_was_expected_and_found() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
lr = "1e-5"
shuffle = "true"
layers = 3
reward = "x"
remark = 1
micro_batch = 2.0
=====
error: `lr` expects a number, got a string
  --> r.toml:10:6
   |
10 | lr = "1e-5"
   |      ^^^^^^
   = help: write it without quotes

error: `shuffle` expects true or false, got a string
  --> r.toml:11:11
   |
11 | shuffle = "true"
   |           ^^^^^^
   = help: write it without quotes

error: `layers` expects an array, each item an integer, got an integer
  --> r.toml:12:10
   |
12 | layers = 3
   |          ^
   = help: an array is written `[a, b]`

error: `reward` expects a table, each value a string, got a string
  --> r.toml:13:10
   |
13 | reward = "x"
   |          ^^^

error: `remark` expects a string, got an integer
  --> r.toml:14:10
   |
14 | remark = 1
   |          ^

error: `micro_batch` expects an integer, got a float
  --> r.toml:15:15
   |
15 | micro_batch = 2.0
   |               ^^^
   = help: write `2`
"#,
    );
}

#[test]
fn an_item_inside_an_array_or_table_has_its_own_place() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
layers = [1, "2", 3.5]
reward = { harmful = 1, harmless = "ok" }
=====
error: `layers[1]` expects an integer, got a string
  --> r.toml:10:14
   |
10 | layers = [1, "2", 3.5]
   |              ^^^
   = help: write it without quotes

error: `layers[2]` expects an integer, got a float
  --> r.toml:10:19
   |
10 | layers = [1, "2", 3.5]
   |                   ^^^

error: `reward.harmful` expects a string, got an integer
  --> r.toml:11:22
   |
11 | reward = { harmful = 1, harmless = "ok" }
   |                      ^
"#,
    );
}

#[test]
fn a_choice_is_suggested() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
schedule = "cosin"
=====
error: `schedule` expects one of `constant`, `cosine`, got `cosin`
  --> r.toml:10:12
   |
10 | schedule = "cosin"
   |            ^^^^^^^
   = help: did you mean `cosine`?
"#,
    );
}

#[test]
fn numbers_that_do_not_exist_are_refused() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
lr = nan
layers = [99999999999999999999]
[node.u]
kind = "tune"
in = { model = "base", data = "mix" }
steps = -1
lr = -inf
=====
error: `nan` is not a finite number
  --> r.toml:10:6
   |
10 | lr = nan
   |      ^^^

error: `99999999999999999999` does not fit in 64 bits
  --> r.toml:11:11
   |
11 | layers = [99999999999999999999]
   |           ^^^^^^^^^^^^^^^^^^^^

error: `steps`: -1 is out of range, 0 to 4294967295
  --> r.toml:15:9
   |
15 | steps = -1
   |         ^^

error: `-inf` is not a finite number
  --> r.toml:16:6
   |
16 | lr = -inf
   |      ^^^^
"#,
    );
}

#[test]
fn an_integer_that_no_float_equals_is_refused() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
lr = 9007199254740993
=====
error: `lr`: no float is exactly 9007199254740993
  --> r.toml:10:6
   |
10 | lr = 9007199254740993
   |      ^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn a_variable_that_is_mentioned_as_elsewhere_is_suggested() {
    check(
        r#"
[vars]
seed = 1
rows = 10
how = "cosine"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = "{{ rows }}"
seed = "$seed"
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = "five"
schedule = "$(how)"
=====
error: `rows` expects an integer, got a string
 --> r.toml:9:8
  |
9 | rows = "{{ rows }}"
  |        ^^^^^^^^^^^^
  = help: did you mean `"${rows}"`?

error: `seed` expects an integer, got a string
  --> r.toml:10:8
   |
10 | seed = "$seed"
   |        ^^^^^^^
   = help: did you mean `"${seed}"`?

error: `steps` expects an integer, got a string
  --> r.toml:14:9
   |
14 | steps = "five"
   |         ^^^^^^

error: `schedule` expects one of `constant`, `cosine`, got `$(how)`
  --> r.toml:15:12
   |
15 | schedule = "$(how)"
   |            ^^^^^^^^
   = help: did you mean `"${how}"`?
"#,
    );
}

#[test]
fn a_text_that_is_as_good_as_a_variable_is_a_warning() {
    let recipe = |remark: &str| {
        format!("[vars]\nseed = 1\n{NEEDS}{SFT}remark = \"{remark}\"\nlayers = [\"${{seed}}\"]\n")
    };
    let warned = accepted(read(&recipe("$seed"), &[])).warnings.render(false);
    assert_eq!(
        warned,
        r#"warning: `$seed` stands for itself, not for the variable
  --> r.toml:12:10
   |
12 | remark = "$seed"
   |          ^^^^^^^
   = help: did you mean `"${seed}"`?
"#
    );
    for remark in ["$HOME", "echo $seed", "$1", "a$"] {
        assert!(
            accepted(read(&recipe(remark), &[])).warnings.is_empty(),
            "{remark}"
        );
    }
}

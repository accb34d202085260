//! What the text alone shows: syntax, keys, names, variables, secrets.

use crate::recipe::check;

#[test]
fn broken_toml_is_shown_where_it_breaks() {
    check(
        r#"
[node.a]
kind = nope
x = "a
[node.b
=====
error: broken TOML: expected a value
 --> r.toml:2:8
  |
2 | kind = nope
  |        ^^^^
  = help: a string stands in quotes

error: broken TOML: invalid basic string, expected `"`
 --> r.toml:3:7
  |
3 | x = "a
  |       ^

error: broken TOML: unclosed table, expected `]`
 --> r.toml:4:8
  |
4 | [node.b
  |        ^
"#,
    );
}

#[test]
fn an_unknown_top_level_key_is_suggested() {
    check(
        r#"
nmae = "x"
[node.base]
kind = "base"
=====
error: unknown key `nmae`
 --> r.toml:1:1
  |
1 | nmae = "x"
  | ^^^^ not a key of a recipe
  = help: did you mean `name`?
"#,
    );
}

#[test]
fn top_level_keys_have_types() {
    check(
        r#"
name = 3
extends = ["a"]
drop = "x"
vars = 1
=====
error: `name` expects a string, got an integer
 --> r.toml:1:8
  |
1 | name = 3
  |        ^

error: `extends` expects a string, got an array
 --> r.toml:2:11
  |
2 | extends = ["a"]
  |           ^^^^^

error: `drop` expects an array of names, got a string
 --> r.toml:3:8
  |
3 | drop = "x"
  |        ^^^

error: `vars` expects a table, got an integer
 --> r.toml:4:8
  |
4 | vars = 1
  |        ^
"#,
    );
}

#[test]
fn a_node_is_a_table() {
    check(
        r#"
node.a = 3
=====
error: `node.a` is an integer, not a table
 --> r.toml:1:6
  |
1 | node.a = 3
  |      ^
  = help: a node is written `[node.NAME]`
"#,
    );
}

#[test]
fn a_node_has_a_plain_name() {
    check(
        r#"
[node."A b"]
kind = "base"
[node.vars]
kind = "base"
=====
error: `A b` cannot be a node's name
 --> r.toml:1:7
  |
1 | [node."A b"]
  |       ^^^^^
  = help: a name is made of `a`-`z`, `0`-`9`, `_` and `-`

error: `vars` cannot be a node's name
 --> r.toml:3:7
  |
3 | [node.vars]
  |       ^^^^
  = help: `--set` uses the word itself
"#,
    );
}

#[test]
fn dates_are_refused() {
    check(
        r#"
[vars]
day = 2024-01-01
[node.base]
kind = "base"
=====
error: a recipe has no dates
 --> r.toml:2:7
  |
2 | day = 2024-01-01
  |       ^^^^^^^^^^
  = help: put it in quotes
"#,
    );
}

#[test]
fn an_unknown_variable_is_suggested() {
    check(
        r#"
[vars]
seed = 1
[node.d]
kind = "data"
rows = "${sed}"
seed = "${seed}"
=====
error: unknown variable `sed`
 --> r.toml:5:9
  |
5 | rows = "${sed}"
  |         ^^^^^^ not in `[vars]`
  = help: did you mean `seed`?
"#,
    );
}

#[test]
fn variables_in_a_circle_are_shown_as_a_path() {
    check(
        r#"
[vars]
a = "${b}"
b = "x${a}"
[node.d]
kind = "data"
rows = "${a}"
=====
error: variables need each other: a -> b -> a
 --> r.toml:2:1
  |
2 | a = "${b}"
  | ^
"#,
    );
}

#[test]
fn an_array_does_not_fit_into_a_string() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[vars]
list = [1]
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
remark = "is ${list}"
=====
error: `list` is an array inside a string
  --> r.toml:12:14
   |
12 | remark = "is ${list}"
   |              ^^^^^^^
  ::: r.toml:7:8
   |
 7 | list = [1]
   |        --- its value
"#,
    );
}

#[test]
fn an_open_variable_is_refused() {
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
remark = "é ${list"
=====
error: `${` without its `}`
  --> r.toml:10:13
   |
10 | remark = "é ${list"
   |             ^^
   = help: `$${` stands for the two characters themselves
"#,
    );
}

#[test]
fn a_secret_is_refused_and_not_shown() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[vars]
a = "hf_abcdefghijklmnopqrstuv"
api_key = "c2VjcmV0LXNlY3JldC0xMjM0"
api_key_env = "DEEPSEEK_API_KEY_NUMBER_2"
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
remark = "sk-0123456789abcdefghij"
=====
error: this looks like a secret
 --> r.toml:7:5
  |
7 | a = "*************************"
  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^ not shown here
  = help: a recipe names the environment variable that holds a secret, never the secret

error: this looks like a secret
 --> r.toml:8:11
  |
8 | api_key = "************************"
  |           ^^^^^^^^^^^^^^^^^^^^^^^^^^ not shown here
  = help: a recipe names the environment variable that holds a secret, never the secret

error: this looks like a secret
  --> r.toml:14:10
   |
14 | remark = "***********************"
   |          ^^^^^^^^^^^^^^^^^^^^^^^^^ not shown here
   = help: a recipe names the environment variable that holds a secret, never the secret
"#,
    );
}

#[test]
fn places_count_characters_and_show_tabs() {
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
	remark	=	3 # 日本 é
reward = { "日本é" = 1 }
=====
error: `remark` expects a string, got an integer
  --> r.toml:10:11
   |
10 |     remark    =    3 # 日本 é
   |                    ^

error: `reward.日本é` expects a string, got an integer
  --> r.toml:11:20
   |
11 | reward = { "日本é" = 1 }
   |                      ^
"#,
    );
}

#[test]
fn an_empty_recipe_is_refused() {
    check(
        r#"
name = "x"
=====
error: `r.toml` has no nodes
  = help: a node is written `[node.NAME]` with its `kind`; `pipe kinds` lists them
"#,
    );
}

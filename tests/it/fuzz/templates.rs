//! What a chat template of a stranger may not do: run for ever, take all memory, read a file.

use pipe::learn::template::{Dialogue, MOST_SOURCE, Template};
use serde_json::json;
use std::collections::BTreeMap;

/// What comes of it, or what is said about it.
fn rendered(source: &str) -> Result<String, String> {
    let messages = [json!({ "role": "user", "content": "hello" })];
    let dialogue = Dialogue {
        messages: &messages,
        tools: None,
        add_generation_prompt: true,
    };
    let template = Template::new(source, BTreeMap::new());
    let text = template.and_then(|t| t.render(dialogue));
    text.map(|r| r.text).map_err(|e| format!("{e:#}"))
}

fn refused(source: &str, why: &str) {
    match rendered(source) {
        Ok(text) => panic!("{source} gave {} bytes", text.len()),
        Err(error) => assert!(error.contains(why), "{source}: {error}"),
    }
}

#[test]
fn steps_are_bounded() {
    let nested = "{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}x{% endfor %}{% endfor %}{% endfor %}";
    refused(nested, "it takes too many steps");
    refused(
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "recursion",
    );
}

#[test]
fn memory_is_bounded() {
    let doubled = "{% set n = namespace(x='x') %}{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}";
    refused(doubled, "it takes too many steps");
    let listed = "{% set n = namespace(x=[1]) %}{% for i in range(40) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}";
    refused(listed, "it takes more than");
    refused("{{ ([1] * 90000000) | tojson }}", "it takes too many steps");
    refused(
        "{{ ('x' * 100000).replace('x', 'y' * 100000) }}",
        "it takes too many steps",
    );
    refused("{{ 'x'.center(1000000000) }}", "center");
    refused("{{ 'x' * 90000000 }}", "it takes too many steps");
    refused(
        "{{ messages | tojson(indent=1000000000) }}",
        "the indent is too wide",
    );
    // Afterwards all is as before.
    assert_eq!(
        rendered("{{ messages[0].content }}").as_deref(),
        Ok("hello")
    );
}

#[test]
fn what_is_nested_deep_is_no_overflow() {
    let deep =
        "{% set n = namespace(x=[]) %}{% for i in range(20000) %}{% set n.x = [n.x] %}{% endfor %}";
    assert_eq!(rendered(deep).as_deref(), Ok(""));
    refused(&format!("{deep}{{{{ n.x | tojson }}}}"), "nested too deep");
    let _ = rendered(&format!("{deep}{{{{ n.x }}}}"));
}

#[test]
fn no_file_is_read() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("secret.jinja");
    std::fs::write(&path, "canary").expect("a file can be written");
    let path = path.display();
    for source in [
        format!("{{% include '{path}' %}}"),
        format!("{{% extends '{path}' %}}"),
        format!("{{% import '{path}' as x %}}{{{{ x }}}}"),
        format!("{{% from '{path}' import x %}}"),
        format!("{{{{ open('{path}').read() }}}}"),
        format!("{{{{ self.__init__.__globals__['open']('{path}') }}}}"),
    ] {
        let shown = format!("{:?}", rendered(&source));
        assert!(
            shown.starts_with("Err(") && !shown.contains("canary"),
            "{source}: {shown}"
        );
    }
}

#[test]
fn a_template_is_not_larger_than_any() {
    refused(
        &"x".repeat(MOST_SOURCE + 1),
        "the chat template is larger than 1.0 MB",
    );
    // Tags that nothing closes are each looked at once.
    refused(&"{%".repeat(MOST_SOURCE / 2), "");
}

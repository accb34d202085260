//! Tables inside of tables, by dotted path: `lora.rank` of a node as TOML has it.

use toml::{Table, Value};

/// Sets the value at a path; tables on the way are made.
pub fn put(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(table.insert(path.into(), value)),
        Some((key, below)) => {
            let inner = table.entry(key).or_insert_with(|| Table::new().into());
            put(inner.as_table_mut().unwrap(), below, value);
        }
    }
}

/// Takes a field out, where it is there.
pub fn remove(table: &mut Table, path: &str) {
    match path.split_once('.') {
        None => drop(table.remove(path)),
        Some((key, below)) => {
            let inner = table.get_mut(key).and_then(Value::as_table_mut);
            inner.into_iter().for_each(|inner| remove(inner, below));
        }
    }
}

/// Lays a table over another: tables merge, everything else is replaced.
pub fn lay(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => lay(inner, over),
            (_, value) => drop(table.insert(key, value)),
        }
    }
}

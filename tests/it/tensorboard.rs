//! Event files: the checksum, the framing and the messages, read back by a reader that shares nothing with the writer but
//! the checksum; and those of training nodes, finished, under way and resumed.

use crate::study::Study;
use crate::training::{REASONER, WORLD, killed_at};
use pipe::base::tensorboard::{crc32c, head, scalars};
use pipe::engine::events::event::Event;
use serde_json::Value as Json;
use std::path::PathBuf;

const FILE: &str = "events.out.tfevents.0.pipe";

#[test]
fn the_checksum_is_castagnolis() {
    // RFC 3720, B.4, and the usual check value.
    assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
    assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
    let ascending: Vec<u8> = (0..32).collect();
    assert_eq!(crc32c(&ascending), 0x46DD_794E);
    assert_eq!(crc32c(b""), 0);
}

#[test]
fn what_is_written_is_what_is_read() {
    let values = [("loss", 0.1), ("reward/harmful", -3.5e-9), ("naïve", 1e30)];
    let mut bytes = head();
    bytes.extend(scalars(1, values.into_iter()));
    bytes.extend(scalars(300, [].into_iter()));
    bytes.extend(scalars(
        u64::from(u32::MAX) * 8,
        values[..1].iter().copied(),
    ));
    let events = read(&bytes);
    assert_eq!(events.len(), 4);
    assert_eq!(events[0].version.as_deref(), Some("brain.Event:2"));
    assert_eq!(events[1].step, 1);
    let expected: Vec<(String, f32)> = values
        .iter()
        .map(|(n, v)| (n.to_string(), *v as f32))
        .collect();
    assert_eq!(events[1].scalars, expected);
    assert_eq!((events[2].step, events[2].scalars.len()), (300, 0));
    assert_eq!(events[3].step, u64::from(u32::MAX) * 8);
    for event in &events {
        assert_eq!(event.wall_time, event.step as f64, "no clock");
    }
}

#[test]
fn a_training_node_has_its_curve_as_an_event_file_too() {
    let ran = Study::new().run(&[WORLD, REASONER].concat());
    let events = read(&ran.bytes("reasoner", "metrics", FILE));
    let curve = ran.curve("reasoner");
    assert!(curve.len() > 50, "{}", curve.len());
    assert_same(&events, &curve);
}

#[test]
fn an_event_file_can_be_read_while_the_node_runs_and_does_not_show_that_it_was_resumed() {
    let recipe = [WORLD, REASONER].concat();
    let calm = Study::new().run(&recipe);
    let study = Study::new();
    killed_at(&study, &recipe, "reasoner", 20);
    let (mut seen, mut resumed) = (0, 0);
    let ran = study.run_with(
        &recipe,
        |_| {},
        |event| {
            let Event::Metric { node, metric } = event else {
                return;
            };
            if node != "reasoner" || !metric.step.is_multiple_of(10) {
                return;
            }
            for bytes in under_way(&study) {
                // The node goes on writing while we read, so the last record may be half there.
                let events = read_whole(&bytes);
                let last = events.last().unwrap().step;
                assert!(last + 1 >= metric.step, "{last} at {}", metric.step);
                assert_eq!(events.len() as u64, last + 1, "no step is missing");
                seen += 1;
            }
            resumed = metric.step;
        },
    );
    assert!(seen > 0, "there was an event file to look at");
    assert!(resumed > 20);
    assert!(ran.said("reasoner", "resumed at step"));
    let of = |ran: &crate::study::Ran| ran.bytes("reasoner", "metrics", FILE);
    assert_eq!(of(&ran), of(&calm));
    assert_same(&read(&of(&ran)), &ran.curve("reasoner"));
}

/// Event files in the attempts of this study's store.
fn under_way(study: &Study) -> Vec<Vec<u8>> {
    let attempts = std::fs::read_dir(study.store().join("attempts")).unwrap();
    let paths: Vec<PathBuf> = attempts
        .map(|a| a.unwrap().path().join("out/metrics").join(FILE))
        .collect();
    paths.iter().filter_map(|p| std::fs::read(p).ok()).collect()
}

fn assert_same(events: &[Step], curve: &[Json]) {
    assert_eq!(events.len(), curve.len() + 1, "and the head");
    for (event, line) in events[1..].iter().zip(curve) {
        assert_eq!(Some(event.step), line["step"].as_u64());
        let object = line.as_object().unwrap();
        assert_eq!(event.scalars.len(), object.len() - 1, "all but the step");
        for (tag, value) in &event.scalars {
            assert_eq!(*value, object[tag].as_f64().unwrap() as f32, "{tag}");
        }
    }
}

/// An event of a file.
#[derive(Default)]
struct Step {
    wall_time: f64,
    step: u64,
    version: Option<String>,
    scalars: Vec<(String, f32)>,
}

/// Every record of a file that ends with a whole one.
fn read(bytes: &[u8]) -> Vec<Step> {
    let events = read_whole(bytes);
    let framed: usize = records(bytes).iter().map(|r| r.len() + 16).sum();
    assert_eq!(framed, bytes.len(), "nothing follows the last record");
    events
}

/// The whole records of a file.
fn read_whole(bytes: &[u8]) -> Vec<Step> {
    records(bytes).into_iter().map(event).collect()
}

fn records(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut found = vec![];
    while rest.len() >= 12 {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        assert_eq!(unmasked(&rest[8..12]), crc32c(&rest[..8]), "the length");
        if rest.len() < length + 16 {
            break;
        }
        let payload = &rest[12..12 + length];
        assert_eq!(unmasked(&rest[12 + length..]), crc32c(payload));
        found.push(payload);
        rest = &rest[16 + length..];
    }
    found
}

fn unmasked(bytes: &[u8]) -> u32 {
    let masked = u32::from_le_bytes(bytes[..4].try_into().unwrap());
    masked.wrapping_sub(0xA282_EAD8).rotate_left(15)
}

/// One value of a protobuf message.
enum Value<'a> {
    Number(u64),
    Eight([u8; 8]),
    Counted(&'a [u8]),
    Four([u8; 4]),
}

fn fields(mut rest: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut found = vec![];
    while !rest.is_empty() {
        let key = number(&mut rest);
        let value = match key & 7 {
            0 => Value::Number(number(&mut rest)),
            1 => Value::Eight(take(&mut rest, 8).try_into().unwrap()),
            2 => {
                let length = number(&mut rest) as usize;
                Value::Counted(take(&mut rest, length))
            }
            5 => Value::Four(take(&mut rest, 4).try_into().unwrap()),
            other => panic!("wire type {other}"),
        };
        found.push((key >> 3, value));
    }
    found
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (head, tail) = rest.split_at(length);
    *rest = tail;
    head
}

fn number(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for place in 0.. {
        let byte = take(rest, 1)[0];
        value |= u64::from(byte & 0x7F) << (7 * place);
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn event(payload: &[u8]) -> Step {
    let mut event = Step::default();
    for field in fields(payload) {
        match field {
            (1, Value::Eight(bytes)) => event.wall_time = f64::from_le_bytes(bytes),
            (2, Value::Number(step)) => event.step = step,
            (3, Value::Counted(text)) => event.version = Some(utf8(text)),
            (5, Value::Counted(summary)) => {
                event.scalars = fields(summary).iter().map(scalar).collect()
            }
            (other, _) => panic!("field {other} of an event"),
        }
    }
    event
}

fn scalar(field: &(u64, Value)) -> (String, f32) {
    let (1, Value::Counted(value)) = field else {
        panic!("field {} of a summary", field.0);
    };
    let parts = fields(value);
    let [(1, Value::Counted(tag)), (2, Value::Four(bytes))] = parts.as_slice() else {
        panic!("a value is a tag and a number");
    };
    (utf8(tag), f32::from_le_bytes(*bytes))
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
